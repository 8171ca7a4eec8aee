package runbook

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Options of one operator process.
type Options struct {
	Clock    history.Clock // stamps entries and events; nil: the kernel's monotonic clock
	Who      string        // the person at work, or the drill that plays one
	Resume   string        // how to go on after a failure, for the error; "" says: run the same command again
	Progress func(Event)   // called for each event, on the goroutine of Run; nil: silent
	Crash    Crash         // where to die; the zero value: nowhere
	Kill     func()        // dies; nil: SIGKILL to this process. Tests give their own, which must not return

	Skip  []Decision // steps to pass over from now on; while the run is taken back: undos to pass over
	Retry []Decision // steps whose skip is taken back
	Abort string     // why the run is to be taken back; "": it is not. Only before the point of commitment

	Inbox     Inbox                        // where requests arrive; nil: none do
	Key       ed25519.PublicKey            // of the person at work; a plan that needs approvals is refused without it
	Approvers map[string]ed25519.PublicKey // who may approve

	Poll  time.Duration // between two confirming reads, and two looks for requests; 0: 100 ms
	Read  time.Duration // longest time for one check or one confirming read; 0: 5 s
	Beat  time.Duration // between two EventWaiting of one wait; 0: 5 s
	Pause time.Duration // longest pause, then the operator stops; 0: 24 h
}

// Decision is what a person decided about one step, and why.
type Decision struct {
	Step string
	Why  string
}

// Event is something to tell a watcher. Everything that matters is in the journal, too.
type Event struct {
	T       history.Instant
	Elapsed time.Duration // since this operator began
	Kind    string        // one of history.Entry…, or one of Event…
	Step    Step          // zero for what concerns the whole run
	Saw     Seen
	Says    string // what a person should know beside the kind
	Err     error
}

// Kinds of events beside those of journal entries.
const (
	EventCheck      = "check"      // a check of the preflight held
	EventWaiting    = "waiting"    // heartbeat of a long wait; Err is what the last read missed
	EventSuperseded = "superseded" // confirmed before, and replaced since by a later step
	EventSkipped    = "skipped"    // passed over, as somebody decided earlier
	EventWarning    = "warning"    // something is wrong that does not stop the operator
)

// String is one line for people.
func (e Event) String() string {
	s := fmt.Sprintf("%7.1fs  %-9s", e.Elapsed.Seconds(), e.Kind)
	if e.Step.Path != "" {
		s += fmt.Sprintf(" %-4s %s", e.Step.Path, e.Step.Title)
	}
	if e.Says != "" {
		s += ": " + e.Says
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Run carries out a runbook, or what is left of it: resuming is the same call. For each step it confirms first, and only where
// that does not hold checks, announces, acts, records and confirms again until the confirm holds or the budget ends.
//
// Before the first act of a fresh run all checks are read; one that fails changes nothing (ErrPreflight). A run that was begun
// with another plan is not touched (ErrOtherPlan). A step that fails is a *StepError; before the point of commitment of a Planned
// runbook it is an *AbortedError instead, once everything is taken back.
func Run(ctx context.Context, rb Runbook, j *Journal, o Options) error {
	if err := rb.Validate(); err != nil {
		return err
	}
	if err := o.Crash.check(rb); err != nil {
		return err
	}
	o = o.filled()
	past, err := resume(j, rb)
	if err != nil {
		return err
	}
	e := &engine{rb: rb, digest: rb.Digest(), j: j, o: o, began: o.Clock.Now(), past: past, answered: map[string]bool{}}
	for _, entry := range j.entries {
		if entry.Request != "" {
			e.answered[entry.Request] = true
		}
	}
	return e.run(ctx)
}

func (o Options) filled() Options {
	if o.Clock == nil {
		o.Clock = history.Monotonic{}
	}
	if o.Resume == "" {
		o.Resume = "run the same command again"
	}
	if o.Kill == nil {
		o.Kill = kill
	}
	o.Poll, o.Read, o.Beat = or(o.Poll, 100*time.Millisecond), or(o.Read, 5*time.Second), or(o.Beat, 5*time.Second)
	o.Pause = or(o.Pause, 24*time.Hour)
	return o
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

type engine struct {
	rb       Runbook
	digest   string
	j        *Journal
	o        Options
	began    history.Instant
	past     *past
	answered map[string]bool // requests that the journal tells of
	noted    bool            // the running act took a note
}

func (e *engine) run(ctx context.Context) error {
	if err := e.decidable(); err != nil {
		return err
	}
	if _, back := e.past.aborting(e.rb); !back && e.past.acted() {
		if err := e.approvables(); err != nil {
			return err
		}
	}
	begin := history.Entry{Kind: history.EntryBegin, Digest: e.digest, Inputs: e.rb.Inputs, Attempt: e.past.begins() + 1, Planned: e.rb.Kind == Planned}
	if e.rb.approves() {
		begin.Key, begin.Approvers = encodeKey(e.o.Key), encodeKeys(e.o.Approvers)
	}
	if err := e.record(Step{}, begin, nil); err != nil {
		return err
	}
	if err := e.decide(); err != nil {
		return err
	}
	if _, back := e.past.aborting(e.rb); back {
		return e.takeBack(ctx)
	}
	if !e.past.acted() {
		if err := e.preflight(ctx); err != nil {
			return err
		}
	}
	err := e.sequence(ctx, forward(e.rb))
	if err != nil {
		if _, back := e.past.aborting(e.rb); back && e.j.err == nil && ctx.Err() == nil {
			return e.takeBack(ctx)
		}
		return err
	}
	return e.record(Step{}, history.Entry{Kind: history.EntryEnd, Digest: e.digest}, nil)
}

// sequence carries out tasks in their order.
func (e *engine) sequence(ctx context.Context, tasks []task) error {
	for i, t := range tasks {
		if ctx.Err() != nil { // between two steps nothing has failed: the next one was not begun
			return e.wrap(t, fmt.Errorf("not begun: %w", context.Cause(ctx)))
		}
		if by, yes := e.past.skipped(t); yes {
			e.tell(Event{Kind: EventSkipped, Step: t.Step, Says: by.Who + ": " + by.Why})
			continue
		}
		if by := e.past.replaced(tasks, i); by != "" {
			e.tell(Event{Kind: EventSuperseded, Step: t.Step, Saw: Seen{"by": by}})
			continue
		}
		if err := e.pause(ctx, t); err != nil {
			return e.wrap(t, err)
		}
		if err := e.carryOut(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// takeBack undoes, in reverse, every step that was announced.
func (e *engine) takeBack(ctx context.Context) error {
	why, _ := e.past.aborting(e.rb)
	if why.Kind == "" { // a failure decided, and it is not yet said so
		why = history.Entry{Kind: history.EntryAbort, Digest: e.digest, Error: why.Error}
		if err := e.record(Step{}, why, errors.New(why.Error)); err != nil {
			return err
		}
	}
	if err := e.sequence(ctx, backward(e.rb, e.past)); err != nil {
		return err
	}
	if err := e.record(Step{}, history.Entry{Kind: history.EntryUndone, Digest: e.digest}, nil); err != nil {
		return err
	}
	return &AbortedError{Runbook: e.rb.Name, Why: cmp.Or(why.Why, why.Error), Asked: why.Why != ""}
}

// preflight reads every check before anything is changed.
func (e *engine) preflight(ctx context.Context) error {
	var failed []error
	fail := func(t task, saw Seen, err error) {
		failed = append(failed, fmt.Errorf("check of %s (%s): %w", t, t.Title, err))
		e.tell(Event{Kind: history.EntryRefused, Step: t.Step, Saw: saw, Err: err})
	}
	all, undos := Seen{}, Seen{}
	for _, t := range append(forward(e.rb), backward(e.rb, nil)...) {
		if _, yes := e.past.skipped(t); yes {
			continue
		}
		if err := e.approvable(t); err != nil {
			fail(t, nil, err)
			continue
		}
		saw, err := e.read(ctx, t, t.Action.Check)
		if err != nil {
			fail(t, saw, err)
			continue
		}
		says := ""
		if t.undo {
			undos[t.Path], says = saw, "its undo"
		} else {
			all[t.Path] = saw
		}
		e.tell(Event{Kind: EventCheck, Step: t.Step, Saw: saw, Says: says})
	}
	saw := Seen{"checks": all}
	if len(undos) > 0 {
		saw["undo_checks"] = undos
	}
	if len(failed) == 0 {
		return e.record(Step{}, history.Entry{Kind: history.EntryNote, Saw: saw}, nil)
	}
	err := fmt.Errorf("%w %s, nothing was changed: %w", ErrPreflight, e.rb.Name, errors.Join(failed...))
	if lost := e.record(Step{}, history.Entry{Kind: history.EntryRefused, Digest: e.digest, Saw: saw}, err); lost != nil {
		return errors.Join(err, lost)
	}
	return err
}

// read makes one bounded read.
func (e *engine) read(ctx context.Context, t task, read func(context.Context) (Seen, error)) (Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, min(e.o.Read, t.Budget))
	defer cancel()
	return read(ctx)
}

// poll reads the confirm until it holds or the step's budget ends.
func (e *engine) poll(ctx context.Context, t task, confirm func(context.Context) (Seen, error)) (Seen, error) {
	start := e.o.Clock.Now()
	beat := time.NewTicker(e.o.Beat)
	defer beat.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	var saw Seen
	last := errors.New("nothing: it could not be read in time")
	for {
		select {
		case <-again.C:
			now, err := e.read(ctx, t, confirm)
			if err == nil {
				return now, nil
			}
			if ctx.Err() == nil { // an end of the budget in the middle of a read says nothing about the state
				saw, last = now, err
			}
			again.Reset(e.o.Poll)
		case <-beat.C:
			e.tell(Event{Kind: EventWaiting, Step: t.Step, Saw: saw, Err: last})
		case <-ctx.Done():
			waited := e.o.Clock.Now().Sub(start).Round(time.Millisecond)
			return saw, fmt.Errorf("waited %v for %s to be confirmed, until %w; last saw: %w", waited, t.Verb, context.Cause(ctx), last)
		}
	}
}

// fail records that a step did not come to its end, and returns the error. An operator that was told to stop did not fail.
func (e *engine) fail(told context.Context, t task, mark func(string, Seen, error) error, saw Seen, err error) error {
	kind := history.EntryFailed
	if told.Err() != nil {
		kind = history.EntryStopped
	}
	return e.wrap(t, errors.Join(err, mark(kind, saw, err)))
}

func (e *engine) wrap(t task, err error) error {
	if err == nil {
		return nil
	}
	return &StepError{Runbook: e.rb.Name, Step: t.Step, Undo: t.undo, Resume: e.o.Resume, Err: err}
}

// record stamps and appends an entry, and tells it.
func (e *engine) record(s Step, entry history.Entry, cause error) error {
	entry.T = e.o.Clock.Now()
	entry.Procedure, entry.Who, entry.PID = e.rb.Name, e.o.Who, os.Getpid()
	if s.Path != "" {
		entry.Step, entry.Title, entry.Verb, entry.Inputs, entry.Manual = s.Path, s.Title.String(), s.Verb, s.Inputs, s.Manual
	}
	if cause != nil {
		entry.Error = cause.Error()
	}
	if err := e.j.Append(entry); err != nil {
		return err
	}
	e.past.entries = e.j.entries[e.past.from:]
	if entry.Request != "" {
		e.answered[entry.Request] = true
	}
	e.tell(Event{T: entry.T, Kind: entry.Kind, Step: s, Saw: entry.Saw, Says: says(entry), Err: cause})
	return nil
}

// says is what a person should know of an entry.
func says(e history.Entry) string {
	s := e.Why
	if e.By != "" {
		s = strings.TrimSuffix(e.By+": "+s, ": ")
	}
	return s
}

func (e *engine) tell(ev Event) {
	if e.o.Progress == nil {
		return
	}
	if ev.T == 0 {
		ev.T = e.o.Clock.Now()
	}
	ev.Elapsed = ev.T.Sub(e.began)
	e.o.Progress(ev)
}

func (e *engine) crash(t task, p Point) {
	if c := e.o.Crash; c.Step != "" && c.Point == Point(t.kind(string(p))) && c.at(e.rb, t.Path) {
		e.o.Kill()
	}
}
