// Package acquirer stands in for the acquirer, the company outside both regions that takes the customer's money. It charges one
// request key once and writes every request into an append-only log, which is the ground truth for money.
package acquirer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
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
	Dup     bool   `json:"dup,omitempty"` // an equal request key was answered again; nothing was charged
}

// Server is the acquirer. Close it after its last request.
type Server struct {
	node    string
	latency time.Duration
	log     *slog.Logger

	mu    sync.Mutex
	file  *os.File
	seen  map[string]Line   // request key → first line
	paid  map[string][]Line // payment id → lines
	fault error             // a log that could not be written: nothing is charged any more
}

// Config of the acquirer.
type Config struct {
	Node    string
	Log     string        // path of the log; it is read first, then appended to
	Latency time.Duration // how long an answer takes, beyond the work itself
	Logger  *slog.Logger
}

// Open reads the log and opens it for appending. A last line that was cut off, by a kill in the middle of a write, was never
// answered: it is removed. Any other damage is an error.
func Open(c Config) (*Server, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{node: c.Node, latency: c.Latency, log: c.Logger, seen: map[string]Line{}, paid: map[string][]Line{}}
	f, err := os.OpenFile(c.Log, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open charge log: %w", err)
	}
	whole, lines := int64(0), 0
	in := bufio.NewReader(f)
	for {
		b, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(b) > 0 {
				s.log.Warn("charge log ended in the middle of a line; the line is removed", "log", c.Log, "bytes", len(b))
				if err := f.Truncate(whole); err != nil {
					f.Close()
					return nil, fmt.Errorf("repair charge log %s: %w", c.Log, err)
				}
			}
			break
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("read charge log %s: %w", c.Log, err)
		}
		var l Line
		lines++
		if err := json.Unmarshal(b, &l); err != nil {
			f.Close()
			return nil, fmt.Errorf("read charge log %s line %d: %w", c.Log, lines, err)
		}
		s.remember(l)
		whole += int64(len(b))
	}
	s.file = f
	s.log.Info("acquirer ready", "log", c.Log, "requests", lines, "charged", len(s.seen), "latency", c.Latency)
	return s, nil
}

func (s *Server) remember(l Line) {
	if _, ok := s.seen[l.Request]; !ok {
		s.seen[l.Request] = l
	}
	s.paid[l.Payment] = append(s.paid[l.Payment], l)
}

// Close closes the log.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		s.fault = errors.New("closed")
	}
	return s.file.Close()
}

// Handler serves POST /charges, GET /charges/PAYMENT, GET /charges (the log as it is, NDJSON), GET /status and GET /healthz.
func (s *Server) Handler() http.Handler {
	m := web.Mux()
	m.HandleFunc("POST /charges", s.charge)
	m.HandleFunc("GET /charges/{payment}", s.find)
	m.HandleFunc("GET /charges", s.lines)
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		web.Answer(w, http.StatusOK, map[string]bool{"ok": true})
	})
	m.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		charged, payments := len(s.seen), len(s.paid)
		s.mu.Unlock()
		web.Answer(w, http.StatusOK, map[string]any{"node": s.node, "charged": charged, "payments": payments, "latency": s.latency.String()})
	})
	return web.Identify(s.node, "", web.NoEpoch, m)
}

// lines hands out the log: the auditor's view.
func (s *Server) lines(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	b, err := os.ReadFile(s.file.Name())
	s.mu.Unlock()
	if err != nil {
		http.Error(w, "read charge log: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	_, _ = w.Write(b) // a reader that went away needs no answer
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
	dup, status, err := s.record(c)
	if err != nil {
		web.Refuse(w, status, err.Error())
		return
	}
	if s.latency > 0 { // the charge is made; its answer takes its time, as over the networks of card companies
		select {
		case <-time.After(s.latency):
		case <-r.Context().Done():
		}
	}
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
	l := Line{T: mono.Now(), Payment: c.Payment, Request: c.Request, Yen: c.Yen, Dup: dup}
	b, err := json.Marshal(l)
	if err != nil {
		return false, http.StatusInternalServerError, err
	}
	if n, err := s.file.Write(append(b, '\n')); err != nil {
		if n > 0 { // half a line: no more may follow it before it is repaired
			s.fault = err
		}
		s.log.Error("charge log cannot be written", "error", err)
		return false, http.StatusServiceUnavailable, fmt.Errorf("charge log: %w", err)
	}
	s.remember(l)
	return dup, 0, nil
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

// ReadLog reads the log at path: all whole lines, in order.
func ReadLog(path string) ([]Line, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read charge log: %w", err)
	}
	var out []Line
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		if !whole {
			return out, nil
		}
		var l Line
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, fmt.Errorf("read charge log %s line %d: %w", path, n, err)
		}
		out, b = append(out, l), rest
	}
}

// Client asks an acquirer over HTTP. One call is one request.
type Client struct {
	url     string
	rt      http.RoundTripper
	timeout time.Duration
}

var _ payment.Acquirer = (*Client)(nil)

// NewClient makes a client of the acquirer at "http://host:port". timeout bounds one charge.
// Without a transport it makes its own.
func NewClient(url string, rt http.RoundTripper, timeout time.Duration) *Client {
	if rt == nil {
		rt = web.Transport(500*time.Millisecond, 32)
	}
	return &Client{url: web.URL(url), rt: rt, timeout: timeout}
}

// Charge implements payment.Acquirer.
func (c *Client) Charge(ctx context.Context, charge payment.Charge) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var a Answer
	if err := web.Call(ctx, c.rt, http.MethodPost, c.url+"/charges", charge, &a); err != nil {
		return false, fmt.Errorf("charge payment %s at the acquirer: %w", charge.Payment, err)
	}
	if !a.Charged {
		return false, fmt.Errorf("charge payment %s at the acquirer: it did not charge", charge.Payment)
	}
	return a.Dup, nil
}
