package workload

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

func TestEverySlotIsOneRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, end := newMemoryPlatform(t, "tokyo")
		defer end()
		plan := p.plan(p.host)
		plan.PaymentRate, plan.ProbeRate = 50, 100
		run := play(t, plan, time.Second, func(l *Load) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := l.Steady(ctx, 500*time.Millisecond); err != nil {
				t.Error(err)
			}
		})
		a := accounts(t, run)
		if a["payment"].Slots < 70 || a["probe"].Slots < 140 {
			t.Errorf("accounts %+v", a)
		}
		keys := map[string]bool{}
		for _, o := range run.Operations {
			if o.Outcome != history.OK || o.Wire != 1 || o.Status != 200 || o.Site != "tokyo" || o.Node != "tokyo-app-1" || o.Epoch != 3 ||
				o.Sent < o.Intended || o.Finished < o.Sent {
				t.Fatalf("%+v", o)
			}
			if o.Stream == history.StreamPayment {
				if keys[o.Key] {
					t.Errorf("key %s twice", o.Key)
				}
				keys[o.Key] = true
			}
		}
		if len(p.applied) != len(keys) || p.probes != a["probe"].Slots {
			t.Errorf("applied %d payments of %d, %d probes of %d", len(p.applied), len(keys), p.probes, a["probe"].Slots)
		}
	})
}

// A server applies a payment and drops the connection, on connections that were used before: net/http would send a replayable
// request again. It is applied once, and the record says that nobody knows.
func TestNothingIsSentAgain(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, "tokyo")
	p.intercept(func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n%3 != 0 {
			return false
		}
		p.serve(discard{}, r)
		panic(http.ErrAbortHandler)
	})
	plan := p.plan(p.host)
	plan.PaymentRate, plan.Customers = 100, 2
	run := play(t, plan, 500*time.Millisecond, nil)
	accounts(t, run)
	dropped := 0
	for _, o := range run.Operations {
		if n := p.times(o.Key); n > 1 {
			t.Fatalf("%s was applied %d times", o.Key, n)
		}
		if o.Outcome == history.Info {
			dropped++
			if o.Wire != 1 || o.Error != errEOF && o.Error != errReset || p.times(o.Key) != 1 {
				t.Errorf("%+v, applied %d times", o, p.times(o.Key))
			}
		} else if o.Outcome != history.OK {
			t.Errorf("%+v", o)
		}
	}
	if dropped < 10 {
		t.Errorf("only %d of %d were dropped", dropped, len(run.Operations))
	}
}

// The same server and net/http's own replay: the count below the client must see both requests. This is the check failing.
func TestWireCountSeesAReplay(t *testing.T) {
	p := newPlatform(t, "tokyo")
	p.intercept(func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n == 2 {
			p.serve(discard{}, r)
			panic(http.ErrAbortHandler)
		}
		return false
	})
	plan, err := p.plan(p.host).test()
	if err != nil {
		t.Fatal(err)
	}
	var gate dialGate
	s := &stream{}
	k := newClient(&customer{}, &s.wire, gate.through(plan.Dial))
	send := func() (int, int) {
		req, _ := http.NewRequest(http.MethodPost, p.URL+"/probe", strings.NewReader(`{"slot":1,"n":2}`))
		req.Header.Set("Idempotency-Key", "x")
		a := &attempt{}
		// what roundTrip forbids
		resp, err := k.transport.RoundTrip(traced(req, a))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return a.seal(), resp.StatusCode
	}
	if wire, _ := send(); wire != 1 {
		t.Fatalf("first request: %d on the wire", wire)
	}
	wire, status := send()
	if wire != 2 || status != 200 || s.wire.Load() != 3 {
		t.Errorf("a replayed request: %d on the wire, status %d, %d in all", wire, status, s.wire.Load())
	}
	if o, class := classify(reply{wire: wire, status: status, body: []byte(`{"n":2}`)}, want{number: 2}); o != history.Info || class != errResent {
		t.Errorf("it counts as %s %s", o, class)
	}
	k.close()
	gate.close()
}

// After an attempt was judged, no byte of it may leave.
func TestSealedAttemptSendsNothing(t *testing.T) {
	a := &attempt{}
	if n := a.seal(); n != 0 {
		t.Fatal(n)
	}
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	var s stream
	c := &countedConn{Conn: here, wire: &s.wire}
	c.serve(a)
	if _, err := c.Write([]byte("POST /payments HTTP/1.1\r\n\r\n")); err == nil || s.wire.Load() != 0 {
		t.Errorf("error %v, %d on the wire", err, s.wire.Load())
	}
}

func TestOutcomes(t *testing.T) {
	done := `{"key":"k","state":"DONE","epoch":1,"node":"n"}`
	refuse := func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err }()
	for _, c := range []struct {
		name    string
		r       reply
		outcome history.Outcome
		class   string
	}{
		{"done", reply{wire: 1, status: 200, body: []byte(done)}, history.OK, ""},
		{"200 of another key", reply{wire: 1, status: 200, body: []byte(`{"key":"j","state":"DONE"}`)}, history.Info, errWrong},
		{"200 but pending", reply{wire: 1, status: 200, body: []byte(`{"key":"k","state":"PENDING"}`)}, history.Info, errWrong},
		{"200 with an error page", reply{wire: 1, status: 200, body: []byte(`<html>sorry`)}, history.Info, errWrong},
		{"200 cut off", reply{wire: 1, status: 200, body: []byte(done[:9]), err: io.ErrUnexpectedEOF}, history.Info, errBroken},
		{"200 that says it did nothing", reply{wire: 1, status: 200, none: true, body: []byte(done)}, history.Info, errWrong},
		{"503 with proof", reply{wire: 1, status: 503, none: true}, history.Fail, errUnavailable},
		{"503 with proof, body cut off", reply{wire: 1, status: 503, none: true, err: io.ErrUnexpectedEOF}, history.Fail, errUnavailable},
		{"503 without", reply{wire: 1, status: 503}, history.Info, errStatus},
		{"409 with proof", reply{wire: 1, status: 409, none: true}, history.Fail, errConflict},
		{"409 without", reply{wire: 1, status: 409}, history.Info, errStatus},
		{"400 with proof", reply{wire: 1, status: 400, none: true}, history.Fail, errRejected},
		{"500", reply{wire: 1, status: 500}, history.Info, errStatus},
		{"201", reply{wire: 1, status: 201, body: []byte(done)}, history.Info, errStatus},
		{"sent, timed out", reply{wire: 1, err: context.DeadlineExceeded}, history.Info, errTimeout},
		{"sent, reset", reply{wire: 1, err: syscall.ECONNRESET}, history.Info, errReset},
		{"sent, broken pipe", reply{wire: 1, err: syscall.EPIPE}, history.Info, errReset},
		{"sent, closed", reply{wire: 1, err: io.EOF}, history.Info, errEOF},
		{"sent, refused(?)", reply{wire: 1, err: syscall.ECONNREFUSED}, history.Info, errOther},
		{"sent, stopped", reply{wire: 1, err: context.Canceled}, history.Info, errCancelled},
		{"sent twice", reply{wire: 2, status: 200, body: []byte(done)}, history.Info, errResent},
		{"refused", reply{err: refuse}, history.Fail, errRefused},
		{"no route", reply{err: syscall.EHOSTUNREACH}, history.Fail, errUnreachable},
		{"dial timed out", reply{err: context.DeadlineExceeded}, history.Fail, errDialTimeout},
		{"dial failed", reply{err: &net.OpError{Op: "dial", Err: io.EOF}}, history.Fail, errDial},
		{"no address", reply{err: errNoAddress{context.DeadlineExceeded}}, history.Fail, errDNS},
		{"reset before the first byte", reply{err: syscall.ECONNRESET}, history.Fail, errUnsent},
	} {
		if o, class := classify(c.r, want{key: "k"}); o != c.outcome || class != c.class {
			t.Errorf("%s: %s %q, want %s %q", c.name, o, class, c.outcome, c.class)
		}
	}
	for body, outcome := range map[string]history.Outcome{`{"slot":1,"n":5}`: history.OK, `{"n":6}`: history.Info, `{}`: history.Info, ``: history.Info} {
		if o, _ := classify(reply{wire: 1, status: 200, body: []byte(body)}, want{number: 5}); o != outcome {
			t.Errorf("probe answered %s: %s, want %s", body, o, outcome)
		}
	}
}

// The outcomes once more, through real connections.
func TestOutcomesOnTheWire(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, "tokyo")
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for _, c := range []struct {
		name    string
		answer  func(w http.ResponseWriter, r *http.Request, n int) bool
		to      string
		outcome history.Outcome
		class   string
		wire    int
	}{
		{"refused with proof", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set(HeaderExecuted, "none")
			w.WriteHeader(503)
			return true
		}, p.host, history.Fail, errUnavailable, 1},
		{"5xx", func(w http.ResponseWriter, _ *http.Request, _ int) bool { w.WriteHeader(502); return true }, p.host, history.Info, errStatus, 1},
		{"hangs", func(_ http.ResponseWriter, r *http.Request, _ int) bool {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return true
		}, p.host, history.Info, errTimeout, 1},
		{"cut off", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte(`{"key"`))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, p.host, history.Info, errBroken, 1},
		{"nobody listens", nil, "127.0.0.99", history.Fail, errRefused, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.intercept(c.answer)
			plan := p.plan(c.to)
			plan.PaymentRate = 50
			if c.class == errTimeout {
				plan.Timeout = 3 * time.Second // a busy machine connects in that time
			}
			run := play(t, plan, 200*time.Millisecond, nil)
			a := accounts(t, run)
			if a["payment"].Slots < 5 {
				t.Errorf("%+v", a)
			}
			for _, o := range run.Operations {
				if o.Outcome != c.outcome || o.Error != c.class || o.Wire != c.wire {
					t.Errorf("%+v, want %s %s", o, c.outcome, c.class)
				}
			}
		})
	}
}

// A platform that hangs sheds nothing by default, and something where the limit is too low; each is a record all the same.
func TestShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, end := newMemoryPlatform(t, "tokyo")
		defer end()
		p.intercept(func(_ http.ResponseWriter, r *http.Request, _ int) bool {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return true
		})
		plan := p.plan(p.host)
		plan.ProbeRate, plan.Timeout = 100, 600*time.Millisecond
		if a := accounts(t, play(t, plan, 900*time.Millisecond, nil)); a["probe"].Shed != 0 || a["probe"].InFlightMax < 30 {
			t.Errorf("%+v", a)
		}
		plan.MaxInFlight = 10
		run := play(t, plan, 500*time.Millisecond, nil)
		a := accounts(t, run)
		if a["probe"].Shed < 15 || a["probe"].InFlightMax != 10 {
			t.Errorf("%+v", a)
		}
	})
}

func TestStopGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, end := newMemoryPlatform(t, "tokyo")
		defer end()
		p.intercept(func(_ http.ResponseWriter, r *http.Request, _ int) bool {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return true
		})
		plan := p.plan(p.host)
		plan.PaymentRate, plan.Timeout = 100, time.Minute
		rec, read := recordBy(t, virtual{})
		l, err := New(plan, rec)
		if err != nil {
			t.Fatal(err)
		}
		l.Start(t.Context())
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := l.Stop(ctx); err == nil || !strings.Contains(err.Error(), "in flight") {
			t.Errorf("stop: %v", err)
		}
		run := read()
		accounts(t, run)
		for _, o := range run.Operations {
			if o.Outcome != history.Info || o.Error != errCancelled {
				t.Errorf("%+v", o)
			}
		}
	})
}

// Keys are repeated with the same body, while they have no answer and once after; every attempt is a record.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, end := newMemoryPlatform(t, "tokyo")
		defer end()
		var bad []string
		p.intercept(func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n < 40 {
				w.WriteHeader(500)
				return true
			}
			return false
		})
		plan := p.plan(p.host)
		plan.RepeatRate = 20
		run := play(t, plan, 5*time.Second, nil)
		a := accounts(t, run)
		attempts, oks, twins := map[int][]int{}, map[int]int{}, 0
		sent := map[int]history.Instant{}
		for _, o := range run.Operations {
			attempts[o.Slot] = append(attempts[o.Slot], o.Attempt)
			if o.Outcome == history.OK {
				oks[o.Slot]++
			} else if o.Status == 409 {
				bad = append(bad, o.Key)
			}
			if o.Attempt == 1 {
				sent[o.Slot] = o.Sent
			}
		}
		for _, o := range run.Operations {
			if o.Attempt == 2 && o.Sent.Sub(sent[o.Slot]).Abs() < 20*time.Millisecond {
				twins++
			}
		}
		for slot, n := range attempts {
			slices.Sort(n)
			for i := range n {
				if n[i] != i+1 {
					t.Errorf("slot %d has attempts %v", slot, n)
					break
				}
			}
			if slot < 5 && oks[slot] < 2 {
				t.Errorf("slot %d was told %d times in all that time: %v", slot, oks[slot], n)
			}
		}
		if len(bad) > 0 || a["repeat"].Retries < 40 || twins < 10 || twins > 45 {
			t.Errorf("%d twins, conflicts %v, %+v", twins, bad, a["repeat"])
		}
	})
}

// Slots are sent when they are due, whatever the platform does. Under virtual time, so that a busy machine is no excuse.
func TestPacerIsOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, end := newMemoryPlatform(t, "tokyo")
		defer end()
		p.intercept(func(_ http.ResponseWriter, r *http.Request, n int) bool {
			if n%2 == 0 {
				io.Copy(io.Discard, r.Body)
				<-r.Context().Done() // half of the requests hang
				return true
			}
			return false
		})
		plan := p.plan(p.host)
		plan.ProbeRate, plan.PaymentRate = 100, 50
		a := accounts(t, play(t, plan, 10*time.Second, nil))
		for name, slots := range map[string]int{"probe": 1000, "payment": 500} {
			d := a[name]
			if d.LatenessMax != 0 || d.Shed != 0 || d.Slots < slots || d.Slots > slots+1 || d.MaxGap.D() > 1500*time.Millisecond/time.Duration(d.Rate) {
				t.Errorf("%s %+v", name, d)
			}
		}
	})
}

// While the platform hangs, repeated keys pile up; their retries stay bounded, and no slot of the schedule is shed for them.
func TestRepeatsDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, end := newMemoryPlatform(t, "tokyo")
		defer end()
		p.intercept(func(_ http.ResponseWriter, r *http.Request, n int) bool {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return true
		})
		plan := p.plan(p.host)
		plan.RepeatRate = 20
		a := accounts(t, play(t, plan, 60*time.Second, func(l *Load) {
			time.Sleep(30 * time.Second)
			p.intercept(nil)
		}))["repeat"]
		if a.Shed != 0 || a.InFlightMax > 40+maxRepeating+1 || a.InFlightMax < 40+maxRepeating/2 || a.Retries < 1000 {
			t.Errorf("%+v", a)
		}
	})
}

// Who is never told gives up, so that those who ask a lost region do not become more and more.
func TestRepeatsGiveUp(t *testing.T) {
	for stale, patience := range map[float64]time.Duration{0: patience, 1: stalePatience} {
		synctest.Test(t, func(t *testing.T) {
			p, end := newMemoryPlatform(t, "tokyo")
			defer end()
			p.intercept(func(w http.ResponseWriter, _ *http.Request, _ int) bool {
				w.WriteHeader(503)
				return true
			})
			plan := p.plan(p.host)
			plan.RepeatRate, plan.StaleShare = 2, stale
			first, last := map[int]history.Instant{}, map[int]history.Instant{}
			for _, o := range play(t, plan, 50*time.Second+patience, nil).Operations {
				if o.Stream != history.StreamRepeat {
					continue
				}
				if o.Attempt == 1 {
					first[o.Slot] = o.Sent
				}
				last[o.Slot] = max(last[o.Slot], o.Sent)
			}
			for slot := range 90 { // of the first 45 s of the load
				if tried := last[slot].Sub(first[slot]); tried < patience-10*time.Second || tried > patience+time.Second {
					t.Errorf("stale share %v: slot %d was tried for %s, expected about %s", stale, slot, tried, patience)
				}
			}
		})
	}
}

// The same seed sends the same load; another one does not.
func TestSeed(t *testing.T) {
	plan := Plan{Accounts: 5, MaxYen: 1000, Customers: 9}
	draw := func(seed uint64) (out []string) {
		s := schedule{seed, history.StreamPayment, 50}
		for i := range 50 {
			r := s.payment(i, plan)
			var b struct{ From, To int }
			if err := json.Unmarshal(r.body, &b); err != nil || b.From == b.To || b.From < 1 || b.To < 1 || b.From > 5 || b.To > 5 || r.yen < 1 || r.yen > 1000 {
				t.Fatalf("%+v %s", r, r.body)
			}
			out = append(out, s.due(i).String()+r.key+string(r.body))
		}
		return out
	}
	if !slices.Equal(draw(7), draw(7)) || slices.Equal(draw(7), draw(8)) {
		t.Error("the load does not follow the seed")
	}
	s := schedule{7, history.StreamProbe, 100}
	for i := range 2000 {
		if gap := s.due(i+1) - s.due(i); gap <= 0 || gap > 15*time.Millisecond {
			t.Fatalf("gap of %v after slot %d", gap, i)
		}
	}
	for round := range 20 { // every customer has one turn in each round
		had, order := map[int]bool{}, []int{}
		for i := range plan.Customers {
			c := s.probe(round*plan.Customers+i, plan).customer
			had[c], order = true, append(order, c)
		}
		if len(had) != plan.Customers {
			t.Errorf("round %d: the probes of %v", round, order)
		}
	}
	for share, n := range map[float64]int{0: 0, 0.2: 2, 0.001: 1, 1: 9} {
		plan.StaleShare = share
		if got := len(staleCustomers(plan)); got != n {
			t.Errorf("share %v: %d stale customers, want %d", share, got, n)
		}
	}
}

func TestIllegalPlans(t *testing.T) {
	good := Plan{Accounts: 2, PaymentRate: 1, Names: []string{"a"}, Resolver: "x:1"}
	if _, err := good.filled(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(p *Plan){
		"nothing would be sent": func(p *Plan) { p.PaymentRate = 0 },
		"payment rate -1":       func(p *Plan) { p.PaymentRate = -1 },
		"1 accounts":            func(p *Plan) { p.Accounts = 1 },
		"stale customers 1.5":   func(p *Plan) { p.StaleShare = 1.5 },
		"no name of":            func(p *Plan) { p.Names = nil },
		"no name server":        func(p *Plan) { p.Resolver = "" },
		"port 70000":            func(p *Plan) { p.Port = 70000 },
		"-2 requests":           func(p *Plan) { p.MaxInFlight = -2 },
		"-1s":                   func(p *Plan) { p.Timeout = -time.Second },
		"-3 customers":          func(p *Plan) { p.Customers = -3 },
	} {
		p := good
		spoil(&p)
		if _, err := New(p, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSteadySaysWhatItSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, end := newMemoryPlatform(t, "tokyo")
		defer end()
		p.intercept(func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n%25 == 0 {
				w.WriteHeader(500)
				return true
			}
			return false
		})
		plan := p.plan(p.host)
		plan.ProbeRate = 100
		play(t, plan, 0, func(l *Load) {
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			err := l.Steady(ctx, time.Second)
			if err == nil || !strings.Contains(err.Error(), "bad of 100 planned") || !strings.Contains(err.Error(), errStatus) {
				t.Errorf("4 %% of failures: %v", err)
			}
		})
	})
}

// The wall clock is stepped under the load.
func TestClockJump(t *testing.T) {
	t.Parallel()
	var w wallWatch
	stop := make(chan struct{})
	n := 0
	w.watch(t.Context(), stop, history.Monotonic{}, func() int64 {
		if n++; n == 7 { // three readings each time: the third time begins
			close(stop)
		}
		if n > 3 {
			return wallNow() + int64(time.Second)
		}
		return wallNow()
	})
	if j := w.jump(); j < 900*time.Millisecond || j > 1100*time.Millisecond {
		t.Errorf("saw a jump of %v", j)
	}
}

func (p Plan) test() (Plan, error) { p.PaymentRate = 1; return p.filled() }

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
