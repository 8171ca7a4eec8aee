package cassandra

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/gocql/gocql"
	"github.com/rs/zerolog"

	"github.com/kirikae/kirikae/payment/schema"
	"github.com/kirikae/kirikae/topology/livetest"
	"github.com/kirikae/kirikae/topology/provision"
)

func live(t *testing.T) provision.Install {
	t.Helper()
	livetest.Servers(t)
	in, err := provision.Find("")
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// process is one real node of a test.
type process struct {
	t    *testing.T
	in   provision.Install
	o    NodeOptions
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

func (p *process) start() {
	p.t.Helper()
	c := Command(p.in.Java, p.in.Cassandra, p.o)
	for path, content := range c.Files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			p.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer out.Close()
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	p.done = done
	go func(c *exec.Cmd) { _ = c.Wait(); close(done) }(p.cmd)
}

func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

func (p *process) rss() string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	var out []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmLck") {
			out = append(out, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(out, ", ")
}

func (p *process) cql() string { return p.o.Listen + ":9042" }

// pair starts one node a region, each known to the other by a door on a toxiproxy.
// published is their CQL as from outside their networks.
func pair(t *testing.T, in provision.Install, octet int) (tokyo, osaka *process, published [2]*toxiproxy.Proxy) {
	t.Helper()
	px := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	door := func(name, listen, target, port string) *toxiproxy.Proxy {
		p := toxiproxy.NewProxy(px, name, listen+":"+port, target+":"+port)
		if err := px.Collection.Add(p, true); err != nil {
			t.Fatal(err)
		}
		return p
	}
	a := func(third, fourth int) string { return fmt.Sprintf("127.%d.%d.%d", octet, third, fourth) }
	door("to-tokyo", a(121, 1), a(1, 1), "7000")
	door("to-osaka", a(112, 1), a(2, 1), "7000")
	published[0] = door("published-tokyo", a(201, 1), a(1, 1), "9042")
	published[1] = door("published-osaka", a(202, 1), a(2, 1), "9042")
	t.Cleanup(func() { _ = px.Collection.Clear() })
	dir := filepath.Join(t.TempDir(), "odd #1") // a path may hold anything
	must(t, os.MkdirAll(dir, 0o755))
	node := func(dc string, d int, broadcast string) *process {
		p := &process{t: t, in: in, log: filepath.Join(dir, dc+".log"), o: NodeOptions{
			DataDir: filepath.Join(dir, dc), Cluster: "test", DC: dc, Listen: a(d, 1), Broadcast: broadcast,
			Token: Token(1, 1, d), Seeds: []string{a(121, 1), a(112, 1)},
		}}
		p.start()
		t.Cleanup(func() {
			p.kill()
			if t.Failed() {
				b, _ := os.ReadFile(p.log)
				t.Logf("%s:\n%s", dc, b)
			}
		})
		return p
	}
	return node("tokyo", 1, a(121, 1)), node("osaka", 2, a(112, 1)), published
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLiveLostNode forms a cluster over two doors, writes at the rate of a drill, kills both nodes in the middle of it, and
// starts one alone: every acknowledged event must be there.
func TestLiveLostNode(t *testing.T) {
	in := live(t)
	ctx, cancel := context.WithTimeout(context.Background(), 240*time.Second)
	defer cancel()
	began := time.Now()
	tokyo, osaka, published := pair(t, in, 202)
	must(t, WaitRing(ctx, tokyo.cql(), osaka.cql()))
	t.Logf("a ring of 1+1 after %s", time.Since(began))
	T, err := Open(ctx, Site{Name: "tokyo", Contact: []string{tokyo.cql()}, DC: "tokyo"})
	must(t, err)
	defer T.Close()
	O, err := Open(ctx, Site{Name: "osaka", Contact: []string{osaka.cql()}, DC: "osaka"})
	must(t, err)
	defer O.Close()
	both := map[string]int{"tokyo": 1, "osaka": 1}
	must(t, Form(ctx, []string{tokyo.cql(), osaka.cql()}, schema.Cassandra(both), both))
	for _, s := range []*Session{T, O} { // each at once, and by itself
		all, err := s.Keyspaces(ctx)
		must(t, err)
		for _, name := range []string{"pay", "system_auth", "system_distributed", "system_traces"} {
			if !maps.Equal(all[name], both) {
				t.Errorf("%s has %s in %v, expected %v", s.Name(), name, all[name], both)
			}
		}
	}
	for _, s := range []*Session{T, O} {
		must(t, s.Ready(ctx))
		must(t, s.Quorums(ctx))
		must(t, s.Ping(ctx))
	}
	v, err := T.Version(ctx)
	must(t, err)
	t.Logf("both quorums of %s after %s; %s; %s", v, time.Since(began), tokyo.rss(), osaka.rss())

	// From outside the networks: the driver learns Osaka's address inside from Tokyo, and must not dial it.
	site := Site{Name: "published", Contact: []string{published[0].Listen}, DC: "osaka", Translate: map[string]string{osaka.cql(): published[1].Listen}}
	cfg := siteConfig(site)
	cfg.HostFilter = nil // Tokyo is asked, too
	P, err := open(ctx, cfg, site.Name)
	must(t, err)
	defer P.Close()
	answers := func(want string) {
		t.Helper()
		soon, stop := context.WithTimeout(ctx, 30*time.Second)
		defer stop()
		for last := ""; last != want; time.Sleep(20 * time.Millisecond) {
			if err := P.cql.Query("SELECT data_center FROM system.local").Consistency(gocql.One).WithContext(soon).Scan(&last); err != nil {
				last = err.Error()
			}
			if soon.Err() != nil {
				t.Fatalf("by published addresses, %s does not answer; last seen: %s", want, last)
			}
		}
	}
	answers("osaka") // which it prefers
	published[1].Stop()
	answers("tokyo") // Osaka itself still answers, by its own address
	must(t, O.Ready(ctx))

	// 150 writes a second, as a drill makes; then the machine is lost, right after an acknowledgement.
	var acked sync.Map
	var n atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	load, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	fresh := make(chan time.Time)
	tick := time.NewTicker(time.Second / 150)
	defer tick.Stop()
	var lastAck time.Time
	var enough <-chan time.Time // nil for the first 5 s
	for from := time.Now(); lastAck.IsZero(); {
		select {
		case lastAck = <-enough:
		case <-tick.C:
			if time.Since(from) > 5*time.Second {
				enough = fresh
			}
			wg.Go(func() {
				key := fmt.Sprintf("e-%05d", n.Add(1))
				at := time.Now()
				if err := T.cql.Query("INSERT INTO pay.events (pay_key, yen, epoch, site) VALUES (?, 100, 1, 'tokyo')", key).WithContext(load).Exec(); err != nil {
					return
				}
				acked.Store(key, true)
				select {
				case fresh <- time.Now():
				default:
				}
				mu.Lock()
				took = append(took, time.Since(at))
				mu.Unlock()
			})
		}
	}
	tokyo.kill()
	killed := time.Now()
	stop()
	wg.Wait()
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	if len(took) < 400 {
		t.Fatalf("%d writes are too few to tell anything", len(took))
	}
	t.Logf("%d acknowledged of %d, one %s before the node was gone; commit p50 %s p99 %s max %s", len(took), n.Load(), killed.Sub(lastAck),
		took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	if err := T.Ping(ctx); err == nil {
		t.Error("a dead region answered")
	}
	osaka.kill()

	tokyo.o.Alone = true
	T.Close()
	again := time.Now()
	tokyo.start()
	var A *Session
	for {
		if A, err = Open(ctx, Site{Name: "tokyo", Contact: []string{tokyo.cql()}, DC: "tokyo"}); err == nil {
			if err = A.Ready(ctx); err == nil {
				break
			}
			A.Close()
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	defer A.Close()
	rows, err := A.JournalRows(ctx)
	must(t, err)
	t.Logf("alone, all %d rows read %s after its start (%s after the kill); %s", len(rows.Events), time.Since(again), time.Since(killed), tokyo.rss())
	have := map[string]bool{}
	for _, e := range rows.Events {
		have[e.Key] = true
		if e.Yen != 100 || e.Epoch != 1 {
			t.Errorf("event %+v", e)
		}
	}
	acked.Range(func(key, _ any) bool {
		if !have[key.(string)] {
			t.Errorf("%s was acknowledged and is not there", key)
		}
		return true
	})
	must(t, A.Ping(ctx))
	var hosts int
	must(t, A.cql.Query("SELECT count(*) FROM system.peers_v2").Consistency(gocql.One).Scan(&hosts))
	t.Logf("it remembers %d peers", hosts)
}
