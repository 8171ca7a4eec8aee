package runbook

import (
	"context"
	"errors"
	"fmt"
	"os"
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

	Poll time.Duration // between two confirming reads; 0: 100 ms
	Read time.Duration // longest time for one check or one confirming read; 0: 5 s
	Beat time.Duration // between two EventWaiting of one wait; 0: 5 s
}

// Event is something to tell a watcher. Everything that matters is in the journal, too.
type Event struct {
	T       history.Instant
	Elapsed time.Duration // since this operator began
	Kind    string        // one of history.Entry…, or one of Event…
	Step    Step          // zero for what concerns the whole run
	Saw     Seen
	Err     error
}

// Kinds of events beside those of journal entries.
const (
	EventCheck      = "check"      // a check of the preflight held
	EventWaiting    = "waiting"    // heartbeat of a long wait; Err is what the last read missed
	EventSuperseded = "superseded" // confirmed before, and replaced since by a later step
)

// String is one line for people.
func (e Event) String() string {
	s := fmt.Sprintf("%7.1fs  %-9s", e.Elapsed.Seconds(), e.Kind)
	if e.Step.Path != "" {
		s += fmt.Sprintf(" %-4s %s", e.Step.Path, e.Step.Title)
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
// with another plan is not touched (ErrOtherPlan). A step that fails is a *StepError.
func Run(ctx context.Context, rb Runbook, j *Journal, o Options) error {
	if err := rb.validate(); err != nil {
		return err
	}
	if err := o.Crash.check(rb); err != nil {
		return err
	}
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
	past, err := resume(j, rb)
	if err != nil {
		return err
	}
	e := &engine{rb: rb, digest: rb.Digest(), j: j, o: o, began: o.Clock.Now(), past: past}
	return e.run(ctx)
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

type engine struct {
	rb     Runbook
	digest string
	j      *Journal
	o      Options
	began  history.Instant
	past   *past
	noted  bool // the running act took a note
}

func (e *engine) run(ctx context.Context) error {
	begin := history.Entry{Kind: history.EntryBegin, Digest: e.digest, Inputs: e.rb.Inputs, Attempt: e.past.begins() + 1}
	if err := e.record(Step{}, begin, nil); err != nil {
		return err
	}
	if !e.past.acted() {
		if err := e.preflight(ctx); err != nil {
			return err
		}
	}
	for i, s := range e.rb.Steps {
		if ctx.Err() != nil { // between two steps nothing has failed: the next one was not begun
			return e.wrap(s, fmt.Errorf("not begun: %w", context.Cause(ctx)))
		}
		if by := e.past.replaced(e.rb, i); by != "" {
			e.tell(Event{Kind: EventSuperseded, Step: s, Saw: Seen{"by": by}})
			continue
		}
		if err := e.step(ctx, s); err != nil {
			return err
		}
	}
	return e.record(Step{}, history.Entry{Kind: history.EntryEnd, Digest: e.digest}, nil)
}

// preflight reads every check before anything is changed.
func (e *engine) preflight(ctx context.Context) error {
	var failed []error
	all := Seen{}
	for _, s := range e.rb.Steps {
		saw, err := e.read(ctx, s, s.Action.Check)
		if err != nil {
			failed = append(failed, fmt.Errorf("check of step %s (%s): %w", s.Path, s.Title, err))
			e.tell(Event{Kind: history.EntryRefused, Step: s, Saw: saw, Err: err})
			continue
		}
		all[s.Path] = saw
		e.tell(Event{Kind: EventCheck, Step: s, Saw: saw})
	}
	saw := Seen{"checks": all}
	if len(failed) == 0 {
		return e.record(Step{}, history.Entry{Kind: history.EntryNote, Saw: saw}, nil)
	}
	err := fmt.Errorf("%w %s, nothing was changed: %w", ErrPreflight, e.rb.Name, errors.Join(failed...))
	if lost := e.record(Step{}, history.Entry{Kind: history.EntryRefused, Digest: e.digest, Saw: saw}, err); lost != nil {
		return errors.Join(err, lost)
	}
	return err
}

func (e *engine) step(ctx context.Context, s Step) error {
	attempt := e.past.tries(s.Path) + 1
	mark := func(kind string, saw Seen, cause error) error {
		entry := history.Entry{Kind: kind, Attempt: attempt, Saw: saw}
		if kind == history.EntryIntent || kind == history.EntryWait {
			entry.Budget = history.Duration(s.Budget)
		}
		return e.record(s, entry, cause)
	}
	told := ctx // ends when somebody tells the operator to stop, not when the budget does
	ctx, cancel := context.WithTimeoutCause(ctx, s.Budget, fmt.Errorf("its budget of %v ended", s.Budget))
	defer cancel()
	notes := &notes{e: e, step: s, attempt: attempt}
	confirm := func(ctx context.Context) (Seen, error) { return s.Action.Confirm(ctx, notes) }

	saw, err := e.read(ctx, s, confirm)
	if err == nil {
		return e.wrap(s, mark(history.EntryAlready, saw, nil))
	}
	saw, err = e.read(ctx, s, s.Action.Check)
	if err != nil {
		return e.fail(told, s, mark, saw, fmt.Errorf("check: %w", err))
	}
	e.crash(s, BeforeIntent)
	announce := history.EntryIntent
	if s.Manual {
		announce = history.EntryWait
	}
	if err := mark(announce, saw, nil); err != nil {
		return e.wrap(s, err)
	}
	e.crash(s, AfterIntent)
	if s.Manual {
		saw, err = e.poll(ctx, s, confirm)
		if err != nil {
			return e.fail(told, s, mark, saw, err)
		}
		e.crash(s, AfterAct)
		return e.wrap(s, mark(history.EntryConfirm, saw, nil))
	}

	if err := e.j.Mine(); err != nil { // the operator may have been stopped since it announced, for any length of time
		return e.wrap(s, err)
	}
	e.noted = false
	saw, acted := s.Action.Act(ctx, notes)
	e.crash(s, AfterAct)
	if err := mark(history.EntryAct, saw, acted); err != nil {
		return e.wrap(s, errors.Join(acted, err))
	}
	e.crash(s, AfterRecord)
	if acted != nil { // an answer that was lost is no act that was lost: the state decides, once
		saw, err = e.read(context.WithoutCancel(ctx), s, confirm)
		if err != nil {
			return e.fail(told, s, mark, saw, acted)
		}
		return e.wrap(s, mark(history.EntryConfirm, saw, nil))
	}
	saw, err = e.poll(ctx, s, confirm)
	if err != nil {
		return e.fail(told, s, mark, saw, err)
	}
	return e.wrap(s, mark(history.EntryConfirm, saw, nil))
}

// read makes one bounded read.
func (e *engine) read(ctx context.Context, s Step, read func(context.Context) (Seen, error)) (Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, min(e.o.Read, s.Budget))
	defer cancel()
	return read(ctx)
}

// poll reads the confirm until it holds or the step's budget ends.
func (e *engine) poll(ctx context.Context, s Step, confirm func(context.Context) (Seen, error)) (Seen, error) {
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
			now, err := e.read(ctx, s, confirm)
			if err == nil {
				return now, nil
			}
			if ctx.Err() == nil { // an end of the budget in the middle of a read says nothing about the state
				saw, last = now, err
			}
			again.Reset(e.o.Poll)
		case <-beat.C:
			e.tell(Event{Kind: EventWaiting, Step: s, Saw: saw, Err: last})
		case <-ctx.Done():
			waited := e.o.Clock.Now().Sub(start).Round(time.Millisecond)
			return saw, fmt.Errorf("waited %v for %s to be confirmed, until %w; last saw: %w", waited, s.Verb, context.Cause(ctx), last)
		}
	}
}

// fail records that a step did not come to its end, and returns the error. An operator that was told to stop did not fail.
func (e *engine) fail(told context.Context, s Step, mark func(string, Seen, error) error, saw Seen, err error) error {
	kind := history.EntryFailed
	if told.Err() != nil {
		kind = history.EntryStopped
	}
	return e.wrap(s, errors.Join(err, mark(kind, saw, err)))
}

func (e *engine) wrap(s Step, err error) error {
	if err == nil {
		return nil
	}
	return &StepError{Runbook: e.rb.Name, Step: s, Resume: e.o.Resume, Err: err}
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
	e.tell(Event{T: entry.T, Kind: entry.Kind, Step: s, Saw: entry.Saw, Err: cause})
	return nil
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

func (e *engine) crash(s Step, p Point) {
	if e.o.Crash.Step == s.Path && e.o.Crash.Point == p {
		e.o.Kill()
	}
}
