package docker

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
	"github.com/kirikae/kirikae/topology/plan"
)

func twoRegion(t *testing.T) topology.Topology {
	t.Helper()
	topo, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func specs(t *testing.T) map[string]containers.Container {
	t.Helper()
	all := map[string]containers.Container{}
	for _, c := range containers.Specs(plan.Layout(twoRegion(t), 9, plan.Private, false), containers.Options{ID: "w1", Secret: "s"}) {
		all[c.Name] = c
	}
	return all
}

func image() images.Resolved {
	return images.Resolved{Image: topology.Image{Name: "x", Reference: "x:1", ID: "sha256:1"}, User: "999:999"}
}

// TestRequest: what testcontainers is told of a container with an address, of one on three networks, and of one in a pod.
func TestRequest(t *testing.T) {
	all := specs(t)
	for name, c := range all {
		r, err := request("w1", cgroupParent("cgroupfs"), image(), c, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var config container.Config
		var host container.HostConfig
		ends := map[string]*network.EndpointSettings{}
		r.ConfigModifier(&config)
		r.HostConfigModifier(&host)
		if r.Image != "docker.io/library/x:1" || config.Image != "sha256:1" || r.Name != "kirikae-w1-"+name || config.User != "999:999" || r.WaitingFor != nil || r.Started {
			t.Errorf("%s: %+v, %+v", name, r, config)
		}
		if host.CgroupParent != "/" {
			t.Errorf("%s: below the control group %q", name, host.CgroupParent)
		}
		if len(host.Mounts) != len(c.Volumes) {
			t.Errorf("%s: mounts %v", name, host.Mounts)
		}
		for _, m := range host.Mounts {
			if !strings.HasPrefix(m.Source, "kirikae-w1-"+name) || m.VolumeOptions.Labels[containers.LabelWorld] != "w1" {
				t.Errorf("%s: volume %+v", name, m)
			}
		}
		for p, bs := range host.PortBindings {
			for _, b := range bs {
				if !b.HostIP.IsLoopback() || b.HostPort == "" || b.HostPort == "0" {
					t.Errorf("%s publishes %s on %+v", name, p, b)
				}
			}
			if !slices.Contains(r.ExposedPorts, p.String()) {
				t.Errorf("%s publishes %s and exposes %v", name, p, r.ExposedPorts)
			}
		}
		if c.Pod != "" {
			if string(host.NetworkMode) != "container:kirikae-w1-"+c.Pod || config.Hostname != "" || r.Networks != nil || r.EndpointSettingsModifier != nil {
				t.Errorf("%s: network mode %s, %v", name, host.NetworkMode, r.Networks)
			}
			continue
		}
		r.EndpointSettingsModifier(ends)
		first := "kirikae-w1-" + string(c.Networks[0].Site)
		if len(ends) != 1 || ends[first] == nil || ends[first].IPAMConfig.IPv4Address.String() != c.Networks[0].IP || string(host.NetworkMode) != first {
			t.Errorf("%s: endpoints %v, mode %s", name, ends, host.NetworkMode)
		}
		if len(r.Networks) != 1 || len(r.LifecycleHooks) != 1 || len(r.LifecycleHooks[0].PostCreates) != 1 {
			t.Errorf("%s: networks %v, hooks %v", name, r.Networks, r.LifecycleHooks)
		}
	}
	if w := all[containers.WAN]; len(w.Networks) != 3 || len(w.Caps) == 0 {
		t.Errorf("the WAN: %+v", w)
	}
}

func TestCgroupParent(t *testing.T) {
	if systemd := cgroupParent("systemd"); systemd != "" {
		t.Errorf("a slice named %q", systemd)
	}
}

// TestRequestRefuses what would be open to the regions, or to anybody.
func TestRequestRefuses(t *testing.T) {
	good := specs(t)["tokyo-mysql-1"]
	for name, c := range map[string]struct {
		change func(*containers.Container)
		says   string
	}{
		"no ports":   {func(c *containers.Container) { c.Ports = nil }, "publishes no port"},
		"no network": {func(c *containers.Container) { c.Networks = nil }, "on no network"},
		"everywhere": {func(c *containers.Container) { c.Ports[0].HostIP = "0.0.0.0" }, "no loopback address"},
		"outside":    {func(c *containers.Container) { c.Ports[0].HostIP = "192.0.2.1" }, "no loopback address"},
		"nowhere":    {func(c *containers.Container) { c.Ports[0].HostIP = "" }, "publish the ports"},
		"protocol":   {func(c *containers.Container) { c.Ports[0].Protocol = "tcpx" }, "publish the ports"},
		"address":    {func(c *containers.Container) { c.Networks[0].IP = "x" }, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			bad.Ports, bad.Networks = slices.Clone(good.Ports), slices.Clone(good.Networks)
			c.change(&bad)
			if _, err := request("w1", cgroupParent("cgroupfs"), image(), bad, nil, nil); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

// TestAcquirerLog: what is copied out of a world at its end is what its acquirer writes.
func TestAcquirerLog(t *testing.T) {
	args := specs(t)["outside-acquirer-1"].Args
	if i := slices.Index(args, "--log"); i < 0 || args[i+1] != acquirerLog {
		t.Errorf("the acquirer is started with %v, its log is read from %s", args, acquirerLog)
	}
}

func TestMachinesOrder(t *testing.T) {
	f := hosted.File{ID: "w1", Plan: plan.Layout(twoRegion(t), 9, plan.Private, false), Logs: t.TempDir()}
	m := newMachines(fakeEngine(), nil, "", 2, nil, hosted.Ground{File: f})
	var levels []int
	for _, c := range m.order {
		levels = append(levels, level(c))
	}
	if !slices.IsSorted(levels) || levels[0] != 0 || levels[len(levels)-1] != 2 {
		t.Errorf("%v", levels)
	}
	if s, err := m.State(t.Context(), f.Plan.Nodes[0]); err != nil || s != topology.Stopped {
		t.Errorf("not made yet: %s, %v", s, err)
	}
	m.boxes[f.Plan.Nodes[0].Name].isMade(errors.New("no image"))
	if _, err := m.State(t.Context(), f.Plan.Nodes[0]); err == nil || err.Error() != "no image" {
		t.Errorf("could not be made: %v", err)
	}
	if err := m.Start(t.Context(), f.Plan.Nodes[0], false); err == nil || err.Error() != "no image" {
		t.Errorf("could not be made: %v", err)
	}
	if _, err := m.State(t.Context(), plan.Node{Name: "x"}); err == nil {
		t.Error("a node that is none")
	}
}

func TestOwnerLabel(t *testing.T) {
	self, err := hosted.Self()
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := readOwner(ownerLabel(self)); !ok || o != self {
		t.Errorf("%+v, %v", o, ok)
	}
	gone := self
	gone.StartTime++ // the process id was used again
	away := self
	away.BootID = "00000000-0000-0000-0000-000000000000"
	for _, c := range []struct {
		name  string
		label string
		local bool
		dead  bool
	}{
		{"this process", ownerLabel(self), true, false},
		{"this process, engine elsewhere", ownerLabel(self), false, false},
		{"a process that is gone", ownerLabel(gone), true, true},
		{"a process that is gone, engine elsewhere", ownerLabel(gone), false, true},
		{"another boot of this machine", ownerLabel(away), true, true},
		{"another machine's", ownerLabel(away), false, false},
		{"no owner", "", true, false},
		{"not ours", "somebody", true, false},
		{"half a label", history.BootID() + ":1", true, false},
		{"no number", history.BootID() + ":x:1", true, false},
	} {
		if got := dead(c.label, c.local); got != c.dead {
			t.Errorf("%s: dead %v", c.name, got)
		}
	}
}

func TestRoutes(t *testing.T) {
	for line, want := range map[string]string{
		"eth0	00000000	010012AC	0003	0	0	0	00000000	0	0	0":        "",
		"eth0	000012AC	00000000	0001	0	0	0	0000FFFF	0	0	0":        "172.18.0.0/16",
		"tun0	0000090A	00000000	0001	0	0	0	0000FFFF	0	0	0":        "10.9.0.0/16",
		"tun0	0010090A	00000000	0001	0	0	0	00F0FFFF	0	0	0":        "10.9.16.0/20",
		"Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask": "",
		"": "",
	} {
		p, _, ok := route(line)
		if got := p.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %s, %v", line, got, ok)
		}
	}
	used := []use{{netip.MustParsePrefix("10.9.0.0/16"), "tun0"}, {netip.MustParsePrefix("10.8.17.3/32"), "lo"}}
	for _, c := range []struct {
		subnet, by string
	}{{"10.9.16.0/20", "tun0"}, {"10.8.16.0/20", "lo"}, {"10.8.0.0/20", ""}, {"10.10.0.0/20", ""}, {"10.0.0.0/8", "tun0"}} {
		if u, _ := overlap(netip.MustParsePrefix(c.subnet), used); u.by != c.by {
			t.Errorf("%s: %q", c.subnet, u.by)
		}
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if lines, err := tailFile(path, 3); err != nil || lines != nil {
		t.Errorf("no file: %q, %v", lines, err)
	}
	var long strings.Builder
	for i := range 200000 {
		fmt.Fprintf(&long, "line %d\n", i)
	}
	for _, c := range []struct {
		text string
		n    int
		want []string
	}{
		{"", 3, nil}, {"a\n", 3, []string{"a"}}, {"a\nb\nc\nd", 2, []string{"c", "d"}}, {"a\n\nb\n", 2, []string{"", "b"}}, {"a\n", 0, nil},
		{long.String(), 2, []string{"line 199998", "line 199999"}},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if lines, err := tailFile(path, c.n); err != nil || !slices.Equal(lines, c.want) {
			t.Errorf("last %d of %.20q: %q, %v", c.n, c.text, lines, err)
		}
	}
}

func TestArchive(t *testing.T) {
	r, err := tarred(aloneFile, "true", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := untar(r, &b); err != nil || b.String() != "true" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if _, err := owned([]string{"/data"}, "root"); err == nil {
		t.Error("a folder of a user without a number")
	}
	if err := untar(strings.NewReader(""), &b); err == nil {
		t.Error("a file out of an empty archive")
	}
}
