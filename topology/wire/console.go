package wire

import (
	"context"
	"fmt"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/plan"
)

// FirstEpoch is the writers' epoch of a new world.
const FirstEpoch = 1

// Console is where the platform is wired from. Its methods may be called side by side, but App and Formed come after the others.
type Console struct {
	Plan   plan.Plan
	Secret string // password of the world's database users
	// Inside dials addresses inside the sites (Endpoint, Door); otherwise those that a process of this machine reaches.
	Inside bool
	// Say is told what has been reached, a line each; nil: nobody is.
	Say func(what string)
	// Watch ends a wait whose node dies meanwhile; nil: such a wait takes as long as its context.
	Watch Watcher
	// Confirm is told which version a server of an engine ("mysql", "cassandra") says it is; its error ends the wiring. nil: any
	// will do.
	Confirm func(engine, version string) error
}

// A Watcher runs f and cuts it short when one of the nodes ends: the error then says which, how, and what it wrote last.
type Watcher func(ctx context.Context, nodes []plan.Node, f func(context.Context) error) error

func (c *Console) say(format string, a ...any) {
	if c.Say != nil {
		c.Say(fmt.Sprintf(format, a...))
	}
}

func (c *Console) watch(ctx context.Context, nodes []plan.Node, f func(context.Context) error) error {
	if c.Watch == nil {
		return f(ctx)
	}
	return c.Watch(ctx, nodes, f)
}

func (c *Console) confirm(engine, version string) error {
	if c.Confirm == nil {
		return nil
	}
	return c.Confirm(engine, version)
}

// at is where a node's service is dialled from here.
func (c *Console) at(n plan.Node, s topology.Service) string {
	if c.Inside {
		return n.Endpoints[s]
	}
	return n.Reach[s]
}

// ring is a region's Cassandra as it is dialled from here.
func (c *Console) ring(site topology.Site) cassandra.Site {
	s := cassandra.Site{Name: string(site), DC: string(site)}
	for _, n := range c.Plan.Of(site, topology.Cassandra) {
		s.Contact = append(s.Contact, c.at(n, topology.ServiceCQL))
	}
	if !c.Inside {
		s.Translate = Translate(c.Plan.Of(site, topology.Cassandra))
	}
	return s
}

// Translate is where a process of the machine finds Cassandra nodes whose inside addresses the driver has learnt; nil when both
// are the same.
func Translate(nodes []plan.Node) map[string]string {
	var m map[string]string
	for _, n := range nodes {
		if in, out := n.Endpoints[topology.ServiceCQL], n.Reach[topology.ServiceCQL]; in != out && in != "" {
			if m == nil {
				m = map[string]string{}
			}
			m[in] = out
		}
	}
	return m
}
