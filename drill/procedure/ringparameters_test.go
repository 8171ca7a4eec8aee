package procedure

import (
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/runbook"
)

// TestRingParameters: the procedures that set the ring's parameters alone set what rows 6 and 10 of the preparation set.
func TestRingParameters(t *testing.T) {
	plan := func(name string) string { return runbook.Plan(load(t, name, newLand())) }
	row := func(name, step string) string {
		for line := range strings.Lines(strings.ReplaceAll(plan(name), "\n      ", " ")) {
			if strings.HasPrefix(line, step+" ") {
				return line
			}
		}
		return ""
	}
	for _, c := range []struct {
		name  string
		steps []string
	}{{"examples/ring-parameters", []string{"6.1", "10.1"}}, {"known_bad/ring-parameters-left", []string{"6.1"}}} {
		for _, step := range c.steps {
			if got, want := row(c.name, step), row("failback-preparation", step); want == "" || got != want {
				t.Errorf("%s, step %s: %q, the preparation's is %q", c.name, step, got, want)
			}
		}
	}
	if row("known_bad/ring-parameters-left", "10.1") != "" {
		t.Error("row 10 is not forgotten")
	}
}
