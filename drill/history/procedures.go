package history

import "slices"

// ProcedureRun is one run of one procedure, over all operators that worked on it.
type ProcedureRun struct {
	Name    string
	Digest  string // of the bound plan
	Planned bool   // a planned switchover, whichever way it goes
	Entries []Entry
	Window       // from the first operator's begin to the end of the run; to its last entry where it did not end
	Ended   bool // it was carried out to its end
	Undone  bool // it was taken back to its end
	Began   bool // a step was announced: more than a preflight happened
}

// Window is a named part of a run.
type Window struct {
	Name        string
	From, Until Instant
}

// Holds says whether an instant lies in the window, its ends included.
func (w Window) Holds(t Instant) bool { return t >= w.From && t <= w.Until }

// Procedures cuts the journal into the runs of its procedures: each begins where an operator begins with another plan, or after a
// run that was taken back.
func (r *Run) Procedures() []ProcedureRun {
	var out []ProcedureRun
	for _, entries := range ProcedureRuns(r.Journal) {
		begin, last := entries[0], entries[len(entries)-1]
		p := ProcedureRun{Name: begin.Procedure, Digest: begin.Digest, Entries: entries}
		p.Window = Window{Name: begin.Procedure, From: begin.T, Until: last.T}
		for _, e := range entries {
			p.Planned = p.Planned || e.Planned
			p.Undone = p.Undone || e.Kind == EntryUndone
			p.Began = p.Began || e.Kind == EntryIntent || e.Kind == EntryWait
			switch {
			case e.Kind == EntryEnd:
				p.Ended = true
			case e.Step != "" && e.Kind != EntryNote:
				p.Ended = false // something was done after the end: it must end again
			}
		}
		out = append(out, p)
	}
	return out
}

// ProcedureRuns cuts a journal as Procedures does.
func ProcedureRuns(journal []Entry) (out [][]Entry) {
	digest, undone := "", false
	for i, e := range journal {
		if i == 0 || e.Kind == EntryBegin && (e.Digest != digest || undone) {
			out, undone = append(out, nil), false
		}
		undone = undone || e.Kind == EntryUndone
		if e.Kind == EntryBegin {
			digest = e.Digest
		}
		out[len(out)-1] = append(out[len(out)-1], e)
	}
	return out
}

// WindowReturn names the time between the start of the lost region's old processes and the next procedure.
const WindowReturn = "return"

// Windows lists the named times of a run, in order: each procedure that did more than its preflight, and the time from a lost
// region's return to the next of them, or to the end of the load.
func (r *Run) Windows() []Window {
	var out []Window
	back, returned := r.Return()
	until := forever
	if end, ok := r.Phase(PhaseLoadEnd); ok {
		until = end
	}
	for _, p := range r.Procedures() {
		if !p.Began {
			continue
		}
		if p.From >= back {
			until = min(until, p.From)
		}
		out = append(out, p.Window)
	}
	if returned {
		out = append(out, Window{WindowReturn, back, until})
	}
	slices.SortStableFunc(out, func(a, b Window) int { return int(max(-1, min(1, a.From-b.From))) })
	return out
}
