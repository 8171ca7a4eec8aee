package topologytest

import (
	"context"
	"fmt"
	"io"
	"log"
	"testing"

	"github.com/gocql/gocql"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/livetest"
	"github.com/kirikae/kirikae/topology/mysql"
)

// contract is one run of the suite: a world made by another process, attached to from this one.
type contract struct {
	h        Host
	limits   Limits
	paymentd string
	runtime  topology.Runtime
	owner    *Owner
	topology.World
	active, standby topology.Site
}

// Run holds a runtime against the contract.
func Run(t *testing.T, h Host) {
	livetest.Servers(t)
	c := &contract{h: h, limits: h.Limits.withDefaults(), paymentd: Paymentd(t)}
	var err error
	c.runtime, err = h.Runtime(c.paymentd)
	must(t, err)
	must(t, c.runtime.Check(t.Context()))
	c.owner = Start(t, h, c.paymentd, nil)
	c.World, err = c.runtime.Attach(t.Context(), c.owner.Folder)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	c.active, c.standby = c.Topology().Active(), c.Topology().Standby()

	for _, s := range []struct {
		name string
		test func(*testing.T)
	}{
		{"about", c.about},
		{"nodes", c.nodes},
		{"unknown names", c.unknown},
		{"customers are served", c.served},
		{"jmx", c.jmx},
		{"zone", c.zone},
		{"links", c.links},
		{"a link's neighbours", c.neighbours},
		{"a narrow link", c.narrow},
		{"layers of a link", c.layers},
		{"isolation", c.isolation},
		{"isolation from inside", c.inside},
		{"a machine that is gone", c.gone},
		{"life of a node", c.lives},
		{"an emptied Cassandra node", c.replaced},
		{"alone", c.alone},
		{"two worlds, and one owner is killed", c.sweep},
		{"down", c.down},
	} {
		if !t.Run(s.name, s.test) && t.Context().Err() != nil {
			return
		}
	}
}

// lacks says in the log which part is left out because the runtime has no such hook.
func lacks(t *testing.T, hook string, missing bool) bool {
	t.Helper()
	if missing {
		t.Logf("%s %s: this runtime has no hook %s", LeftOut, t.Name(), hook)
	}
	return missing
}

func (c *contract) node(t *testing.T, site topology.Site, kind topology.Kind) topology.Node {
	t.Helper()
	all := c.Nodes(site, kind)
	if len(all) == 0 {
		t.Fatalf("no %s at %s", kind, site)
	}
	return all[0]
}

func (c *contract) link(t *testing.T, from, to topology.Site, s topology.Service) topology.Link {
	t.Helper()
	l, err := c.Link(topology.LinkID{From: from, To: to, Service: s})
	must(t, err)
	return l
}

func (c *contract) state(t *testing.T, n topology.Node, want topology.State) {
	t.Helper()
	got, err := n.State(t.Context())
	must(t, err)
	if got != want {
		t.Fatalf("%s is %s, want %s", n.Name(), got, want)
	}
}

// reach is where this process dials a node's service.
func reach(t *testing.T, n topology.Node, s topology.Service) string {
	t.Helper()
	at, err := n.Reach(s)
	must(t, err)
	return at
}

// main is the service of a node that others dial.
func main(n topology.Node) topology.Service {
	switch n.Kind() {
	case topology.MySQL:
		return topology.ServiceMySQL
	case topology.Cassandra:
		return topology.ServiceCassandra
	default:
		return topology.ServiceHTTP
	}
}

// services are all services of a node.
func services(n topology.Node) []topology.Service {
	if n.Kind() == topology.Cassandra {
		return []topology.Service{topology.ServiceCassandra, topology.ServiceCQL, topology.ServiceJMX}
	}
	return []topology.Service{main(n)}
}

func (c *contract) mysql(t *testing.T, site topology.Site) *mysql.Server {
	t.Helper()
	n := c.node(t, site, topology.MySQL)
	s, err := mysql.Open(reach(t, n, topology.ServiceMySQL), mysql.UserOps, c.About().Secret, mysql.Options{Name: n.Name()})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// ring is where this process finds a site's Cassandra nodes.
func ring(w topology.World, site topology.Site) (cassandra.Site, error) {
	s := cassandra.Site{Name: string(site), DC: string(site), Translate: map[string]string{}}
	for _, n := range w.Nodes(site, topology.Cassandra) {
		at, err := n.Reach(topology.ServiceCQL)
		if err != nil {
			return s, err
		}
		inside, err := n.Endpoint(topology.ServiceCQL)
		if err != nil {
			return s, err
		}
		s.Contact = append(s.Contact, at)
		s.Translate[inside] = at
	}
	return s, nil
}

func (c *contract) cassandra(t *testing.T, site topology.Site) *cassandra.Session {
	t.Helper()
	at, err := ring(c.World, site)
	must(t, err)
	s, err := cassandra.Open(t.Context(), at)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

// cql speaks to one Cassandra node and to no other.
func cql(n topology.Node) (*gocql.Session, error) {
	at, err := n.Reach(topology.ServiceCQL)
	if err != nil {
		return nil, err
	}
	cfg := gocql.NewCluster(at)
	cfg.DisableInitialHostLookup = true
	cfg.Events.DisableTopologyEvents, cfg.Events.DisableNodeStatusEvents, cfg.Events.DisableSchemaEvents = true, true, true
	cfg.ProtoVersion, cfg.NumConns, cfg.Consistency = 4, 1, gocql.LocalOne
	cfg.ConnectTimeout, cfg.Timeout, cfg.WriteTimeout = patience, patience, patience
	cfg.Logger = log.New(io.Discard, "", 0) // what matters comes back as an error
	s, err := cfg.CreateSession()
	if err != nil {
		return nil, fmt.Errorf("speak to %s: %w", n.Name(), err)
	}
	return s, nil
}

// whole waits until every Cassandra node shows all others and both quorums answer.
func (c *contract) whole(t *testing.T) {
	t.Helper()
	var all []string
	for _, n := range c.Nodes("", topology.Cassandra) {
		all = append(all, reach(t, n, topology.ServiceCQL))
	}
	ctx, cancel := context.WithTimeout(t.Context(), c.limits.Answer)
	defer cancel()
	must(t, cassandra.WaitRing(ctx, all...))
	within(t, c.limits.Answer, "both quorums answer", c.cassandra(t, c.standby).Quorums)
}
