package containers

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

func twoRegion(t testing.TB) topology.Topology {
	t.Helper()
	top, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// text is what the containers of a world are, for people to read and compare.
func text(p plan.Plan, o Options) string {
	var b strings.Builder
	for _, n := range Networks(p, o) {
		fmt.Fprintf(&b, "network %s: %s, gateway %s, %s, labels %s\n", n.Name, n.Subnet, n.Gateway, pairs(n.Options), pairs(n.Labels))
	}
	for _, c := range Specs(p, o) {
		fmt.Fprintf(&b, "\n%s\n  image %s: %s\n", FullName(o.ID, c.Name), c.Image, strings.Join(c.Entrypoint, " "))
		for _, a := range c.Args {
			fmt.Fprintf(&b, "    %s\n", a)
		}
		line := func(name, value string) {
			if value != "" {
				fmt.Fprintf(&b, "  %s %s\n", name, value)
			}
		}
		line("env", pairs(c.Env))
		for _, a := range c.Networks {
			line("network", fmt.Sprintf("%s %s", a.Site, a.IP))
		}
		line("pod", c.Pod)
		for _, p := range c.Ports {
			line("port", fmt.Sprintf("%s:%d -> %d/%s", p.HostIP, p.HostPort, p.Container, p.Protocol))
		}
		line("caps", strings.Join(c.Caps, " "))
		line("sysctls", pairs(c.Sysctls))
		for _, v := range c.Volumes {
			line("volume", VolumeName(o.ID, c.Name, v)+" at "+v.Path)
		}
		line("labels", pairs(c.Labels))
		if h := c.Health; h != nil {
			line("health", fmt.Sprintf("%s every %s, at most %s, first %s free, then %d times", strings.Join(h.Test, " "), h.Interval, h.Timeout, h.StartPeriod, h.Retries))
		}
		for _, n := range c.Needs {
			line("needs", n.Container+" "+string(n.Condition))
		}
		line("is", fmt.Sprintf("started %v, one-shot %v, given %s to end", c.Start, c.OneShot, c.Grace))
	}
	return b.String()
}

func pairs(m map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k+"="+m[k])
	}
	return strings.Join(all, " ")
}

func TestSpecs(t *testing.T) {
	top := twoRegion(t)
	big := twoRegion(t)
	fenced, err := topology.Load("../../fixtures/topologies/two-region-witness.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fenced.Reconcile = true
	for i := range big.Regions {
		big.Regions[i].Cassandra = 3
	}
	for _, c := range []struct {
		name string
		p    plan.Plan
		o    Options
	}{
		{"two-region", plan.Layout(top, 9, plan.Private, false), Options{ID: "w1a2b3", Secret: "s3", Owner: "boot:12:34", Folder: "/runs/1"}},
		{"three-nodes", plan.Layout(big, 9, plan.Private, false), Options{ID: "w1a2b3", Secret: "s3"}},
		{"planted", plan.Layout(top, 9, plan.Private, true), Options{ID: "w1a2b3", Secret: "s3", Defects: map[string][]string{
			"wan": {"bypass"}, "app": {"--defect", "ack-before-commit"}}}},
		{"witness", plan.Layout(fenced, 9, plan.Private, false), Options{ID: "w1a2b3", Secret: "s3"}},
		{"composed", plan.Layout(top, 1, plan.Private, false), Options{ID: "compose", Secret: "s3", Composed: true}},
	} {
		got, file := text(c.p, c.o), filepath.Join("testdata", c.name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is not what %s says (go test -update writes it anew):\n%s", c.name, file, diff(string(want), got))
		}
	}
}

// diff shows the lines that only one of two texts has.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for _, l := range w {
		if !slices.Contains(g, l) {
			b.WriteString("- " + l + "\n")
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			b.WriteString("+ " + l + "\n")
		}
	}
	return b.String()
}

// check says everything that is wrong with a world's containers.
func check(p plan.Plan, o Options, all []Container) []string {
	var wrong []string
	bad := func(format string, a ...any) { wrong = append(wrong, fmt.Sprintf(format, a...)) }
	seen := map[string]Container{}
	published := map[string]int{}
	addresses := map[string]string{}
	inner := map[string]string{}
	nodes := map[string]int{}
	for _, c := range all {
		if _, twice := seen[c.Name]; twice {
			bad("%s is there twice", c.Name)
		}
		for _, n := range c.Needs {
			x, ok := seen[n.Container]
			if !ok {
				bad("%s needs %s, which does not come before it", c.Name, n.Container)
			} else if n.Condition == Healthy && x.Health == nil {
				bad("%s needs a healthy %s, which has no health check", c.Name, n.Container)
			} else if c.Start && !x.Start {
				bad("%s needs %s, which is not started", c.Name, n.Container)
			}
		}
		seen[c.Name] = c
		if (c.Pod == "") == (len(c.Networks) == 0) {
			bad("%s has pod %q and %d networks", c.Name, c.Pod, len(c.Networks))
		}
		if c.Pod != "" {
			pod, ok := seen[c.Pod]
			if !ok || len(pod.Networks) != 1 || c.Node == nil || pod.Networks[0] != (Attachment{c.Node.Site, c.Node.Host}) {
				bad("%s is in %s, which is not at its place", c.Name, c.Pod)
			}
			if len(c.Ports) > 0 || len(c.Caps) > 0 || len(c.Sysctls) > 0 {
				bad("%s shares a network namespace and wants to change it", c.Name)
			}
		}
		if len(c.Networks) > 1 && c.Name != WAN && c.Name != Wire {
			bad("%s is on %d networks", c.Name, len(c.Networks))
		}
		for _, a := range c.Networks {
			ip, err := netip.ParseAddr(a.IP)
			if err != nil || !p.Subnet(a.Site).Contains(ip) {
				bad("%s is at %s of %s", c.Name, a.IP, a.Site)
			}
			if a.IP == p.Gateway(a.Site) || addresses[a.IP] != "" {
				bad("%s has the address %s of another", c.Name, a.IP)
			}
			addresses[a.IP] = c.Name
			if c.Node != nil && a.Site != c.Node.Site {
				bad("%s of %s is on the network of %s", c.Name, c.Node.Site, a.Site)
			}
		}
		for _, port := range c.Ports {
			ip, err := netip.ParseAddr(port.HostIP)
			if err != nil || !netip.MustParsePrefix(fmt.Sprintf("127.%d.0.0/16", p.Octet)).Contains(ip) {
				bad("%s publishes on %s", c.Name, port.HostIP)
			}
			published[fmt.Sprintf("%s:%d/%s", port.HostIP, port.HostPort, port.Protocol)]++
			key := fmt.Sprintf("%s:%d/%s", c.Name, port.Container, port.Protocol)
			if inner[key] != "" {
				bad("%s is published at two places", key)
			}
			inner[key] = port.HostIP
		}
		if slices.Contains(c.Caps, "NET_ADMIN") && c.Image != ImageWAN {
			bad("%s may change its network", c.Name)
		}
		if c.Node != nil {
			nodes[c.Node.Name]++
			if c.Name != c.Node.Name {
				bad("%s is called %s", c.Node.Name, c.Name)
			}
			if n, err := p.Node(c.Node.Name); err != nil || n.Host != c.Node.Host {
				bad("%s is not the plan's: %v", c.Name, err)
			}
			if c.Start != p.Normally(*c.Node) {
				bad("%s: started %v", c.Name, c.Start)
			}
		}
		if c.Labels[LabelWorld] != o.ID || c.Labels[LabelNode] != c.Name || c.Labels[LabelOwner] != o.Owner || c.Labels[LabelFolder] != o.Folder {
			bad("%s has labels %v", c.Name, c.Labels)
		}
		if c.Grace <= 0 || len(c.Entrypoint) == 0 || len(c.Args) == 0 {
			bad("%s: %v %v, given %s", c.Name, c.Entrypoint, c.Args, c.Grace)
		}
	}
	for _, n := range p.Nodes {
		if nodes[n.Name] != 1 {
			bad("%s has %d containers", n.Name, nodes[n.Name])
		}
	}
	if len(nodes) != len(p.Nodes) {
		bad("%d nodes of %d", len(nodes), len(p.Nodes))
	}
	for _, a := range append(p.Listens(), NamesAPI(p)) {
		if published[a+"/tcp"] != 1 {
			bad("%s is published %d times", a, published[a+"/tcp"])
		}
		delete(published, a+"/tcp")
	}
	if published[p.Names(false)+"/udp"] != 1 {
		bad("the name server is published %d times", published[p.Names(false)+"/udp"])
	}
	delete(published, p.Names(false)+"/udp")
	for a := range published {
		bad("%s is published and nothing of the plan's", a)
	}
	return wrong
}

func TestSpecsOfAnySize(t *testing.T) {
	base := twoRegion(t)
	rapid.Check(t, func(t *rapid.T) {
		top := base
		top.Regions = slices.Clone(base.Regions)
		top.Fence = rapid.SampledFrom([]topology.Fence{topology.NoFence, topology.WitnessFence}).Draw(t, "fence")
		top.Reconcile = rapid.Bool().Draw(t, "reconcile")
		for i := range top.Regions {
			top.Regions[i].Cassandra, top.Regions[i].Apps = rapid.IntRange(1, 9).Draw(t, "cassandra"), rapid.IntRange(1, 9).Draw(t, "apps")
		}
		p := plan.Layout(top, rapid.IntRange(1, 254).Draw(t, "octet"), plan.Private, rapid.Bool().Draw(t, "bypass"))
		o := Options{ID: "w1", Secret: "s", Owner: rapid.SampledFrom([]string{"", "boot:1:2"}).Draw(t, "owner"), Composed: rapid.Bool().Draw(t, "composed")}
		all := Specs(p, o)
		for _, w := range check(p, o, all) {
			t.Error(w)
		}
		if got := slices.ContainsFunc(all, func(c Container) bool { return c.Name == Wire }); got != o.Composed {
			t.Errorf("wired: %v", got)
		}
		bypass := slices.Contains(all[0].Args, "--bypass")
		if all[0].Name != WAN || bypass != (p.Routes[0].Listen != p.Routes[0].Door) {
			t.Errorf("%s goes around the proxies: %v", all[0].Name, bypass)
		}
	})
}

// TestCheckSees: what check looks for is found.
func TestCheckSees(t *testing.T) {
	p := plan.Layout(twoRegion(t), 9, plan.Private, false)
	o := Options{ID: "w1", Secret: "s"}
	at := func(all []Container, name string) *Container {
		return &all[slices.IndexFunc(all, func(c Container) bool { return c.Name == name })]
	}
	for _, c := range []struct {
		want string
		do   func(all []Container) []Container
	}{
		{"of tokyo is on the network of osaka", func(all []Container) []Container {
			at(all, "tokyo-mysql-1").Networks[0] = Attachment{"osaka", "10.9.32.99"}
			return all
		}},
		{"is on 2 networks", func(all []Container) []Container {
			c := at(all, "tokyo-mysql-1")
			c.Networks = append(c.Networks, Attachment{topology.Outside, "10.9.0.99"})
			return all
		}},
		{"publishes on 0.0.0.0", func(all []Container) []Container { at(all, "tokyo-mysql-1").Ports[0].HostIP = "0.0.0.0"; return all }},
		{"tokyo-mysql-1 has 0 containers", func(all []Container) []Container {
			return slices.DeleteFunc(all, func(c Container) bool { return c.Name == "tokyo-mysql-1" })
		}},
		{"is there twice", func(all []Container) []Container { return append(all, *at(all, "tokyo-mysql-1")) }},
		{"127.9.16.21:3306 is published 0 times", func(all []Container) []Container { at(all, "tokyo-mysql-1").Ports = nil; return all }},
		{"nothing of the plan's", func(all []Container) []Container { at(all, "tokyo-mysql-1").Ports[0].HostPort++; return all }},
		{"osaka-app-1: started true", func(all []Container) []Container { at(all, "osaka-app-1").Start = true; return all }},
		{"may change its network", func(all []Container) []Container {
			at(all, "tokyo-app-1").Caps = []string{"NET_ADMIN"}
			return all
		}},
		{"does not come before it", func(all []Container) []Container { slices.Reverse(all); return all }},
		{"the address 10.9.16.21 of another", func(all []Container) []Container { at(all, "tokyo-app-1").Networks[0].IP = "10.9.16.21"; return all }},
	} {
		all := Specs(p, o)
		for i := range all {
			all[i].Networks, all[i].Ports = slices.Clone(all[i].Networks), slices.Clone(all[i].Ports)
		}
		if got := strings.Join(check(p, o, c.do(all)), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("no %q in:\n%s", c.want, got)
		}
	}
}
