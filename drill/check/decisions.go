package check

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// skips are the steps that are passed over in the end: the last decision about each counts.
func skips(entries []history.Entry) map[string]bool {
	out := map[string]bool{}
	for _, e := range entries {
		switch {
		case e.Kind == history.EntrySkip:
			out[e.Step] = true
		case e.Kind == history.EntryRetry && e.Why != "":
			delete(out, e.Step)
		}
	}
	return out
}

// decisionsOf says in words what persons decided in one run.
func decisionsOf(entries []history.Entry) string {
	pauses, approved := 0, 0
	for _, e := range entries {
		switch e.Kind {
		case history.EntryPause:
			pauses++
		case history.EntryApproved:
			approved++
		}
	}
	says := ""
	if n := len(skips(entries)); n > 0 {
		says += fmt.Sprintf("; %d skipped on purpose", n)
	}
	if approved > 0 {
		says += fmt.Sprintf("; %d approved", approved)
	}
	if pauses > 0 {
		says += fmt.Sprintf("; paused %d times", pauses)
	}
	for _, e := range entries {
		if e.Kind == history.EntryAbort && e.Why != "" {
			says += "; taken back, as " + e.Who + " decided: " + e.Why
		}
	}
	return says
}

// judgeDecisions judges how persons' decisions were kept in one run: a skip has a reason; nothing is begun during a pause; a
// step that asked for an approval acts only under one that is valid, by another person.
func judgeDecisions(entries []history.Entry) (wrong []Finding) {
	paused := false
	asked := map[string]bool{}
	granted := map[string]*history.Approval{}
	var used [][]byte
	operators := map[string]bool{} // names and keys
	var approvers map[string]string
	for _, e := range entries {
		kind, undo := e.Undoes()
		switch kind {
		case history.EntryBegin:
			operators[e.Who] = true
			if e.Key != "" {
				operators[e.Key] = true
			}
			approvers = e.Approvers
		case history.EntrySkip:
			if strings.TrimSpace(e.Why) == "" {
				wrong = append(wrong, finding(e, "step %s was skipped and nobody said why", e.Step))
			}
		case history.EntryPause:
			paused = true
		case history.EntryContinue:
			paused = false
		case history.EntryAsk:
			asked[e.Step] = true
		case history.EntryApproved:
			if why := unfit(e, entries[0], operators, approvers, used); why != "" {
				wrong = append(wrong, finding(e, "the approval of step %s counts for nothing: %s", e.Step, why))
				continue
			}
			if old := granted[e.Step]; old == nil || old.Expires < e.Approval.Expires {
				granted[e.Step] = e.Approval
			}
			used = append(used, e.Approval.Signature)
		case history.EntryIntent, history.EntryWait:
			if paused {
				wrong = append(wrong, finding(e, "step %s was begun during a pause", e.Step))
			}
			if a := granted[e.Step]; asked[e.Step] && !undo && (a == nil || a.Expires <= e.T) {
				wrong = append(wrong, finding(e, "step %s was begun without a valid approval", e.Step))
			}
		}
	}
	return wrong
}

// unfit says why an accepted approval should not have been, from what the journal alone holds; "" if it was right.
func unfit(e, begin history.Entry, operators map[string]bool, approvers map[string]string, used [][]byte) string {
	a := e.Approval
	if a == nil {
		return "there is none in the journal"
	}
	key, err := base64.StdEncoding.DecodeString(approvers[a.By])
	switch {
	case a.Step != e.Step || a.Digest != begin.Digest:
		return "it is for another step or another plan"
	case approvers[a.By] == "" || err != nil:
		return a.By + " is not among the approvers"
	case !a.SignedBy(ed25519.PublicKey(key)):
		return "the signature is not that of " + a.By
	case operators[a.By] || operators[approvers[a.By]]:
		return a.By + " operates this run"
	case a.Expires <= e.T:
		return "it had expired"
	case slices.ContainsFunc(used, func(s []byte) bool { return bytes.Equal(s, a.Signature) }):
		return "it was presented before"
	}
	return ""
}

// undoing is a run that was taken back.
type undoing struct {
	entries []history.Entry
	aborted bool
	why     history.Entry // the abort
}

// takenBack reads whether a run was taken back.
func takenBack(entries []history.Entry) undoing {
	for _, e := range entries {
		if e.Kind == history.EntryAbort {
			return undoing{entries, true, e}
		}
	}
	return undoing{entries: entries}
}

// judge judges it: from the abort on no step is begun; every step that was announced and has an undo is taken back, in reverse,
// confirmed by a read; and the run ended so. Where a step's failure led to it the procedure failed, however well it was undone,
// unless it was promised that this run is taken back.
func (u undoing) judge(promised bool) (planned, confirmed, manual int64, wrong []Finding) {
	has := map[string]bool{} // steps with an undo, as the preflight read them
	var announced []string
	aborted, ended := false, false
	var failed *history.Entry
	open, acted := map[string]bool{}, map[string]bool{}
	done := map[string]bool{}
	last := ""
	for i := range u.entries {
		e := &u.entries[i]
		if undos, ok := e.Saw["undo_checks"].(map[string]any); ok && e.Step == "" {
			for s := range undos {
				has[s] = true
			}
		}
		kind, undo := e.Undoes()
		switch {
		case e.Kind == history.EntryAbort:
			aborted = true
		case e.Kind == history.EntryBegin:
			clear(open)
			clear(acted)
			last = "" // the next operator sees to all of them once more
		case e.Kind == history.EntryUndone:
			ended = true
		case !undo && e.Kind == history.EntryFailed && failed == nil:
			failed = e
		case !undo && (kind == history.EntryIntent || kind == history.EntryWait):
			if aborted {
				wrong = append(wrong, finding(*e, "step %s was begun while the run was taken back", e.Step))
			}
			if !slices.Contains(announced, e.Step) {
				announced = append(announced, e.Step)
			}
		case !undo:
		case kind == history.EntryIntent || kind == history.EntryWait:
			if !aborted {
				wrong = append(wrong, finding(*e, "step %s was taken back before anybody decided so", e.Step))
			}
			if last != "" && byNumber(e.Step, last) > 0 {
				wrong = append(wrong, finding(*e, "step %s was taken back after step %s, expected the reverse of their order", e.Step, last))
			}
			last, open[e.Step] = e.Step, true
			if e.Manual {
				acted[e.Step] = true
				manual++
			}
		case kind == history.EntryAct:
			if !open[e.Step] {
				wrong = append(wrong, finding(*e, "the undo of step %s acted without having been announced", e.Step))
			}
			acted[e.Step] = true
		case kind == history.EntryConfirm && !acted[e.Step]:
			wrong = append(wrong, finding(*e, "the undo of step %s was confirmed as done by an operator who never acted", e.Step))
			done[e.Step] = true
		case kind == history.EntryConfirm, kind == history.EntryAlready, kind == history.EntrySkip:
			done[e.Step] = true
		}
	}
	for _, s := range announced {
		if !has[s] {
			continue
		}
		planned++
		if done[s] {
			confirmed++
		} else {
			wrong = append(wrong, Finding{What: fmt.Sprintf("step %s was begun and never taken back", s), T: int64(u.entries[len(u.entries)-1].T)})
		}
	}
	if !ended {
		wrong = append(wrong, finding(u.why, "%s was not taken back to its end", u.why.Procedure))
	}
	if failed != nil && !(promised && ended) {
		state := "and the run is not yet taken back"
		if ended {
			state = "and every step was taken back"
		}
		wrong = append([]Finding{finding(*failed, "step %s (%s) failed: %s; %s", failed.Step, failed.Title, failed.Error, state)}, wrong...)
	}
	return planned, confirmed, manual, wrong
}
