// Package objective measures a drill: how long customers were out, and which acknowledged payments were lost. It measures
// only; whether a number is good enough is for package check to say.
//
// Both measures are intervals or lists with their own evidence, never a bare number: a recovery time without its resolution,
// or a loss of zero without a payment that could have been lost, says nothing.
package objective

import (
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// WithDefaults fills the objectives that a scenario does not state. A zero value is "not stated": where zero itself is meant
// (no payment may be lost), state a negative number.
func WithDefaults(o history.Objectives) history.Objectives {
	r := &o.Recovery
	fill(&r.Target, time.Hour) // article 002: within one hour of the decision
	fill(&r.Hold, 10*time.Second)
	fill(&r.Window, time.Second)
	fill(&r.LatMin, 100*time.Millisecond)
	fill(&r.Baseline, 10*time.Second)
	if r.Success == 0 {
		r.Success = 0.999
	}
	if r.Goodput == 0 {
		r.Goodput = 0.95
	}
	if r.MinProbe == 0 {
		r.MinProbe = 50
	}
	if o.Loss.MaxCount == 0 {
		o.Loss.MaxCount = 200
	}
	if o.Loss.MinAcked == 0 {
		o.Loss.MinAcked = 20
	}
	fill(&o.Loss.MaxAge, 2*time.Second)
	fill(&o.DualMax, 50*time.Millisecond)
	fill(&o.LagMin, 300*time.Millisecond)
	fill(&o.PlannedMax, 5*time.Second)
	fill(&o.FailbackMax, o.PlannedMax.D())
	fill(&o.LevelFloor, 250*time.Millisecond)
	if o.PlannedAcked == 0 {
		o.PlannedAcked = 20
	}
	return o
}

func fill(d *history.Duration, otherwise time.Duration) {
	if *d == 0 {
		*d = history.Duration(otherwise)
	}
}

// Span is a measured duration: the truth lies between Lower and Upper.
type Span struct{ Lower, Upper time.Duration }

// Plus adds two spans.
func (s Span) Plus(t Span) Span { return Span{s.Lower + t.Lower, s.Upper + t.Upper} }

// Width is the resolution of the measurement.
func (s Span) Width() time.Duration { return s.Upper - s.Lower }

// widened moves both ends outwards by d; no duration is below zero.
func (s Span) widened(d time.Duration) Span {
	return Span{max(0, s.Lower-d), max(0, s.Upper+d)}
}
