package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// GateReading is one reading of the readiness gate: by the drill, or by a step of a procedure.
type GateReading struct {
	Step       string          `json:"step,omitempty"` // "failback, step 1"; "": the drill read it
	From       string          `json:"from"`
	To         string          `json:"to"`
	Planted    string          `json:"planted,omitempty"` // violation that was planted; "": none
	Passed     bool            `json:"passed"`
	Why        string          `json:"why,omitempty"` // why a step's reading did not pass
	Predicates []GatePredicate `json:"predicates"`

	t history.Instant
}

// GatePredicate is one predicate of the gate, with what was read.
type GatePredicate struct {
	Name string `json:"name"` // of its violation
	Pass bool   `json:"pass"`
	Saw  string `json:"saw"`
}

// Refused names the predicates that did not hold.
func (g GateReading) Refused() string {
	var out []string
	for _, p := range g.Predicates {
		if !p.Pass {
			out = append(out, p.Name)
		}
	}
	return strings.Join(out, ", ")
}

// Says tells the reading in one line.
func (g GateReading) Says() string {
	s := fmt.Sprintf("may %s take over from %s", cmp.Or(g.To, "?"), cmp.Or(g.From, "?"))
	if g.Step != "" {
		s += " (" + g.Step + ")"
	}
	if g.Planted != "" {
		s += ", with “" + g.Planted + "” planted"
	}
	switch {
	case g.Passed:
		return s + ": yes"
	case g.Refused() != "":
		return s + ": no, by " + g.Refused()
	}
	return s + ": no"
}

// gateVerb is the verb of a step that refuses to go on unless the gate lets it.
const gateVerb = "failback.ready"

// gateReadings are a run's readings of the gate, in order of time.
func gateReadings(run *history.Run) []GateReading {
	var out []GateReading
	marks, _ := history.Marked[history.GateData](run, history.KindGate) // one that cannot be read is the judges' to complain of
	for _, m := range marks {
		g := GateReading{From: m.Data.From, To: m.Data.To, Planted: m.Data.Planted, Passed: len(m.Data.Violated) == 0 && len(m.Data.Conditions) > 0, t: m.T}
		for _, c := range m.Data.Conditions {
			g.Predicates = append(g.Predicates, GatePredicate{c.Name, c.Holds, c.Saw})
		}
		out = append(out, g)
	}
	for _, e := range run.Journal {
		if e.Verb == gateVerb && (e.Kind == history.EntryAct || e.Kind == history.EntryFailed) {
			out = append(out, gateStep(e))
		}
	}
	for i := range out {
		out[i].Predicates = list(out[i].Predicates)
	}
	slices.SortStableFunc(out, func(a, b GateReading) int { return cmp.Compare(a.t, b.t) })
	return out
}

// gateStep is the reading of a step: its entry saw every predicate by its name, and its error names those that did not hold, each with
// what was read.
func gateStep(e history.Entry) GateReading {
	g := GateReading{Step: e.Procedure + ", step " + e.Step, Passed: e.Kind == history.EntryAct, Why: e.Error, t: e.T}
	g.From, _ = e.Inputs["from"].(string)
	g.To, _ = e.Inputs["to"].(string)
	for _, name := range slices.Sorted(maps.Keys(e.Saw)) {
		if saw, ok := e.SawText(name); ok {
			g.Predicates = append(g.Predicates, GatePredicate{name, !strings.Contains(e.Error, name+": "+saw), saw})
		}
	}
	return g
}
