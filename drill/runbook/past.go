package runbook

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/kirikae/kirikae/drill/history"
)

// past is what the journal knows of this run of the runbook: the entries since the first operator began it.
type past struct {
	from    int // index in the journal
	digest  string
	entries []history.Entry
}

// resume finds the run that is to go on, or begins a new one. A run is all that follows the first of several begins with one
// digest. It binds the next operator once something was announced, until it has ended: a run that only read, and was refused,
// may be followed by a corrected plan.
func resume(j *Journal, rb Runbook) (*past, error) {
	p := &past{}
	for i, e := range j.entries {
		if e.Kind == history.EntryBegin && e.Digest != p.digest {
			p.from, p.digest = i, e.Digest
		}
	}
	p.entries = j.entries[p.from:]
	digest := rb.Digest()
	switch {
	case p.digest == digest:
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
	return p.digest[:12] + "-" + strconv.FormatInt(int64(p.entries[0].T), 36)
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
func (p *past) acted() bool {
	return slices.ContainsFunc(p.entries, func(e history.Entry) bool { return e.Kind == history.EntryIntent || e.Kind == history.EntryWait })
}

func (p *past) ended() bool {
	return slices.ContainsFunc(p.entries, func(e history.Entry) bool { return e.Kind == history.EntryEnd })
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

// tries counts the operator processes, before the one that began last, that tried a step.
func (p *past) tries(path string) int {
	n, tried := 0, false
	for _, e := range p.entries {
		switch {
		case e.Kind == history.EntryBegin:
			if tried {
				n++
			}
			tried = false
		case e.Step == path:
			tried = true
		}
	}
	return n
}

// replaced returns the later step that set again what step i had set, once that one was announced; else "". No step is
// announced before those before it are confirmed, so step i was.
func (p *past) replaced(rb Runbook, i int) string {
	w, ok := rb.Steps[i].Action.(Writer)
	if !ok {
		return ""
	}
	for _, later := range rb.Steps[i+1:] {
		l, ok := later.Action.(Writer)
		if !ok || !p.did(later.Path, history.EntryIntent, history.EntryWait) {
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

// did says whether a step has an entry of one of the kinds.
func (p *past) did(path string, kinds ...string) bool {
	return slices.ContainsFunc(p.entries, func(e history.Entry) bool { return e.Step == path && slices.Contains(kinds, e.Kind) })
}

// notes are the engine's Notes for one step.
type notes struct {
	e       *engine
	step    Step
	attempt int
}

func (n *notes) Run() string { return n.e.past.name() }

func (n *notes) All(key string) []any {
	var out []any
	for _, e := range n.e.past.entries {
		if v, ok := e.Saw[key]; ok && e.Step == n.step.Path {
			out = append(out, v)
		}
	}
	return out
}

func (n *notes) Note(saw Seen) error {
	err := n.e.record(n.step, history.Entry{Kind: history.EntryNote, Attempt: n.attempt, Saw: saw}, nil)
	if err != nil {
		return err
	}
	if !n.e.noted {
		n.e.noted = true
		n.e.crash(n.step, AfterNote)
	}
	return nil
}
