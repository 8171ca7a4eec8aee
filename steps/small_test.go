package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

func TestWaitingForAPerson(t *testing.T) {
	e := func(kind, step string, manual bool) history.Entry {
		return history.Entry{Kind: kind, Step: step, Manual: manual}
	}
	for _, c := range []struct {
		name    string
		journal []history.Entry
		want    bool
	}{
		{"empty", nil, false},
		{"a machine waits", []history.Entry{e(history.EntryWait, "2", false)}, false},
		{"a person is asked", []history.Entry{e(history.EntryConfirm, "7", false), e(history.EntryWait, "8", true)}, true},
		{"an approval is asked for", []history.Entry{e(history.EntryAsk, "8", false)}, true},
		{"one was not accepted", []history.Entry{e(history.EntryAsk, "8", false), e(history.EntryRejected, "8", false)}, true},
		{"it was given", []history.Entry{e(history.EntryAsk, "8", false), e(history.EntryApproved, "8", false)}, false},
		{"a person is to take it back", []history.Entry{e(history.UndoPrefix+history.EntryWait, "8", true)}, true},
		{"the person did it", []history.Entry{e(history.EntryWait, "8", true), e(history.EntryConfirm, "8", true)}, false},
		{"an operator came back since", []history.Entry{e(history.EntryWait, "8", true), e(history.EntryBegin, "", false)}, true},
	} {
		if _, got := asks(c.journal); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestExitOf(t *testing.T) {
	for want, err := range map[int]error{
		0: nil, 1: &FailedError{errors.New("step 2")}, 2: fmt.Errorf("x: %w", &UsageError{"bad"}),
		4: fmt.Errorf("x: %w", topology.ErrEnvironment), 5: fmt.Errorf("x: %w", ErrNothingSelected), 70: errors.New("unforeseen"),
	} {
		if got := ExitOf(err); got != want {
			t.Errorf("%v exits with %d, not %d", err, got, want)
		}
	}
	for _, c := range [][3]int{{0, 3, 3}, {3, 1, 1}, {1, 3, 1}, {1, 70, 70}, {130, 1, 130}, {0, 0, 0}, {4, 1, 1}} {
		if got := worse(c[0], c[1]); got != c[2] {
			t.Errorf("worse(%d, %d) = %d, not %d", c[0], c[1], got, c[2])
		}
	}
}

func TestRunFolderNames(t *testing.T) {
	out := t.TempDir()
	now := time.Date(2026, 11, 21, 3, 4, 5, 0, time.UTC)
	first, err := makeFolder(out, "Tokyo is lost, 東京!", now)
	if err != nil || filepath.Base(first) != "20261121-030405-tokyo-is-lost" {
		t.Fatal(first, err)
	}
	second, err := makeFolder(out, "Tokyo is lost", now)
	if err != nil || second == first {
		t.Errorf("two runs of one second share %s (%v)", second, err)
	}
	if s := slug("切替"); s != "drill" {
		t.Errorf("slug of a name without letters: %q", s)
	}
	for _, f := range []string{first, second} {
		if err := pointLatest(out, f); err != nil {
			t.Fatal(err)
		}
		if to, err := os.Readlink(filepath.Join(out, "latest")); err != nil || to != filepath.Base(f) {
			t.Errorf("latest leads to %q, %v", to, err)
		}
	}
}

func TestQuietReads(t *testing.T) {
	row := func(keys ...string) *history.Stores {
		s := history.Stores{Ledger: &history.LedgerRows{T: history.Monotonic{}.Now()}, Journal: &history.JournalRows{}}
		for _, k := range keys {
			s.Ledger.Payments = append(s.Ledger.Payments, history.PaymentRow{Key: k, State: "DONE"})
			s.Journal.Events = append(s.Journal.Events, history.EventRow{Key: k})
		}
		return &s
	}
	reads := 0
	d := &Drill{}
	err := d.readQuiet(context.Background(), func(context.Context) (*history.Stores, error) {
		reads++
		if reads == 1 {
			return row("a"), nil
		}
		return row("a", "b"), nil
	})
	q := d.evidence.Quiescence
	if err != nil || !q.Agreed || q.Reads != 3 || q.Apart.D() < apart {
		t.Errorf("%+v, %v: the first two reads differ, the third agrees with the second", q, err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	d, n := &Drill{}, 0
	err = d.readQuiet(ctx, func(context.Context) (*history.Stores, error) {
		n++
		return row(fmt.Sprint(n)), nil
	})
	if err != nil || d.evidence.Quiescence.Agreed {
		t.Errorf("%+v, %v: reads that never agree are no quiescence", d.evidence.Quiescence, err)
	}

	// A store that cannot be read is evidence of nothing, and no reason to stop; a drill that is interrupted is one.
	unreadable := func(context.Context) (*history.Stores, error) { return nil, errors.New("no quorum") }
	d = &Drill{}
	err = d.readQuiet(context.Background(), unreadable)
	if q := d.evidence.Quiescence; err != nil || q.Agreed || q.Reads != 0 || q.Why != "no quorum" || d.evidence.Ledger != nil {
		t.Errorf("%+v, %v", q, err)
	}
	gone, end := context.WithCancel(context.Background())
	end()
	if err := d.readQuiet(gone, unreadable); err == nil {
		t.Error("an interrupted drill went on")
	}
}

func TestTally(t *testing.T) {
	var all tally
	s := Scenario{Feature: "features/a.feature", Line: 3, Name: "n"}
	failed := check.Conclude(check.NameDropped, "3 dropped", true, nil, nil)
	d := &Drill{ran: true, judged: &check.Drill{Verdict: check.Fail, Results: []check.Result{failed}}}
	d.meta.Expectation = &history.Expectation{Verdict: "FAIL", Check: check.NameDropped}
	all.add(s, d, ExitPassed)
	gate := check.Conclude(check.NameGate, "7 of 8", false, nil, nil)
	gate.Numbers = map[string]check.Interval{check.GatePlanted: {Lower: 8, Upper: 8}, check.GateRefused: {Lower: 7, Upper: 7}}
	all.add(s, &Drill{judged: &check.Drill{Results: []check.Result{gate}}}, ExitPassed)
	undecided := &check.Drill{Verdict: check.Inconclusive, Interrupted: "the world is gone", Results: []check.Result{
		check.Undecided(check.NameSane, "noise"), check.Conclude(check.NameConservation, "conserved", false, []check.Counter{{Name: "snapshots", Have: 1, Need: 1}}, nil)}}
	all.add(s, &Drill{ran: true, judged: undecided}, ExitEnvironment)
	all.add(s, &Drill{ran: true, judged: &check.Drill{Verdict: check.Pass}}, ExitPassed)
	table := all.table()
	for _, want := range []string{
		`as expected      features/a.feature:3  n: FAIL by "dropped"`, "not executed     features/a.feature:3", "NOT as expected  features/a.feature:3",
		"drills: 2 passed, 1 failed, 1 skipped", "gate violations 7 of 8 refused by name",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	last := strings.Join(lines[len(lines)-4:len(lines)-1], "\n")
	if want := "NOT as expected  features/a.feature:3  n: INCONCLUSIVE (exit 4)\n    interrupted: the world is gone\n    INCONCLUSIVE " + check.NameSane + ": noise"; last != want {
		t.Errorf("the end of a tally is\n%s\nnot\n%s", last, want)
	}
}

// TestNotJudged: a sentence that no judge stands behind fails.
func TestNotJudged(t *testing.T) {
	d := &Drill{}
	if err := d.chargedOnce(); !errors.Is(err, errNotJudged) {
		t.Error(err)
	}
	d.judged = &check.Drill{}
	if err := d.chargedOnce(); err == nil || !strings.Contains(err.Error(), "was not judged") {
		t.Error(err)
	}
	d.judged.Results = []check.Result{check.Undecided(check.NameDoubleCharge, "no log")}
	if err := d.chargedOnce(); err == nil || !strings.Contains(err.Error(), "INCONCLUSIVE") {
		t.Error(err)
	}
}

// TestPromiseThatIsToBeBroken: the promise by which a scenario says that its drill must fail does not fail the sentence that states
// it; any other does.
func TestPromiseThatIsToBeBroken(t *testing.T) {
	broken := check.Conclude(check.NameEndFacts, "1 of 79 facts differ", true, []check.Counter{{Name: "facts", Have: 79, Need: 10}}, nil)
	d := &Drill{judged: &check.Drill{Verdict: check.Fail, Results: []check.Result{broken}}}
	if err := d.endFacts(""); err == nil {
		t.Error("a broken promise passed")
	}
	d.meta.Expectation = &history.Expectation{Verdict: "FAIL", Check: check.NamePlanned}
	if err := d.endFacts(""); err == nil {
		t.Error("a broken promise passed: another one was to be broken")
	}
	d.meta.Expectation.Check = check.NameEndFacts
	if err := d.endFacts(""); err != nil {
		t.Error(err)
	}
	if err := d.outDuring("", ""); err == nil {
		t.Error("a promise that nobody judged passed")
	}
}

// TestAnswered counts over a whole second only: the first readings say nothing.
func TestAnswered(t *testing.T) {
	var a answered
	began := time.Now()
	for _, c := range []struct {
		after time.Duration
		n     int
		want  int
	}{{0, 100, 0}, {500 * time.Millisecond, 130, 0}, {999 * time.Millisecond, 150, 0}, {time.Second, 150, 50},
		{1400 * time.Millisecond, 155, 55}, {1500 * time.Millisecond, 160, 30}, {2600 * time.Millisecond, 160, 0}, {3 * time.Second, 190, 30}} {
		if got := a.add(began.Add(c.after), c.n); got != c.want {
			t.Errorf("after %v: %d, want %d", c.after, got, c.want)
		}
	}
}
