package check

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// Drill is the judged drill: all results, assumptions first, and the verdict that is the worst of them.
type Drill struct {
	Verdict Verdict  `json:"verdict"`
	Results []Result `json:"results"`
	// Interrupted says why the drill ended early. Such a drill is inconclusive at best.
	Interrupted string `json:"interrupted,omitempty"`
}

// Get returns a result by the name of its check.
func (d Drill) Get(name string) (Result, bool) {
	for _, r := range d.Results {
		if r.Check == name {
			return r, true
		}
	}
	return Result{}, false
}

// Contradiction says whether the evidence contradicts itself somewhere: then the harness is wrong, whatever the verdict.
func (d Drill) Contradiction() bool {
	for _, r := range d.Results {
		if r.Contradiction {
			return true
		}
	}
	return false
}

// Judge runs every check on a run: first whether the evidence can be trusted (harness sane, fault real), then the procedure,
// the data and the objectives. A later check that an earlier one explains is shown all the same. Meta.Ended must be set by
// then: a run without it was killed.
func Judge(run *history.Run) Drill {
	m, raw := measure(run), measure(objective.Raw(run))
	d := Drill{Verdict: Pass, Interrupted: interrupted(run)}
	calm := run.Meta.Calm // no region is lost: there is no recovery to time, and nothing may be lost on any account
	d.Results = []Result{Sane(run), FaultReal(run)}
	if !gateAlone(run) {
		d.Results = append(d.Results, Procedure(run))
	}
	if !calm {
		d.Results = append(d.Results, recovery(run, m))
	}
	if len(plannedWindows(run)) > 0 {
		d.Results = append(d.Results, PlannedOutage(run))
	}
	if run.Meta.Level != nil {
		d.Results = append(d.Results, LevelHeld(run))
	}
	d.Results = append(d.Results, Quiescent(run))
	if !calm {
		d.Results = append(d.Results, unreplicated(run, raw), dropped(run, raw), neverDurable(run, raw))
	}
	if calm || len(handovers(run)) > 0 {
		d.Results = append(d.Results, nothingLost(run, m))
	}
	d.Results = append(d.Results, DoubleCharge(run), Conservation(run), storesAgree(run, m), OneWriter(run))
	if run.Evidence.Reconciliation != nil {
		d.Results = append(d.Results, InFlight(run), Reconciled(run), SameAnswer(run))
	}
	if run.Meta.Facts != nil || run.Meta.FactsAsStart {
		d.Results = append(d.Results, EndFacts(run))
	}
	if slices.ContainsFunc(run.Marks, func(m history.Mark) bool { return m.Kind == history.KindDeath }) {
		d.Results = append(d.Results, ActsOnce(run))
	}
	d.Results = append(d.Results, RegionReads(run)...)
	d.Results = append(d.Results, waysBack(run)...)
	for _, r := range d.Results {
		d.Verdict = Worse(d.Verdict, r.Verdict())
	}
	if d.Interrupted != "" {
		d.Verdict = Worse(d.Verdict, Inconclusive)
	}
	return d
}

// oneReign says whether one region serves all along: the drill only reads the readiness gate, or lets nodes fail that their region outlives.
func oneReign(run *history.Run) bool {
	return gateAlone(run) || run.Meta.Calm && run.Meta.Emptied > 0
}

// gateAlone says whether a drill only reads the readiness gate: nothing is lost, and no procedure is run.
func gateAlone(run *history.Run) bool {
	return run.Meta.Calm && len(run.Journal) == 0 && has(run, history.KindGate)
}

// interrupted says why a run ended early, or "".
func interrupted(run *history.Run) string {
	switch {
	case run.Meta.Interrupt != "":
		return run.Meta.Interrupt
	case run.Meta.Ended == 0:
		return "the drill was killed"
	}
	return ""
}

// measures are measured once, however many checks read them.
type measures struct {
	recovery func() (objective.Recovery, error)
	ledger   func() (objective.Ledger, error)
}

func measure(run *history.Run) measures {
	return measures{
		recovery: sync.OnceValues(func() (objective.Recovery, error) { return objective.RecoveryTime(run) }),
		ledger:   sync.OnceValues(func() (objective.Ledger, error) { return objective.LossLedger(run) }),
	}
}

// Expected says whether a judged drill is what its scenario expects, and why not. An expected FAIL or INCONCLUSIVE must be the
// drill's verdict and that of the named check: a drill that fails for another reason is not the planted defect found. Without
// an expectation the drill must pass.
func Expected(d Drill, e *history.Expectation) (met bool, why string) {
	want := history.Expectation{Verdict: Pass.String()}
	if e != nil {
		want = *e
	}
	if d.Contradiction() {
		return false, "the evidence contradicts itself: " + contradicting(d)
	}
	if want.Check != "" {
		r, ok := d.Get(want.Check)
		if !ok {
			return false, fmt.Sprintf("expected %s by %q, and there is no such check", want.Verdict, want.Check)
		}
		if r.Verdict().String() != want.Verdict {
			return false, fmt.Sprintf("expected %s by %q, which says %s: %s", want.Verdict, want.Check, r.Verdict(), r.Says)
		}
	}
	if d.Verdict.String() != want.Verdict {
		return false, fmt.Sprintf("expected %s, the drill is %s%s", want.Verdict, d.Verdict, because(d))
	}
	return true, ""
}

// because names what gave the verdict.
func because(d Drill) string {
	var by []string
	for _, r := range d.Results {
		if r.Verdict() == d.Verdict && d.Verdict != Pass {
			by = append(by, fmt.Sprintf("%s (%s)", r.Check, r.Says))
		}
	}
	if d.Interrupted != "" && d.Verdict == Inconclusive {
		by = append(by, d.Interrupted)
	}
	if len(by) == 0 {
		return ""
	}
	return ": " + strings.Join(by, "; ")
}

func contradicting(d Drill) string {
	for _, r := range d.Results {
		if r.Contradiction {
			return r.Check + ": " + r.Says
		}
	}
	return ""
}

// Exit codes of a judged drill.
const (
	exitPassed        = 0
	exitFailed        = 1
	exitInconclusive  = 3
	exitContradiction = 70
)

// ExitCode is the exit code of a judged drill: 70 when its evidence contradicts itself, otherwise by its expectation where one
// is stated, otherwise by its verdict (0 PASS, 1 FAIL, 3 INCONCLUSIVE). An expectation that was not met is 1, except where the
// drill turned out INCONCLUSIVE and something else was expected: that says nothing about the expectation, and is 3.
func ExitCode(d Drill, e *history.Expectation) int {
	met, _ := Expected(d, e)
	switch {
	case d.Contradiction():
		return exitContradiction
	case met:
		return exitPassed
	case d.Verdict == Inconclusive && (e == nil || e.Verdict != Inconclusive.String()):
		return exitInconclusive
	}
	return exitFailed
}
