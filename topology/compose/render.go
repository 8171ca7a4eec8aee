package compose

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wire"
)

// tag is what every built image is also called, so that a file that is kept can name it.
const tag = "built"

// Layout is the plan of the composed world of a topology.
func Layout(t topology.Topology) plan.Plan { return plan.Layout(t, Octet, plan.Private, false) }

func options(secret string) containers.Options {
	return containers.Options{ID: World, Secret: secret, Composed: true}
}

// Render writes the compose file of a topology's composed world. The same topology gives the same bytes.
func Render(t topology.Topology) (string, error) {
	p := Layout(t)
	o := options("${" + wire.SecretVariable + ":-" + Secret + "}")
	var f file
	comments := yaml.CommentMap{}
	for _, c := range containers.Specs(p, o) {
		f.Services = append(f.Services, yaml.MapItem{Key: c.Name, Value: serviceOf(c)})
		if s := comment(c); s != "" {
			comments["$.services."+c.Name] = []*yaml.Comment{yaml.HeadComment(" " + s)}
		}
		for _, v := range c.Volumes {
			f.Volumes = append(f.Volumes, yaml.MapItem{Key: volume(c, v), Value: volumeOf{Name: containers.VolumeName(World, c.Name, v), Labels: sorted(c.Labels)}})
		}
	}
	for _, n := range containers.Networks(p, o) {
		f.Networks = append(f.Networks, yaml.MapItem{Key: string(n.Site), Value: networkOf{
			Name: n.Name, Driver: "bridge", Options: sorted(n.Options), IPAM: ipam{[]pool{{n.Subnet, n.Gateway}}}, Labels: sorted(n.Labels),
		}})
	}
	b, err := yaml.MarshalWithOptions(f, yaml.WithComment(comments), yaml.IndentSequence(true))
	if err != nil {
		return "", fmt.Errorf("render %s: %w", File, err)
	}
	return head(p) + "\n" + string(b), nil
}

// Check says where a compose file first differs from what is rendered of a topology today, or nil.
func Check(t topology.Topology, text string) error {
	want, err := Render(t)
	if err != nil {
		return err
	}
	if text == want {
		return nil
	}
	w, g := strings.Split(want, "\n"), strings.Split(text, "\n")
	i := 0
	for i < len(w) && i < len(g) && w[i] == g[i] {
		i++
	}
	line := func(lines []string) string {
		if i >= len(lines) {
			return "its end"
		}
		return strconv.Quote(lines[i])
	}
	return fmt.Errorf("%s is not what is rendered of topology %s today: line %d is %s, should be %s; `kirikae compose > %s` writes it anew",
		File, t.Name, i+1, line(g), line(w), File)
}

// head is what people read first.
func head(p plan.Plan) string {
	active, standby := p.Topology.Active(), p.Topology.Standby()
	var apps []string
	for _, n := range p.Of(standby, topology.App) {
		apps = append(apps, n.Name)
	}
	entry, _ := p.Route(topology.Outside, p.Of(active, topology.Gateway)[0].Name)
	dns := strings.TrimSuffix(p.Names(false), ":5353")
	lines := []string{
		"The platform of topology " + p.Topology.Name + " by hand: two regions, the WAN between them, and what lies outside. It is the same as",
		"`kirikae up --runtime docker` makes, without a process that owns it.",
		"",
		"Rendered by `kirikae compose > " + File + "`; a test fails when it differs. Edit the topology or the code, not this file.",
		"",
		"  make images                           # once: images are built here, none is pulled",
		"  docker-compose up -d                  # or docker compose up -d",
		"  docker-compose ps                     # the platform is ready once " + containers.Wire + " has ended with 0",
		"  curl -H 'X-Payment-Key: by-hand-1' -d '{\"from\":1,\"to\":2,\"yen\":100}' http://" + entry.Reach + "/payments",
		"  dig +short @" + dns + " -p 5353 " + p.Topology.Zone.Records[0] + "." + p.Topology.Zone.Name,
		"  docker-compose start " + strings.Join(apps, " ") + "  # article 002, row 7",
		"  kirikae run --world compose features/region_loss.feature  # drill it, before anything was paid or changed by hand",
		"  docker-compose down -v                # end it; a drilled world is not used twice",
		"",
		"Every address that is published is a loopback address of this machine's, 127." + strconv.Itoa(p.Octet) + ".0.0/16. The password below is no secret:",
		"it only keeps clients that mean another world away. KIRIKAE_SECRET is another one, KIRIKAE_IMAGE_MYSQL and so on other",
		"images that `make images` built.",
		"",
		"What does not run in normal times, the application of " + string(standby) + ", the reconcilers and the client on premises, exists and has ended:",
		"compose starts all that it creates, so the first start of these ends at once, with 0. A second `up` would start them.",
		"",
		"Tried with docker-compose 1.29.2 (Debian 12) and Docker Compose 2.40.3.",
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(strings.TrimRight("# "+l, " ") + "\n")
	}
	return b.String()
}

// comment says what a container that is no node is for.
func comment(c containers.Container) string {
	switch {
	case c.Name == containers.WAN:
		return "What is between the sites: the only way, through toxiproxy. Its API is on 8474."
	case c.Name == containers.Names:
		return "The public zone."
	case c.Name == containers.Wire:
		return "Makes one platform of what was started (schemas, replication, parameters), waits until it serves, and ends."
	case c.Node != nil && !c.Start && c.Node.Index == 1:
		return "Rests at its first start."
	case c.Node == nil:
		return "Holds the network of the Cassandra node, so that its address, identity and ports survive the node's restarts."
	}
	return ""
}

// file is a compose file, as the specification has it: no version.
type file struct {
	Services yaml.MapSlice `yaml:"services"`
	Networks yaml.MapSlice `yaml:"networks"`
	Volumes  yaml.MapSlice `yaml:"volumes"`
}

type service struct {
	Image       string        `yaml:"image"`
	Name        string        `yaml:"container_name"`
	Entrypoint  []string      `yaml:"entrypoint,flow"`
	Command     []string      `yaml:"command"`
	Environment yaml.MapSlice `yaml:"environment,omitempty"`
	NetworkMode string        `yaml:"network_mode,omitempty"`
	Networks    yaml.MapSlice `yaml:"networks,omitempty"`
	Ports       []string      `yaml:"ports,omitempty"`
	Caps        []string      `yaml:"cap_add,omitempty,flow"`
	Sysctls     yaml.MapSlice `yaml:"sysctls,omitempty"`
	Volumes     []string      `yaml:"volumes,omitempty,flow"`
	DependsOn   yaml.MapSlice `yaml:"depends_on,omitempty"`
	Health      *health       `yaml:"healthcheck,omitempty"`
	Grace       string        `yaml:"stop_grace_period"`
	Restart     string        `yaml:"restart"`
	Labels      yaml.MapSlice `yaml:"labels"`
}

type health struct {
	Test        []string `yaml:"test,flow"`
	Interval    string   `yaml:"interval"`
	Timeout     string   `yaml:"timeout"`
	StartPeriod string   `yaml:"start_period"`
	Retries     int      `yaml:"retries"`
}

type networkOf struct {
	Name    string        `yaml:"name"`
	Driver  string        `yaml:"driver"`
	Options yaml.MapSlice `yaml:"driver_opts"`
	IPAM    ipam          `yaml:"ipam"`
	Labels  yaml.MapSlice `yaml:"labels"`
}

type ipam struct {
	Config []pool `yaml:"config"`
}

type pool struct {
	Subnet  string `yaml:"subnet"`
	Gateway string `yaml:"gateway"`
}

type volumeOf struct {
	Name   string        `yaml:"name"`
	Labels yaml.MapSlice `yaml:"labels"`
}

func serviceOf(c containers.Container) service {
	s := service{
		Image: image(c.Image), Name: containers.FullName(World, c.Name), Entrypoint: literals(c.Entrypoint), Command: literals(c.Args),
		Caps: c.Caps, Sysctls: sorted(c.Sysctls), Grace: seconds(c.Grace), Restart: "no", Labels: sorted(c.Labels),
	}
	for _, k := range slices.Sorted(maps.Keys(c.Env)) {
		v := c.Env[k]
		if k != wire.SecretVariable { // that is an expression of compose's already
			v = literal(v)
		}
		s.Environment = append(s.Environment, yaml.MapItem{Key: k, Value: v})
	}
	if c.Pod != "" {
		s.NetworkMode = "service:" + c.Pod
	}
	for _, a := range c.Networks {
		s.Networks = append(s.Networks, yaml.MapItem{Key: string(a.Site), Value: yaml.MapSlice{{Key: "ipv4_address", Value: a.IP}}})
	}
	for _, p := range c.Ports {
		text := fmt.Sprintf("%s:%d:%d", p.HostIP, p.HostPort, p.Container)
		if p.Protocol != "tcp" {
			text += "/" + p.Protocol
		}
		s.Ports = append(s.Ports, text)
	}
	for _, v := range c.Volumes {
		s.Volumes = append(s.Volumes, volume(c, v)+":"+v.Path)
	}
	for _, n := range c.Needs {
		s.DependsOn = append(s.DependsOn, yaml.MapItem{Key: n.Container, Value: yaml.MapSlice{{Key: "condition", Value: condition(n.Condition)}}})
	}
	if h := c.Health; h != nil {
		s.Health = &health{Test: append([]string{"CMD"}, literals(h.Test)...), Interval: seconds(h.Interval), Timeout: seconds(h.Timeout),
			StartPeriod: seconds(h.StartPeriod), Retries: h.Retries}
	}
	return s
}

func condition(c containers.Condition) string { return "service_" + string(c) }

// image is a built image's name that stays the same over builds, or another one that the environment says.
func image(name string) string {
	return "${" + imageVariable(name) + ":-kirikae/" + name + ":" + tag + "}"
}

func imageVariable(name string) string { return "KIRIKAE_IMAGE_" + strings.ToUpper(name) }

// volume is the name of a volume inside the file.
func volume(c containers.Container, v containers.Volume) string { return c.Name + v.Suffix }

// literal keeps compose from replacing anything in a value.
func literal(s string) string { return strings.ReplaceAll(s, "$", "$$") }

func literals(all []string) []string {
	out := make([]string, 0, len(all))
	for _, s := range all {
		out = append(out, literal(s))
	}
	return out
}

func sorted(m map[string]string) yaml.MapSlice {
	var s yaml.MapSlice
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s = append(s, yaml.MapItem{Key: k, Value: literal(m[k])})
	}
	return s
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d/time.Second)) + "s" }
