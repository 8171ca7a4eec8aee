package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/net/html"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/history/historytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// cases are the runs that people meet: one of each verdict, one that was killed, planted defects found and missed, and one
// that ended before anything was recorded.
var cases = sync.OnceValue(func() map[string]Report {
	dropped, keys := droppedRun()
	killed := killedRun()
	found, foundKeys := droppedRun()
	found.Meta.Name = "The procedure promotes without draining what was received"
	found.Meta.Expectation = &history.Expectation{Verdict: "FAIL", Check: check.NameDropped}
	missed := goodRun()
	missed.Meta.Expectation = &history.Expectation{Verdict: "FAIL", Check: check.NameDropped}
	return map[string]Report{
		"pass":            Build(goodRun(), goodDrill()),
		"fail":            Build(dropped, droppedDrill(dropped, keys)),
		"containers":      Build(contained(goodRun()), goodDrill()),
		"killed":          Build(killed, unknownDrill(killed)),
		"planted-found":   Build(found, droppedDrill(found, foundKeys)),
		"planted-missed":  Build(missed, goodDrill()),
		"nothing":         Build(&history.Run{Folder: "reports/out/nothing"}, check.Drill{Interrupted: "the drill was killed"}),
		"round-trip":      Build(roundRun(), roundDrill()),
		"hostile-strings": hostile(),
	}
})

const evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)> ]]> \x1b[2J\u202e| `x` | [a](b) 大阪&\"'\x00\n## PASS"

// hostile is a run in which every name that somebody else writes is a trap.
func hostile() Report {
	run, keys := droppedRun()
	run.Folder = "reports/out/it's a; run"
	run.Meta.Name, run.Meta.Feature, run.Meta.Procedure, run.Meta.Interrupt, run.Meta.Topology = evil, "features/a b.feature", evil, evil, evil
	run.Meta.Tags, run.Meta.Steps, run.Meta.Planted = []string{evil}, []string{evil}, []string{evil}
	run.Meta.Engines[evil] = evil
	run.Meta.Images = []history.Image{{Name: evil, Reference: evil, ID: evil, Source: "built"}}
	for i := range run.Journal {
		run.Journal[i].Title, run.Journal[i].Verb, run.Journal[i].Who = evil, evil, evil
	}
	last := run.Journal[len(run.Journal)-1]
	for _, kind := range []string{history.EntryPause, history.EntrySkip, history.EntryRetry, history.EntryTakeover, history.EntryFailed, history.EntryRejected, history.EntryAbort} {
		e := last
		e.Kind, e.Step, e.By, e.Why, e.Error = kind, evil, evil, evil, evil
		run.Journal = append(run.Journal, e)
	}
	gate := last
	gate.Kind, gate.Step, gate.Verb, gate.Error, gate.Saw = history.EntryFailed, evil, gateVerb, evil, map[string]any{evil: evil}
	run.Journal = append(run.Journal, gate)
	read, err := json.Marshal(history.GateData{From: evil, To: evil, Planted: evil, Violated: []string{evil}, Conditions: []history.GateCondition{{Name: evil, Saw: evil}}})
	if err != nil {
		panic(err)
	}
	run.Marks = append(run.Marks, history.Mark{T: last.T, Kind: history.KindGate, Name: evil, Data: read})
	for i := range run.Marks {
		if run.Marks[i].Kind == history.KindFault || run.Marks[i].Kind == history.KindPhase {
			run.Marks[i].Name = evil
		}
	}
	for i := range run.Operations {
		if run.Operations[i].Key == keys[0] {
			run.Operations[i].Key = evil
		}
	}
	d := droppedDrill(run, append([]string{evil}, keys...))
	d.Results = append(d.Results, check.Conclude(evil, evil, true, []check.Counter{{Name: evil, Have: 1, Need: 2}}, []check.Finding{{What: evil, Keys: []string{evil}}}))
	d.Interrupted = evil
	return Build(run, d)
}

func TestGolden(t *testing.T) {
	for name, r := range cases() {
		if name == "hostile-strings" { // other tests read them: what matters is what is not there
			continue
		}
		switch own := r; name {
		case "nothing":
		case "round-trip": // this one is about procedures, and has its own
			r = fixed(r)
			r.Steps = own.Steps
		default:
			r = fixed(r)
		}
		for ext, render := range map[string]func(*bytes.Buffer, Report) error{
			"txt":  func(b *bytes.Buffer, r Report) error { return Terminal(b, r, false) },
			"ansi": func(b *bytes.Buffer, r Report) error { return Terminal(b, r, true) },
			"md":   summary, "xml": junit,
		} {
			var b bytes.Buffer
			if err := render(&b, r); err != nil {
				t.Fatal(err)
			}
			golden(t, name+"."+ext, b.Bytes())
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not as it was (go test ./reports -update writes it anew):\n%s", path, got)
	}
}

// The answer must fit on a screen's first lines: what failed, which payments, how to repeat.
func TestFirstTwelveLinesAnswer(t *testing.T) {
	var b bytes.Buffer
	if err := Terminal(&b, fixed(cases()["fail"]), false); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) > 12 {
		t.Errorf("%d lines", len(lines))
	}
	for _, want := range []string{"VERDICT FAIL  Tokyo is lost", "dropped: 30 payments", "during step 2", "p-00648", "and 27 more", "kirikae run --runtime local --seed 7 features/region_loss.feature:7", "kirikae check reports/out/", "report.html"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestTerminalTakesNoControlCharacters(t *testing.T) {
	var b bytes.Buffer
	if err := Terminal(&b, cases()["hostile-strings"], false); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(b.String(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x202e }); i >= 0 {
		t.Errorf("%q at %d", b.String()[i], i)
	}
	for _, line := range strings.Split(b.String(), "\n")[1:] {
		if line != "" && !strings.HasPrefix(line, "  ") {
			t.Errorf("a name broke out of its line: %q", line)
		}
	}
}

func TestNoColorWithoutTerminal(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if Color(f) {
		t.Error("a file is no terminal")
	}
}

// A pipeline reads either the exit code or junit.xml; both must say the same.
func TestJUnitAgreesWithExitCode(t *testing.T) {
	for name, r := range cases() {
		var b bytes.Buffer
		if err := junit(&b, r); err != nil {
			t.Fatal(err)
		}
		var got suitesXML
		if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, b.Bytes())
		}
		bad := 0
		seen := map[string]bool{}
		for _, c := range got.Suite.Cases {
			if c.Failure != nil || c.Error != nil {
				bad++
			}
			if seen[c.Class+c.Name] {
				t.Errorf("%s: two cases are named %q", name, c.Name)
			}
			seen[c.Class+c.Name] = true
		}
		if bad != got.Failures+got.Errors || len(got.Suite.Cases) != got.Tests || got.Tests == 0 {
			t.Errorf("%s: the counts are wrong: %+v", name, got)
		}
		if (bad == 0) != (r.Exit == 0) {
			t.Errorf("%s: exit %d with %d bad cases", name, r.Exit, bad)
		}
	}
}

func TestResultValidates(t *testing.T) {
	schema := compile(t)
	for name, r := range cases() {
		folder := t.TempDir()
		if err := Write(folder, r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := schema.Validate(decode(t, filepath.Join(folder, history.ResultFile))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the schema must refuse.
func TestSchemaRefuses(t *testing.T) {
	schema := compile(t)
	folder := t.TempDir()
	if err := Write(folder, cases()["fail"]); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(map[string]any){
		"another version":      func(m map[string]any) { m["schema"] = 2 },
		"no verdict":           func(m map[string]any) { delete(m, "verdict") },
		"an unknown verdict":   func(m map[string]any) { m["verdict"] = "OK" },
		"a pass for nothing":   func(m map[string]any) { m["checks"].([]any)[0].(map[string]any)["evidence"] = nil },
		"an unknown exit code": func(m map[string]any) { m["exit"] = 9 },
		"a loss of no store":   func(m map[string]any) { delete(m["lost"].([]any)[0].(map[string]any), "mysql") },
		"a step of odd state":  func(m map[string]any) { m["steps"].([]any)[0].(map[string]any)["state"] = "fine" },
		"an odd incident": func(m map[string]any) {
			m["procedures"].([]any)[0].(map[string]any)["incidents"] = []any{map[string]any{"what": "fine", "after": 1}}
		},
		"a procedure without its times": func(m map[string]any) { delete(m["procedures"].([]any)[0].(map[string]any), "paused") },
		"an odd stage":                  func(m map[string]any) { m["stages"] = []any{map[string]any{"stage": "middle"}} },
		"a gate without predicates":     func(m map[string]any) { m["gate"] = []any{map[string]any{"from": "a", "to": "b", "passed": true}} },
		"a list that is absent":         func(m map[string]any) { m["files"] = nil },
	} {
		m := decode(t, filepath.Join(folder, history.ResultFile)).(map[string]any)
		spoil(m)
		if schema.Validate(m) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("result.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("result.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func decode(t *testing.T, path string) any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPage(t *testing.T) {
	for name, r := range cases() {
		var b bytes.Buffer
		if err := page(&b, r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		doc, err := html.Parse(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		scripts := 0
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			switch n.Data {
			case "script":
				scripts++
			case "img", "iframe", "link", "object", "embed":
				t.Errorf("%s: a <%s> got in", name, n.Data)
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "src" || (a.Key == "href" && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "./")) {
					t.Errorf("%s: <%s %s=%q>", name, n.Data, a.Key, a.Val)
				}
			}
		}
		if want := 1; name != "nothing" && scripts != want {
			t.Errorf("%s: %d scripts", name, scripts)
		}
		if i := strings.IndexFunc(b.String(), func(c rune) bool { return control(c) && c != '\n' }); i >= 0 {
			t.Errorf("%s: a control character at %d", name, i)
		}
		for _, outside := range []string{"http:", "https:", "@import", "url(", "fetch(", "ZgotmplZ"} {
			if strings.Contains(b.String(), outside) {
				t.Errorf("%s: the page holds %q", name, outside)
			}
		}
		for _, i := range r.World.Images {
			if name != "hostile-strings" && !strings.Contains(b.String(), i.Reference+" ("+i.Source+")") {
				t.Errorf("%s: the page does not name image %s", name, i.Reference)
			}
		}
		if !strings.Contains(b.String(), r.Verdict.String()) {
			t.Errorf("%s: the page does not say %s", name, r.Verdict)
		}
	}
}

func TestPageTellsWhatFailed(t *testing.T) {
	var b bytes.Buffer
	if err := page(&b, cases()["fail"]); err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(b.String(), "What happened")
	for _, want := range []string{"FAIL", "dropped", "30 payments", "during step 2", "p-00648", "kirikae run --runtime local --seed 7 features/region_loss.feature:7", "kirikae check "} {
		if !strings.Contains(head, want) {
			t.Errorf("%q does not stand above the picture", want)
		}
	}
	for _, want := range []string{"レプリケーションから離脱させる", "waiting for a person", "samples of the received set <b>140</b> / 10", "out of service", "replication lag", "writes accepted by osaka", "money conserved"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is nowhere", want)
		}
	}
}

func TestAxisHasNoNegativeZero(t *testing.T) {
	const s = history.Instant(time.Second)
	for _, tick := range axis(timeline{from: s, to: 100 * s, zero: 4 * s, view: interval{s, 100 * s}}) {
		if tick.Text == "-0" {
			t.Error("a tick is called -0")
		}
	}
}

func TestPageStaysSmall(t *testing.T) {
	run := goodRun()
	for id := int64(len(run.Operations)); len(run.Operations) < 15_000; id++ {
		o := run.Operations[int(id)%4000]
		o.ID, o.Intended = id+1, o.Intended.Add(time.Duration(id%977)*time.Millisecond)
		run.Operations = append(run.Operations, o)
	}
	var b bytes.Buffer
	if err := page(&b, Build(run, goodDrill())); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 1_500_000 {
		t.Errorf("%d bytes for %d operations", b.Len(), len(run.Operations))
	}
}

// Reports are made from the folder: a run that was written and loaded again gives the same bytes, and so does writing twice.
func TestReportsComeFromTheFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	run := historytest.Good(3)
	if err := historytest.Write(run, folder); err != nil {
		t.Fatal(err)
	}
	var before map[string]string
	for i := range 2 {
		loaded, err := history.Load(folder)
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(folder, Build(loaded, goodDrill())); err != nil {
			t.Fatal(err)
		}
		now := map[string]string{}
		for _, f := range []string{history.ResultFile, JUnitFile, SummaryFile, HTMLFile} {
			b, err := os.ReadFile(filepath.Join(folder, f))
			if err != nil {
				t.Fatal(err)
			}
			now[f] = string(b)
			if i > 0 && now[f] != before[f] {
				t.Errorf("%s is another one the second time", f)
			}
		}
		before = now
	}
	var result Report
	if err := json.Unmarshal([]byte(before[history.ResultFile]), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Files) < 6 || strings.Contains(fmt.Sprint(result.Files), ".tmp") {
		t.Errorf("files: %v", result.Files)
	}
}

func TestWriteSaysWhatItCouldNot(t *testing.T) {
	if err := Write(filepath.Join(t.TempDir(), "absent"), cases()["pass"]); err == nil {
		t.Error("a folder that is not there was written")
	}
}

// The judges' own results, not those of the fixture.
func TestJudgedRun(t *testing.T) {
	run := goodRun()
	r := Build(run, check.Judge(run))
	if r.Verdict != check.Pass || r.Exit != 0 || !r.Expectation.Met || r.Interrupted != "" {
		t.Fatalf("%s, exit %d, %+v", r.Verdict, r.Exit, r.Expectation)
	}
	var b bytes.Buffer
	if err := Terminal(&b, r, false); err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		labels = append(labels, strings.Fields(line)[0])
	}
	if got := strings.Join(labels, " "); got != "VERDICT out lost money report" {
		t.Errorf("a passed drill is told as %q:\n%s", got, b.String())
	}
	folder := t.TempDir()
	if err := Write(folder, r); err != nil {
		t.Fatal(err)
	}
	if err := compile(t).Validate(decode(t, filepath.Join(folder, history.ResultFile))); err != nil {
		t.Error(err)
	}
	killed := killedRun()
	if r := Build(killed, check.Judge(killed)); r.Verdict != check.Inconclusive || r.Exit != 3 || r.Interrupted == "" {
		t.Errorf("a killed drill is %s, exit %d, interrupted %q", r.Verdict, r.Exit, r.Interrupted)
	}
}
