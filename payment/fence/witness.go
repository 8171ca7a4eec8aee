package fence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/kirikae/kirikae/payment/internal/web"
)

// WitnessConfig of a Witness.
type WitnessConfig struct {
	Node   string
	State  string        // file that keeps who holds the lease
	Holder string        // who holds it where there is no file yet
	TTL    time.Duration // 0: DefaultTTL
	Margin time.Duration // 0: a fifth of the TTL
	Log    *slog.Logger
}

// Witness grants the lease. It stands outside the sites that it decides between.
type Witness struct {
	config WitnessConfig

	mu   sync.Mutex // guards what follows, and the file
	book book
}

// OpenWitness reads the state, or begins it with the first holder. After a restart nobody else is granted the lease before the last
// holder's must have ended, whenever it was renewed.
func OpenWitness(c WitnessConfig) (*Witness, error) {
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.Margin == 0 {
		c.Margin = c.TTL / 5
	}
	if c.TTL < 100*time.Millisecond || c.Margin < 0 {
		return nil, fmt.Errorf("open witness: a TTL of %s with a margin of %s, want at least 100 ms and no negative margin", c.TTL, c.Margin)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	b, found, err := readBook(c.State)
	if err != nil {
		return nil, err
	}
	if !found {
		if c.Holder == "" {
			return nil, fmt.Errorf("open witness: there is no state in %s, and nobody is named as the first holder", c.State)
		}
		b = book{Holder: c.Holder, Term: 1, TTL: millis(c.TTL), Margin: millis(c.Margin)}
		if err := writeBook(c.State, b); err != nil {
			return nil, err
		}
	}
	w := &Witness{config: c, book: b.opened(time.Now(), c.TTL, c.Margin)}
	c.Log.Info("witness ready", "holder", b.Holder, "term", b.Term, "ttl", c.TTL, "margin", c.Margin, "first", !found)
	return w, nil
}

// Lease says who holds the lease.
func (w *Witness) Lease() Lease {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.book.lease(time.Now())
}

// change applies one decision. What must survive is on disk before anybody hears of it.
func (w *Witness) change(what string, f func(b book, now time.Time) (book, error)) (Lease, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next, err := f(w.book, time.Now())
	if err != nil {
		return w.book.lease(time.Now()), err
	}
	if kept(next) != kept(w.book) {
		if err := writeBook(w.config.State, next); err != nil {
			return w.book.lease(time.Now()), err
		}
		w.config.Log.Info(what, "holder", next.Holder, "node", next.Node, "term", next.Term, "released", next.Released, "before", w.book.lease(time.Now()).String())
	}
	w.book = next
	return next.lease(time.Now()), nil
}

// kept is the part of a book that must be on disk, comparable.
func kept(b book) book {
	b.until = time.Time{}
	return b
}

// Renew extends the lease of a site by its Guard.
func (w *Witness) Renew(site, node string, term int64) (Lease, error) {
	return w.change("lease renewed by another node", func(b book, now time.Time) (book, error) {
		return b.renew(now, w.config.TTL, w.config.Margin, site, node, term)
	})
}

// Take gives the lease to a site, or says in a HeldError who has it.
func (w *Witness) Take(site string, o *Override) (Lease, error) {
	return w.change("lease taken", func(b book, now time.Time) (book, error) {
		next, err := b.take(now, w.config.TTL, w.config.Margin, site, o)
		if err == nil && next.Override != nil && next.Term != b.Term {
			w.config.Log.Warn("lease overridden", "site", site, "who", o.Who, "why", o.Why, "before", b.lease(now).String())
		}
		return next, err
	})
}

// Release asks a site to give the lease up. It is free as soon as the site's Guard has fenced, and at the latest when it expires.
func (w *Witness) Release(site string) (Lease, error) {
	return w.change("lease released", func(b book, now time.Time) (book, error) { return b.release(now, site) })
}

// Fenced takes a Guard's word that it writes no more.
func (w *Witness) Fenced(site, node string, term int64) (Lease, error) {
	return w.change("lease given up", func(b book, now time.Time) (book, error) { return b.fenced(now, site, node, term) })
}

type ask struct {
	Site     string    `json:"site"`
	Node     string    `json:"node,omitempty"`
	Term     int64     `json:"term,omitempty"`
	Override *Override `json:"override,omitempty"`
}

// refusal is the body of a 409.
type refusal struct {
	Error string `json:"error"`
	Lease Lease  `json:"lease"`
}

// Handler serves GET /lease and /status, POST /renew, /take, /release and /fenced. What is not to be had answers 409 with the lease.
func (w *Witness) Handler() http.Handler {
	m := web.Mux()
	answer := func(rw http.ResponseWriter, l Lease, err error) {
		var held *HeldError
		switch {
		case errors.As(err, &held):
			rw.Header().Set(web.HeaderExecuted, "none")
			web.Answer(rw, http.StatusConflict, refusal{held.Error(), held.Lease})
		case err != nil:
			w.config.Log.Error("witness", "error", err)
			web.Unknown(rw, http.StatusInternalServerError, err.Error())
		default:
			web.Answer(rw, http.StatusOK, l)
		}
	}
	read := func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.Lease(), nil) }
	m.HandleFunc("GET /lease", read)
	m.HandleFunc("GET /status", read)
	m.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		web.Answer(rw, http.StatusOK, map[string]bool{"ready": true})
	})
	post := func(path string, noded bool, f func(a ask) (Lease, error)) {
		m.HandleFunc("POST "+path, func(rw http.ResponseWriter, r *http.Request) {
			var a ask
			if !web.Decode(rw, r, &a) {
				return
			}
			if a.Site == "" || noded && a.Node == "" {
				web.Refuse(rw, http.StatusBadRequest, "a site is needed, and of a Guard its node")
				return
			}
			if o := a.Override; o != nil && (o.Who == "" || o.Why == "") {
				web.Refuse(rw, http.StatusBadRequest, "an override says who approved it and why")
				return
			}
			l, err := f(a)
			answer(rw, l, err)
		})
	}
	post("/renew", true, func(a ask) (Lease, error) { return w.Renew(a.Site, a.Node, a.Term) })
	post("/fenced", true, func(a ask) (Lease, error) { return w.Fenced(a.Site, a.Node, a.Term) })
	post("/take", false, func(a ask) (Lease, error) { return w.Take(a.Site, a.Override) })
	post("/release", false, func(a ask) (Lease, error) { return w.Release(a.Site) })
	return web.Identify(w.config.Node, "", web.NoEpoch, m)
}

// Run logs that a lease has run out, until ctx ends: nobody may be asking.
func (w *Witness) Run(ctx context.Context) error {
	tick := time.NewTicker(w.config.TTL / 5)
	defer tick.Stop()
	told := int64(-1)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			l := w.Lease()
			expired := l.Holder != "" && l.Left == 0
			if expired && told != l.Term {
				w.config.Log.Warn("lease expired", "holder", l.Holder, "term", l.Term)
				told = l.Term
			}
			if !expired {
				told = -1
			}
		}
	}
}
