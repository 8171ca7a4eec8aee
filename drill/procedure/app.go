package procedure

import (
	"context"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// startOnline is article 002's row 5: the region's application, stopped in normal times, starts. Its gateway runs already.
type startOnline struct {
	estate Estate
	region topology.Site
}

func (s startOnline) Check(ctx context.Context) (runbook.Seen, error) {
	nodes, err := declared(s.estate, s.region, topology.App)
	if err != nil {
		return nil, err
	}
	doors, err := declared(s.estate, s.region, topology.Gateway)
	if err != nil {
		return nil, err
	}
	if err := running(ctx, doors); err != nil {
		return nil, err
	}
	return runbook.Seen{"nodes": names(nodes), "entry": names(doors)}, nil
}

func (s startOnline) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	return start(ctx, s.estate, s.region, topology.App)
}

// Confirm: every node works for this region in the epoch that the database is in, and one payment goes through the entry. Its
// key is the run's own, so that all confirms of a run together, however often it is resumed, are one payment.
func (s startOnline) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw, epoch, err := working(ctx, s.estate, s.region, topology.App, nil)
	if err != nil {
		return saw, err
	}
	entry, err := s.estate.Payments(s.region)
	if err != nil {
		return saw, err
	}
	key := "operator-" + notes.Run() + "-" + string(s.region)
	paid, err := entry.Pay(ctx, key)
	if err != nil {
		return saw, fmt.Errorf("pay %s through the entry of %s: %w", key, s.region, err)
	}
	saw["payment"], saw["paid_by"] = key, paid.Node
	if paid.State != "DONE" || paid.Site != s.region || paid.Epoch != epoch {
		return saw, fmt.Errorf("payment %s is %s by %s in epoch %d, expected DONE by %s in epoch %d", key, paid.State, paid.Site, paid.Epoch, s.region, epoch)
	}
	return saw, nil
}

// startBatch is article 002's row 6: the batch works only where its region's flag says so.
type startBatch struct {
	estate Estate
	region topology.Site
}

const batchEnabled = "batch.enabled"

// Writes names what the step sets.
func (s startBatch) Writes() []string { return writesParams(s.region, batchEnabled) }

func (s startBatch) Check(ctx context.Context) (runbook.Seen, error) {
	nodes, err := declared(s.estate, s.region, topology.Batch)
	if err != nil {
		return nil, err
	}
	_, values, err := readParams(ctx, s.estate, s.region)
	if err != nil {
		return nil, err
	}
	return runbook.Seen{"nodes": names(nodes), batchEnabled: values[batchEnabled]}, nil
}

func (s startBatch) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	if _, err := writeParams(ctx, s.estate, s.region, map[string]string{batchEnabled: "true"}); err != nil {
		return nil, fmt.Errorf("enable the batch of %s: %w", s.region, err)
	}
	return start(ctx, s.estate, s.region, topology.Batch)
}

// Confirm: every batch node runs, in the database's epoch, and says that it is enabled.
func (s startBatch) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	enabled := func(n topology.Node, status Status) error {
		if !status.Enabled {
			return fmt.Errorf("%s says that it is not enabled", n.Name())
		}
		return nil
	}
	saw, _, err := working(ctx, s.estate, s.region, topology.Batch, enabled)
	return saw, err
}

// start starts all nodes of a kind. One that has been running since before the promotion holds what it read then, and its writes
// would be refused: it is started anew.
func start(ctx context.Context, e Estate, region topology.Site, kind topology.Kind) (runbook.Seen, error) {
	nodes, err := declared(e, region, kind)
	if err != nil {
		return nil, err
	}
	epoch, _, err := epochOf(ctx, e, region)
	if err != nil {
		return nil, err
	}
	stale := func(of int64) bool { return of < epoch }
	return runbook.Seen{"nodes": names(nodes)}, startAnew(ctx, e, nodes, stale)
}

// startAnew starts nodes. One that runs in a stale epoch is stopped first; one that has none yet is left to find it.
func startAnew(ctx context.Context, e Estate, nodes []topology.Node, stale func(epoch int64) bool) error {
	var failed []error
	for _, n := range nodes {
		if state, err := n.State(ctx); err == nil && state == topology.Running {
			if status, err := e.Status(ctx, n); err == nil && status.Epoch > 0 && stale(status.Epoch) {
				if err := n.Stop(ctx); err != nil {
					failed = append(failed, fmt.Errorf("stop %s, which runs in epoch %d: %w", n.Name(), status.Epoch, err))
					continue
				}
			}
		}
		if err := n.Start(ctx); err != nil {
			failed = append(failed, fmt.Errorf("start %s: %w", n.Name(), err))
		}
	}
	return errors.Join(failed...)
}

// working says that every node of a kind runs, works for the region in the epoch that the database is in, and satisfies also,
// where it is given.
func working(ctx context.Context, e Estate, region topology.Site, kind topology.Kind, also func(topology.Node, Status) error) (runbook.Seen, int64, error) {
	now := func() (int64, error) {
		epoch, _, err := epochOf(ctx, e, region)
		return epoch, err
	}
	return workingIn(ctx, e, region, kind, now, also)
}

// workingIn is working for another epoch than the database's, which is read once the nodes are known to run.
func workingIn(ctx context.Context, e Estate, region topology.Site, kind topology.Kind, in func() (int64, error), also func(topology.Node, Status) error) (runbook.Seen, int64, error) {
	nodes, err := declared(e, region, kind)
	if err != nil {
		return nil, 0, err
	}
	saw := runbook.Seen{"nodes": names(nodes)}
	if err := running(ctx, nodes); err != nil {
		return saw, 0, err
	}
	epoch, err := in()
	if err != nil {
		return saw, 0, err
	}
	saw["epoch"] = epoch
	for _, n := range nodes {
		status, err := e.Status(ctx, n)
		if err != nil {
			return saw, epoch, fmt.Errorf("ask %s for its status: %w", n.Name(), err)
		}
		if also != nil {
			if err := also(n, status); err != nil {
				return saw, epoch, err
			}
		}
		if status.Site != region || status.Epoch != epoch {
			return saw, epoch, fmt.Errorf("%s works for %s in epoch %d, expected %s in epoch %d", n.Name(), status.Site, status.Epoch, region, epoch)
		}
	}
	return saw, epoch, nil
}

// epochOf is the epoch that a region's database is in, and the region that may write in it.
func epochOf(ctx context.Context, e Estate, region topology.Site) (int64, topology.Site, error) {
	db, err := e.Database(region)
	if err != nil {
		return 0, "", err
	}
	epoch, site, err := db.Epoch(ctx)
	if err != nil {
		return 0, "", fmt.Errorf("read the epoch of %s: %w", region, err)
	}
	return epoch, topology.Site(site), nil
}
