// Package gateway is a region's public entry: a health-checked reverse proxy over its application nodes. It never sends a request
// twice: only a connection that could not be opened, so that no byte of the request left, lets it try another node.
package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kirikae/kirikae/payment/internal/web"
)

// Config of a gateway.
type Config struct {
	Name     string
	Site     string
	Backends []string // host:port
	Log      *slog.Logger
}

// Times of a gateway.
const (
	checkEvery  = 200 * time.Millisecond
	checkLimit  = 500 * time.Millisecond
	dialLimit   = 500 * time.Millisecond
	answerLimit = 8 * time.Second // above a node's own limits: it answers first, if it lives
	strikes     = 2               // health checks that must time out in a row; a refusal or a 503 needs one
)

// Gateway is one gateway.
type Gateway struct {
	cfg      Config
	backends []*backend
	next     atomic.Uint64
	epoch    atomic.Int64 // as the nodes last said
	kept     *http.Transport
	fresh    *http.Transport
	check    *http.Transport
}

type backend struct {
	address string

	mu      sync.Mutex
	healthy bool
	misses  int
	why     string
}

// New makes a gateway; no backend is healthy before Run has asked it.
func New(c Config) (*Gateway, error) {
	if len(c.Backends) == 0 {
		return nil, errors.New("configure gateway: no backends are given")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{cfg: c, kept: web.Transport(dialLimit, 64), fresh: web.Transport(dialLimit, 1), check: web.Transport(checkLimit, 1)}
	g.kept.ResponseHeaderTimeout, g.fresh.ResponseHeaderTimeout = answerLimit, answerLimit
	g.fresh.DisableKeepAlives = true
	for _, a := range c.Backends {
		g.backends = append(g.backends, &backend{address: a, why: "not asked yet"})
	}
	return g, nil
}

// Run asks every backend for its health until ctx ends.
func (g *Gateway) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, b := range g.backends {
		all.Go(func() {
			tick := time.NewTicker(checkEvery)
			defer tick.Stop()
			for {
				g.ask(ctx, b)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	all.Wait()
	for _, t := range []*http.Transport{g.kept, g.fresh, g.check} {
		t.CloseIdleConnections()
	}
	return nil
}

func (g *Gateway) ask(ctx context.Context, b *backend) {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.address+"/healthz", nil)
	if err != nil {
		g.judge(b, err, true)
		return
	}
	res, err := g.check.RoundTrip(req)
	if err != nil {
		g.judge(b, err, !errors.Is(err, context.DeadlineExceeded))
		return
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // for the log only
	res.Body.Close()
	if n, err := strconv.ParseInt(res.Header.Get(web.HeaderEpoch), 10, 64); err == nil && n > 0 {
		g.epoch.Store(n)
	}
	if res.StatusCode != http.StatusOK {
		g.judge(b, fmt.Errorf("answered %d: %s", res.StatusCode, bytes.TrimSpace(body)), true)
		return
	}
	g.judge(b, nil, true)
}

// judge counts one health check. sure says that it proves its result by itself.
func (g *Gateway) judge(b *backend, err error, sure bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.healthy
	if err == nil {
		b.healthy, b.misses, b.why = true, 0, ""
	} else {
		b.misses++
		b.why = err.Error()
		if sure || b.misses >= strikes {
			b.healthy = false
		}
	}
	if was != b.healthy {
		g.cfg.Log.Info("backend", "address", b.address, "healthy", b.healthy, "why", b.why)
	}
}

func (b *backend) ok() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.healthy
}

// healthy returns the healthy backends, each time beginning with the next one.
func (g *Gateway) healthy() []*backend {
	var out []*backend
	first := int(g.next.Add(1) % uint64(len(g.backends)))
	for i := range g.backends {
		if b := g.backends[(first+i)%len(g.backends)]; b.ok() {
			out = append(out, b)
		}
	}
	return out
}

// errNotSent: no byte of the request went to any backend.
var errNotSent = errors.New("not sent")

// RoundTrip sends a request to one healthy backend, once. Requests that may change something keep their connections: Go's
// transport sends such a one again only if no byte was written. Reads it would also send again after that, on a kept connection
// that had gone stale: they get a new connection each.
func (g *Gateway) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(io.LimitReader(r.Body, web.MaxBody+1)) // one byte more, so that the node sees that it is too large
		if err != nil {
			return nil, fmt.Errorf("%w: read the customer's request: %w", errNotSent, err)
		}
	}
	var rt http.RoundTripper = g.kept
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions || r.Method == http.MethodTrace {
		rt = g.fresh
	}
	last := fmt.Errorf("%w: no backend is healthy", errNotSent)
	for _, b := range g.healthy() {
		out := r.Clone(r.Context())
		out.URL.Scheme, out.URL.Host = "http", b.address
		out.Header.Del("Idempotency-Key") // they would let the transport send a POST again
		out.Header.Del("X-Idempotency-Key")
		out.ContentLength = int64(len(body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		out.Body, _ = out.GetBody()
		if len(body) == 0 {
			out.Body, out.GetBody = http.NoBody, nil
		}
		res, err := rt.RoundTrip(out)
		if err == nil || !web.Dialling(err) {
			return res, err
		}
		last = fmt.Errorf("%w: %w", errNotSent, err)
		if r.Context().Err() != nil { // the customer hung up; the backend is not to blame
			break
		}
		g.judge(b, err, true)
	}
	return nil, last
}

// Handler serves everything by a backend, but for GET /healthz and GET /status, which are the gateway's own.
func (g *Gateway) Handler() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) {}, // RoundTrip chooses; nothing is added
		Transport: g,
		ErrorLog:  log.New(io.Discard, "", 0), // ErrorHandler tells
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			g.stamp(w)
			if errors.Is(err, errNotSent) {
				web.Refuse(w, http.StatusServiceUnavailable, err.Error())
				return
			}
			g.cfg.Log.Warn("backend broke off", "path", r.URL.Path, "key", r.Header.Get(web.HeaderKey), "error", err)
			web.Unknown(w, http.StatusBadGateway, "backend broke off: "+err.Error())
		},
	}
	m := http.NewServeMux()
	m.Handle("/", proxy)
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		g.stamp(w)
		if len(g.healthy()) == 0 {
			web.Refuse(w, http.StatusServiceUnavailable, "no backend is healthy")
			return
		}
		web.Answer(w, http.StatusOK, map[string]bool{"ok": true})
	})
	m.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		g.stamp(w)
		web.Answer(w, http.StatusOK, g.status())
	})
	return m
}

func (g *Gateway) stamp(w http.ResponseWriter) {
	w.Header().Set(web.HeaderNode, g.cfg.Name)
	w.Header().Set(web.HeaderSite, g.cfg.Site)
	w.Header().Set(web.HeaderEpoch, strconv.FormatInt(g.epoch.Load(), 10))
}

// Status is what a gateway sees.
type Status struct {
	Node     string          `json:"node"`
	Site     string          `json:"site"`
	Epoch    int64           `json:"epoch"` // as the nodes last said
	Backends []BackendStatus `json:"backends"`
}

// BackendStatus is one application node as its gateway sees it.
type BackendStatus struct {
	Address string `json:"address"`
	Healthy bool   `json:"healthy"`
	Why     string `json:"why,omitempty"`
}

func (g *Gateway) status() Status {
	s := Status{Node: g.cfg.Name, Site: g.cfg.Site, Epoch: g.epoch.Load()}
	for _, b := range g.backends {
		b.mu.Lock()
		s.Backends = append(s.Backends, BackendStatus{b.address, b.healthy, b.why})
		b.mu.Unlock()
	}
	return s
}
