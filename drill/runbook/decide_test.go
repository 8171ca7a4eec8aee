package runbook

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// planned is a planned switchover of three lamps; the second one commits. taken are the switches of the undo of the first.
func planned(taken *fake, fakes ...*fake) Runbook {
	rb := book(fakes...)
	rb.Kind = Planned
	rb.Steps[0].Undo = &Undo{Verb: "lamp.restore", Budget: time.Minute, Action: taken}
	rb.Steps[1].Commits = true
	return rb
}

func TestTakenBack(t *testing.T) {
	broken := func() *fake { return &fake{broken: true, actErr: errors.New("fuse blown")} }
	for name, c := range map[string]struct {
		taken *fake
		fakes []*fake
		want  string
		err   string
	}{
		"a failure before the point of commitment": {&fake{}, []*fake{broken(), {}, {}},
			"begin, note, intent 1, act 1, failed 1, abort, undo-intent 1, undo-act 1, undo-confirm 1, undone",
			"lamps was aborted before its point of commitment, everything is as it was: step 1 (Light lamp 1): fuse blown"},
		"once the point of commitment is announced, only forward": {&fake{}, []*fake{{on: true}, {stuck: true}, {}},
			"begin, note, already 1, intent 2, act 2, failed 2", "the lamp stays dark"},
		"the check of the step that commits": {&fake{}, []*fake{{}, {checkErr: errors.New("late"), checkAfter: 1}, {}},
			"begin, note, intent 1, act 1, confirm 1, failed 2, abort, undo-intent 1, undo-act 1, undo-confirm 1, undone", "step 2 (Light lamp 2): check: late"},
		"what was found done is not taken back": {&fake{}, []*fake{{on: true}, {checkErr: errors.New("late"), checkAfter: 1}, {}},
			"begin, note, already 1, failed 2, abort, undone", "step 2 (Light lamp 2): check: late"},
		"after it only forward": {&fake{}, []*fake{{}, {}, broken()},
			"begin, note, intent 1, act 1, confirm 1, intent 2, act 2, confirm 2, intent 3, act 3, failed 3", "no later step was begun"},
		"an undo that fails": {broken(), []*fake{broken(), {}, {}},
			"begin, note, intent 1, act 1, failed 1, abort, undo-intent 1, undo-act 1, undo-failed 1", "lamps: undo of step 1 (Light lamp 1): fuse blown; earlier steps are not taken back yet"},
		"an undo that cannot be made is found before anything is changed": {&fake{checkErr: errors.New("no ladder")}, []*fake{{}, {}, {}},
			"begin, refused", "check of undo of step 1 (Light lamp 1): no ladder"},
	} {
		t.Run(name, bubble(func(t *testing.T) {
			path, rb := journal(t), planned(c.taken, c.fakes...)
			rb.Steps[1].Budget = 20 * time.Millisecond
			err := operate(path, rb, Options{})
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if got := told(t, path); got != c.want {
				t.Errorf("journal\n got %s\nwant %s", got, c.want)
			}
		}))
	}
}

// Killed at every point of an undo, another operator goes on taking the run back, and never forward again.
func TestKilledWhileTakingBack(t *testing.T) {
	for _, point := range points {
		if point == AfterAsk {
			continue
		}
		t.Run(string(point), func(t *testing.T) {
			path, taken := journal(t), &fake{notes: true}
			first, second := &fake{broken: true, actErr: errors.New("fuse blown")}, &fake{}
			rb := planned(taken, first, second, &fake{})
			crash, err := ParseCrash("1:undo-" + string(point))
			if err != nil {
				t.Fatal(err)
			}
			if err := operate(path, rb, Options{Crash: crash}); err != errDied {
				t.Fatalf("it was not killed: %v", err)
			}
			first.broken, first.actErr = false, nil // the lamp would light now, and nobody tries it any more
			err = operate(path, rb, Options{})
			var aborted *AbortedError
			if !errors.As(err, &aborted) || aborted.Asked || !taken.on || first.acts != 1 || second.acts > 0 {
				t.Fatalf("%v; lamp lit %d times", err, first.acts)
			}
			if got := told(t, path); strings.Count(got, "abort") != 1 || !strings.HasSuffix(got, "undone") {
				t.Error(got)
			}
			// The same command once more is another run.
			if err := operate(path, rb, Options{}); err != nil {
				t.Fatal(err)
			}
			if got := told(t, path); !strings.HasSuffix(got, "undone, begin, note, intent 1, act 1, confirm 1, intent 2, act 2, confirm 2, intent 3, act 3, confirm 3, end") {
				t.Error(got)
			}
		})
	}
}

// The operator dies right after the failure is recorded, before anybody wrote that the run is taken back: it is.
func TestAFailureAloneDecides(t *testing.T) {
	path, taken, first := journal(t), &fake{}, &fake{broken: true, actErr: errors.New("fuse blown")}
	rb := planned(taken, first, &fake{}, &fake{})
	if err := operate(path, rb, Options{}); err == nil {
		t.Fatal("it went well")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := strings.Index(string(b), `"kind":"abort"`)
	cut = strings.LastIndexByte(string(b)[:cut], '\n') + 1
	if err := os.Truncate(path, int64(cut)); err != nil {
		t.Fatal(err)
	}
	taken.on, first.broken, first.actErr = false, false, nil
	err = operate(path, rb, Options{})
	if got := told(t, path); !errors.As(err, new(*AbortedError)) || !strings.HasSuffix(got, "failed 1, begin, abort, undo-intent 1, undo-act 1, undo-confirm 1, undone") {
		t.Errorf("%v\n%s", err, got)
	}
}

// What two steps set is given back in reverse; the undo of the later one is not made again once the earlier one's was begun.
func TestUndosReplaceEachOther(t *testing.T) {
	path := journal(t)
	one, two := &fake{writes: []string{"a"}}, &fake{writes: []string{"a"}}
	rb := book(&fake{}, &fake{}, &fake{checkErr: errors.New("late"), checkAfter: 1})
	rb.Kind, rb.Steps[2].Commits = Planned, true
	rb.Steps[0].Undo = &Undo{Verb: "one", Budget: time.Minute, Action: one}
	rb.Steps[1].Undo = &Undo{Verb: "two", Budget: time.Minute, Action: two}
	if err := operate(path, rb, Options{Crash: Crash{"1", "undo-after-record"}}); err != errDied {
		t.Fatal(err)
	}
	two.on = false // as the undo of step 1 leaves it
	err := operate(path, rb, Options{})
	if got := told(t, path); !errors.As(err, new(*AbortedError)) || !strings.HasSuffix(got, "undo-act 1, begin, undo-already 1, undone") || two.acts != 1 {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestAbort(t *testing.T) {
	path, taken := journal(t), &fake{}
	rb := planned(taken, &fake{}, &fake{}, &fake{})
	if err := operate(path, rb, Options{Abort: "too late today"}); !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), "nothing to take back") {
		t.Errorf("nothing was begun: %v", err)
	}
	if err := operate(path, rb, Options{Crash: Crash{"2", BeforeIntent}}); err != errDied {
		t.Fatal(err)
	}
	err := operate(path, rb, Options{Abort: "too late today", Who: "Aiko"})
	var aborted *AbortedError
	if !errors.As(err, &aborted) || !aborted.Asked || aborted.Why != "too late today" || !taken.on {
		t.Fatalf("%v", err)
	}
	if got := told(t, path); !strings.HasSuffix(got, "confirm 1, begin, abort, undo-intent 1, undo-act 1, undo-confirm 1, undone") {
		t.Error(got)
	}
	// Not after the point of commitment, and not what only goes forward.
	taken.on = false
	if err := operate(path, rb, Options{Crash: Crash{"2", AfterIntent}}); err != errDied {
		t.Fatal(err)
	}
	if err := operate(path, rb, Options{Abort: "no"}); !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), "has passed its point of commitment") {
		t.Errorf("%v", err)
	}
	if err := operate(journal(t), book(&fake{}), Options{Abort: "no"}); !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), "is no planned switchover") {
		t.Errorf("%v", err)
	}
}

func TestSkipAndRetry(t *testing.T) {
	path, fakes := journal(t), []*fake{{}, {broken: true, actErr: errors.New("fuse blown")}, {}}
	rb := book(fakes...)
	if err := operate(path, rb, Options{}); err == nil {
		t.Fatal("it went well")
	}
	if err := operate(path, rb, Options{}); err == nil { // the same command tries it again, and says so
		t.Fatal("it went well")
	}
	var said []string
	o := Options{Who: "Aiko", Skip: []Decision{{"2", "lit by hand"}}, Crash: Crash{"3", BeforeIntent}, Progress: func(e Event) { said = append(said, e.String()) }}
	if err := operate(path, rb, o); err != errDied {
		t.Fatal(err)
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "skip      2    Light lamp 2: lit by hand") || !strings.Contains(all, "skipped   2    Light lamp 2: Aiko: lit by hand") {
		t.Error(all)
	}
	o.Crash = Crash{}
	if err := operate(path, rb, o); err != nil { // the same command, and another operator without the flag, pass it over alike
		t.Fatal(err)
	}
	if err := operate(path, rb, Options{}); err != nil {
		t.Fatal(err)
	}
	want := "begin, note, intent 1, act 1, confirm 1, intent 2, act 2, failed 2, begin, already 1, retry 2, intent 2, act 2, failed 2, " +
		"begin, skip 2, already 1, begin, already 1, intent 3, act 3, confirm 3, end, begin, already 1, already 3, end"
	if got := told(t, path); got != want {
		t.Errorf("journal\n got %s\nwant %s", got, want)
	}
	fakes[1].broken, fakes[1].actErr = false, nil
	if err := operate(path, rb, Options{Retry: []Decision{{"2", "the fuse is new"}}}); err != nil || !fakes[1].on {
		t.Errorf("%v", err)
	}
	before := told(t, path)
	for why, o := range map[string]Options{
		`lamps has no step "7" (steps: 1, 2, 3)`: {Skip: []Decision{{"7", "x"}}},
		"step 1: say why":                        {Skip: []Decision{{"1", " "}}},
		"step 1 is not skipped":                  {Retry: []Decision{{"1", "x"}}},
	} {
		if err := operate(path, rb, o); !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %s", err, why)
		}
	}
	if after := told(t, path); after != before {
		t.Errorf("refused, and it wrote: %s", after)
	}
	commits := planned(&fake{}, &fake{}, &fake{}, &fake{})
	commits.Steps[2].Approval = time.Minute
	for step, why := range map[string]string{"2": "is the point of commitment and cannot be skipped", "3": "needs an approval and cannot be skipped"} {
		if err := operate(journal(t), commits, Options{Skip: []Decision{{step, "x"}}}); !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %s", err, why)
		}
	}
}

// keys of three people, by name.
func people(names ...string) (map[string]ed25519.PrivateKey, map[string]ed25519.PublicKey) {
	private, public := map[string]ed25519.PrivateKey{}, map[string]ed25519.PublicKey{}
	for i, name := range names {
		private[name] = ed25519.NewKeyFromSeed([]byte(strings.Repeat(fmt.Sprint(i), ed25519.SeedSize)))
		public[name] = private[name].Public().(ed25519.PublicKey)
	}
	return private, public
}

func TestApproval(t *testing.T) {
	private, public := people("Aiko", "Ben", "Carl")
	listed := map[string]ed25519.PublicKey{"Aiko": public["Aiko"], "Ben": public["Ben"]}
	path, f := journal(t), &fake{}
	folder := filepath.Dir(path)
	inbox := FolderInbox{Folder: folder}
	rb := book(f)
	rb.Steps[0].Approval = time.Minute
	now := history.Monotonic{}.Now()
	signed := func(by, key string, change func(*history.Approval)) Request {
		s, ok := StatusOf(entriesOf(t, path))
		if !ok {
			t.Fatal("nobody has begun")
		}
		a := history.Approval{Digest: s.Digest, Run: s.Run, Step: "1", By: by, Boot: history.BootID(), Expires: now.Add(time.Hour)}
		if change != nil {
			change(&a)
		}
		a.Sign(private[key])
		return Request{Kind: history.EntryApproved, Run: s.Run, Who: by, Approval: &a}
	}
	send := func(r Request) {
		if _, err := inbox.Send(r); err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	first := true
	err := operate(path, rb, Options{Who: "Aiko", Key: public["Aiko"], Approvers: listed, Inbox: inbox, Clock: history.Monotonic{}, Progress: func(e Event) {
		if e.Kind == history.EntryRejected {
			told = append(told, e.Err.Error())
		}
		if e.Kind != history.EntryAsk || !first {
			return
		}
		first = false
		if s, _ := StatusOf(entriesOf(t, path)); len(s.Asking) != 1 || s.Asking[0] != "1" || s.Approvers["Ben"] == "" {
			t.Errorf("%+v", s)
		}
		send(signed("Aiko", "Aiko", nil))
		send(signed("Carl", "Carl", nil))
		send(signed("Ben", "Carl", nil))
		send(signed("Ben", "Ben", func(a *history.Approval) { a.Digest = strings.Repeat("0", 64) }))
		send(signed("Ben", "Ben", func(a *history.Approval) { a.Run = "other" }))
		send(signed("Ben", "Ben", func(a *history.Approval) { a.Boot = "other" }))
		send(signed("Ben", "Ben", func(a *history.Approval) { a.Expires = now }))
		send(Request{Kind: history.EntryApproved, Who: "Ben"})
		send(Request{Kind: "dance", Who: "Ben"})
		if err := os.WriteFile(filepath.Join(folder, RequestsFolder, "99999999999999999999-torn.json"), []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		send(signed("Ben", "Ben", func(a *history.Approval) { a.Step = "2" })) // another step's: it is nobody's business here
		send(signed("Ben", "Ben", nil))
		send(signed("Ben", "Ben", nil)) // the same once more: ed25519 signs alike
	}})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(told, "\n")
	for _, want := range []string{
		"approval of Aiko: Aiko operates this run, and nobody approves what he asks for himself",
		"approval of Carl: Carl is not among the approvers",
		"approval of Ben: the signature is not that of Ben",
		"approval of Ben: it is for the plan 000000000000",
		"approval of Ben: it is for the run other",
		"approval of Ben: it was signed before this machine was started",
		"approval of Ben: it expired ",
		"approval of Ben: there is no approval in it",
		`request to`,
		"it cannot be read",
		"approval of Ben: it was presented before",
	} {
		if want == "request to" {
			want = `nobody knows the request "dance"`
		}
		if !strings.Contains(all, want) {
			t.Errorf("missing %q in\n%s", want, all)
		}
	}
	if len(told) != 11 || f.acts != 1 {
		t.Errorf("%d refused, %d acts", len(told), f.acts)
	}
	// What was answered is not answered again, and what was approved is still approved when the step has to be done again.
	before := len(entriesOf(t, path))
	f.on = false
	if err := operate(path, rb, Options{Who: "Aiko", Key: public["Aiko"], Approvers: listed, Inbox: inbox, Clock: history.Monotonic{}}); err != nil {
		t.Fatal(err)
	}
	if got := words(entriesOf(t, path)[before:]); got != "begin, intent 1, act 1, confirm 1, end" {
		t.Error(got)
	}
}

// Whoever goes on with a run is told from whoever approves it: without a key nobody goes on, and an approver who comes to operate it
// cannot act on his own word.
func TestApprovalOfAResumedRun(t *testing.T) {
	private, public := people("Aiko", "Ben", "Chief")
	listed := map[string]ed25519.PublicKey{"Ben": public["Ben"], "Chief": public["Chief"]}
	path, fakes := journal(t), []*fake{{}, {}}
	inbox := FolderInbox{Folder: filepath.Dir(path)}
	rb := book(fakes...)
	rb.Steps[1].Approval = time.Minute
	now := history.Monotonic{}.Now()
	by := func(name string, lasts time.Duration) func(Event) {
		return func(e Event) {
			if e.Kind != history.EntryAsk {
				return
			}
			s, _ := StatusOf(entriesOf(t, path))
			a := history.Approval{Digest: s.Digest, Run: s.Run, Step: "2", By: name, Boot: history.BootID(), Expires: now.Add(lasts)}
			a.Sign(private[name])
			if _, err := inbox.Send(Request{Kind: history.EntryApproved, Run: s.Run, Who: name, Approval: &a}); err != nil {
				t.Error(err)
			}
		}
	}
	o := Options{Approvers: listed, Inbox: inbox, Clock: history.Monotonic{}}
	with := func(who string, key ed25519.PublicKey, progress func(Event), crash Crash) Options {
		o := o
		o.Who, o.Key, o.Progress, o.Crash = who, key, progress, crash
		return o
	}
	if err := operate(path, rb, with("Aiko", public["Aiko"], by("Ben", 2*time.Hour), Crash{"2", BeforeIntent})); err != errDied {
		t.Fatal(err)
	}
	before := len(entriesOf(t, path))
	err := operate(path, rb, with("Dora", nil, nil, Crash{}))
	if !errors.Is(err, ErrPreflight) || !strings.Contains(err.Error(), "has shown no key") || len(entriesOf(t, path)) != before {
		t.Errorf("without a key: %v, and %d new entries", err, len(entriesOf(t, path))-before)
	}
	if err := operate(path, rb, with("Ben", public["Ben"], by("Chief", time.Hour), Crash{})); err != nil {
		t.Fatal(err)
	}
	if got, want := words(entriesOf(t, path)[before:]), "begin, already 1, ask 2, approved 2, intent 2, act 2, confirm 2, end"; got != want {
		t.Errorf("journal\n got %s\nwant %s", got, want)
	}
}

func entriesOf(t testing.TB, path string) []history.Entry {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// A plan that nobody could approve is refused before anything is changed; one that nobody approves fails without having acted.
func TestNobodyApproves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, public := people("Aiko", "Ben")
		for want, o := range map[string]Options{
			"the operator has shown no key": {Who: "Aiko", Approvers: public},
			"of 0 approvers nobody":         {Who: "Aiko", Key: public["Aiko"]},
			"of 1 approvers nobody":         {Who: "Aiko", Key: public["Ben"], Approvers: map[string]ed25519.PublicKey{"Ben": public["Ben"]}},
			"nobody has approved it":        {Who: "Aiko", Key: public["Aiko"], Approvers: public},
		} {
			f := &fake{}
			rb := book(f)
			rb.Steps[0].Approval = 20 * time.Millisecond
			if err := operate(journal(t), rb, o); err == nil || !strings.Contains(err.Error(), want) || f.acts > 0 {
				t.Errorf("%v, want %s; %d acts", err, want, f.acts)
			}
		}
	})
}

// A pause lets the running step end; it outlives the operator, and ends when somebody says so.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, fakes := journal(t), []*fake{{}, {}}
		inbox := FolderInbox{Folder: filepath.Dir(path)}
		send := func(kind, run string) {
			if run == "" {
				s, _ := StatusOf(entriesOf(t, path))
				run = s.Run
			}
			if _, err := inbox.Send(Request{Kind: kind, Run: run, Who: "Ben", Why: "lunch"}); err != nil {
				t.Fatal(err)
			}
		}
		o := Options{Inbox: inbox, Clock: history.Monotonic{}, Pause: 30 * time.Millisecond, Progress: func(e Event) {
			if e.Kind == history.EntryIntent && e.Step.Path == "1" {
				send(history.EntryPause, "")
				send(history.EntryPause, "")
				send(history.EntryContinue, "of another run")
			}
		}}
		err := operate(path, book(fakes...), o)
		if err == nil || !strings.Contains(err.Error(), "the longest pause of 30ms ended; last saw: paused by Ben: lunch") || fakes[1].acts > 0 {
			t.Fatalf("%v", err)
		}
		if s, _ := StatusOf(entriesOf(t, path)); !s.Paused || s.Ended {
			t.Errorf("%+v", s)
		}
		asked := false
		o.Pause, o.Beat, o.Progress = 0, time.Millisecond, func(e Event) {
			if e.Kind == EventWaiting && e.Err != nil {
				if e.Err.Error() != "paused by Ben: lunch" {
					t.Error(e.Err)
				}
				if !asked {
					asked = true
					send(history.EntryContinue, "")
				}
			}
		}
		if err := operate(path, book(fakes...), o); err != nil {
			t.Fatal(err)
		}
		got := told(t, path)
		if !strings.HasPrefix(got, "begin, note, intent 1, act 1, confirm 1, pause, rejected, rejected, begin, continue, already 1, ") || !strings.HasSuffix(got, "intent 2, act 2, confirm 2, end") {
			t.Error(got)
		}
	})
}

// An inbox that cannot be read does not stop a switchover.
func TestBrokenInbox(t *testing.T) {
	warned := false
	err := operate(journal(t), book(&fake{}), Options{Inbox: noInbox{}, Progress: func(e Event) { warned = warned || e.Kind == EventWarning }})
	if err != nil || !warned {
		t.Errorf("%v, warned %v", err, warned)
	}
}

type noInbox struct{}

func (noInbox) Requests() ([]Request, error) { return nil, errors.New("no such disk") }

func TestDryRun(t *testing.T) {
	path, fakes := journal(t), []*fake{{on: true}, {}, {checkErr: errors.New("no socket")}, {person: true}, {}}
	rb := book(fakes...)
	rb.Steps[3].Manual, rb.Steps[4].Approval = true, time.Minute
	var said []string
	err := DryRun(t.Context(), rb, nil, Options{Progress: func(e Event) { said = append(said, strings.TrimSpace(e.Kind+" "+e.Step.Path+" "+e.Says)) }})
	if err == nil || err.Error() != "step 3 (Light lamp 3): check: no socket" {
		t.Errorf("%v", err)
	}
	want := []string{"holds 1 as far as can be read", "would 2 lamp.light lamp=2", "fails 3", "waits 4 up to 1m0s for a person, until this is so: the switch is off",
		"would 5 after an approval (waits up to 1m0s): lamp.light lamp=5"}
	if strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	for i, f := range fakes {
		if f.acts > 0 {
			t.Errorf("lamp %d was lit", i+1)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dry run left a journal: %v", err)
	}
	// In the middle of a run it goes by the journal, and leaves it as it is.
	rb = book(&fake{writes: []string{"a"}}, &fake{}, &fake{writes: []string{"a"}})
	if err := operate(path, rb, Options{Skip: []Decision{{"2", "broken"}}, Crash: Crash{"3", AfterIntent}}); err != errDied {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(path)
	said = nil
	if err := DryRun(t.Context(), rb, entriesOf(t, path), Options{Progress: func(e Event) { said = append(said, e.Kind+" "+e.Step.Path+" "+e.Says) }}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(said, ", "); got != "pass 1 step 3 has replaced what it sets, pass 2 skipped by tester: broken, would 3 lamp.light lamp=3" {
		t.Error(got)
	}
	if after, _ := os.ReadFile(path); string(after) != string(b) {
		t.Error("a dry run wrote into the journal")
	}
}

func TestTimes(t *testing.T) {
	second := func(n int) history.Instant { return history.Instant(time.Duration(n) * time.Second) }
	got := TimesOf([]history.Entry{
		{T: second(0), Kind: history.EntryBegin},
		{T: second(1), Kind: history.EntryNote},
		{T: second(2), Kind: history.EntryAsk, Step: "1"},      // machine 2
		{T: second(5), Kind: history.EntryRejected, Step: "1"}, // approval 8
		{T: second(10), Kind: history.EntryApproved, Step: "1"},
		{T: second(11), Kind: history.EntryWait, Step: "1", Manual: true}, // machine 1
		{T: second(31), Kind: history.EntryConfirm, Step: "1"},            // manual 20
		{T: second(32), Kind: history.EntryPause},                         // machine 1
		{T: second(72), Kind: history.EntryBegin},                         // paused 40, also while nobody was there
		{T: second(74), Kind: history.EntryContinue},                      // paused 2
		{T: second(75), Kind: history.EntryIntent, Step: "2"},             // machine 1
		{T: second(175), Kind: history.EntryBegin},                        // nobody 100
		{T: second(176), Kind: history.EntryAct, Step: "2"},               // machine 1
		{T: second(177), Kind: history.EntryFailed, Step: "2"},            // machine 1
		{T: second(178), Kind: history.EntryAbort},                        // machine 1
		{T: second(180), Kind: history.EntryUndone},                       // machine 2
	})
	want := Times{Machine: 10 * time.Second, Manual: 20 * time.Second, Approval: 8 * time.Second, Paused: 42 * time.Second, Idle: 100 * time.Second}
	if got != want {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if s := want.String(); s != "machine 10s · by hand 20s · waiting for approval 8s · paused 42s · nobody at work 1m40s" {
		t.Error(s)
	}
}

// TestTimesOfOverlaps: a pause that is asked for while a step waits begins when the step is done, and an operator that was stopped is
// nobody at work.
func TestTimesOfOverlaps(t *testing.T) {
	second := func(n int) history.Instant { return history.Instant(time.Duration(n) * time.Second) }
	got := TimesOf([]history.Entry{
		{T: second(0), Kind: history.EntryBegin},
		{T: second(1), Kind: history.EntryAsk, Step: "1"}, // machine 1
		{T: second(2), Kind: history.EntryPause},          // approval 1
		{T: second(5), Kind: history.EntryApproved, Step: "1"},
		{T: second(7), Kind: history.EntryConfirm, Step: "1"}, // approval 3, machine 2
		{T: second(17), Kind: history.EntryContinue},          // paused 10
		{T: second(18), Kind: history.EntryIntent, Step: "2"}, // machine 1
		{T: second(48), Kind: history.EntryTakeover},          // nobody 30
		{T: second(49), Kind: history.EntryBegin},             // nobody 1
		{T: second(50), Kind: history.EntryWait, Step: "3", Manual: true},
		{T: second(51), Kind: history.EntryPause}, // machine 1, manual 1
		{T: second(52), Kind: history.EntryContinue},
		{T: second(60), Kind: history.EntryConfirm, Step: "3"}, // manual 9
		{T: second(61), Kind: history.EntryEnd},                // machine 1
	})
	want := Times{Machine: 6 * time.Second, Manual: 10 * time.Second, Approval: 4 * time.Second, Paused: 10 * time.Second, Idle: 31 * time.Second}
	if got != want {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// keeper is an action that keeps what is too long for the journal.
type keeper struct{ fake }

func TestKeep(t *testing.T) {
	path := journal(t)
	rb := book(&fake{})
	k := &keeper{}
	rb.Steps[0].Action = k
	if err := operate(path, rb, Options{}); err != nil {
		t.Fatal(err)
	}
	saw := entriesOf(t, path)[3].Saw
	b, err := os.ReadFile(filepath.Join(filepath.Dir(path), saw["kept"].(string)))
	if err != nil || string(b) != "long" || !strings.HasSuffix(saw["kept"].(string), "step-1-1-output.txt") {
		t.Errorf("%v %q %v", saw, b, err)
	}
	if saw["refused"] == nil {
		t.Error("a path was kept as a name")
	}
}
