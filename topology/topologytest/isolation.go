package topologytest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/mysql"
)

// isolation: with all links between the regions cut, neither store gets anything across; each region goes on by itself. After
// the heal they catch up.
func (c *contract) isolation(t *testing.T) {
	here, there := c.mysql(t, c.active), c.mysql(t, c.standby)
	ring, other := c.cassandra(t, c.active), c.cassandra(t, c.standby)
	must(t, ring.Quorums(t.Context()))
	cut := func(f topology.Fault) {
		for _, l := range c.Links() {
			if id := l.ID(); id.From != topology.Outside && id.To != topology.Outside {
				must(t, l.SetFault(t.Context(), f))
			}
		}
	}
	cut(topology.Fault{Kind: topology.Cut})
	defer cut(topology.Fault{})
	if err := ring.Quorums(t.Context()); err == nil {
		t.Error("Cassandra reaches both regions over cut links")
	}
	within(t, c.limits.Answer, "the active region's Cassandra answers by itself", ring.Ping)
	within(t, c.limits.Answer, "the standby's Cassandra answers by itself", other.Ping)
	can, err := mysql.OpenCanary(reach(t, c.node(t, c.active, topology.MySQL), topology.ServiceMySQL), c.About().Secret, patience)
	must(t, err)
	defer can.Close()
	if o, why := can.Insert(t.Context(), "contract-isolated", string(c.active), history.Monotonic{}.Now()); o != history.OK {
		t.Fatalf("the active region's MySQL takes no write: %s %s", o, why)
	}
	mine, err := here.Status(t.Context())
	must(t, err)
	if got, err := there.WaitExecuted(t.Context(), mine.Executed, time.Second); err != nil || got {
		t.Errorf("the standby has what was written behind the cut (%v, %v)", got, err)
	}
	cut(topology.Fault{})
	within(t, c.limits.Answer, "the standby has caught up", func(ctx context.Context) error {
		if got, err := there.WaitExecuted(ctx, mine.Executed, time.Second); err != nil || !got {
			return fmt.Errorf("not yet, %v", err)
		}
		return nil
	})
	within(t, c.limits.Answer, "both quorums answer again", ring.Quorums)
}

// inside: what the nodes of a site can dial. Their own site's services and the doors that lead out of it are open, and nothing
// else is: no other site, no other site's door, nothing that the machine has published or listens on.
func (c *contract) inside(t *testing.T) {
	if lacks(t, "Inside", c.h.Inside == nil) {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a service of the machine, as the harness has them
	must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)

	published := map[string]bool{port: true}
	for _, n := range c.Nodes("", "") {
		for _, s := range services(n) {
			_, p, err := net.SplitHostPort(reach(t, n, s))
			must(t, err)
			published[p] = true
		}
	}
	var sites []topology.Site
	for _, s := range c.Topology().Sites() {
		sites = append(sites, topology.Site(s))
	}
	for _, site := range sites {
		want := map[string]bool{} // address → open
		c.expect(t, site, want)
		if c.h.Gateways != nil {
			for _, host := range c.h.Gateways(c.World, site) {
				for p := range published {
					want[net.JoinHostPort(host, p)] = false
				}
			}
		} else {
			lacks(t, "Gateways", true)
		}
		var addresses []string
		for a := range want {
			addresses = append(addresses, a)
		}
		slices.Sort(addresses)
		var all sync.WaitGroup
		for _, n := range c.Nodes(site, "") {
			if state, err := n.State(t.Context()); err != nil || state != topology.Running {
				continue
			}
			all.Go(func() {
				got, err := c.h.Inside(t.Context(), c.World, n.Name(), addresses...)
				if err != nil {
					t.Errorf("dial from %s: %v", n.Name(), err)
					return
				}
				for _, a := range addresses {
					if got[a] == "" || (got[a] == Open) != want[a] {
						t.Errorf("from %s, %s is %q; want it open: %t", n.Name(), a, got[a], want[a])
					}
				}
			})
		}
		all.Wait()
	}
}

// expect says which services of nodes and which doors are open to a site's nodes.
func (c *contract) expect(t *testing.T, site topology.Site, want map[string]bool) {
	t.Helper()
	for _, n := range c.Nodes("", "") {
		state, err := n.State(t.Context())
		must(t, err)
		for _, s := range services(n) {
			at, err := n.Endpoint(s)
			must(t, err)
			want[at] = n.Site() == site && state == topology.Running
		}
	}
	for _, l := range c.Links() {
		for _, d := range l.Doors() {
			to, err := c.Node(d.Node)
			must(t, err)
			if to.Site() == site && to.Kind() == topology.Cassandra {
				continue // by that name its neighbours know it, too
			}
			want[d.Address] = dialler(l, d) == site
		}
	}
}

// gone: a machine that drops what opens a connection is silent, where a proxy's black hole still accepts it.
func (c *contract) gone(t *testing.T) {
	if lacks(t, "DropSYN", c.h.DropSYN == nil) || lacks(t, "Inside", c.h.Inside == nil) {
		return
	}
	victim, friend := c.node(t, c.standby, topology.Params), c.node(t, c.standby, topology.Gateway)
	at, err := victim.Endpoint(topology.ServiceHTTP)
	must(t, err)
	is := func(want string) {
		t.Helper()
		got, err := c.h.Inside(t.Context(), c.World, friend.Name(), at)
		must(t, err)
		if got[at] != want {
			t.Errorf("%s is %q from %s, want %s", at, got[at], friend.Name(), want)
		}
	}
	is(Open)
	heal, err := c.h.DropSYN(t.Context(), c.World, victim.Name())
	must(t, err)
	is(Timeout)
	c.state(t, victim, topology.Running)
	must(t, heal(t.Context()))
	is(Open)
}
