// Package onprem is the application on premises that is started last in a switchover (article 002, row 9): a customer of the
// platform's public entry that finds it by DNS at every payment.
package onprem

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/payment/internal/mono"
	"github.com/kirikae/kirikae/payment/internal/web"
)

// Config of an on-premises node.
type Config struct {
	Node     string
	DNS      string // host:port of the name server
	Name     string // of the public entry, fully qualified
	Port     int    // of the public entry
	Every    time.Duration
	From, To int // accounts that it moves 1 yen between, to and fro; default 1 and 2
	Log      *slog.Logger
}

// Limits of one payment.
const (
	resolveLimit = time.Second
	payLimit     = 5 * time.Second
)

// Node is one on-premises node.
type Node struct {
	cfg Config
	run string // makes the keys of this process unique
	rt  *http.Transport

	mu     sync.Mutex
	status Status
}

// Status is what the node saw. Times are CLOCK_MONOTONIC in ns, 0: never.
type Status struct {
	Node        string `json:"node"`
	Name        string `json:"name"`
	Sent        int64  `json:"sent"`         // payments tried
	Succeeded   int64  `json:"succeeded"`    // of these, answered 200
	LastSuccess int64  `json:"last_success"` // when
	LastKey     string `json:"last_key"`     // of the last success
	Address     string `json:"address"`      // that the name led to, last time it was resolved
	Site        string `json:"site"`         // that the last success came from
	Epoch       int64  `json:"epoch"`        // likewise
	Error       string `json:"error"`        // of the last try, empty after a good one
	Started     int64  `json:"started"`
}

// New makes a node.
func New(c Config) (*Node, error) {
	if c.Name == "" || c.DNS == "" || c.Port < 1 {
		return nil, errors.New("configure on-premises node: name, name server and port are needed")
	}
	c.Name = dns.Fqdn(c.Name)
	if c.Every == 0 {
		c.Every = time.Second
	}
	if c.From == 0 && c.To == 0 {
		c.From, c.To = 1, 2
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	now := mono.Now()
	return &Node{cfg: c, run: strconv.FormatInt(now, 36), rt: web.Transport(time.Second, 2), status: Status{Node: c.Node, Name: c.Name, Started: now}}, nil
}

// Run pays until ctx ends: one payment at a time, one request each, a new key each.
func (n *Node) Run(ctx context.Context) error {
	defer n.rt.CloseIdleConnections()
	tick := time.NewTicker(n.cfg.Every)
	defer tick.Stop()
	for i := int64(1); ; i++ {
		n.pay(ctx, i)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (n *Node) pay(ctx context.Context, i int64) {
	key := fmt.Sprintf("onprem-%s-%d", n.run, i)
	address, err := n.resolve(ctx)
	var h http.Header
	if err == nil {
		n.mu.Lock()
		n.status.Address = address
		n.mu.Unlock()
		h, err = n.send(ctx, address, key, i)
	}
	if ctx.Err() != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.Sent++
	if err != nil {
		if n.status.Error != err.Error() {
			n.cfg.Log.Warn("payment failed", "key", key, "address", address, "error", err)
		}
		n.status.Error = err.Error()
		return
	}
	site := h.Get(web.HeaderSite)
	if n.status.Error != "" || n.status.Succeeded == 0 || site != n.status.Site {
		n.cfg.Log.Info("payment succeeded", "key", key, "address", address, "site", site)
	}
	n.status.Succeeded++
	n.status.LastSuccess, n.status.LastKey, n.status.Site, n.status.Error = mono.Now(), key, site, ""
	n.status.Epoch, _ = strconv.ParseInt(h.Get(web.HeaderEpoch), 10, 64) // 0 when it says none
}

// resolve asks the name server for the entry's address.
func (n *Node) resolve(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	q := new(dns.Msg).SetQuestion(n.cfg.Name, dns.TypeA)
	answer, _, err := (&dns.Client{Timeout: resolveLimit}).ExchangeContext(ctx, q, n.cfg.DNS)
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", n.cfg.Name, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return "", fmt.Errorf("resolve %s: %s", n.cfg.Name, dns.RcodeToString[answer.Rcode])
	}
	for _, rr := range answer.Answer {
		if a, ok := rr.(*dns.A); ok {
			return net.JoinHostPort(a.A.String(), strconv.Itoa(n.cfg.Port)), nil
		}
	}
	return "", fmt.Errorf("resolve %s: no address in the answer", n.cfg.Name)
}

func (n *Node) send(ctx context.Context, address, key string, i int64) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, payLimit)
	defer cancel()
	from, to := n.cfg.From, n.cfg.To
	if i%2 == 0 {
		from, to = to, from
	}
	body := fmt.Sprintf(`{"from":%d,"to":%d,"yen":1}`, from, to)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/payments", strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("pay at %s: %w", address, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(web.HeaderKey, key)
	res, err := n.rt.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("pay at %s: %w", address, err)
	}
	defer res.Body.Close()
	b := make([]byte, 512)
	k, _ := res.Body.Read(b) // enough for the reason; a cut body shows in the status already
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("pay at %s: answered %d: %s", address, res.StatusCode, strings.TrimSpace(string(b[:k])))
	}
	return res.Header, nil
}

// Status returns what the node saw.
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
	return web.Identify(n.cfg.Node, "", web.NoEpoch, m)
}
