package reports

import (
	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

// Line is one headline: its name ("out", "lost", "money") and its text.
type Line struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// headlines says in a line each what the drill measured.
func headlines(d check.Drill) []Line {
	var out []Line
	for _, l := range []struct{ name, check string }{{"out", check.NameRecovery}, {"lost", check.NameUnreplicated}, {"money", check.NameConservation}} {
		if r, ok := d.Get(l.check); ok {
			out = append(out, Line{l.name, r.Says})
		}
	}
	return out
}

// expected says whether the drill gave the verdict that its scenario states, by the check that it names.
func expected(d check.Drill, e *history.Expectation) bool {
	if e == nil {
		return d.Verdict == check.Pass
	}
	if d.Verdict.String() != e.Verdict {
		return false
	}
	r, ok := d.Get(e.Check)
	return e.Check == "" || ok && r.Verdict().String() == e.Verdict
}

// exitCode is what a drill ends with: by the expectation where one is stated.
func exitCode(d check.Drill, e *history.Expectation) int {
	for _, r := range d.Results {
		if r.Contradiction {
			return 70
		}
	}
	switch {
	case e != nil && expected(d, e):
		return 0
	case e != nil:
		return 1
	case d.Verdict == check.Pass:
		return 0
	case d.Verdict == check.Fail:
		return 1
	}
	return 3
}
