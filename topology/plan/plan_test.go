package plan

import (
	"net/netip"
	"testing"

	"github.com/kirikae/kirikae/topology"
)

func twoRegion(t *testing.T) topology.Topology {
	t.Helper()
	top, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func TestLayout(t *testing.T) {
	p := Layout(twoRegion(t), 9, Private, false)
	if len(p.Nodes) != 18 {
		t.Errorf("%d nodes", len(p.Nodes))
	}
	for name, want := range map[string]string{
		"tokyo-mysql-1": "10.9.16.21", "osaka-mysql-1": "10.9.32.21", "tokyo-cassandra-1": "10.9.16.1", "osaka-app-2": "10.9.32.42",
		"tokyo-params-1": "10.9.16.31", "tokyo-gateway-1": "10.9.16.51", "osaka-batch-1": "10.9.32.61",
		"tokyo-reconcile-1": "10.9.16.65", "outside-acquirer-1": "10.9.0.11", "outside-onprem-1": "10.9.0.71",
	} {
		n, err := p.Node(name)
		if err != nil || n.Host != want {
			t.Errorf("%s is at %q, want %s, %v", name, n.Host, want, err)
		}
	}
	for _, c := range []struct {
		from        topology.Site
		node        string
		door, reach string
	}{
		{"osaka", "tokyo-mysql-1", "10.9.34.21:3306", "127.9.34.21:3306"},
		{"tokyo", "osaka-mysql-1", "10.9.19.21:3306", "127.9.19.21:3306"},
		{"osaka", "tokyo-cassandra-1", "10.9.34.1:7000", "127.9.34.1:7000"},
		{"outside", "tokyo-gateway-1", "10.9.2.51:8080", "127.9.2.51:8080"},
		{"outside", "osaka-gateway-1", "10.9.3.51:8080", "127.9.3.51:8080"},
		{"tokyo", "outside-acquirer-1", "10.9.17.11:8080", "127.9.17.11:8080"},
		{"osaka", "outside-acquirer-1", "10.9.33.11:8080", "127.9.33.11:8080"},
		{"osaka", "tokyo-params-1", "", ""},
	} {
		r, ok := p.Route(c.from, c.node)
		if r.Door != c.door || r.Reach != c.reach || ok != (c.door != "") || p.Door(c.from, c.node) != c.door {
			t.Errorf("%s dials %s at %q (%q), want %q (%q)", c.from, c.node, r.Door, r.Reach, c.door, c.reach)
		}
		if ok && !p.Subnet(c.from).Contains(netip.MustParseAddrPort(r.Door).Addr()) {
			t.Errorf("%s dials %s, which is not in its own network %s", c.from, r.Door, p.Subnet(c.from))
		}
	}
	if b := p.Of("tokyo", topology.Cassandra)[0].Broadcast; b != "10.9.34.1" {
		t.Errorf("tokyo's Cassandra broadcasts %s", b)
	}
	if p.Toxiproxy() != "127.9.0.254:8474" || p.Names(false) != "127.9.0.53:5353" || p.Names(true) != "10.9.0.53:5353" {
		t.Errorf("%s, %s, %s", p.Toxiproxy(), p.Names(false), p.Names(true))
	}
	if p.WANHost("osaka") != "10.9.32.254" || p.Gateway("tokyo") != "10.9.31.254" || p.Gateway(topology.Outside) != "10.9.15.254" {
		t.Errorf("%s, %s, %s", p.WANHost("osaka"), p.Gateway("tokyo"), p.Gateway(topology.Outside))
	}
	if _, err := p.Node("tokyo-mysq-1"); err == nil {
		t.Error("a node that is not there was found")
	}
	if l := Layout(twoRegion(t), 9, Loopback, false); l.Nodes[0].Endpoints[topology.ServiceMySQL] != l.Nodes[0].Reach[topology.ServiceMySQL] {
		t.Error("on one loopback the two addresses differ")
	}
}

// TestWitness: where there is one, both regions have a door to it.
func TestWitness(t *testing.T) {
	top := twoRegion(t)
	if p := Layout(top, 9, Private, false); len(p.Of("", topology.Witness)) != 0 {
		t.Error("a witness without a fence")
	}
	top.Fence = topology.WitnessFence
	p := Layout(top, 9, Private, false)
	if n, err := p.Node("outside-witness-1"); err != nil || n.Host != "10.9.0.12" || n.Reach[topology.ServiceHTTP] != "127.9.0.12:8080" {
		t.Errorf("%+v, %v", n, err)
	}
	for from, door := range map[topology.Site]string{"tokyo": "10.9.17.12:8080", "osaka": "10.9.33.12:8080"} {
		r, ok := p.Route(from, "outside-witness-1")
		if !ok || r.Door != door || r.Service != topology.ServiceWitness || r.To != topology.Outside {
			t.Errorf("%s dials the witness by %+v", from, r)
		}
	}
}

// TestNormally: what runs from the start.
func TestNormally(t *testing.T) {
	top := twoRegion(t)
	for _, reconcile := range []bool{false, true} {
		top.Reconcile = reconcile
		p := Layout(top, 9, Loopback, false)
		want := map[string]bool{"tokyo-app-1": true, "tokyo-app-2": true, "osaka-app-1": false, "osaka-app-2": false, "outside-onprem-1": false,
			"tokyo-reconcile-1": reconcile, "osaka-reconcile-1": false}
		for _, n := range p.Nodes {
			if w, named := want[n.Name]; p.Normally(n) != (w || !named) {
				t.Errorf("reconcile %v: %s runs: %v", reconcile, n.Name, p.Normally(n))
			}
		}
	}
}

// TestAddressesAreUnique: whatever the size, nothing is given twice, and all of it is in the world's own block.
func TestAddressesAreUnique(t *testing.T) {
	top := twoRegion(t)
	top.Fence = topology.WitnessFence
	for i := range top.Regions {
		top.Regions[i].Cassandra, top.Regions[i].Apps = 9, 9
	}
	for _, c := range []struct {
		prefix int
		bypass bool
	}{{Loopback, false}, {Loopback, true}, {Private, false}, {Private, true}} {
		p := Layout(top, 250, c.prefix, c.bypass)
		seen := map[string]bool{}
		once := func(a string, within string) {
			t.Helper()
			at, err := netip.ParseAddrPort(a)
			if err != nil || !netip.MustParsePrefix(within).Contains(at.Addr()) {
				t.Errorf("address %s is not in %s: %v", a, within, err)
			}
			if seen[a] {
				t.Errorf("%s is given twice", a)
			}
			seen[a] = true
		}
		for _, a := range p.Listens() {
			once(a, "127.250.0.0/16")
		}
		for _, r := range p.Routes {
			if (r.Listen != r.Door) != c.bypass {
				t.Errorf("bypass %v: %+v", c.bypass, r)
			}
			if c.prefix == Private {
				once(r.Door, "10.250.0.0/16")
			}
		}
		for _, s := range p.Sites() {
			once(p.WANHost(s)+":1", p.Subnet(s).String())
			once(p.Gateway(s)+":1", p.Subnet(s).String())
			for _, other := range p.Sites() {
				if s != other && p.Subnet(s).Overlaps(p.Subnet(other)) {
					t.Errorf("the networks of %s and %s overlap", s, other)
				}
			}
		}
	}
}
