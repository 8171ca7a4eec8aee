package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// Procedure judges the operators' journal: every step of the plan was announced, and confirmed by a read, in the order of its
// numbers; nothing was begun before the steps before it were confirmed, nor before somebody decided; and the procedure ended.
// An operator that was killed and resumed is fine: a step that its successor finds done is confirmed. So is what a person
// decided and gave a reason for: a step that is passed over, a pause, a run that is taken back before its point of commitment.
func Procedure(run *history.Run) Result {
	if len(run.Journal) == 0 {
		return Undecided(NameProcedure, "no procedure was run")
	}
	var wrong []Finding
	var planned, confirmed, manual int64
	operators, decided := 0, ""
	groups := history.ProcedureRuns(run.Journal)
	for i, g := range groups {
		for _, e := range g {
			if e.Kind == history.EntryBegin {
				operators++
			}
		}
		if last := g[len(g)-1]; last.Kind == history.EntryRefused && !announced(g) {
			if i+1 == len(groups) {
				wrong = append(wrong, finding(last, "%s was refused and changed nothing: %s", last.Procedure, last.Error))
			}
			continue // a corrected plan followed
		}
		p, c, m, w := judgeProcedure(g, run.Meta.TakenBack)
		planned, confirmed, manual = planned+p, confirmed+c, manual+m
		wrong = append(wrong, w...)
		wrong = append(wrong, judgeDecisions(g)...)
		decided += decisionsOf(g)
	}
	if run.Meta.TakenBack && !slices.ContainsFunc(run.Procedures(), func(p history.ProcedureRun) bool { return p.Undone }) {
		wrong = append(wrong, Finding{What: "no procedure was taken back to its end", T: int64(run.Journal[len(run.Journal)-1].T)})
	}
	if d, ok := decision(run); ok {
		for _, e := range run.Journal {
			if (e.Kind == history.EntryIntent || e.Kind == history.EntryWait) && e.T < d {
				wrong = append(wrong, finding(e, "step %s was begun before the person in charge had decided", e.Step))
				break
			}
		}
	}
	slices.SortStableFunc(wrong, func(a, b Finding) int { return cmp.Compare(a.T, b.T) })

	evidence := []Counter{{"steps confirmed", confirmed, max(1, planned)}}
	says := fmt.Sprintf("%d steps confirmed in order, %d of them by a person", confirmed, manual)
	done := namesOf(groups)
	if again := operators - max(1, len(done)); again > 0 {
		says += fmt.Sprintf("; resumed %d times", again)
	}
	says += decided
	if len(done) > 1 {
		says += " (" + strings.Join(done, ", then ") + ")"
	}
	if why := interrupted(run); len(wrong) > 0 {
		says = wrong[0].What
		if why != "" && !broken(run.Journal) {
			return Hold(NameProcedure, says, evidence, wrong, "the drill ended early: "+why)
		}
	}
	return Conclude(NameProcedure, says, len(wrong) > 0, evidence, wrong)
}

// broken says whether the last operator stopped at a failure or a refusal of its own.
func broken(journal []history.Entry) bool {
	kind := journal[len(journal)-1].Kind
	return slices.Contains([]string{history.EntryFailed, history.EntryRefused, history.UndoPrefix + history.EntryFailed, history.EntryUndone}, kind)
}

// namesOf lists the procedures that did something, in order.
func namesOf(groups [][]history.Entry) (out []string) {
	for _, g := range groups {
		if announced(g) {
			out = append(out, g[0].Procedure)
		}
	}
	return out
}

func announced(entries []history.Entry) bool {
	return slices.ContainsFunc(entries, func(e history.Entry) bool { return e.Kind == history.EntryIntent || e.Kind == history.EntryWait })
}

// judgeProcedure judges one run of one procedure. promised: the scenario says that one is taken back.
func judgeProcedure(entries []history.Entry, promised bool) (planned, confirmed, manual int64, wrong []Finding) {
	if b := takenBack(entries); b.aborted {
		return b.judge(promised)
	}
	skipped, passedAt := skips(entries), map[string]int{} // step → place of its first skip: from there on later steps may begin
	begun, done := map[string]int{}, map[string]int{}     // step → place in the journal of its first announcement and first confirm
	open, acted := map[string]bool{}, map[string]bool{}   // steps that the present operator has announced, and acted on
	persons := map[string]bool{}
	var last, failed *history.Entry
	ended := false
	for i := range entries {
		e := &entries[i]
		switch e.Kind {
		case history.EntryBegin:
			clear(open)
			clear(acted)
		case history.EntryIntent, history.EntryWait:
			if _, again := begun[e.Step]; !again {
				begun[e.Step] = i
			}
			open[e.Step] = true
			persons[e.Step] = persons[e.Step] || e.Manual
		case history.EntryAct:
			if !open[e.Step] {
				wrong = append(wrong, finding(*e, "step %s acted without having been announced", e.Step))
			}
			acted[e.Step] = true
		case history.EntryConfirm, history.EntryAlready:
			switch {
			case e.Kind == history.EntryAlready:
			case !open[e.Step]:
				wrong = append(wrong, finding(*e, "step %s was confirmed without having been announced", e.Step))
			case !e.Manual && !acted[e.Step]:
				wrong = append(wrong, finding(*e, "step %s was confirmed as done by an operator who never acted", e.Step))
			}
			if _, again := done[e.Step]; !again {
				done[e.Step] = i
			}
			failed = nil
		case history.EntrySkip:
			if _, again := passedAt[e.Step]; !again {
				passedAt[e.Step] = i
			}
			if failed != nil && failed.Step == e.Step {
				failed = nil
			}
		case history.EntryFailed:
			failed = e
		case history.EntryEnd:
			ended = true
		}
		if e.Step != "" && e.Kind != history.EntryNote {
			if ended {
				ended = false // something was done after the end: it must end again
			}
			last = e
		}
	}

	if entries[0].Kind != history.EntryBegin {
		wrong = append(wrong, finding(entries[0], "nobody began %s", entries[0].Procedure))
	}
	steps, passed := planOf(entries), 0
	for i, s := range steps {
		at, ok := done[s]
		if p, once := passedAt[s]; once && (!ok || p < at) {
			at = p
		}
		if !ok && !skipped[s] {
			wrong = append(wrong, Finding{What: fmt.Sprintf("step %s was never confirmed", s), T: int64(entries[len(entries)-1].T)})
			continue
		}
		if skipped[s] {
			passed++
		} else {
			confirmed++
			if persons[s] {
				manual++
			}
		}
		for _, later := range steps[i+1:] {
			if b, ok := begun[later]; ok && b < at {
				wrong = append(wrong, finding(entries[b], "step %s was begun before step %s was confirmed", later, s))
				break
			}
		}
	}
	switch {
	case failed != nil:
		wrong = append([]Finding{finding(*failed, "step %s (%s) failed: %s", failed.Step, failed.Title, failed.Error)}, wrong...)
	case !ended && last != nil:
		wrong = append(wrong, finding(*last, "%s did not get past step %s", last.Procedure, last.Step))
	case !ended:
		wrong = append(wrong, finding(entries[0], "%s was begun and not carried out", entries[0].Procedure))
	}
	return int64(len(steps) - passed), confirmed, manual, wrong
}

// planOf lists a plan's steps in the order of their numbers: those whose checks the preflight read, and those that the journal
// tells of.
func planOf(entries []history.Entry) []string {
	steps := map[string]bool{}
	for _, e := range entries {
		if e.Step != "" {
			steps[e.Step] = true
		}
		if checks, ok := e.Saw["checks"].(map[string]any); ok && e.Step == "" {
			for s := range checks {
				steps[s] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(steps), byNumber)
}

// byNumber orders "4.2" before "4.10" and "10".
func byNumber(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		n, err1 := strconv.Atoi(x[i])
		m, err2 := strconv.Atoi(y[i])
		c := cmp.Compare(n, m)
		if err1 != nil || err2 != nil {
			c = cmp.Compare(x[i], y[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

func decision(run *history.Run) (history.Instant, bool) {
	for _, k := range run.Marks {
		if k.Kind == history.KindDecision {
			return k.T, true
		}
	}
	return 0, false
}

func finding(e history.Entry, format string, args ...any) Finding {
	return Finding{What: fmt.Sprintf(format, args...), T: int64(e.T)}
}
