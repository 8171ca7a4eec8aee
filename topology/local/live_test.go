package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/livetest"
	"github.com/kirikae/kirikae/topology/provision"
	"github.com/kirikae/kirikae/topology/topologytest"
)

func host() topologytest.Host {
	return topologytest.Host{
		Runtime: func(paymentd string) (topology.Runtime, error) {
			in, err := provision.Find("")
			if err != nil {
				return nil, err
			}
			return New(Config{Install: in, Paymentd: paymentd})
		},
		Serve:    Serve,
		Topology: "../../fixtures/topologies/two-region.yaml",
		Left:     left,
	}
}

// left is what of a world is still on the machine: processes and the state folder.
func left(_ context.Context, id string) ([]string, error) {
	r, err := New(Config{})
	if err != nil {
		return nil, err
	}
	state := filepath.Join(r.host.Worlds(), id)
	all, err := topologytest.Processes(state)
	if _, serr := os.Stat(state); serr == nil {
		all = append(all, "folder "+state)
	}
	return all, err
}

func TestContract(t *testing.T) { topologytest.Run(t, host()) }

// TestFenced: a world with a witness.
func TestFenced(t *testing.T) { topologytest.RunFenced(t, host()) }

// TestNightlyConcurrent: three worlds that are made at once on one machine do not collide.
func TestNightlyConcurrent(t *testing.T) { topologytest.RunConcurrent(t, host()) }

// TestInterrupted: Ctrl-C while a world is being made, at several moments. It ends soon, and nothing is left.
func TestInterrupted(t *testing.T) {
	livetest.Servers(t)
	made, err := host().Runtime(topologytest.Paymentd(t))
	if err != nil {
		t.Fatal(err)
	}
	c := made.(*Runtime).c
	c.CacheDir = t.TempDir()
	for _, after := range []time.Duration{0, 50 * time.Millisecond, 400 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second} {
		r, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), after)
		_, err = r.Create(ctx, twoRegion(t), topology.Options{Folder: t.TempDir()})
		late := time.Now()
		if deadline, ok := ctx.Deadline(); ok && late.Sub(deadline) > 15*time.Second {
			t.Errorf("after %s: it took another %s to end", after, late.Sub(deadline))
		}
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %s: %v", after, err)
		}
		if left, err := filepath.Glob(filepath.Join(r.host.Worlds(), "*")); err != nil || len(left) != 0 {
			t.Errorf("after %s: left %v, %v", after, left, err)
		}
	}
}
