package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

// When links are attested.
const (
	Before = "before" // a fault
	During = "during" // right after its injection
	After  = "after"  // its healing
)

// Options of a guard. Zero durations take the defaults named beside them.
type Options struct {
	// KeepLost leaves a lost region as it is on Close: its data are read while it is still cut off, and the world goes down.
	KeepLost bool
	// Planted names a defect that was planted in the harness itself; every mark carries it.
	Planted string
	// Limit of one change of a link or node; default 10 s: a busy container engine takes seconds to kill a dozen containers.
	Limit time.Duration
	// Budget of Close for healing; default 30 s. It is Close's own: the context that ended a drill does not stop its healing.
	Budget time.Duration
	// Patience of a probe; default 250 ms. An expected silence is listened to for so long; an answer or a refusal that is due is
	// waited for longer, as only a busy machine keeps it back. Between the cut and the death of a region's nodes it delays the drill.
	Patience time.Duration
}

// Guard injects faults into one world, has them attested, remembers them, and heals them. Its methods are for one goroutine;
// what it holds ends with Close.
type Guard struct {
	world topology.World
	rec   *history.Recorder
	opt   Options
	probe *prober

	mu     sync.Mutex
	active []injected // in order of injection
	closed bool
}

// injected is a fault that was injected, in full or in part.
type injected struct {
	fault Fault
	plan  plan
}

// NewGuard begins to hold a connection over every link whose target runs, so that a later fault can be felt by connections that
// are older than it.
func NewGuard(w topology.World, rec *history.Recorder, o Options) *Guard {
	if o.Limit == 0 {
		o.Limit = 10 * time.Second
	}
	if o.Budget == 0 {
		o.Budget = 30 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 250 * time.Millisecond
	}
	return &Guard{world: w, rec: rec, opt: o, probe: newProber(w, rec, o.Patience)}
}

// Injected is what an injection did, and what traffic felt of it.
type Injected struct {
	history.FaultData
	Attest []history.AttestData // one a link that could be probed, in the order of the fault's links
}

// Felt says whether traffic felt the fault on every link, and on at least one.
func (i Injected) Felt() bool {
	return len(i.Attest) > 0 && !slices.ContainsFunc(i.Attest, func(a history.AttestData) bool { return !a.Agrees })
}

// Attest probes every link and marks what it felt against what is declared for it now: Before a fault, or at any
// other moment. The error is of the probing; a link that disagrees is a mark, for the judges.
func (g *Guard) Attest(ctx context.Context, when string) ([]history.AttestData, error) {
	var ids []topology.LinkID
	for _, l := range g.world.Links() {
		ids = append(ids, l.ID())
	}
	return g.attest(ctx, when, ids)
}

func (g *Guard) attest(ctx context.Context, when string, ids []topology.LinkID) ([]history.AttestData, error) {
	declared, feel := map[topology.LinkID]topology.Layers{}, g.probe.joined(ids)
	for _, l := range g.world.Links() {
		if !feel[l.ID()] {
			continue
		}
		layers, err := g.layers(ctx, l)
		if err != nil {
			return nil, err
		}
		declared[l.ID()] = layers
	}
	found, skipped := g.probe.attest(ctx, when, ids, declared)
	for _, a := range found {
		g.rec.Mark(history.KindAttest, a.Link, a)
	}
	for _, id := range skipped {
		g.rec.Mark(history.KindNote, id.String(), map[string]string{"not attested " + when: "no target of the link runs"})
	}
	if err := ctx.Err(); err != nil {
		return found, fmt.Errorf("attest links %s: %w", when, err)
	}
	return found, nil
}

// layers is what a link is declared to be. The fault is the one that this guard injected, not the one that the link tells of: a
// fault that the link never took on must be missed by the probes, not excused by the link.
func (g *Guard) layers(ctx context.Context, l topology.Link) (topology.Layers, error) {
	ctx, cancel := context.WithTimeout(ctx, g.opt.Limit)
	defer cancel()
	layers, err := l.Layers(ctx)
	if err != nil {
		return layers, fmt.Errorf("read link %s: %w", l.ID(), err)
	}
	if f, ours := g.effective(l.ID()); ours {
		layers.Fault = f
	}
	return layers, nil
}

// effective is the fault that this guard wants on a link: the last one injected. False: none.
func (g *Guard) effective(id topology.LinkID) (topology.Fault, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, in := range slices.Backward(g.active) {
		for _, a := range in.plan.links {
			if a.link.ID() == id {
				return a.fault, true
			}
		}
	}
	return topology.Fault{}, false
}

// Inject injects a fault, has its links attested, and then kills the nodes that the fault kills. All of it is marked, also
// where it fails half way; then the error says where, and Heal or Close undoes the half.
func (g *Guard) Inject(ctx context.Context, f Fault) (Injected, error) {
	p, err := f.plan(g.world)
	if err != nil {
		return Injected{}, err
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return Injected{}, fmt.Errorf("inject %s: the guard is closed", f.Name())
	}
	if slices.ContainsFunc(g.active, func(i injected) bool { return i.fault.Name() == f.Name() }) {
		g.mu.Unlock()
		return Injected{}, fmt.Errorf("inject %s: it is injected already", f.Name())
	}
	g.active = append(g.active, injected{f, p}) // before the first act: half a fault must be healed too
	g.mu.Unlock()

	out := Injected{FaultData: history.FaultData{Action: "inject", Planted: g.opt.Planted}}
	g.probe.freeze()
	defer g.probe.thaw()
	out.Began = g.rec.Now()
	defer func() { g.rec.MarkAt(out.Began, history.KindFault, f.Name(), out.FaultData) }()
	for i, a := range p.links {
		if err := g.set(ctx, a.link, a.fault); err != nil {
			out.Done = g.rec.Now()
			return out, fmt.Errorf("inject %s: %w", f.Name(), err)
		}
		out.Targets = append(out.Targets, a.link.ID().String())
		if i+1 == p.cuts {
			out.Cut = g.rec.Now()
		}
	}
	var ids []topology.LinkID
	for _, a := range p.links {
		ids = append(ids, a.link.ID())
	}
	attested, attestErr := g.attest(ctx, During, ids)
	out.Attest = attested
	killed, err := g.killAll(ctx, p.kill)
	out.Targets = append(out.Targets, killed...)
	if err != nil {
		out.Done = g.rec.Now()
		return out, fmt.Errorf("inject %s: %w", f.Name(), err)
	}
	out.Done = g.rec.Now()
	if attestErr != nil {
		return out, fmt.Errorf("inject %s: %w", f.Name(), attestErr)
	}
	return out, nil
}

// Heal takes one fault away, in the reverse order of its links, and has the links attested again. A link that another injected
// fault also holds keeps that one. Healing what is not injected does nothing.
func (g *Guard) Heal(ctx context.Context, f Fault) error {
	g.mu.Lock()
	i := slices.IndexFunc(g.active, func(in injected) bool { return in.fault.Name() == f.Name() })
	if i < 0 {
		g.mu.Unlock()
		return nil
	}
	in := g.active[i]
	g.active = slices.Delete(g.active, i, i+1)
	g.mu.Unlock()

	d := history.FaultData{Action: "heal", Began: g.rec.Now(), Planted: g.opt.Planted}
	var failed []error
	var ids []topology.LinkID
	for _, a := range slices.Backward(in.plan.links) {
		rest, _ := g.effective(a.link.ID())
		if err := g.set(ctx, a.link, rest); err != nil {
			failed = append(failed, err) // the others are healed all the same
			continue
		}
		d.Targets = append(d.Targets, a.link.ID().String())
		ids = append(ids, a.link.ID())
	}
	d.Done = g.rec.Now()
	g.rec.MarkAt(d.Began, history.KindFault, f.Name(), d)
	if len(failed) > 0 {
		g.mu.Lock()
		g.active = append(g.active, in) // still to be healed, by Close at the latest
		g.mu.Unlock()
		return fmt.Errorf("heal %s: %w", f.Name(), errors.Join(failed...))
	}
	if _, err := g.attest(ctx, After, ids); err != nil {
		return fmt.Errorf("heal %s: %w", f.Name(), err)
	}
	return nil
}

// HealNamed takes some of the active faults away, by name, the last one that was injected first, as Heal does.
func (g *Guard) HealNamed(ctx context.Context, names ...string) error {
	g.mu.Lock()
	active := slices.Clone(g.active)
	g.mu.Unlock()
	var failed []error
	for _, in := range slices.Backward(active) {
		if slices.Contains(names, in.fault.Name()) {
			failed = append(failed, g.Heal(ctx, in.fault))
		}
	}
	return errors.Join(failed...)
}

// Active names the faults that are injected now.
func (g *Guard) Active() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for _, i := range g.active {
		names = append(names, i.fault.Name())
	}
	return names
}

// Close heals what is still injected, the last fault first, within the guard's own budget and whatever has become of the drill's
// context, except a lost region that Options.KeepLost keeps. It lets go of every connection. Harmless when repeated.
func (g *Guard) Close() error {
	g.mu.Lock()
	g.closed = true
	active := slices.Clone(g.active)
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), g.opt.Budget)
	defer cancel()
	var failed []error
	for _, in := range slices.Backward(active) {
		if in.plan.region && g.opt.KeepLost {
			continue
		}
		if err := g.Heal(ctx, in.fault); err != nil {
			failed = append(failed, err)
		}
	}
	g.probe.close()
	return errors.Join(failed...)
}

func (g *Guard) set(ctx context.Context, l topology.Link, f topology.Fault) error {
	ctx, cancel := context.WithTimeout(ctx, g.opt.Limit)
	defer cancel()
	if err := l.SetFault(ctx, f); err != nil {
		return fmt.Errorf("set fault %q on %s: %w", f.Kind, l.ID(), err)
	}
	return nil
}

// killAll kills the nodes of a region at once, as a loss of power does, and names those that ran, in the plan's order.
func (g *Guard) killAll(ctx context.Context, nodes []topology.Node) ([]string, error) {
	var all errgroup.Group
	ran := make([]bool, len(nodes))
	for i, n := range nodes {
		all.Go(func() (err error) {
			ran[i], err = g.kill(ctx, n)
			return err
		})
	}
	err := all.Wait()
	var names []string
	for i, n := range nodes {
		if ran[i] {
			names = append(names, n.Name())
		}
	}
	return names, err
}

// kill ends a node and waits until it is stopped. False: it was not running.
func (g *Guard) kill(ctx context.Context, n topology.Node) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, g.opt.Limit)
	defer cancel()
	state, err := n.State(ctx)
	if err != nil {
		return false, fmt.Errorf("read state of %s: %w", n.Name(), err)
	}
	if state == topology.Stopped {
		return false, nil
	}
	if err := n.Kill(ctx); err != nil {
		return false, fmt.Errorf("kill %s: %w", n.Name(), err)
	}
	for {
		if state, err = n.State(ctx); err == nil && state == topology.Stopped {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("kill %s: it is still %q: %w", n.Name(), state, errors.Join(ctx.Err(), err))
		case <-time.After(2 * time.Millisecond):
		}
	}
}
