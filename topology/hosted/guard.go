package hosted

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

// startBudget bounds the start of one node, with the first start-up of an emptied MySQL in it.
const startBudget = 180 * time.Second

var errDown = errors.New("the world goes down")

// guard lets a node have one changing operation at a time, only ones that fit its state, and none once its world goes down. It
// is Nodes itself.
type guard struct {
	nodes    Nodes
	life     context.Context          // ends with the world
	turns    map[string]chan struct{} // by node
	starting chan struct{}            // places for those who start; nil: any number
}

func newGuard(life context.Context, n Nodes, nodes []plan.Node, parallel int) *guard {
	g := &guard{nodes: n, life: life, turns: map[string]chan struct{}{}}
	for _, n := range nodes {
		g.turns[n.Name] = make(chan struct{}, 1)
	}
	if parallel > 0 {
		g.starting = make(chan struct{}, parallel)
	}
	return g
}

// take waits for a node's turn.
func (g *guard) take(ctx context.Context, n plan.Node) (release func(), err error) {
	turn, ok := g.turns[n.Name]
	if !ok {
		return nil, fmt.Errorf("this world has no node %q", n.Name)
	}
	select {
	case turn <- struct{}{}:
		if g.life.Err() == nil {
			return func() { <-turn }, nil
		}
		<-turn
		return nil, fmt.Errorf("operate on %s: %w", n.Name, errDown)
	case <-g.life.Done():
		return nil, fmt.Errorf("operate on %s: %w", n.Name, errDown)
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another operation on %s: %w", n.Name, context.Cause(ctx))
	}
}

// close takes every turn for good: no operation is under way, and none comes after. Its error names those that do not give up.
func (g *guard) close(ctx context.Context) error {
	var errs []error
	for name, turn := range g.turns {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("wait for the operation on %s to give up: %w", name, context.Cause(ctx)))
		}
	}
	return errors.Join(errs...)
}

// act runs f in the node's turn, with the state that it found. f's context ends with the caller's or with the world.
func (g *guard) act(ctx context.Context, n plan.Node, f func(ctx context.Context, is topology.State) error) error {
	release, err := g.take(ctx, n)
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(g.life, func() { cancel(errDown) })()
	is, err := g.nodes.State(ctx, n)
	if err != nil {
		return err
	}
	return f(ctx, is)
}

func (g *guard) State(ctx context.Context, n plan.Node) (topology.State, error) {
	return g.nodes.State(ctx, n)
}

func (g *guard) Logs(ctx context.Context, n plan.Node, lines int) ([]string, error) {
	return g.nodes.Logs(ctx, n, lines)
}

// Start is not cut short by a caller that goes away: a store that was given half of its users would be worse than one start too
// many.
func (g *guard) Start(ctx context.Context, n plan.Node, alone bool) error {
	if alone && n.Kind != topology.MySQL && n.Kind != topology.Cassandra {
		return fmt.Errorf("start %s alone: %w: only stores are", n.Name, topology.ErrUnsupported)
	}
	release, err := g.take(ctx, n)
	if err != nil {
		return err
	}
	defer release()
	if g.starting != nil {
		select {
		case g.starting <- struct{}{}:
			defer func() { <-g.starting }()
		case <-g.life.Done():
			return fmt.Errorf("start %s: %w", n.Name, errDown)
		case <-ctx.Done():
			return fmt.Errorf("start %s: wait for others that start: %w", n.Name, context.Cause(ctx))
		}
	}
	ctx, cancel := context.WithTimeout(g.life, startBudget)
	defer cancel()
	is, err := g.nodes.State(ctx, n)
	if err != nil || is != topology.Stopped {
		return err
	}
	return g.nodes.Start(ctx, n, alone)
}

func (g *guard) Stop(ctx context.Context, n plan.Node) error {
	return g.act(ctx, n, func(ctx context.Context, is topology.State) error {
		if is == topology.Stopped {
			return nil
		}
		return g.nodes.Stop(ctx, n)
	})
}

func (g *guard) Kill(ctx context.Context, n plan.Node) error {
	return g.act(ctx, n, func(ctx context.Context, is topology.State) error {
		if is == topology.Stopped {
			return nil
		}
		return g.nodes.Kill(ctx, n)
	})
}

func (g *guard) Pause(ctx context.Context, n plan.Node) error {
	return g.act(ctx, n, func(ctx context.Context, is topology.State) error {
		switch is {
		case topology.Stopped:
			return fmt.Errorf("pause %s: it does not run", n.Name)
		case topology.Paused:
			return nil
		}
		return g.nodes.Pause(ctx, n)
	})
}

func (g *guard) Resume(ctx context.Context, n plan.Node) error {
	return g.act(ctx, n, func(ctx context.Context, is topology.State) error {
		switch is {
		case topology.Stopped:
			return fmt.Errorf("resume %s: it does not run", n.Name)
		case topology.Running:
			return nil
		}
		return g.nodes.Resume(ctx, n)
	})
}

func (g *guard) Wipe(ctx context.Context, n plan.Node) error {
	return g.act(ctx, n, func(ctx context.Context, is topology.State) error {
		if is != topology.Stopped {
			return fmt.Errorf("wipe %s: it is %s, stop it first", n.Name, is)
		}
		return g.nodes.Wipe(ctx, n)
	})
}

var _ Nodes = (*guard)(nil)
