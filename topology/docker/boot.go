package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
)

// bootBudget bounds the asking of a container for its kernel.
const bootBudget = 60 * time.Second

// sameKernel says why containers do not run on this machine's kernel, or nil. Records of containers and of this process are put
// in order by CLOCK_MONOTONIC, and nodes are reached on this machine's own loopback. It is asked once for each engine and boot.
func (r *Runtime) sameKernel(ctx context.Context, e *engine.Engine, set images.Set) error {
	digest := sha256.Sum256([]byte(e.ID + " " + e.Host + " " + history.BootID()))
	known := filepath.Join(r.c.CacheDir, "engines", hex.EncodeToString(digest[:8]))
	if b, err := os.ReadFile(known); err == nil && string(b) == history.BootID() {
		return nil
	}
	im, err := set.Get(containers.ImageWAN)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bootBudget)
	defer cancel()
	boot, err := askBoot(ctx, e.Client, im.ID)
	if err != nil {
		return fmt.Errorf("ask a container for its kernel: %w: %w", topology.ErrEnvironment, err)
	}
	if boot != history.BootID() {
		return fmt.Errorf("%w: containers of %s run on another kernel than this process (boot %.8s, here %.8s): their clocks cannot be compared", topology.ErrEnvironment, e, boot, history.BootID())
	}
	if err := os.MkdirAll(filepath.Dir(known), 0o700); err != nil {
		return fmt.Errorf("remember the engine: %w: %w", topology.ErrEnvironment, err)
	}
	if err := os.WriteFile(known, []byte(boot), 0o600); err != nil {
		return fmt.Errorf("remember the engine: %w: %w", topology.ErrEnvironment, err)
	}
	return nil
}

// askBoot runs `inside boot` in a container without a network.
func askBoot(ctx context.Context, c *client.Client, image string) (boot string, err error) {
	owner, err := hosted.Self()
	if err != nil {
		return "", err
	}
	x, err := c.ContainerCreate(context.WithoutCancel(ctx), client.ContainerCreateOptions{
		Config: &container.Config{Image: image, Entrypoint: []string{containers.Inside}, Cmd: []string{"boot"},
			Labels: map[string]string{containers.LabelOwner: ownerLabel(owner), containers.LabelWorld: fmt.Sprintf("boot%d", owner.PID)}},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		return "", err
	}
	defer func() {
		if rerr := removeContainer(context.WithoutCancel(ctx), c, x.ID); err == nil {
			err = rerr
		}
	}()
	exit := c.ContainerWait(ctx, x.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := c.ContainerStart(ctx, x.ID, client.ContainerStartOptions{}); err != nil {
		return "", err
	}
	var code int64
	select {
	case e := <-exit.Result:
		code = e.StatusCode
	case err := <-exit.Error:
		return "", err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	out, err := c.ContainerLogs(ctx, x.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", err
	}
	defer out.Close()
	var text, complaint strings.Builder
	if _, err := stdcopy.StdCopy(&text, &complaint, out); err != nil {
		return "", err
	}
	if code != 0 {
		return "", fmt.Errorf("inside boot: exit code %d: %s", code, strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSpace(text.String()), nil
}
