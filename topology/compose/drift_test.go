package compose

import (
	"context"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/plan"
)

// load reads a compose file as Docker Compose does.
func load(t testing.TB, text string, env map[string]string) *types.Project {
	t.Helper()
	p, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir: t.TempDir(), ConfigFiles: []types.ConfigFile{{Filename: File, Content: []byte(text)}}, Environment: env,
	}, func(o *loader.Options) { o.SetProjectName("kirikae", true) })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// differences says in what a compose file, as Docker Compose reads it, is not the containers of a plan.
func differences(p plan.Plan, o containers.Options, images map[string]string, got *types.Project) []string {
	var all []string
	same := func(what string, got, want any) {
		if !reflect.DeepEqual(got, want) {
			all = append(all, fmt.Sprintf("%s is %v, want %v", what, got, want))
		}
	}
	specs := containers.Specs(p, o)
	volumes := map[string]string{}
	for _, c := range specs {
		s, ok := got.Services[c.Name]
		if !ok {
			all = append(all, "no service "+c.Name)
			continue
		}
		of := func(what string) string { return what + " of " + c.Name }
		same(of("image"), s.Image, images[c.Image])
		same(of("name"), s.ContainerName, containers.FullName(o.ID, c.Name))
		same(of("entrypoint"), []string(s.Entrypoint), c.Entrypoint)
		same(of("command"), []string(s.Command), c.Args)
		env := map[string]string{}
		for k, v := range s.Environment {
			env[k] = *v
		}
		same(of("environment"), env, or(c.Env))
		mode := ""
		if c.Pod != "" {
			mode = "service:" + c.Pod
		}
		same(of("network mode"), s.NetworkMode, mode)
		networks, wantNetworks := map[string]string{}, map[string]string{}
		for name, n := range s.Networks {
			networks[name] = n.Ipv4Address
		}
		for _, a := range c.Networks {
			wantNetworks[string(a.Site)] = a.IP
		}
		same(of("networks"), networks, wantNetworks)
		var ports, wantPorts []string
		for _, x := range s.Ports {
			ports = append(ports, fmt.Sprintf("%s:%s:%d/%s", x.HostIP, x.Published, x.Target, x.Protocol))
		}
		for _, x := range c.Ports {
			wantPorts = append(wantPorts, fmt.Sprintf("%s:%d:%d/%s", x.HostIP, x.HostPort, x.Container, x.Protocol))
		}
		same(of("ports"), ports, wantPorts)
		same(of("capabilities"), s.CapAdd, c.Caps)
		same(of("sysctls"), or(s.Sysctls), or(c.Sysctls))
		var mounts, wantMounts []string
		for _, v := range s.Volumes {
			mounts = append(mounts, v.Type+" "+got.Volumes[v.Source].Name+" "+v.Target)
		}
		for _, v := range c.Volumes {
			wantMounts = append(wantMounts, "volume "+containers.VolumeName(o.ID, c.Name, v)+" "+v.Path)
			volumes[containers.VolumeName(o.ID, c.Name, v)] = c.Name
		}
		same(of("volumes"), mounts, wantMounts)
		needs, wantNeeds := map[string]string{}, map[string]string{}
		for name, d := range s.DependsOn {
			needs[name] = d.Condition
		}
		for _, n := range c.Needs {
			wantNeeds[n.Container] = "service_" + string(n.Condition)
		}
		same(of("dependencies"), needs, wantNeeds)
		if (s.HealthCheck == nil) != (c.Health == nil) {
			all = append(all, of("health check")+" is missing or too much")
		} else if h := c.Health; h != nil {
			same(of("health check"), fmt.Sprint(s.HealthCheck.Test, s.HealthCheck.Interval, s.HealthCheck.Timeout, s.HealthCheck.StartPeriod, *s.HealthCheck.Retries),
				fmt.Sprint(append([]string{"CMD"}, h.Test...), h.Interval, h.Timeout, h.StartPeriod, h.Retries))
		}
		same(of("time to end"), fmt.Sprint(s.StopGracePeriod), c.Grace.String())
		same(of("restart"), s.Restart, "no")
		same(of("labels"), map[string]string(s.Labels), c.Labels)
	}
	same("number of services", len(got.Services), len(specs))
	names := map[string]string{}
	for _, v := range got.Volumes {
		names[v.Name] = v.Labels[containers.LabelNode]
		same("world of volume "+v.Name, v.Labels[containers.LabelWorld], o.ID)
	}
	same("volumes", names, volumes)
	sites := containers.Networks(p, o)
	same("number of networks", len(got.Networks), len(sites))
	for _, n := range sites {
		g := got.Networks[string(n.Site)]
		same("name of network "+n.Name, g.Name, n.Name)
		same("driver of network "+n.Name, g.Driver, "bridge")
		same("options of network "+n.Name, map[string]string(g.DriverOpts), n.Options)
		same("labels of network "+n.Name, map[string]string(g.Labels), n.Labels)
		same("internal network "+n.Name, g.Internal, false)
		if len(g.Ipam.Config) != 1 || g.Ipam.Config[0].Subnet != n.Subnet || g.Ipam.Config[0].Gateway != n.Gateway {
			all = append(all, fmt.Sprintf("network %s has %v, want %s with gateway %s", n.Name, g.Ipam.Config, n.Subnet, n.Gateway))
		}
	}
	slices.Sort(all)
	return all
}

// or gives nil maps of whatever kind one face.
func or[M ~map[string]string](m M) map[string]string {
	out := map[string]string{}
	maps.Copy(out, m)
	return out
}

func built() map[string]string {
	m := map[string]string{}
	for _, name := range []string{containers.ImageWAN, containers.ImageCassandra, containers.ImageMySQL, containers.ImagePayment} {
		m[name] = "kirikae/" + name + ":built"
	}
	return m
}

// TestFileSaysWhatContainersAre: Docker Compose reads out of the file of the repository what package containers put in.
func TestFileSaysWhatContainersAre(t *testing.T) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := Layout(twoRegion(t))
	for _, d := range differences(p, options(Secret), built(), load(t, string(b), nil)) {
		t.Error(d)
	}
	images := built()
	images[containers.ImageMySQL] = "mysql:9.7.4"
	env := map[string]string{"KIRIKAE_SECRET": "other", "KIRIKAE_IMAGE_MYSQL": "mysql:9.7.4"}
	for _, d := range differences(p, options("other"), images, load(t, string(b), env)) {
		t.Error("by the environment: " + d)
	}
	if strings.Contains(string(b), "\nversion:") {
		t.Error("it has a version")
	}
}

// TestDifferencesAreSeen: a change of the file is named, by the comparison of bytes and by that of meanings.
func TestDifferencesAreSeen(t *testing.T) {
	top := twoRegion(t)
	text, err := Render(top)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(top, text); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ old, changed, want string }{
		{"- 127.1.16.21:3306:3306", "- 0.0.0.0:3306:3306", "ports of tokyo-mysql-1"},
		{"ipv4_address: 10.1.16.21", "ipv4_address: 10.1.16.22", "networks of tokyo-mysql-1"},
		{"cap_add: [NET_ADMIN]", "cap_add: [SYS_ADMIN]", "capabilities of wan"},
		{"network_mode: service:tokyo-cassandra-1-net", "network_mode: host", "network mode of tokyo-cassandra-1"},
		{"subnet: 10.1.16.0/20", "subnet: 10.1.16.0/24", "network kirikae-compose-tokyo"},
		{"condition: service_healthy", "condition: service_started", "dependencies of"},
		{"kirikae.world: compose", "kirikae.world: other", "labels of wan"},
		{"[tokyo-mysql-1:/var/lib/mysql]", "[tokyo-mysql-1:/var/lib]", "volumes of tokyo-mysql-1"},
		{"interval: 5s", "interval: 30s", "health check of wan"},
		{"- 0.0.0.0:8474", "- 0.0.0.0:8475", "command of wan"},
	} {
		if !strings.Contains(text, c.old) {
			t.Fatalf("%q is not in the file", c.old)
		}
		other := strings.Replace(text, c.old, c.changed, 1)
		got := strings.Join(differences(Layout(top), options(Secret), built(), load(t, other, nil)), "\n")
		if !strings.Contains(got, c.want) {
			t.Errorf("%s → %s: no %q in:\n%s", c.old, c.changed, c.want, got)
		}
		if err := Check(top, other); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(c.changed)) {
			t.Errorf("%s → %s: %v", c.old, c.changed, err)
		}
	}
	for _, c := range []struct{ text, want string }{
		{text + "x", "is \"x\", should be \"\""},
		{strings.TrimSuffix(text, "\n"), "is its end, should be \"\""},
		{"", "line 1 is \"\", should be \"# The platform"},
	} {
		if err := Check(top, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("no %q in %v", c.want, err)
		}
	}
}

// TestLiterals: what compose would replace reaches the program as it is.
func TestLiterals(t *testing.T) {
	if got := literal("a$b${C}"); got != "a$$b$${C}" {
		t.Errorf("%q", got)
	}
}
