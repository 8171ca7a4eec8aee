package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
			if err := turn.await(t.Context(), func() { say("%d waits", i) }); err != nil {
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
				if err := turn.await(ctx, func() { said = true }); err != nil || !said {
					t.Errorf("%v, said %v", err, said)
				}
				waited = time.Since(began)
				turn.pass()
				time.Sleep(time.Minute)
			case 2:
				time.AfterFunc(time.Second, func() { cancel(interrupted) })
				if err := turn.await(ctx, func() {}); !errors.Is(err, interrupted) {
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
		if err := alone.await(ctx, nil); err != nil {
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

// TestPlantedFailuresPassEarly: a drill whose planted failure is none of time lets the next one's world start while its load goes on for the last
// time; any other drill keeps the machine for itself.
func TestPlantedFailuresPassEarly(t *testing.T) {
	twice := []string{"tokyo is lost", "the load goes on for 1 ms", "the load goes on for 1 ms", "the drill ends"}
	for _, x := range []struct {
		name   string
		expect *history.Expectation
		want   bool
	}{
		{"no planted defect", nil, false},
		{"a failure by another check", &history.Expectation{Verdict: "FAIL", Check: check.NameOneWriter}, true},
		{"a failure of time", &history.Expectation{Verdict: "FAIL", Check: check.NamePlanned}, false},
		{"nothing can be said", &history.Expectation{Verdict: "INCONCLUSIVE", Check: check.NameFaultReal}, false},
		{"a pass", &history.Expectation{Verdict: "PASS"}, false},
	} {
		d := &Drill{scenario: Scenario{Steps: twice}, turn: newTurn(nil)}
		d.meta.Expectation = x.expect
		for again := range 2 {
			if err := d.loadGoesOn(t.Context(), "1 ms"); err != nil {
				t.Fatal(err)
			}
			passed := false
			select {
			case <-d.turn.idle:
				passed = true
			default:
			}
			if want := x.want && again == 1; passed != want {
				t.Errorf("%s: passed its turn %t after the load went on %d times, expected %t", x.name, passed, again+1, want)
			}
		}
	}
}

// TestMeasuresNoTime: only a drill without customers whose planted failure is none of time lets the next one's world start at once.
func TestMeasuresNoTime(t *testing.T) {
	for _, x := range []struct {
		feature string
		expect  *history.Expectation
		want    bool
	}{
		{"features/order_traps_ring.feature", &history.Expectation{Verdict: "FAIL", Check: check.NameLocalReads}, true},
		{"features/order_traps_ring.feature", &history.Expectation{Verdict: "FAIL", Check: check.NamePlanned}, false},
		{"features/order_traps_ring.feature", nil, false},
		{"features/order_traps_mysql.feature", &history.Expectation{Verdict: "FAIL", Check: check.NameLocalReads}, false}, // it has customers
	} {
		scenarios, err := Select([]string{"../" + x.feature}, "")
		if err != nil {
			t.Fatal(err)
		}
		d := &Drill{scenario: scenarios[0]}
		d.meta.Expectation = x.expect
		if got := d.measuresNoTime(); got != x.want {
			t.Errorf("%s, expected %+v: measures no time: %t, expected %t", x.feature, x.expect, got, x.want)
		}
	}
}
