package workload

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

type writer func(ctx context.Context, id, site string, t history.Instant) (history.Outcome, string)

func (w writer) Insert(ctx context.Context, id, site string, t history.Instant) (history.Outcome, string) {
	return w(ctx, id, site, t)
}

// One node that hangs, even one that ignores its deadline, delays no other.
func TestCanaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, read := recordBy(t, virtual{})
		release := make(chan struct{})
		var mu sync.Mutex
		ids := map[string]bool{}
		good := writer(func(_ context.Context, id, site string, at history.Instant) (history.Outcome, string) {
			mu.Lock()
			defer mu.Unlock()
			if ids[id] || site != "tokyo" || at == 0 {
				t.Errorf("id %s twice, or at %s %d", id, site, at)
			}
			ids[id] = true
			return history.OK, ""
		})
		hangs := writer(func(ctx context.Context, _, _ string, _ history.Instant) (history.Outcome, string) {
			<-ctx.Done()
			return history.Info, errTimeout
		})
		deaf := writer(func(context.Context, string, string, history.Instant) (history.Outcome, string) {
			<-release
			return history.OK, ""
		})
		readOnly := writer(func(context.Context, string, string, history.Instant) (history.Outcome, string) {
			return history.Fail, "read-only"
		})
		c, err := StartCanaries(t.Context(), []Canary{
			{"tokyo-mysql-1", "tokyo", good}, {"hangs", "osaka", hangs}, {"deaf", "osaka", deaf}, {"osaka-mysql-1", "osaka", readOnly},
		}, CanaryPlan{Seed: 7, Period: 20 * time.Millisecond, Deadline: 60 * time.Millisecond}, rec)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(700 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := c.Stop(ctx); err == nil || !strings.Contains(err.Error(), "to deaf") {
			t.Errorf("stop: %v", err)
		}
		close(release)
		if err := c.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		run := read()
		count := map[string]map[string]int{}
		for _, o := range run.Operations {
			if o.Stream != history.StreamCanary || o.Finished < o.Sent {
				t.Errorf("%+v", o)
			}
			if count[o.Node] == nil {
				count[o.Node] = map[string]int{}
			}
			count[o.Node][string(o.Outcome)+" "+o.Error]++
		}
		for node, want := range map[string]string{"tokyo-mysql-1": "ok ", "hangs": "info timeout", "osaka-mysql-1": "fail read-only"} {
			if count[node][want] < 25 || count[node]["shed "] > 0 {
				t.Errorf("%s: %v, want %q", node, count[node], want)
			}
		}
		if n := count["deaf"]; n["info timeout"] == 0 || n["shed "] < 10 || n["ok "] != 0 {
			t.Errorf("deaf: %v", n)
		}
		marks, _ := history.Marked[history.LoadData](run, history.KindLoad)
		if len(marks) != 4 {
			t.Errorf("%d accounts", len(marks))
		}
		for _, m := range marks {
			if m.Data.Records != m.Data.Slots || m.Data.Wire+m.Data.Shed != m.Data.Slots || m.Data.Slots < 25 {
				t.Errorf("%s %+v", m.Name, m.Data)
			}
		}
		if _, err := StartCanaries(t.Context(), nil, CanaryPlan{}, rec); err == nil {
			t.Error("canaries without nodes")
		}
	})
}

func TestEveryIsBoundedAndDoesNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, running atomic.Int32
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		Every(ctx, 10*time.Millisecond, 30*time.Millisecond, func(ctx context.Context) {
			if running.Add(1) > 1 {
				t.Error("two calls at once")
			}
			defer running.Add(-1)
			if calls.Add(1) == 1 {
				<-ctx.Done() // the limit's
			}
		})
		if n := calls.Load(); n < 10 || n > 30 {
			t.Errorf("%d calls", n)
		}
	})
}

type readings struct {
	mu     sync.Mutex
	newest history.Instant
	err    error
	n      int
}

func (r *readings) NewestCanary(context.Context) (history.Instant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	return r.newest, r.err
}

func (r *readings) Received(context.Context) (history.ReceivedData, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	if r.n%2 == 0 {
		return history.ReceivedData{}, errors.New("down")
	}
	return history.ReceivedData{Node: "osaka-mysql-1", Received: "x"}, nil
}

func (r *readings) Snapshot(context.Context) (history.SnapshotData, error) {
	return history.SnapshotData{Node: "tokyo-mysql-1", Accounts: 3}, nil
}

func TestLagIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, read := recordBy(t, virtual{})
		r := &readings{err: errors.New("not yet")}
		l := SampleLag(t.Context(), rec, "osaka-mysql-1", r, 5*time.Millisecond, time.Second)
		within := func(d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			return l.WaitLag(ctx, 300*time.Millisecond)
		}
		if err := within(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "not yet") {
			t.Errorf("nothing read: %v", err)
		}
		r.mu.Lock()
		r.newest, r.err = rec.Now().Add(-10*time.Millisecond), nil
		r.mu.Unlock()
		if err := within(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "last readings") {
			t.Errorf("too little lag: %v", err)
		}
		if err := within(2 * time.Second); err != nil { // it grows with time, as no newer canary comes
			t.Error(err)
		}
		l.Stop()
		marks, err := history.Marked[history.LagData](read(), history.KindLag)
		if err != nil || len(marks) < 10 || marks[len(marks)-1].Data.Lag.D() < 300*time.Millisecond || marks[0].Data.Lag.D() > 300*time.Millisecond {
			t.Errorf("%d marks, %v", len(marks), err)
		}
		if err := l.WaitLag(t.Context(), time.Hour); err == nil || !strings.Contains(err.Error(), "stopped") {
			t.Errorf("stopped: %v", err)
		}
	})
}

func TestSamplersMarkAndCount(t *testing.T) {
	rec, read := record(t)
	a := SampleReceived(t.Context(), rec, &readings{}, 5*time.Millisecond, time.Second)
	b := SampleSnapshots(t.Context(), rec, &readings{}, 5*time.Millisecond, time.Second)
	for wait := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		good, bad, _ := a.Counts()
		snaps, _, _ := b.Counts()
		if good >= 3 && bad >= 3 && snaps >= 5 {
			break
		}
		if time.Now().After(wait) {
			t.Fatalf("%d good, %d bad, %d snapshots", good, bad, snaps)
		}
	}
	a.Stop()
	b.Stop()
	good, _, _ := a.Counts()
	run := read()
	received, _ := history.Marked[history.ReceivedData](run, history.KindReceived)
	snapshots, _ := history.Marked[history.SnapshotData](run, history.KindSnapshot)
	if len(received) != good || received[0].Name != "osaka-mysql-1" || len(snapshots) < 5 || snapshots[0].Data.Accounts != 3 {
		t.Errorf("%d received of %d, %d snapshots", len(received), good, len(snapshots))
	}
}
