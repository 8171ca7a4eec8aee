package steps

import (
	"fmt"
	"strings"

	"github.com/kirikae/kirikae/drill/check"
)

// tally is what became of each scenario of a run.
type tally []tallied

type tallied struct {
	scenario Scenario
	ran      bool
	verdict  string
	code     int
}

func (t *tally) add(s Scenario, d *Drill, code int) {
	verdict := "not judged"
	if d.judged != nil {
		verdict = d.judged.Verdict.String()
		if e := d.meta.Expectation; e != nil && e.Check != "" {
			if r, ok := d.judged.Get(e.Check); ok && r.Verdict() != check.Pass {
				verdict = fmt.Sprintf("%s by %q", r.Verdict(), e.Check)
			}
		}
	}
	*t = append(*t, tallied{s, d.ran, verdict, code})
}

// table is a line a scenario and the closing line that counts them.
func (t tally) table() string {
	var b strings.Builder
	b.WriteString("\n")
	passed, failed, skipped := 0, 0, 0
	for _, x := range t {
		word := "NOT as expected"
		switch {
		case !x.ran:
			word = "not executed"
			skipped++
		case x.code == ExitPassed:
			word = "as expected"
			passed++
		default:
			failed++
		}
		fmt.Fprintf(&b, "%-15s  %s  %s: %s\n", word, x.scenario.Place(), x.scenario.Name, x.verdict)
	}
	fmt.Fprintf(&b, "drills: %d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return b.String()
}
