package steps

import (
	"fmt"
	"slices"
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
	because  []string // of a drill that was not as expected: every check that did not pass, and what broke it off

	violations, refused int // of the readiness gate: planted, and refused by their names
}

func (t *tally) add(s Scenario, d *Drill, code int) {
	x := tallied{scenario: s, ran: d.ran, verdict: "not judged", code: code}
	if d.judged != nil {
		x.verdict = d.judged.Verdict.String()
		if e := d.meta.Expectation; e != nil && e.Check != "" {
			if r, ok := d.judged.Get(e.Check); ok && r.Verdict() != check.Pass {
				x.verdict = fmt.Sprintf("%s by %q", r.Verdict(), e.Check)
			}
		}
		if r, ok := d.judged.Get(check.NameGate); ok {
			x.violations, x.refused = int(r.Numbers[check.GatePlanted].Lower), int(r.Numbers[check.GateRefused].Lower)
		}
		if code != ExitPassed {
			x.because = because(*d.judged)
		}
	}
	*t = append(*t, x)
}

// because is a line for every check of a drill that did not pass, and for what broke it off.
func because(d check.Drill) []string {
	var out []string
	if d.Interrupted != "" {
		out = append(out, "interrupted: "+d.Interrupted)
	}
	for _, r := range d.Results {
		if r.Verdict() != check.Pass {
			out = append(out, fmt.Sprintf("%s %s: %s", r.Verdict(), r.Check, strings.Join(slices.Compact(append([]string{r.Says}, r.Missing...)), " · ")))
		}
	}
	return out
}

// table is a line a scenario and the closing line that counts them. What was not as expected stands last, with its reasons:
// of a long run, people and CI systems often see the end alone.
func (t tally) table() string {
	var right, left, wrong []string
	for _, x := range t {
		line := func(word string) string {
			return fmt.Sprintf("%-15s  %s  %s: %s", word, x.scenario.Place(), x.scenario.Name, x.verdict)
		}
		switch {
		case !x.ran:
			left = append(left, line("not executed"))
		case x.code == ExitPassed:
			right = append(right, line("as expected"))
		default:
			wrong = append(wrong, fmt.Sprintf("%s (exit %d)", line("NOT as expected"), x.code))
			for _, b := range x.because {
				wrong = append(wrong, "    "+b)
			}
		}
	}
	failed := len(t) - len(right) - len(left)
	lines := slices.Concat([]string{""}, right, left, wrong,
		[]string{fmt.Sprintf("drills: %d passed, %d failed, %d skipped%s", len(right), failed, len(left), t.kinds()), ""})
	return strings.Join(lines, "\n")
}

// kinds counts, of each kind of drill that was played, those that gave the right answer by the right name.
func (t tally) kinds() string {
	out := ""
	for _, kind := range []struct{ tag, name string }{
		{tagKnownBad, "planted rows"}, {tagInterrupted, "interrupted procedures"},
	} {
		right, all := 0, 0
		for _, x := range t {
			if slices.Contains(x.scenario.Tags, kind.tag) {
				all++
				if x.ran && x.code == ExitPassed {
					right++
				}
			}
		}
		if all > 0 {
			out += fmt.Sprintf(" · %s %d of %d right", kind.name, right, all)
		}
	}
	violations, refused := 0, 0
	for _, x := range t {
		violations, refused = violations+x.violations, refused+x.refused
	}
	if violations > 0 {
		out += fmt.Sprintf(" · gate violations %d of %d refused by name", refused, violations)
	}
	return out
}
