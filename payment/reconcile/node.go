package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/internal/web"
	"github.com/kirikae/kirikae/payment/params"
)

// Config of a node. Zero durations take the defaults that stand behind them.
type Config struct {
	Name    string
	Site    string
	Params  payment.Params
	Connect func(payment.Parameters) (payment.Stores, error)
	Grace   time.Duration              // payments younger than this are left alone; 10 s, which is longer than any request lasts
	Every   time.Duration              // from the end of one run to the next; 5 s
	Wait    time.Duration              // of Once: longest wait for parameters and stores; 30 s
	Salvage map[string]payment.Payment // rows of a lost region
	Only    bool                       // nothing but those
	Defects []payment.Defect
	Log     *slog.Logger
}

// Times of a node.
const (
	runLimit   = time.Minute            // of one run
	lookEvery  = 200 * time.Millisecond // at stores that are not ready yet
	againEvery = 500 * time.Millisecond // after a run that could not be made
	kept       = 1000                   // runs that /status tells
)

// Node reconciles periodically. Its writer's epoch is the one that its region's parameters name when a run begins.
type Node struct {
	cfg Config
	now chan chan Report // runs that were asked for

	mu     sync.Mutex
	status Status
}

// Status is what a node did.
type Status struct {
	Node     string           `json:"node"`
	Site     string           `json:"site"`
	Epoch    int64            `json:"epoch"`
	Grace    Duration         `json:"grace"`
	Every    Duration         `json:"every"`
	Defects  []payment.Defect `json:"defects"`
	Runs     int              `json:"runs"`
	Repaired map[string]int   `json:"repaired"` // by what was done, over all runs
	Error    string           `json:"error"`    // of the last run or of what kept it from being made; empty after a good one
	Reports  []Report         `json:"reports"`  // the last runs, oldest first
}

// New makes a node.
func New(c Config) *Node {
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	if c.Every == 0 {
		c.Every = 5 * time.Second
	}
	if c.Wait == 0 {
		c.Wait = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Node{cfg: c, now: make(chan chan Report), status: Status{
		Node: c.Name, Site: c.Site, Grace: Duration(c.Grace), Every: Duration(c.Every), Defects: append([]payment.Defect{}, c.Defects...),
		Repaired: map[string]int{}, Reports: []Report{},
	}}
}

// connected is one connection to the stores, under the parameters that named them.
type connected struct {
	stores payment.Stores
	params payment.Parameters
	stop   func() error
}

func (n *Node) connect(ctx context.Context, p payment.Parameters) (*connected, error) {
	s, err := n.cfg.Connect(p)
	if err != nil {
		return nil, fmt.Errorf("connect to the stores: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ran := make(chan error, 1)
	go func() {
		if s.Run == nil {
			ran <- nil
			return
		}
		ran <- s.Run(ctx)
	}()
	return &connected{stores: s, params: p, stop: func() error {
		cancel()
		err := <-ran
		if s.Close != nil {
			err = errors.Join(err, s.Close())
		}
		return err
	}}, nil
}

// Run reconciles until ctx ends. A run that has begun is brought to its end.
func (n *Node) Run(ctx context.Context) error {
	for _, d := range n.cfg.Defects {
		n.cfg.Log.Warn("this node has a planted defect", "defect", d)
	}
	var c *connected
	defer func() {
		if c != nil {
			if err := c.stop(); err != nil {
				n.cfg.Log.Warn("disconnect", "error", err)
			}
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var asked chan Report
		select {
		case <-ctx.Done():
			return nil
		case asked = <-n.now:
		case <-timer.C:
		}
		var rep Report
		var err error
		if c, err = n.current(ctx, c); err != nil {
			rep = Report{Node: n.cfg.Name, Site: n.cfg.Site, Grace: Duration(n.cfg.Grace), Error: err.Error()}
			n.failed(err)
		} else {
			rep = n.reconcile(ctx, c)
			n.tell(rep)
		}
		if asked != nil {
			asked <- rep
		}
		if rep.Error != "" {
			timer.Reset(min(n.cfg.Every, againEvery))
			continue
		}
		timer.Reset(n.cfg.Every)
	}
}

// current returns the connection that the region's parameters name now: the one there is, or a new one.
func (n *Node) current(ctx context.Context, c *connected) (*connected, error) {
	v, err := n.cfg.Params.Get(ctx)
	if err != nil {
		return c, err
	}
	p, err := payment.ParseParameters(v)
	if err != nil {
		return c, err
	}
	if c != nil && p.Epoch == c.params.Epoch && p.MySQL == c.params.MySQL && slices.Equal(p.Cassandra, c.params.Cassandra) && p.DC == c.params.DC && p.Acquirer == c.params.Acquirer {
		return c, nil
	}
	if c != nil {
		if err := c.stop(); err != nil {
			n.cfg.Log.Warn("disconnect", "error", err)
		}
	}
	c, err = n.connect(ctx, p)
	if err != nil {
		return nil, err
	}
	n.cfg.Log.Info("connected", "params", v.Version, "epoch", p.Epoch, "mysql", p.MySQL, "cassandra", p.Cassandra, "acquirer", p.Acquirer)
	n.mu.Lock()
	n.status.Epoch = p.Epoch
	n.mu.Unlock()
	return c, nil
}

func (n *Node) reconcile(ctx context.Context, c *connected) Report {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), runLimit)
	defer cancel()
	r := Reconciler{
		Writer: payment.Writer{Node: n.cfg.Name, Site: n.cfg.Site, Epoch: c.params.Epoch},
		Ledger: c.stores.Ledger, Journal: c.stores.Journal, Acquirer: c.stores.Acquirer,
		Grace: n.cfg.Grace, Salvage: n.cfg.Salvage, Only: n.cfg.Only, Defects: n.cfg.Defects, Log: n.cfg.Log,
	}
	return r.Run(ctx)
}

func (n *Node) tell(rep Report) {
	n.mu.Lock()
	was := n.status.Error
	n.status.Runs++
	n.status.Error = rep.Error
	for did, k := range rep.Repaired {
		n.status.Repaired[did] += k
	}
	n.status.Reports = append(n.status.Reports, rep)
	if len(n.status.Reports) > kept {
		n.status.Reports = slices.Clone(n.status.Reports[len(n.status.Reports)-kept:])
	}
	n.mu.Unlock()
	switch {
	case rep.Error != "" && rep.Error != was:
		n.cfg.Log.Warn("run broken off", "error", rep.Error)
	case rep.Found() > 0:
		n.cfg.Log.Info("reconciled", "summary", rep.Summary())
	}
}

func (n *Node) failed(err error) {
	n.mu.Lock()
	was := n.status.Error
	n.status.Error = err.Error()
	n.mu.Unlock()
	if was != err.Error() {
		n.cfg.Log.Warn("no run", "error", err)
	}
}

// Status returns what the node did.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.status
	s.Repaired = map[string]int{}
	for did, k := range n.status.Repaired {
		s.Repaired[did] = k
	}
	s.Reports = slices.Clone(n.status.Reports)
	return s
}

// Handler serves GET /status, GET /healthz, and POST /run, which makes a run at once and answers its report.
func (n *Node) Handler() http.Handler {
	m := web.Mux()
	m.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { web.Answer(w, http.StatusOK, n.Status()) })
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		web.Answer(w, http.StatusOK, map[string]bool{"ok": true})
	})
	m.HandleFunc("POST /run", func(w http.ResponseWriter, r *http.Request) {
		answer := make(chan Report, 1)
		select {
		case n.now <- answer:
			web.Answer(w, http.StatusOK, <-answer)
		case <-r.Context().Done():
			web.Refuse(w, http.StatusServiceUnavailable, "no run could be begun")
		}
	})
	return web.Identify(n.cfg.Name, n.cfg.Site, func() int64 { return n.Status().Epoch }, m)
}

// ErrNotReady says that a single run could not be made, since parameters or stores were not there in time.
var ErrNotReady = errors.New("not ready to reconcile")

// Once makes a single run, as soon as the region's parameters are complete and its stores take writes.
func (n *Node) Once(ctx context.Context) (Report, error) {
	var p payment.Parameters
	err := params.Wait(ctx, n.cfg.Params, n.cfg.Wait, func(v payment.Values) (err error) {
		p, err = payment.ParseParameters(v)
		return err
	})
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	c, err := n.connect(ctx, p)
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	rep, err := n.once(ctx, c)
	return rep, errors.Join(err, c.stop())
}

func (n *Node) once(ctx context.Context, c *connected) (Report, error) {
	wait, cancel := context.WithTimeout(ctx, n.cfg.Wait)
	defer cancel()
	w := payment.Writer{Node: n.cfg.Name, Site: n.cfg.Site, Epoch: c.params.Epoch}
	var saw error
	for {
		err := errors.Join(c.stores.Ledger.Ready(wait, w), c.stores.Journal.Ready(wait))
		if err == nil {
			return n.reconcile(ctx, c), nil
		}
		if saw == nil || wait.Err() == nil { // the end of the wait itself tells nothing
			saw = err
		}
		select {
		case <-wait.Done():
			return Report{}, fmt.Errorf("%w: waited %s for the stores, last saw: %w", ErrNotReady, n.cfg.Wait, saw)
		case <-time.After(lookEvery):
		}
	}
}
