package procedure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// RingKeeper is a Ring whose operators can take a region out of it and bring it back.
type RingKeeper interface {
	Ring
	// Views asks every node of the region for its own view. One that does not answer is an error that names it; the views of the
	// others stand beside it, and its own says nothing but its name.
	Views(ctx context.Context) ([]RingView, error)
	// SetReplicas makes a keyspace be replicated so, asked of this region; the same again is harmless.
	SetReplicas(ctx context.Context, keyspace string, replicas map[topology.Site]int) error
	// Remove takes a dead node of another region out of the ring, by its host id, and returns when it is out. One that is out
	// already is no error; a removal under way is waited for.
	Remove(ctx context.Context, host string) error
	// Drain makes a node of the region write down what it has and take nothing any more; its process goes on.
	Drain(ctx context.Context, node topology.Node) error
	// Rebuild streams into every node of the region, from another one, what belongs to it; what it has already is not harmed.
	Rebuild(ctx context.Context, from topology.Site, keyspaces []string) error
	// Compare holds what every node of the region itself keeps against another region, which goes on working: how many rows
	// were compared, and what differs ("" nothing).
	Compare(ctx context.Context, with topology.Site) (rows int, differs string, err error)
	// Hints are the files of hints that the nodes of the region keep for others, by host id.
	Hints(ctx context.Context) (map[string]int, error)
}

// RingView is the ring as one node sees it.
type RingView struct {
	Node      string // whose view
	Mode      string // NORMAL when it takes part
	Schema    string // version of its schema
	Members   []RingMember
	Removed   []RingRemoval // nodes that were taken out, as far as this node remembers
	RingDelay time.Duration // time in which a change of the ring reaches everybody
	Keyspaces map[string]map[topology.Site]int
}

// RingMember is a node of the ring.
type RingMember struct {
	Address string
	Host    string // host id
	Region  topology.Site
	State   string // up, down, joining, leaving
}

// RingRemoval is a node that was taken out of the ring.
type RingRemoval struct {
	Host   string
	Region topology.Site
	At     time.Time
}

const (
	memberUp   = "up"
	modeNormal = "NORMAL"
)

// What the steps set, for runbook.Writer: a region leaves the ring and comes back, is stopped and started, emptied and filled.
func ringOf(s topology.Site) string  { return string(s) + "/cassandra/ring" }
func nodesOf(s topology.Site) string { return string(s) + "/cassandra/nodes" }
func dataOf(s topology.Site) string  { return string(s) + "/cassandra/data" }

// keeper is a region's Cassandra, for those who may reshape the ring.
func keeper(e Estate, site topology.Site) (RingKeeper, error) {
	r, err := e.Ring(site)
	if err != nil {
		return nil, err
	}
	return able[RingKeeper](r, fmt.Sprintf("reshape the ring of %s", site))
}

// keeperAndViews are a region's keeper and the views of its nodes.
func keeperAndViews(ctx context.Context, e Estate, site topology.Site) (RingKeeper, []RingView, error) {
	k, err := keeper(e, site)
	if err != nil {
		return nil, nil, err
	}
	views, err := viewsOf(ctx, e, site)
	return k, views, err
}

// viewsOf are the views of every node of some regions.
func viewsOf(ctx context.Context, e Estate, sites ...topology.Site) ([]RingView, error) {
	var out []RingView
	for _, s := range sites {
		k, err := keeper(e, s)
		if err != nil {
			return nil, err
		}
		views, err := k.Views(ctx)
		if err != nil {
			return nil, err
		}
		if nodes, err := declared(e, s, topology.Cassandra); err != nil || len(views) != len(nodes) {
			return nil, errors.Join(err, fmt.Errorf("%d of %d nodes of %s were asked for their view of the ring", len(views), len(nodes), s))
		}
		out = append(out, views...)
	}
	return out, nil
}

// nodesAndRing are a region's nodes, which need not run, and sees that the ring answers of another one, which does not need them.
func nodesAndRing(ctx context.Context, e Estate, region, of topology.Site) (runbook.Seen, error) {
	nodes, err := declared(e, region, topology.Cassandra)
	if err != nil {
		return nil, err
	}
	_, err = viewsOf(ctx, e, of)
	return runbook.Seen{"nodes": names(nodes)}, err
}

// of are the members of a region.
func (v RingView) of(s topology.Site) []RingMember {
	var out []RingMember
	for _, m := range v.Members {
		if m.Region == s {
			out = append(out, m)
		}
	}
	return out
}

// keyspaces are the names of the keyspaces whose replicas are as asked, sorted.
func (v RingView) keyspaces(are func(replicas map[topology.Site]int) bool) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(v.Keyspaces)) {
		if are(v.Keyspaces[name]) {
			out = append(out, name)
		}
	}
	return out
}

// oneSchema says which views differ in their schema.
func oneSchema(views []RingView) error {
	for _, v := range views {
		if v.Schema != views[0].Schema {
			return fmt.Errorf("%s has another schema than %s", v.Node, views[0].Node)
		}
	}
	return nil
}

// seen is what the nodes show, for the journal.
func seen(views []RingView) runbook.Seen {
	saw := runbook.Seen{}
	for _, v := range views {
		var members []string
		for _, m := range v.Members {
			members = append(members, fmt.Sprintf("%s %s %s %s", m.Region, m.Address, m.Host, m.State))
		}
		saw[v.Node] = members
	}
	return saw
}

// systemAuth is the keyspace that Cassandra keeps in every region that has a node: it leaves one after the nodes.
const systemAuth = "system_auth"

func replicasOf(e Estate, s topology.Site) int { return e.Topology().ReplicationFactor[s] }
