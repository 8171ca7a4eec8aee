package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// failback is how the names of procedures begin that give the work back; its preparation is none of them.
const (
	failback    = "failback"
	preparation = "failback-preparation"
)

// plannedWindows are the runs of procedures whose outage is planned: planned switchovers, whichever way they go. One that the
// scenario promises to be taken back is no handover.
func plannedWindows(run *history.Run) (out []history.ProcedureRun) {
	for _, p := range run.Procedures() {
		back := strings.HasPrefix(p.Name, failback) && !strings.HasPrefix(p.Name, preparation)
		if p.Began && (p.Planned || back) && !(p.Undone && run.Meta.TakenBack) {
			out = append(out, p)
		}
	}
	return out
}

// Handover is one run of a procedure whose outage is planned: its window, and what customers felt in it.
type Handover struct {
	history.ProcedureRun
	Target time.Duration   // longest outage
	Level  objective.Level // means nothing where Err is set
	Err    error           // why it could not be measured
}

// Handovers measures each planned switchover and each failback of a run, in order.
func Handovers(run *history.Run) (out []Handover) {
	o := objective.WithDefaults(run.Meta.Objectives)
	for _, p := range plannedWindows(run) {
		h := Handover{ProcedureRun: p, Target: max(0, o.PlannedMax.D())} // below 0: none at all
		if strings.HasPrefix(p.Name, failback) {
			h.Target = max(0, o.FailbackMax.D())
		}
		h.Level, h.Err = objective.During(run, p.Window, o.Recovery.Hold.D(), objective.Next(run, p.Until), o.Recovery.LatMin.D())
		out = append(out, h)
	}
	return out
}

// PlannedOutage judges how long customers were out during each planned switchover and each failback: the sum of the outages that
// began in it or, until the level was to hold for its time, after it, against its own target. Like a recovery time it is an interval: PASS when even its upper end is within the target,
// FAIL when even its lower end is beyond, otherwise INCONCLUSIVE.
func PlannedOutage(run *history.Run) Result {
	o := objective.WithDefaults(run.Meta.Objectives)
	handovers := Handovers(run)
	if len(handovers) == 0 {
		return Undecided(NamePlanned, "no planned switchover was begun")
	}
	var evidence []Counter
	var missing, says []string
	var findings []Finding
	numbers := map[string]Interval{}
	failed := false
	for i, p := range handovers {
		target, l := p.Target, p.Level
		hold := func(format string, args ...any) {
			missing = append(missing, p.Name+": "+fmt.Sprintf(format, args...))
		}
		if p.Err != nil {
			return Undecided(NamePlanned, p.Err.Error())
		}
		evidence = append(evidence, Counter{"probes during " + p.Name, int64(l.Probes), int64(max(1, o.Recovery.MinProbe*l.Until.Sub(l.From).Seconds()/2))})
		if gap := gapLimit(target); l.MaxGap > gap {
			hold("a probe without gaps: %v without one, at most %v", l.MaxGap.Round(time.Millisecond), gap)
		}
		if !l.Baseline.Held {
			hold("a steady state: %s", l.Baseline.Why)
		}
		late := l.Outage.Lower > target
		ours := late && l.Punctual != nil && l.Punctual.Outage.Lower <= target
		if ours {
			hold("a punctual harness: the harness sent %d probes late", l.Late)
		}
		failed = failed || late && l.Baseline.Held && !ours
		what := fmt.Sprintf("out %s during %s (target %s)", span(l.Outage), p.Name, seconds(target))
		switch {
		case len(l.Episodes) == 0:
			what = fmt.Sprintf("customers felt no outage during %s (target %s)", p.Name, seconds(target))
		case !l.Recovered && late:
			what = fmt.Sprintf("out for at least %s during %s (target %s)", seconds(l.Outage.Lower), p.Name, seconds(target))
		case !l.Recovered:
			hold("an end of the outage: the level did not hold before what came next")
		case !late && l.Outage.Upper > target:
			hold("a finer measurement: %s straddles the target of %s", span(l.Outage), seconds(target))
		}
		says = append(says, what)
		findings = append(findings, outagesOf(l)...)
		name := p.Name
		if i > 0 && numbers[name+" outage"].Unit != "" {
			name = fmt.Sprintf("%s %d", p.Name, i+1)
		}
		if l.Recovered {
			numbers[name+" outage"] = interval(l.Outage)
		} else {
			numbers[name+" outage, at least"] = interval(objective.Span{Lower: l.Outage.Lower, Upper: l.Outage.Lower})
		}
		numbers[name+" blips"] = exactly(l.Blips, "probes")
		numbers[name+" lasted"] = interval(objective.Span{Lower: p.Until.Sub(p.From), Upper: p.Until.Sub(p.From)})
	}
	all := strings.Join(says, ", ")
	r := Conclude(NamePlanned, all, failed, evidence, findings)
	if !failed && len(missing) > 0 {
		r = Hold(NamePlanned, all, evidence, findings, missing...)
	}
	r.Numbers = numbers
	return r
}

// gapLimit is how long a probe may pause before a measurement against a target says nothing.
func gapLimit(target time.Duration) time.Duration { return max(250*time.Millisecond, target/100) }

func outagesOf(l objective.Level) (out []Finding) {
	for _, e := range l.Episodes {
		what := fmt.Sprintf("%s: outage: %d bad probes, %s", l.Name, e.Bad, span(e.Lasted()))
		if !e.Ended {
			what = fmt.Sprintf("%s: outage: %d bad probes, no end before what came next", l.Name, e.Bad)
		}
		out = append(out, Finding{What: what, T: int64(e.OnsetFrom)})
	}
	return out
}

// LevelHeld judges that customers noticed nothing of the windows that the scenario names: no outage began in them, the share of good
// answers stayed at the level, and the latency below three times the steady state's, or below what nobody notices. A window in which
// the probe itself stood still says nothing, unless an outage in it was longer; nor does one that only probes spoil which the harness sent late.
func LevelHeld(run *history.Run) Result {
	o := objective.WithDefaults(run.Meta.Objectives)
	var evidence []Counter
	var missing, says []string
	var findings []Finding
	numbers := map[string]Interval{}
	failed := ""
	for _, name := range slices.Compact(slices.Sorted(slices.Values(run.Meta.Level))) {
		var n int64
		for _, w := range run.Windows() {
			if w.Name != name && !strings.HasPrefix(w.Name, name+"-") {
				continue
			}
			n++
			l, err := objective.During(run, w, 0, objective.Next(run, w.Until), o.LevelFloor.D())
			if err != nil {
				return Undecided(NameLevelHeld, err.Error())
			}
			evidence = append(evidence, Counter{"probes during " + w.Name, int64(l.Probes), int64(max(1, o.Recovery.MinProbe*l.Until.Sub(l.From).Seconds()/2))})
			if gap := gapLimit(0); l.MaxGap > gap {
				missing = append(missing, fmt.Sprintf("%s: a probe without gaps: %v without one, at most %v", w.Name, l.MaxGap.Round(time.Millisecond), gap))
			}
			if !l.Baseline.Held {
				missing = append(missing, fmt.Sprintf("%s: a steady state: %s", w.Name, l.Baseline.Why))
			}
			noticed := noticedOf(l, o.Recovery.Success)
			findings = append(findings, noticed...)
			switch {
			case len(noticed) == 0:
			case l.Punctual != nil && len(noticedOf(*l.Punctual, o.Recovery.Success)) == 0:
				missing = append(missing, fmt.Sprintf("%s: a punctual harness: the harness sent %d probes late", w.Name, l.Late))
			case l.Baseline.Held && (l.MaxGap <= gapLimit(0) || outlasts(l, l.MaxGap)) && failed == "":
				failed = noticed[0].What
			}
			says = append(says, fmt.Sprintf("%.2f %% good of %d probes during %s, p99 %d ms (limit %d ms)",
				100*l.Share(), l.Probes, w.Name, l.P99.Milliseconds(), l.Limit.Milliseconds()))
			numbers[w.Name+" bad"] = exactly(l.Bad, "probes")
			numbers[w.Name+" p99"] = Interval{ms(l.P99), ms(l.P99), "ms"}
			numbers[w.Name+" lasted"] = interval(objective.Span{Lower: l.Until.Sub(l.From), Upper: l.Until.Sub(l.From)})
		}
		evidence = append(evidence, Counter{"times of " + name, n, 1})
	}
	all := "level held: " + strings.Join(says, ", ")
	if len(says) == 0 {
		all = "nothing that was to be held was seen"
	}
	if failed != "" {
		all = failed
	}
	r := Conclude(NameLevelHeld, all, failed != "", evidence, findings)
	if failed == "" && len(missing) > 0 {
		r = Hold(NameLevelHeld, all, evidence, findings, missing...)
	}
	r.Numbers = numbers
	return r
}

// outlasts says whether an outage of a window was surely longer than a pause of the probe, which then cannot be its reason.
func outlasts(l objective.Level, pause time.Duration) bool {
	return slices.ContainsFunc(l.Episodes, func(e objective.Episode) bool { return e.Lasted().Lower > pause })
}

// noticedOf is what customers noticed in a window: its outages, too many bad answers, answers that were too slow.
func noticedOf(l objective.Level, success float64) []Finding {
	out := outagesOf(l)
	if l.Bad > max(1, int(float64(l.Probes)*(1-success)+1e-9)) {
		out = append(out, Finding{T: int64(l.From), What: fmt.Sprintf("%s: %d of %d probes were bad (%.2f %% good, at least %.2f %%)",
			l.Name, l.Bad, l.Probes, 100*l.Share(), 100*success)})
	}
	if l.P99 > l.Limit {
		out = append(out, Finding{T: int64(l.From), What: fmt.Sprintf("%s: p99 %v, at most %v", l.Name, l.P99.Round(time.Millisecond), l.Limit.Round(time.Millisecond))})
	}
	return out
}
