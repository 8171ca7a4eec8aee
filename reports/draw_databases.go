package reports

import (
	"fmt"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// The lanes of what the databases did.

func (t timeline) lagRow() row {
	if len(t.lags) == 0 {
		return row{}
	}
	const h, top = 56, 12
	var peak time.Duration = time.Millisecond
	for _, s := range t.lags {
		peak = max(peak, s.d)
	}
	y := func(d time.Duration) float64 { return h - 1 - float64(d)/float64(peak)*(h-1-top) }
	var d strings.Builder
	var last history.Instant
	for _, s := range t.lags {
		op := "L"
		if last == 0 || s.t.Sub(last) > 2*time.Second { // a hole in the samples is a hole in the line
			op = "M"
		}
		fmt.Fprintf(&d, "%s%d %.1f", op, t.x(s.t), y(s.d))
		last = s.t
	}
	return row{
		Label: "replication lag", Note: "at the standby", Height: h,
		Grid:  []gridLine{{top, seconds(peak.Seconds())}, {h - 1, ""}},
		Paths: []stroke{{"line", d.String()}},
	}
}

func (t timeline) snapshotRow() row {
	if len(t.snapshots) == 0 {
		return row{}
	}
	r := row{Label: "money conserved", Note: fmt.Sprintf("%d snapshots", len(t.snapshots)), Height: 16}
	for _, s := range t.snapshots {
		class, says := "good", "balances = statements = constant"
		if !s.good {
			class, says = "wrong", "balances and statements DISAGREE"
		}
		r.Marks = append(r.Marks, t.mark(s.t, "mark "+class, t.since(s.t)+": "+s.title+": "+says, 2, 12))
	}
	return r
}
