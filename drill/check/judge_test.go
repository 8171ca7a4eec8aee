package check_test

import (
	"testing"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history/historytest"
)

// A good drill passes by every check, whatever its seed.
func TestGoodDrillPasses(t *testing.T) {
	seeds := uint64(15)
	for seed := range seeds {
		run := historytest.Good(seed)
		d := check.Judge(run)
		if d.Verdict != check.Pass {
			t.Errorf("seed %d: %s", seed, d.Verdict)
		}
		for _, r := range d.Results {
			if r.Verdict() != check.Pass {
				t.Errorf("seed %d: %s is %s: %s %v %+v", seed, r.Check, r.Verdict(), r.Says, r.Missing, r.Findings)
			}
		}
		if seed == 0 {
			for _, r := range d.Results {
				t.Logf("%-14s %s", r.Check, r.Says)
			}
			for _, l := range check.Headlines(run, d) {
				t.Logf("  %-7s %s", l.Label, l.Text)
			}
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	run := historytest.Good(1)
	b.ReportMetric(float64(len(run.Operations)), "operations")
	for b.Loop() {
		check.Judge(run)
	}
}
