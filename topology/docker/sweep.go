package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/hosted"
)

// ownerLabel names a process as a label can.
func ownerLabel(o topology.Owner) string {
	return fmt.Sprintf("%s:%d:%d", o.BootID, o.PID, o.StartTime)
}

// readOwner reads what ownerLabel wrote.
func readOwner(label string) (topology.Owner, bool) {
	f := strings.Split(label, ":")
	if len(f) != 3 || f[0] == "" {
		return topology.Owner{}, false
	}
	pid, err := strconv.Atoi(f[1])
	start, err2 := strconv.ParseUint(f[2], 10, 64)
	return topology.Owner{BootID: f[0], PID: pid, StartTime: start}, err == nil && err2 == nil
}

// dead says whether an owner is known to be gone. One of another boot may be of another machine, unless the engine is this one's.
func dead(label string, localEngine bool) bool {
	o, ok := readOwner(label)
	if !ok {
		return false // not ours to judge
	}
	if o.BootID != history.BootID() {
		return localEngine
	}
	return !hosted.Lives(o)
}

// things are what the engine has of worlds, by their label.
type things struct {
	containers, networks, volumes []thing
}

type thing struct {
	name   string // the engine's; of containers the id
	labels map[string]string
}

// list finds what carries a label ("key" or "key=value").
func list(ctx context.Context, c *client.Client, label string) (things, error) {
	var t things
	f := make(client.Filters).Add("label", label)
	cs, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: f})
	if err != nil {
		return t, fmt.Errorf("list containers: %w", err)
	}
	for _, x := range cs.Items {
		t.containers = append(t.containers, thing{x.ID, x.Labels})
	}
	ns, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: f})
	if err != nil {
		return t, fmt.Errorf("list networks: %w", err)
	}
	for _, x := range ns.Items {
		t.networks = append(t.networks, thing{x.ID, x.Labels})
	}
	vs, err := c.VolumeList(ctx, client.VolumeListOptions{Filters: f})
	if err != nil {
		return t, fmt.Errorf("list volumes: %w", err)
	}
	for _, x := range vs.Items {
		t.volumes = append(t.volumes, thing{x.Name, x.Labels})
	}
	return t, nil
}

func (t things) all() []thing { return slices.Concat(t.containers, t.networks, t.volumes) }

// removeWorld removes everything of one world: containers with their volumes, then networks and volumes. Another process may be
// at it, too.
func removeWorld(ctx context.Context, c *client.Client, world string) error {
	t, err := list(ctx, c, containers.LabelWorld+"="+world)
	if err != nil {
		return fmt.Errorf("remove world %s: %w", world, err)
	}
	each := func(all []thing, remove func(context.Context, *client.Client, string) error) error {
		errs := make([]error, len(all))
		var g errgroup.Group
		for i, x := range all {
			g.Go(func() error { errs[i] = remove(ctx, c, x.name); return nil })
		}
		_ = g.Wait() // the errors are all wanted
		return errors.Join(errs...)
	}
	err = each(t.containers, removeContainer)
	err = errors.Join(err, each(t.networks, removeNetwork), each(t.volumes, removeVolume))
	if err != nil {
		return fmt.Errorf("remove world %s: %w", world, err)
	}
	return nil
}

// sweepLabels removes the worlds on an engine whose owner is dead, whoever's cache they were in, and names them.
func sweepLabels(ctx context.Context, e *engine.Engine) ([]string, error) {
	t, err := list(ctx, e.Client, containers.LabelOwner)
	if err != nil {
		return nil, err
	}
	worlds := map[string]map[string]string{} // id → labels of one of its things
	for _, x := range t.all() {
		if id := x.labels[containers.LabelWorld]; id != "" && dead(x.labels[containers.LabelOwner], e.Local) {
			worlds[id] = x.labels
		}
	}
	var swept []string
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(worlds)) {
		saveAcquirer(ctx, e.Client, id, worlds[id][containers.LabelFolder])
		if err := removeWorld(ctx, e.Client, id); err != nil {
			errs = append(errs, err)
			continue
		}
		o, _ := readOwner(worlds[id][containers.LabelOwner])
		swept = append(swept, fmt.Sprintf("world %s of process %d, which is gone", id, o.PID))
	}
	return swept, errors.Join(errs...)
}

// saveAcquirer keeps the acquirer's log of a dead world, where its run folder is still there.
func saveAcquirer(ctx context.Context, c *client.Client, world, folder string) {
	if folder == "" {
		return
	}
	if _, err := os.Stat(folder); err != nil {
		return
	}
	_ = keepAcquirer(ctx, c, world, filepath.Join(folder, hosted.AcquirerFile)) // it cannot be read: nothing more is to be had of a dead world
}
