package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// node is a backend that counts what reaches it.
type node struct {
	*httptest.Server
	name    string
	healthy atomic.Bool
	asked   atomic.Int64 // requests other than health checks
}

// ownHost is a loopback address that only this process uses: a port of it that was closed is taken by nobody else.
func ownHost() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.252.%d.%d", pid>>8&0xff, pid&0xff)
}

func newNode(t *testing.T, name string) *node {
	n := &node{name: name}
	n.healthy.Store(true)
	l, err := net.Listen("tcp", net.JoinHostPort(ownHost(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	n.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Node", name)
		w.Header().Set("X-Epoch", "3")
		if r.URL.Path == "/healthz" {
			if !n.healthy.Load() {
				w.WriteHeader(503)
			}
			return
		}
		n.asked.Add(1)
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/refuse" {
			w.Header().Set("X-Executed", "none")
			w.WriteHeader(503)
		}
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("X-Payment-Key"), b)
	}))
	n.Server.Listener.Close()
	n.Server.Listener = l
	n.Start()
	t.Cleanup(n.Close)
	return n
}

func (n *node) address() string { return n.Listener.Addr().String() }

// running serves a gateway until the test ends.
func running(t *testing.T, backends ...string) (*Gateway, *httptest.Server) {
	g, err := New(Config{Name: "tokyo-gateway-1", Site: "tokyo", Backends: backends})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { g.Run(ctx) })
	s := httptest.NewServer(g.Handler())
	t.Cleanup(func() { s.Close(); cancel(); run.Wait() })
	return g, s
}

// until waits for a number of healthy backends.
func until(t *testing.T, g *Gateway, n int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); len(g.healthy()) != n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute for %d healthy backends, last saw %+v", n, g.status())
		}
	}
}

func send(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Payment-Key", "k")
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestPassesThrough(t *testing.T) {
	n := newNode(t, "tokyo-app-1")
	g, s := running(t, n.address())
	until(t, g, 1)
	res, body := send(t, "POST", s.URL+"/payments?x=1", `{"a":1}`)
	if res.StatusCode != 200 || body != `POST /payments?x=1 k {"a":1}` || res.Header.Get("X-Node") != "tokyo-app-1" || res.Header.Get("X-Epoch") != "3" {
		t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
	}
	res, _ = send(t, "POST", s.URL+"/refuse", ``)
	if res.StatusCode != 503 || res.Header.Get("X-Executed") != "none" {
		t.Errorf("a node's refusal arrives as %d, executed %q", res.StatusCode, res.Header.Get("X-Executed"))
	}
	if res, body = send(t, "GET", s.URL+"/payments?after=k", ""); res.StatusCode != 200 || body != "GET /payments?after=k k " {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if res, body = send(t, "GET", s.URL+"/status", ""); res.Header.Get("X-Node") != "tokyo-gateway-1" || res.Header.Get("X-Epoch") != "3" || !strings.Contains(body, `"healthy":true`) {
		t.Errorf("status %v %s", res.Header, body)
	}
}

func TestNobodyHealthyIsProof(t *testing.T) {
	n := newNode(t, "a")
	n.healthy.Store(false)
	g, s := running(t, n.address(), "127.0.0.1:1")
	until(t, g, 0)
	res, _ := send(t, "POST", s.URL+"/payments", "{}")
	if res.StatusCode != 503 || res.Header.Get("X-Executed") != "none" || res.Header.Get("X-Node") != "tokyo-gateway-1" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if res, _ := send(t, "GET", s.URL+"/healthz", ""); res.StatusCode != 503 {
		t.Errorf("healthz %d", res.StatusCode)
	}
	if n.asked.Load() != 0 {
		t.Error("an unhealthy backend was asked")
	}
	n.healthy.Store(true)
	until(t, g, 1)
	if res, _ := send(t, "POST", s.URL+"/payments", "{}"); res.StatusCode != 200 {
		t.Errorf("%d after it came back", res.StatusCode)
	}
}

func TestSharesTheLoadAndLeavesTheUnhealthyOut(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	g, s := running(t, a.address(), b.address())
	until(t, g, 2)
	for range 10 {
		send(t, "POST", s.URL+"/payments", "{}")
	}
	if a.asked.Load() != 5 || b.asked.Load() != 5 {
		t.Errorf("a %d, b %d of 10", a.asked.Load(), b.asked.Load())
	}
	a.healthy.Store(false)
	until(t, g, 1)
	for range 10 {
		send(t, "POST", s.URL+"/payments", "{}")
	}
	if a.asked.Load() != 5 || b.asked.Load() != 15 {
		t.Errorf("a %d, b %d", a.asked.Load(), b.asked.Load())
	}
}

func TestADialThatFailsTriesAnother(t *testing.T) {
	n := newNode(t, "b")
	g, err := New(Config{Name: "g", Site: "tokyo", Backends: []string{"127.0.0.1:1", n.address()}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(g.Handler())
	defer s.Close()
	for range 4 {
		for _, b := range g.backends { // as if the last health check had found both
			g.judge(b, nil, true)
		}
		if res, body := send(t, "POST", s.URL+"/payments", `{"a":1}`); res.StatusCode != 200 || !strings.HasSuffix(body, `{"a":1}`) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	}
	if n.asked.Load() != 4 {
		t.Errorf("asked %d times for 4 requests", n.asked.Load())
	}
	n.Close()
	g.kept.CloseIdleConnections() // it may not yet have heard of their end
	for _, b := range g.backends {
		g.judge(b, nil, true)
	}
	res, _ := send(t, "POST", s.URL+"/payments", "{}")
	if res.StatusCode != 503 || res.Header.Get("X-Executed") != "none" {
		t.Errorf("no backend could be dialled: %d, executed %q", res.StatusCode, res.Header.Get("X-Executed"))
	}
}

// A backend that breaks off after it has read a request, on a fresh connection and on a kept one: the request has reached it once,
// nobody else, and the answer claims nothing.
func TestNeverSendsTwice(t *testing.T) {
	for _, method := range []string{"POST", "GET", "PUT"} {
		for _, idempotencyKey := range []bool{false, true} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var read, conns atomic.Int64
			var serving sync.WaitGroup
			serving.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					conns.Add(1)
					serving.Go(func() {
						defer c.Close()
						in := bufio.NewReader(c)
						for first := true; ; first = false { // answers once, breaks off then
							r, err := http.ReadRequest(in)
							if err != nil {
								return
							}
							io.Copy(io.Discard, r.Body)
							read.Add(1)
							if !first || r.Header.Get("X-Payment-Key") == "break" {
								return
							}
							fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
						}
					})
				}
			})
			other := newNode(t, "other")
			g, err := New(Config{Name: "g", Site: "tokyo", Backends: []string{l.Addr().String()}})
			if err != nil {
				t.Fatal(err)
			}
			g.backends = append(g.backends, &backend{address: other.address()})
			g.judge(g.backends[0], nil, true)
			s := httptest.NewServer(g.Handler())
			ask := func(key string) *http.Response {
				r, err := http.NewRequest(method, s.URL+"/payments", strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("X-Payment-Key", key)
				if idempotencyKey { // makes Go's transport send a POST again
					r.Header.Set("Idempotency-Key", key)
				}
				tr := &http.Transport{DisableKeepAlives: true}
				res, err := tr.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				return res
			}
			if res := ask("ok"); res.StatusCode != 200 || read.Load() != 1 {
				t.Fatalf("%s: %d, read %d", method, res.StatusCode, read.Load())
			}
			g.judge(g.backends[1], nil, true) // from now on there is somebody else whom it could send it to
			before := other.asked.Load()
			broken := 0
			for read0, i := read.Load(), 0; i < 4; i++ { // every other one meets the backend that breaks off
				g.judge(g.backends[0], nil, true)
				res := ask("break")
				if res.StatusCode == 200 {
					continue
				}
				broken++
				if res.StatusCode != 502 || res.Header.Get("X-Executed") != "" {
					t.Errorf("%s: %d, executed %q", method, res.StatusCode, res.Header.Get("X-Executed"))
				}
				if got := read.Load() - read0; got != int64(broken) {
					t.Errorf("%s: %d requests were read for %d that were sent", method, got, broken)
				}
			}
			if broken != 2 || other.asked.Load()-before != 2 {
				t.Errorf("%s: %d broken, %d at the other node, want 2 and 2", method, broken, other.asked.Load()-before)
			}
			if method != "GET" && conns.Load() > 2 {
				t.Errorf("%s: %d connections: they are not kept", method, conns.Load())
			}
			s.Close()
			l.Close()
			g.kept.CloseIdleConnections()
			serving.Wait()
		}
	}
}

func TestATimeoutNeedsTwoStrikes(t *testing.T) {
	g, err := New(Config{Backends: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	b := g.backends[0]
	for i, c := range []struct {
		err  error
		sure bool
		want bool
	}{
		{nil, true, true},
		{context.DeadlineExceeded, false, true},
		{nil, true, true},
		{context.DeadlineExceeded, false, true},
		{context.DeadlineExceeded, false, false},
		{nil, true, true},
		{io.EOF, true, false},
	} {
		if g.judge(b, c.err, c.sure); b.ok() != c.want {
			t.Errorf("check %d: healthy %v", i, b.ok())
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a gateway without backends is made")
	}
}
