package objective

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

const second = history.Instant(time.Second)

// toggle is a service with a known truth: it is down from Down to Up.
type toggle struct {
	down, up history.Instant
	hang     bool // what arrives while it is down waits until it is up again; otherwise it is refused
}

// probed makes the history of a probe stream against a toggle.
func probed(r *rand.Rand, rate float64, fault, decision, end history.Instant, outages ...toggle) *history.Run {
	const timeout = 2 * time.Second
	run := &history.Run{Meta: history.Meta{Active: "tokyo", Standby: "osaka", Ended: end}}
	run.Meta.Objectives.Recovery = history.Recovery{
		Hold: history.Duration(2 * time.Second), Baseline: history.Duration(2 * time.Second), Target: history.Duration(time.Minute),
	}
	every := float64(second) / rate
	for slot := 0; ; slot++ {
		intended := second + history.Instant(every*(float64(slot)+r.Float64()/2))
		if intended >= end {
			break
		}
		late := time.Duration(r.ExpFloat64() * float64(400*time.Microsecond))
		if r.IntN(300) == 0 {
			late += time.Duration(r.IntN(12)) * time.Millisecond // other work on the machine
		}
		sent := intended.Add(late)
		took := time.Millisecond + time.Duration(r.ExpFloat64()*float64(2*time.Millisecond))
		served := sent.Add(time.Duration(r.Float64() * float64(took))) // the instant at which the service had to be there
		o := history.Operation{ID: int64(slot + 1), Stream: history.StreamProbe, Slot: slot, Attempt: 1, Intended: intended, Sent: sent, Site: "tokyo", Wire: 1}
		o.Outcome, o.Finished = history.OK, sent.Add(took)
		for _, t := range outages {
			switch {
			case served < t.down || served >= t.up:
			case !t.hang:
				o.Outcome = history.Fail
			default:
				o.Finished = t.up.Add(took)
				if o.Finished > sent.Add(timeout) {
					o.Outcome, o.Finished = history.Info, sent.Add(timeout)
				}
			}
		}
		run.Operations = append(run.Operations, o)
	}
	mark(run, second, history.KindPhase, history.PhaseSteady, nil)
	mark(run, fault, history.KindFault, "loss", history.FaultData{Action: "inject", Began: fault, Done: fault, Cut: fault})
	if decision != 0 {
		mark(run, decision, history.KindDecision, "switch over", history.PersonData{})
	}
	mark(run, end, history.KindPhase, history.PhaseLoadEnd, nil)
	return run
}

func mark(run *history.Run, t history.Instant, kind, name string, data any) {
	m := history.Mark{T: t, Kind: kind, Name: name}
	if data != nil {
		m.Data, _ = json.Marshal(data)
	}
	run.Marks = append(run.Marks, m)
	slices.SortStableFunc(run.Marks, func(a, b history.Mark) int { return int(a.T - b.T) })
}

// The interval holds the truth, over 1,000 seeds, refusing and hanging, at two rates.
func TestCalibration(t *testing.T) {
	widest := map[string]time.Duration{}
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1))
		rate := []float64{100, 100, 100, 500}[seed%4]
		hang := seed/4%2 == 1
		fault := 3*second + history.Instant(r.Int64N(int64(second)))
		down := fault + history.Instant(r.Int64N(int64(300*time.Millisecond)))
		up := down + history.Instant(500*time.Millisecond) + history.Instant(r.Int64N(int64(1500*time.Millisecond)))
		decision := down + history.Instant(r.Int64N(int64(400*time.Millisecond)))
		m, err := RecoveryTime(probed(r, rate, fault, decision, up+2500*history.Instant(time.Millisecond), toggle{down, up, hang}))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !m.Recovered || len(m.Episodes) != 1 || !m.Baseline.Held {
			t.Errorf("seed %d: recovered %v, %d episodes, baseline %+v", seed, m.Recovered, len(m.Episodes), m.Baseline)
			continue
		}
		for _, x := range []struct {
			what  string
			span  Span
			truth time.Duration
		}{
			{"outage", m.Outage, up.Sub(down)}, {"since fault", m.SinceFault, up.Sub(fault)}, {"since decision", m.SinceDecision, up.Sub(decision)},
		} {
			if x.truth < x.span.Lower || x.truth > x.span.Upper {
				t.Errorf("seed %d (%v/s, hang %v): %s was %v, measured %v – %v", seed, rate, hang, x.what, x.truth, x.span.Lower, x.span.Upper)
			}
		}
		key := fmt.Sprintf("%v/s hang %v", rate, hang)
		widest[key] = max(widest[key], m.Outage.Width())
	}
	for key, w := range widest {
		t.Logf("%s: widest interval %v", key, w.Round(100*time.Microsecond))
		if w > 160*time.Millisecond {
			t.Errorf("%s: an interval was %v wide", key, w)
		}
	}
}

// plain is a probe stream without chance: 100/s, 4 ms an answer, from 1 s to end; at names the probes that are not good.
func plain(end history.Instant, bad func(t time.Duration) bool) *history.Run {
	r := rand.New(rand.NewPCG(1, 1))
	run := probed(r, 100, 4*second, 5*second, end)
	for i := range run.Operations {
		o := &run.Operations[i]
		o.Intended = second + history.Instant(i)*10*history.Instant(time.Millisecond)
		o.Sent, o.Finished = o.Intended, o.Intended.Add(4*time.Millisecond)
		if bad(time.Duration(o.Intended)) {
			o.Outcome, o.Error = history.Fail, "refused"
		}
	}
	return run
}

func between(from, until time.Duration) func(time.Duration) bool {
	return func(t time.Duration) bool { return t >= from && t < until }
}

func TestRecoveryTime(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name string
		run  func() *history.Run
		want func(Recovery) error
	}{
		{"no outage", func() *history.Run { return plain(11*second, between(0, 0)) }, func(m Recovery) error {
			return expect(len(m.Episodes) == 0 && m.Blips == 0 && m.Recovered && m.Outage == Span{})
		}},
		{"one outage", func() *history.Run { return plain(11*second, between(4500*time.Millisecond, 6*s)) }, func(m Recovery) error {
			return expect(len(m.Episodes) == 1 && m.Outage.Lower < 1500*time.Millisecond && m.Outage.Upper > 1500*time.Millisecond &&
				m.Outage.Width() < 40*time.Millisecond && m.SinceDecision.Upper < 1020*time.Millisecond && m.SinceFault.Lower > 1980*time.Millisecond)
		}},
		{"a stray is a blip", func() *history.Run { return plain(11*second, between(5*s, 5*s+time.Millisecond)) }, func(m Recovery) error {
			return expect(len(m.Episodes) == 0 && m.Blips == 1 && m.Recovered)
		}},
		{"two failures within a second are an outage", func() *history.Run {
			return plain(11*second, func(t time.Duration) bool { return t == 5*s || t == 5*s+100*time.Millisecond })
		}, func(m Recovery) error {
			return expect(len(m.Episodes) == 1 && m.Episodes[0].Bad == 2 && m.Outage.Lower > 80*time.Millisecond && m.Outage.Upper < 130*time.Millisecond)
		}},
		{"flapping is summed up", func() *history.Run {
			return plain(13*second, func(t time.Duration) bool { return between(5*s, 6*s)(t) || between(8500*time.Millisecond, 9*s)(t) })
		}, func(m Recovery) error {
			return expect(len(m.Episodes) == 2 && m.Outage.Lower > 1400*time.Millisecond && m.Outage.Upper < 1600*time.Millisecond && m.SinceDecision.Lower > 3900*time.Millisecond)
		}},
		{"a level that does not hold is no recovery", func() *history.Run {
			return plain(13*second, func(t time.Duration) bool { return between(5*s, 6*s)(t) || between(6500*time.Millisecond, 7*s)(t) })
		}, func(m Recovery) error {
			return expect(len(m.Episodes) == 1 && m.Outage.Lower > 1900*time.Millisecond && m.Recovered)
		}},
		{"a stray in the level does not break it", func() *history.Run {
			return plain(13*second, func(t time.Duration) bool { return between(5*s, 6*s)(t) || t == 7*s })
		}, func(m Recovery) error {
			return expect(len(m.Episodes) == 1 && m.Blips == 1 && m.Outage.Upper < 1100*time.Millisecond)
		}},
		{"never back", func() *history.Run { return plain(11*second, between(5*s, 60*s)) }, func(m Recovery) error {
			return expect(!m.Recovered && !m.Episodes[0].Ended && m.SinceDecision.Lower > 5900*time.Millisecond)
		}},
		{"back too late to say", func() *history.Run { return plain(11*second, between(5*s, 10*s)) }, func(m Recovery) error {
			return expect(!m.Recovered && m.SinceDecision.Lower > 4900*time.Millisecond && m.SinceDecision.Lower < 5*s)
		}},
		{"slow is bad", func() *history.Run {
			run := plain(11*second, between(0, 0))
			for i := range run.Operations {
				if o := &run.Operations[i]; between(5*s, 6*s)(time.Duration(o.Sent)) {
					o.Finished = o.Sent.Add(200 * time.Millisecond)
				}
			}
			return run
		}, func(m Recovery) error { return expect(len(m.Episodes) == 1 && m.Limit == 100*time.Millisecond) }},
		{"half the goodput is not the level", func() *history.Run {
			run := plain(11*second, between(4500*time.Millisecond, 6*s))
			run.Operations = slices.DeleteFunc(run.Operations, func(o history.Operation) bool { return o.Sent > 6*second && o.Slot%2 == 0 })
			return run
		}, func(m Recovery) error { return expect(!m.Recovered) }},
		{"unknown is not good", func() *history.Run {
			run := plain(11*second, between(5*s, 6*s))
			for i := range run.Operations {
				if o := &run.Operations[i]; o.Outcome == history.Fail {
					o.Outcome, o.Finished = history.Info, 0
				}
			}
			return run
		}, func(m Recovery) error { return expect(len(m.Episodes) == 1 && m.Outage.Lower > 900*time.Millisecond) }},
		{"stale customers are left out", func() *history.Run {
			run := plain(11*second, between(5*s, 60*s))
			for i := range run.Operations {
				run.Operations[i].Stale = run.Operations[i].Outcome == history.Fail && i%10 == 0
				if !run.Operations[i].Stale {
					run.Operations[i].Outcome = history.OK
				}
			}
			return run
		}, func(m Recovery) error { return expect(len(m.Episodes) == 0 && m.Stale == 60) }},
		{"what was shed says nothing", func() *history.Run {
			run := plain(11*second, between(5*s, 5*s+50*time.Millisecond))
			for i := range run.Operations {
				if run.Operations[i].Outcome == history.Fail {
					run.Operations[i].Outcome = history.Shed
				}
			}
			return run
		}, func(m Recovery) error { return expect(len(m.Episodes) == 0 && m.MaxGap == 60*time.Millisecond) }},
		{"what the end of the load cut off says nothing", func() *history.Run {
			run := plain(11*second, between(0, 0))
			for i := range run.Operations[len(run.Operations)-30:] {
				o := &run.Operations[len(run.Operations)-30+i]
				o.Outcome, o.Finished = history.Info, 11*second
			}
			return run
		}, func(m Recovery) error { return expect(len(m.Episodes) == 0 && m.Recovered) }},
		{"lateness widens", func() *history.Run {
			run := plain(11*second, between(4500*time.Millisecond, 6*s))
			for i := range run.Operations {
				run.Operations[i].Intended -= history.Instant(30 * time.Millisecond)
			}
			return run
		}, func(m Recovery) error {
			return expect(m.Lateness == 30*time.Millisecond && m.Outage.Width() > 60*time.Millisecond)
		}},
		{"made lag is not the fault", func() *history.Run {
			run := plain(11*second, between(4500*time.Millisecond, 6*s))
			mark(run, 2*second, history.KindFault, "lag", history.FaultData{Action: "inject", Began: 2 * second})
			return run
		}, func(m Recovery) error { return expect(m.Fault == 4*second && m.Baseline.Held) }},
		{"an unsteady state before the fault", func() *history.Run {
			return plain(11*second, func(t time.Duration) bool { return t == 3*s || t == 3200*time.Millisecond })
		}, func(m Recovery) error {
			return expect(!m.Baseline.Held && m.Baseline.Why == "2 of 200 probes were bad before the fault")
		}},
		{"too short a steady state", func() *history.Run {
			run := plain(11*second, between(0, 0))
			run.Meta.Objectives.Recovery.Baseline = history.Duration(10 * s)
			return run
		}, func(m Recovery) error { return expect(!m.Baseline.Held && m.Baseline.Why != "") }},
		{"nobody decided", func() *history.Run {
			run := plain(11*second, between(5*s, 6*s))
			run.Marks = slices.DeleteFunc(run.Marks, func(m history.Mark) bool { return m.Kind == history.KindDecision })
			return run
		}, func(m Recovery) error { return expect(!m.Decided && m.SinceDecision == Span{} && len(m.Episodes) == 1) }},
		{"killed in the middle", func() *history.Run {
			run := plain(11*second, between(5*s, 60*s))
			run.Marks = slices.DeleteFunc(run.Marks, func(m history.Mark) bool { return m.Name == history.PhaseLoadEnd })
			return run
		}, func(m Recovery) error { return expect(!m.Recovered && m.LoadEnded > 10*second) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := RecoveryTime(c.run())
			if err != nil {
				t.Fatal(err)
			}
			if err := c.want(m); err != nil {
				t.Errorf("%+v", m)
			}
		})
	}
}

func expect(ok bool) error {
	if !ok {
		return errors.New("not as expected")
	}
	return nil
}

func TestNothingToMeasure(t *testing.T) {
	for name, drop := range map[string]func(*history.Run){
		"no steady state": func(r *history.Run) { r.Marks = r.Marks[1:] },
		"no probes":       func(r *history.Run) { r.Operations = nil },
		"no fault": func(r *history.Run) {
			r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool { return m.Kind == history.KindFault })
		},
		"nothing at all": func(r *history.Run) { *r = history.Run{} },
	} {
		run := plain(11*second, between(5*time.Second, 6*time.Second))
		drop(run)
		if _, err := RecoveryTime(run); !errors.Is(err, ErrNothingToMeasure) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithDefaults(t *testing.T) {
	full := WithDefaults(history.Objectives{})
	if full.Recovery.Success != 0.999 || full.Recovery.Target.D() != time.Hour || full.DualMax.D() != 50*time.Millisecond || full.Loss.MinAcked == 0 || full.LagMin == 0 {
		t.Errorf("defaults: %+v", full)
	}
	if again := WithDefaults(full); again != full {
		t.Errorf("defaults changed what was stated: %+v", again)
	}
	if none := WithDefaults(history.Objectives{Loss: history.Loss{MaxCount: -1}}); none.Loss.MaxCount != -1 {
		t.Errorf("a promise of no loss became %d", none.Loss.MaxCount)
	}
}

// Probes that the harness sent late are told from probes that the platform answered late, or not at all.
func TestLateHarness(t *testing.T) {
	const fault, end = 6 * second, 20 * second
	w := history.Window{Name: "w", From: 10 * second, Until: 14 * second}
	for _, c := range []struct {
		name      string
		late      time.Duration // sent − intended, from 11 s to 12 s
		took      time.Duration
		outcome   history.Outcome
		bad, ours bool
	}{
		{"sent and answered in time", 0, 5 * time.Millisecond, history.OK, false, false},
		{"sent late", 120 * time.Millisecond, 5 * time.Millisecond, history.OK, true, true},
		{"sent late, within what is good", 60 * time.Millisecond, 5 * time.Millisecond, history.OK, false, false},
		{"sent a little late, and answered slowly", 40 * time.Millisecond, 90 * time.Millisecond, history.OK, true, false},
		{"sent late, and answered slowly", 120 * time.Millisecond, 150 * time.Millisecond, history.OK, true, false},
		{"sent late, and refused", 120 * time.Millisecond, 5 * time.Millisecond, history.Fail, true, false},
		{"sent late, and never answered", 120 * time.Millisecond, 2 * time.Second, history.Info, true, false},
		{"sent in time, and answered slowly", 0, 150 * time.Millisecond, history.OK, true, false},
	} {
		run := probed(rand.New(rand.NewPCG(1, 2)), 100, fault, 0, end)
		n := 0
		for i := range run.Operations {
			if o := &run.Operations[i]; o.Intended >= 11*second && o.Intended < 12*second {
				o.Sent, o.Outcome = o.Intended.Add(c.late), c.outcome
				o.Finished = o.Sent.Add(c.took)
				n++
			}
		}
		l, err := During(run, w, 0, end, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		bad, ours := 0, 0
		if c.bad {
			bad = n
		}
		if c.ours {
			ours = n
		}
		if l.Bad != bad || l.Late != ours || (l.Punctual != nil) != c.ours {
			t.Errorf("%s: %d bad, %d of them late, %+v; expected %d and %d", c.name, l.Bad, l.Late, l.Punctual, bad, ours)
			continue
		}
		if c.ours && (l.Punctual.Bad != 0 || l.Punctual.Probes != l.Probes-n || len(l.Punctual.Episodes) != 0 || len(l.Episodes) == 0) {
			t.Errorf("%s: without them %+v", c.name, l.Punctual)
		}
	}
}
