package runbook

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

func TestRun(t *testing.T) {
	timeout := errors.New("no answer")
	for name, c := range map[string]struct {
		fakes  []*fake
		manual bool // the first step is
		budget time.Duration
		want   string
		err    string
	}{
		"undisturbed": {fakes: []*fake{{}, {}},
			want: "begin, note, intent 1, act 1, confirm 1, intent 2, act 2, confirm 2, end"},
		"already true": {fakes: []*fake{{on: true}, {}},
			want: "begin, note, already 1, intent 2, act 2, confirm 2, end"},
		"confirmed late": {fakes: []*fake{{late: 5}},
			want: "begin, note, intent 1, act 1, confirm 1, end"},
		"a note is on disk before the act goes on": {fakes: []*fake{{notes: true}},
			want: "begin, note, intent 1, note 1, act 1, confirm 1, end"},
		"preflight refuses all when one check fails": {fakes: []*fake{{}, {checkErr: errors.New("no lamp")}},
			want: "begin, refused", err: "preflight refused lamps, nothing was changed: check of step 2 (Light lamp 2): no lamp"},
		"the act fails": {fakes: []*fake{{broken: true, actErr: errors.New("fuse blown")}, {}},
			want: "begin, note, intent 1, act 1, failed 1", err: "lamps: step 1 (Light lamp 1): fuse blown; no later step was begun; to resume: run the same command again"},
		"the answer is lost, the act is not": {fakes: []*fake{{actErr: timeout}},
			want: "begin, note, intent 1, act 1, confirm 1, end"},
		"never confirmed": {fakes: []*fake{{stuck: true}, {}}, budget: 5 * time.Millisecond,
			want: "begin, note, intent 1, act 1, failed 1", err: "for lamp.light to be confirmed, until its budget of 5ms ended; last saw: the lamp stays dark"},
		"by hand": {fakes: []*fake{{person: true}, {}}, manual: true,
			want: "begin, note, wait 1, confirm 1, intent 2, act 2, confirm 2, end"},
		"nobody comes": {fakes: []*fake{{}, {}}, manual: true, budget: 5 * time.Millisecond,
			want: "begin, note, wait 1, failed 1", err: "last saw: the switch is off"},
	} {
		t.Run(name, bubble(func(t *testing.T) {
			path, rb := journal(t), book(c.fakes...)
			rb.Steps[0].Manual = c.manual
			if c.budget > 0 {
				rb.Steps[0].Budget = c.budget
			}
			err := operate(path, rb, Options{})
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if got := told(t, path); got != c.want {
				t.Errorf("journal\n got %s\nwant %s", got, c.want)
			}
			if c.manual && c.fakes[0].acts > 0 {
				t.Error("the operator acted where a person must")
			}
			if strings.HasPrefix(c.want, "begin, refused") && !errors.Is(err, ErrPreflight) {
				t.Errorf("%v is no ErrPreflight", err)
			}
		}))
	}
}

// Killed at every point of every step, once each; the operator that resumes ends with the same facts.
func TestKilledEverywhere(t *testing.T) {
	for _, step := range []string{"1", "2", "3"} {
		for _, point := range points {
			manual := step == "3"
			if manual && (point == AfterNote || point == AfterRecord) || point == AfterAsk {
				continue
			}
			t.Run(step+":"+string(point), func(t *testing.T) {
				path, fakes := journal(t), []*fake{{notes: true}, {notes: true}, {person: true}}
				rb := book(fakes...)
				rb.Steps[2].Manual = true
				if err := operate(path, rb, Options{Crash: Crash{step, point}}); err != errDied {
					t.Fatalf("it was not killed: %v", err)
				}
				if err := operate(path, rb, Options{}); err != nil {
					t.Fatal(err)
				}
				for i, f := range fakes {
					if !f.on {
						t.Errorf("lamp %d is dark", i+1)
					}
				}
				if got := told(t, path); !strings.HasSuffix(got, "end") || strings.Count(got, "begin") != 2 {
					t.Error(got)
				}
			})
		}
	}
}

func TestKilledAfterTheActAndResumed(t *testing.T) {
	path, fakes := journal(t), []*fake{{}, {}}
	if err := operate(path, book(fakes...), Options{Crash: Crash{"2", AfterAct}}); err != errDied {
		t.Fatal(err)
	}
	if err := operate(path, book(fakes...), Options{Who: "second"}); err != nil {
		t.Fatal(err)
	}
	want := "begin, note, intent 1, act 1, confirm 1, intent 2, begin, already 1, already 2, end"
	if got := told(t, path); got != want {
		t.Errorf("journal\n got %s\nwant %s", got, want)
	}
	if fakes[0].acts != 1 || fakes[1].acts != 1 {
		t.Errorf("acted %d and %d times", fakes[0].acts, fakes[1].acts)
	}
	j, _ := Open(path)
	defer j.Close()
	last := j.entries[len(j.entries)-2]
	if last.Attempt != 2 || last.Who != "second" || last.Verb != "lamp.light" || last.PID != os.Getpid() {
		t.Errorf("%+v", last)
	}
}

// A step that was undone after it was confirmed is done again, unless a later step replaced it on purpose.
func TestResumeConfirmsAgain(t *testing.T) {
	path, fakes := journal(t), []*fake{{writes: []string{"a"}}, {writes: []string{"b"}}, {writes: []string{"a"}}, {}}
	if err := operate(path, book(fakes...), Options{Crash: Crash{"4", BeforeIntent}}); err != errDied {
		t.Fatal(err)
	}
	fakes[0].on, fakes[1].on = false, false
	if err := operate(path, book(fakes...), Options{}); err != nil {
		t.Fatal(err)
	}
	want := "begin, intent 2, act 2, confirm 2, already 3, intent 4, act 4, confirm 4, end"
	if got := told(t, path); !strings.HasSuffix(got, want) {
		t.Errorf("journal\n got %s\nwant … %s", got, want)
	}
}

func TestAnotherPlan(t *testing.T) {
	path := journal(t)
	first, second := book(&fake{}, &fake{}), book(&fake{}, &fake{}, &fake{})
	bad := book(&fake{checkErr: errors.New("no lamp")})
	if err := operate(path, bad, Options{}); !errors.Is(err, ErrPreflight) {
		t.Fatal(err)
	}
	// Nothing was changed: the corrected plan may run.
	if err := operate(path, first, Options{Crash: Crash{"2", AfterIntent}, Who: "Aiko"}); err != errDied {
		t.Fatal(err)
	}
	before := told(t, path)
	err := operate(path, second, Options{})
	if !errors.Is(err, ErrOtherPlan) || !strings.Contains(err.Error(), "Aiko began lamps") || !strings.Contains(err.Error(), "did not get past step 2") {
		t.Fatalf("%v", err)
	}
	if after := told(t, path); after != before {
		t.Errorf("a refused operator wrote: %s", after)
	}
	if err := operate(path, first, Options{}); err != nil {
		t.Fatal(err)
	}
	// The first run has ended: another procedure may follow in the same journal, with a run name of its own.
	if err := operate(path, second, Options{}); err != nil {
		t.Fatal(err)
	}
	// The same procedure once more is a new run, as another one stands between.
	third := book(&fake{notes: true}, &fake{})
	if err := operate(path, third, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := told(t, path); !strings.HasSuffix(got, "end, begin, note, intent 1, note 1, act 1, confirm 1, intent 2, act 2, confirm 2, end") {
		t.Error(got)
	}
}

func TestRunKeepsItsName(t *testing.T) {
	path, seen := journal(t), map[string]int{}
	note := func(f *namer) Runbook {
		rb := book(&fake{})
		rb.Steps[0].Action = f
		return rb
	}
	n := &namer{names: seen}
	if err := operate(path, note(n), Options{Crash: Crash{"1", AfterAct}}); err != errDied {
		t.Fatal(err)
	}
	n.on = false
	if err := operate(path, note(n), Options{}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 1 {
		t.Errorf("one run has %d names: %v", len(seen), seen)
	}
	if err := operate(path, book(&fake{}, &fake{}), Options{}); err != nil { // another procedure
		t.Fatal(err)
	}
	n.on = false
	if err := operate(path, note(n), Options{}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 {
		t.Errorf("two runs have %d names: %v", len(seen), seen)
	}
}

type namer struct {
	fake
	names map[string]int
}

func (n *namer) Act(ctx context.Context, notes Notes) (Seen, error) {
	n.names[notes.Run()]++
	if n.acts == 0 && len(notes.All("k")) != 0 {
		return nil, errors.New("a first act finds notes")
	}
	if n.acts == 1 && len(notes.All("k")) != 1 {
		return nil, errors.New("a second act does not find the first one's note")
	}
	if err := notes.Note(Seen{"k": n.acts}); err != nil {
		return nil, err
	}
	return n.fake.Act(ctx, notes)
}

// An operator that was stopped between its intent and its act finds, when it wakes, that another one has taken over.
func TestStoppedOperatorDoesNotAct(t *testing.T) {
	for name, meanwhile := range map[string]func(path string) error{
		"another file took its place": func(path string) error {
			if err := os.Rename(path, path+".old"); err != nil {
				return err
			}
			return os.WriteFile(path, nil, 0o644)
		},
		"the file was removed": os.Remove,
		"somebody appended": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("{}\n")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, f := journal(t), &fake{}
			err := operate(path, book(f), Options{Progress: func(ev Event) {
				if ev.Kind == history.EntryIntent {
					if err := meanwhile(path); err != nil {
						t.Fatal(err)
					}
				}
			}})
			if !errors.Is(err, ErrJournalLost) {
				t.Errorf("error %v", err)
			}
			if f.acts > 0 {
				t.Error("it acted")
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	path, f := journal(t), &fake{stuck: true}
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	err = Run(ctx, book(f), j, Options{Poll: time.Microsecond, Progress: func(ev Event) {
		if ev.Kind == history.EntryAct {
			cancel(errors.New("Ctrl-C"))
		}
	}})
	j.Close()
	if err == nil || !strings.Contains(err.Error(), "until Ctrl-C") {
		t.Fatal(err)
	}
	if got := told(t, path); got != "begin, note, intent 1, act 1, stopped 1" {
		t.Error(got)
	}
}

func TestInterruptedBetweenSteps(t *testing.T) {
	path, first, second := journal(t), &fake{}, &fake{}
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	interrupt := errors.New("Ctrl-C")
	err = Run(ctx, book(first, second), j, Options{Progress: func(ev Event) {
		if ev.Kind == history.EntryConfirm {
			cancel(interrupt)
		}
	}})
	j.Close()
	if !errors.Is(err, interrupt) || !strings.Contains(err.Error(), "step 2 (Light lamp 2): not begun") {
		t.Error(err)
	}
	if got := told(t, path); got != "begin, note, intent 1, act 1, confirm 1" || second.asked > 0 {
		t.Error(got)
	}
}

// An attempt is an operator process that tried the step, not one that was there.
func TestAttempts(t *testing.T) {
	p := past{}
	for _, w := range []string{"begin", "intent 1", "act 1", "begin", "begin", "already 1", "intent 2", "begin", "already 1"} {
		kind, step, _ := strings.Cut(w, " ")
		p.entries = append(p.entries, history.Entry{Kind: kind, Step: step})
	}
	for step, want := range map[string]int{"1": 2, "2": 1, "3": 0} {
		if got := p.tries(step, false); got != want {
			t.Errorf("step %s was tried by %d earlier operators, expected %d", step, got, want)
		}
	}
}

// A confirm that hangs is cut off, and asked again within the budget.
func TestHangingReadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := journal(t)
		rb := book(&fake{})
		rb.Steps[0].Action = &hanging{hangs: 2}
		if err := operate(path, rb, Options{Read: time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		if got := told(t, path); got != "begin, note, intent 1, act 1, confirm 1, end" {
			t.Error(got)
		}
		rb.Steps[0].Action, rb.Steps[0].Budget = &hanging{hangs: 1 << 30}, 20*time.Millisecond
		err := operate(journal(t), rb, Options{Read: time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), "budget of 20ms ended") {
			t.Error(err)
		}
	})
}

type hanging struct {
	fake
	hangs int
}

func (h *hanging) Confirm(ctx context.Context, n Notes) (Seen, error) {
	if h.hangs > 0 {
		h.hangs--
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return h.fake.Confirm(ctx, n)
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beats := 0
		rb := book(&fake{stuck: true})
		rb.Steps[0].Budget = 60 * time.Millisecond
		err := operate(journal(t), rb, Options{Beat: 5 * time.Millisecond, Poll: time.Millisecond, Progress: func(ev Event) {
			if ev.Kind == EventWaiting {
				beats++
				if ev.Err == nil || ev.Step.Path != "1" || !strings.Contains(ev.String(), "the lamp stays dark") {
					t.Errorf("%s", ev)
				}
			}
		}})
		if err == nil || beats == 0 {
			t.Errorf("%d beats, %v", beats, err)
		}
	})
}

func TestRefusedRunbooks(t *testing.T) {
	twice := book(&fake{}, &fake{})
	twice.Steps[1].Path = "1"
	endless := book(&fake{})
	endless.Steps[0].Budget = 0
	empty := book(&fake{})
	empty.Steps[0].Action = nil
	odd := book(&fake{})
	odd.Steps[0].Inputs = map[string]any{"f": func() {}}
	byHand := book(&fake{})
	byHand.Steps[0].Manual = true
	for name, c := range map[string]struct {
		rb    Runbook
		crash Crash
		want  string
	}{
		"no step":            {rb: book(), want: "lamps: it has no step"},
		"two of one number":  {rb: twice, want: "two steps 1"},
		"no budget":          {rb: endless, want: "step 1 has no time budget"},
		"no action":          {rb: empty, want: "step 1 has no action"},
		"inputs beyond JSON": {rb: odd, want: "inputs of step 1"},
		"crash of no step":   {rb: book(&fake{}), crash: Crash{"2.1", AfterAct}, want: `lamps has no step "2.1" (steps: 1)`},
		"crash of a person":  {rb: byHand, crash: Crash{"1", AfterRecord}, want: "step 1 is manual and has no point after-record"},
	} {
		t.Run(name, func(t *testing.T) {
			path := journal(t)
			err := operate(path, c.rb, Options{Crash: c.crash})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if got := told(t, path); got != "" {
				t.Errorf("it wrote %s", got)
			}
		})
	}
}

func TestParseCrash(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Crash
		ok   bool
	}{
		{"", Crash{}, true},
		{"2:after-act", Crash{"2", AfterAct}, true},
		{"4.1:before-intent", Crash{"4.1", BeforeIntent}, true},
		{"2", Crash{}, false},
		{":after-act", Crash{}, false},
		{"2:after", Crash{}, false},
	} {
		got, err := ParseCrash(c.in)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %v, %v", c.in, got, err)
		}
	}
}

func TestDigest(t *testing.T) {
	base := book(&fake{}, &fake{})
	if base.Digest() != book(&fake{on: true}, &fake{}).Digest() {
		t.Error("the digest is of the plan, not of the world")
	}
	for name, change := range map[string]func(*Runbook){
		"name":     func(r *Runbook) { r.Name = "x" },
		"inputs":   func(r *Runbook) { r.Inputs = map[string]any{"floor": "2"} },
		"title":    func(r *Runbook) { r.Steps[1].Title.JA = "x" },
		"resource": func(r *Runbook) { r.Steps[1].Resource = "x" },
		"verb":     func(r *Runbook) { r.Steps[1].Verb = "x" },
		"input":    func(r *Runbook) { r.Steps[1].Inputs = map[string]any{"lamp": 3} },
		"budget":   func(r *Runbook) { r.Steps[1].Budget++ },
		"manual":   func(r *Runbook) { r.Steps[1].Manual = true },
		"order":    func(r *Runbook) { r.Steps[0], r.Steps[1] = r.Steps[1], r.Steps[0] },
		"number":   func(r *Runbook) { r.Steps[1].Path = "3" },
	} {
		rb := book(&fake{}, &fake{})
		change(&rb)
		if rb.Digest() == base.Digest() {
			t.Errorf("another %s is the same plan", name)
		}
	}
}

func TestPlan(t *testing.T) {
	rb := book(&fake{}, &fake{})
	rb.Steps[1].Manual = true
	rb.Steps[1].Path = "2.1"
	rb.Steps[1].Under = []Call{{Path: "2", Title: Title{"灯", "Lamps"}, Resource: "house", File: "lower.yaml"}}
	rb.Steps[1].Inputs = map[string]any{"list": []any{"a", int64(1)}, "table": map[string]any{"b": "2", "a": true}}
	want := `点灯 / Light the lamps
procedure lamps · 2 steps · plan ` + rb.Digest()[:12] + `
inputs    floor=1

1     Light lamp 1
      lamp · lamp.light lamp=1 · within 1m0s

2     灯 / Lamps
      house · calls lower.yaml
2.1   Light lamp 2
      lamp · lamp.light list=[a 1] table={a=true b=2} · by hand: waits up to 1m0s for a person
`
	if got := Plan(rb); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRunFolderReadsTheJournal(t *testing.T) {
	folder := t.TempDir()
	if err := history.WriteJSON(filepath.Join(folder, history.MetaFile), history.Meta{Schema: history.SchemaVersion}); err != nil {
		t.Fatal(err)
	}
	if err := operate(filepath.Join(folder, history.JournalFile), book(&fake{}), Options{}); err != nil {
		t.Fatal(err)
	}
	run, err := history.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	if got := words(run.Journal); got != "begin, note, intent 1, act 1, confirm 1, end" {
		t.Error(got)
	}
	if e := run.Journal[2]; e.Budget.D() != time.Minute || e.T == 0 || e.Who != "tester" {
		t.Errorf("%+v", e)
	}
}
