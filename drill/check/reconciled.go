package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// What 突合 must have had to do before its success means anything.
const (
	minMismatches = 10
	minKinds      = 2
)

// clockSlack is by how much the age of a payment, told by a store's clock, may differ from the harness's.
const clockSlack = 500 * time.Millisecond

// Reconciled judges 突合. In the end ledger, journal and acquirer agree on every payment, and nothing is lost that the acquirer or
// the salvage knows. A second run changed nothing. No payment younger than the grace was touched, by the reconciler's own account
// and by the acquirer's. And no payment that had been acknowledged, and agreed in one run, disagreed in a later one without a
// fault in between. The final agreement is computed here, from rows and logs: the reconciler's word is not taken for it.
func Reconciled(run *history.Run) Result {
	e, why := finalEnds(run)
	if why != "" {
		return Undecided(NameReconciled, why)
	}
	l, err := objective.LossLedger(run)
	if err != nil {
		return Undecided(NameReconciled, err.Error())
	}
	rec := run.Evidence.Reconciliation
	var differ, lost, young, risen, moved faults
	disagreements(e, &differ)
	lostForGood(run, e, l, &lost)
	touched(run, rec, &young)
	if err := rises(run, rec, &risen); err != nil {
		return Undecided(NameReconciled, err.Error())
	}
	changed(run, rec, &moved)
	findings := slices.Concat(young.findings(), differ.findings(), lost.findings(), risen.findings(), moved.findings())

	mismatched, kinds, made := map[string]bool{}, map[string]bool{}, int64(0)
	for _, r := range rec.Runs {
		if r.Error == "" {
			made++
		}
		for _, k := range r.Keys {
			mismatched[k] = true
		}
		for k := range r.Mismatches {
			kinds[k] = true
		}
	}
	evidence := []Counter{
		{"whole runs of the reconciler", made, 2},
		{"a run after the one that left nothing to do", b2i(rec.Again != nil && rec.Again.Error == ""), 1},
		{"payments that it found in disagreement", int64(len(mismatched)), minMismatches},
		{"kinds of disagreement", int64(len(kinds)), minKinds},
		{"payments in the ledger", int64(len(e.rows)), minRows},
	}
	says := fmt.Sprintf("reconciled: %d payments agree in ledger, journal and acquirer; %d had not, and a second run changed nothing", len(e.rows), len(mismatched))
	if len(findings) > 0 {
		says = findings[0].What
	}
	r := Conclude(NameReconciled, says, len(findings) > 0, evidence, findings)
	r.Numbers = map[string]Interval{"found in disagreement": exactly(len(mismatched), "payments"), "finally lost": exactly(len(l.MySQL.Lost), "payments")}
	return r
}

// disagreements compares ledger, journal and acquirer, payment by payment.
func disagreements(e ends, wrong *faults) {
	for key, row := range e.rows {
		h := e.of(key)
		x, told := e.events[key]
		switch {
		case row.State == "DONE" && !told:
			wrong.add("%d payments are DONE and have no event", key)
		case row.State == "DONE" && x.Yen != row.Yen:
			wrong.add("%d payments have one amount in the ledger and another in the journal", key)
		case row.State == "DONE" && h.now() == 0:
			wrong.add("%d payments are DONE, and the acquirer holds nothing for them", key)
		case row.State == "DONE" && h.now() > 1:
			wrong.add("%d payments are DONE, and the acquirer holds more than one charge", key)
		case row.State == "CANCELLED" && h.now() > 0:
			wrong.add("%d payments are CANCELLED, and the acquirer holds their money", key)
		case row.State == "CANCELLED" && told:
			wrong.add("%d payments are CANCELLED and have an event", key)
		case row.State != "DONE" && row.State != "CANCELLED":
			wrong.add("%d payments are PENDING", key)
		}
		if e.unrecorded(key) {
			wrong.add("%d payments were given back, and the ledger has no record of it", key)
		}
		for _, c := range h.charges {
			if !h.refunded[c.Request] && c.Yen != row.Yen {
				wrong.add("%d payments were charged another amount than the ledger says", key)
			}
		}
	}
	for key := range e.events {
		if e.rows[key].State == "" {
			wrong.add("%d events have no row", key)
		}
	}
	for key, h := range e.acquirer {
		if h.now() > 0 && e.rows[key].State == "" {
			wrong.add("%d payments were charged, and the ledger does not know them", key)
		}
	}
}

// lostForGood finds acknowledged payments that are lost in the end although somebody knows them.
func lostForGood(run *history.Run, e ends, l objective.Ledger, wrong *faults) {
	salvaged := map[string]bool{}
	for _, p := range run.Evidence.Reconciliation.Salvaged {
		if p.State == "DONE" {
			salvaged[p.Key] = true
		}
	}
	for _, s := range []objective.Store{l.MySQL, l.Cassandra} {
		for _, x := range s.Lost {
			switch {
			case e.of(x.Key).now() > 0:
				wrong.add("%d acknowledged payments are lost in the end, and the acquirer knows them", x.Key)
			case salvaged[x.Key]:
				wrong.add("%d acknowledged payments are lost in the end, and the salvage knows them", x.Key)
			}
		}
	}
}

// touched finds payments that were younger than the grace when something was done about them: by the reconciler's own account,
// and by the acquirer's log against the moment when their customer first sent them.
func touched(run *history.Run, rec *history.Reconciliation, wrong *faults) {
	const says = "%d payments were touched by the reconciler although they were younger than its grace"
	for _, r := range rec.Runs {
		for _, a := range r.Actions {
			if rec.Grace > 0 && a.Age < rec.Grace {
				wrong.add(says, a.Key)
			}
		}
	}
	sent := map[string]history.Instant{}
	for _, o := range run.Operations {
		if t, ok := sent[o.Key]; customers(o) && o.Wire > 0 && (!ok || o.Sent < t) {
			sent[o.Key] = o.Sent
		}
	}
	for _, c := range rec.Closings {
		if t, ok := sent[c.Payment]; ok && !c.Dup && c.T.Sub(t) < rec.Grace.D()-clockSlack {
			wrong.add(says, c.Payment)
		}
	}
}

// rises finds acknowledged payments that agreed in one run and did not in the next, without a fault since the first could have
// seen it.
func rises(run *history.Run, rec *history.Reconciliation, wrong *faults) error {
	marks, err := history.Marked[history.FaultData](run, history.KindFault)
	if err != nil {
		return err
	}
	acked := map[string]history.Instant{}
	_, cut := run.Cut()
	for _, o := range run.Operations {
		if !customers(o) || o.Outcome != history.OK || cut && o.Site == run.Meta.Active {
			continue
		}
		if t, ok := acked[o.Key]; !ok || o.Finished < t {
			acked[o.Key] = o.Finished
		}
	}
	var before *history.ReconcileRun
	for i := range rec.Runs {
		r := &rec.Runs[i]
		if r.Error != "" || r.Only {
			continue
		}
		if before != nil {
			from := before.T.Add(-rec.Grace.D())
			quiet := !slices.ContainsFunc(marks, func(m history.At[history.FaultData]) bool {
				return m.Data.Done >= from && m.Data.Began <= r.T.Add(r.Took.D())
			})
			for _, key := range r.Keys {
				if t, ok := acked[key]; quiet && ok && t < from && !slices.Contains(before.Keys, key) {
					wrong.add("%d acknowledged payments agreed in one run and did not in the next, without a fault", key)
				}
			}
		}
		before = r
	}
	return nil
}

// changed finds what the run after the first whole one did, by its own account and by the stores' rows.
func changed(run *history.Run, rec *history.Reconciliation, wrong *faults) {
	const says = "%d payments were changed by a second run"
	if rec.Again != nil {
		for _, a := range rec.Again.Actions {
			wrong.add(says, a.Key)
		}
	}
	if rec.First == nil || rec.First.Ledger == nil || rec.First.Journal == nil {
		return
	}
	rows, events := map[string]history.PaymentRow{}, map[string]history.EventRow{}
	for _, p := range rec.First.Ledger.Payments {
		rows[p.Key] = p
	}
	for _, x := range rec.First.Journal.Events {
		events[x.Key] = x
	}
	for _, p := range run.Evidence.Ledger.Payments {
		if rows[p.Key] != p {
			wrong.add(says, p.Key)
		}
		delete(rows, p.Key)
	}
	for _, x := range run.Evidence.Journal.Events {
		if events[x.Key] != x {
			wrong.add(says, x.Key)
		}
		delete(events, x.Key)
	}
	for key := range rows {
		wrong.add(says, key)
	}
	for key := range events {
		wrong.add(says, key)
	}
}
