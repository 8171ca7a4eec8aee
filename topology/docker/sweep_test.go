package docker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
)

// TestSweepLabels: what dead owners of other caches left on the engine, which no state folder tells of. Several sweeps at once
// get along, and what lives, or may live on another machine, is not touched.
func TestSweepLabels(t *testing.T) {
	e := live(t)
	self, err := hosted.Self()
	if err != nil {
		t.Fatal(err)
	}
	gone, away := self, self
	gone.StartTime++
	away.BootID = "00000000-0000-0000-0000-000000000000"
	set, err := images.NewResolver(e.Client, images.Options{Bin: os.Getenv(binVariable)}).Resolve(t.Context(), images.Built)
	if err != nil {
		t.Fatal(err)
	}
	name := func(who string) string { return fmt.Sprintf("t%d%s", os.Getpid(), who) }
	owners := map[string]string{"gone": ownerLabel(gone), "away": ownerLabel(away), "alive": ownerLabel(self), "nobody": "nobody"}
	for who, owner := range owners {
		labels := map[string]string{containers.LabelWorld: name(who), containers.LabelOwner: owner}
		t.Cleanup(func() {
			if err := removeWorld(context.Background(), e.Client, name(who)); err != nil {
				t.Error(err)
			}
		})
		if _, err := e.Client.NetworkCreate(t.Context(), "kirikae-"+name(who), client.NetworkCreateOptions{Driver: "bridge", Internal: true, Labels: labels}); err != nil {
			t.Fatal(err)
		}
		_, err := e.Client.ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Name: "kirikae-" + name(who), Config: &container.Config{Image: set[containers.ImageWAN].ID, Entrypoint: []string{containers.Inside}, Cmd: []string{"net"}, Labels: labels},
			HostConfig: &container.HostConfig{NetworkMode: container.NetworkMode("kirikae-" + name(who)), Mounts: []mount.Mount{
				{Type: mount.TypeVolume, Source: "kirikae-" + name(who), Target: "/x", VolumeOptions: &mount.VolumeOptions{Labels: labels}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Client.ContainerStart(t.Context(), "kirikae-"+name(who), client.ContainerStartOptions{}); err != nil {
			t.Fatal(err)
		}
		if x := count(t, e, name(who)); x != 3 {
			t.Fatalf("%s has %d things", who, x)
		}
	}
	elsewhere := *e
	elsewhere.Local = false
	for _, round := range []struct {
		engine *engine.Engine
		swept  string
		left   map[string]int
	}{
		{&elsewhere, "gone", map[string]int{"gone": 0, "away": 3, "alive": 3, "nobody": 3}},
		{e, "away", map[string]int{"gone": 0, "away": 0, "alive": 3, "nobody": 3}},
		{e, "", map[string]int{"gone": 0, "away": 0, "alive": 3, "nobody": 3}},
	} {
		var named [3][]string
		var g errgroup.Group
		for i := range named {
			g.Go(func() (err error) { named[i], err = sweepLabels(t.Context(), round.engine); return err })
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		for who := range owners {
			told := slices.ContainsFunc(slices.Concat(named[:]...), func(s string) bool { return strings.Contains(s, name(who)) })
			if told != (who == round.swept) {
				t.Errorf("swept %v; %s was to be: %v", named, who, who == round.swept)
			}
			if n := count(t, e, name(who)); n != round.left[who] {
				t.Errorf("%d things are left of %s, want %d", n, who, round.left[who])
			}
		}
	}
}

// count counts what the engine has of a world.
func count(t *testing.T, e *engine.Engine, world string) int {
	t.Helper()
	x, err := list(t.Context(), e.Client, containers.LabelWorld+"="+world)
	if err != nil {
		t.Fatal(err)
	}
	return len(x.all())
}
