package check_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/history/historytest"
)

// A good drill passes by every check, whatever its seed.
func TestGoodDrillPasses(t *testing.T) {
	for seed := range uint64(15) {
		run := historytest.Good(seed)
		d := check.Judge(run)
		if d.Verdict != check.Pass || len(d.Results) != 13 {
			t.Errorf("seed %d: %s by %d checks", seed, d.Verdict, len(d.Results))
		}
		for _, r := range d.Results {
			if r.Verdict() != check.Pass {
				t.Errorf("seed %d: %s is %s: %s %v %+v", seed, r.Check, r.Verdict(), r.Says, r.Missing, r.Findings)
			}
		}
	}
}

// A run folder gives the verdict that the run in memory gave, and giving it twice changes nothing.
func TestVerdictOfTheFolder(t *testing.T) {
	run := bent(func(r *history.Run) { r.Meta.Objectives.Loss.MaxCount = 3 })
	folder := t.TempDir()
	if err := historytest.Write(run, folder); err != nil {
		t.Fatal(err)
	}
	back, err := history.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, r := range []*history.Run{run, back, back} {
		b, err := json.Marshal(check.Judge(r))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	if texts[0] != texts[1] || texts[1] != texts[2] {
		t.Errorf("three verdicts of one run differ:\n%s\n%s\n%s", texts[0], texts[1], texts[2])
	}
}

// A drill that was killed, or interrupted, at any moment is inconclusive at best, and judging it never panics.
func TestInterrupted(t *testing.T) {
	if d := check.Judge(bent(func(r *history.Run) { r.Meta.Interrupt = "interrupt" })); d.Verdict != check.Inconclusive || d.Interrupted != "interrupt" {
		t.Errorf("interrupted: %s, %q", d.Verdict, d.Interrupted)
	}
	if d := check.Judge(bent(func(r *history.Run) {
		r.Meta.Interrupt = "interrupt"
		r.Evidence.Charges = append(r.Evidence.Charges, history.Charge{Payment: keptKey(r), Request: "b"})
	})); d.Verdict != check.Fail {
		t.Errorf("interrupted, and charged twice: %s", d.Verdict)
	}
	whole := good()
	for cut := time.Duration(0); cut < 70*time.Second; cut += 3 * time.Second {
		run := *whole
		run.Meta.Ended = 0
		run.Operations, run.Marks, run.Journal = nil, nil, nil
		for _, o := range whole.Operations {
			if o.Sent > at(cut) {
				continue
			}
			if o.Finished > at(cut) {
				o.Outcome, o.Finished = history.Info, 0
			}
			run.Operations = append(run.Operations, o)
		}
		for _, m := range whole.Marks {
			if m.T <= at(cut) {
				run.Marks = append(run.Marks, m)
			}
		}
		for _, e := range whole.Journal {
			if e.T <= at(cut) {
				run.Journal = append(run.Journal, e)
			}
		}
		if cut < 60*time.Second {
			run.Evidence = history.Evidence{}
		}
		d := check.Judge(&run)
		if d.Verdict != check.Inconclusive {
			t.Errorf("killed at %v: %s", cut, d.Verdict)
			for _, r := range d.Results {
				if r.Verdict() == check.Fail {
					t.Errorf("  %s: %s", r.Check, r.Says)
				}
			}
		}
		check.Headlines(&run, d)
	}
	if d := check.Judge(&history.Run{}); d.Verdict != check.Inconclusive {
		t.Errorf("nothing at all: %s", d.Verdict)
	}
}

func drillOf(verdict check.Verdict, results ...check.Result) check.Drill {
	return check.Drill{Verdict: verdict, Results: results}
}

func said(name string, v check.Verdict) check.Result {
	have := int64(1)
	if v == check.Inconclusive {
		have = 0
	}
	return check.Conclude(name, name+" says so", v == check.Fail, []check.Counter{{Name: "x", Have: have, Need: 1}}, nil)
}

func TestExpected(t *testing.T) {
	wants := func(v, by string) *history.Expectation { return &history.Expectation{Verdict: v, Check: by} }
	passed := drillOf(check.Pass, said(check.NameDropped, check.Pass), said(check.NameOneWriter, check.Pass))
	dropped := drillOf(check.Fail, said(check.NameDropped, check.Fail), said(check.NameOneWriter, check.Pass))
	unknown := drillOf(check.Inconclusive, said(check.NameDropped, check.Inconclusive), said(check.NameOneWriter, check.Pass))
	mixed := drillOf(check.Fail, said(check.NameDropped, check.Inconclusive), said(check.NameOneWriter, check.Fail))
	wrong := drillOf(check.Pass, said(check.NameDropped, check.Pass))
	wrong.Results[0].Contradiction = true
	for _, c := range []struct {
		name string
		d    check.Drill
		e    *history.Expectation
		met  bool
		code int
		why  string
	}{
		{"passed, nothing stated", passed, nil, true, 0, ""},
		{"failed, nothing stated", dropped, nil, false, 1, "dropped says so"},
		{"inconclusive, nothing stated", unknown, nil, false, 3, "expected PASS"},
		{"passed as expected", passed, wants("PASS", ""), true, 0, ""},
		{"failed as expected", dropped, wants("FAIL", check.NameDropped), true, 0, ""},
		{"failed by another check", dropped, wants("FAIL", check.NameOneWriter), false, 1, `expected FAIL by "one writer", which says PASS`},
		{"failed, no check named", dropped, wants("FAIL", ""), true, 0, ""},
		{"passed, should have failed", passed, wants("FAIL", check.NameDropped), false, 1, "which says PASS"},
		{"inconclusive as expected", unknown, wants("INCONCLUSIVE", check.NameDropped), true, 0, ""},
		{"inconclusive by another check", unknown, wants("INCONCLUSIVE", check.NameOneWriter), false, 1, "which says PASS"},
		{"inconclusive, should have failed", unknown, wants("FAIL", check.NameDropped), false, 3, "which says INCONCLUSIVE"},
		{"inconclusive by the check, and another fails", mixed, wants("INCONCLUSIVE", check.NameDropped), false, 1, "the drill is FAIL: one writer"},
		{"passed, should have been inconclusive", passed, wants("INCONCLUSIVE", check.NameDropped), false, 1, "which says PASS"},
		{"no such check", dropped, wants("FAIL", "droped"), false, 1, "no such check"},
		{"contradiction", wrong, nil, false, 70, "contradicts itself"},
		{"contradiction, whatever was expected", wrong, wants("PASS", ""), false, 70, "contradicts itself"},
		{"no checks at all", check.Drill{}, nil, false, 3, "expected PASS"},
	} {
		met, why := check.Expected(c.d, c.e)
		if met != c.met || !strings.Contains(why, c.why) {
			t.Errorf("%s: met %v, %q", c.name, met, why)
		}
		if code := check.ExitCode(c.d, c.e); code != c.code {
			t.Errorf("%s: exit code %d, expected %d", c.name, code, c.code)
		}
	}
}

func TestResults(t *testing.T) {
	if v := (check.Result{}).Verdict(); v != check.Inconclusive {
		t.Errorf("the zero result is %s", v)
	}
	enough, short := []check.Counter{{Name: "n", Have: 2, Need: 2}}, []check.Counter{{Name: "n", Have: 1, Need: 2}}
	for _, c := range []struct {
		name string
		r    check.Result
		want check.Verdict
	}{
		{"with its evidence", check.Conclude("x", "", false, enough, nil), check.Pass},
		{"one counter short", check.Conclude("x", "", false, short, nil), check.Inconclusive},
		{"no counters", check.Conclude("x", "", false, nil, nil), check.Inconclusive},
		{"failed, short", check.Conclude("x", "", true, short, nil), check.Fail},
		{"undecided", check.Undecided("x", "why"), check.Inconclusive},
		{"held", check.Hold("x", "", enough, nil, "why"), check.Inconclusive},
	} {
		if c.r.Verdict() != c.want {
			t.Errorf("%s: %s", c.name, c.r.Verdict())
		}
		b, err := json.Marshal(c.r)
		if err != nil {
			t.Fatal(err)
		}
		var back check.Result
		if err := json.Unmarshal(b, &back); err != nil || back.Verdict() != c.want || len(back.Missing) != len(c.r.Missing) {
			t.Errorf("%s: %s read back as %s, %v", c.name, b, back.Verdict(), err)
		}
		// A file that says PASS without its evidence is refused, however it came about.
		forged := strings.NewReplacer(`"FAIL"`, `"PASS"`, `"INCONCLUSIVE"`, `"PASS"`).Replace(string(b))
		if err := json.Unmarshal([]byte(forged), &back); (err == nil) != (c.name == "with its evidence") {
			t.Errorf("%s: a forged PASS gives %v", c.name, err)
		}
	}
	var v check.Verdict
	if err := json.Unmarshal([]byte(`"GREEN"`), &v); err == nil {
		t.Error("GREEN is a verdict")
	}
	for a := range check.Fail + 1 {
		for b := range check.Fail + 1 {
			want := check.Pass
			if a == check.Inconclusive || b == check.Inconclusive {
				want = check.Inconclusive
			}
			if a == check.Fail || b == check.Fail {
				want = check.Fail
			}
			if check.Worse(a, b) != want || check.Worse(a, b) != check.Worse(b, a) {
				t.Errorf("%s with %s is %s", a, b, check.Worse(a, b))
			}
		}
	}
}

func TestHeadlines(t *testing.T) {
	text := func(bend func(*history.Run)) string {
		run := bent(bend)
		var all []string
		for _, l := range check.Headlines(run, check.Judge(run)) {
			all = append(all, l.Label+"|"+l.Text)
		}
		return strings.Join(all, "\n")
	}
	for _, c := range []struct {
		name string
		bend func(*history.Run)
		want []string
	}{
		{"good", nil, []string{
			"out|9.", " s, back ", " s after the decision (target 60 s)", "lost|mysql 2", " of 1 6", " acknowledged payments: 2", " unreplicated (¥ ",
			" s before the cut), 0 dropped, 0 never durable · cassandra ",
			"money|no double charge · conserved in 90 snapshots · one writer (0 ms dual-writable, limit 50 ms) · stores agree but for the losses",
		}},
		{"failed", func(r *history.Run) { r.Meta.Objectives.Loss.MaxCount = -1 }, []string{"FAIL|unreplicated: "}},
		{"unknown", func(r *history.Run) { r.Evidence.Charges = nil }, []string{"money|double charge not known · ", "unknown|double charge: the acquirer's log was not read"}},
		{"not read", func(r *history.Run) { r.Evidence = history.Evidence{} }, []string{"lost|not known"}},
		{"ended early", func(r *history.Run) { r.Meta.Interrupt = "interrupted by a person" }, []string{"ended|early: interrupted by a person"}},
	} {
		for _, want := range c.want {
			if got := text(c.bend); !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, got)
			}
		}
	}
}

// BenchmarkJudge judges a whole drill of about 9 000 operations; 100 ms would be too long.
func BenchmarkJudge(b *testing.B) {
	run := historytest.Good(1)
	for b.Loop() {
		check.Judge(run)
	}
	b.ReportMetric(float64(len(run.Operations)), "operations")
}
