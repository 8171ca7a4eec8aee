package check

import (
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// RecoveryTime judges the time from the decision until customers were served again, against its target. It is an interval: PASS
// when even its upper end is within the target, FAIL when even its lower end is beyond, otherwise INCONCLUSIVE. It also says
// nothing when the probe was too thin or had a gap longer than max(250 ms, 1 % of the target), or when the steady state before
// the fault was not at the level itself.
func RecoveryTime(run *history.Run) Result { return recovery(run, measure(run)) }

func recovery(run *history.Run, m measures) Result {
	o := objective.WithDefaults(run.Meta.Objectives).Recovery
	r, err := m.recovery()
	if err != nil {
		return Undecided(NameRecovery, err.Error())
	}
	target := max(0, o.Target.D()) // below 0: none at all
	gapLimit := max(250*time.Millisecond, target/100)
	out := len(r.Episodes) > 0
	evidence := []Counter{
		{"probes a second", int64(r.Rate), int64(o.MinProbe)},
		{"probes in the steady state", int64(r.Baseline.Probes), int64(o.MinProbe * o.Baseline.D().Seconds() / 2)},
	}
	var missing []string
	hold := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	if !r.Baseline.Held {
		hold("a steady state: %s", r.Baseline.Why)
	}
	if r.MaxGap > gapLimit {
		hold("a probe without gaps: %v without one, at most %v", r.MaxGap.Round(time.Millisecond), gapLimit)
	}
	if !r.Recovered {
		hold("a recovery: the level did not hold for %v before the load ended", o.Hold)
	}
	if out && !r.Decided {
		hold("a decision: nobody decided to switch over")
	}
	failed := false
	if out && r.Decided {
		failed = r.SinceDecision.Lower > target && r.Baseline.Held
		if r.Recovered && !failed && r.SinceDecision.Upper > target {
			hold("a finer measurement: %s straddles the target of %s", span(r.SinceDecision), seconds(target))
		}
	}

	says := "customers felt no outage"
	switch {
	case out && !r.Recovered && r.Decided:
		says = fmt.Sprintf("not back %s after the decision (target %s)", seconds(r.SinceDecision.Lower), seconds(target))
	case out && !r.Recovered:
		says = "not back before the load ended"
	case out && r.Decided:
		says = fmt.Sprintf("out %s, back %s after the decision (target %s)", span(r.Outage), seconds(r.SinceDecision.Upper), seconds(target))
	case out:
		says = fmt.Sprintf("out %s, and nobody decided", span(r.Outage))
	}
	var findings []Finding
	for _, e := range r.Episodes {
		what := fmt.Sprintf("outage: %d bad probes, %s", e.Bad, span(e.Lasted()))
		if !e.Ended {
			what = fmt.Sprintf("outage: %d bad probes, no end before the load ended", e.Bad)
		}
		findings = append(findings, Finding{What: what, T: int64(e.OnsetFrom)})
	}
	res := Conclude(NameRecovery, says, failed, evidence, findings)
	if !failed && len(missing) > 0 {
		res = Hold(NameRecovery, says, evidence, findings, missing...)
	}
	res.Numbers = map[string]Interval{
		"blips":         {float64(r.Blips), float64(r.Blips), "probes"},
		"episodes":      {float64(len(r.Episodes)), float64(len(r.Episodes)), "episodes"},
		"lateness p99":  {ms(r.Lateness), ms(r.Lateness), "ms"},
		"longest gap":   {ms(r.MaxGap), ms(r.MaxGap), "ms"},
		"baseline p99":  {ms(r.Baseline.P99), ms(r.Baseline.P99), "ms"},
		"latency limit": {ms(r.Limit), ms(r.Limit), "ms"},
	}
	times := map[string]objective.Span{"outage": r.Outage, "since fault": r.SinceFault}
	if r.Decided {
		times["since decision"] = r.SinceDecision
	}
	for name, s := range times {
		if r.Recovered {
			res.Numbers[name] = interval(s)
		} else { // it has no upper end
			res.Numbers[name+", at least"] = interval(objective.Span{Lower: s.Lower, Upper: s.Lower})
		}
	}
	return res
}

func interval(s objective.Span) Interval { return Interval{s.Lower.Seconds(), s.Upper.Seconds(), "s"} }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// span prints "12.1 – 12.2 s", with as many digits as show that it is an interval, at most milliseconds.
func span(s objective.Span) string {
	var lo, hi string
	for digits := 1; digits <= 3; digits++ {
		lo, hi = fmt.Sprintf("%.*f", digits, s.Lower.Seconds()), fmt.Sprintf("%.*f", digits, s.Upper.Seconds())
		if lo != hi {
			return lo + " – " + hi + " s"
		}
	}
	return hi + " s"
}

// seconds prints "7.4 s", "60 s", "3600 s".
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
