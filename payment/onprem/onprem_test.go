package onprem

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/payment/internal/web"
)

// entry is a public entry at a site that remembers what it was asked.
type entry struct {
	site string
	mu   sync.Mutex
	keys []string
	body []string
	down atomic.Bool
}

func (e *entry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	e.keys, e.body = append(e.keys, r.Header.Get(web.HeaderKey)), append(e.body, r.Method+" "+r.URL.Path+" "+string(b))
	e.mu.Unlock()
	w.Header().Set("X-Site", e.site)
	w.Header().Set("X-Epoch", "2")
	if e.down.Load() {
		web.Refuse(w, 503, "down for the test")
		return
	}
	web.Answer(w, 200, map[string]string{})
}

// zone is a name server whose one record can be pointed elsewhere.
func zone(t *testing.T, name string) (server string, point func(address string)) {
	var now atomic.Value
	now.Store("")
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if a := now.Load().(string); a != "" && q.Question[0].Name == name {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 2}, A: net.ParseIP(a)})
		} else {
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})}
	ended := make(chan struct{})
	go func() { s.ActivateAndServe(); close(ended) }()
	t.Cleanup(func() { s.Shutdown(); <-ended })
	return pc.LocalAddr().String(), func(a string) { now.Store(a) }
}

func until(t *testing.T, n *Node, what string, f func(Status) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(n.Status()); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute until %s, last saw %+v", what, n.Status())
		}
	}
}

// ownHosts are two loopback addresses that only this process uses: a port that is free at one is free at the other.
func ownHosts() (a, b string) {
	pid := os.Getpid()
	host := func(second int) string { return fmt.Sprintf("127.%d.%d.%d", second, pid>>8&0xff, pid&0xff) }
	return host(252), host(253)
}

func TestFollowsTheName(t *testing.T) {
	tokyo, osaka := &entry{site: "tokyo"}, &entry{site: "osaka"}
	atTokyo, atOsaka := ownHosts()
	lt, err := net.Listen("tcp", net.JoinHostPort(atTokyo, "0"))
	if err != nil {
		t.Fatal(err)
	}
	port := lt.Addr().(*net.TCPAddr).Port
	lo, err := net.Listen("tcp", net.JoinHostPort(atOsaka, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	for l, h := range map[net.Listener]http.Handler{lt: tokyo, lo: osaka} {
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
		s.Start()
		t.Cleanup(s.Close)
	}
	server, point := zone(t, "pay.kirikae.test.")
	n, err := New(Config{Node: "outside-onprem-1", DNS: server, Name: "pay.kirikae.test", Port: port, Every: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { n.Run(ctx) })
	defer func() { cancel(); run.Wait() }()

	until(t, n, "the name is unknown", func(s Status) bool { return strings.Contains(s.Error, "NXDOMAIN") && s.LastSuccess == 0 })
	point(atTokyo)
	until(t, n, "it pays at tokyo", func(s Status) bool {
		return s.Site == "tokyo" && s.Succeeded > 2 && s.Error == "" && strings.HasPrefix(s.Address, atTokyo+":") && s.Epoch == 2
	})
	tokyo.down.Store(true)
	until(t, n, "tokyo refuses", func(s Status) bool { return strings.Contains(s.Error, "503") })
	point(atOsaka)
	until(t, n, "it pays at osaka", func(s Status) bool { return s.Site == "osaka" && s.Error == "" && s.LastSuccess > s.Started })

	seen := map[string]bool{}
	for _, e := range []*entry{tokyo, osaka} {
		e.mu.Lock()
		for i, key := range e.keys {
			if !strings.HasPrefix(key, "onprem-") || seen[key] {
				t.Errorf("key %q is not a new one of onprem-…", key)
			}
			seen[key] = true
			if b := e.body[i]; b != `POST /payments {"from":1,"to":2,"yen":1}` && b != `POST /payments {"from":2,"to":1,"yen":1}` {
				t.Errorf("asked %s", b)
			}
		}
		e.mu.Unlock()
	}
	w := httptest.NewRecorder()
	n.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/status", nil))
	if !strings.Contains(w.Body.String(), `"site":"osaka"`) {
		t.Errorf("status %s", w.Body)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{{}, {DNS: "a:1", Name: "n"}, {DNS: "a:1", Port: 1}, {Name: "n", Port: 1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
