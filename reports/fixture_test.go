package reports

import (
	"fmt"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/history/historytest"
	"github.com/kirikae/kirikae/drill/objective"
)

// What the judges say is written by hand here: these tests are about how it is told, not about whether it is right.

func goodRun() *history.Run {
	run := historytest.Good(7)
	run.Folder = "reports/out/20261121-120000-region-loss"
	run.Meta.Engines = map[string]string{"mysql": "9.7.4", "cassandra": "5.0.9"}
	run.Meta.Simulated = false
	return run
}

// contained is the same run in containers.
func contained(run *history.Run) *history.Run {
	run.Meta.Runtime = "docker"
	run.Meta.Images = []history.Image{
		{Name: "mysql", Reference: "mysql:9.7.4", ID: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", Source: "official"},
		{Name: "cassandra", Reference: "kirikae/cassandra:5.0.9-0123456789ab", ID: "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210", Source: "built"},
	}
	return run
}

func goodDrill() check.Drill {
	recovery := check.Conclude(check.NameRecovery, "12.1 – 12.2 s, back 7.4 s after the decision (target 60 s)", false, count("probes in the outage", 1204, 100), nil)
	recovery.Numbers = map[string]check.Interval{"outage": {Lower: 12.1, Upper: 12.2, Unit: "s"}, "since decision": {Lower: 7.35, Upper: 7.44, Unit: "s"}}
	return drillOf(
		check.Conclude(check.NameSane, "11 020 slots gave 11 020 records", false, count("records", 11020, 1000), nil),
		check.Conclude(check.NameFaultReal, "4 links felt the fault as declared", false, count("links attested", 4, 4), nil),
		recovery,
		check.Conclude(check.NameUnreplicated, "14 of 792 acknowledged payments never left tokyo (target ≤ 100, ≤ 2 s)", false, count("acknowledged in the last second", 49, 20), nil),
		check.Conclude(check.NameDropped, "0 dropped", false, count("samples of the received set", 140, 10), nil),
		check.Conclude(check.NameDoubleCharge, "no payment was charged twice", false, count("charges", 1990, 100), nil),
		check.Conclude(check.NameConservation, "conserved in 64 snapshots", false, count("snapshots", 64, 20), nil),
		check.Conclude(check.NameOneWriter, "one writer (0 ms dual-writable, limit 50 ms)", false, count("canaries accepted in osaka", 600, 1), nil),
	)
}

// droppedRun is a run whose new primary lacks 30 payments that it had received, and a procedure that failed at step 9.
func droppedRun() (*history.Run, []string) {
	run := goodRun()
	received := run.Meta.Origin.Add(historytest.CutOsaka - historytest.Lag - 50*time.Millisecond)
	var keys []string
	for _, o := range slices.Backward(run.Operations) {
		if o.Stream == history.StreamPayment && o.Outcome == history.OK && o.Finished < received && len(keys) < 30 {
			keys = append(keys, o.Key)
		}
	}
	slices.Reverse(keys)
	rows := run.Evidence.Ledger
	rows.Payments = slices.DeleteFunc(rows.Payments, func(p history.PaymentRow) bool { return slices.Contains(keys, p.Key) })
	return run, keys
}

func droppedDrill(run *history.Run, keys []string) check.Drill {
	d := goodDrill()
	d.Results[4] = check.Conclude(check.NameDropped, "30 payments that osaka had received are not in its new primary (must be 0)", true, count("samples of the received set", 140, 10), []check.Finding{
		{What: "osaka-mysql-1 had received the transactions by the cut, and was promoted without them", Keys: keys, T: int64(run.Meta.Origin.Add(historytest.Detached - 100*time.Millisecond))},
		{What: "the relay log held 46 transactions when replication was reset", T: int64(run.Meta.Origin.Add(historytest.Detached))},
	})
	d.Verdict = check.Fail
	return d
}

// unknownDrill is what can be said of killedRun.
func unknownDrill(run *history.Run) check.Drill {
	d := drillOf(
		check.Conclude(check.NameSane, "2 110 slots gave 2 110 records", false, count("records", 2110, 1000), nil),
		check.Conclude(check.NameFaultReal, "tokyo>osaka/mysql was declared cut, and traffic went through", false, count("links attested", 3, 4), []check.Finding{{What: "tokyo>osaka/mysql: an old connection still carried bytes", T: int64(run.Meta.Origin.Add(historytest.CutAll + time.Second))}}),
		check.Undecided(check.NameRecovery, "no final reads"),
	)
	d.Interrupted = "the drill was killed"
	return d
}

// killedRun is a run whose drill was killed in the middle of step 5: no end, no evidence, the history cut off.
func killedRun() *history.Run {
	run := goodRun()
	end := run.Meta.Origin.Add(historytest.Procedure + 2*time.Second)
	run.Meta.Ended, run.Evidence, run.Truncated = 0, history.Evidence{}, []string{history.OperationsFile}
	run.Operations = slices.DeleteFunc(run.Operations, func(o history.Operation) bool { return o.Sent >= end })
	for i, o := range run.Operations {
		if o.Finished > end {
			run.Operations[i].Finished, run.Operations[i].Outcome, run.Operations[i].Status = 0, history.Info, 0
		}
	}
	run.Marks = slices.DeleteFunc(run.Marks, func(m history.Mark) bool { return m.T >= end })
	run.Journal = slices.DeleteFunc(run.Journal, func(e history.Entry) bool { return e.T >= end })
	return run
}

// fixed is r with what others compute put in by hand, so that the golden files change only when the rendering does.
func fixed(r Report) Report {
	origin := r.run.Meta.Origin
	r.Headlines = []check.Line{
		{Label: "out", Text: "12.1 – 12.2 s, back 7.4 s after the decision (target 60 s)"},
		{Label: "lost", Text: "mysql 14 of 3 912 acknowledged payments: 14 unreplicated (¥ 61 400, oldest 0.41 s before the cut), 0 dropped, 0 never durable · cassandra 2"},
		{Label: "money", Text: "no double charge · conserved in 61 snapshots · one writer (0 ms dual-writable, limit 50 ms) · stores agree but for the 16 above"},
	}
	if len(r.Lost) > 0 {
		r.Lost = nil
		for i := range 24 {
			r.Lost = append(r.Lost, Loss{Key: fmt.Sprintf("p-%05d", 648+i), Yen: 1200 + int64(i), MySQL: objective.Dropped, Age: 1 - float64(i)/50})
		}
		r.Lost[23].MySQL, r.Lost[23].Cassandra = objective.Unreplicated, objective.Unreplicated
	}
	at := func(d time.Duration) history.Instant { return origin.Add(historytest.Procedure + d) }
	r.Steps = []Step{
		{Number: "1", Title: "東阪通信の切断 / deny Cassandra traffic", State: StepDone, Machine: 0.19, Attempts: 1, began: at(0), ended: at(190 * time.Millisecond)},
		{Number: "2", Title: "グローバルデータベースの分離 / leave the replication", State: StepAlready, Machine: 0.7, Attempts: 2, began: at(200 * time.Millisecond), ended: at(900 * time.Millisecond)},
		{Number: "8", Title: "DNSレコード書き換え / change the DNS records", State: StepDone, Manual: true, Machine: 0.05, Waiting: 12.4, Attempts: 1, began: at(3 * time.Second), ended: at(5 * time.Second)},
	}
	return r
}

func count(name string, have, need int64) []check.Counter {
	return []check.Counter{{Name: name, Have: have, Need: need}}
}

// drillOf makes a drill of results, with the worst verdict.
func drillOf(results ...check.Result) check.Drill {
	d := check.Drill{Verdict: check.Pass, Results: results}
	for _, r := range results {
		d.Verdict = check.Worse(d.Verdict, r.Verdict())
	}
	if len(results) == 0 {
		d.Verdict = check.Inconclusive
	}
	return d
}
