package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/edge"
	"github.com/kirikae/kirikae/topology/inside"
	"github.com/kirikae/kirikae/topology/livetest"
	"github.com/kirikae/kirikae/topology/plan"
	proxies "github.com/kirikae/kirikae/topology/wan"
)

// patience is how long a test waits for what must come. Only a machine under a heavy load needs more than a moment of it.
const patience = 60 * time.Second

// place is a world's networks with an image that has nothing but this program.
type place struct {
	t     *testing.T
	id    string
	image string
	plan  plan.Plan
	specs []containers.Container
}

// newPlace makes the networks. All that it makes is gone after the test.
func newPlace(t *testing.T, top topology.Topology, bypass bool) *place {
	t.Helper()
	p := &place{t: t, id: fmt.Sprintf("inside%d%d", os.Getpid(), time.Now().UnixNano()%1000)}
	if out, err := p.try("version", "--format", "{{.Server.APIVersion}}"); err != nil {
		t.Fatalf("no Docker engine answers: %v %s", err, out)
	}
	p.build()
	t.Cleanup(p.clear)
	// Octets that no world takes, above 250: as others may run this test, too, the first that is free.
	for octet := 252; ; octet++ {
		if octet == 255 {
			t.Fatal("the networks 10.252.0.0/16 to 10.254.0.0/16 are all taken")
		}
		p.plan = plan.Layout(top, octet, plan.Private, bypass)
		if p.networks() {
			break
		}
	}
	p.specs = containers.Specs(p.plan, containers.Options{ID: p.id, Secret: "s3cret"})
	return p
}

func (p *place) build() {
	t := p.t
	t.Helper()
	dir := t.TempDir()
	b := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "inside"), ".")
	b.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := b.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	file := "FROM scratch\nCOPY inside " + containers.Inside + "\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	p.image = "kirikae-" + p.id
	p.docker("build", "-q", "-t", p.image, dir)
}

func (p *place) try(args ...string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), 2*patience)
	defer stop()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (p *place) docker(args ...string) string {
	p.t.Helper()
	out, err := p.try(args...)
	if err != nil {
		p.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (p *place) label() string { return "kirikae.world=" + p.id }

func (p *place) networks() bool {
	p.t.Helper()
	for _, n := range containers.Networks(p.plan, containers.Options{ID: p.id}) {
		out, err := p.try("network", "create", "--subnet", n.Subnet, "--gateway", n.Gateway, "--label", p.label(),
			"-o", "com.docker.network.bridge.enable_ip_masquerade=false", n.Name)
		if err == nil {
			continue
		}
		if !strings.Contains(out, "verlaps") && !strings.Contains(out, "already in use") {
			p.t.Fatalf("make network %s: %s", n.Name, out)
		}
		for _, made := range containers.Networks(p.plan, containers.Options{ID: p.id}) {
			_, _ = p.try("network", "rm", made.Name)
		}
		return false
	}
	return true
}

func (p *place) clear() {
	if p.t.Failed() {
		ids, _ := p.try("ps", "-aq", "--filter", "label="+p.label())
		for _, id := range strings.Fields(ids) {
			name, _ := p.try("inspect", "-f", "{{.Name}} {{.State.Status}} {{.State.ExitCode}} {{.Args}}", id)
			logs, _ := p.try("logs", "--tail", "20", id)
			p.t.Logf("%s\n%s", name, logs)
		}
	}
	for _, kind := range [][]string{{"ps", "-aq"}, {"network", "ls", "-q"}} {
		ids, err := p.try(append(kind, "--filter", "label="+p.label())...)
		if err != nil {
			p.t.Error(ids)
		}
		for _, id := range strings.Fields(ids) {
			rm := []string{"rm", "-fv", id}
			if kind[0] == "network" {
				rm = []string{"network", "rm", id}
			}
			if out, err := p.try(rm...); err != nil {
				p.t.Error(out)
			}
		}
	}
	if out, err := p.try("rmi", "-f", p.image); err != nil {
		p.t.Error(out)
	}
}

func (p *place) name(container string) string { return containers.FullName(p.id, container) }

// spec is one container of the world.
func (p *place) spec(name string) containers.Container {
	p.t.Helper()
	i := slices.IndexFunc(p.specs, func(c containers.Container) bool { return c.Name == name })
	if i < 0 {
		p.t.Fatalf("no container %s", name)
	}
	return p.specs[i]
}

// start runs a container on its first network, and connects the others only then: as an engine of API 1.41 has to.
func (p *place) start(c containers.Container) {
	p.t.Helper()
	args := []string{"run", "-d", "--name", p.name(c.Name), "--label", p.label(), "--entrypoint", containers.Inside}
	switch {
	case c.Pod != "":
		args = append(args, "--network", "container:"+p.name(c.Pod))
	case len(c.Networks) == 0:
		args = append(args, "--network", "none")
	default:
		args = append(args, "--network", containers.NetworkName(p.id, c.Networks[0].Site), "--ip", c.Networks[0].IP)
	}
	for _, x := range c.Caps {
		args = append(args, "--cap-add", x)
	}
	for k, v := range c.Sysctls {
		args = append(args, "--sysctl", k+"="+v)
	}
	for _, x := range c.Ports {
		args = append(args, "-p", fmt.Sprintf("%s:%d:%d/%s", x.HostIP, x.HostPort, x.Container, x.Protocol))
	}
	p.docker(append(append(args, p.image), c.Args...)...)
	for _, a := range c.Networks[min(1, len(c.Networks)):] {
		p.docker("network", "connect", "--ip", a.IP, containers.NetworkName(p.id, a.Site), p.name(c.Name))
	}
}

// node is a container that answers HTTP where a node of the plan would answer, to those only that may ask. This program has such
// a server: that of a zone.
func (p *place) node(name string, only ...string) {
	p.t.Helper()
	n, err := p.plan.Node(name)
	if err != nil {
		p.t.Fatal(err)
	}
	port := ""
	for s, at := range n.Endpoints {
		if s != topology.ServiceCQL {
			port = at
		}
	}
	p.start(containers.Container{Name: name, Args: answering(port, only...), Networks: []containers.Attachment{{Site: n.Site, IP: n.Host}}})
}

func answering(at string, only ...string) []string {
	host := netip.MustParseAddrPort(at).Addr().String()
	args := []string{"names", "--zone", "node.test.", "--ttl", "9s", "--record", "x", "--at", "s", "--entry", "s=10.0.0.1", "--listen", host + ":5353", "--api", at}
	for _, o := range only {
		args = append(args, "--only-from", o)
	}
	return args
}

// in runs this program in a container.
func (p *place) in(container string, args ...string) (string, error) {
	return p.try(append([]string{"exec", p.name(container), containers.Inside}, args...)...)
}

// dial is what comes of dialling from inside a container.
func (p *place) dial(container string, addresses ...string) map[string]inside.Reached {
	p.t.Helper()
	out, err := p.in(container, append([]string{"dial", "--timeout", "5s"}, addresses...)...)
	if err != nil {
		p.t.Fatalf("dial from %s: %v %s", container, err, out)
	}
	all := map[string]inside.Reached{}
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		var d inside.Dialled
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			p.t.Fatalf("dial from %s: %v: %s", container, err, lines.Text())
		}
		all[d.Address] = d.Result
	}
	return all
}

// reaches holds what a container reaches against what it should. On a busy machine a guard may take longer to turn somebody away
// than a dial watches: it is asked again.
func (p *place) reaches(container string, want map[string]inside.Reached) {
	p.t.Helper()
	var addresses []string
	for a := range want {
		addresses = append(addresses, a)
	}
	p.until(container+" reaches what it should and nothing else", func() error {
		var wrong []error
		got := p.dial(container, addresses...)
		for a, w := range want {
			if got[a] != w {
				wrong = append(wrong, fmt.Errorf("%s dials %s: %s, want %s", container, a, got[a], w))
			}
		}
		return errors.Join(wrong...)
	})
}

// until waits until f succeeds, bounded.
func (p *place) until(what string, f func() error) {
	p.t.Helper()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Since(began) > patience {
			p.t.Fatalf("wait until %s: not within %s; last seen: %v", what, patience, err)
		}
	}
}

// ask is what an HTTP server answers on this machine.
func ask(address string) error {
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get("http://" + address + "/records")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && !bytes.Contains(b, []byte("x.node.test.")) {
		err = errors.New(string(b))
	}
	return err
}

func (p *place) links() *proxies.WAN {
	p.t.Helper()
	w, err := proxies.New(p.plan.Toxiproxy(), filepath.Join(p.t.TempDir(), "links.lock"), p.plan.Topology.Links, p.plan.Routes)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(w.Close)
	return w
}

func live(t *testing.T) topology.Topology {
	t.Helper()
	livetest.Engine(t)
	top, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// TestLiveWAN: three networks, and between them nothing but the doors.
func TestLiveWAN(t *testing.T) {
	p := newPlace(t, live(t), false)
	for _, site := range []topology.Site{"tokyo", "osaka"} {
		p.node(string(site)+"-mysql-1", p.plan.WANHost(site)) // it answers the WAN only: nobody else comes
	}
	p.node("tokyo-gateway-1", p.plan.WANHost("tokyo"))
	began := time.Now()
	p.start(p.spec(containers.WAN))
	links := p.links()
	healthy := func() {
		t.Helper()
		p.until("the WAN is healthy", func() error {
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			return links.Healthy(ctx)
		})
	}
	healthy()
	t.Logf("healthy %s after its start began", time.Since(began).Round(time.Millisecond))

	toTokyo, _ := p.plan.Route("osaka", "tokyo-mysql-1")
	toOsaka, _ := p.plan.Route("tokyo", "osaka-mysql-1")
	gateway, _ := p.plan.Route(topology.Outside, "tokyo-gateway-1")
	unstarted, _ := p.plan.Route(topology.Outside, "osaka-gateway-1")
	passes := func() {
		t.Helper()
		for from, door := range map[string]string{"osaka-mysql-1": toTokyo.Door, "tokyo-mysql-1": toOsaka.Door} {
			if out, err := p.in(from, "healthy", "http", "http://"+door+"/records"); err != nil {
				t.Errorf("%s asks %s: %v %s", from, door, err, out)
			}
		}
		for _, r := range []proxies.Route{toTokyo, toOsaka, gateway} {
			if err := ask(r.Reach); err != nil {
				t.Errorf("this machine asks %s at %s: %v", r.Node, r.Reach, err)
			}
		}
	}
	passes()
	if err := ask(unstarted.Reach); err == nil {
		t.Error("a node that is not there answers")
	}
	if out, err := p.in(containers.WAN, p.spec(containers.WAN).Health.Test[1:]...); err != nil {
		t.Errorf("its own health check: %v %s", err, out)
	}
	if out := p.docker("logs", p.name(containers.WAN)); strings.Contains(out, "warning") {
		t.Errorf("it warns: %s", out)
	}

	// What a node of Tokyo reaches: its own doors. Neither the API nor the taps, at no address; nothing of Osaka, of its doors, of
	// the machine.
	w := func(site topology.Site, port string) string { return net.JoinHostPort(p.plan.WANHost(site), port) }
	osaka, err := p.plan.Node("osaka-mysql-1")
	if err != nil {
		t.Fatal(err)
	}
	p.reaches("tokyo-mysql-1", map[string]inside.Reached{
		toOsaka.Door:        inside.Open,
		w("tokyo", "8474"):  inside.Turned,
		w("tokyo", "20001"): inside.Turned,
		net.JoinHostPort(hostOf(toOsaka.Door), "8474"): inside.Turned,
		w("tokyo", "22"):                       inside.Refused,
		w("osaka", "8474"):                     inside.TimedOut,
		w(topology.Outside, "8474"):            inside.TimedOut,
		toTokyo.Door:                           inside.TimedOut,
		gateway.Door:                           inside.TimedOut,
		osaka.Endpoints[topology.ServiceMySQL]: inside.TimedOut,
		net.JoinHostPort(p.plan.Gateway("tokyo"), "8474"): inside.Refused,
		net.JoinHostPort(p.plan.Gateway("tokyo"), "3306"): inside.Refused,
	})

	// A link's declared delay is there, a cut refuses both inside and at the tap, and a restart heals.
	mysql := links.Link(toOsaka.Upstream())
	declared := slices.IndexFunc(p.plan.Topology.Links, func(l topology.LinkSpec) bool { return l.ID == mysql.ID() })
	base := topology.Layers{Delay: p.plan.Topology.Links[declared].Delay, Access: topology.Allow}
	layers := func(want topology.Layers) {
		t.Helper()
		if got, err := mysql.Layers(t.Context()); err != nil || got != want {
			t.Errorf("link %s is %+v, %v, want %+v", mysql.ID(), got, err, want)
		}
	}
	layers(base)
	cut := func() {
		t.Helper()
		if err := mysql.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}); err != nil {
			t.Fatal(err)
		}
		p.reaches("tokyo-mysql-1", map[string]inside.Reached{toOsaka.Door: inside.Refused})
		if err := ask(toOsaka.Reach); err == nil {
			t.Error("a cut link answers this machine")
		}
		if err := ask(gateway.Reach); err != nil {
			t.Errorf("another link: %v", err)
		}
	}
	cut()
	if err := mysql.SetFault(t.Context(), topology.Fault{}); err != nil {
		t.Fatal(err)
	}
	passes()
	for _, how := range [][]string{{"restart", "-t", "20"}, {"kill"}} {
		cut()
		p.docker(append(how, p.name(containers.WAN))...)
		if how[0] == "kill" {
			p.docker("start", p.name(containers.WAN))
		}
		healthy()
		layers(base)
		passes()
	}
	p.docker("stop", "-t", "20", p.name(containers.WAN))
	if code := p.docker("inspect", "-f", "{{.State.ExitCode}}", p.name(containers.WAN)); code != "0" {
		t.Errorf("stopped in order it exits %s", code)
	}
}

func hostOf(address string) string { return netip.MustParseAddrPort(address).Addr().String() }

// TestLiveBypass: the planted defect. The doors answer whatever toxiproxy is told.
func TestLiveBypass(t *testing.T) {
	p := newPlace(t, live(t), true)
	p.node("tokyo-mysql-1", p.plan.WANHost("tokyo"))
	p.node("osaka-mysql-1")
	p.start(p.spec(containers.WAN))
	links := p.links()
	p.until("the WAN is healthy", func() error { return links.Healthy(t.Context()) })
	r, _ := p.plan.Route("osaka", "tokyo-mysql-1")
	l := links.Link(r.Upstream())
	if err := l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}); err != nil {
		t.Fatal(err)
	}
	if out, err := p.in("osaka-mysql-1", "healthy", "http", "http://"+r.Door+"/records"); err != nil {
		t.Errorf("through the door: %v %s", err, out)
	}
	p.reaches("osaka-mysql-1", map[string]inside.Reached{r.Listen: inside.Refused})
	if err := ask(r.Reach); err != nil {
		t.Errorf("this machine: %v", err)
	}
}

// TestLivePod: a node's identity is its own and its region's peers find it, without the WAN; it survives what runs in it.
func TestLivePod(t *testing.T) {
	top := live(t)
	for i := range top.Regions {
		top.Regions[i].Cassandra = 2
	}
	p := newPlace(t, top, false)
	nodes := p.plan.Of("tokyo", topology.Cassandra)
	identity := func(n plan.Node) string { return net.JoinHostPort(n.Broadcast, "7000") }
	for _, n := range nodes {
		p.start(p.spec(containers.Pod(n.Name)))
		p.until("the identity is set", func() error {
			if got := p.dial(containers.Pod(n.Name), identity(n)); got[identity(n)] != inside.Refused {
				return fmt.Errorf("%v", got)
			}
			return nil
		})
		p.start(containers.Container{Name: n.Name, Pod: containers.Pod(n.Name), Args: answering(identity(n), nodes[0].Host, nodes[1].Host)})
	}
	others := func() {
		t.Helper()
		for i, n := range nodes {
			peer := nodes[1-i]
			p.until(peer.Name+" answers "+n.Name, func() error {
				out, err := p.in(containers.Pod(n.Name), "healthy", "http", "http://"+identity(peer)+"/records")
				if err != nil {
					return errors.New(out)
				}
				return nil
			})
		}
	}
	others()
	first := p.name(nodes[0].Name)
	p.docker("kill", first)
	p.docker("start", first)
	others()
	if out, err := p.in(containers.Pod(nodes[0].Name), "net", "--address", nodes[0].Broadcast+"/33"); err == nil {
		t.Errorf("an odd address passes: %s", out)
	}
	pod := p.name(containers.Pod(nodes[1].Name))
	p.docker("stop", "-t", "20", pod)
	if code := p.docker("inspect", "-f", "{{.State.ExitCode}}", pod); code != "0" {
		t.Errorf("told to stop, the network's container exits %s", code)
	}

	// Without any network: lo is up, and twice is as good as once.
	p.start(containers.Container{Name: "none", Args: []string{"net", "--address", "10.9.34.1/32"}, Caps: []string{"NET_ADMIN"}})
	p.until("the address is there", func() error {
		if got := p.dial("none", "10.9.34.1:7000", "127.0.0.1:7000"); got["10.9.34.1:7000"] != inside.Refused || got["127.0.0.1:7000"] != inside.Refused {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	p.docker("restart", "-t", "20", p.name("none"))
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
	defer stop()
	out, _ := exec.CommandContext(ctx, "docker", "exec", p.name("none"), containers.Inside, "net", "--address", "10.9.34.1/32").CombinedOutput()
	if !strings.Contains(string(out), "inside: network: [10.9.34.1/32] here") {
		t.Errorf("a second time: %s", out)
	}
}

// TestLiveNames: the outside's nodes and this machine see the same zone, each by its own addresses.
func TestLiveNames(t *testing.T) {
	p := newPlace(t, live(t), false)
	p.start(p.spec(containers.Names))
	p.node("outside-onprem-1")
	zone := edge.NewRemote(p.plan.Names(false), containers.NamesAPI(p.plan))
	defer zone.Close()
	name := p.plan.Topology.Zone.Records[0] + "." + p.plan.Topology.Zone.Name
	leads := func(site topology.Site) {
		t.Helper()
		r, _ := p.plan.Route(topology.Outside, string(site)+"-gateway-1")
		for _, network := range []string{"udp", "tcp"} {
			m := new(dns.Msg)
			m.SetQuestion(name, dns.TypeA)
			// From this machine both: the container's own address is that which its neighbours ask.
			for at, want := range map[string]string{p.plan.Names(false): hostOf(r.Reach), p.plan.Names(true): hostOf(r.Door)} {
				p.until(name+" leads to "+want, func() error {
					got, _, err := (&dns.Client{Net: network, Timeout: 5 * time.Second}).Exchange(m, at)
					if err != nil {
						return err
					}
					if len(got.Answer) != 1 || got.Answer[0].(*dns.A).A.String() != want {
						return fmt.Errorf("%s over %s: %v", at, network, got.Answer)
					}
					return nil
				})
			}
		}
	}
	leads("tokyo")
	if err := zone.Point(t.Context(), p.plan.Topology.Zone.Records[0], "osaka"); err != nil {
		t.Fatal(err)
	}
	leads("osaka")
	api := netip.MustParseAddrPort(containers.NamesAPI(p.plan)).Port()
	p.reaches("outside-onprem-1", map[string]inside.Reached{
		net.JoinHostPort(hostOf(p.plan.Names(true)), strconv.Itoa(int(api))): inside.Turned,
		p.plan.Names(true): inside.Open,
	})
	if out, err := p.in(containers.Names, "boot"); err != nil || len(out) != 36 {
		t.Errorf("boot id %q, %v", out, err)
	}
}
