package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/drill/fault"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
)

var (
	_ procedure.RingKeeper = ring{}
	_ procedure.Knocker    = (*Estate)(nil)
)

// Knock implements procedure.Knocker.
func (e *Estate) Knock(ctx context.Context, service topology.Service, door topology.Door) error {
	return fault.Knock(ctx, service, door)
}

// systemKeyspaces are replicated and not the platform's: what is in them differs from node to node by design.
var systemKeyspaces = []string{"system_auth", "system_distributed", "system_traces"}

// comparedRows is how many rows of a keyspace are compared at most; more is an error, never a part that passes for the whole.
const comparedRows = 1_000_000

// nodesAt are where a region's Cassandra nodes are asked one by one.
func (e *Estate) nodesAt(site topology.Site) ([]cassandra.NodeAt, error) {
	var out []cassandra.NodeAt
	for _, n := range e.Nodes(site, topology.Cassandra) {
		at, err := nodeAt(n)
		if err != nil {
			return nil, err
		}
		out = append(out, at)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no %s node", site, topology.Cassandra)
	}
	return out, nil
}

func nodeAt(n topology.Node) (cassandra.NodeAt, error) {
	cql, err := n.Reach(topology.ServiceCQL)
	if err != nil {
		return cassandra.NodeAt{}, err
	}
	jmx, err := n.Reach(topology.ServiceJMX)
	return cassandra.NodeAt{Name: n.Name(), CQL: cql, JMX: jmx}, err
}

// Views implements procedure.RingKeeper.
func (r ring) Views(ctx context.Context) ([]procedure.RingView, error) {
	nodes, err := r.e.nodesAt(r.site)
	if err != nil {
		return nil, err
	}
	out := make([]procedure.RingView, len(nodes))
	var g errgroup.Group // one that fails does not silence the others
	for i, n := range nodes {
		g.Go(func() error {
			v, err := cassandra.Look(ctx, n)
			out[i] = viewOf(v)
			return err
		})
	}
	return out, g.Wait()
}

func viewOf(v cassandra.View) procedure.RingView {
	out := procedure.RingView{Node: v.Node, Mode: v.Mode, Schema: v.Schema, RingDelay: v.RingDelay, Keyspaces: map[string]map[topology.Site]int{}}
	for _, m := range v.Members {
		out.Members = append(out.Members, procedure.RingMember{Address: m.Address, Host: m.Host, Region: topology.Site(m.DC), State: m.State})
	}
	for _, x := range v.Removed {
		out.Removed = append(out.Removed, procedure.RingRemoval{Host: x.Host, Region: topology.Site(x.DC), At: x.At})
	}
	for name, replicas := range v.Keyspaces {
		out.Keyspaces[name] = map[topology.Site]int{}
		for dc, n := range replicas {
			out.Keyspaces[name][topology.Site(dc)] = n
		}
	}
	return out
}

// SetReplicas implements procedure.RingKeeper.
func (r ring) SetReplicas(ctx context.Context, keyspace string, replicas map[topology.Site]int) error {
	nodes, err := r.e.nodesAt(r.site)
	if err != nil {
		return err
	}
	byDC := map[string]int{}
	for site, n := range replicas {
		byDC[string(site)] = n
	}
	return cassandra.SetReplicas(ctx, nodes[0], keyspace, byDC)
}

// Remove implements procedure.RingKeeper: one node is asked, always the same, as two removals at once would be refused.
func (r ring) Remove(ctx context.Context, host string) error {
	nodes, err := r.e.nodesAt(r.site)
	if err != nil {
		return err
	}
	return cassandra.Remove(ctx, nodes[0], host)
}

// Drain implements procedure.RingKeeper.
func (r ring) Drain(ctx context.Context, node topology.Node) error {
	at, err := nodeAt(node)
	if err != nil {
		return err
	}
	j := cassandra.OpenJMX(at.Name, at.JMX)
	defer j.Close()
	return j.Drain(ctx)
}

// Rebuild implements procedure.RingKeeper.
func (r ring) Rebuild(ctx context.Context, from topology.Site, keyspaces []string) error {
	nodes, err := r.e.nodesAt(r.site)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range nodes {
		g.Go(func() error { return cassandra.RebuildAll(ctx, n, string(from), keyspaces) })
	}
	return g.Wait()
}

// Compare implements procedure.RingKeeper: every table of the platform's keyspaces, every node of the region by itself.
func (r ring) Compare(ctx context.Context, with topology.Site) (int, string, error) {
	nodes, err := r.e.nodesAt(r.site)
	if err != nil {
		return 0, "", err
	}
	authority, err := r.e.cassandra(ctx, with)
	if err != nil {
		return 0, "", err
	}
	keyspaces, err := authority.Keyspaces(ctx)
	if err != nil {
		return 0, "", err
	}
	rows := 0
	for name := range keyspaces {
		if slices.Contains(systemKeyspaces, name) {
			continue
		}
		before, err := authority.Content(ctx, name, comparedRows)
		if err != nil {
			return rows, "", err
		}
		copies := make([]cassandra.Content, len(nodes))
		g, gctx := errgroup.WithContext(ctx)
		for i, n := range nodes {
			g.Go(func() (err error) {
				copies[i], err = cassandra.NodeContent(gctx, n, name, comparedRows)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return rows, "", err
		}
		after, err := authority.Content(ctx, name, comparedRows)
		if err != nil {
			return rows, "", err
		}
		rows += before.Rows()
		for i, c := range copies {
			if d := c.Against(before, after); !d.Empty() {
				return rows, nodes[i].Name + ": " + d.String(), nil
			}
		}
	}
	if rows == 0 {
		return 0, "", errors.New("there is no row to compare")
	}
	return rows, "", nil
}

// Hints implements procedure.RingKeeper.
func (r ring) Hints(ctx context.Context) (map[string]int, error) {
	nodes, err := r.e.nodesAt(r.site)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, n := range nodes {
		hints, err := cassandra.PendingHints(ctx, n)
		if err != nil {
			return nil, err
		}
		for host, files := range hints {
			out[host] += files
		}
	}
	return out, nil
}
