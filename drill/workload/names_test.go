package workload

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/drill/history"
)

// fakeClock is set by hand.
type fakeClock struct {
	mu  sync.Mutex
	now history.Instant
}

func (c *fakeClock) Now() history.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestCustomersCacheByTTL(t *testing.T) {
	z := &zone{to: "127.0.0.1", ttl: 5}
	clock := &fakeClock{now: 1}
	c := &customer{name: "pay.kirikae.test", lookup: z.lookup, clock: clock}
	is := func(want string, asked int) {
		t.Helper()
		got, _, err := c.where(t.Context())
		if err != nil || got != want || z.count() != asked {
			t.Errorf("%s after %d look-ups (%v), want %s after %d", got, z.count(), err, want, asked)
		}
	}
	is("127.0.0.1", 1)
	z.set(func(z *zone) { z.to = "127.0.0.2" })
	clock.pass(4900 * time.Millisecond)
	is("127.0.0.1", 1)
	clock.pass(200 * time.Millisecond)
	is("127.0.0.2", 2)

	// The name server fails: what is known is used on and asked about again a second later.
	z.set(func(z *zone) { z.rcode = dns.RcodeServerFailure; z.to = "127.0.0.3" })
	clock.pass(6 * time.Second)
	is("127.0.0.2", 3)
	is("127.0.0.2", 3)
	z.set(func(z *zone) { z.rcode = dns.RcodeSuccess })
	clock.pass(1100 * time.Millisecond)
	is("127.0.0.3", 4)
}

func TestStaleCustomers(t *testing.T) {
	z := &zone{to: "127.0.0.1", ttl: 1}
	clock := &fakeClock{now: 1}
	c := &customer{name: "pay.kirikae.test", stale: true, lookup: z.lookup, clock: clock}
	is := func(want string) {
		t.Helper()
		if got, _, err := c.where(t.Context()); err != nil || got != want {
			t.Errorf("%s (%v), want %s", got, err, want)
		}
	}
	is("127.0.0.1")
	z.set(func(z *zone) { z.to = "127.0.0.2" })
	clock.pass(time.Hour)
	is("127.0.0.1") // as long as it connects
	no := errors.New("refused")
	c.dialled("127.0.0.1:80", no)
	c.dialled("127.0.0.1:80", no)
	c.dialled("127.0.0.1:80", nil)
	c.dialled("127.0.0.1:80", no)
	c.dialled("127.0.0.1:80", no)
	c.dialled("127.0.0.9:80", no) // an address it no longer uses
	is("127.0.0.1")
	c.dialled("127.0.0.1:80", no)
	is("127.0.0.2")
}

func TestOneLookupHoweverManyWait(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	c := &customer{name: "x", clock: &fakeClock{}, lookup: func(context.Context, string) (Answer, error) {
		entered <- struct{}{}
		<-release
		return Answer{Address: "127.0.0.1", TTL: time.Minute}, nil
	}}
	var wg sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	for range 20 {
		wg.Go(func() {
			a, did, err := c.where(t.Context())
			mu.Lock()
			defer mu.Unlock()
			if did {
				asked++
			}
			if a != "127.0.0.1" || err != nil {
				t.Errorf("%s, %v", a, err)
			}
		})
	}
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := c.where(ctx); err == nil || !strings.Contains(err.Error(), "look-up of x") {
		t.Errorf("a waiter outlived its context: %v", err)
	}
	close(release)
	wg.Wait()
	if asked != 1 || len(entered) != 0 {
		t.Errorf("%d look-ups", asked+len(entered))
	}
}

// A name server on the wire. A busy machine may answer too late for both tries: it is asked again.
func TestNameServer(t *testing.T) {
	z := newZone(t, "127.0.0.7", 5)
	ask := func(name string) (a Answer, err error) {
		for range 20 {
			if a, err = nameServer(z.address).lookup(t.Context(), name); err == nil || !timedOut(err) {
				break
			}
		}
		return a, err
	}
	if a, err := ask("pay.kirikae.test"); err != nil || a != (Answer{"127.0.0.7", 5 * time.Second}) {
		t.Errorf("%+v, %v", a, err)
	}
	z.set(func(z *zone) { z.rcode = dns.RcodeNameError })
	if _, err := ask("nope.test"); err == nil || !strings.Contains(err.Error(), "NXDOMAIN") {
		t.Error(err)
	}
	z.set(func(z *zone) { z.mute = true })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := nameServer(z.address).lookup(ctx, "nope.test"); err == nil || !timedOut(err) {
		t.Error(err)
	}
}

// The entry moves from one site to the other: customers follow when their answer is too old, stale ones only when they can no
// longer connect.
func TestCustomersFollowTheEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokyo, endTokyo := newMemoryPlatform(t, "tokyo")
		osaka, endOsaka := newMemoryPlatform(t, "osaka")
		defer endOsaka()
		var entry atomic.Value
		entry.Store("127.0.0.1")
		plan := tokyo.plan("")
		plan.Lookup = func(context.Context, string) (Answer, error) {
			return Answer{Address: entry.Load().(string), TTL: time.Second}, nil
		}
		plan.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, _, _ := net.SplitHostPort(address); host == "127.0.0.2" {
				return osaka.dial(ctx, network, address)
			}
			return tokyo.dial(ctx, network, address)
		}
		plan.PaymentRate, plan.Customers, plan.StaleShare = 100, 10, 0.2
		plan.Sites = map[string]string{"127.0.0.1": "tokyo", "127.0.0.2": "osaka"}
		rec, read := recordBy(t, virtual{})
		l, err := New(plan, rec)
		if err != nil {
			t.Fatal(err)
		}
		l.Start(t.Context())
		time.Sleep(300 * time.Millisecond)
		entry.Store("127.0.0.2")
		moved := rec.Now()
		time.Sleep(1700 * time.Millisecond)
		closed := rec.Now()
		endTokyo()
		time.Sleep(800 * time.Millisecond)
		if err := l.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		run := read()
		a := accounts(t, run)
		sites := map[string]int{}
		for _, o := range run.Operations {
			when := "before"
			switch {
			case o.Sent > closed.Add(400*time.Millisecond):
				when = "closed"
			case o.Sent > moved.Add(1100*time.Millisecond) && o.Sent < closed.Add(-50*time.Millisecond):
				when = "moved"
			case o.Sent > moved:
				continue
			}
			who := "fresh"
			if o.Stale {
				who = "stale"
			}
			sites[when+" "+who+" "+o.Site]++
		}
		for _, want := range []string{"before fresh tokyo", "before stale tokyo", "moved fresh osaka", "moved stale tokyo", "closed fresh osaka", "closed stale osaka"} {
			if sites[want] == 0 {
				t.Errorf("none %s: %v", want, sites)
			}
		}
		if sites["moved fresh tokyo"]+sites["moved stale osaka"]+sites["before fresh osaka"]+sites["closed fresh tokyo"] > 0 {
			t.Errorf("%v", sites)
		}
		if n := a["payment"].Resolved; n < 18 || n > 60 {
			t.Errorf("%d look-ups", n)
		}
	})
}
