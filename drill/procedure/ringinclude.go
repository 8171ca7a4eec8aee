package procedure

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// include is the second part of row 9: from here on the region gets what is written. What was written before is not there yet.
type include struct {
	estate     Estate
	region, by topology.Site
}

func (x include) Check(ctx context.Context) (runbook.Seen, error) {
	views, err := viewsOf(ctx, x.estate, x.by)
	return seen(views), err
}

// without are the keyspaces that do not name the region as they should.
func (x include) without(v RingView) []string {
	want := replicasOf(x.estate, x.region)
	return v.keyspaces(func(in map[topology.Site]int) bool { return in[x.region] != want })
}

func (x include) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	k, views, err := keeperAndViews(ctx, x.estate, x.by)
	if err != nil {
		return nil, err
	}
	for _, v := range views {
		if len(v.of(x.region)) == 0 {
			return nil, fmt.Errorf("%s sees no node of %s: let it join first", v.Node, x.region)
		}
	}
	altered := x.without(views[0])
	for _, name := range altered {
		replicas := maps.Clone(views[0].Keyspaces[name])
		delete(replicas, "")
		replicas[x.region] = replicasOf(x.estate, x.region)
		if err := k.SetReplicas(ctx, name, replicas); err != nil {
			return nil, fmt.Errorf("put %s into keyspace %s: %w", x.region, name, err)
		}
	}
	return runbook.Seen{"keyspaces": altered}, nil
}

// Confirm: every node of both regions has the region in every keyspace.
func (x include) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	views, err := viewsOf(ctx, x.estate, x.by, x.region)
	if err != nil {
		return nil, err
	}
	for _, v := range views {
		if left := x.without(v); len(left) > 0 {
			return nil, fmt.Errorf("at %s the keyspaces %s do not name %s as they should", v.Node, strings.Join(left, ", "), x.region)
		}
	}
	return runbook.Seen{"keyspaces": len(views[0].Keyspaces), "seen_by": len(views)}, oneSchema(views)
}

// Would implements runbook.Foreteller.
func (x include) Would(ctx context.Context) (string, error) {
	views, err := viewsOf(ctx, x.estate, x.by)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("put %s into the keyspaces %s", x.region, list(x.without(views[0]))), nil
}

// refill is the last part of row 9: what was written while the region was away.
type refill struct {
	estate       Estate
	region, from topology.Site
}

func (r refill) Check(ctx context.Context) (runbook.Seen, error) {
	return nodesAndRing(ctx, r.estate, r.region, r.from)
}

func (r refill) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	k, views, err := keeperAndViews(ctx, r.estate, r.region)
	if err != nil {
		return nil, err
	}
	keyspaces := views[0].keyspaces(func(in map[topology.Site]int) bool { return in[r.region] > 0 && in[r.from] > 0 })
	if len(keyspaces) == 0 {
		return nil, fmt.Errorf("no keyspace is in %s and in %s: put %s into them first", r.region, r.from, r.region)
	}
	if err := k.Rebuild(ctx, r.from, keyspaces); err != nil {
		return nil, err
	}
	return runbook.Seen{"keyspaces": keyspaces}, nil
}

// Confirm implements runbook.Action.
func (r refill) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	return r.Read(ctx)
}

// Read implements Reader: every node of the region itself holds what the other region has, nothing less and nothing else, and no
// hint waits for it there.
func (r refill) Read(ctx context.Context) (runbook.Seen, error) {
	k, views, err := keeperAndViews(ctx, r.estate, r.region)
	if err != nil {
		return nil, err
	}
	source, err := keeper(r.estate, r.from)
	if err != nil {
		return nil, err
	}
	hints, err := source.Hints(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range views[0].of(r.region) {
		if n := hints[m.Host]; n > 0 {
			return runbook.Seen{"hints": n}, fmt.Errorf("%s still keeps %d files of hints for %s", r.from, n, m.Address)
		}
	}
	rows, differs, err := k.Compare(ctx, r.from)
	saw := runbook.Seen{"rows": rows}
	if err == nil && differs != "" {
		err = fmt.Errorf("%s does not hold what %s has: %s", r.region, r.from, differs)
	}
	return saw, err
}

// Would implements runbook.Foreteller.
func (r refill) Would(context.Context) (string, error) {
	return fmt.Sprintf("stream from %s into %s", r.from, list(names(r.estate.Nodes(r.region, topology.Cassandra)))), nil
}
