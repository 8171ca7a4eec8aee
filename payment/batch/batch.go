// Package batch settles business dates, only where its region's parameter batch.enabled is "true" (article 002, row 6). The
// platform's calendar runs fast: one business date every few seconds.
package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/internal/web"
)

// Config of a batch node.
type Config struct {
	Name    string
	Site    string
	Params  payment.Params
	Connect func(payment.Parameters) (s payment.Settler, done func() error, err error)
	Every   time.Duration // time between two business dates, default 3 s
	Log     *slog.Logger
}

// Times of a batch node.
const (
	watchEvery  = 250 * time.Millisecond
	settleLimit = 5 * time.Second
)

// Node is one batch node.
type Node struct {
	cfg Config

	mu     sync.Mutex
	status Status
}

// Status is what a batch node sees.
type Status struct {
	Node     string `json:"node"`
	Site     string `json:"site"`
	Enabled  bool   `json:"enabled"`   // the region's parameter, as last read
	Params   int64  `json:"params"`    // version of the parameters, as last read
	Epoch    int64  `json:"epoch"`     // that it settles under; 0 while not enabled
	LastDate string `json:"last_date"` // newest settled business date, as this node knows it
	LastSite string `json:"last_site"` // where that one was settled
	Settled  int64  `json:"settled"`   // dates that this process settled
	Error    string `json:"error"`     // of the last try, empty after a good one
}

// New makes a batch node.
func New(c Config) *Node {
	if c.Every == 0 {
		c.Every = 3 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Node{cfg: c, status: Status{Node: c.Name, Site: c.Site}}
}

// run is one enabled time: it begins when the parameter becomes true, with the endpoint and the epoch of that moment, as a batch
// that is started reads them.
type run struct {
	settler payment.Settler
	done    func() error
	writer  payment.Writer
	next    time.Time
}

// Run settles until ctx ends. It settles only right after it has read that it may; a parameter store that does not answer stops it.
func (n *Node) Run(ctx context.Context) error {
	var now *run
	end := func() error {
		if now == nil {
			return nil
		}
		done := now.done
		now = nil
		return done()
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		v, err := n.cfg.Params.Get(ctx)
		enabled := err == nil && v.Values[payment.ParamBatch] == "true"
		n.saw(v, enabled, err)
		switch {
		case !enabled:
			if err := end(); err != nil {
				n.cfg.Log.Warn("disconnect", "error", err)
			}
		case now == nil:
			if now, err = n.begin(ctx, v); err != nil {
				n.failed(err)
			}
		}
		if now != nil && !time.Now().Before(now.next) {
			now.next = time.Now().Add(n.cfg.Every)
			n.settle(ctx, now)
		}
		select {
		case <-ctx.Done():
			return end()
		case <-tick.C:
		}
	}
}

func (n *Node) begin(ctx context.Context, v payment.Values) (*run, error) {
	p, err := payment.ParseParameters(v)
	if err != nil {
		return nil, err
	}
	s, done, err := n.cfg.Connect(p)
	if err != nil {
		return nil, err
	}
	n.cfg.Log.Info("batch enabled", "params", v.Version, "epoch", p.Epoch, "mysql", p.MySQL)
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	last, err := s.Last(ctx)
	if err != nil && !errors.Is(err, payment.ErrNotFound) {
		return nil, errors.Join(err, done())
	}
	n.mu.Lock()
	n.status.Epoch, n.status.LastDate, n.status.LastSite = p.Epoch, last.Date, last.Site
	n.mu.Unlock()
	return &run{settler: s, done: done, writer: payment.Writer{Node: n.cfg.Name, Site: n.cfg.Site, Epoch: p.Epoch}}, nil
}

func (n *Node) settle(ctx context.Context, r *run) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit) // a stop does not break it off
	defer cancel()
	s, err := r.settler.Settle(ctx, r.writer)
	if err != nil {
		n.failed(err)
		return
	}
	n.mu.Lock()
	n.status.LastDate, n.status.LastSite, n.status.Error = s.Date, s.Site, ""
	n.status.Settled++
	n.mu.Unlock()
	n.cfg.Log.Info("business date settled", "date", s.Date, "payments", s.Payments, "epoch", s.Epoch)
}

// saw takes in what the parameter store said.
func (n *Node) saw(v payment.Values, enabled bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.status.Enabled != enabled {
		n.cfg.Log.Info("parameter", "name", payment.ParamBatch, "enabled", enabled, "params", v.Version)
	}
	n.status.Enabled = enabled
	if !enabled {
		n.status.Epoch = 0
	}
	if err != nil {
		n.status.Error = fmt.Sprintf("parameters: %v", err)
		return
	}
	if !enabled {
		n.status.Error = ""
	}
	n.status.Params = v.Version
}

func (n *Node) failed(err error) {
	n.mu.Lock()
	changed := n.status.Error != err.Error()
	n.status.Error = err.Error()
	n.mu.Unlock()
	if changed {
		n.cfg.Log.Warn("batch", "error", err)
	}
}

// Status returns what the node sees.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}

// Handler serves GET /status and GET /healthz.
func (n *Node) Handler() http.Handler {
	m := web.Mux()
	m.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { web.Answer(w, http.StatusOK, n.Status()) })
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		web.Answer(w, http.StatusOK, map[string]bool{"ok": true})
	})
	return web.Identify(n.cfg.Name, n.cfg.Site, func() int64 { return n.Status().Epoch }, m)
}
