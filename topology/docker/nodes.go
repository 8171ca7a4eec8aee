package docker

import (
	"context"

	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/plan"
)

// nodes drives containers as a world's nodes. It implements hosted.Nodes.
type nodes struct {
	find func(node string) (*box, error)
}

// Nodes drives containers that somebody else made and owns, such as those of a composed world. name says how the engine calls the
// container of a node. They cannot be wiped, and their logs are the engine's.
func Nodes(c *client.Client, name func(node string) string) hosted.Nodes {
	return nodes{func(node string) (*box, error) {
		return &box{client: c, name: name(node), node: node}, nil
	}}
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
func (x nodes) Logs(ctx context.Context, n plan.Node, lines int) (all []string, err error) {
	err = x.with(n, func(b *box) error { all, err = b.lines(ctx, lines); return err })
	return all, err
}

var _ hosted.Nodes = nodes{}
