package hosted

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wan"
	"github.com/kirikae/kirikae/topology/wire"
)

// world is a world as any process sees it. It implements topology.World.
type world struct {
	file  File
	links *wan.WAN
	nodes Nodes
	zone  Zone
	end   func(ctx context.Context) error // Down
	let   func()                          // Close

	client *client
	owned  *owned // only in the process that created it

	closing sync.Once
}

func newWorld(f File, n Nodes, z Zone) (*world, error) {
	links, err := wan.New(f.Toxiproxy, f.LinkLock, f.Plan.Topology.Links, f.Plan.Routes)
	if err != nil {
		return nil, err
	}
	return &world{file: f, links: links, nodes: n, zone: z}, nil
}

// attach makes a world that is driven by its world process.
func (h Host) attach(f File) (*world, error) {
	c := newClient(f.Control)
	w, err := newWorld(f, c, c)
	if err != nil {
		return nil, err
	}
	w.client, w.let = c, c.close
	w.end = func(ctx context.Context) error { return w.downByProcess(ctx, h) }
	return w, nil
}

// About implements topology.World.
func (w *world) About() topology.About {
	return topology.About{Runtime: w.file.Runtime, Engines: w.file.Engines, Owner: w.file.Owner, ID: w.file.ID, Images: w.file.Images, Secret: w.file.Secret, Volumes: w.file.Volumes}
}

// Topology implements topology.World.
func (w *world) Topology() topology.Topology { return w.file.Plan.Topology }

// Node implements topology.World.
func (w *world) Node(name string) (topology.Node, error) {
	n, err := w.file.Plan.Node(name)
	if err != nil {
		return nil, err
	}
	return &node{w, n}, nil
}

// Nodes implements topology.World.
func (w *world) Nodes(site topology.Site, kind topology.Kind) []topology.Node {
	var all []topology.Node
	for _, n := range w.file.Plan.Of(site, kind) {
		all = append(all, &node{w, n})
	}
	return all
}

// Link implements topology.World.
func (w *world) Link(id topology.LinkID) (topology.Link, error) {
	if l := w.links.Link(id); l != nil {
		return l, nil
	}
	var known []string
	for _, l := range w.links.Links() {
		known = append(known, l.ID().String())
	}
	return nil, topology.Unknown("link", id.String(), known)
}

// Links implements topology.World.
func (w *world) Links() []topology.Link {
	var all []topology.Link
	for _, l := range w.links.Links() {
		all = append(all, l)
	}
	return all
}

// Zone implements topology.World.
func (w *world) Zone() topology.Zone { return zone{w.zone, w.file.Names} }

// Down implements topology.World. It works from any process.
func (w *world) Down(ctx context.Context) error { return w.end(ctx) }

// downByProcess lets the world process end its world; when that is gone already, it sweeps what is left.
func (w *world) downByProcess(ctx context.Context, h Host) error {
	if w.owned != nil {
		return w.owned.down()
	}
	err := w.client.down(ctx)
	if err == nil {
		return nil
	}
	// It may just have ended, or end while it answers: then nothing of it is there.
	wait, cancel := context.WithTimeout(ctx, downBudget)
	defer cancel()
	if gone := wire.Until(wait, "world "+w.file.ID+" has ended", func(context.Context) error {
		if Lives(w.file.Owner) && !absent(statErr(w.file.State)) {
			return err
		}
		return nil
	}); gone != nil {
		return fmt.Errorf("end the world: %w", gone)
	}
	if absent(statErr(w.file.State)) {
		return nil
	}
	if err := sweepState(ctx, w.file.State, w.file.Owner, h.Remove); err != nil {
		return fmt.Errorf("end the world: sweep what is left of it: %w", err)
	}
	return nil
}

// Close implements topology.World.
func (w *world) Close() error {
	w.closing.Do(func() {
		w.let()
		w.links.Close()
	})
	return nil
}

// node is one node of a world.
type node struct {
	w *world
	n plan.Node
}

func (n *node) Name() string        { return n.n.Name }
func (n *node) Site() topology.Site { return n.n.Site }
func (n *node) Kind() topology.Kind { return n.n.Kind }

func (n *node) State(ctx context.Context) (topology.State, error) { return n.w.nodes.State(ctx, n.n) }
func (n *node) Start(ctx context.Context) error                   { return n.w.nodes.Start(ctx, n.n, false) }
func (n *node) StartAlone(ctx context.Context) error              { return n.w.nodes.Start(ctx, n.n, true) }
func (n *node) Stop(ctx context.Context) error                    { return n.w.nodes.Stop(ctx, n.n) }
func (n *node) Kill(ctx context.Context) error                    { return n.w.nodes.Kill(ctx, n.n) }
func (n *node) Pause(ctx context.Context) error                   { return n.w.nodes.Pause(ctx, n.n) }
func (n *node) Resume(ctx context.Context) error                  { return n.w.nodes.Resume(ctx, n.n) }
func (n *node) Wipe(ctx context.Context) error                    { return n.w.nodes.Wipe(ctx, n.n) }

func (n *node) Logs(ctx context.Context, lines int) ([]string, error) {
	return n.w.nodes.Logs(ctx, n.n, lines)
}

func (n *node) Endpoint(s topology.Service) (string, error) {
	return n.address("endpoint", n.n.Endpoints, s)
}

func (n *node) Reach(s topology.Service) (string, error) { return n.address("reach", n.n.Reach, s) }

func (n *node) address(what string, of map[topology.Service]string, s topology.Service) (string, error) {
	if a, ok := of[s]; ok {
		return a, nil
	}
	var known []string
	for k := range of {
		known = append(known, string(k))
	}
	slices.Sort(known)
	return "", fmt.Errorf("%s of %s: %w", what, n.n.Name, topology.Unknown("service", string(s), known))
}

type zone struct {
	Zone
	server string
}

func (z zone) Server() string { return z.server }

var (
	_ topology.World       = (*world)(nil)
	_ topology.Node        = (*node)(nil)
	_ topology.LoneStarter = (*node)(nil)
	_ topology.Zone        = zone{}
)
