package runbook

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// past is what the journal knows of this run of the runbook: the entries since the first operator began it.
type past struct {
	from    int // index in the journal
	digest  string
	entries []history.Entry
}

// latest finds the run that a journal speaks of last. A run is all that follows the first of several begins with one digest;
// one that was taken back is over, and the next begin is another run.
func latest(entries []history.Entry) *past {
	p := &past{}
	undone := false
	for i, e := range entries {
		if e.Kind == history.EntryBegin && (e.Digest != p.digest || undone) {
			p.from, p.digest, undone = i, e.Digest, false
		}
		undone = undone || e.Kind == history.EntryUndone
	}
	p.entries = entries[p.from:]
	return p
}

// resume finds the run that is to go on, or begins a new one. A run binds the next operator once something was announced, until
// it has ended: a run that only read, and was refused, may be followed by a corrected plan.
func resume(j *Journal, rb Runbook) (*past, error) {
	p := latest(j.entries)
	digest := rb.Digest()
	switch {
	case p.digest == digest && !p.undone():
		return p, nil
	case p.acted() && !p.ended():
		last, step := p.entries[len(p.entries)-1], p.last()
		return nil, fmt.Errorf("%w: %s began %s with the plan %.12s… and did not get past step %s; this plan is %s %.12s…: "+
			"finish that run with the plan it was begun with, or use another run folder",
			ErrOtherPlan, last.Who, last.Procedure, p.digest, step, rb.Name, digest)
	default:
		return &past{from: len(j.entries), digest: digest}, nil
	}
}

// name is the run's own: its plan, and when it was begun.
func (p *past) name() string {
	return p.digest[:min(12, len(p.digest))] + "-" + strconv.FormatInt(int64(p.entries[0].T), 36)
}

func (p *past) begins() int {
	n := 0
	for _, e := range p.entries {
		if e.Kind == history.EntryBegin {
			n++
		}
	}
	return n
}

// acted says whether anything of the world may have been changed.
func (p *past) acted() bool { return p.has(history.EntryIntent, history.EntryWait) }

func (p *past) ended() bool { return p.has(history.EntryEnd, history.EntryUndone) }

func (p *past) undone() bool { return p.has(history.EntryUndone) }

func (p *past) has(kinds ...string) bool {
	return slices.ContainsFunc(p.entries, func(e history.Entry) bool { return slices.Contains(kinds, e.Kind) })
}

// last is the path of the step that was tried last.
func (p *past) last() string {
	for _, e := range slices.Backward(p.entries) {
		if e.Step != "" {
			return e.Step
		}
	}
	return "1"
}

// tries counts the operator processes, before the one that began last, that tried a step, or tried to take it back.
func (p *past) tries(path string, undo bool) int {
	n, tried := 0, false
	for _, e := range p.entries {
		_, undoes := e.Undoes()
		switch {
		case e.Kind == history.EntryBegin:
			if tried {
				n++
			}
			tried = false
		case e.Step == path && undoes == undo && e.Kind != history.EntrySkip && e.Kind != history.EntryRetry:
			tried = true
		}
	}
	return n
}

// did says whether a step has an entry of one of the kinds.
func (p *past) did(path string, kinds ...string) bool {
	return slices.ContainsFunc(p.entries, func(e history.Entry) bool { return e.Step == path && slices.Contains(kinds, e.Kind) })
}

// skipped returns the decision by which a task is passed over: the last of those to skip it and to retry it after all.
func (p *past) skipped(t task) (history.Entry, bool) {
	for _, e := range slices.Backward(p.entries) {
		switch {
		case e.Step != t.Path:
		case e.Kind == t.kind(history.EntrySkip):
			return e, true
		case e.Kind == t.kind(history.EntryRetry) && e.Why != "":
			return e, false
		}
	}
	return history.Entry{}, false
}

// failure is why the task did not come to its end when it was last tried, "" if that was not for a failure.
func (p *past) failure(t task) string {
	for _, e := range slices.Backward(p.entries) {
		if e.Step != t.Path {
			continue
		}
		switch e.Kind {
		case t.kind(history.EntryFailed):
			return e.Error
		case t.kind(history.EntryIntent), t.kind(history.EntryWait), t.kind(history.EntryConfirm), t.kind(history.EntryAlready), t.kind(history.EntryRetry):
			return ""
		}
	}
	return ""
}

// paused returns the request by which the run stands still, if it does.
func (p *past) paused() (history.Entry, bool) {
	for _, e := range slices.Backward(p.entries) {
		switch e.Kind {
		case history.EntryPause:
			return e, true
		case history.EntryContinue:
			return e, false
		}
	}
	return history.Entry{}, false
}

// committed says whether the point of commitment was announced.
func (p *past) committed(rb Runbook) bool {
	return slices.ContainsFunc(rb.Steps, func(s Step) bool { return s.Commits && p.did(s.Path, history.EntryIntent, history.EntryWait) })
}

// aborting returns why the run is being taken back, if it is: somebody asked for it, or a step failed before the point of
// commitment. The failure itself decides, so that an operator who dies right after it leaves no doubt.
func (p *past) aborting(rb Runbook) (why history.Entry, yes bool) {
	if rb.Kind != Planned {
		return why, false
	}
	for _, e := range p.entries {
		if e.Kind == history.EntryAbort {
			return e, true
		}
	}
	if p.committed(rb) {
		return why, false
	}
	for _, e := range p.entries {
		if e.Kind == history.EntryFailed {
			return history.Entry{Error: fmt.Sprintf("step %s (%s): %s", e.Step, e.Title, e.Error)}, true
		}
	}
	return why, false
}

// approval returns the last approval of a step that has not expired at an instant, among those that still count; nil: none.
func (p *past) approval(path string, now history.Instant, counts func(history.Approval) bool) *history.Approval {
	for _, e := range slices.Backward(p.entries) {
		if a := e.Approval; e.Kind == history.EntryApproved && e.Step == path && a != nil && now < a.Expires && a.Boot == history.BootID() && counts(*a) {
			return a
		}
	}
	return nil
}

// replaced returns the later task of a sequence that set again what task i had set, once that one was announced; else "". No
// task is announced before those before it are done, so task i was.
func (p *past) replaced(tasks []task, i int) string {
	w, ok := tasks[i].Action.(Writer)
	if !ok {
		return ""
	}
	for _, later := range tasks[i+1:] {
		l, ok := later.Action.(Writer)
		if !ok || !p.did(later.Path, later.kind(history.EntryIntent), later.kind(history.EntryWait)) {
			continue
		}
		for _, key := range w.Writes() {
			if slices.Contains(l.Writes(), key) {
				return later.Path
			}
		}
	}
	return ""
}

// Status is how the run that a journal speaks of last stands.
type Status struct {
	Procedure string
	Digest    string // of its plan
	Run       string // its name
	Ended     bool
	Paused    bool
	Step      string            // tried last
	Asking    []string          // steps that have asked for an approval and were neither approved nor done since
	Operators []string          // everybody who has operated it
	Keys      []string          // their public keys, where they gave one
	Approvers map[string]string // as the last operator knew them
}

// StatusOf reads how a journal's last run stands; false: nobody has begun one.
func StatusOf(entries []history.Entry) (Status, bool) {
	p := latest(entries)
	if len(p.entries) == 0 || p.entries[0].Kind != history.EntryBegin {
		return Status{}, false
	}
	s := Status{Procedure: p.entries[0].Procedure, Digest: p.digest, Run: p.name(), Ended: p.ended(), Step: p.last()}
	_, s.Paused = p.paused()
	for _, e := range p.entries {
		settled := func() { s.Asking = slices.DeleteFunc(s.Asking, func(x string) bool { return x == e.Step }) }
		switch e.Kind {
		case history.EntryBegin:
			if !slices.Contains(s.Operators, e.Who) {
				s.Operators = append(s.Operators, e.Who)
			}
			if e.Key != "" && !slices.Contains(s.Keys, e.Key) {
				s.Keys = append(s.Keys, e.Key)
			}
			s.Ended, s.Approvers = p.undone(), e.Approvers
		case history.EntryAsk:
			settled()
			s.Asking = append(s.Asking, e.Step)
		case history.EntryApproved, history.EntryConfirm, history.EntryAlready, history.EntryFailed, history.EntryStopped:
			settled()
		case history.EntryEnd:
			s.Ended = true
		}
	}
	return s, true
}

// notes are the engine's Notes for one task.
type notes struct {
	e       *engine
	task    task
	attempt int
}

func (n *notes) Run() string { return n.e.past.name() }

// ApprovedBy implements Approved.
func (n *notes) ApprovedBy() string {
	if a := n.e.approved(n.task); a != nil {
		return a.By
	}
	return ""
}

func (n *notes) All(key string) []any { return noted(n.e.past.entries, n.task.Path, key) }

// noted is every value that a step journalled under a key. Taking it back may read what doing it had noted.
func noted(entries []history.Entry, path, key string) []any {
	var out []any
	for _, e := range entries {
		if v, ok := e.Saw[key]; ok && e.Step == path {
			out = append(out, v)
		}
	}
	return out
}

func (n *notes) Note(saw Seen) error {
	err := n.e.record(n.task.Step, history.Entry{Kind: n.task.kind(history.EntryNote), Attempt: n.attempt, Saw: saw}, nil)
	if err != nil {
		return err
	}
	if !n.e.noted {
		n.e.noted = true
		n.e.crash(n.task, AfterNote)
	}
	return nil
}

// Keep implements Keeper: files stand in the folder "kept" beside the journal.
func (n *notes) Keep(name string, b []byte) (string, error) {
	if name == "" || strings.ContainsAny(name, `/\`) {
		return "", fmt.Errorf("keep %q: not a file name", name)
	}
	word := "step-"
	if n.task.undo {
		word = history.UndoPrefix
	}
	path := filepath.Join("kept", n.Run(), word+n.task.Path+"-"+strconv.Itoa(n.attempt)+"-"+name)
	full := filepath.Join(filepath.Dir(n.e.j.path), path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, b, 0o644)); err != nil {
		return "", fmt.Errorf("keep %s: %w", name, err)
	}
	return path, nil
}
