package online

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/forward"
	"github.com/kirikae/kirikae/payment/internal/web"
	"github.com/kirikae/kirikae/payment/params"
)

// Config of a node.
type Config struct {
	Name    string
	Site    string
	Params  payment.Params
	Connect func(payment.Parameters) (payment.Stores, error)
	Defects []payment.Defect
	Wait    time.Duration // longest wait for complete parameters at start, default 30 s
	Recover bool          // at its start, end the payments that were interrupted before
	Log     *slog.Logger
}

// Times of a node.
const (
	requestLimit = 3 * time.Second        // of one payment or probe, whatever the customer does
	checkEvery   = 200 * time.Millisecond // health
	checkLimit   = time.Second            // of one health check
	freshness    = 2 * time.Second        // age up to which a health check speaks
	watchEvery   = 500 * time.Millisecond // parameters that are read while running
	recoverEvery = time.Second            // looks at interrupted payments, until one comes through
	recoverLimit = 30 * time.Second       // of one such look
)

// A node that waits for its database to be promoted warms up: it writes probes of its own to the journal, one after another, at about the pace of
// customers. In its first seconds as a coordinator a Cassandra node interprets what it has not compiled yet, and takes ten times as long;
// the customers of a planned switch must not be the ones who wait for that.
const (
	warmProbes = 250
	warmEvery  = 20 * time.Millisecond
	warmLimit  = 15 * time.Second // from its start, whatever the journal does
	warmSlot   = -2               // no customer's, nor a check's
)

// crowd is how many payments and probes a node works on at a time. It turns away who comes on top, with proof that nothing was done:
// what came while more was asked of a region than it can do is then over when that is over. Without a limit all wait for one another, until
// each takes longer than its customer does, and the region works for customers who are gone, for as long as others come (metastable
// failure: Bronson et al., HotOS 2021). It is several times what a healthy node has, and a quarter above all
// that waits at the slow acquirer of a drill, should one node have it all (50 payments/s, 0.75 s each).
const crowd = 48

// ErrParameters says that a node did not start because its region's parameters were not there, or not complete.
var ErrParameters = errors.New("parameters are not complete")

// Node is one application node. It refuses, with proof, until Run has read its parameters.
type Node struct {
	cfg      Config
	app      atomic.Pointer[App]
	draining atomic.Bool
	asked    atomic.Int64 // requests, by what they were answered
	done     atomic.Int64
	refused  atomic.Int64
	unknown  atomic.Int64
	crowd    atomic.Int64 // payments and probes that it works on

	mu      sync.Mutex
	started payment.Parameters
	values  payment.Values // as read at start
	watched payment.Values // as last seen
	watch   error
	checked time.Time
	ledger  error
	journal error

	recovered forward.Recovered // the last look at interrupted payments
	warming   string            // how far the warm-up is; empty: it is over
}

// New makes a node.
func New(c Config) *Node {
	if c.Wait == 0 {
		c.Wait = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	starting := errors.New("starting")
	return &Node{cfg: c, ledger: starting, journal: starting}
}

// Run starts the node and keeps it until ctx ends: it reads the parameters once, connects, watches its health and the parameters
// that may change. It returns early, with ErrParameters, when they do not become complete in time.
func (n *Node) Run(ctx context.Context) error {
	for _, d := range n.cfg.Defects {
		n.cfg.Log.Warn("this node has a planted defect", "defect", d)
	}
	var p payment.Parameters
	err := params.Wait(ctx, n.cfg.Params, n.cfg.Wait, func(v payment.Values) error {
		var err error
		if p, err = payment.ParseParameters(v); err == nil {
			n.mu.Lock()
			n.values, n.watched, n.started = v, v, p
			n.warming = "not begun"
			n.mu.Unlock()
		}
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("%w: %w", ErrParameters, err)
	}
	stores, err := n.cfg.Connect(p)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrParameters, err)
	}
	app := &App{
		Writer:  payment.Writer{Node: n.cfg.Name, Site: n.cfg.Site, Epoch: p.Epoch},
		Ledger:  stores.Ledger,
		Journal: stores.Journal, Acquirer: stores.Acquirer,
		Defects: n.cfg.Defects, Log: n.cfg.Log,
	}
	n.app.Store(app)
	n.cfg.Log.Info("started", "epoch", p.Epoch, "params", p.Version, "mysql", p.MySQL, "cassandra", p.Cassandra, "dc", p.DC, "acquirer", p.Acquirer, "form cluster", p.ClusterForm)

	var parts sync.WaitGroup
	storesCtx, stop := context.WithCancel(context.WithoutCancel(ctx)) // the stores outlive the put-off commits
	if stores.Run != nil {
		parts.Go(func() {
			if err := stores.Run(storesCtx); err != nil {
				n.cfg.Log.Error("stores", "error", err)
			}
		})
	}
	parts.Go(func() { n.every(ctx, checkEvery, func() { n.check(ctx, app) }) })
	parts.Go(func() { n.every(ctx, watchEvery, func() { n.look(ctx) }) })
	parts.Go(func() { n.warm(ctx, app) })
	if n.cfg.Recover && !app.blind() {
		parts.Go(func() { n.recover(ctx, app) })
	}
	<-ctx.Done()
	app.Wait()
	stop()
	parts.Wait()
	if stores.Close != nil {
		return stores.Close()
	}
	return nil
}

func (n *Node) every(ctx context.Context, d time.Duration, f func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// recover ends the payments that were interrupted before this node started. It looks again until both stores and the acquirer
// answered for all of them.
func (n *Node) recover(ctx context.Context, app *App) {
	began := time.Now()
	tick := time.NewTicker(recoverEvery)
	defer tick.Stop()
	said := ""
	for ctx.Err() == nil {
		n.mu.Lock()
		ready := !n.checked.IsZero() && n.ledger == nil && n.journal == nil
		before := n.recovered
		n.mu.Unlock()
		if ready {
			look, cancel := context.WithTimeout(ctx, recoverLimit)
			now := app.Recoverer().Start(look, func() time.Duration { return time.Since(began) })
			cancel()
			now.Finished += before.Finished
			now.Cancelled += before.Cancelled
			n.mu.Lock()
			n.recovered = now
			n.mu.Unlock()
			if now.Complete {
				n.cfg.Log.Info("interrupted payments", "finished", now.Finished, "cancelled", now.Cancelled, "left to their customers", now.Left)
				return
			}
			if now.Error != said {
				said = now.Error
				n.cfg.Log.Warn("interrupted payments", "error", now.Error)
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// warm is the warm-up. It ends when it is done, when the node need not wait, or when there is no journal to warm in time.
func (n *Node) warm(ctx context.Context, app *App) {
	ctx, cancel := context.WithTimeout(ctx, warmLimit)
	defer cancel()
	tick := time.NewTicker(warmEvery)
	defer tick.Stop()
	for done := 0; done < warmProbes && ctx.Err() == nil; {
		n.mu.Lock()
		looked, waits, journal := !n.checked.IsZero(), errors.Is(n.ledger, payment.ErrStaleEpoch), n.journal
		n.warming = fmt.Sprintf("%d of %d probes", done, warmProbes)
		n.mu.Unlock()
		if looked && !waits {
			break
		}
		if looked && journal == nil && app.Journal.Probe(ctx, payment.Probe{Slot: warmSlot}) == nil {
			done++
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	n.mu.Lock()
	n.warming = ""
	n.mu.Unlock()
}

// check asks both stores and says so in the log when the answer changes.
func (n *Node) check(ctx context.Context, app *App) {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	ledger, journal := app.Ready(ctx)
	n.mu.Lock()
	changed := text(ledger) != text(n.ledger) || text(journal) != text(n.journal)
	n.checked, n.ledger, n.journal = time.Now(), ledger, journal
	n.mu.Unlock()
	if changed {
		n.cfg.Log.Info("health", "ledger", text(ledger), "journal", text(journal))
	}
}

// look reads the parameters that are watched.
func (n *Node) look(ctx context.Context) {
	v, err := n.cfg.Params.Get(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.watch = err; err != nil {
		return
	}
	if form := v.Values[payment.ParamClusterForm]; form != n.watched.Values[payment.ParamClusterForm] {
		n.cfg.Log.Info("parameter changed", "name", payment.ParamClusterForm, "value", form, "version", v.Version)
	}
	n.watched = v
}

// Drain makes the node say that it is about to go, so that its gateway sends customers elsewhere. It goes on serving.
func (n *Node) Drain() { n.draining.Store(true) }

// ready says why the node could not serve, or nil.
func (n *Node) ready() error {
	if n.draining.Load() {
		return errors.New("draining")
	}
	if n.app.Load() == nil {
		return errors.New("starting: waiting for parameters")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.ledger != nil:
		return fmt.Errorf("ledger: %w", n.ledger)
	case n.journal != nil:
		return fmt.Errorf("journal: %w", n.journal)
	case time.Since(n.checked) > freshness:
		return fmt.Errorf("last health check is %s old", time.Since(n.checked).Round(time.Millisecond))
	}
	return nil
}

func (n *Node) epoch() int64 {
	if app := n.app.Load(); app != nil {
		return app.Writer.Epoch
	}
	return 0
}

// Handler serves the payment API.
func (n *Node) Handler() http.Handler {
	m := web.Mux()
	m.HandleFunc("POST /payments", n.with(n.admit(n.pay)))
	m.HandleFunc("POST /probe", n.with(n.admit(n.probe)))
	m.HandleFunc("GET /payments", n.with(n.list))
	m.HandleFunc("GET /payments/{key}", n.with(n.find))
	m.HandleFunc("GET /healthz", n.healthz)
	m.HandleFunc("GET /status", n.status)
	return web.Identify(n.cfg.Name, n.cfg.Site, n.epoch, m)
}

// handler serves a request by an application that has started, in a time of its own.
type handler func(context.Context, *App, http.ResponseWriter, *http.Request)

// with gives a request the application and a time of its own: a customer who hangs up does not stop a payment half-way.
func (n *Node) with(f handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		app := n.app.Load()
		if app == nil {
			web.Refuse(w, http.StatusServiceUnavailable, "starting: waiting for parameters")
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), requestLimit)
		defer cancel()
		f(ctx, app, w, r)
	}
}

// admit turns a request away when the node has enough to do.
func (n *Node) admit(f handler) handler {
	return func(ctx context.Context, app *App, w http.ResponseWriter, r *http.Request) {
		defer n.crowd.Add(-1)
		if n.crowd.Add(1) > crowd {
			n.refused.Add(1)
			web.Refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("busy: %d requests are being worked on", crowd))
			return
		}
		f(ctx, app, w, r)
	}
}

type payBody struct {
	From int   `json:"from"`
	To   int   `json:"to"`
	Yen  int64 `json:"yen"`
}

// Receipt is the answer to a payment that both stores hold. The same key gets the same receipt, from whatever node.
type Receipt struct {
	Key   string        `json:"key"`
	State payment.State `json:"state"`
	Epoch int64         `json:"epoch"`
	Node  string        `json:"node"` // that finished it
}

func (n *Node) pay(ctx context.Context, app *App, w http.ResponseWriter, r *http.Request) {
	var b payBody
	if !web.Decode(w, r, &b) {
		return
	}
	p := payment.Payment{Key: r.Header.Get(web.HeaderKey), From: b.From, To: b.To, Yen: b.Yen}
	if err := p.Check(); err != nil {
		web.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	n.asked.Add(1)
	row, err := app.Pay(ctx, p)
	if err != nil {
		n.fail(w, r, err)
		return
	}
	n.done.Add(1)
	web.Answer(w, http.StatusOK, Receipt{row.Key, row.State, row.Epoch, row.Node})
}

type probeBody struct {
	Slot int   `json:"slot"`
	N    int64 `json:"n"`
}

func (n *Node) probe(ctx context.Context, app *App, w http.ResponseWriter, r *http.Request) {
	var b probeBody
	if !web.Decode(w, r, &b) {
		return
	}
	if b.Slot < 0 {
		web.Refuse(w, http.StatusBadRequest, fmt.Sprintf("slot is %d, want 0 or more", b.Slot))
		return
	}
	if err := app.Probe(ctx, payment.Probe{Slot: b.Slot, N: b.N}); err != nil {
		n.fail(w, r, err)
		return
	}
	web.Answer(w, http.StatusOK, b)
}

// fail answers an error: with proof where there is some, as unknown otherwise.
func (n *Node) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, payment.ErrCancelled) && errors.Is(err, payment.ErrNotExecuted): // final, and the same for every repeat
		web.Refuse(w, http.StatusGone, err.Error())
		return
	case errors.Is(err, payment.ErrConflict):
		web.Refuse(w, http.StatusConflict, err.Error())
		return
	case errors.Is(err, payment.ErrNoAccount):
		web.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	n.cfg.Log.Warn("request failed", "path", r.URL.Path, "key", r.Header.Get(web.HeaderKey), "error", err)
	if errors.Is(err, payment.ErrNotExecuted) {
		n.refused.Add(1)
		web.Refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	n.unknown.Add(1)
	web.Unknown(w, http.StatusGatewayTimeout, err.Error())
}

// Row is a payment as the API lists it.
type Row struct {
	Key   string        `json:"key"`
	State payment.State `json:"state"`
	Yen   int64         `json:"yen"`
	Epoch int64         `json:"epoch"`
}

// Page is one page of payments. Next is the key to go on after, empty after the last page.
type Page struct {
	Payments []Row  `json:"payments"`
	Next     string `json:"next"`
}

// Pages have at most maxPage payments, defaultPage unless asked.
const (
	defaultPage = 100
	maxPage     = 1000
)

func (n *Node) list(ctx context.Context, app *App, w http.ResponseWriter, r *http.Request) {
	limit := defaultPage
	if s := r.URL.Query().Get("limit"); s != "" {
		v, err := strconv.Atoi(s)
		if err != nil || v < 1 || v > maxPage {
			web.Refuse(w, http.StatusBadRequest, fmt.Sprintf("limit is %q, want 1 to %d", s, maxPage))
			return
		}
		limit = v
	}
	after := r.URL.Query().Get("after")
	if after != "" {
		if err := payment.CheckKey(after); err != nil {
			web.Refuse(w, http.StatusBadRequest, "after: "+err.Error())
			return
		}
	}
	rows, err := app.Ledger.List(ctx, after, limit)
	if err != nil { // a read changes nothing
		web.Refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	page := Page{Payments: make([]Row, 0, len(rows))}
	for _, p := range rows {
		page.Payments = append(page.Payments, Row{p.Key, p.State, p.Yen, p.Epoch})
	}
	if len(rows) == limit {
		page.Next = rows[limit-1].Key
	}
	web.Answer(w, http.StatusOK, page)
}

func (n *Node) find(ctx context.Context, app *App, w http.ResponseWriter, r *http.Request) {
	p, err := app.Ledger.Find(ctx, r.PathValue("key"))
	switch {
	case errors.Is(err, payment.ErrNotFound):
		web.Refuse(w, http.StatusNotFound, err.Error())
	case err != nil:
		web.Refuse(w, http.StatusServiceUnavailable, err.Error())
	default:
		web.Answer(w, http.StatusOK, map[string]any{"key": p.Key, "from": p.From, "to": p.To, "yen": p.Yen, "state": p.State, "epoch": p.Epoch, "site": p.Site, "node": p.Node})
	}
}

func (n *Node) healthz(w http.ResponseWriter, r *http.Request) {
	if err := n.ready(); err != nil {
		web.Refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	web.Answer(w, http.StatusOK, map[string]bool{"ok": true})
}

// Status is what a node sees.
type Status struct {
	Node     string           `json:"node"`
	Site     string           `json:"site"`
	Release  string           `json:"release"`
	Epoch    int64            `json:"epoch"`
	Ready    bool             `json:"ready"`
	Why      string           `json:"why,omitempty"` // it is not ready
	Params   payment.Values   `json:"params"`        // as read at start
	Watched  payment.Values   `json:"watched"`       // as last seen
	WatchErr string           `json:"watch_error,omitempty"`
	Formed   bool             `json:"formed_cluster"`    // it was started to form a new cluster
	Ledger   string           `json:"ledger"`            // ok, or why not
	Warming  string           `json:"warming,omitempty"` // how far it is, while it warms up
	Journal  string           `json:"journal"`
	Defects  []payment.Defect `json:"defects"`
	Payments map[string]int64 `json:"payments"` // asked, done
	Failures map[string]int64 `json:"failures"` // refused, unknown; of payments and probes

	Recovered *forward.Recovered `json:"recovered,omitempty"` // interrupted payments, ended at its start
}

func (n *Node) status(w http.ResponseWriter, r *http.Request) {
	ready := n.ready()
	n.mu.Lock()
	s := Status{
		Node: n.cfg.Name, Site: n.cfg.Site, Release: payment.Release, Epoch: n.epoch(),
		Ready: ready == nil, Params: n.values, Watched: n.watched, Formed: n.started.ClusterForm,
		Ledger: text(n.ledger), Journal: text(n.journal), Warming: n.warming, Defects: append([]payment.Defect{}, n.cfg.Defects...),
		Payments: map[string]int64{"asked": n.asked.Load(), "done": n.done.Load()},
		Failures: map[string]int64{"refused": n.refused.Load(), "unknown": n.unknown.Load()},
	}
	if ready != nil {
		s.Why = ready.Error()
	}
	if n.cfg.Recover {
		r := n.recovered
		s.Recovered = &r
	}
	if n.watch != nil {
		s.WatchErr = n.watch.Error()
	}
	n.mu.Unlock()
	web.Answer(w, http.StatusOK, s)
}

func text(err error) string {
	if err == nil {
		return "ok"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
