package procedure

import (
	"context"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// stopNodes ends all nodes of a kind in a region.
type stopNodes struct {
	estate Estate
	region topology.Site
	kind   topology.Kind
}

// Check implements runbook.Action.
func (s stopNodes) Check(context.Context) (runbook.Seen, error) {
	nodes, err := declared(s.estate, s.region, s.kind)
	return runbook.Seen{"nodes": names(nodes)}, err
}

// Act stops them all at once: each takes its time to end what it has begun, and customers wait for the slowest.
func (s stopNodes) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	nodes, err := declared(s.estate, s.region, s.kind)
	if err != nil {
		return nil, err
	}
	failed := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() {
			if err := n.Stop(ctx); err != nil {
				failed <- fmt.Errorf("stop %s: %w", n.Name(), err)
				return
			}
			failed <- nil
		}()
	}
	var all []error
	for range nodes {
		all = append(all, <-failed)
	}
	return runbook.Seen{"nodes": names(nodes)}, errors.Join(all...)
}

// Confirm: each of them is stopped, and stays so: nothing starts nodes but operators.
func (s stopNodes) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	nodes, err := declared(s.estate, s.region, s.kind)
	if err != nil {
		return nil, err
	}
	return runbook.Seen{"nodes": names(nodes)}, allIn(ctx, nodes, topology.Stopped)
}

// Would implements runbook.Foreteller.
func (s stopNodes) Would(ctx context.Context) (string, error) {
	out, err := byState(ctx, s.estate, s.region, s.kind, func(n topology.Node, state topology.State) string {
		if state == topology.Stopped {
			return ""
		}
		return n.Name()
	})
	if err != nil {
		return "", err
	}
	return "stop " + list(out), nil
}

// disableBatch is article 002's row 4 of the failback preparation, and what a handover does first: no settlement runs while the
// writer changes. The flag is what lasts: a batch node that starts later finds it.
type disableBatch struct {
	estate Estate
	region topology.Site
}

func (d disableBatch) nodes() stopNodes { return stopNodes{d.estate, d.region, topology.Batch} }

// Writes names what the step sets.
func (d disableBatch) Writes() []string {
	return writesParams(d.region, batchEnabled)
}

// Check implements runbook.Action.
func (d disableBatch) Check(ctx context.Context) (runbook.Seen, error) {
	saw, err := d.nodes().Check(ctx)
	if err != nil {
		return saw, err
	}
	_, values, err := readParams(ctx, d.estate, d.region)
	saw[batchEnabled] = values[batchEnabled]
	return saw, err
}

// Act implements runbook.Action.
func (d disableBatch) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	if _, err := writeParams(ctx, d.estate, d.region, map[string]string{batchEnabled: "false"}); err != nil {
		return nil, fmt.Errorf("disable the batch of %s: %w", d.region, err)
	}
	return d.nodes().Act(ctx, notes)
}

// Confirm implements runbook.Action.
func (d disableBatch) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw, err := d.nodes().Confirm(ctx, notes)
	if err != nil {
		return saw, err
	}
	_, values, err := readParams(ctx, d.estate, d.region)
	if err != nil {
		return saw, err
	}
	flag := values[batchEnabled]
	if saw[batchEnabled] = flag; flag != "false" {
		return saw, fmt.Errorf("%s of %s is %q, expected false", batchEnabled, d.region, flag)
	}
	return saw, nil
}

// Would implements runbook.Foreteller.
func (d disableBatch) Would(ctx context.Context) (string, error) {
	would, err := d.nodes().Would(ctx)
	return "set " + batchEnabled + "=false, " + would, err
}

// await starts the application ahead of the promotion. It works for the epoch to come over a database that is still a replica:
// it runs, says so, and refuses every payment with proof. The promotion alone lets it serve, within one of its health checks.
type await struct {
	estate Estate
	region topology.Site
}

// Check implements runbook.Action.
func (a await) Check(ctx context.Context) (runbook.Seen, error) {
	return startOnline{a.estate, a.region}.Check(ctx)
}

// Act starts the nodes; one that runs in another epoch than the one to come is started anew.
func (a await) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	nodes, err := declared(a.estate, a.region, topology.App)
	if err != nil {
		return nil, err
	}
	epoch, err := nextEpoch(ctx, a.estate, a.region)
	if err != nil {
		return nil, err
	}
	other := func(of int64) bool { return of != epoch }
	return runbook.Seen{"nodes": names(nodes), "epoch": epoch}, startAnew(ctx, a.estate, nodes, other)
}

// Confirm: every node runs, has warmed up, and works for the region in the epoch that its database will be in once it is promoted, or
// is in by now.
func (a await) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	next := func() (int64, error) { return nextEpoch(ctx, a.estate, a.region) }
	warm := func(n topology.Node, s Status) error {
		if s.Warming != "" {
			return fmt.Errorf("%s still warms up: %s", n.Name(), s.Warming)
		}
		return nil
	}
	saw, _, err := workingIn(ctx, a.estate, a.region, topology.App, next, warm)
	return saw, err
}

// Would implements runbook.Foreteller.
func (a await) Would(ctx context.Context) (string, error) {
	return starts(ctx, a.estate, a.region, topology.App)
}

// nextEpoch is the epoch that a region's database will be in once it is promoted; the one it is in, where it was.
func nextEpoch(ctx context.Context, e Estate, region topology.Site) (int64, error) {
	epoch, owner, err := epochOf(ctx, e, region)
	if err == nil && owner != region {
		epoch++
	}
	return epoch, err
}
