package runbook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// task is a step to be done, or to be taken back: in that case verb, inputs, budget and action are those of its undo.
type task struct {
	Step
	undo bool
}

// kind is the kind of a journal entry of this task.
func (t task) kind(k string) string {
	if t.undo {
		return history.UndoPrefix + k
	}
	return k
}

// String names the task.
func (t task) String() string {
	if t.undo {
		return "undo of step " + t.Path
	}
	return "step " + t.Path
}

// forward are the tasks of a run that goes on.
func forward(rb Runbook) []task {
	var out []task
	for _, s := range rb.Steps {
		out = append(out, task{Step: s})
	}
	return out
}

// backward are the tasks of a run that is taken back: the undos of all steps that were announced, in reverse. Without a past:
// of all steps.
func backward(rb Runbook, p *past) []task {
	var out []task
	for _, s := range slices.Backward(rb.Steps) {
		u := s.Undo
		if u == nil || u.Nothing || p != nil && !p.did(s.Path, history.EntryIntent, history.EntryWait) {
			continue
		}
		s.Verb, s.Inputs, s.Check, s.Confirm, s.Budget, s.Manual, s.Action = u.Verb, u.Inputs, u.Check, u.Confirm, u.Budget, u.Manual, u.Action
		s.Approval, s.Commits = 0, false
		out = append(out, task{s, true})
	}
	return out
}

// carryOut brings one task to its confirmed end.
func (e *engine) carryOut(told context.Context, t task) error {
	attempt := e.past.tries(t.Path, t.undo) + 1
	mark := func(kind string, saw Seen, cause error) error {
		entry := history.Entry{Kind: t.kind(kind), Attempt: attempt, Saw: saw}
		switch kind {
		case history.EntryIntent, history.EntryWait:
			entry.Budget = history.Duration(t.Budget)
		case history.EntryAsk:
			entry.Budget = history.Duration(t.Approval)
		}
		return e.record(t.Step, entry, cause)
	}
	notes := &notes{e: e, task: t, attempt: attempt}
	confirm := func(ctx context.Context) (Seen, error) { return t.Action.Confirm(ctx, notes) }

	ctx, cancel := e.budget(told, t)
	defer func() { cancel() }()
	saw, err := e.read(ctx, t, confirm)
	if err == nil {
		return e.wrap(t, mark(history.EntryAlready, saw, nil))
	}
	if why := e.past.failure(t); why != "" {
		if err := mark(history.EntryRetry, Seen{"failed": why}, nil); err != nil {
			return e.wrap(t, err)
		}
	}
	saw, err = e.read(ctx, t, t.Action.Check)
	if err != nil {
		return e.fail(told, t, mark, saw, fmt.Errorf("check: %w", err))
	}
	if t.Approval > 0 && e.approved(t) == nil {
		if err := mark(history.EntryAsk, saw, nil); err != nil {
			return e.wrap(t, err)
		}
		e.crash(t, AfterAsk)
		if err := e.approval(told, t); err != nil {
			if e.j.err != nil {
				return e.wrap(t, err)
			}
			return e.fail(told, t, mark, saw, err)
		}
		cancel()
		ctx, cancel = e.budget(told, t) // the person's time is not the step's
		if saw, err = e.read(ctx, t, confirm); err == nil {
			return e.wrap(t, mark(history.EntryAlready, saw, nil))
		}
		if saw, err = e.read(ctx, t, t.Action.Check); err != nil { // what held before the wait may not hold any more
			return e.fail(told, t, mark, saw, fmt.Errorf("check: %w", err))
		}
	}
	e.crash(t, BeforeIntent)
	announce := history.EntryIntent
	if t.Manual {
		announce = history.EntryWait
	}
	if err := mark(announce, saw, nil); err != nil {
		return e.wrap(t, err)
	}
	e.crash(t, AfterIntent)
	if t.Manual {
		saw, err = e.poll(ctx, t, confirm)
		if err != nil {
			return e.fail(told, t, mark, saw, err)
		}
		e.crash(t, AfterAct)
		return e.wrap(t, mark(history.EntryConfirm, saw, nil))
	}

	if err := e.j.Mine(); err != nil { // the operator may have been stopped since it announced, for any length of time
		return e.wrap(t, err)
	}
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) { // one that slept past its budget has no time left to act in
		return e.fail(told, t, mark, saw, fmt.Errorf("it has not acted: its budget of %v ended", t.Budget))
	}
	e.noted = false
	saw, acted := t.Action.Act(ctx, notes)
	e.crash(t, AfterAct)
	if err := mark(history.EntryAct, saw, acted); err != nil {
		return e.wrap(t, errors.Join(acted, err))
	}
	e.crash(t, AfterRecord)
	if acted != nil { // an answer that was lost is no act that was lost: the state decides, once
		saw, err = e.read(context.WithoutCancel(ctx), t, confirm)
		if err != nil {
			return e.fail(told, t, mark, saw, acted)
		}
		return e.wrap(t, mark(history.EntryConfirm, saw, nil))
	}
	saw, err = e.poll(ctx, t, confirm)
	if err != nil {
		return e.fail(told, t, mark, saw, err)
	}
	return e.wrap(t, mark(history.EntryConfirm, saw, nil))
}

// budget is the time that a task may take.
func (e *engine) budget(told context.Context, t task) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(told, t.Budget, fmt.Errorf("its budget of %v ended", t.Budget))
}
