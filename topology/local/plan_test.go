package local

import (
	"net/netip"
	"strings"
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
	p := layout(twoRegion(t), 9, false)
	at := map[string]string{}
	for _, n := range p.nodes {
		at[n.Name] = n.Host
	}
	for name, want := range map[string]string{
		"tokyo-mysql-1": "127.9.1.21", "osaka-mysql-1": "127.9.2.21", "tokyo-cassandra-1": "127.9.1.1", "osaka-app-2": "127.9.2.42",
		"tokyo-params-1": "127.9.1.31", "tokyo-gateway-1": "127.9.1.51", "osaka-batch-1": "127.9.2.61",
		"outside-acquirer-1": "127.9.0.11", "outside-onprem-1": "127.9.0.71",
	} {
		if at[name] != want {
			t.Errorf("%s is at %q, want %s", name, at[name], want)
		}
	}
	if len(p.nodes) != 16 {
		t.Errorf("%d nodes", len(p.nodes))
	}
	for _, c := range []struct {
		from topology.Site
		node string
		want string
	}{
		{"osaka", "tokyo-mysql-1", "127.9.121.21:3306"},
		{"tokyo", "osaka-mysql-1", "127.9.112.21:3306"},
		{"osaka", "tokyo-cassandra-1", "127.9.121.1:7000"},
		{"outside", "tokyo-gateway-1", "127.9.101.51:8080"},
		{"outside", "osaka-gateway-1", "127.9.102.51:8080"},
		{"tokyo", "outside-acquirer-1", "127.9.110.11:8080"},
		{"osaka", "outside-acquirer-1", "127.9.120.11:8080"},
		{"osaka", "tokyo-params-1", ""},
	} {
		if got := p.door(c.from, c.node); got != c.want {
			t.Errorf("%s dials %s at %q, want %q", c.from, c.node, got, c.want)
		}
	}
	if b := p.of("tokyo", topology.Cassandra)[0].Broadcast; b != "127.9.121.1" {
		t.Errorf("tokyo's Cassandra broadcasts %s", b)
	}
	if p.toxiproxy != "127.9.0.254:8474" || p.names != "127.9.0.53:5353" {
		t.Errorf("%s, %s", p.toxiproxy, p.names)
	}
}

// TestAddressesAreUnique: whatever the size, nothing is given twice, and all of it is in the world's own block.
func TestAddressesAreUnique(t *testing.T) {
	top := twoRegion(t)
	for i := range top.Regions {
		top.Regions[i].Cassandra, top.Regions[i].Apps = 9, 9
	}
	for _, bypass := range []bool{false, true} {
		p := layout(top, 250, bypass)
		seen := map[string]bool{}
		for _, a := range p.addresses() {
			at, err := netip.ParseAddrPort(a)
			if err != nil || !netip.MustParsePrefix("127.250.0.0/16").Contains(at.Addr()) {
				t.Errorf("address %s: %v", a, err)
			}
			if seen[a] {
				t.Errorf("%s is given twice", a)
			}
			seen[a] = true
		}
		for _, r := range p.routes {
			if (r.Listen != r.Door) != bypass {
				t.Errorf("bypass %v: %+v", bypass, r)
			}
		}
	}
}

func TestPlanted(t *testing.T) {
	for _, c := range []struct {
		in     map[string][]string
		bypass bool
		bad    string
	}{
		{nil, false, ""},
		{map[string][]string{"app": {"--defect", "ack-before-commit"}}, false, ""},
		{map[string][]string{"wan": {"bypass"}}, true, ""},
		{map[string][]string{"wan": {"bypas"}}, false, `did you mean "bypass"?`},
		{map[string][]string{"ap": {"x"}}, false, `did you mean "app"?`},
		{map[string][]string{"mysql": {"--x"}}, false, `unknown kind of node "mysql"`},
	} {
		got, err := planted(c.in)
		if got != c.bypass || (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%v: %v, %v", c.in, got, err)
		}
	}
}
