package local

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/kirikae/kirikae/payment/spawn"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/edge"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wan"
)

// Folders of a world's state folder.
const (
	dataFolder = "data" // by node
	pidsFolder = "pids" // a hosted.Process by node
)

// machines are the processes of a world and what this process itself serves for it. It implements hosted.Machines.
type machines struct {
	config   Config
	ground   hosted.Ground
	plan     *plan.Plan
	children map[string]*child
	thread   *spawn.Thread

	toxiproxy *wan.Server
	bypass    *wan.Forwarder
	names     *edge.Server
}

func newMachines(c Config, g hosted.Ground) *machines {
	m := &machines{config: c, ground: g, plan: &g.File.Plan, children: map[string]*child{}}
	for _, n := range m.plan.Nodes {
		m.children[n.Name] = &child{
			spec: n, machines: m,
			log:     filepath.Join(g.File.Logs, n.Name+".log"),
			data:    filepath.Join(g.File.State, dataFolder, n.Name),
			pidFile: filepath.Join(g.File.State, pidsFolder, n.Name+".json"),
		}
	}
	return m
}

// Open starts what runs inside this process: links and zone.
func (m *machines) Open(ctx context.Context, f *hosted.File) (hosted.Zone, error) {
	m.thread = spawn.NewThread()
	if err := adopt(); err != nil {
		return nil, fmt.Errorf("%w: %w", topology.ErrEnvironment, err)
	}
	subs := []string{pidsFolder, dataFolder}
	if f.Volumes == topology.VolumesMemory {
		subs = subs[:1]
		if err := inMemory(filepath.Join(f.State, dataFolder), f.ID, memoryLeast); err != nil {
			return nil, err
		}
	}
	for _, sub := range subs {
		if err := os.Mkdir(filepath.Join(f.State, sub), 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of %s: %w: %w", sub, topology.ErrEnvironment, err)
		}
	}
	var err error
	if m.toxiproxy, err = wan.Serve(ctx, f.Toxiproxy); err != nil {
		return nil, err
	}
	links, err := wan.New(f.Toxiproxy, f.LinkLock, m.plan.Topology.Links, m.plan.Routes)
	if err != nil {
		return nil, err
	}
	defer links.Close()
	if err := links.Create(ctx); err != nil {
		return nil, err
	}
	if m.ground.Bypass {
		if m.bypass, err = wan.Forward(m.plan.Routes); err != nil {
			return nil, err
		}
	}
	entry := edge.Entry{}
	for _, n := range m.plan.Of("", topology.Gateway) {
		at, err := netip.ParseAddrPort(m.plan.Door(topology.Outside, n.Name))
		if err != nil {
			return nil, fmt.Errorf("read the door of %s: %w", n.Name, err)
		}
		entry[n.Site] = at.Addr()
	}
	if m.names, err = edge.Serve(ctx, f.Names, m.plan.Topology.Zone, entry, m.plan.Topology.Active()); err != nil {
		return nil, err
	}
	return zone{m.names}, nil
}

// zone is the name server of this process.
type zone struct{ names *edge.Server }

func (z zone) Records(context.Context) ([]topology.Record, error) { return z.names.Records(), nil }

func (z zone) Point(_ context.Context, name string, to topology.Site) error {
	_, err := z.names.Point(name, to)
	return err
}

// Down implements hosted.Machines.
func (m *machines) Down(ctx context.Context) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, c := range m.children {
		wg.Go(func() {
			if err := c.kill(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if m.bypass != nil {
		m.bypass.Close()
	}
	if m.names != nil {
		errs = append(errs, m.names.Close(ctx))
	}
	if m.toxiproxy != nil {
		errs = append(errs, m.toxiproxy.Close(ctx))
	}
	if m.thread != nil {
		m.thread.Close()
	}
	errs = append(errs, forget(filepath.Join(m.ground.File.State, dataFolder)))
	return errors.Join(errs...)
}

func (m *machines) child(n plan.Node) *child { return m.children[n.Name] }

// State implements hosted.Nodes.
func (m *machines) State(_ context.Context, n plan.Node) (topology.State, error) {
	return m.child(n).state(), nil
}

// Stop implements hosted.Nodes.
func (m *machines) Stop(ctx context.Context, n plan.Node) error { return m.child(n).stop(ctx) }

// Kill implements hosted.Nodes.
func (m *machines) Kill(ctx context.Context, n plan.Node) error { return m.child(n).kill(ctx) }

// Pause implements hosted.Nodes.
func (m *machines) Pause(ctx context.Context, n plan.Node) error { return m.child(n).freeze(ctx, true) }

// Resume implements hosted.Nodes.
func (m *machines) Resume(ctx context.Context, n plan.Node) error {
	return m.child(n).freeze(ctx, false)
}

// Wipe implements hosted.Nodes.
func (m *machines) Wipe(_ context.Context, n plan.Node) error { return m.child(n).wipe() }

// Logs implements hosted.Nodes.
func (m *machines) Logs(_ context.Context, n plan.Node, lines int) ([]string, error) {
	return tailFile(m.child(n).log, lines)
}

// Ended implements hosted.Machines.
func (m *machines) Ended(ctx context.Context, n plan.Node) (string, error) {
	r := m.child(n).life()
	if r == nil {
		return "it was never started", nil
	}
	select {
	case <-r.ended:
		return r.reason, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

var _ hosted.Machines = (*machines)(nil)
