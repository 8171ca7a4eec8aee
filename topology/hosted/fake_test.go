package hosted

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/edge"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wan"
	"github.com/kirikae/kirikae/topology/wire"
)

func twoRegion(t *testing.T) topology.Topology {
	t.Helper()
	top, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// fake is machines whose nodes are words in this process's memory. Links and zone are real.
type fake struct {
	ground Ground
	broken error                                        // Open fails with it
	starts func(ctx context.Context, n plan.Node) error // nil: at once
	then   func(n plan.Node)                            // once it runs

	toxiproxy *wan.Server
	names     *edge.Server

	mu    sync.Mutex
	state map[string]topology.State
	ended map[string]chan struct{} // closed when the node has ended
	how   map[string]string
	log   map[string][]string
	data  map[string]bool
	calls []string
	downs int
}

func newFake(g Ground) *fake {
	f := &fake{ground: g, state: map[string]topology.State{}, ended: map[string]chan struct{}{}, how: map[string]string{},
		log: map[string][]string{}, data: map[string]bool{}}
	for _, n := range g.File.Plan.Nodes {
		f.state[n.Name] = topology.Stopped
	}
	return f
}

func (f *fake) Open(ctx context.Context, file *File) (Zone, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	p := &file.Plan
	var err error
	if f.toxiproxy, err = wan.Serve(ctx, file.Toxiproxy); err != nil {
		return nil, err
	}
	links, err := wan.New(file.Toxiproxy, file.LinkLock, p.Topology.Links, p.Routes)
	if err != nil {
		return nil, err
	}
	defer links.Close()
	if err := links.Create(ctx); err != nil {
		return nil, err
	}
	entry := edge.Entry{}
	for _, n := range p.Of("", topology.Gateway) {
		entry[n.Site] = netip.MustParseAddrPort(p.Door(topology.Outside, n.Name)).Addr()
	}
	if f.names, err = edge.Serve(ctx, file.Names, p.Topology.Zone, entry, p.Topology.Active()); err != nil {
		return nil, err
	}
	file.Details = map[string]string{"made": "of words"}
	return fakeZone{f.names}, nil
}

type fakeZone struct{ names *edge.Server }

func (z fakeZone) Records(context.Context) ([]topology.Record, error) { return z.names.Records(), nil }
func (z fakeZone) Point(_ context.Context, name string, to topology.Site) error {
	_, err := z.names.Point(name, to)
	return err
}

func (f *fake) note(verb string, n plan.Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, verb+" "+n.Name)
}

func (f *fake) heard(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := 0
	for _, c := range f.calls {
		if c == call {
			count++
		}
	}
	return count
}

func (f *fake) State(_ context.Context, n plan.Node) (topology.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state[n.Name], nil
}

func (f *fake) Start(ctx context.Context, n plan.Node, alone bool) error {
	f.note("start", n)
	f.mu.Lock()
	fresh := !f.data[n.Name]
	f.mu.Unlock()
	if alone && fresh {
		return fmt.Errorf("start %s alone: it has no data of its own", n.Name)
	}
	if f.starts != nil {
		if err := f.starts(ctx, n); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.state[n.Name], f.ended[n.Name], f.data[n.Name] = topology.Running, make(chan struct{}), true
	f.log[n.Name] = append(f.log[n.Name], "it runs")
	f.mu.Unlock()
	if f.then != nil {
		f.then(n)
	}
	return nil
}

func (f *fake) die(n plan.Node, how string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state[n.Name] == topology.Stopped {
		return
	}
	f.state[n.Name], f.how[n.Name] = topology.Stopped, how
	close(f.ended[n.Name])
}

func (f *fake) set(n plan.Node, s topology.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state[n.Name] = s
}

func (f *fake) Stop(_ context.Context, n plan.Node) error {
	f.note("stop", n)
	f.die(n, "exit status 0")
	return nil
}

func (f *fake) Kill(_ context.Context, n plan.Node) error {
	f.note("kill", n)
	f.die(n, "killed")
	return nil
}

func (f *fake) Pause(_ context.Context, n plan.Node) error {
	f.note("pause", n)
	f.set(n, topology.Paused)
	return nil
}

func (f *fake) Resume(_ context.Context, n plan.Node) error {
	f.note("resume", n)
	f.set(n, topology.Running)
	return nil
}

func (f *fake) Wipe(_ context.Context, n plan.Node) error {
	f.note("wipe", n)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data[n.Name] = false
	return nil
}

func (f *fake) Logs(_ context.Context, n plan.Node, lines int) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.log[n.Name])
	return all[max(0, len(all)-lines):], nil
}

func (f *fake) Ended(ctx context.Context, n plan.Node) (string, error) {
	f.mu.Lock()
	over := f.ended[n.Name]
	f.mu.Unlock()
	if over == nil {
		return "it was never started", nil
	}
	select {
	case <-over:
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.how[n.Name], nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (f *fake) Down(ctx context.Context) error {
	f.mu.Lock()
	f.downs++
	f.mu.Unlock()
	for _, n := range f.ground.File.Plan.Nodes {
		f.die(n, "down")
	}
	var errs []error
	if f.names != nil {
		errs = append(errs, f.names.Close(ctx))
	}
	if f.toxiproxy != nil {
		errs = append(errs, f.toxiproxy.Close(ctx))
	}
	return errors.Join(errs...)
}

// half is a world with its plumbing, whose nodes are not started.
type half struct {
	*owned
	fake *fake
}

func testHost(t *testing.T) Host { return Host{Runtime: "fake", Cache: t.TempDir()} }

func halfWorld(t *testing.T, h Host) half {
	t.Helper()
	var f *fake
	w := newOwned(h, Spec{Prefix: plan.Loopback, Make: func(g Ground) Machines { f = newFake(g); return f }}, func(string) {})
	t.Cleanup(func() {
		if err := errors.Join(w.down(), w.hangUp()); err != nil {
			t.Error(err)
		}
	})
	if err := w.claimPlace(t.Context(), twoRegion(t), topology.Options{Folder: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if err := w.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(WorldFile(w.folder), w.file); err != nil {
		t.Fatal(err)
	}
	return half{w, f}
}

func (h half) node(t *testing.T, name string) plan.Node {
	t.Helper()
	n, err := h.file.Plan.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func within(t *testing.T, what string, f func() bool) {
	t.Helper()
	err := wire.Until(timeout(t, 30*time.Second), what, func(context.Context) error {
		if !f() {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
