package docker

import (
	"context"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/plan"
)

// nodes drives containers as a world's nodes. It implements hosted.Nodes.
type nodes struct {
	find func(node string) (*box, error)
}

// with runs f on the box of a node.
func (x nodes) with(n plan.Node, f func(*box) error) error {
	b, err := x.find(n.Name)
	if err != nil {
		return err
	}
	return f(b)
}

// State implements hosted.Nodes.
func (x nodes) State(ctx context.Context, n plan.Node) (s topology.State, err error) {
	err = x.with(n, func(b *box) error { s, err = b.state(ctx); return err })
	return s, err
}

// Start implements hosted.Nodes.
func (x nodes) Start(ctx context.Context, n plan.Node, alone bool) error {
	return x.with(n, func(b *box) error {
		b.store = n.Kind == topology.MySQL || n.Kind == topology.Cassandra
		return b.start(ctx, alone)
	})
}

// Stop implements hosted.Nodes.
func (x nodes) Stop(ctx context.Context, n plan.Node) error {
	return x.with(n, func(b *box) error { return b.stop(ctx) })
}

// Kill implements hosted.Nodes.
func (x nodes) Kill(ctx context.Context, n plan.Node) error {
	return x.with(n, func(b *box) error { return b.kill(ctx) })
}

// Pause implements hosted.Nodes.
func (x nodes) Pause(ctx context.Context, n plan.Node) error {
	return x.with(n, func(b *box) error { return b.pause(ctx) })
}

// Resume implements hosted.Nodes.
func (x nodes) Resume(ctx context.Context, n plan.Node) error {
	return x.with(n, func(b *box) error { return b.resume(ctx) })
}

// Wipe implements hosted.Nodes.
func (x nodes) Wipe(ctx context.Context, n plan.Node) error {
	return x.with(n, func(b *box) error { return b.wipe(ctx) })
}

// Logs implements hosted.Nodes.
func (x nodes) Logs(_ context.Context, n plan.Node, lines int) (all []string, err error) {
	err = x.with(n, func(b *box) error { all, err = tailFile(b.log, lines); return err })
	return all, err
}

var _ hosted.Nodes = nodes{}
