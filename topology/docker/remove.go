package docker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// underway is an engine's answer to who wants to remove what another one is removing.
func underway(err error) bool {
	return err != nil && strings.Contains(err.Error(), "already in progress")
}

// gone calls remove until what it removes is not there, within ctx: another process may be removing it, too, and what it hangs on
// may be on its way out.
func gone(ctx context.Context, what string, remove func() error, again func(error) bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := remove()
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		if ctx.Err() == nil && !again(err) {
			return fmt.Errorf("remove %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove %s: %w; last: %w", what, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

func removeContainer(ctx context.Context, c *client.Client, name string) error {
	return gone(ctx, "container "+name, func() error {
		_, err := c.ContainerRemove(ctx, name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		return err
	}, underway)
}

// removeVolume removes a volume, as soon as the container that had it is quite gone.
func removeVolume(ctx context.Context, c *client.Client, name string) error {
	return gone(ctx, "volume "+name, func() error {
		_, err := c.VolumeRemove(ctx, name, client.VolumeRemoveOptions{Force: true})
		return err
	}, errdefs.IsConflict)
}

// removeNetwork removes a network, as soon as the last container has left it.
func removeNetwork(ctx context.Context, c *client.Client, name string) error {
	return gone(ctx, "network "+name, func() error {
		_, err := c.NetworkRemove(ctx, name, client.NetworkRemoveOptions{})
		return err
	}, func(err error) bool {
		return strings.Contains(err.Error(), "has active endpoints") || errdefs.IsConflict(err)
	})
}
