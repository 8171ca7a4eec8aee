package runbook

import (
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Times says where the time of procedures went. The four parts exclude each other.
type Times struct {
	Machine  time.Duration // reads and acts of operators
	Manual   time.Duration // waits for a person to act
	Approval time.Duration // waits for a person to approve
	Paused   time.Duration // pauses
	Idle     time.Duration // no operator was at work: it had died, failed or been stopped, and nobody had come yet
}

// String is one line for people.
func (t Times) String() string {
	says := fmt.Sprintf("machine %v · by hand %v · waiting for approval %v · paused %v", r(t.Machine), r(t.Manual), r(t.Approval), r(t.Paused))
	if t.Idle > 0 {
		says += fmt.Sprintf(" · nobody at work %v", r(t.Idle))
	}
	return says
}

func r(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// TimesOf reads where the time of a journal's last run went, from the first operator's begin to the last entry.
func TimesOf(entries []history.Entry) Times {
	entries = latest(entries).entries
	var t Times
	into := &t.Machine
	for i, e := range entries {
		if i > 0 {
			gone := e.T.Sub(entries[i-1].T)
			if (e.Kind == history.EntryBegin || e.Kind == history.EntryTakeover) && into == &t.Machine {
				into = &t.Idle // the operator before it ended, or was stopped, somewhere in this gap, and nothing says where
			}
			*into += gone
		}
		kind, _ := e.Undoes()
		switch kind {
		case history.EntryWait:
			if e.Manual {
				into = &t.Manual
			}
		case history.EntryAsk:
			into = &t.Approval
		case history.EntryPause:
			if into != &t.Manual && into != &t.Approval { // a step that runs is finished first, and so is its wait
				into = &t.Paused
			}
		case history.EntryContinue:
			if into == &t.Paused {
				into = &t.Machine
			}
		case history.EntryConfirm, history.EntryAlready:
			into = &t.Machine
			if _, paused := (&past{entries: entries[:i]}).paused(); paused {
				into = &t.Paused
			}
		case history.EntryRejected, history.EntryNote: // while one waits
		case history.EntryFailed, history.EntryStopped, history.EntryEnd, history.EntryUndone, history.EntryRefused:
			into = &t.Idle
			if i+1 < len(entries) && entries[i+1].Kind != history.EntryBegin {
				into = &t.Machine // the same operator takes the steps back
			}
		case history.EntryBegin:
			into = &t.Machine
			if _, paused := (&past{entries: entries[:i]}).paused(); paused {
				into = &t.Paused
			}
		case history.EntryTakeover:
		default:
			into = &t.Machine
		}
	}
	return t
}
