package runbook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// decidable refuses decisions that cannot be made about this run, before anything is written.
func (e *engine) decidable() error {
	cannot := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrCannot, fmt.Sprintf(format, a...))
	}
	_, back := e.past.aborting(e.rb)
	back = back || e.o.Abort != ""
	for _, d := range append(append([]Decision{}, e.o.Skip...), e.o.Retry...) {
		if _, ok := e.rb.step(d.Step); !ok {
			return cannot("%s has no step %q (steps: %s)", e.rb.Name, d.Step, e.rb.paths())
		}
		if strings.TrimSpace(d.Why) == "" {
			return cannot("step %s: say why", d.Step)
		}
	}
	for _, d := range e.o.Skip {
		switch s, _ := e.rb.step(d.Step); {
		case back:
		case s.Commits:
			return cannot("step %s is the point of commitment and cannot be skipped", d.Step)
		case s.Approval > 0:
			return cannot("step %s needs an approval and cannot be skipped without one", d.Step)
		}
	}
	for _, d := range e.o.Retry {
		if _, yes := e.past.skipped(e.about(d.Step, back)); !yes {
			return cannot("step %s is not skipped; what failed is tried again by itself", d.Step)
		}
		tasks := forward(e.rb)
		i := slices.IndexFunc(tasks, func(t task) bool { return t.Path == d.Step })
		if by := e.past.replaced(tasks, i); !back && by != "" {
			return cannot("step %s sets what step %s has set since, and was begun: it is too late for it", d.Step, by)
		}
	}
	if e.o.Abort == "" {
		return nil
	}
	switch {
	case e.rb.Kind != Planned:
		return cannot("%s is no %s: it goes only forward", e.rb.Name, Planned)
	case e.past.committed(e.rb):
		return cannot("%s has passed its point of commitment: it goes only forward", e.rb.Name)
	case !e.past.acted() || e.past.ended():
		return cannot("%s is not under way: there is nothing to take back", e.rb.Name)
	}
	return nil
}

// about is the task that a decision about a step is about.
func (e *engine) about(path string, back bool) task {
	s, _ := e.rb.step(path)
	return task{s, back}
}

// decide journals the decisions that this operator was given. Giving one again, as the same command does, changes nothing.
func (e *engine) decide() error {
	if _, back := e.past.aborting(e.rb); e.o.Abort != "" && !back {
		if err := e.record(Step{}, history.Entry{Kind: history.EntryAbort, Digest: e.digest, Why: e.o.Abort}, nil); err != nil {
			return err
		}
	}
	_, back := e.past.aborting(e.rb)
	for _, list := range []struct {
		kind      string
		decisions []Decision
		already   bool
	}{{history.EntrySkip, e.o.Skip, true}, {history.EntryRetry, e.o.Retry, false}} {
		for _, d := range list.decisions {
			t := e.about(d.Step, back)
			if _, yes := e.past.skipped(t); yes == list.already {
				continue
			}
			if err := e.record(t.Step, history.Entry{Kind: t.kind(list.kind), Why: d.Why}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// pause stands still while the run is paused. It is asked before each step: the running one is always finished.
func (e *engine) pause(told context.Context, t task) error {
	if err := e.requests(nil); err != nil {
		return err
	}
	by, yes := e.past.paused()
	if !yes {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(told, e.o.Pause, fmt.Errorf("the longest pause of %v ended", e.o.Pause))
	defer cancel()
	e.tell(Event{Kind: EventWaiting, Step: t.Step, Says: "paused by " + says(by)})
	return e.wait(ctx, t, func() (bool, error) {
		if err := e.requests(nil); err != nil {
			return false, err
		}
		_, yes := e.past.paused()
		return !yes, nil
	}, func() error { return errors.New("paused by " + says(by)) })
}

// wait looks again and again until it is done or ctx ends, with a heartbeat that says what is missing.
func (e *engine) wait(ctx context.Context, t task, look func() (done bool, err error), missing func() error) error {
	start := e.o.Clock.Now()
	beat := time.NewTicker(e.o.Beat)
	defer beat.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			if done, err := look(); done || err != nil {
				return err
			}
			again.Reset(e.o.Poll)
		case <-beat.C:
			e.tell(Event{Kind: EventWaiting, Step: t.Step, Err: missing()})
		case <-ctx.Done():
			return fmt.Errorf("waited %v, until %w; last saw: %w", e.o.Clock.Now().Sub(start).Round(time.Millisecond), context.Cause(ctx), missing())
		}
	}
}

// requests answers what has arrived since the last look: pauses, continues, and approvals of the step that waits for one.
// Approvals of other steps stay where they are until those ask. Only a journal that is lost is an error: an inbox that cannot be
// read must not stop a switchover.
func (e *engine) requests(waiting *task) error {
	if e.o.Inbox == nil {
		return nil
	}
	all, err := e.o.Inbox.Requests()
	if err != nil {
		e.tell(Event{Kind: EventWarning, Err: err})
		return nil
	}
	for _, r := range all {
		if e.answered[r.Name] {
			continue
		}
		entry := history.Entry{Kind: r.Kind, By: r.Who, Why: r.Why, Request: r.Name, Approval: r.Approval}
		var step Step
		cause := r.Err
		switch {
		case cause != nil:
		case r.Kind == history.EntryApproved && r.Approval == nil:
			cause = errors.New("there is no approval in it")
		case r.Kind == history.EntryApproved:
			if waiting == nil || r.Approval.Step != waiting.Path {
				continue
			}
			entry.By, step = r.Approval.By, waiting.Step
			cause = e.valid(*r.Approval)
		case r.Kind != history.EntryPause && r.Kind != history.EntryContinue:
			cause = fmt.Errorf("nobody knows the request %q", r.Kind)
		case r.Run != e.past.name():
			cause = fmt.Errorf("it is for the run %s, and this is %s", r.Run, e.past.name())
		default:
			if _, yes := e.past.paused(); yes == (r.Kind == history.EntryPause) {
				cause = errors.New(map[bool]string{true: "the run is paused already", false: "the run is not paused"}[yes])
			}
		}
		if cause != nil {
			entry.Kind = history.EntryRejected
			cause = fmt.Errorf("%s of %s: %w", word(r), r.Who, cause)
		}
		if err := e.record(step, entry, cause); err != nil {
			return err
		}
	}
	return nil
}

// word is what a request is called.
func word(r Request) string {
	switch r.Kind {
	case history.EntryApproved:
		return "approval"
	case history.EntryPause, history.EntryContinue:
		return "request to " + r.Kind
	}
	return "request " + r.Name
}
