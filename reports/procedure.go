package reports

import (
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Step is one step of a procedure, as its journal tells it.
type Step struct {
	Procedure string  `json:"procedure"`
	Number    string  `json:"number"` // path of numbers: "4", or "4.1" inside a called procedure
	Title     string  `json:"title"`
	Verb      string  `json:"verb"`
	Manual    bool    `json:"manual"`  // waits for a person
	State     string  `json:"state"`   // one of Step…
	Budget    float64 `json:"budget"`  // seconds it may take, 0 when the procedure sets none
	Machine   float64 `json:"machine"` // seconds of work
	Waiting   float64 `json:"waiting"` // seconds of waiting for a person
	Attempts  int     `json:"attempts"`
	Error     string  `json:"error,omitempty"`

	run          int // which of the run's procedures it belongs to
	began, ended history.Instant
	waits        []interval // for a person
}

// States of a step.
const (
	StepDone       = "done"        // confirmed after an act of an operator
	StepAlready    = "already"     // its confirming read held before any act: done by somebody, or by an operator that was killed
	StepFailed     = "failed"      // the operator stopped here
	StepSkipped    = "skipped"     // a person passed over it, and said why
	StepUndone     = "undone"      // it was taken back
	StepUnfinished = "not settled" // neither confirmed nor failed: the operator died here, and nobody resumed
)

// interval is a stretch of the timeline.
type interval struct{ from, to history.Instant }

func (i interval) d() time.Duration { return i.to.Sub(i.from) }

// steps reads the journal: one Step for each number, over all operator processes that tried it.
func steps(run *history.Run) []Step {
	var out []*Step
	byNumber := map[string]*Step{}
	runs := map[history.Instant]int{} // of procedures, by their begins: one that was taken back may be tried again
	for i, p := range run.Procedures() {
		runs[p.From] = i
	}
	nth := 0
	for _, e := range run.Journal {
		if i, begins := runs[e.T]; begins && e.Kind == history.EntryBegin {
			nth = i
		}
		if e.Step == "" {
			continue
		}
		id := fmt.Sprint(nth, "\x00", e.Procedure, "\x00", e.Step)
		s := byNumber[id]
		if s == nil {
			s = &Step{Procedure: e.Procedure, Number: e.Step, run: nth, began: e.T, ended: e.T, State: StepUnfinished}
			byNumber[id] = s
			out = append(out, s)
		}
		s.add(e)
	}
	end := lastInstant(run)
	flat := make([]Step, 0, len(out))
	for _, s := range out {
		if s.State == StepUnfinished { // it lasted until the operator was gone, and the last thing known is all there is
			s.ended = max(s.ended, s.endOfOperator(run, end))
		}
		var waited time.Duration
		for i := range s.waits {
			if s.waits[i].to == 0 {
				s.waits[i].to = s.ended
			}
			waited += s.waits[i].d()
		}
		s.Waiting = waited.Seconds()
		s.Machine = (s.ended.Sub(s.began) - waited).Seconds()
		flat = append(flat, *s)
	}
	return flat
}

// add takes one journal entry into the step. A confirm that a later operator only reads again is no work on the step.
func (s *Step) add(e history.Entry) {
	switch {
	case e.Kind == history.EntryAlready && (s.State == StepDone || s.State == StepAlready), e.Kind == history.UndoPrefix+history.EntryAlready && s.State == StepUndone:
		return
	}
	s.Attempts = max(s.Attempts, e.Attempt, 1)
	s.Manual = s.Manual || e.Manual
	if e.Title != "" {
		s.Title = e.Title
	}
	if e.Verb != "" {
		s.Verb = e.Verb
	}
	if e.Budget > 0 {
		s.Budget = e.Budget.D().Seconds()
	}
	s.ended = max(s.ended, e.T)
	waiting := len(s.waits) > 0 && s.waits[len(s.waits)-1].to == 0
	switch e.Kind {
	case history.EntryAct, history.EntryConfirm, history.EntryAlready, history.EntryFailed, history.EntryStopped, history.EntryApproved, history.EntryContinue:
		if waiting {
			s.waits[len(s.waits)-1].to = e.T
		}
	}
	switch e.Kind {
	case history.EntryIntent, history.EntryWait, history.EntryAsk, history.EntryRetry: // from here on it is tried, perhaps anew
		s.State, s.Error = StepUnfinished, ""
		if !waiting && (e.Kind == history.EntryAsk || e.Kind == history.EntryWait && e.Manual) {
			s.waits = append(s.waits, interval{from: e.T})
		}
	case history.EntrySkip:
		s.State, s.Error = StepSkipped, ""
	case history.UndoPrefix + history.EntryConfirm, history.UndoPrefix + history.EntryAlready:
		s.State, s.Error = StepUndone, ""
	case history.EntryConfirm:
		s.State, s.Error = StepDone, ""
	case history.EntryAlready:
		s.State, s.Error = StepAlready, ""
	case history.EntryFailed:
		s.State, s.Error = StepFailed, e.Error
	}
}

// endOfOperator is when the operator that last touched an unsettled step was certainly gone: the next operator's begin, or the
// end of what is known.
func (s *Step) endOfOperator(run *history.Run, end history.Instant) history.Instant {
	for _, e := range run.Journal {
		if e.Kind == history.EntryBegin && e.T > s.ended {
			return e.T
		}
	}
	return end
}

// during names the step that was under way at t, or "".
func (r Report) during(t history.Instant) string {
	for _, s := range r.Steps {
		if t >= s.began && t <= s.ended {
			return "step " + s.Number + " " + s.Title
		}
	}
	return ""
}
