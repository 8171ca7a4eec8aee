package procedure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// stopRing is row 5: what runs on old data stops before anybody can reach it.
type stopRing struct {
	estate Estate
	region topology.Site
}

// Writes names what the step sets.
func (s stopRing) Writes() []string { return []string{nodesOf(s.region)} }

func (s stopRing) Check(context.Context) (runbook.Seen, error) {
	nodes, err := declared(s.estate, s.region, topology.Cassandra)
	return runbook.Seen{"nodes": names(nodes)}, err
}

func (s stopRing) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	k, err := keeper(s.estate, s.region)
	if err != nil {
		return nil, err
	}
	var failed []error
	stopped := []string{}
	for _, n := range s.estate.Nodes(s.region, topology.Cassandra) {
		state, err := n.State(ctx)
		if err == nil && state == topology.Stopped {
			continue
		}
		drained := "drained"
		if err := bounded(ctx, drainLimit, func(ctx context.Context) error { return k.Drain(ctx, n) }); err != nil {
			drained = err.Error() // what it would write down is thrown away: it is stopped all the same
		}
		if err := notes.Note(runbook.Seen{"node": n.Name(), "drain": drained}); err != nil {
			return nil, err
		}
		if err := n.Stop(ctx); err != nil {
			failed = append(failed, fmt.Errorf("stop %s: %w", n.Name(), err))
			continue
		}
		stopped = append(stopped, n.Name())
	}
	return runbook.Seen{"stopped": stopped}, errors.Join(failed...)
}

// drainLimit is for one node to write down what it has.
const drainLimit = 10 * time.Second

func bounded(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %v", limit))
	defer cancel()
	return do(ctx)
}

// Confirm: none of them runs. Nothing starts them but an operator: a Cassandra node that comes up by itself would be row 7's to
// find, which does not open the network to it.
func (s stopRing) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	return stoppedAll(ctx, s.estate, s.region)
}

func stoppedAll(ctx context.Context, e Estate, region topology.Site) (runbook.Seen, error) {
	nodes, err := declared(e, region, topology.Cassandra)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{}
	var up []error
	for _, n := range nodes {
		state, err := n.State(ctx)
		if err != nil {
			return saw, fmt.Errorf("read the state of %s: %w", n.Name(), err)
		}
		if saw[n.Name()] = string(state); state != topology.Stopped {
			up = append(up, fmt.Errorf("%s is %s", n.Name(), state))
		}
	}
	return saw, errors.Join(up...)
}

// Would implements runbook.Foreteller.
func (s stopRing) Would(context.Context) (string, error) {
	return "drain and stop " + list(names(s.estate.Nodes(s.region, topology.Cassandra))), nil
}

// join is the first part of row 9: the nodes start and join the ring, empty. Nobody may read there yet.
type join struct {
	estate     Estate
	region, by topology.Site
	fresh      bool
}

// Writes names what the step sets: the region is in the ring again, its nodes run, and they are empty no more.
func (j join) Writes() []string {
	return []string{ringOf(j.region), nodesOf(j.region), dataOf(j.region)}
}

func (j join) Check(ctx context.Context) (runbook.Seen, error) {
	return nodesAndRing(ctx, j.estate, j.region, j.by)
}

func (j join) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	nodes := j.estate.Nodes(j.region, topology.Cassandra)
	for _, n := range nodes {
		if err := n.Start(ctx); err != nil {
			return nil, fmt.Errorf("start %s: %w", n.Name(), err)
		}
	}
	return runbook.Seen{"started": names(nodes)}, nil
}

// Confirm: every node of both regions sees all nodes of this one up, each of them takes part, and none is a node that was removed.
func (j join) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	nodes, err := declared(j.estate, j.region, topology.Cassandra)
	if err != nil {
		return nil, err
	}
	if err := running(ctx, nodes); err != nil {
		return nil, err
	}
	views, err := viewsOf(ctx, j.estate, j.by, j.region)
	if err != nil {
		return nil, err
	}
	saw := seen(views)
	for _, v := range views {
		if v.Mode != modeNormal {
			return saw, fmt.Errorf("%s is %s", v.Node, v.Mode)
		}
		up := 0
		for _, m := range v.of(j.region) {
			if m.State != memberUp {
				return saw, fmt.Errorf("%s sees %s of %s %s", v.Node, m.Address, j.region, m.State)
			}
			up++
			for _, old := range v.Removed {
				if j.fresh && old.Host == m.Host {
					return saw, fmt.Errorf("%s sees %s as the node %s that was removed: it came back with its old volume", v.Node, m.Address, m.Host)
				}
			}
		}
		if up != len(nodes) {
			return saw, fmt.Errorf("%s sees %d of %d nodes of %s", v.Node, up, len(nodes), j.region)
		}
	}
	return saw, oneSchema(views)
}

// Would implements runbook.Foreteller.
func (j join) Would(ctx context.Context) (string, error) {
	return starts(ctx, j.estate, j.region, topology.Cassandra)
}
