package topologytest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/livetest"
)

// left is what of a world is on this machine, sorted; nil where the runtime cannot say.
func (c *contract) left(t *testing.T, id string) []string {
	t.Helper()
	if c.h.Left == nil {
		return nil
	}
	all, err := c.h.Left(t.Context(), id)
	must(t, err)
	slices.Sort(all)
	return all
}

// nothingLeft waits until nothing of a world is on this machine: the kernel takes its time to end what was killed.
func (c *contract) nothingLeft(t *testing.T, id string) {
	t.Helper()
	if c.h.Left == nil {
		return
	}
	within(t, c.limits.Down, "nothing is left of world "+id, func(ctx context.Context) error {
		all, err := c.h.Left(ctx, id)
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("left: %s", strings.Join(all, ", "))
		}
		return err
	})
}

// addresses are all that this process can dial of a world.
func addresses(t *testing.T, w topology.World) map[string]bool {
	t.Helper()
	all := map[string]bool{w.Zone().Server(): true}
	for _, n := range w.Nodes("", "") {
		for _, s := range services(n) {
			all[reach(t, n, s)] = true
		}
	}
	for _, l := range w.Links() {
		for _, d := range l.Doors() {
			all[d.Reach] = true
		}
	}
	return all
}

// swept runs a sweep and says whether it names a world. A sweep may find the leftovers of somebody else's; it must not touch
// one that lives.
func (c *contract) swept(t *testing.T, id string, living ...topology.World) bool {
	t.Helper()
	all, err := c.runtime.Sweep(t.Context())
	must(t, err)
	for _, w := range living {
		if slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, w.About().ID) }) {
			t.Errorf("living world %s was swept: %v", w.About().ID, all)
		}
	}
	return slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, id) })
}

// sweep: two worlds at once; the owner of one is killed, and all of that one and nothing of the other is removed.
func (c *contract) sweep(t *testing.T) {
	lacks(t, "Left", c.h.Left == nil)
	second := Start(t, c.h, c.paymentd, map[string][]string{"wan": {"bypass"}})
	w, err := c.runtime.Attach(t.Context(), second.Folder)
	must(t, err)
	defer w.Close()
	mine, theirs := c.About().ID, w.About().ID
	if mine == theirs {
		t.Fatal("two worlds have one id")
	}
	used := addresses(t, c.World)
	for at := range addresses(t, w) {
		if used[at] {
			t.Errorf("both worlds use %s", at)
		}
	}
	c.bypassed(t, w)

	if c.swept(t, theirs, c.World, w) {
		t.Errorf("a sweep took world %s, whose owner lives", theirs)
	}
	was, of := c.left(t, mine), c.left(t, theirs)
	if c.h.Left != nil && (len(was) == 0 || len(of) == 0) {
		t.Fatalf("of two living worlds there is %v and %v", was, of)
	}
	second.Kill()
	if _, err := c.runtime.Attach(t.Context(), second.Folder); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("attached to a world whose owner was killed: %v", err)
	}
	if !c.swept(t, theirs, c.World) {
		t.Errorf("the sweep does not name world %s, whose owner was killed", theirs)
	}
	c.nothingLeft(t, theirs)
	for at := range addresses(t, w) {
		if at == w.Zone().Server() {
			continue // names are asked over UDP, too; its port is closed with the rest
		}
		if k, err := dial("", at); err == nil {
			k.Close()
			t.Errorf("%s still answers", at)
		}
	}
	must(t, w.Down(t.Context())) // nothing is left to do
	if c.swept(t, theirs, c.World) {
		t.Error("a second sweep found something to do")
	}
	if is := c.left(t, mine); !slices.Equal(is, was) {
		t.Errorf("the living world had %v, it has %v", was, is)
	}
	for _, n := range c.Nodes(c.standby, "") {
		if _, err := n.State(t.Context()); err != nil {
			t.Errorf("the living world was touched: %v", err)
		}
	}
	must(t, answered(topology.ServiceHTTP, topology.Door{Reach: reach(t, c.node(t, c.standby, topology.Gateway), topology.ServiceHTTP)}))
}

// bypassed: a world with a planted defect. Its links say that they are cut, and traffic goes around them; the other world's
// links are not cut.
func (c *contract) bypassed(t *testing.T, w topology.World) {
	t.Helper()
	for _, l := range w.Links() {
		must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
		if x, err := l.Layers(t.Context()); err != nil || x.Open() {
			t.Errorf("cut link %s says %+v, %v", l.ID(), x, err)
		}
		if err := answered(l.ID().Service, l.Doors()[0]); err != nil {
			t.Errorf("traffic does not go around link %s: %v", l.ID(), err)
		}
		same, err := c.Link(l.ID())
		must(t, err)
		is, err := same.Layers(t.Context())
		must(t, err)
		if lost := l.ID().From == c.active || l.ID().To == c.active; is.Open() == lost { // "alone" cut these
			t.Errorf("link %s of the other world is %+v", l.ID(), is)
		}
	}
}

// down: from this process, twice; the world process ends by itself and leaves the run folder.
func (c *contract) down(t *testing.T) {
	began := time.Now()
	must(t, c.Down(t.Context()))
	took := time.Since(began)
	t.Logf("down in %s", took.Round(time.Millisecond))
	if took > c.limits.Down {
		t.Errorf("down took %s", took)
	}
	c.nothingLeft(t, c.About().ID)
	must(t, c.Down(t.Context()))
	must(t, c.owner.over(c.limits.Down))
	if _, err := c.runtime.Attach(t.Context(), c.owner.Folder); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("attached to a world that is down: %v", err)
	}
	if err := c.node(t, c.active, topology.Params).Start(t.Context()); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("a node of a world that is down: %v", err)
	}
	for _, f := range []string{history.WorldFile, history.LogsFolder} {
		if _, err := os.Stat(filepath.Join(c.owner.Folder, f)); err != nil {
			t.Errorf("the run folder lost %s", f)
		}
	}
	if c.swept(t, c.About().ID) {
		t.Error("down left something for a sweep")
	}
}

// small is the smallest topology.
//
//go:embed testdata/small.yaml
var small []byte

// concurrent is how many worlds RunConcurrent makes at once.
const concurrent = 3

// RunConcurrent makes three worlds on one machine at the same moment, each in a process of its own: they find room beside each
// other, all serve, and the end of one is not felt by the others.
func RunConcurrent(t *testing.T, h Host) {
	livetest.Servers(t)
	c := &contract{h: h, limits: h.Limits.withDefaults(), paymentd: Paymentd(t)}
	lacks(t, "Left", h.Left == nil)
	var err error
	c.runtime, err = h.Runtime(c.paymentd)
	must(t, err)
	path := filepath.Join(t.TempDir(), "small.yaml")
	must(t, os.WriteFile(path, small, 0o600))

	var owners []*Owner
	for range concurrent {
		owners = append(owners, launch(t, h, order{Topology: path, Paymentd: c.paymentd}))
	}
	began := time.Now()
	worlds := make([]topology.World, concurrent)
	each(t, owners, func(i int, o *Owner) error {
		if err := o.wait(t.Context(), concurrent*c.limits.Up); err != nil {
			return err
		}
		w, err := c.runtime.Attach(t.Context(), o.Folder)
		worlds[i] = w
		return err
	})
	t.Logf("%d worlds are up after %s", concurrent, time.Since(began).Round(100*time.Millisecond))
	seen := map[string]string{}
	for _, w := range worlds {
		defer w.Close()
		id := w.About().ID
		for at := range addresses(t, w) {
			if other := seen[at]; other != "" {
				t.Errorf("worlds %s and %s use %s", other, id, at)
			}
			seen[at] = id
		}
	}
	each(t, owners, func(i int, _ *Owner) error { return pay(t.Context(), worlds[i], "contract-together", c.limits) })

	// One goes down, the owner of one is killed; the third never notices.
	must(t, worlds[0].Down(t.Context()))
	c.nothingLeft(t, worlds[0].About().ID)
	owners[1].Kill()
	if !c.swept(t, worlds[1].About().ID, worlds[2]) {
		t.Errorf("the sweep does not name world %s, whose owner was killed", worlds[1].About().ID)
	}
	c.nothingLeft(t, worlds[1].About().ID)
	must(t, pay(t.Context(), worlds[2], "contract-last", c.limits))
	owners[2].Close(t, h)
	c.nothingLeft(t, worlds[2].About().ID)
}

// each does something with all owners' worlds at once.
func each(t *testing.T, owners []*Owner, f func(i int, o *Owner) error) {
	t.Helper()
	errs := make([]error, len(owners))
	var all sync.WaitGroup
	for i, o := range owners {
		all.Go(func() {
			if err := f(i, o); err != nil {
				errs[i] = fmt.Errorf("world of process %d: %w", o.PID(), err)
			}
		})
	}
	all.Wait()
	must(t, errors.Join(errs...))
}
