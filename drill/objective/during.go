package objective

import (
	"fmt"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// back is the time for which the level must be seen again before an outage within a window counts as ended: two windows in which
// strays are told from an outage. It is shorter than a recovery's Hold because the gate is on the *sum* of the outages (flapping, as
// RecoveryTime's source defines it): a second one, later, counts with its own length, and the service between the two does not.
const back = 2 * time.Second

// Level is what customers felt in one window of a run, seen by the same probes and against the same steady state as RecoveryTime.
type Level struct {
	history.Window
	Outage    Span // the sum of the episodes that began in the window; Upper is meaningless unless Recovered
	Recovered bool // each of them ended before what comes next
	Episodes  []Episode
	Blips     int
	Probes    int           // sent in the window
	Bad       int           // of these: not answered as they should within Limit
	Late      int           // probes that are bad only because the harness sent them late; see probe.late
	Punctual  *Level        // the same without those; nil where there are none
	P99       time.Duration // of those that were answered, from the intended instant
	Limit     time.Duration // L: max(3 × the baseline's p99, floor)
	Lateness  time.Duration
	MaxGap    time.Duration // longest time without a probe, in the window
	Rate      float64       // probes a second, in the window
	Baseline  Baseline
}

// Share is the share of good answers.
func (l Level) Share() float64 {
	if l.Probes == 0 {
		return 0
	}
	return float64(l.Probes-l.Bad) / float64(l.Probes)
}

// During measures what customers felt in a window. Outages are counted that begin in it or within `after` of its end; they may end
// until `end`, when the next thing begins. floor is the latency that counts as good however fast the steady state was.
func During(run *history.Run, w history.Window, after time.Duration, end history.Instant, floor time.Duration) (Level, error) {
	o := WithDefaults(run.Meta.Objectives).Recovery
	before, ok := undisturbed(run)
	if !ok {
		return Level{}, fmt.Errorf("%w: neither a fault nor a procedure began", ErrNothingToMeasure)
	}
	probes, m, err := survey(run, o, before, floor)
	if err != nil {
		return Level{}, err
	}
	end = min(end, m.LoadEnded)
	s := stretch{from: w.From, until: min(w.Until.Add(after), end), end: end}
	l := level(w, probes, o, m, s)
	for _, p := range probes { // as far as one decides whether an outage began in time
		if p.late && p.sent >= s.from && p.sent <= min(s.until.Add(o.Window.D()), end) {
			l.Late++
		}
	}
	if l.Late > 0 {
		punctual := level(w, slices.DeleteFunc(slices.Clone(probes), func(p probe) bool { return p.late }), o, m, s)
		l.Punctual = &punctual
	}
	return l, nil
}

// level measures a window by probes. Outages are looked for in the stretch.
func level(w history.Window, probes []probe, o history.Recovery, m Recovery, s stretch) Level {
	l := Level{Window: w, Recovered: true, Limit: m.Limit, Lateness: m.Lateness, Baseline: m.Baseline}
	until := min(w.Until, s.end)
	l.Until = until

	var inside []probe
	var slow []time.Duration
	for _, p := range probes {
		if p.sent < w.From || p.sent > until {
			continue
		}
		inside = append(inside, p)
		if !p.good {
			l.Bad++
		}
		if p.finished != 0 && !p.open {
			slow = append(slow, p.slow)
		}
	}
	l.Probes, l.P99 = len(inside), quantile(slow, 0.99)
	_, l.MaxGap, l.Rate = pace(inside, w.From, until)
	if n := len(inside); n > 0 {
		l.MaxGap = max(l.MaxGap, until.Sub(inside[n-1].sent))
	}

	o.Hold = min(o.Hold, history.Duration(back))
	l.Episodes, l.Blips = episodes(probes, o, m, s)
	for _, e := range l.Episodes {
		l.Outage = l.Outage.Plus(e.Lasted().widened(m.Lateness))
		l.Recovered = l.Recovered && e.Ended
	}
	return l
}

// undisturbed is the end of the steady state: the fault, or the first procedure's begin, whichever came first.
func undisturbed(run *history.Run) (history.Instant, bool) {
	at, ok := began(run)
	for _, p := range run.Procedures() {
		if p.Began && (!ok || p.From < at) {
			at, ok = p.From, true
		}
	}
	return at, ok
}

// Next is when the next thing after an instant begins that customers may feel: a procedure that does more than its preflight, or a
// lost region's return; the end of the load where there is none.
func Next(run *history.Run, after history.Instant) history.Instant {
	next := loadEnd(run)
	for _, w := range run.Windows() {
		if w.From > after {
			next = min(next, w.From)
		}
	}
	return next
}
