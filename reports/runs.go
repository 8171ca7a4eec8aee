package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
)

// Procedure is one run of one procedure, over all operators that worked on it. Its times are seconds; they exclude each other and
// add up to Took.
type Procedure struct {
	Name      string     `json:"name"`
	Planned   bool       `json:"planned"` // its outage is planned
	State     string     `json:"state"`   // StepDone, StepUndone, StepFailed, StepUnfinished, or ProcedureRefused
	Took      float64    `json:"took"`    // from the first operator's begin to the last thing that one wrote
	Machine   float64    `json:"machine"`
	Manual    float64    `json:"manual"`   // waiting for a person to act
	Approval  float64    `json:"approval"` // waiting for a person to approve
	Paused    float64    `json:"paused"`
	Idle      float64    `json:"idle"`             // no operator was at work: it had died, failed or been stopped
	Outage    string     `json:"outage,omitempty"` // how long customers were out, where the outage is planned
	Incidents []Incident `json:"incidents"`

	window interval
	pauses []interval
	outage []outage // episodes of the planned outage
}

// ProcedureRefused is the state of a procedure whose preflight refused it: nothing was changed.
const ProcedureRefused = "refused"

// Incident is something in a procedure's run that is not a step of it.
type Incident struct {
	What  string  `json:"what"`  // one of Incident…
	After float64 `json:"after"` // seconds since the procedure began
	Step  string  `json:"step,omitempty"`
	Who   string  `json:"who,omitempty"`
	Why   string  `json:"why,omitempty"`

	t history.Instant
}

// Incidents.
const (
	IncidentDied      = "operator died"         // killed on purpose
	IncidentResumed   = "resumed"               // by the person who had operated it before
	IncidentOther     = "resumed by another"    // by another person
	IncidentTaken     = "taken over"            // from an operator that was stopped and kept the lock
	IncidentPaused    = "paused"                // the running step is finished, and no other begun
	IncidentContinued = "continued"             // after a pause
	IncidentSkipped   = "step skipped"          // by a person, who said why
	IncidentRetried   = "step retried"          // one that had failed, or whose skip was taken back
	IncidentFailed    = "step failed"           // and the operator stopped, or took everything back
	IncidentStopped   = "operator stopped"      // it was told to, in the middle of a step
	IncidentRejected  = "request rejected"      // an approval or a request that was not accepted
	IncidentAborted   = "taken back from here"  // every step that was begun is undone, in reverse
	IncidentRefused   = "refused, nothing done" // by the preflight
)

// glyph marks an incident in the picture, where words would cover each other.
func (i Incident) glyph() string {
	return map[string]string{
		IncidentDied: "✕", IncidentResumed: "▸", IncidentOther: "⇄", IncidentTaken: "⇄", IncidentPaused: "‖", IncidentContinued: "▸", IncidentSkipped: "»",
		IncidentRetried: "↻", IncidentFailed: "!", IncidentStopped: "■", IncidentRejected: "!", IncidentAborted: "↩", IncidentRefused: "!",
	}[i.What]
}

// says tells an incident in one line, without its time.
func (i Incident) says() string {
	s := i.What
	if i.Step != "" {
		s += ", step " + i.Step
	}
	if i.Who != "" {
		s += ", by " + i.Who
	}
	if i.Why != "" {
		s += ": " + i.Why
	}
	return s
}

// procedures reads the runs of procedures from the journal, the deaths from the drill's marks, and what customers felt from the
// measurement that the judge of planned outages uses.
func procedures(run *history.Run) []Procedure {
	var out []Procedure
	for _, r := range run.Procedures() {
		t := runbook.TimesOf(r.Entries)
		p := Procedure{
			Name: r.Name, State: stateOf(r), Took: r.Until.Sub(r.From).Seconds(),
			Machine: t.Machine.Seconds(), Manual: t.Manual.Seconds(), Approval: t.Approval.Seconds(), Paused: t.Paused.Seconds(), Idle: t.Idle.Seconds(),
			Incidents: []Incident{}, window: interval{r.From, r.Until},
		}
		who := ""
		for i, e := range r.Entries {
			if e.Kind == history.EntryPause {
				p.pauses = append(p.pauses, interval{e.T, r.Until})
			}
			if n := len(p.pauses); e.Kind == history.EntryContinue && n > 0 {
				p.pauses[n-1].to = e.T
			}
			p.add(incidentOf(e, i == 0, who))
			if e.Kind == history.EntryBegin || e.Kind == history.EntryTakeover {
				who = e.Who
			}
		}
		out = append(out, p)
	}
	deaths, _ := history.Marked[history.DeathData](run, history.KindDeath) // one that cannot be read is the judges' to complain of
	for _, d := range deaths {
		for i := range slices.Backward(out) {
			if out[i].window.from <= d.T {
				out[i].window.to = max(out[i].window.to, d.T)
				out[i].add(Incident{What: IncidentDied, Step: d.Name, Why: strings.ReplaceAll(d.Data.Point, "-", " "), t: d.T})
				break
			}
		}
	}
	for i := range out {
		slices.SortStableFunc(out[i].Incidents, func(a, b Incident) int { return cmp.Compare(a.t, b.t) })
	}
	for _, h := range check.Handovers(run) {
		if i := slices.IndexFunc(out, func(p Procedure) bool { return p.window.from == h.From }); i >= 0 {
			out[i].planned(h)
		}
	}
	return out
}

// stateOf is how a procedure's run stood at its end.
func stateOf(r history.ProcedureRun) string {
	last := r.Entries[len(r.Entries)-1].Kind
	switch {
	case r.Ended:
		return StepDone
	case r.Undone:
		return StepUndone
	case last == history.EntryRefused && !r.Began:
		return ProcedureRefused
	case strings.TrimPrefix(last, history.UndoPrefix) == history.EntryFailed:
		return StepFailed
	}
	return StepUnfinished
}

// add takes an incident into the run; one of nothing is none.
func (p *Procedure) add(i Incident) {
	if i.What == "" {
		return
	}
	i.After = i.t.Sub(p.window.from).Seconds()
	p.Incidents = append(p.Incidents, i)
}

// incidentOf is the incident that an entry tells of. who began the operator before it.
func incidentOf(e history.Entry, first bool, who string) Incident {
	i := Incident{Step: e.Step, Who: cmp.Or(e.By, e.Who), Why: e.Why, t: e.T}
	kind, undo := e.Undoes()
	switch kind {
	case history.EntryBegin:
		i.Why = ""
		switch {
		case first:
		case e.Who != who:
			i.What = IncidentOther
		default:
			i.What = IncidentResumed
		}
	case history.EntryTakeover:
		i.What, i.Who = IncidentTaken, e.Who
		i.Why = strings.TrimSuffix(fmt.Sprintf("from %s; %s", e.By, e.Why), "; ")
	case history.EntryPause:
		i.What = IncidentPaused
	case history.EntryContinue:
		i.What = IncidentContinued
	case history.EntrySkip:
		i.What = IncidentSkipped
	case history.EntryRetry:
		i.What = IncidentRetried
	case history.EntryFailed:
		i.What, i.Who, i.Why = IncidentFailed, "", e.Error
	case history.EntryStopped:
		i.What, i.Why = IncidentStopped, e.Error
	case history.EntryRejected:
		i.What, i.Why = IncidentRejected, e.Error
	case history.EntryAbort:
		i.What, i.Why = IncidentAborted, cmp.Or(e.Why, e.Error)
	case history.EntryRefused:
		i.What, i.Who, i.Why = IncidentRefused, "", e.Error
	}
	if undo && i.What != "" {
		i.Why = strings.TrimSuffix("while it was taken back; "+i.Why, "; ")
	}
	return i
}

// planned adds what customers felt of a planned outage.
func (p *Procedure) planned(h check.Handover) {
	p.Planned = true
	target := "target " + length(h.Target)
	l := h.Level
	switch {
	case h.Err != nil:
		p.Outage = "not measured: " + h.Err.Error()
	case len(l.Episodes) == 0:
		p.Outage = "not felt (" + target + ")"
	case !l.Recovered:
		p.Outage = fmt.Sprintf("at least %.2f s (%s)", l.Outage.Lower.Seconds(), target)
	default:
		p.Outage = fmt.Sprintf("%.2f – %.2f s (%s)", l.Outage.Lower.Seconds(), l.Outage.Upper.Seconds(), target)
	}
	for _, e := range l.Episodes {
		p.outage = append(p.outage, outage{certain: interval{e.OnsetUntil, e.EndFrom}, possible: interval{e.OnsetFrom, e.EndUntil}, open: !e.Ended})
	}
}

// length prints a target: "5 s", "1500 ms".
func length(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// Interruptions counts a run's incidents by what they were, in order of first appearance: "operator died ×17, resumed ×17".
func (p Procedure) Interruptions() string {
	var names []string
	n := map[string]int{}
	for _, i := range p.Incidents {
		if n[i.What] == 0 {
			names = append(names, i.What)
		}
		n[i.What]++
	}
	for i, name := range names {
		if n[name] > 1 {
			names[i] = fmt.Sprintf("%s ×%d", name, n[name])
		}
	}
	return strings.Join(names, ", ")
}

// String is one line for people: "failback 8.0 s: machine 6.8 s, waiting for approval 1.20 s; operator died ×2, resumed ×2".
func (p Procedure) String() string {
	var parts []string
	for _, x := range []struct {
		says string
		s    float64
	}{{"machine", p.Machine}, {"by hand", p.Manual}, {"waiting for approval", p.Approval}, {"paused", p.Paused}, {"nobody at work", p.Idle}} {
		if x.s > 0 {
			parts = append(parts, x.says+" "+seconds(x.s))
		}
	}
	s := p.Name + " " + seconds(p.Took)
	if p.State != StepDone {
		s += " " + p.State
	}
	if len(parts) > 0 {
		s += ": " + strings.Join(parts, ", ")
	}
	if what := p.Interruptions(); what != "" {
		s += "; " + what
	}
	return s
}
