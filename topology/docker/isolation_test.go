package docker

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/topologytest"
)

// turned is what becomes of a connection that a guard closes: somebody listens there, and not for this node.
const turned = "closed"

// view dials from inside nodes and says what it expects.
type view struct {
	t *testing.T
	w topology.World
}

// sees expects all addresses to be one of the outcomes, dialled from inside a node.
func (v view) sees(node, what string, addresses []string, outcomes ...string) {
	v.t.Helper()
	got, err := insideOf(v.t.Context(), v.w, node, addresses...)
	if err != nil {
		v.t.Fatalf("%s: dial from %s: %v", what, node, err)
	}
	for _, a := range addresses {
		if !slices.Contains(outcomes, got[a]) {
			v.t.Errorf("%s: from %s of world %s, %s is %q, want %v", what, node, v.w.About().ID, a, got[a], outcomes)
		}
	}
}

// TestWorlds: what the contract cannot know, as it is this runtime's: what a world takes, the WAN's own ports, the name server's, and the
// nodes of another world. Whatever must be closed is seen open, or guarded, from where it may be.
func TestWorlds(t *testing.T) {
	e := live(t)
	var worlds [2]topology.World
	var folders [2]string
	for i := range worlds { // one after the other: two at once are another test's
		worlds[i], folders[i] = create(t, Config{})
	}
	t.Run("takes and logs", func(t *testing.T) { takesAndLogs(t, e, worlds[0], folders[0]) })
	var plans [2]plan.Plan
	for i, folder := range folders {
		f, err := hosted.ReadFile(folder)
		if err != nil {
			t.Fatal(err)
		}
		plans[i] = f.Plan
	}
	w, p, other := view{t, worlds[0]}, plans[0], plans[1]
	const node, outside = "tokyo-params-1", "outside-acquirer-1"
	shut := []string{topologytest.Refused, topologytest.Timeout, topologytest.Unreachable}

	at := func(host string, port int) string { return net.JoinHostPort(host, fmt.Sprint(port)) }
	wanPorts := func(host string) []string {
		all := []string{at(host, 8474)}
		for i := range p.Routes {
			all = append(all, at(host, 20001+i))
		}
		return all
	}
	t.Run("WAN", func(t *testing.T) {
		w.t = t
		w.sees(node, "the WAN's API and taps", wanPorts(p.WANHost("tokyo")), turned)
		w.sees(node, "the WAN at the other region", wanPorts(p.WANHost("osaka")), shut...)
		w.sees(outside, "the WAN's API and taps", wanPorts(p.WANHost(topology.Outside)), turned)
		links := worlds[0].Links() // through the same API, as the machine itself is let in
		if _, err := links[0].Layers(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("names", func(t *testing.T) {
		w.t = t
		host, _, err := net.SplitHostPort(p.Names(true))
		if err != nil {
			t.Fatal(err)
		}
		w.sees(outside, "the public zone", []string{p.Names(true)}, topologytest.Open)
		w.sees(outside, "the zone's console", []string{at(host, 8081)}, turned)
		w.sees(node, "the outside's name server", []string{p.Names(true), at(host, 8081), at(host, 5354)}, shut...)
	})
	t.Run("another world", func(t *testing.T) {
		var theirs, doors []string
		for _, n := range other.Of("tokyo", "") {
			if !other.Normally(n) {
				continue
			}
			for _, a := range n.Endpoints {
				theirs = append(theirs, a)
			}
		}
		for _, r := range other.Routes {
			if r.From == "tokyo" {
				doors = append(doors, r.Door)
			}
		}
		all := slices.Concat(theirs, doors, wanPorts(other.WANHost("tokyo")))
		view{t, worlds[1]}.sees(node, "its own", slices.Concat(theirs, doors), topologytest.Open)
		w.t = t
		w.sees(node, "another world's", all, shut...)
		w.sees(outside, "another world's", all, shut...)
	})
	t.Run("dropped SYN at a door", func(t *testing.T) {
		if why := noDrops(); why != nil {
			t.Skipf("drops packets in the network of a container, which cannot be done from here: %v", why)
		}
		w.t = t
		r, ok := p.Route("tokyo", "osaka-mysql-1")
		if !ok {
			t.Fatal("no door from tokyo to osaka-mysql-1")
		}
		host, port, err := net.SplitHostPort(r.Door)
		if err != nil {
			t.Fatal(err)
		}
		w.sees(node, "the door", []string{r.Door}, topologytest.Open)
		heal, err := drop(t.Context(), worlds[0].About().ID, containers.WAN, "INPUT", "-p", "tcp", "-d", host, "--dport", port, "--syn")
		if err != nil {
			t.Fatal(err)
		}
		w.sees(node, "the door of a WAN that drops", []string{r.Door}, topologytest.Timeout)
		l, err := worlds[0].Link(r.Upstream())
		if err != nil {
			t.Fatal(err)
		}
		if err := heal(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A proxy's black hole is another thing: it accepts, and is silent.
		if err := l.SetFault(t.Context(), topology.Fault{Kind: topology.BlackHole}); err != nil {
			t.Fatal(err)
		}
		w.sees(node, "the door of a black hole", []string{r.Door}, topologytest.Open)
		if err := l.SetFault(t.Context(), topology.Fault{}); err != nil {
			t.Fatal(err)
		}
	})
}
