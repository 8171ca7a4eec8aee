// Package acquirer stands in for the acquirer, the company outside both regions that takes the customer's money. It charges one
// request key once and writes every request into an append-only log, which is the ground truth for money. What it gives back, and
// which payments it will never charge, stands in a second log beside it.
package acquirer

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/internal/mono"
	"github.com/kirikae/kirikae/payment/internal/web"
)

// Line is one line of the log.
type Line struct {
	T       int64  `json:"t"`       // CLOCK_MONOTONIC, ns
	Payment string `json:"payment"` // payment id
	Request string `json:"request"` // request key
	Yen     int64  `json:"yen"`
	From    int    `json:"from,omitempty"` // the platform's reference: accounts
	To      int    `json:"to,omitempty"`
	Dup     bool   `json:"dup,omitempty"` // an equal request key was answered again; nothing was charged
}

// Server is the acquirer. Close it after its last request.
type Server struct {
	node string
	log  *slog.Logger
	slow slowness

	mu       sync.Mutex
	file     *os.File
	closings *os.File
	seen     map[string]Line    // request key → first line
	paid     map[string][]Line  // payment id → lines
	refunded map[string]Closing // request key → first line
	voided   map[string]bool    // payment id
	fault    error              // a log that could not be written: nothing is charged any more
}

// Config of the acquirer.
type Config struct {
	Node     string
	Log      string  // path of the log of charges; it is read first, then appended to
	Closings string  // path of the log of refunds and voids, likewise; default Log + ".closings"
	Latency  Latency // at the start; PUT /latency changes it
	Logger   *slog.Logger
}

// Open reads the logs and opens them for appending. A last line that was cut off, by a kill in the middle of a write, was never
// answered: it is removed. Any other damage is an error.
func Open(c Config) (*Server, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Closings == "" {
		c.Closings = c.Log + ".closings"
	}
	s := &Server{node: c.Node, log: c.Logger, seen: map[string]Line{}, paid: map[string][]Line{}, refunded: map[string]Closing{}, voided: map[string]bool{}}
	if err := s.slow.set(c.Latency); err != nil {
		return nil, err
	}
	var err error
	requests := 0
	if s.file, err = openLog(c.Log, "charge log", c.Logger, func(l Line) { s.remember(l); requests++ }); err != nil {
		return nil, err
	}
	if s.closings, err = openLog(c.Closings, "log of refunds and voids", c.Logger, s.rememberClosing); err != nil {
		s.file.Close()
		return nil, err
	}
	s.log.Info("acquirer ready", "log", c.Log, "requests", requests, "charged", len(s.seen), "refunded", len(s.refunded), "voided", len(s.voided), "latency", c.Latency)
	return s, nil
}

func (s *Server) remember(l Line) {
	if _, ok := s.seen[l.Request]; !ok {
		s.seen[l.Request] = l
	}
	s.paid[l.Payment] = append(s.paid[l.Payment], l)
}

// Close closes the logs.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		s.fault = errors.New("closed")
	}
	return errors.Join(s.file.Close(), s.closings.Close())
}

// Handler serves POST /charges, GET /charges/PAYMENT, GET /charges (the log as it is, NDJSON), POST /refunds, POST /voids,
// GET /closings (the second log, NDJSON), GET /accounts, GET /accounts/PAYMENT, GET and PUT /latency, GET /status and GET /healthz.
func (s *Server) Handler() http.Handler {
	m := web.Mux()
	m.HandleFunc("POST /charges", s.charge)
	m.HandleFunc("GET /charges/{payment}", s.find)
	m.HandleFunc("GET /charges", s.lines(s.file))
	m.HandleFunc("POST /refunds", s.refund)
	m.HandleFunc("POST /voids", s.void)
	m.HandleFunc("GET /closings", s.lines(s.closings))
	m.HandleFunc("GET /accounts", s.accounts)
	m.HandleFunc("GET /accounts/{payment}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		a := s.account(r.PathValue("payment"))
		s.mu.Unlock()
		web.Answer(w, http.StatusOK, a)
	})
	m.HandleFunc("GET /latency", func(w http.ResponseWriter, r *http.Request) { web.Answer(w, http.StatusOK, s.slow.get()) })
	m.HandleFunc("PUT /latency", s.setLatency)
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		web.Answer(w, http.StatusOK, map[string]bool{"ok": true})
	})
	m.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		charged, payments, refunded, voided := len(s.seen), len(s.paid), len(s.refunded), len(s.voided)
		s.mu.Unlock()
		before, after := s.slow.waiting()
		web.Answer(w, http.StatusOK, map[string]any{
			"node": s.node, "charged": charged, "payments": payments, "refunded": refunded, "voided": voided,
			"latency": s.slow.get().After.String(), "slow": s.slow.get(),
			"in_flight": map[string]int64{"uncharged": before, "charged": after},
		})
	})
	return web.Identify(s.node, "", web.NoEpoch, m)
}

// lines hands out a log: the auditor's view.
func (s *Server) lines(f *os.File) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		b, err := os.ReadFile(f.Name())
		s.mu.Unlock()
		if err != nil {
			http.Error(w, "read log: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = w.Write(b) // a reader that went away needs no answer
	}
}

// Answer to POST /charges.
type Answer struct {
	Charged bool `json:"charged"`
	Dup     bool `json:"dup"`
}

func (s *Server) charge(w http.ResponseWriter, r *http.Request) {
	var c payment.Charge
	if !web.Decode(w, r, &c) {
		return
	}
	if err := payment.CheckKey(c.Payment); err != nil {
		web.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if err := payment.CheckKey(c.Request); err != nil {
		web.Refuse(w, http.StatusBadRequest, "request: "+err.Error())
		return
	}
	if c.Yen < 1 || c.Yen > payment.MaxYen {
		web.Refuse(w, http.StatusBadRequest, fmt.Sprintf("yen is %d, allowed are 1 to %d", c.Yen, payment.MaxYen))
		return
	}
	if !s.slow.before(r.Context()) {
		web.Refuse(w, http.StatusServiceUnavailable, "who asked has gone; nothing was charged")
		return
	}
	dup, status, err := s.record(c)
	if err != nil {
		web.Refuse(w, status, err.Error())
		return
	}
	s.slow.after(r.Context()) // the charge is made; its answer takes its time, as over the networks of card companies
	web.Answer(w, http.StatusOK, Answer{Charged: true, Dup: dup})
}

// record charges, at most once for a request key. The line has reached the kernel when it returns, so that a kill loses nothing
// that was answered.
func (s *Server) record(c payment.Charge) (dup bool, status int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return false, http.StatusServiceUnavailable, fmt.Errorf("charge log: %w", s.fault)
	}
	first, dup := s.seen[c.Request]
	if dup && (first.Payment != c.Payment || first.Yen != c.Yen) {
		return false, http.StatusConflict, fmt.Errorf("request %s is known with another body", c.Request)
	}
	if why := s.closed(c); why != "" {
		return false, http.StatusGone, errors.New(why)
	}
	l := Line{T: mono.Now(), Payment: c.Payment, Request: c.Request, Yen: c.Yen, From: c.From, To: c.To, Dup: dup}
	if err := s.append(s.file, l); err != nil {
		return false, http.StatusServiceUnavailable, err
	}
	s.remember(l)
	return dup, 0, nil
}

// append writes one line, in one write call.
func (s *Server) append(f *os.File, line any) error {
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if n, err := f.Write(append(b, '\n')); err != nil {
		if n > 0 { // half a line: no more may follow it before it is repaired
			s.fault = err
		}
		s.log.Error("log cannot be written", "log", f.Name(), "error", err)
		return fmt.Errorf("charge log: %w", err)
	}
	return nil
}

func (s *Server) find(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("payment")
	s.mu.Lock()
	lines := append([]Line{}, s.paid[id]...)
	s.mu.Unlock()
	charges := 0
	for _, l := range lines {
		if !l.Dup {
			charges++
		}
	}
	web.Answer(w, http.StatusOK, map[string]any{"payment": id, "charges": charges, "requests": lines})
}

// account is what is known of one payment. The lock is held.
func (s *Server) account(id string) payment.Account {
	a := payment.Account{Payment: id, Charges: []payment.Charged{}, Voided: s.voided[id]}
	now := mono.Now()
	for _, l := range s.paid[id] {
		if l.Dup {
			continue
		}
		_, refunded := s.refunded[l.Request]
		a.Charges = append(a.Charges, payment.Charged{
			Charge:   payment.Charge{Payment: id, Request: l.Request, Yen: l.Yen, From: l.From, To: l.To},
			Age:      time.Duration(now - l.T),
			Refunded: refunded,
		})
	}
	return a
}

// pageOf is how many accounts one answer holds.
const pageOf = 1000

// accounts hands out the accounts whose payment ids are greater than ?after=, in their order, a page at a time.
func (s *Server) accounts(w http.ResponseWriter, r *http.Request) {
	after := r.URL.Query().Get("after")
	s.mu.Lock()
	var ids []string
	for id := range s.paid {
		if id > after {
			ids = append(ids, id)
		}
	}
	for id := range s.voided {
		if id > after && len(s.paid[id]) == 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	out := make([]payment.Account, 0, min(len(ids), pageOf))
	for _, id := range ids[:min(len(ids), pageOf)] {
		out = append(out, s.account(id))
	}
	s.mu.Unlock()
	web.Answer(w, http.StatusOK, out)
}
