// Package check holds the judges: pure functions from a run's history to a verdict. They read no server, no file and no clock,
// so that the same verdict can be had again from the run folder, on another machine, years later.
package check

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Verdict of a check or a drill. FAIL wins over INCONCLUSIVE, INCONCLUSIVE over PASS. The zero value is Inconclusive: what
// was not checked did not pass.
type Verdict int

const (
	Inconclusive Verdict = iota
	Pass
	Fail
)

var verdictNames = [...]string{"INCONCLUSIVE", "PASS", "FAIL"}

// String is PASS, FAIL or INCONCLUSIVE.
func (v Verdict) String() string { return verdictNames[v] }

// MarshalText writes String.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads String.
func (v *Verdict) UnmarshalText(b []byte) error {
	i := slices.Index(verdictNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("%q is not a verdict (%v)", b, verdictNames)
	}
	*v = Verdict(i)
	return nil
}

// Worse returns the verdict that wins when two are merged.
func Worse(a, b Verdict) Verdict {
	if a == Fail || b == Fail {
		return Fail
	}
	if a == Inconclusive || b == Inconclusive {
		return Inconclusive
	}
	return Pass
}

// Names of the checks, as scenarios and reports use them.
const (
	NameSane         = "harness sane"   // slots = records = wire attempts, no clock jump
	NameFaultReal    = "fault real"     // traffic felt the fault as declared
	NameProcedure    = "procedure"      // every step confirmed, in order
	NameRecovery     = "recovery time"  // RTO
	NameUnreplicated = "unreplicated"   // acknowledged payments that never left the lost site: within the RPO target
	NameDropped      = "dropped"        // received by the survivor, yet lost: must be 0
	NameNeverDurable = "never durable"  // acknowledged and nowhere: must be 0
	NameDoubleCharge = "double charge"  // charges per payment id
	NameConservation = "conservation"   // balances = statements = constant
	NameStoresAgree  = "stores agree"   // modulo the loss ledger
	NameOneWriter    = "one writer"     // never two sites that accept writes
	NameQuiescent    = "quiescent"      // final reads agreed, twice and through the API
	NamePlanned      = "planned outage" // how long customers were out during a planned switchover or a failback
	NameNothingLost  = "nothing lost"   // a planned switchover loses nothing, proved by the stores themselves; so does a run without a fault
	NameLevelHeld    = "level held"     // customers noticed nothing of the windows that the scenario names
	NameEndFacts     = "end facts"      // the state that the drill must leave; judged where the scenario states it
)

// Counter is evidence without which a PASS would mean nothing: how much was seen, and how much must have been.
type Counter struct {
	Name string `json:"name"`
	Have int64  `json:"have"`
	Need int64  `json:"need"`
}

// Finding is one thing that a check holds against the drill, or lists for the reader. The first is the first in time.
type Finding struct {
	What string   `json:"what"`           // one sentence
	Keys []string `json:"keys,omitempty"` // payments it is about
	T    int64    `json:"t,omitempty"`    // history.Instant, 0 where it has none
}

// Interval is a measured number with its own resolution, [Lower, Upper], in Unit ("s", "ms", "payments", "yen").
type Interval struct {
	Lower float64 `json:"lower"`
	Upper float64 `json:"upper"`
	Unit  string  `json:"unit"`
}

// Result is what one check says. It is built by Conclude and Undecided only: no code path, and no result.json, makes a PASS
// without its evidence. The zero value is inconclusive.
type Result struct {
	Check    string
	Says     string // one line for people
	Evidence []Counter
	Missing  []string // counters below their need, or what could not be read
	Findings []Finding
	Numbers  map[string]Interval
	// Contradiction is set when the evidence contradicts itself: the harness is wrong, not the platform (exit code 70).
	Contradiction bool

	verdict Verdict
}

// Verdict of the check.
func (r Result) Verdict() Verdict { return r.verdict }

// Conclude builds a result. Failed makes it FAIL; otherwise it is PASS only when every counter has what it needs.
func Conclude(name, says string, failed bool, evidence []Counter, findings []Finding) Result {
	r := Result{Check: name, Says: says, Evidence: evidence, Findings: findings}
	for _, c := range evidence {
		if c.Have < c.Need {
			r.Missing = append(r.Missing, fmt.Sprintf("%s: %d of at least %d", c.Name, c.Have, c.Need))
		}
	}
	switch {
	case failed:
		r.verdict = Fail
	case len(r.Missing) == 0 && len(evidence) > 0:
		r.verdict = Pass
	}
	return r
}

// Undecided builds an inconclusive result: the check could not be made at all, and why.
func Undecided(name, why string) Result {
	return Result{Check: name, Says: why, Missing: []string{why}}
}

// Hold builds a result that cannot pass: what was seen, and why it decides nothing.
func Hold(name, says string, evidence []Counter, findings []Finding, why ...string) Result {
	r := Conclude(name, says, false, evidence, findings)
	r.Missing, r.verdict = append(r.Missing, why...), Inconclusive
	return r
}

type resultJSON struct {
	Check         string              `json:"check"`
	Verdict       Verdict             `json:"verdict"`
	Says          string              `json:"says"`
	Evidence      []Counter           `json:"evidence"`
	Missing       []string            `json:"missing,omitempty"`
	Findings      []Finding           `json:"findings,omitempty"`
	Numbers       map[string]Interval `json:"numbers,omitempty"`
	Contradiction bool                `json:"contradiction,omitempty"`
}

// MarshalJSON writes the result with its verdict.
func (r Result) MarshalJSON() ([]byte, error) {
	return json.Marshal(resultJSON{r.Check, r.verdict, r.Says, r.Evidence, r.Missing, r.Findings, r.Numbers, r.Contradiction})
}

// UnmarshalJSON reads what MarshalJSON wrote and refuses a PASS whose counters do not carry it.
func (r *Result) UnmarshalJSON(b []byte) error {
	var j resultJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	again := Conclude(j.Check, j.Says, j.Verdict == Fail, j.Evidence, j.Findings)
	if j.Verdict == Pass && (again.verdict != Pass || len(j.Missing) > 0 || j.Contradiction) {
		return fmt.Errorf("check %q says PASS without its evidence", j.Check)
	}
	*r = Result{j.Check, j.Says, j.Evidence, j.Missing, j.Findings, j.Numbers, j.Contradiction, j.Verdict}
	return nil
}
