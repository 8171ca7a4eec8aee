package procedure

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// exclude is article 002's row 2 of the preparation (※5). The keyspaces come first: while one of them names the region, its
// quorums count nodes that are not there.
type exclude struct {
	estate     Estate
	region, by topology.Site
}

// Writes names what the step sets.
func (x exclude) Writes() []string { return []string{ringOf(x.region)} }

func (x exclude) Check(ctx context.Context) (runbook.Seen, error) {
	views, err := viewsOf(ctx, x.estate, x.by)
	return seen(views), err
}

// named are the keyspaces that name a region, or are replicated without regard to regions.
func named(v RingView, region topology.Site) []string {
	return v.keyspaces(func(in map[topology.Site]int) bool {
		_, by := in[region]
		_, blind := in[""]
		return by || blind
	})
}

func (x exclude) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	k, err := keeper(x.estate, x.by)
	if err != nil {
		return nil, err
	}
	var views []RingView
	err = until(ctx, func() (string, error) { // a region that was cut off a moment ago still counts as up
		if views, err = viewsOf(ctx, x.estate, x.by); err != nil {
			return "", err
		}
		for _, v := range views {
			for _, m := range v.of(x.region) {
				if m.State == memberUp {
					return fmt.Sprintf("%s sees %s of %s up: cut it off first", v.Node, m.Address, x.region), nil
				}
			}
		}
		return "", nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait until nobody sees %s: %w", x.region, err)
	}
	altered := named(views[0], x.region)
	if err := notes.Note(runbook.Seen{"keyspaces": altered, "ring": seen(views)}); err != nil {
		return nil, err
	}
	last := func(name string) bool { return name == systemAuth }
	if err := x.leave(ctx, k, views[0], slices.DeleteFunc(slices.Clone(altered), last)); err != nil {
		return nil, err
	}
	var removed []string
	for _, m := range views[0].of(x.region) {
		if err := notes.Note(runbook.Seen{"removing": m.Host}); err != nil {
			return nil, err
		}
		if err := k.Remove(ctx, m.Host); err != nil {
			return nil, fmt.Errorf("remove %s (%s) of %s: %w", m.Address, m.Host, x.region, err)
		}
		removed = append(removed, m.Host)
	}
	if slices.ContainsFunc(altered, last) {
		if err := x.leave(ctx, k, views[0], []string{systemAuth}); err != nil {
			return nil, err
		}
	}
	return runbook.Seen{"keyspaces": altered, "removed": removed}, nil
}

// leave takes the region out of keyspaces.
func (x exclude) leave(ctx context.Context, k RingKeeper, v RingView, keyspaces []string) error {
	for _, name := range keyspaces {
		replicas := maps.Clone(v.Keyspaces[name])
		delete(replicas, x.region)
		if delete(replicas, ""); len(replicas) == 0 {
			replicas[x.by] = replicasOf(x.estate, x.by)
		}
		if err := k.SetReplicas(ctx, name, replicas); err != nil {
			return fmt.Errorf("take %s out of keyspace %s: %w", x.region, name, err)
		}
	}
	return nil
}

// Confirm: no node that stays shows the region, in its ring or in a keyspace.
func (x exclude) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	views, err := viewsOf(ctx, x.estate, x.by)
	if err != nil {
		return nil, err
	}
	saw := seen(views)
	for _, v := range views {
		if left := v.of(x.region); len(left) > 0 {
			return saw, fmt.Errorf("%s still shows %s of %s (%s)", v.Node, left[0].Address, x.region, left[0].State)
		}
		if left := named(v, x.region); len(left) > 0 {
			return saw, fmt.Errorf("at %s the keyspaces %s still name %s, or no region", v.Node, strings.Join(left, ", "), x.region)
		}
		if v.Mode != modeNormal {
			return saw, fmt.Errorf("%s is %s", v.Node, v.Mode)
		}
	}
	return saw, oneSchema(views)
}

// Would implements runbook.Foreteller.
func (x exclude) Would(ctx context.Context) (string, error) {
	views, err := viewsOf(ctx, x.estate, x.by)
	if err != nil {
		return "", err
	}
	var hosts []string
	for _, m := range views[0].of(x.region) {
		hosts = append(hosts, fmt.Sprintf("%s (%s)", m.Address, m.State))
	}
	return fmt.Sprintf("take %s out of the keyspaces %s and remove %s from the ring", x.region, list(named(views[0], x.region)), list(hosts)), nil
}
