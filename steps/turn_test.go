package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

// TestInTurn: a drill makes its world while the one before is judged, no sooner, and has customers only when that one has ended.
func TestInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		var saw []string
		say := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			saw = append(saw, fmt.Sprintf("%v ", time.Since(began))+fmt.Sprintf(format, args...))
		}
		n := inTurn(t.Context(), 3, func(i int, turn *turn) {
			say("%d begins", i)
			if i == 1 { // its world does not come up
				time.Sleep(time.Second)
				return
			}
			time.Sleep(5 * time.Second)
			if err := turn.await(t.Context(), false, func() { say("%d waits", i) }); err != nil {
				t.Error(err)
			}
			say("%d has customers", i)
			time.Sleep(30 * time.Second)
			turn.pass()
			turn.pass()
			time.Sleep(8 * time.Second)
			say("%d has ended", i)
		})
		want := []string{"0s 0 begins", "5s 0 has customers", "35s 1 begins", "36s 2 begins", "41s 2 waits", "43s 0 has ended", "43s 2 has customers", "1m21s 2 has ended"}
		if n != 3 || fmt.Sprint(saw) != fmt.Sprint(want) {
			t.Errorf("%d drills\n%s\nwant\n%s", n, strings.Join(saw, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestShares: two neighbours that share the machine have customers at once, never three, and nobody beside one that does not share.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const makes, serves, reads = 10 * time.Second, 40 * time.Second, 5 * time.Second
		shares := []bool{false, true, true, true, false}
		began := time.Now()
		from, to := make([]time.Duration, len(shares)), make([]time.Duration, len(shares))
		var mu sync.Mutex
		worlds, most := 0, 0
		n := inTurn(t.Context(), len(shares), func(i int, turn *turn) {
			mu.Lock()
			worlds++
			most = max(most, worlds)
			mu.Unlock()
			time.Sleep(makes)
			if err := turn.await(t.Context(), shares[i], func() {}); err != nil {
				t.Error(err)
			}
			from[i] = time.Since(began)
			if shares[i] {
				turn.pass() // the platform serves well
			}
			time.Sleep(serves)
			turn.pass()
			time.Sleep(reads)
			to[i] = time.Since(began)
			mu.Lock()
			worlds--
			mu.Unlock()
		})
		s := func(seconds int) time.Duration { return time.Duration(seconds) * time.Second }
		wantFrom := []time.Duration{s(10), s(60), s(70), s(115), s(160)} // the last one waits for its neighbour, as that one shares and it does not
		wantTo := []time.Duration{s(55), s(105), s(115), s(160), s(205)}
		if n != len(shares) || most != 2 || !slices.Equal(from, wantFrom) || !slices.Equal(to, wantTo) {
			t.Errorf("%d drills, at most %d worlds, customers from\n%v, ended at\n%v; want from\n%v, ended at\n%v", n, most, from, to, wantFrom, wantTo)
		}
	})
}

// TestShortNeighbours: a long drill has short ones beside it, one after the other.
func TestShortNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := []time.Duration{100 * time.Second, 20 * time.Second, 20 * time.Second, 20 * time.Second}
		began := time.Now()
		from := make([]time.Duration, len(long))
		inTurn(t.Context(), len(long), func(i int, turn *turn) {
			time.Sleep(10 * time.Second)
			if err := turn.await(t.Context(), i < 3, func() {}); err != nil {
				t.Error(err)
			}
			from[i] = time.Since(began)
			turn.pass()
			time.Sleep(long[i])
		})
		s := time.Second
		if want := []time.Duration{10 * s, 20 * s, 50 * s, 110 * s}; !slices.Equal(from, want) { // the last one shares with nobody
			t.Errorf("customers from %v, want %v", from, want)
		}
	})
}

// TestTurnWaits: a world that is up before the drill before it has ended waits; when the run is interrupted it does not, and nothing
// else begins.
func TestTurnWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		interrupted := errors.New("interrupted")
		began, waited := time.Now(), time.Duration(0)
		n := inTurn(ctx, 3, func(i int, turn *turn) {
			switch i {
			case 0:
				turn.pass()
				time.Sleep(20 * time.Second)
			case 1:
				said := false
				if err := turn.await(ctx, false, func() { said = true }); err != nil || !said {
					t.Errorf("%v, said %v", err, said)
				}
				waited = time.Since(began)
				turn.pass()
				time.Sleep(time.Minute)
			case 2:
				time.AfterFunc(time.Second, func() { cancel(interrupted) })
				if err := turn.await(ctx, false, func() {}); !errors.Is(err, interrupted) {
					t.Error(err)
				}
			}
		})
		if n != 3 || waited != 20*time.Second {
			t.Errorf("%d drills, waited %v", n, waited)
		}
		if n := inTurn(ctx, 3, func(int, *turn) { t.Error("a drill began") }); n != 0 {
			t.Errorf("%d drills begun in a run that was interrupted", n)
		}
		var alone *turn
		alone.pass()
		if err := alone.await(ctx, true, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestProgressOf(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out)
	p.Of("2/30").Say("world", "up")
	p.Say("drill", "begins")
	if lines := strings.Split(out.String(), "\n"); !strings.HasPrefix(lines[0], "2/30  ") || strings.Contains(lines[1], "2/30") || !strings.HasSuffix(lines[0], "world      up") {
		t.Errorf("%q", lines)
	}
	(*Progress)(nil).Of("x").Say("a", "b")
}

// TestUntimed: only a drill whose planted failure is none of time, or that says so, shares the machine with a neighbour; any other keeps it
// for itself.
func TestUntimed(t *testing.T) {
	for _, x := range []struct {
		name   string
		expect *history.Expectation
		step   string
		tags   []string
		want   bool
	}{
		{"no planted defect", nil, "", nil, false},
		{"a failure by another check", &history.Expectation{Verdict: "FAIL", Check: check.NameOneWriter}, "", []string{"@ci"}, true},
		{"the same, while the platform is quick", &history.Expectation{Verdict: "FAIL", Check: check.NameOneWriter}, "", []string{"@ci", "@alone"}, false},
		{"the same, and the harness is judged", &history.Expectation{Verdict: "FAIL", Check: check.NameOneWriter}, "the fault was real and the harness sane", nil, true},
		{"a pass whose limits are far", nil, "", []string{"@ci", "@shares"}, true},
		{"a failure of time", &history.Expectation{Verdict: "FAIL", Check: check.NamePlanned}, "", nil, false},
		{"a fault that nobody felt", &history.Expectation{Verdict: "INCONCLUSIVE", Check: check.NameFaultReal}, "", nil, true},
		{"no failure is named", &history.Expectation{Verdict: "FAIL"}, "", nil, false},
		{"nothing can be said", &history.Expectation{Verdict: "INCONCLUSIVE", Check: check.NameRecovery}, "", nil, false},
		{"a pass", &history.Expectation{Verdict: "PASS"}, "", nil, false},
	} {
		d := &Drill{scenario: Scenario{Steps: []string{"tokyo is lost", x.step, "the drill ends"}, Tags: x.tags}}
		d.meta.Expectation = x.expect
		if got := d.untimed(); got != x.want {
			t.Errorf("%s: untimed %t, expected %t", x.name, got, x.want)
		}
	}
}

// TestWhoShares: of the embedded features, these share the machine. A planted row that should keep it for itself is not among them by mistake.
func TestWhoShares(t *testing.T) {
	all, err := Select(nil, "@ci or @interrupted")
	if err != nil {
		t.Fatal(err)
	}
	const noCustomers = ", no customers"
	share := map[string]int{}
	for _, s := range all {
		d := &Drill{scenario: s}
		if err := promises(s, &d.meta); err != nil {
			t.Fatal(err)
		}
		switch {
		case !d.untimed():
		case d.meta.Expectation == nil:
			share[tagShares]++
		case d.hasCustomers():
			share[d.meta.Expectation.Check]++
		default:
			share[d.meta.Expectation.Check+noCustomers]++
		}
	}
	want := map[string]int{
		check.NameDropped: 1, check.NameNeverDurable: 1, check.NameDoubleCharge: 2, check.NameOneWriter: 3, check.NameInFlight: 1,
		check.NameReconciled: 1, check.NameSameAnswer: 1, check.NameErrant: 1, check.NameSalvage: 1, check.NameFaultReal: 1, // of two "reconciled" one is @alone
		check.NameEndFacts: 1, check.NamePlanned: 1, check.NameRecovery: 1, check.NameLocalReads: 1, tagShares: 1, // the readiness gate
		check.NameLocalReads + noCustomers: 1, check.NameZombieRows + noCustomers: 1, check.NameDeletedRows + noCustomers: 1,
	}
	if !maps.Equal(share, want) {
		t.Errorf("drills that share, by check: %v, want %v", share, want)
	}
}

// TestTimedFirst: drills that keep the machine for themselves, then those that share it by tag, then those whose expectation says that they
// share it; each kind in its order.
func TestTimedFirst(t *testing.T) {
	all, err := Select(nil, "@ci or @interrupted")
	if err != nil {
		t.Fatal(err)
	}
	sorted := timedFirst(slices.Clone(all))
	if len(sorted) != len(all) {
		t.Fatalf("%d drills of %d", len(sorted), len(all))
	}
	at := map[string]int{}
	for i, s := range all {
		at[s.Place()] = i
	}
	kind := func(s Scenario) int {
		d := &Drill{scenario: s}
		if err := promises(s, &d.meta); err != nil {
			t.Fatal(err)
		}
		switch {
		case !d.untimed():
			return 0
		case slices.Contains(s.Tags, tagShares):
			return 1
		}
		return 2
	}
	var of [3]int
	for i, s := range sorted {
		k := kind(s)
		of[k]++
		if i == 0 {
			continue
		}
		switch before := kind(sorted[i-1]); {
		case k < before:
			t.Errorf("%s is played after %s, which shares the machine more readily", s.Place(), sorted[i-1].Place())
		case k == before && at[s.Place()] < at[sorted[i-1].Place()]:
			t.Errorf("%s is played after %s", s.Place(), sorted[i-1].Place())
		}
	}
	if of[0] < 5 || of[1] < 3 || of[2] < 15 {
		t.Errorf("drills of each kind: %v", of)
	}
}
