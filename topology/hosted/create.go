package hosted

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wan"
	"github.com/kirikae/kirikae/topology/wire"
)

func logsFolder(run string) string { return filepath.Join(run, history.LogsFolder) }

// Create makes a world, in the process that owns it from now on, and returns when a customer in the outside could be served.
// What it started is gone again when it fails. The World it returns is an attached one like any other; Serve keeps it.
func (h Host) Create(ctx context.Context, t topology.Topology, o topology.Options, s Spec) (topology.World, error) {
	began := time.Now()
	say := func(what string) {
		if o.Progress != nil {
			o.Progress(fmt.Sprintf("%5.1f s  %s", time.Since(began).Seconds(), what))
		}
	}
	bypass, err := planted(o.Defects)
	if err != nil {
		return nil, err
	}
	sweep := s.Sweep
	if sweep == nil {
		sweep = h.Sweep
	}
	swept, err := sweep(ctx)
	if err != nil {
		return nil, err
	}
	for _, x := range swept {
		say("swept " + x)
	}
	w := newOwned(h, s, say)
	w.bypass, w.extra = bypass, o.Defects
	// Whatever ends the creation ends all of it at once: the caller, somebody's Down, or the first part that fails. The first
	// cause is the error.
	stop := context.AfterFunc(ctx, func() { w.end(fmt.Errorf("make a world: %w", context.Cause(ctx))) })
	err = w.create(w.life, t, o)
	if !stop() || err != nil {
		w.end(err)
		return nil, errors.Join(context.Cause(w.life), w.down(), w.hangUp())
	}
	say("world " + w.file.ID + " is up")
	att, err := h.attach(w.file)
	if err != nil {
		return nil, errors.Join(err, w.down(), w.hangUp())
	}
	att.owned = w
	return att, nil
}

// planted says whether the links are to be gone around, and refuses a defect that nothing here can have.
func planted(defects map[string][]string) (bypass bool, err error) {
	known := []string{"wan"}
	for _, k := range []topology.Kind{topology.App, topology.Batch, topology.Gateway, topology.Params, topology.Acquirer, topology.OnPremises,
		topology.Reconciler, topology.Witness} {
		known = append(known, string(k))
	}
	for kind, args := range defects {
		if !slices.Contains(known, kind) {
			return false, fmt.Errorf("plant a defect: %w", topology.Unknown("kind of node", kind, known))
		}
		if kind != "wan" {
			continue
		}
		for _, a := range args {
			if a != "bypass" {
				return false, fmt.Errorf("plant a defect in wan: %w", topology.Unknown("defect", a, []string{"bypass"}))
			}
			bypass = true
		}
	}
	return bypass, nil
}

func (w *owned) layout(t topology.Topology, octet int) plan.Plan {
	return plan.Layout(t, octet, w.spec.Prefix, w.bypass)
}

func (w *owned) free(ctx context.Context, t topology.Topology, octet int) error {
	p := w.layout(t, octet)
	if w.spec.Free != nil {
		return w.spec.Free(ctx, p)
	}
	return Bindable(p.Listens())
}

func (w *owned) create(ctx context.Context, t topology.Topology, o topology.Options) error {
	if err := w.claimPlace(ctx, t, o); err != nil {
		return err
	}
	if err := w.open(ctx); err != nil {
		return err
	}
	p := &w.file.Plan
	w.say(fmt.Sprintf("world %s has the addresses 127.%d.0.0/16; %d doors between the sites", w.file.ID, p.Octet, len(p.Routes)))
	if w.bypass {
		w.say("planted: traffic between the sites goes around the proxies")
	}

	console := &wire.Console{Plan: *p, Secret: w.file.Secret, Say: w.say, Watch: w.watch, Confirm: w.confirm}
	raise := w.raise
	if w.spec.Raise != nil {
		raise = w.spec.Raise
	}
	if err := raise(ctx, console); err != nil {
		return err
	}
	if err := WriteJSON(WorldFile(w.folder), w.file); err != nil {
		return fmt.Errorf("write %s: %w: %w", WorldFile(w.folder), topology.ErrEnvironment, err)
	}
	return nil
}

// raise starts what runs in normal times and wires it.
func (w *owned) raise(ctx context.Context, c *wire.Console) error {
	var g errgroup.Group
	for _, raise := range []func(context.Context, *wire.Console) error{w.raiseCassandra, w.raiseMySQL, w.raiseServices} {
		g.Go(func() error {
			err := raise(ctx, c)
			if err != nil {
				w.end(err)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return w.raiseApp(ctx, c)
}

// open starts what the nodes stand on, and the control socket.
func (w *owned) open(ctx context.Context) error {
	w.machines = w.spec.Make(Ground{File: w.file, Folder: w.folder, Bypass: w.bypass, Extra: w.extra, Say: w.say})
	w.guard = newGuard(w.life, w.machines, w.file.Plan.Nodes, w.spec.Parallel)
	opening, cancel := context.WithTimeout(ctx, openBudget)
	defer cancel()
	var err error
	if w.zone, err = w.machines.Open(opening, &w.file); err != nil {
		return err
	}
	links, err := wan.New(w.file.Toxiproxy, w.file.LinkLock, w.file.Plan.Topology.Links, w.file.Plan.Routes)
	if err != nil {
		return err
	}
	defer links.Close()
	if err := wire.Until(opening, "the links can be driven", links.Healthy); err != nil {
		return err
	}
	l, err := net.Listen("unix", w.file.Control)
	if err != nil {
		return fmt.Errorf("listen on the control socket: %w: %w", topology.ErrEnvironment, err)
	}
	w.control = &http.Server{Handler: w.handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { w.served <- w.control.Serve(l) }()
	return nil
}

// Budgets of a start. They are for a loaded machine; a free one needs a tenth.
const (
	openBudget    = 120 * time.Second
	ringBudget    = 240 * time.Second
	mysqlBudget   = 180 * time.Second
	serviceBudget = 120 * time.Second
)

// start starts the nodes of a kind at a site that run in normal times, all at once.
func (w *owned) start(ctx context.Context, site topology.Site, kind topology.Kind) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range w.file.Plan.Of(site, kind) {
		if !w.file.Plan.Normally(n) {
			continue
		}
		g.Go(func() error { return w.guard.Start(ctx, n, false) })
	}
	return g.Wait()
}

// raiseCassandra starts every node of both regions at once, as they look for each other, and makes the keyspace.
func (w *owned) raiseCassandra(ctx context.Context, c *wire.Console) error {
	ctx, cancel := context.WithTimeout(ctx, ringBudget)
	defer cancel()
	if err := w.start(ctx, "", topology.Cassandra); err != nil {
		return err
	}
	w.say(fmt.Sprintf("cassandra: %d nodes started", len(w.file.Plan.Of("", topology.Cassandra))))
	return c.Cassandra(ctx)
}

// raiseMySQL starts the witness, if there is one, and both servers, and lets the standby follow the active one.
func (w *owned) raiseMySQL(ctx context.Context, c *wire.Console) error {
	ctx, cancel := context.WithTimeout(ctx, mysqlBudget)
	defer cancel()
	if err := w.start(ctx, "", topology.Witness); err != nil { // before what it gives the lease to
		return err
	}
	if err := w.start(ctx, "", topology.MySQL); err != nil {
		return err
	}
	if err := c.Witness(ctx); err != nil {
		return err
	}
	return c.MySQL(ctx)
}

// raiseServices starts the platform's own nodes that need no store, and sets the regions' parameters.
func (w *owned) raiseServices(ctx context.Context, c *wire.Console) error {
	ctx, cancel := context.WithTimeout(ctx, serviceBudget)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	for _, kind := range []topology.Kind{topology.Params, topology.Acquirer, topology.Gateway} {
		g.Go(func() error { return w.start(gctx, "", kind) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := c.Params(ctx); err != nil {
		return err
	}
	return c.Acquirer(ctx)
}

// raiseApp starts the active region's application and waits until customers would be served.
func (w *owned) raiseApp(ctx context.Context, c *wire.Console) error {
	ctx, cancel := context.WithTimeout(ctx, serviceBudget)
	defer cancel()
	if err := w.start(ctx, w.file.Plan.Topology.Active(), topology.App); err != nil {
		return err
	}
	for _, kind := range []topology.Kind{topology.Batch, topology.Reconciler} { // the standby's batch waits for its flag
		if err := w.start(ctx, "", kind); err != nil {
			return err
		}
	}
	if err := c.App(ctx); err != nil {
		return err
	}
	return c.Formed(ctx)
}

// confirm holds what a server says it is against what was installed, or takes it where that is not known.
func (w *owned) confirm(engine, got string) error {
	w.engines.Lock()
	defer w.engines.Unlock()
	want, ok := w.file.Engines[engine]
	if !ok {
		w.file.Engines[engine] = got
		return nil
	}
	if got != want && !strings.HasPrefix(got, want+"-") {
		return fmt.Errorf("%s says that it is %s, installed is %s: %w", engine, got, want, topology.ErrEnvironment)
	}
	return nil
}
