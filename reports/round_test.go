package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/history/historytest"
)

// roundRun is a round trip in which everything happens that can befall a procedure: an operator dies and another goes on, a step fails and
// is tried anew, one is skipped, the run is paused, a stopped operator's journal is taken over, an approval is rejected and another
// accepted; the gate is read by the drill and by a step; and what was lost is replayed and reconciled.
func roundRun() *history.Run {
	run := historytest.RoundTrip(7)
	run.Folder = "reports/out/20261121-120000-round-trip"
	run.Meta.Engines, run.Meta.Simulated = map[string]string{"mysql": "9.7.4", "cassandra": "5.0.9"}, false
	at := func(d time.Duration) history.Instant { return run.Meta.Origin.Add(d) }
	const s, ms = time.Second, time.Millisecond

	// What the model's operators did, bent: steps of the failback move below a third row, and its gate and approval come before.
	var journal []history.Entry
	for _, e := range run.Journal {
		switch {
		case e.Procedure == "failback" && e.Kind == history.EntryBegin:
			e.T = at(72 * s)
		case e.Procedure == "failback" && e.Step != "":
			e.Step = "3." + e.Step
		case e.Procedure == "failback-preparation" && e.Step == "2":
			continue // it is skipped
		case e.Procedure == "switchover" && e.Step == "8" && e.Kind == history.EntryIntent:
			e.Kind = history.EntryWait
		}
		e.Manual = e.Procedure == "switchover" && e.Step == "8"
		if e.Manual && e.Kind == history.EntryAct {
			continue
		}
		journal = append(journal, e)
	}
	add := func(procedure string, d time.Duration, e history.Entry) {
		e.T, e.Procedure, e.Digest, e.PID = at(d), procedure, "digest of "+procedure, 4243
		if e.Who == "" {
			e.Who = "operator"
		}
		journal = append(journal, e)
	}
	add("switchover", 28900*ms, history.Entry{Kind: history.EntryBegin, Attempt: 2, Who: "second operator"})
	add("switchover", 30500*ms, history.Entry{Kind: history.EntryFailed, Step: "3", Error: "osaka did not answer", Who: "second operator"})
	add("switchover", 30600*ms, history.Entry{Kind: history.EntryBegin, Attempt: 3, Who: "second operator"})
	add("switchover", 30650*ms, history.Entry{Kind: history.EntryRetry, Step: "3", Who: "second operator"})
	add("switchover", 30700*ms, history.Entry{Kind: history.EntryIntent, Step: "3", Attempt: 2, Who: "second operator"})
	add("failback-preparation", 59400*ms, history.Entry{Kind: history.EntryPause, By: "person in charge", Why: "wait for the night shift"})
	add("failback-preparation", 62400*ms, history.Entry{Kind: history.EntryContinue, By: "person in charge"})
	add("failback-preparation", 62500*ms, history.Entry{Kind: history.EntrySkip, Step: "2", Title: "cassandra.remove", Verb: "cassandra.remove", Why: "tokyo is out of the ring already"})
	gate := history.Entry{Step: "1", Title: "切戻可否確認 / The readiness gate", Verb: gateVerb, Attempt: 1, Inputs: map[string]any{"from": "osaka", "to": "tokyo"}}
	gate.Kind = history.EntryIntent
	add("failback", 72100*ms, gate)
	gate.Kind, gate.Saw = history.EntryAct, map[string]any{"errant transactions": "tokyo has nothing that osaka lacks", "replication lag": "tokyo had what osaka had after 3ms"}
	add("failback", 72600*ms, gate)
	gate.Kind, gate.Saw = history.EntryConfirm, map[string]any{"gate_passed": true}
	add("failback", 72610*ms, gate)
	ask := history.Entry{Kind: history.EntryAsk, Step: "2", Title: "責任者承認 / The person in charge approves", Verb: "wait", Attempt: 1}
	add("failback", 72700*ms, ask)
	ask.Kind, ask.By, ask.Error = history.EntryRejected, "operator", "approval of operator: nobody approves what he asked for himself"
	add("failback", 72900*ms, ask)
	ask.Kind, ask.By, ask.Error = history.EntryApproved, "person in charge", ""
	add("failback", 73800*ms, ask)
	ask.Kind, ask.By = history.EntryConfirm, ""
	add("failback", 73810*ms, ask)
	add("failback", 73990*ms, history.Entry{Kind: history.EntryTakeover, Who: "second operator", By: "operator, process 4242, which is stopped", Why: "it hangs"})
	add("failback", 74000*ms, history.Entry{Kind: history.EntryBegin, Attempt: 2, Who: "second operator", Planned: true})
	slices.SortStableFunc(journal, func(a, b history.Entry) int { return int(a.T - b.T) })
	run.Journal = journal

	mark := func(d time.Duration, kind, name string, data any) {
		b, err := json.Marshal(data)
		if err != nil {
			panic(err)
		}
		run.Marks = append(run.Marks, history.Mark{T: at(d), Kind: kind, Name: name, Data: b})
	}
	mark(28700*ms, history.KindDeath, "2", history.DeathData{Procedure: "switchover", Point: "after-intent"})
	ready := history.GateData{From: "osaka", To: "tokyo", Violated: []string{}, Conditions: []history.GateCondition{
		{Name: "errant transactions", Holds: true, Saw: "tokyo has nothing that osaka lacks"}, {Name: "parameters", Holds: true, Saw: "batch.enabled=false"},
	}}
	mark(70500*ms, history.KindGate, "tokyo", ready)
	refused := history.GateData{From: "osaka", To: "tokyo", Planted: "parameters", Violated: []string{"parameters"}, Conditions: []history.GateCondition{
		{Name: "errant transactions", Holds: true, Saw: "tokyo has nothing that osaka lacks"}, {Name: "parameters", Saw: `batch.enabled is "true", expected "false"`},
	}}
	mark(71*s, history.KindGate, "tokyo", refused)
	slices.SortStableFunc(run.Marks, func(a, b history.Mark) int { return int(a.T - b.T) })

	// The last payment that the switch kept was not there at first; the one before came only with the reconciliation.
	stage := func(missing int) *history.Stores {
		rows, events := *run.Evidence.Ledger, *run.Evidence.Journal
		kept := slices.DeleteFunc(slices.Clone(rows.Payments), func(p history.PaymentRow) bool { return p.Epoch != 1 })
		lost := kept[len(kept)-missing:]
		rows.Payments = slices.DeleteFunc(slices.Clone(rows.Payments), func(p history.PaymentRow) bool { return slices.Contains(lost, p) })
		return &history.Stores{Ledger: &rows, Journal: &events}
	}
	run.Evidence.Reconciliation = &history.Reconciliation{Raw: stage(2), After: stage(1), First: stage(0)}
	return run
}

func roundDrill() check.Drill {
	planned := check.Conclude(check.NamePlanned, "out 1.7 – 1.8 s during failback (target 5 s)", false, count("probes during failback", 600, 100), nil)
	return drillOf(
		check.Conclude(check.NameSane, "11 020 slots gave 11 020 records", false, count("records", 11020, 1000), nil),
		planned,
		check.Conclude(check.NameGate, "1 ready worlds accepted", false, count("ready worlds accepted", 1, 1), nil),
	)
}

// TestRoundPicture holds what the picture says about procedures and planned outages against a golden file: rows, names, times.
func TestRoundPicture(t *testing.T) {
	r := Build(roundRun(), roundDrill())
	p := drawTimeline(readTimeline(r.run, r.Steps, r.Procedures), nil)
	var b bytes.Buffer
	for _, s := range p.Shades {
		fmt.Fprintf(&b, "shade %q %q\n", s.Class, s.Title)
	}
	for _, s := range p.Signs {
		fmt.Fprintf(&b, "sign %s %s\n", s.Glyph, s.What)
	}
	for _, row := range p.Rows {
		if row.Group != "" {
			fmt.Fprintf(&b, "\n%s\n", row.Group)
		}
		if len(row.Paths) > 0 || row.Label == "money conserved" || row.Label == "felt by traffic" {
			continue // what other runs have as well
		}
		fmt.Fprintf(&b, "%s | %s\n", row.Label, row.Note)
		for _, x := range row.Boxes {
			fmt.Fprintf(&b, "  box   %s: %s\n", strings.TrimSpace(x.Class+" "+x.Text), x.Title)
		}
		for _, x := range row.Marks {
			fmt.Fprintf(&b, "  mark  %s: %s\n", x.Class, x.Title)
		}
		for _, x := range row.Texts {
			fmt.Fprintf(&b, "  text  %s: %s\n", x.Class, x.Text)
		}
	}
	golden(t, "round-trip.picture", b.Bytes())
}

// TestProceduresAddUp: a procedure's times exclude each other, and none is lost.
func TestProceduresAddUp(t *testing.T) {
	all := procedures(roundRun())
	if len(all) != 3 {
		t.Fatalf("%d procedures", len(all))
	}
	for _, p := range all {
		if sum := p.Machine + p.Manual + p.Approval + p.Paused + p.Idle; sum-p.Took > 1e-6 || p.Took-sum > 1e-6 {
			t.Errorf("%s: the times add up to %v of %v", p.Name, sum, p.Took)
		}
	}
	if all[0].Manual == 0 || all[0].Idle == 0 || all[1].Paused == 0 || all[2].Approval == 0 {
		t.Errorf("a time is missing: %+v", all)
	}
}

// Each thing that a run may hold is told in each report, and in none where the run does not hold it.
func TestReportsTell(t *testing.T) {
	without := func(kind string) func(*history.Run) {
		return func(r *history.Run) {
			r.Journal = slices.DeleteFunc(r.Journal, func(e history.Entry) bool { return e.Kind == kind })
		}
	}
	unmarked := func(kind string) func(*history.Run) {
		return func(r *history.Run) {
			r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool { return m.Kind == kind })
		}
	}
	all := roundRun()
	all.Operations = slices.DeleteFunc(all.Operations, func(o history.Operation) bool {
		return o.Stream == history.StreamCanary || o.Stream == history.StreamRepeat
	})
	unmarked(history.KindReceived)(all)
	lean := func() *history.Run { // a copy that can be bent
		run, reconciliation := *all, *all.Evidence.Reconciliation
		run.Journal, run.Marks, run.Evidence.Reconciliation = slices.Clone(all.Journal), slices.Clone(all.Marks), &reconciliation
		return &run
	}
	whole := Build(lean(), roundDrill())
	for _, c := range []struct {
		name                    string
		page, summary, terminal string // what tells it; "": this one does not
		remove                  func(*history.Run)
	}{
		{"planned outage", `class="shade planned"`, "1.74 s (target 5 s)", "", func(r *history.Run) {
			for i := range r.Journal {
				if r.Journal[i].Planned = false; r.Journal[i].Procedure == "failback" {
					r.Journal[i].Procedure = "another way back"
				}
			}
		}},
		{"its row", `planned outage <small>failback</small>`, "", "", func(r *history.Run) {
			r.Journal = slices.DeleteFunc(r.Journal, func(e history.Entry) bool { return e.Procedure == "failback" })
		}},
		{"a death", "operator died, step 2: after intent", "operator died", "operator died", unmarked(history.KindDeath)},
		{"another operator", "resumed by another, by second operator", "resumed by another", "resumed by another", func(r *history.Run) {
			for i := range r.Journal {
				r.Journal[i].Who = "operator"
			}
		}},
		{"a take-over", "taken over, by second operator: from operator, process 4242, which is stopped; it hangs", "taken over", "taken over", without(history.EntryTakeover)},
		{"a pause", "paused, by person in charge: wait for the night shift", "paused, continued", "; paused", without(history.EntryPause)},
		{"its box", "failback-preparation, paused: 3.00 s", "", "", without(history.EntryPause)},
		{"its end", "continued, by person in charge", "continued", "continued", without(history.EntryContinue)},
		{"a skip", "step skipped, step 2, by operator: tokyo is out of the ring already", "step skipped", "step skipped", without(history.EntrySkip)},
		{"a retry", "step retried, step 3", "step retried", "step retried", without(history.EntryRetry)},
		{"a failure", "step failed, step 3: osaka did not answer", "step failed", "step failed", without(history.EntryFailed)},
		{"a rejected approval", "nobody approves what he asked for himself", "request rejected", "request rejected", without(history.EntryRejected)},
		{"time by hand", `<td class="n">1.49 s</td><td class="n"></td><td class="n"></td><td class="n">395 ms</td>`, "| 4.11 s | 1.49 s |", "by hand 1.49 s", func(r *history.Run) {
			for i := range r.Journal {
				r.Journal[i].Manual = false
			}
		}},
		{"time for approval", `<td class="n">1.10 s</td>`, "| 1.10 s |", "waiting for approval 1.10 s", without(history.EntryAsk)},
		{"stages", "<td><b>after replay</b></td><td>mysql</td>", "| after replay | mysql | 22 |", "", func(r *history.Run) { r.Evidence.Reconciliation.After = nil }},
		{"raw stage", "<td><b>raw</b></td><td>mysql</td>", "| raw | mysql | 23 |", "", func(r *history.Run) { r.Evidence.Reconciliation = nil }},
		{"gate read by the drill", "✔ pass</span> may tokyo take over from osaka: yes", "may tokyo take over from osaka: yes", "3 readings, 2 passed, 1 refused", unmarked(history.KindGate)},
		{"gate that refuses", "batch.enabled is &#34;true&#34;, expected &#34;false&#34;", "| parameters | batch.enabled is \"true\", expected \"false\" | ✘ refused |", "1 refused", unmarked(history.KindGate)},
		{"gate read by a step", "(failback, step 1): yes", "(failback, step 1): yes", "2 passed", func(r *history.Run) {
			r.Journal = slices.DeleteFunc(r.Journal, func(e history.Entry) bool { return e.Verb == gateVerb && e.Kind == history.EntryAct })
		}},
	} {
		bent := lean()
		if !strings.Contains(c.name, "stage") {
			bent.Evidence = history.Evidence{} // it costs time, and nothing else is told from it
		}
		c.remove(bent)
		without := Build(bent, roundDrill())
		for _, view := range []struct {
			what, want string
			render     func(*bytes.Buffer, Report) error
		}{{"page", c.page, page}, {"summary", c.summary, summary}, {"terminal", c.terminal, func(b *bytes.Buffer, r Report) error { return Terminal(b, r, false) }}} {
			if view.want == "" {
				continue
			}
			told := func(r Report) bool {
				var b bytes.Buffer
				if err := view.render(&b, r); err != nil {
					t.Fatal(err)
				}
				return strings.Contains(b.String(), view.want)
			}
			if !told(whole) {
				t.Errorf("%s: the %s does not say %q", c.name, view.what, view.want)
			}
			if told(without) {
				t.Errorf("%s: the %s says %q of a run without it", c.name, view.what, view.want)
			}
		}
	}
}

// A gate that refused in a step is read from the step's failure: it names what did not hold, with what was read.
func TestGateThatRefusedInAStep(t *testing.T) {
	run := &history.Run{Journal: []history.Entry{
		{Kind: history.EntryFailed, Procedure: "failback", Step: "1", Verb: gateVerb, Inputs: map[string]any{"from": "osaka", "to": "tokyo"},
			Saw:   map[string]any{"parameters": "batch.enabled is true", "errant transactions": "none"},
			Error: "tokyo is not ready to take over from osaka: parameters: batch.enabled is true"},
		{Kind: history.EntryFailed, Procedure: "failback", Step: "1", Verb: gateVerb, Error: "its budget ended"},
	}}
	got := gateReadings(run)
	if len(got) != 2 || got[0].Passed || got[0].Refused() != "parameters" || len(got[0].Predicates) != 2 || !strings.HasSuffix(got[0].Says(), "(failback, step 1): no, by parameters") {
		t.Errorf("%+v", got)
	}
	if got[1].Passed || got[1].Why != "its budget ended" || len(got[1].Predicates) != 0 {
		t.Errorf("%+v", got[1])
	}
}

// A stage that was not read is no stage without a loss.
func TestStageThatWasNotRead(t *testing.T) {
	run := roundRun()
	run.Evidence.Reconciliation.After = &history.Stores{}
	r := Build(run, roundDrill())
	var b bytes.Buffer
	if err := summary(&b, r); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "| after replay | mysql | not read |") {
		t.Error(b.String())
	}
}
