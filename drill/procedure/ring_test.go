package procedure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// cluster is the Cassandra of both regions of a land. Everybody in it knows the same, but for what bend changes.
type cluster struct {
	land      *land
	members   []*node // of the ring, whether they run or not
	removed   []RingRemoval
	keyspaces map[string]map[topology.Site]int
	rows      map[topology.Site]int // that a region's nodes hold
	hints     map[string]int        // files that Osaka keeps, by host id
	hosts     int                   // ids that were given out

	bend   map[string]func(*RingView) // what one node says otherwise
	mute   map[string]bool            // runs, and cannot be asked
	drain  error                      // of every drain
	hangs  bool                       // a drain does not end
	closed map[string]error           // doors that lead nowhere, by node
	did    []string
}

const ringDelay = 5 * time.Second

func newCluster(l *land) *cluster {
	c := &cluster{land: l, rows: map[topology.Site]int{tokyo: 40, osaka: 50}, hints: map[string]int{},
		keyspaces: map[string]map[topology.Site]int{}, bend: map[string]func(*RingView){}, mute: map[string]bool{}, closed: map[string]error{}}
	for _, name := range []string{"payments", "sessions", systemAuth} {
		c.keyspaces[name] = map[topology.Site]int{tokyo: 1, osaka: 2}
	}
	for _, n := range l.Nodes("", topology.Cassandra) {
		c.members = append(c.members, n.(*node))
		c.enter(n.(*node))
	}
	return c
}

// enter is a node that starts: its volume says who it is, and an empty one makes it somebody new. Where the regions are cut from
// each other, Tokyo's nodes stay among themselves.
func (c *cluster) enter(n *node) {
	if n.host == "" {
		c.hosts++
		n.host = fmt.Sprintf("host-%d", c.hosts)
	}
	if !slices.Contains(c.members, n) && !c.cut() {
		c.members = append(c.members, n)
	}
}

// cut says whether the world or the operators keep the regions apart.
func (c *cluster) cut() bool {
	return slices.ContainsFunc(c.land.links, func(l *link) bool {
		return l.id.Service == topology.ServiceCassandra && (l.layers.Access == topology.Deny || l.layers.Fault.Kind != "")
	})
}

// in says whether a region has nodes in the ring.
func (c *cluster) in(s topology.Site) bool {
	return slices.ContainsFunc(c.members, func(n *node) bool { return n.site == s })
}

type ring struct {
	land *land
	site topology.Site
}

func (r ring) Answers(context.Context) error {
	defer r.land.call()()
	return r.land.quorum
}

func (r ring) Views(context.Context) ([]RingView, error) {
	defer r.land.call()()
	c := r.land.cluster
	var out []RingView
	var failed error
	for _, x := range r.land.Nodes(r.site, topology.Cassandra) {
		n := x.(*node)
		if n.state != topology.Running || c.mute[n.name] {
			failed = errors.Join(failed, fmt.Errorf("ask %s for its view of the ring: %w", n.name, topology.ErrUnreachable))
			out = append(out, RingView{Node: n.name})
			continue
		}
		v := RingView{Node: n.name, Mode: modeNormal, Schema: "s1", RingDelay: ringDelay, Removed: slices.Clone(c.removed), Keyspaces: map[string]map[topology.Site]int{}}
		for name, replicas := range c.keyspaces {
			v.Keyspaces[name] = maps.Clone(replicas)
		}
		for _, m := range c.members {
			state := memberUp
			if m.state != topology.Running || m.site != r.site && c.cut() {
				state = "down"
			}
			v.Members = append(v.Members, RingMember{Address: "at-" + m.name, Host: m.host, Region: m.site, State: state})
		}
		if bend := c.bend[n.name]; bend != nil {
			bend(&v)
		}
		out = append(out, v)
	}
	return out, failed
}

// SetReplicas refuses what Cassandra refuses: a region without a node, and system_auth leaving a region that has one.
func (r ring) SetReplicas(_ context.Context, keyspace string, replicas map[topology.Site]int) error {
	defer r.land.call()()
	c := r.land.cluster
	for site := range replicas {
		if !c.in(site) {
			return fmt.Errorf("unrecognized datacenter %q", site)
		}
	}
	for site := range c.keyspaces[keyspace] {
		if keyspace == systemAuth && replicas[site] == 0 && c.in(site) {
			return fmt.Errorf("%s has live nodes in %s", keyspace, site)
		}
	}
	c.keyspaces[keyspace] = maps.Clone(replicas)
	c.did = append(c.did, "alter "+keyspace)
	return nil
}

func (r ring) Remove(_ context.Context, host string) error {
	defer r.land.call()()
	c := r.land.cluster
	i := slices.IndexFunc(c.members, func(n *node) bool { return n.host == host })
	if i < 0 {
		return nil
	}
	n := c.members[i]
	c.members = slices.Delete(c.members, i, i+1)
	c.removed = append(c.removed, RingRemoval{Host: host, Region: n.site, At: time.Now()})
	c.did = append(c.did, "remove "+n.name)
	return nil
}

func (r ring) Drain(ctx context.Context, n topology.Node) error {
	defer r.land.call()()
	if r.land.cluster.hangs {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	r.land.cluster.did = append(r.land.cluster.did, "drain "+n.Name())
	return r.land.cluster.drain
}

func (r ring) Rebuild(_ context.Context, from topology.Site, keyspaces []string) error {
	defer r.land.call()()
	c := r.land.cluster
	if c.cut() || !c.in(r.site) {
		return errors.New("no source to stream from")
	}
	c.rows[r.site] = c.rows[from]
	c.did = append(c.did, fmt.Sprintf("rebuild %s %v", r.site, keyspaces))
	return nil
}

func (r ring) Compare(_ context.Context, with topology.Site) (int, string, error) {
	defer r.land.call()()
	if a, b := r.land.cluster.rows[r.site], r.land.cluster.rows[with]; a != b {
		return max(a, b), fmt.Sprintf("%d rows of %d", a, b), nil
	}
	return r.land.cluster.rows[with], "", nil
}

func (r ring) Hints(context.Context) (map[string]int, error) {
	defer r.land.call()()
	return maps.Clone(r.land.cluster.hints), nil
}

// Knock implements Knocker: a door leads through where nothing cuts the link, to a node that runs.
func (l *land) Knock(_ context.Context, _ topology.Service, d topology.Door) error {
	defer l.call()()
	if l.cluster.cut() {
		return errors.New("no answer")
	}
	return l.cluster.closed[d.Node]
}

var (
	_ RingKeeper = ring{}
	_ Knocker    = (*land)(nil)
)
