package hosted

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

// lastLines is how much of a dead server's log an error shows.
const lastLines = 20

// Watch runs f and cuts it short when one of the nodes ends: how it ended and what its log says last is then the error.
func Watch(ctx context.Context, m Machines, nodes []plan.Node, f func(context.Context) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			how, err := m.Ended(inner, n)
			switch {
			case inner.Err() != nil: // nobody waits any more
			case err != nil:
				cancel(fmt.Errorf("watch %s: %w", n.Name, err))
			default:
				cancel(&death{n, how})
			}
		})
	}
	err := f(inner)
	cancel(nil)
	wg.Wait()
	if err == nil {
		return nil
	}
	cause := context.Cause(inner)
	var d *death
	switch {
	case errors.As(cause, &d):
		return d.tell(ctx, m)
	case errors.Is(cause, context.Canceled) || ctx.Err() != nil:
		return err
	}
	return cause
}

// death is the end of a node that somebody waited for.
type death struct {
	node plan.Node
	how  string
}

func (d *death) Error() string { return fmt.Sprintf("%s died: %s", d.node.Name, d.how) }

// tell adds the end of the node's log.
func (d *death) tell(ctx context.Context, m Machines) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downBudget) // its last words are wanted also when the caller has gone
	defer cancel()
	lines, err := m.Logs(ctx, d.node, lastLines)
	if err != nil {
		lines = []string{err.Error()}
	}
	return fmt.Errorf("%w: %w; the end of its log:\n  %s", d, topology.ErrEnvironment, strings.Join(lines, "\n  "))
}

func (w *owned) watch(ctx context.Context, nodes []plan.Node, f func(context.Context) error) error {
	return Watch(ctx, w.machines, nodes, f)
}
