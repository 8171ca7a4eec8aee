// Package reports turns a judged run into what people and machines read: the verdict on the terminal, result.json, junit.xml,
// summary.md and report.html. All of them are views of one Report value, and that value is made from the run folder and the
// judges' results alone: the same folder gives the same reports, on another machine, years later.
package reports

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

// SchemaVersion is the version of result.json (result.schema.json describes it). It rises when a reader of the older one
// could misread a newer one; new fields alone do not raise it.
const SchemaVersion = 1

// Report is everything that is said about one drill. Its JSON is result.json.
type Report struct {
	Schema      int           `json:"schema"`
	Verdict     check.Verdict `json:"verdict"`     // of the drill
	Expectation Expectation   `json:"expectation"` // of the scenario
	Exit        int           `json:"exit"`        // what `kirikae run` ends with for this drill alone
	Scenario    Scenario      `json:"scenario"`
	Seed        uint64        `json:"seed"`
	World       World         `json:"world"`
	Started     string        `json:"started"`             // wall time, RFC 3339
	Seconds     float64       `json:"seconds"`             // from the run's zero to its end; 0 when it never ended
	Interrupted string        `json:"interrupted"`         // why the drill ended early; "" when it did not
	Truncated   []string      `json:"truncated,omitempty"` // files whose last line was cut off

	Headlines []check.Line   `json:"headlines"` // what the terminal prints under the verdict
	Checks    []check.Result `json:"checks"`
	Lost      []Loss         `json:"lost"`  // every lost acknowledged payment
	Steps     []Step         `json:"steps"` // of the procedure, in the order they were tried

	Procedures []Procedure   `json:"procedures"` // their runs, in order of time
	Stages     []Stage       `json:"stages"`     // of the loss, where the drill looked at what became of interrupted payments
	Gate       []GateReading `json:"gate"`       // readings of the readiness gate, in order of time

	Repeat Repeat   `json:"repeat"`
	Files  []string `json:"files"` // of the run folder, relative to it; filled by Write

	run *history.Run // for the picture
}

// Expectation is the verdict that the scenario states, and whether the drill gave it by the check that it names.
type Expectation struct {
	Verdict string `json:"verdict"`
	Check   string `json:"check"`  // "" where no check is named
	Stated  bool   `json:"stated"` // false: the scenario says nothing, so PASS is expected
	Met     bool   `json:"met"`
	Why     string `json:"why,omitempty"` // why it was not met
}

// Scenario says which sentences were played.
type Scenario struct {
	Name    string   `json:"name"`
	Feature string   `json:"feature"`
	Line    int      `json:"line"`
	Tags    []string `json:"tags"`
	Steps   []string `json:"steps"`
	Planted []string `json:"planted"` // defects planted on purpose
}

// World says on what the drill was played.
type World struct {
	Runtime   string            `json:"runtime"`
	Volumes   string            `json:"volumes,omitempty"` // where the stores kept their data: disk, memory
	Simulated bool              `json:"simulated"`
	Engines   map[string]string `json:"engines"` // product → version
	Images    []history.Image   `json:"images"`  // of its containers; empty where there are none
	Topology  string            `json:"topology"`
	Active    string            `json:"active"`  // region that was lost
	Standby   string            `json:"standby"` // region that took over
	Procedure string            `json:"procedure"`
}

// Repeat holds the commands that play the drill again and judge this run again.
type Repeat struct {
	Run   string `json:"run"`
	Check string `json:"check"`
}

// Build makes the report of a judged run. It reads nothing but its arguments.
func Build(run *history.Run, d check.Drill) Report {
	m := run.Meta
	r := Report{
		Schema:  SchemaVersion,
		Verdict: d.Verdict,
		Exit:    check.ExitCode(d, m.Expectation),
		Scenario: Scenario{
			Name: m.Name, Feature: m.Feature, Line: m.Line,
			Tags: list(m.Tags), Steps: list(m.Steps), Planted: list(m.Planted),
		},
		Seed: m.Seed,
		World: World{
			Runtime: m.Runtime, Volumes: m.Volumes, Simulated: m.Simulated, Engines: m.Engines, Images: list(m.Images), Topology: m.Topology,
			Active: m.Active, Standby: m.Standby, Procedure: m.Procedure,
		},
		Started:     m.Started,
		Interrupted: d.Interrupted,
		Truncated:   run.Truncated,
		Headlines:   list(measured(run, d)),
		Checks:      list(d.Results),
		Lost:        list(losses(run)),
		Steps:       list(steps(run)),
		Procedures:  list(procedures(run)),
		Stages:      list(stages(run)),
		Gate:        list(gateReadings(run)),
		Files:       []string{},
		run:         run,
	}
	if r.Scenario.Name == "" {
		r.Scenario.Name = "unnamed drill"
	}
	if r.World.Engines == nil {
		r.World.Engines = map[string]string{}
	}
	if m.Ended > m.Origin {
		r.Seconds = m.Ended.Sub(m.Origin).Seconds()
	}
	r.Expectation = Expectation{Verdict: check.Pass.String()}
	if e := m.Expectation; e != nil {
		r.Expectation = Expectation{Verdict: e.Verdict, Check: e.Check, Stated: true}
	}
	r.Expectation.Met, r.Expectation.Why = check.Expected(d, m.Expectation)
	r.Repeat = Repeat{Run: fmt.Sprintf("kirikae run%s%s --seed %d", runtimeFlag(m.Runtime), volumesFlag(m.Volumes), m.Seed), Check: "kirikae check " + shellWord(run.Folder)}
	if m.Feature != "" {
		r.Repeat.Run += " " + shellWord(fmt.Sprintf("%s:%d", m.Feature, m.Line))
	}
	return r
}

// runtimeFlag is the flag that plays a drill in the same runtime again. A composed world is one that somebody else made.
func runtimeFlag(runtime string) string {
	switch runtime {
	case "":
		return ""
	case "compose":
		return " --world compose"
	}
	return " --runtime " + shellWord(runtime)
}

func volumesFlag(volumes string) string {
	if volumes == history.VolumesMemory {
		return " --volumes memory"
	}
	return ""
}

// Place says what the world ran on: "local", "docker, volumes in memory".
func (w World) Place() string {
	if w.Volumes == history.VolumesMemory {
		return w.Runtime + ", volumes in memory"
	}
	return w.Runtime
}

// measured are the headlines of what was measured. What failed, what is not known and what ended the drill are left out: each
// report tells them in its own place, with findings.
func measured(run *history.Run, d check.Drill) []check.Line {
	return slices.DeleteFunc(check.Headlines(run, d), func(l check.Line) bool {
		return l.Text == "" || slices.Contains([]string{"FAIL", "unknown", "ended"}, l.Label)
	})
}

// bad returns the results of one verdict: the check that the scenario names first, then in the order of the checks.
func (r Report) bad(v check.Verdict) []check.Result {
	var out []check.Result
	for _, c := range r.Checks {
		switch {
		case c.Verdict() != v:
		case c.Check == r.Expectation.Check:
			out = slices.Insert(out, 0, c)
		default:
			out = append(out, c)
		}
	}
	return out
}

// engines are "mysql 9.7.4", "cassandra 5.0.9", …: the stores first, the rest by name.
func (w World) engines() []string {
	var names, out []string
	for n := range w.Engines {
		names = append(names, n)
	}
	rank := func(n string) string {
		if i := slices.Index([]string{"mysql", "cassandra"}, n); i >= 0 {
			return fmt.Sprint(i)
		}
		return "9" + n
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(rank(a), rank(b)) })
	for _, n := range names {
		out = append(out, n+" "+w.Engines[n])
	}
	return out
}

// class is the feature's name as JUnit readers group by it: features/region_loss.feature → features.region_loss.
func (s Scenario) class() string {
	if s.Feature == "" {
		return "kirikae"
	}
	return strings.ReplaceAll(strings.TrimSuffix(path.Clean(s.Feature), ".feature"), "/", ".")
}

// list is s, never nil: an empty list in result.json is [], not null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// shellWord quotes s when a shell would take it apart.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:=+,@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// oneLine is s without line breaks and control characters: a hostile name must not move a terminal's cursor.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if control(r) || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)), " ")
}

// control says whether a character steers its reader instead of being read: C0, C1, and what turns the direction of text.
func control(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
