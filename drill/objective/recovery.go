package objective

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Recovery is what the probe stream says about the outage: seen from the clients, in intervals whose width is the
// measurement's own resolution.
//
// A probe is good when it was answered as it should within Limit of its intended instant; anything else, unknown outcomes
// included, is not good. Probes that were shed say nothing. Probes of customers that ignore the DNS TTL are left out: whoever
// never asks for the new address is no measure of the platform (they still count in the loss ledger).
type Recovery struct {
	// Outage is the sum of all episodes; SinceDecision and SinceFault end with the last episode. All are zero when customers
	// felt nothing. Upper is meaningless unless Recovered.
	Outage, SinceDecision, SinceFault Span
	Decided                           bool // a person decided; otherwise SinceDecision means nothing
	Recovered                         bool // the level was reached again, and held for Hold, before the load ended

	Episodes []Episode
	Blips    int // single bad probes that were no outage

	Baseline  Baseline
	Limit     time.Duration // L: answers later than this are bad
	Lateness  time.Duration // p99 of sent − intended; every interval is widened by it
	MaxGap    time.Duration // longest time without a probe, from the steady state to the end of the load
	Rate      float64       // probes a second that were really sent, over the same time
	Probes    int           // probes that were measured
	Stale     int           // probes left out because their customer ignores the TTL
	Fault     history.Instant
	Decision  history.Instant
	LoadEnded history.Instant
}

// Baseline is the steady state before the fault.
type Baseline struct {
	From, Until history.Instant
	Probes      int
	Bad         int
	Rate        float64       // good answers a second
	P99         time.Duration // of good answers, from the intended instant
	Service     time.Duration // p99 of good answers, from the instant they were sent
	Held        bool          // it was itself at the level that recovery is measured against
	Why         string        // why not
}

// Episode is one outage. It began between OnsetFrom and OnsetUntil (O⁻, O⁺) and ended between EndFrom and EndUntil (E⁻, E⁺).
type Episode struct {
	OnsetFrom, OnsetUntil history.Instant
	EndFrom, EndUntil     history.Instant
	Ended                 bool // false: it lasted until the load ended; EndUntil means nothing
	Bad                   int  // bad probes from the first to the last one
}

// Lasted is the episode's length; without an end the upper bound means nothing.
func (e Episode) Lasted() Span {
	return Span{max(0, e.EndFrom.Sub(e.OnsetUntil)), max(0, e.EndUntil.Sub(e.OnsetFrom))}
}

// ErrNothingToMeasure says that the run has no probes, no steady state or no fault to measure from.
var ErrNothingToMeasure = errors.New("nothing to measure")

// probe is one measured operation.
type probe struct {
	intended, sent, finished history.Instant
	good                     bool
	open                     bool          // its outcome is not known
	late                     bool          // bad, and good had it been sent when it was due: the harness was late, not the platform
	slow                     time.Duration // finished − intended
}

// tardy is how much later than it was due a probe may be sent before that is the harness's fault.
const tardy = 50 * time.Millisecond

// RecoveryTime measures the outage of a run with the objectives' level: an outage begins with a bad probe after which less
// than Success of the next Window is good (a single stray is a blip), and ends with the last bad probe that is followed by
// Hold at the level: a success ratio of Success, and Goodput × the baseline's rate of good answers. Hold is waited for, not
// added. One stray failure inside Hold, more than Window after the end, does not break it, however thin the load.
//
// Where the lost region returns, or another procedure begins, later outages are not this fault's any more: During measures them.
//
// Brackets (they were calibrated against known toggles; see the test): O⁻ is the instant the last good probe before the
// outage was *sent* — the service may die while it answers —, O⁺ the instant the first bad one was sent plus the baseline's
// p99 service time; E⁻ is the instant the last bad one was sent, E⁺ the earliest *completion* of a good one sent after it.
func RecoveryTime(run *history.Run) (Recovery, error) {
	o := WithDefaults(run.Meta.Objectives).Recovery
	var m Recovery

	fault, faulted := began(run)
	if _, ok := run.Phase(history.PhaseSteady); ok && !faulted {
		return m, fmt.Errorf("%w: no fault was injected", ErrNothingToMeasure)
	}
	probes, m, err := survey(run, o, fault, o.LatMin.D())
	if err != nil {
		return m, err
	}
	for _, k := range run.Marks {
		if k.Kind == history.KindDecision {
			m.Decision, m.Decided = k.T, true
			break
		}
	}
	m.Episodes, m.Blips = episodes(probes, o, m, stretch{from: fault, until: afterwards(run, fault), end: m.LoadEnded})
	m.Recovered = true
	for _, e := range m.Episodes {
		m.Outage = m.Outage.Plus(e.Lasted().widened(m.Lateness))
		m.Recovered = m.Recovered && e.Ended
	}
	if n := len(m.Episodes); n > 0 {
		last := m.Episodes[n-1]
		m.SinceFault = Span{last.EndFrom.Sub(m.Fault), last.EndUntil.Sub(m.Fault)}.widened(m.Lateness)
		if m.Decided {
			m.SinceDecision = Span{last.EndFrom.Sub(m.Decision), last.EndUntil.Sub(m.Decision)}.widened(m.Lateness)
		}
	}
	return m, nil
}

// survey reads a run's probes, says how well they kept their schedule, and holds them against the steady state before an instant.
func survey(run *history.Run, o history.Recovery, before history.Instant, floor time.Duration) ([]probe, Recovery, error) {
	m := Recovery{Fault: before}
	steady, ok := run.Phase(history.PhaseSteady)
	if !ok {
		return nil, m, fmt.Errorf("%w: the steady state was never reached", ErrNothingToMeasure)
	}
	m.LoadEnded = loadEnd(run)
	probes, stale := probesOf(run, steady, m.LoadEnded)
	m.Stale = stale
	m.Probes = len(probes)
	if len(probes) == 0 {
		return nil, m, fmt.Errorf("%w: no probe was sent", ErrNothingToMeasure)
	}
	m.LoadEnded = min(m.LoadEnded, probes[len(probes)-1].sent)
	m.Lateness, m.MaxGap, m.Rate = pace(probes, steady, m.LoadEnded)

	m.Baseline = baselineOf(probes, o, steady, before)
	m.Limit = max(3*m.Baseline.P99, floor)
	for i := range probes {
		p := &probes[i]
		answered := p.good
		p.good = answered && p.slow <= m.Limit
		p.late = answered && !p.good && p.sent.Sub(p.intended) > tardy && p.finished.Sub(p.sent) <= m.Limit
	}
	m.Baseline.hold(probes, o)
	return probes, m, nil
}

// stretch is the part of a run in which episodes are looked for: those that begin in it count.
type stretch struct {
	from, until history.Instant
	end         history.Instant // what comes later says nothing about this stretch
}

// afterwards is when what follows a fault is its consequence no more: its region's return, or the begin of the procedure after the
// one that answered it; the end of time where there is neither.
func afterwards(run *history.Run, fault history.Instant) history.Instant {
	until := history.Instant(1<<63 - 1)
	if t, ok := run.Return(); ok && t > fault {
		until = t
	}
	answer := ""
	for _, p := range run.Procedures() {
		switch {
		case !p.Began || p.Until < fault:
		case answer == "":
			answer = p.Name
		case p.Name != answer:
			return min(until, p.From)
		}
	}
	return until
}

// began is the first action of the fault that the drill is about: the first injected one that cut a site off. Without one, it is
// the first action of the phase that is named after it; lag that was made on purpose is a condition, not the fault.
func began(run *history.Run) (history.Instant, bool) {
	faults, err := history.Marked[history.FaultData](run, history.KindFault)
	if err == nil {
		for _, f := range faults {
			if f.Data.Action == "inject" && f.Data.Cut != 0 {
				return f.Data.Began, true
			}
		}
	}
	return run.Phase(history.PhaseFault)
}

// loadEnd is when the load stopped; the last probe's instant where the run was cut short.
func loadEnd(run *history.Run) history.Instant {
	if t, ok := run.Phase(history.PhaseLoadEnd); ok {
		return t
	}
	var t history.Instant
	for _, op := range run.Operations {
		if op.Stream == history.StreamProbe {
			t = max(t, op.Sent)
		}
	}
	return t
}

// probesOf returns the probes that say something, in order of sending.
func probesOf(run *history.Run, from, until history.Instant) (out []probe, stale int) {
	for _, op := range run.Operations {
		if op.Stream != history.StreamProbe || op.Outcome == history.Shed || op.Sent < from || op.Sent > until {
			continue
		}
		if op.Stale {
			stale++
			continue
		}
		p := probe{intended: op.Intended, sent: op.Sent, finished: op.Finished}
		p.good = op.Outcome == history.OK && op.Finished != 0
		p.slow = op.Finished.Sub(op.Intended)
		p.open = op.Outcome == history.Info
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b probe) int { return cmp.Compare(a.sent, b.sent) })
	if len(out) > 0 {
		// What was in flight when the load ended, or the run was killed, was cut off by the harness, not by the platform.
		tail := out[len(out)-1].sent.Add(-time.Second)
		out = slices.DeleteFunc(out, func(p probe) bool { return p.open && p.sent > tail })
	}
	return out, stale
}

// pace says how well the probe kept its schedule.
func pace(probes []probe, from, until history.Instant) (lateness, gap time.Duration, rate float64) {
	late := make([]time.Duration, 0, len(probes))
	last := from
	for _, p := range probes {
		late = append(late, p.sent.Sub(p.intended))
		gap = max(gap, p.sent.Sub(last))
		last = p.sent
	}
	if d := until.Sub(from).Seconds(); d > 0 {
		rate = float64(len(probes)) / d
	}
	return max(0, quantile(late, 0.99)), gap, rate
}

// baselineOf measures the last Baseline of the steady state before the fault.
func baselineOf(probes []probe, o history.Recovery, steady, fault history.Instant) Baseline {
	b := Baseline{From: max(steady, fault.Add(-o.Baseline.D())), Until: fault}
	var slow, service []time.Duration
	for _, p := range probes {
		if p.sent >= b.From && p.finished != 0 && p.finished < b.Until && p.good {
			slow = append(slow, p.slow)
			service = append(service, p.finished.Sub(p.sent))
		}
	}
	b.P99, b.Service = quantile(slow, 0.99), quantile(service, 0.99)
	return b
}

// hold decides whether the baseline was itself at the level.
func (b *Baseline) hold(probes []probe, o history.Recovery) {
	good := 0
	for _, p := range probes {
		// Probes whose answer the fault could have taken are not the baseline's.
		if p.sent < b.From || p.sent.Add(b.P99) >= b.Until {
			continue
		}
		b.Probes++
		if p.good {
			good++
		}
	}
	b.Bad = b.Probes - good
	length := b.Until.Sub(b.From)
	if counted := length - b.P99; counted > 0 {
		b.Rate = float64(good) / counted.Seconds()
	}
	switch {
	case float64(length) < 0.95*float64(o.Baseline.D()):
		b.Why = fmt.Sprintf("the steady state lasted %v before the fault, not %v", length.Round(time.Millisecond), o.Baseline)
	case b.Probes == 0:
		b.Why = "no probe was answered in the steady state"
	case b.Bad > tolerated(b.Probes, o.Success):
		b.Why = fmt.Sprintf("%d of %d probes were bad before the fault", b.Bad, b.Probes)
	default:
		b.Held = true
	}
}

// tolerated is how many of n probes may be bad at the level; one stray always may.
func tolerated(n int, success float64) int {
	return max(1, int(float64(n)*(1-success)+1e-9))
}

// episodes walks the probes of a stretch, in order of sending.
func episodes(probes []probe, o history.Recovery, m Recovery, s stretch) (out []Episode, blips int) {
	good := make([]int, len(probes)+1) // good[i]: good ones among the first i
	for i, p := range probes {
		good[i+1] = good[i]
		if p.good {
			good[i+1]++
		}
	}
	// after counts the probes sent in (probes[i].sent, probes[i].sent+d].
	after := func(i int, d time.Duration) (n, ok int) {
		end := probes[i].sent.Add(d)
		j, _ := slices.BinarySearchFunc(probes[i+1:], end, func(p probe, t history.Instant) int {
			if p.sent <= t {
				return -1
			}
			return 1
		})
		j += i + 1
		return j - i - 1, good[j] - good[i+1]
	}
	held := func(i int) bool {
		hold := o.Hold.D()
		if probes[i].sent.Add(hold) > s.end {
			return false // the load ended too early to say that the level held
		}
		if n, ok := after(i, o.Window.D()); float64(ok) < o.Success*float64(n) {
			return false // the next bad one is near: it belongs to the same outage
		}
		n, ok := after(i, hold)
		return n-ok <= tolerated(n, o.Success) && float64(ok) >= o.Goodput*m.Baseline.Rate*hold.Seconds()
	}

	for i := 0; i < len(probes); i++ {
		if probes[i].sent > s.until {
			break
		}
		if probes[i].good || probes[i].finished != 0 && probes[i].finished < s.from || probes[i].sent.Add(m.Limit) < s.from {
			continue
		}
		if n, ok := after(i, o.Window.D()); n > 0 && float64(ok) >= o.Success*float64(n) {
			blips++
			continue
		}
		e := Episode{OnsetFrom: probes[0].sent, OnsetUntil: probes[i].sent.Add(m.Baseline.Service)}
		for j := i - 1; j >= 0; j-- {
			if probes[j].good {
				e.OnsetFrom = probes[j].sent
				break
			}
		}
		last := i
		for ; i < len(probes) && probes[i].sent <= s.end; i++ {
			if probes[i].good {
				continue
			}
			last = i
			e.Bad++
			if held(i) {
				e.Ended = true
				break
			}
		}
		e.EndFrom, e.EndUntil = probes[last].sent, min(s.end, m.LoadEnded)
		if e.Ended {
			e.EndUntil = probes[last].finished // replaced below: a held window has good probes
			found := false
			for j := last + 1; j < len(probes); j++ {
				if found && probes[j].sent >= e.EndUntil {
					break // a probe sent later cannot have completed earlier
				}
				if probes[j].good && (!found || probes[j].finished < e.EndUntil) {
					e.EndUntil, found = probes[j].finished, true
				}
			}
		}
		out = append(out, e)
		i = last
		if !e.Ended {
			break
		}
	}
	return out, blips
}

// quantile is the q-quantile of d by rank; 0 for none.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(float64(len(d))*q))]
}
