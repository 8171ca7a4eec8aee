package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/schema"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/edge"
	"github.com/kirikae/kirikae/topology/mysql"
	"github.com/kirikae/kirikae/topology/wan"
)

// Create makes a world, in the process that owns it from now on, and returns when a customer in the outside could be served.
// What it started is gone again when it fails. The World it returns is an attached one like any other; Serve keeps it.
func (r *Runtime) Create(ctx context.Context, t topology.Topology, o topology.Options) (topology.World, error) {
	began := time.Now()
	say := func(format string, a ...any) {
		if o.Progress != nil {
			o.Progress(fmt.Sprintf("%5.1f s  ", time.Since(began).Seconds()) + fmt.Sprintf(format, a...))
		}
	}
	if err := r.Check(ctx); err != nil {
		return nil, err
	}
	swept, err := r.Sweep(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range swept {
		say("swept %s", s)
	}
	bypass, err := planted(o.Defects)
	if err != nil {
		return nil, err
	}
	w := &owned{config: r.c, say: func(s string) { say("%s", s) }, extra: o.Defects, children: map[string]*child{},
		gone: make(chan struct{}), served: make(chan error, 1)}
	w.life, w.end = context.WithCancelCause(context.Background())
	// Whatever ends the creation ends all of it at once: the caller, somebody's Down, or the first part that fails. The first
	// cause is the error.
	stop := context.AfterFunc(ctx, func() { w.end(fmt.Errorf("make a world: %w", context.Cause(ctx))) })
	err = w.create(w.life, r, t, o.Folder, bypass)
	if !stop() || err != nil {
		w.end(err)
		return nil, errors.Join(context.Cause(w.life), w.down(), w.hangUp())
	}
	say("world %s is up", w.file.ID)
	att, err := attach(w.file)
	if err != nil {
		return nil, errors.Join(err, w.down(), w.hangUp())
	}
	att.owned = w
	return att, nil
}

// planted says whether the links are to be gone around, and refuses a defect that nothing here can have.
func planted(defects map[string][]string) (bypass bool, err error) {
	known := []string{"wan"}
	for _, k := range []topology.Kind{topology.App, topology.Batch, topology.Gateway, topology.Params, topology.Acquirer, topology.OnPremises} {
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

func (w *owned) create(ctx context.Context, r *Runtime, t topology.Topology, folder string, bypass bool) error {
	if err := w.claimPlace(r, t, folder, bypass); err != nil {
		return err
	}
	if err := w.openPlumbing(ctx, bypass); err != nil {
		return err
	}
	w.say(fmt.Sprintf("world %s has the addresses 127.%d.0.0/16; %d doors between the sites", w.file.ID, w.plan.octet, len(w.plan.routes)))

	var g errgroup.Group
	for _, raise := range []func(context.Context) error{w.raiseCassandra, w.raiseMySQL, w.raiseServices} {
		g.Go(func() error {
			err := raise(ctx)
			if err != nil {
				w.end(err)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := w.raiseApp(ctx); err != nil {
		return err
	}
	if err := writeJSON(worldFile(w.folder), w.file); err != nil {
		return fmt.Errorf("write %s: %w: %w", worldFile(w.folder), topology.ErrEnvironment, err)
	}
	return nil
}

// claimPlace takes everything that another world could want too: the name, the state folder, the addresses.
func (w *owned) claimPlace(r *Runtime, t topology.Topology, folder string, bypass bool) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return fmt.Errorf("find the run folder: %w", err)
	}
	owner, err := self()
	if err != nil {
		return err
	}
	id := "w" + randomHex(3)
	w.folder, w.logs, w.secret = folder, logsFolder(folder), randomHex(16)
	if err := os.MkdirAll(w.logs, 0o755); err != nil {
		return fmt.Errorf("make the folder of logs: %w: %w", topology.ErrEnvironment, err)
	}
	for _, f := range []string{worldFile(folder), filepath.Join(folder, AcquirerFile)} {
		if err := statErr(f); err == nil { // one folder is the evidence of one world
			return fmt.Errorf("make a world in %s: %w: the folder has the %s of another world already", folder, topology.ErrEnvironment, filepath.Base(f))
		} else if !absent(err) {
			return fmt.Errorf("make a world in %s: %w: %w", folder, topology.ErrEnvironment, err)
		}
	}
	if w.state, err = makeState(r.worlds(), id, owner); err != nil {
		return err
	}
	w.claim, err = claimOctet(r.octets(), r.c.Octet, holder{id, owner.PID, folder}, func(x int) []string {
		p := layout(t, x, bypass)
		return p.addresses()
	})
	if err != nil {
		return err
	}
	w.plan = layout(t, w.claim.octet, bypass)
	control, err := socketPath(w.state, id)
	if err != nil {
		return err
	}
	in := r.c.Install
	w.file = file{
		Version: fileVersion, Runtime: Name, ID: id, Octet: w.plan.octet, Owner: owner,
		Engines: map[string]string{"mysql": in.MySQL.Version, "cassandra": in.Cassandra.Version, "java": in.Java.Version, "toxiproxy": wan.Version()},
		Secret:  w.secret, Control: control, Toxiproxy: w.plan.toxiproxy, LinkLock: filepath.Join(w.state, "links.lock"), Names: w.plan.names,
		State: w.state, Logs: w.logs, Acquirer: filepath.Join(folder, AcquirerFile),
		Nodes: w.plan.nodes, Routes: w.plan.routes, Topology: t,
	}
	return nil
}

// openPlumbing starts what runs inside this process: links, zone, control.
func (w *owned) openPlumbing(ctx context.Context, bypass bool) error {
	w.spawner = newSpawner()
	for _, n := range w.plan.nodes {
		w.children[n.Name] = newChild(w, n)
	}
	var err error
	if w.toxiproxy, err = wan.Serve(ctx, w.plan.toxiproxy); err != nil {
		return err
	}
	if w.links, err = wan.New(w.plan.toxiproxy, w.file.LinkLock, w.plan.topology.Links, w.plan.routes); err != nil {
		return err
	}
	if err := w.links.Create(ctx); err != nil {
		return err
	}
	if bypass {
		if w.bypass, err = forward(w.plan.routes); err != nil {
			return err
		}
		w.say("planted: traffic between the sites goes around the proxies")
	}
	entry := edge.Entry{}
	for _, n := range w.plan.of("", topology.Gateway) {
		at, err := netip.ParseAddrPort(w.plan.door(topology.Outside, n.Name))
		if err != nil {
			return fmt.Errorf("read the door of %s: %w", n.Name, err)
		}
		entry[n.Site] = at.Addr()
	}
	if w.names, err = edge.Serve(ctx, w.plan.names, w.plan.topology.Zone, entry, w.plan.topology.Active()); err != nil {
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

// start starts the nodes of a kind at a site, all at once.
func (w *owned) start(ctx context.Context, site topology.Site, kind topology.Kind) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range w.plan.of(site, kind) {
		g.Go(func() error { return w.startNode(ctx, w.children[n.Name], false) })
	}
	return g.Wait()
}

// ready waits until every node of a kind at a site passes f, and says what died meanwhile.
func (w *owned) ready(ctx context.Context, site topology.Site, kind topology.Kind, f func(context.Context, nodeSpec) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range w.plan.of(site, kind) {
		c := w.children[n.Name]
		g.Go(func() error { return w.watch(ctx, c, func(ctx context.Context) error { return f(ctx, n) }) })
	}
	return g.Wait()
}

// Budgets of a start. They are for a loaded machine; a free one needs a tenth.
const (
	ringBudget    = 120 * time.Second
	mysqlBudget   = 60 * time.Second
	serviceBudget = 30 * time.Second
)

// raiseCassandra starts every node of both regions at once, as they look for each other, and makes the keyspace.
func (w *owned) raiseCassandra(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ringBudget)
	defer cancel()
	if err := w.start(ctx, "", topology.Cassandra); err != nil {
		return err
	}
	var contacts []string
	for _, n := range w.plan.of("", topology.Cassandra) {
		contacts = append(contacts, n.Endpoints[topology.ServiceCQL])
	}
	w.say(fmt.Sprintf("cassandra: %d nodes started", len(contacts)))
	err := w.all(ctx, topology.Cassandra, func(ctx context.Context) error { return cassandra.WaitRing(ctx, contacts...) })
	if err != nil {
		return err
	}
	w.say("cassandra: every node sees the others")
	active := w.plan.topology.Active()
	s, err := cassandra.Open(ctx, w.ring(active))
	if err != nil {
		return err
	}
	defer s.Close()
	factors := map[string]int{}
	for site, rf := range w.plan.topology.ReplicationFactor {
		factors[string(site)] = rf
	}
	if err := s.ApplySchema(ctx, schema.Cassandra(factors)); err != nil {
		return err
	}
	if err := until(ctx, "cassandra answers at both quorums", s.Quorums); err != nil {
		return err
	}
	if err := w.confirm("cassandra", s.Version, ctx); err != nil {
		return err
	}
	w.say("cassandra: ready, both quorums answer")
	return nil
}

func (w *owned) ring(site topology.Site) cassandra.Site {
	s := cassandra.Site{Name: string(site), DC: string(site)}
	for _, n := range w.plan.of(site, topology.Cassandra) {
		s.Contact = append(s.Contact, n.Endpoints[topology.ServiceCQL])
	}
	return s
}

// all runs f while watching every node of a kind: the first that dies ends it.
func (w *owned) all(ctx context.Context, kind topology.Kind, f func(context.Context) error) error {
	run := f
	for _, n := range w.plan.of("", kind) {
		inner, c := run, w.children[n.Name]
		run = func(ctx context.Context) error { return w.watch(ctx, c, inner) }
	}
	return run(ctx)
}

// raiseMySQL starts both servers, makes the schema in the active one and lets the standby follow it through the link.
func (w *owned) raiseMySQL(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, mysqlBudget)
	defer cancel()
	if err := w.start(ctx, "", topology.MySQL); err != nil {
		return err
	}
	w.say("mysql: both answer")
	t := w.plan.topology
	active, standby := w.plan.of(t.Active(), topology.MySQL)[0], w.plan.of(t.Standby(), topology.MySQL)[0]
	source, err := w.ops(active)
	if err != nil {
		return err
	}
	defer source.Close()
	replica, err := w.ops(standby)
	if err != nil {
		return err
	}
	defer replica.Close()
	statements := append(schema.MySQL(), schema.Seed(t.Accounts, t.Opening, firstEpoch, string(t.Active()))...)
	if err := source.ApplySchema(ctx, statements); err != nil {
		return err
	}
	host, port, err := splitPort(w.plan.door(standby.Site, active.Name))
	if err != nil {
		return err
	}
	if err := replica.Follow(ctx, host, port, w.secret, mysql.FollowOptions{}); err != nil {
		return err
	}
	// It follows when it shows what was written at the source.
	err = until(ctx, standby.Name+" shows the epoch of "+active.Name, func(ctx context.Context) error {
		epoch, site, err := replica.Epoch(ctx)
		if err == nil && (epoch != firstEpoch || site != string(t.Active())) {
			err = fmt.Errorf("it shows epoch %d of %q", epoch, site)
		}
		return err
	})
	if err != nil {
		return err
	}
	version := func(ctx context.Context) (string, error) {
		s, err := source.Status(ctx)
		return s.Version, err
	}
	if err := w.confirm("mysql", version, ctx); err != nil {
		return err
	}
	w.say(fmt.Sprintf("mysql: ready, %s follows %s", standby.Name, active.Name))
	return nil
}

// firstEpoch is the writers' epoch of a new world.
const firstEpoch = 1

func (w *owned) ops(n nodeSpec) (*mysql.Server, error) {
	return mysql.Open(n.Endpoints[topology.ServiceMySQL], mysql.UserOps, w.secret, mysql.Options{Name: n.Name})
}

// confirm holds what a server says it is against what was installed.
func (w *owned) confirm(engine string, version func(context.Context) (string, error), ctx context.Context) error {
	got, err := version(ctx)
	if err != nil {
		return err
	}
	if want := w.file.Engines[engine]; got != want && !strings.HasPrefix(got, want+"-") {
		return fmt.Errorf("%s says that it is %s, installed is %s: %w", engine, got, want, topology.ErrEnvironment)
	}
	return nil
}

// raiseServices starts the platform's own nodes that need no store, and sets the regions' parameters.
func (w *owned) raiseServices(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, serviceBudget)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	for _, kind := range []topology.Kind{topology.Params, topology.Acquirer, topology.Gateway} {
		g.Go(func() error { return w.start(gctx, "", kind) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	err := w.ready(ctx, "", topology.Params, func(ctx context.Context, n nodeSpec) error {
		return w.setParams(ctx, n, w.parameters(n.Site))
	})
	if err != nil {
		return err
	}
	// 404: it looked for that payment's charges and has none.
	err = w.ready(ctx, "", topology.Acquirer, func(ctx context.Context, n nodeSpec) error {
		return answers(ctx, "http://"+n.Endpoints[topology.ServiceHTTP]+"/charges/none", http.StatusOK, http.StatusNotFound)
	})
	if err != nil {
		return err
	}
	w.say("parameter stores, acquirer and gateways: ready")
	return nil
}

// parameters of a region in a new world. The standby's lacks what a switchover writes before it starts the application
// (article 002, row 4).
func (w *owned) parameters(site topology.Site) map[string]string {
	v := map[string]string{
		payment.ParamAcquirer:    "http://" + w.plan.door(site, w.plan.of(topology.Outside, topology.Acquirer)[0].Name),
		payment.ParamBatch:       "false",
		payment.ParamClusterForm: "false",
	}
	if site != w.plan.topology.Active() {
		return v
	}
	v[payment.ParamMySQL] = w.plan.of(site, topology.MySQL)[0].Endpoints[topology.ServiceMySQL]
	v[payment.ParamCassandra] = strings.Join(w.ring(site).Contact, ",")
	v[payment.ParamDC] = string(site)
	v[payment.ParamEpoch] = strconv.Itoa(firstEpoch)
	v[payment.ParamBatch] = "true"
	v[payment.ParamClusterForm] = "true"
	return v
}

// raiseApp starts the active region's application and waits until its gateway serves, seen from outside through the door.
func (w *owned) raiseApp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, serviceBudget)
	defer cancel()
	active := w.plan.topology.Active()
	if err := w.start(ctx, active, topology.App); err != nil {
		return err
	}
	if err := w.start(ctx, "", topology.Batch); err != nil { // the standby's waits for its flag
		return err
	}
	err := w.ready(ctx, active, topology.App, func(ctx context.Context, n nodeSpec) error {
		return answers(ctx, "http://"+n.Endpoints[topology.ServiceHTTP]+"/healthz", http.StatusOK)
	})
	if err != nil {
		return err
	}
	w.say(fmt.Sprintf("application: %d nodes of %s serve", len(w.plan.of(active, topology.App)), active))
	err = w.ready(ctx, active, topology.Gateway, func(ctx context.Context, n nodeSpec) error {
		return answers(ctx, "http://"+w.plan.door(topology.Outside, n.Name)+"/healthz", http.StatusOK)
	})
	if err != nil {
		return err
	}
	// The cluster is formed: from now on it is kept when a node fails (article 002, row 7).
	return w.setParams(ctx, w.plan.of(active, topology.Params)[0], map[string]string{payment.ParamClusterForm: "false"})
}

func splitPort(address string) (host string, port int, err error) {
	at, err := netip.ParseAddrPort(address)
	return at.Addr().String(), int(at.Port()), err
}
