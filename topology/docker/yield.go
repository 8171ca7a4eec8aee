package docker

import (
	"context"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/hosted"
)

// usualShares are the CPU shares of a container that was given none. Control groups of version 2 have weights instead, 100 unless
// told otherwise, and engines turn shares into those: 1 + (shares - 2) · 9999 / 262142.
func usualShares(cgroupVersion string) int64 {
	if cgroupVersion == "2" {
		return 2 + (100-1)*262142/9999 + 1
	}
	return 1024
}

// begun says whether it was started from here before.
func (b *box) begun() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.life != nil
}

// yields lets a Cassandra node that was started again yield to those that serve, see hosted.Yield.
func (b *box) yields(ctx context.Context, cgroupVersion, address string, serves func(context.Context) bool) {
	b.mu.Lock()
	l := b.life
	b.mu.Unlock()
	usual := usualShares(cgroupVersion)
	share := func(n int64) func() error {
		return func() error {
			if _, err := b.client.ContainerUpdate(ctx, b.name, client.ContainerUpdateOptions{Resources: &container.Resources{CPUShares: n}}); err != nil {
				return fmt.Errorf("give it %d shares of the CPU: %w", n, err)
			}
			return nil
		}
	}
	err := hosted.Yield(ctx, hosted.Yielding{
		Lower: share(usual * hosted.YieldShare / 1024), Raise: share(usual),
		Answers: func(ctx context.Context) error { return cassandra.Answers(ctx, address) }, Serves: serves, Ended: l.ended,
	})
	if err != nil && ctx.Err() == nil {
		b.note(err.Error())
	}
}
