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
		{"the person did it", []history.Entry{e(history.EntryWait, "8", true), e(history.EntryConfirm, "8", true)}, false},
		{"an operator came back since", []history.Entry{e(history.EntryWait, "8", true), e(history.EntryBegin, "", false)}, true},
	} {
		if got := waiting(c.journal); got != c.want {
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
	row := func(keys ...string) (l history.LedgerRows, j history.JournalRows) {
		l.T = history.Monotonic{}.Now()
		for _, k := range keys {
			l.Payments = append(l.Payments, history.PaymentRow{Key: k, State: "DONE"})
			j.Events = append(j.Events, history.EventRow{Key: k})
		}
		return l, j
	}
	reads := 0
	d := &Drill{}
	err := d.readQuiet(context.Background(), func(context.Context) (history.LedgerRows, history.JournalRows, error) {
		reads++
		if reads == 1 {
			l, j := row("a")
			return l, j, nil
		}
		l, j := row("a", "b")
		return l, j, nil
	})
	q := d.evidence.Quiescence
	if err != nil || !q.Agreed || q.Reads != 3 || q.Apart.D() < apart {
		t.Errorf("%+v, %v: the first two reads differ, the third agrees with the second", q, err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	d, n := &Drill{}, 0
	err = d.readQuiet(ctx, func(context.Context) (history.LedgerRows, history.JournalRows, error) {
		n++
		l, j := row(fmt.Sprint(n))
		return l, j, nil
	})
	if err != nil || d.evidence.Quiescence.Agreed {
		t.Errorf("%+v, %v: reads that never agree are no quiescence", d.evidence.Quiescence, err)
	}
}

func TestTally(t *testing.T) {
	var all tally
	s := Scenario{Feature: "features/a.feature", Line: 3, Name: "n"}
	failed := check.Conclude(check.NameDropped, "3 dropped", true, nil, nil)
	d := &Drill{ran: true, judged: &check.Drill{Verdict: check.Fail, Results: []check.Result{failed}}}
	d.meta.Expectation = &history.Expectation{Verdict: "FAIL", Check: check.NameDropped}
	all.add(s, d, ExitPassed)
	all.add(s, &Drill{}, ExitPassed)
	all.add(s, &Drill{ran: true}, ExitEnvironment)
	table := all.table()
	for _, want := range []string{
		`as expected      features/a.feature:3  n: FAIL by "dropped"`, "not executed     features/a.feature:3", "NOT as expected  features/a.feature:3",
		"drills: 1 passed, 1 failed, 1 skipped",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
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
