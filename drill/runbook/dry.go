package runbook

import (
	"context"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/drill/history"
)

// Kinds of events of a dry run.
const (
	DryHolds = "holds" // the confirm holds already: nothing would be done
	DryWould = "would" // Says is what the act would do
	DryWaits = "waits" // a person would have to do it, or to approve it first
	DryPass  = "pass"  // skipped or superseded: the step would be passed over
	DryFails = "fails" // the check does not hold: the run would stop here, or be refused
)

// DryRun reads what Run would read and tells what each act would do. It changes nothing and writes nothing, the journal
// included; entries is what the journal holds. Only what can be read now is known: a later step's check may hold once an earlier
// one was done. The error joins the checks that do not hold.
func DryRun(ctx context.Context, rb Runbook, entries []history.Entry, o Options) error {
	if err := rb.Validate(); err != nil {
		return err
	}
	o = o.filled()
	p := latest(entries)
	if p.digest != rb.Digest() || p.undone() {
		p = &past{digest: rb.Digest(), entries: []history.Entry{{T: o.Clock.Now()}}}
	}
	e := &engine{rb: rb, digest: rb.Digest(), o: o, began: o.Clock.Now(), past: p}
	tasks := forward(rb)
	if _, back := p.aborting(rb); back {
		tasks = backward(rb, p)
	}
	var failed []error
	for i, t := range tasks {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ev := e.dry(ctx, tasks, i)
		ev.Step = t.Step
		if ev.Kind == DryFails {
			failed = append(failed, fmt.Errorf("%s (%s): %w", t, t.Title, ev.Err))
		}
		e.tell(ev)
	}
	return errors.Join(failed...)
}

// dry says what would become of one task.
func (e *engine) dry(ctx context.Context, tasks []task, i int) Event {
	t := tasks[i]
	if by, yes := e.past.skipped(t); yes {
		return Event{Kind: DryPass, Says: "skipped by " + by.Who + ": " + by.Why}
	}
	if by := e.past.replaced(tasks, i); by != "" {
		return Event{Kind: DryPass, Says: "step " + by + " has replaced what it sets"}
	}
	notes := &onlooker{e.past, t.Path}
	confirm := func(ctx context.Context) (Seen, error) { return look(ctx, t.Action, notes) }
	saw, missing := e.read(ctx, t, confirm)
	if missing == nil {
		return Event{Kind: DryHolds, Saw: saw, Says: "as far as can be read"}
	}
	saw, err := e.read(ctx, t, t.Action.Check)
	if err != nil {
		return Event{Kind: DryFails, Saw: saw, Err: fmt.Errorf("check: %w", err)}
	}
	would := call(t.Verb, t.Inputs)
	if f, ok := t.Action.(Foreteller); ok {
		_, err := e.read(ctx, t, func(ctx context.Context) (Seen, error) {
			says, err := f.Would(ctx)
			if err == nil && says != "" {
				would = says
			}
			return nil, err
		})
		if err != nil {
			return Event{Kind: DryFails, Saw: saw, Err: fmt.Errorf("find out what it would do: %w", err)}
		}
	}
	ev := Event{Kind: DryWould, Saw: saw, Says: would}
	if t.Manual {
		ev = Event{Kind: DryWaits, Saw: saw, Says: fmt.Sprintf("up to %v for a person, until this is so: %v", t.Budget, missing)}
	}
	if t.Approval > 0 {
		ev.Says = fmt.Sprintf("after an approval (waits up to %v): %s", t.Approval, ev.Says)
	}
	return ev
}

// look is as much of a confirm as reading gives.
func look(ctx context.Context, a Action, notes Notes) (Seen, error) {
	if l, ok := a.(Onlooker); ok {
		return l.Look(ctx, notes)
	}
	return a.Confirm(ctx, notes)
}

// onlooker are the Notes of somebody who only reads.
type onlooker struct {
	past *past
	path string
}

func (o *onlooker) Run() string          { return o.past.name() }
func (o *onlooker) All(key string) []any { return noted(o.past.entries, o.path, key) }
func (o *onlooker) Note(Seen) error      { return errors.New("a dry run notes nothing") }
