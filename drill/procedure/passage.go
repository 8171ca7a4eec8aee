package procedure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// passage is the verb failback.ready: as a step it refuses to go on, as a check or a confirm of another step it reads the gate.
type passage struct {
	estate Estate
	gate   Gate
}

const sawPassed = "gate_passed"

// Read implements Reader.
func (r passage) Read(ctx context.Context) (runbook.Seen, error) {
	if why, under := r.underWay(ctx); under {
		return runbook.Seen{"handover": why}, nil
	}
	read := r.gate.Read(ctx, r.estate)
	return sawOf(read), read.Err()
}

func sawOf(r Readiness) runbook.Seen {
	saw := runbook.Seen{}
	for _, c := range r.Conditions {
		saw[c.Name] = c.Saw
	}
	return saw
}

// underWay says whether the database is being handed over already, or has been: the gate is for before that, and must not stand in
// the way of an operator who goes on after it. The old writer takes no writes any more, and the new one follows nobody and lacks
// nothing.
func (r passage) underWay(ctx context.Context) (string, bool) {
	target, source, errant, err := pair{r.estate, r.gate.To, r.gate.From}.read(ctx)
	if err != nil {
		return "", false
	}
	if target.Source != "" || source.Source == "" && !source.ReadOnly {
		return "", false
	}
	lacks, err := minus(source.Executed, target.Executed)
	if err != nil || !lacks.Empty() {
		return "", false
	}
	db, err := r.estate.Database(r.gate.To)
	if err != nil {
		return "", false
	}
	epoch, site, err := db.Epoch(ctx)
	if err != nil || topology.Site(site) != r.gate.To && !errant.Empty() {
		return "", false
	}
	return fmt.Sprintf("%s follows nobody and has all that %s had; epoch %d is of %s", r.gate.To, r.gate.From, epoch, site), true
}

// Check: both databases and parameter stores answer. The gate itself is the act: what it looks at is changed by the rows that follow,
// and must not stand in the way of an operator who goes on after them.
func (r passage) Check(ctx context.Context) (runbook.Seen, error) {
	target, source, _, err := pair{r.estate, r.gate.To, r.gate.From}.read(ctx)
	if err != nil {
		return nil, err
	}
	for _, site := range []topology.Site{r.gate.From, r.gate.To} {
		if _, _, err := readParams(ctx, r.estate, site); err != nil {
			return nil, err
		}
	}
	return runbook.Seen{string(r.gate.From): source.UUID, string(r.gate.To): target.UUID}, nil
}

// passes says whether time alone may mend a condition: writes that are on their way arrive, nodes see each other again.
func passes(condition string) bool {
	return slices.Contains([]string{ReadyLag, ReadyContent, ReadyHints, ReadyRing}, condition)
}

// Act reads the gate, at the moment at which it counts, and notes that it was passed. What time may mend is waited for, within the
// step's budget; what it cannot is refused at once.
func (r passage) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	var saw runbook.Seen
	err := untilEvery(ctx, dear, func() (string, error) {
		read := r.gate.Read(ctx, r.estate)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		saw = sawOf(read)
		last := read.Err()
		switch {
		case last == nil:
			return "", nil
		case slices.ContainsFunc(read.Violated(), func(c string) bool { return !passes(c) }):
			return "", last
		}
		return last.Error(), nil
	})
	if err != nil {
		return saw, err
	}
	return saw, notes.Note(runbook.Seen{sawPassed: true})
}

// Confirm: this run has passed the gate. What it read may have changed since, by the run's own doing.
func (r passage) Confirm(_ context.Context, notes runbook.Notes) (runbook.Seen, error) {
	if len(notes.All(sawPassed)) == 0 {
		return nil, errors.New("this run has not passed the gate")
	}
	return runbook.Seen{sawPassed: true}, nil
}

// Would implements runbook.Foreteller.
func (r passage) Would(ctx context.Context) (string, error) {
	if _, err := r.Read(ctx); err != nil {
		return "refuse: " + err.Error(), nil
	}
	return "pass the gate, and change nothing", nil
}

// opening is the verb failback.begin: what the person in charge approves. A person may take half an hour, and the world does not wait
// for him: the gate is read once more when it counts, and then whether both regions are fit for a handover.
type opening struct {
	gate passage
	fit  ready
}

// Check implements runbook.Action.
func (o opening) Check(ctx context.Context) (runbook.Seen, error) {
	saw, err := o.gate.Check(ctx)
	if err != nil {
		return saw, err
	}
	fit, err := o.fit.Check(ctx)
	maps.Copy(saw, fit)
	return saw, err
}

// Act implements runbook.Action.
func (o opening) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	if saw, err := o.gate.Act(ctx, notes); err != nil {
		return saw, err
	}
	return o.fit.Act(ctx, notes)
}

// Confirm implements runbook.Action.
func (o opening) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	if saw, err := o.gate.Confirm(ctx, notes); err != nil {
		return saw, err
	}
	return o.fit.Confirm(ctx, notes)
}

// Would implements runbook.Foreteller.
func (o opening) Would(ctx context.Context) (string, error) { return o.gate.Would(ctx) }

// readinessVerbs are the verbs about whether a region may take the work back.
func readinessVerbs(e Estate, region func(name, says string) Input) Verbs {
	bind := func(in Values) (passage, error) {
		if in.site("from") == in.site("to") {
			return passage{}, &InputError{"to", fmt.Errorf("to is %s as well", in.site("from"))}
		}
		return passage{e, Gate{in.site("from"), in.site("to"), in.time("lag"), in.table("parameters")}}, nil
	}
	inputs := []Input{
		region("from", "The region that serves"), region("to", "The region that is to take over"),
		{Name: "lag", Kind: Time, Default: "1s", Says: "Bound of the replication lag"},
		{Name: "parameters", Kind: Table, Default: map[string]any{}, Says: "What its parameters must be, beside those of every region that waits"},
	}
	return Verbs{"failback.ready": {
		Says:   "Refuses, by name, unless a region is ready to take the work over: no errant transactions, binary logs not purged, no lag, equal content in both stores, no hints, a whole ring, parameters and release right. Changes nothing.",
		Inputs: inputs,
		Bind:   func(in Values) (runbook.Action, error) { return bind(in) },
		Read:   func(in Values) (Reader, error) { return bind(in) },
	}, "failback.begin": {
		Says:   "Reads the readiness gate at the moment at which the handover begins, and whether both regions are fit for it: what was read before a person's approval may be half an hour old. Changes nothing.",
		Inputs: inputs,
		Bind: func(in Values) (runbook.Action, error) {
			gate, err := bind(in)
			return opening{gate, ready{e, gate.gate.From, gate.gate.To, closely}}, err
		},
	}}
}
