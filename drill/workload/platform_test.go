package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/kirikae/kirikae/drill/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// platform is a small one in memory behind a real HTTP server.
type platform struct {
	*httptest.Server
	host string
	port int
	dial func(ctx context.Context, network, address string) (net.Conn, error) // nil: TCP

	mu      sync.Mutex
	applied map[string]int // key → times that it was applied
	bodies  map[string]string
	probes  int
	before  func(w http.ResponseWriter, r *http.Request, n int) bool // true: it answered in the platform's stead
	n       int
}

func newPlatform(t *testing.T, site string) *platform {
	t.Helper()
	p := &platform{applied: map[string]int{}, bodies: map[string]string{}}
	p.Server = httptest.NewServer(p.handler(site))
	t.Cleanup(p.Close)
	a := p.Listener.Addr().(*net.TCPAddr)
	p.host, p.port = a.IP.String(), a.Port
	return p
}

// newMemoryPlatform is the same without a network, for tests under virtual time (testing/synctest). It ends with the bubble's
// context.
func newMemoryPlatform(t *testing.T, site string) (p *platform, end func()) {
	t.Helper()
	p = &platform{applied: map[string]int{}, bodies: map[string]string{}, host: "127.0.0.1", port: 8080}
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.dial = l.dial
	s := &http.Server{Handler: p.handler(site), ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	return p, func() { s.Close(); <-done }
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipes) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// virtual is the clock of a synctest bubble.
type virtual struct{}

func (virtual) Now() history.Instant { return history.Instant(time.Now().UnixNano()) }

func (p *platform) handler(site string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Node", site+"-app-1")
		w.Header().Set("X-Site", site)
		w.Header().Set("X-Epoch", "3")
		p.mu.Lock()
		p.n++
		n, before := p.n, p.before
		p.mu.Unlock()
		if before != nil && before(w, r, n) {
			return
		}
		p.serve(w, r)
	})
}

func (p *platform) serve(w http.ResponseWriter, r *http.Request) {
	var b struct {
		Slot int   `json:"slot"`
		N    int64 `json:"n"`
		From int   `json:"from"`
		To   int   `json:"to"`
		Yen  int64 `json:"yen"`
	}
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.URL.Path == "/probe" {
		p.probes++
		fmt.Fprintf(w, `{"slot":%d,"n":%d}`, b.Slot, b.N)
		return
	}
	key, body := r.Header.Get("X-Payment-Key"), fmt.Sprint(b)
	if known, ok := p.bodies[key]; ok && known != body {
		w.WriteHeader(http.StatusConflict)
		return
	}
	p.bodies[key] = body
	p.applied[key]++
	fmt.Fprintf(w, `{"key":%q,"state":"DONE","epoch":3,"node":"x"}`, key)
}

// times says how often a key was applied.
func (p *platform) times(key string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied[key]
}

func (p *platform) intercept(f func(w http.ResponseWriter, r *http.Request, n int) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = f
}

// zone is a name server whose answer can be changed.
type zone struct {
	address string
	mu      sync.Mutex
	to      string
	ttl     uint32
	asked   int
	rcode   int
	mute    bool
}

func newZone(t *testing.T, to string, ttl uint32) *zone {
	t.Helper()
	z := &zone{to: to, ttl: ttl}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	s := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		z.mu.Lock()
		defer z.mu.Unlock()
		z.asked++
		if z.mute {
			return
		}
		m := new(dns.Msg)
		m.SetRcode(q, z.rcode)
		if z.rcode == dns.RcodeSuccess {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: z.ttl}, A: net.ParseIP(z.to),
			})
		}
		w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { s.Shutdown(); <-done })
	z.address = conn.LocalAddr().String()
	return z
}

// lookup answers without a wire.
func (z *zone) lookup(context.Context, string) (Answer, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	if z.rcode != dns.RcodeSuccess {
		return Answer{}, errors.New(dns.RcodeToString[z.rcode])
	}
	return Answer{Address: z.to, TTL: time.Duration(z.ttl) * time.Second}, nil
}

func (z *zone) set(f func(z *zone)) {
	z.mu.Lock()
	defer z.mu.Unlock()
	f(z)
}

func (z *zone) count() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked
}

// record opens a recorder in a folder of its own; read loads what it wrote.
func record(t *testing.T) (rec *history.Recorder, read func() *history.Run) {
	return recordBy(t, history.Monotonic{})
}

func recordBy(t *testing.T, clock history.Clock) (rec *history.Recorder, read func() *history.Run) {
	t.Helper()
	folder := t.TempDir()
	if err := history.WriteJSON(folder+"/"+history.MetaFile, history.Meta{Schema: history.SchemaVersion}); err != nil {
		t.Fatal(err)
	}
	rec, err := history.NewRecorder(folder, clock)
	if err != nil {
		t.Fatal(err)
	}
	return rec, func() *history.Run {
		t.Helper()
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		run, err := history.Load(folder)
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
}

// plan of a small load on a platform found by a fixed answer. Over real connections a busy machine may take its time.
func (p *platform) plan(to string) Plan {
	timeout := 30 * time.Second
	if p.dial != nil { // virtual time
		timeout = 2 * time.Second
	}
	return Plan{
		Seed: 7, Accounts: 10, Customers: 4, Port: p.port, Names: []string{"pay.kirikae.test."},
		Timeout: timeout, Dial: p.dial,
		Lookup: func(context.Context, string) (Answer, error) {
			return Answer{Address: to, TTL: time.Hour}, nil
		},
		Sites: map[string]string{"127.0.0.1": "tokyo"},
	}
}

// play runs a load for a while and returns what was recorded.
func play(t *testing.T, p Plan, d time.Duration, during func(l *Load)) *history.Run {
	t.Helper()
	var clock history.Clock = history.Monotonic{}
	if p.Dial != nil {
		clock = virtual{}
	}
	rec, read := recordBy(t, clock)
	l, err := New(p, rec)
	if err != nil {
		t.Fatal(err)
	}
	l.Start(t.Context())
	if during != nil {
		during(l)
	}
	time.Sleep(d)
	if err := l.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	return read()
}

// accounts returns each stream's LoadData and holds it against the operations.
func accounts(t *testing.T, run *history.Run) map[string]history.LoadData {
	t.Helper()
	marks, err := history.Marked[history.LoadData](run, history.KindLoad)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]history.LoadData{}
	for _, m := range marks {
		out[m.Name] = m.Data
	}
	records, wire, shed, slots := map[string]int{}, map[string]int{}, map[string]int{}, map[string]map[int]bool{}
	for _, o := range run.Operations {
		if o.Finished == 0 {
			t.Errorf("never ended: %+v", o)
		}
		records[o.Stream]++
		wire[o.Stream] += o.Wire
		if o.Outcome == history.Shed {
			shed[o.Stream]++
		}
		if slots[o.Stream] == nil {
			slots[o.Stream] = map[int]bool{}
		}
		slots[o.Stream][o.Slot] = true
	}
	for name, d := range out {
		if d.Records != records[name] || d.Wire != wire[name] || d.Shed != shed[name] || d.Slots != len(slots[name]) || d.Records != d.Slots+d.Retries {
			t.Errorf("%s: account %+v, recorded %d, wire %d, shed %d, slots %d", name, d, records[name], wire[name], shed[name], len(slots[name]))
		}
	}
	return out
}
