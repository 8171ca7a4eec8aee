package check_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

const graceG = 10 * time.Second

// reconciled bends the good run into one whose drill looked at interrupted payments: 24 were in flight at the cut, every other one
// charged, and the reconciler brought all of them, and all that was lost, to their end. Then it bends on.
func reconciled(bend func(r *history.Run)) func(*history.Run) {
	return func(r *history.Run) {
		e := &r.Evidence
		cut, _ := r.Cut()
		var last []*history.Operation
		for i := range r.Operations {
			if o := &r.Operations[i]; ackedBy("tokyo")(*o) && o.Finished < cut {
				last = append(last, o)
			}
		}
		rec := &history.Reconciliation{Grace: history.Duration(graceG), Closings: []history.Closing{}, Refunds: []history.RefundRow{}}
		first := history.ReconcileRun{T: cut.Add(20 * time.Second), Took: history.Duration(time.Second), Grace: rec.Grace, Mismatches: map[string]int{"pending": 0, "lost": 0}}
		found := func(key, kind, did string) {
			first.Keys = append(first.Keys, key)
			first.Mismatches[kind]++
			first.Actions = append(first.Actions, history.ReconcileAction{T: first.T, Key: key, Kind: kind, Did: did, Age: history.Duration(20 * time.Second)})
		}
		for i, o := range last[len(last)-124 : len(last)-100] {
			o.Outcome, o.Finished, o.Status = history.Info, cut.Add(time.Millisecond), 0
			if i%2 == 0 {
				continue
			}
			for _, l := range []*history.LedgerRows{e.Ledger, e.OldLedger} {
				l.Payments = without(l.Payments, o.Key, rowKey)
				l.Transactions = without(l.Transactions, o.Key, transactionKey)
			}
			for _, j := range []*history.JournalRows{e.Journal, e.OldJournal} {
				j.Events = without(j.Events, o.Key, eventKey)
			}
			e.Charges = without(e.Charges, o.Key, chargeKey)
			e.Ledger.Payments = append(e.Ledger.Payments, history.PaymentRow{Key: o.Key, State: "PENDING", Yen: o.Yen, Epoch: 1})
		}
		rec.Raw = &history.Stores{Ledger: copied(e.Ledger), Journal: copied(e.Journal)}
		e.Ledger.Payments, e.Journal.Events = slices.Clone(e.Ledger.Payments), slices.Clone(e.Journal.Events)

		done, told := map[string]bool{}, map[string]bool{}
		for i := range e.Ledger.Payments {
			p := &e.Ledger.Payments[i]
			if p.State == "PENDING" {
				p.State, p.Epoch = "CANCELLED", 2
				rec.Closings = append(rec.Closings, history.Closing{T: first.T, Kind: "void", Payment: p.Key})
				found(p.Key, "pending", "cancelled")
				continue
			}
			done[p.Key] = true
		}
		for _, c := range e.Charges {
			if !done[c.Payment] {
				done[c.Payment] = true
				e.Ledger.Payments = append(e.Ledger.Payments, history.PaymentRow{Key: c.Payment, State: "DONE", Yen: c.Yen, Epoch: 2})
				found(c.Payment, "lost", "recreated")
			}
		}
		for _, x := range e.Journal.Events {
			told[x.Key] = true
		}
		for _, p := range e.Ledger.Payments {
			if p.State == "DONE" && !told[p.Key] {
				e.Journal.Events = append(e.Journal.Events, history.EventRow{Key: p.Key, Yen: p.Yen, Epoch: p.Epoch})
			}
		}
		rec.First = &history.Stores{Ledger: copied(e.Ledger), Journal: copied(e.Journal)}
		rec.First.Ledger.Payments, rec.First.Journal.Events = slices.Clone(e.Ledger.Payments), slices.Clone(e.Journal.Events)
		again := history.ReconcileRun{T: first.T.Add(5 * time.Second), Took: history.Duration(time.Second), Grace: rec.Grace, Mismatches: map[string]int{}}
		rec.Runs, rec.Again = []history.ReconcileRun{first, again}, &again
		e.Reconciliation = rec
		if bend != nil {
			bend(r)
		}
	}
}

// flying returns one payment that was in flight at the cut.
func flying(r *history.Run, charged bool) string {
	cut, _ := r.Cut()
	return first(r, func(o history.Operation) bool {
		return o.Stream == history.StreamPayment && o.Outcome == history.Info && o.Finished == cut.Add(time.Millisecond) &&
			slices.ContainsFunc(r.Evidence.Charges, func(c history.Charge) bool { return c.Payment == o.Key }) == charged
	}).Key
}

// state sets the final state of a payment; "" removes its row.
func state(r *history.Run, key, to string) {
	l := r.Evidence.Ledger
	if to == "" {
		l.Payments = without(l.Payments, key, rowKey)
		return
	}
	for i := range l.Payments {
		if l.Payments[i].Key == key {
			l.Payments[i].State = to
			return
		}
	}
	l.Payments = append(l.Payments, history.PaymentRow{Key: key, State: to, Yen: 100, Epoch: 2})
}

func eventless(r *history.Run, key string) {
	r.Evidence.Journal.Events = without(r.Evidence.Journal.Events, key, eventKey)
}

// giveBack refunds a payment, on record or not.
func giveBack(r *history.Run, key string, recorded bool) {
	for _, c := range r.Evidence.Charges {
		if c.Payment == key && !c.Dup {
			rec := r.Evidence.Reconciliation
			rec.Closings = append(rec.Closings, history.Closing{T: rec.Runs[0].T, Kind: "refund", Payment: key, Request: c.Request, Yen: c.Yen})
			if recorded {
				rec.Refunds = append(rec.Refunds, history.RefundRow{Key: key, Request: c.Request, Yen: c.Yen})
			}
		}
	}
}

func takenBack(r *history.Run, key string) {
	state(r, key, "CANCELLED")
	eventless(r, key)
	giveBack(r, key, true)
}

func allFlying(r *history.Run, charged bool, f func(key string)) {
	cut, _ := r.Cut()
	for _, o := range slices.Clone(r.Operations) {
		if o.Stream == history.StreamPayment && o.Outcome == history.Info && o.Finished == cut.Add(time.Millisecond) &&
			slices.ContainsFunc(r.Evidence.Charges, func(c history.Charge) bool { return c.Payment == o.Key }) == charged {
			f(o.Key)
		}
	}
}

// blind are what the evidence must hold for any of the three checks.
func blind(open check.Verdict) []bend {
	return []bend{
		{"the drill did not look", reconciled(func(r *history.Run) { r.Evidence.Reconciliation = nil }), open, "did not look"},
		{"no final reads", reconciled(func(r *history.Run) { r.Evidence.Journal = nil }), open, "not both read"},
		{"reads that do not agree", reconciled(func(r *history.Run) { r.Evidence.Quiescence.Agreed = false }), open, "did not agree"},
		{"charges not read", reconciled(func(r *history.Run) { r.Evidence.Charges = nil }), open, "acquirer"},
		{"refunds and voids not read", reconciled(func(r *history.Run) { r.Evidence.Reconciliation.Closings = nil }), open, "acquirer"},
		{"the ledger's own refunds not read", reconciled(func(r *history.Run) { r.Evidence.Reconciliation.Refunds = nil }), open, "refunds were not read"},
	}
}

// chargedLater moves the charges of n charged payments in flight behind the cut.
func chargedLater(r *history.Run, n int) (keys []string) {
	cut, _ := r.Cut()
	allFlying(r, true, func(key string) {
		if len(keys) == n {
			return
		}
		keys = append(keys, key)
		for i := range r.Evidence.Charges {
			if c := &r.Evidence.Charges[i]; c.Payment == key {
				c.T = cut + 1
			}
		}
	})
	return keys
}

func TestInFlight(t *testing.T) {
	judgeTable(t, check.NameInFlight, check.InFlight, append([]bend{
		{"good", reconciled(nil), pass, "forward"},
		{"a charged one was taken back, on record", reconciled(func(r *history.Run) { takenBack(r, flying(r, true)) }), pass, "1 given back"},
		{"an uncharged one never reached the ledger", reconciled(func(r *history.Run) { state(r, flying(r, false), "") }), pass, ""},
		{"some were charged after the cut, and went forward", reconciled(func(r *history.Run) { chargedLater(r, 8) }), pass, "5 forward, 0 given back, 20 not charged by then"},
		{"too few were charged by the cut", reconciled(func(r *history.Run) { chargedLater(r, 9) }), open, "charged by then: 4 of at least 5"},
		{"what was charged after the cut and went forward makes up for nothing", reconciled(func(r *history.Run) {
			late := chargedLater(r, 6)
			allFlying(r, true, func(key string) {
				if !slices.Contains(late, key) {
					takenBack(r, key)
				}
			})
		}), fail, "most must go forward"},
		{"one unanswered before the cut, charged, and done", reconciled(func(r *history.Run) {
			cut, _ := r.Cut()
			key := flying(r, true)
			first(r, func(o history.Operation) bool { return o.Key == key }).Finished = cut - 1
		}), pass, ""},

		{"a charged one stays PENDING", reconciled(func(r *history.Run) { state(r, flying(r, true), "PENDING") }), fail, "never brought to an end"},
		{"an uncharged one stays PENDING", reconciled(func(r *history.Run) { state(r, flying(r, false), "PENDING") }), fail, "never brought to an end"},
		{"a charged one is cancelled", reconciled(func(r *history.Run) { state(r, flying(r, true), "CANCELLED") }), fail, "nothing was given back"},
		{"a charged one is not there", reconciled(func(r *history.Run) { state(r, flying(r, true), "") }), fail, "does not know them"},
		{"a charged one has no event", reconciled(func(r *history.Run) { eventless(r, flying(r, true)) }), fail, "without their event"},
		{"an uncharged one is done", reconciled(func(r *history.Run) { state(r, flying(r, false), "DONE") }), fail, "holds nothing"},
		{"one that was given back is done", reconciled(func(r *history.Run) { giveBack(r, flying(r, true), true) }), fail, "holds nothing"},
		{"one was given back off the record", reconciled(func(r *history.Run) {
			key := flying(r, true)
			state(r, key, "CANCELLED")
			giveBack(r, key, false)
		}), fail, "no record"},
		{"all were taken back", reconciled(func(r *history.Run) { allFlying(r, true, func(key string) { takenBack(r, key) }) }), fail, "most must go forward"},

		{"no fault", reconciled(func(r *history.Run) { drop(r, history.KindFault) }), open, "no fault"},
		{"nothing in flight", reconciled(func(r *history.Run) {
			cut, _ := r.Cut()
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Outcome == history.Info && o.Sent < cut {
					o.Outcome, o.Finished = history.OK, cut-1
				}
			}
		}), open, "in flight at the cut: 0"},
		{"all charged", reconciled(func(r *history.Run) {
			allFlying(r, false, func(key string) {
				state(r, key, "DONE")
				r.Evidence.Charges = append(r.Evidence.Charges, history.Charge{Payment: key, Request: key, Yen: 100})
				r.Evidence.Journal.Events = append(r.Evidence.Journal.Events, history.EventRow{Key: key, Yen: 100})
			})
		}), open, "not charged yet: 0"},
	}, blind(open)...))
}

func TestReconciled(t *testing.T) {
	rec := func(f func(rec *history.Reconciliation, r *history.Run)) func(*history.Run) {
		return reconciled(func(r *history.Run) { f(r.Evidence.Reconciliation, r) })
	}
	both := func(f func(r *history.Run)) func(*history.Run) { // in both last stages, so that nothing changed between them
		return reconciled(func(r *history.Run) {
			f(r)
			first := r.Evidence.Reconciliation.First
			first.Ledger, first.Journal = copied(r.Evidence.Ledger), copied(r.Evidence.Journal)
		})
	}
	osakas := func(r *history.Run) string { return first(r, ackedBy("osaka")).Key }
	judgeTable(t, check.NameReconciled, check.Reconciled, append([]bend{
		{"good", reconciled(nil), pass, "agree in ledger, journal and acquirer"},
		{"one was taken back, on record", both(func(r *history.Run) { takenBack(r, flying(r, true)) }), pass, ""},
		{"the stage between two runs was not read", rec(func(rec *history.Reconciliation, r *history.Run) { rec.First = nil }), pass, ""},
		{"a run that could not be made", rec(func(rec *history.Reconciliation, r *history.Run) {
			rec.Runs = append([]history.ReconcileRun{{T: rec.Runs[0].T - 1, Error: "not connected"}}, rec.Runs...)
		}), pass, ""},
		{"asked again about a void", rec(func(rec *history.Reconciliation, r *history.Run) {
			rec.Closings = append(rec.Closings, history.Closing{T: first(r, ackedBy("osaka")).Sent + 1, Kind: "void", Payment: osakas(r), Dup: true})
		}), pass, ""},

		{"one is PENDING", both(func(r *history.Run) { state(r, osakas(r), "PENDING"); eventless(r, osakas(r)) }), fail, "PENDING"},
		{"one has no event", both(func(r *history.Run) { eventless(r, osakas(r)) }), fail, "no event"},
		{"an event has no row", both(func(r *history.Run) {
			r.Evidence.Journal.Events = append(r.Evidence.Journal.Events, history.EventRow{Key: "ghost"})
		}), fail, "events have no row"},
		{"an event names another amount", both(func(r *history.Run) { r.Evidence.Journal.Events[7].Yen++ }), fail, "another in the journal"},
		{"a charge names another amount", both(func(r *history.Run) { r.Evidence.Charges[7].Yen++ }), fail, "another amount"},
		{"one is done and not charged", both(func(r *history.Run) { r.Evidence.Charges = without(r.Evidence.Charges, osakas(r), chargeKey) }), fail, "holds nothing"},
		{"one is done and charged twice", both(func(r *history.Run) {
			c := r.Evidence.Charges[7]
			c.Request, c.Dup = "another", false
			r.Evidence.Charges = append(r.Evidence.Charges, c)
		}), fail, "more than one charge"},
		{"one is cancelled and charged", both(func(r *history.Run) { state(r, osakas(r), "CANCELLED"); eventless(r, osakas(r)) }), fail, "holds their money"},
		{"one is cancelled and has an event", both(func(r *history.Run) { state(r, osakas(r), "CANCELLED"); giveBack(r, osakas(r), true) }), fail, "have an event"},
		{"one was given back off the record", both(func(r *history.Run) {
			state(r, flying(r, true), "CANCELLED")
			eventless(r, flying(r, true))
			giveBack(r, flying(r, true), false)
		}), fail, "no record"},
		{"the acquirer knows one that is lost", both(func(r *history.Run) {
			key := r.Evidence.Reconciliation.Runs[0].Actions[20].Key
			state(r, key, "")
			eventless(r, key)
		}), fail, "does not know them"},
		{"the salvage knows one that is lost", both(func(r *history.Run) {
			key := keptKey(r)
			state(r, key, "")
			eventless(r, key)
			r.Evidence.Charges = without(r.Evidence.Charges, key, chargeKey)
			r.Evidence.Reconciliation.Salvaged = []history.PaymentRow{{Key: key, State: "DONE"}}
		}), fail, "the salvage knows them"},
		{"a second run says that it repaired", rec(func(rec *history.Reconciliation, r *history.Run) {
			rec.Again.Actions = []history.ReconcileAction{{Key: "x", Age: history.Duration(time.Hour)}}
		}), fail, "second run"},
		{"a second run changed a row", rec(func(rec *history.Reconciliation, r *history.Run) { rec.First.Ledger.Payments[3].State = "PENDING" }), fail, "second run"},
		{"a second run wrote an event", rec(func(rec *history.Reconciliation, r *history.Run) {
			rec.First.Journal.Events = rec.First.Journal.Events[1:]
		}), fail, "second run"},
		{"a second run removed a row", rec(func(rec *history.Reconciliation, r *history.Run) {
			rec.First.Ledger.Payments = append(rec.First.Ledger.Payments, history.PaymentRow{Key: "x"})
		}), fail, "second run"},
		{"it says that it touched a young one", rec(func(rec *history.Reconciliation, r *history.Run) {
			rec.Runs[0].Actions[0].Age = history.Duration(graceG - 1)
		}), fail, "younger than its grace"},
		{"the acquirer saw it touch a young one", rec(func(rec *history.Reconciliation, r *history.Run) {
			o := first(r, func(o history.Operation) bool { return o.Key == rec.Closings[0].Payment })
			rec.Closings[0].T = o.Sent.Add(2 * time.Second)
		}), fail, "younger than its grace"},
		{"an acknowledged one disagrees all of a sudden", rec(func(rec *history.Reconciliation, r *history.Run) {
			o := first(r, ackedBy("osaka"))
			rec.Runs[0].T = o.Finished.Add(graceG + time.Second)
			rec.Runs[1].T = rec.Runs[0].T.Add(5 * time.Second)
			rec.Runs[1].Keys = []string{o.Key}
		}), fail, "without a fault"},
		{"only salvaged rows were looked at before", rec(func(rec *history.Reconciliation, r *history.Run) {
			o := first(r, ackedBy("osaka"))
			rec.Runs[0].T, rec.Runs[0].Only = o.Finished.Add(graceG+time.Second), true
			rec.Runs[1].T = rec.Runs[0].T.Add(5 * time.Second)
			rec.Runs[1].Keys = []string{o.Key}
		}), pass, ""},
		{"one disagrees after a fault", rec(func(rec *history.Reconciliation, r *history.Run) {
			o := first(r, ackedBy("osaka"))
			rec.Runs[0].T = o.Finished.Add(graceG + time.Second)
			rec.Runs[1].T = rec.Runs[0].T.Add(5 * time.Second)
			rec.Runs[1].Keys = []string{o.Key}
			t := rec.Runs[0].T.Add(time.Second)
			add(r, t, history.KindFault, "x", history.FaultData{Action: "heal", Began: t, Done: t})
		}), pass, ""},

		{"nobody reconciled, and all agrees", rec(func(rec *history.Reconciliation, r *history.Run) { rec.Runs, rec.Again = nil, nil }), open, "runs of the reconciler"},
		{"nobody reconciled", reconciled(func(r *history.Run) {
			rec := r.Evidence.Reconciliation
			rec.Runs, rec.Again = nil, nil
			r.Evidence.Ledger, r.Evidence.Journal, rec.First = rec.Raw.Ledger, rec.Raw.Journal, nil
		}), fail, "events have no row"},
		{"no second run", rec(func(rec *history.Reconciliation, r *history.Run) { rec.Again = nil }), open, "a run after"},
		{"little to do", rec(func(rec *history.Reconciliation, r *history.Run) { rec.Runs[0].Keys = rec.Runs[0].Keys[:9] }), open, "9 of at least 10"},
		{"a mark that cannot be read", reconciled(func(r *history.Run) { add(r, at(time.Second), history.KindFault, "x", 3) }), open, "mark"},
	}, blind(open)...))
}

func TestSameAnswer(t *testing.T) {
	repeated := func(r *history.Run, site string) *history.Operation { // a repeat of a key that had been acknowledged
		acked := map[string]bool{}
		return first(r, func(o history.Operation) bool {
			if o.Stream != history.StreamRepeat || o.Outcome != history.OK {
				return false
			}
			was := acked[o.Key]
			acked[o.Key] = true
			return was && o.Site == site
		})
	}
	judgeTable(t, check.NameSameAnswer, check.SameAnswer, append([]bend{
		{"good", reconciled(nil), pass, "same answer"},
		{"a repeat was refused for now", reconciled(func(r *history.Run) {
			o := repeated(r, "osaka")
			o.Outcome, o.Status = history.Fail, 503
		}), pass, ""},
		{"a cancelled key is asked again, and again cancelled", reconciled(func(r *history.Run) {
			key := flying(r, false)
			r.Operations = append(r.Operations,
				history.Operation{Stream: history.StreamRepeat, Key: key, Sent: at(50 * time.Second), Finished: at(51 * time.Second), Outcome: history.Fail, Status: 410, Wire: 1, Site: "osaka"},
				history.Operation{Stream: history.StreamRepeat, Key: key, Sent: at(52 * time.Second), Finished: at(53 * time.Second), Outcome: history.Fail, Status: 410, Wire: 1, Site: "osaka"})
		}), pass, ""},

		{"charged under another request, and given back", reconciled(func(r *history.Run) {
			c := r.Evidence.Charges[7]
			c.Request, c.Dup = "another", false
			r.Evidence.Charges = append(r.Evidence.Charges, c)
			r.Evidence.Reconciliation.Closings = append(r.Evidence.Reconciliation.Closings, history.Closing{Kind: "refund", Payment: c.Payment, Request: "another"})
		}), fail, "more than one request"},
		{"an acknowledged key is told that it is cancelled", reconciled(func(r *history.Run) {
			o := repeated(r, "osaka")
			o.Outcome, o.Status = history.Fail, 410
		}), fail, "told something else"},
		{"an acknowledged key is told of a conflict", reconciled(func(r *history.Run) {
			o := repeated(r, "tokyo")
			o.Outcome, o.Status = history.Fail, 409
		}), fail, "told something else"},
		{"a cancelled key is acknowledged", reconciled(func(r *history.Run) {
			o := first(r, ackedBy("osaka"))
			r.Operations = append(r.Operations,
				history.Operation{Stream: history.StreamRepeat, Key: o.Key, Sent: o.Sent - 2, Finished: o.Sent - 1, Outcome: history.Fail, Status: 410, Wire: 1, Site: "osaka"})
		}), fail, "told that they are cancelled"},
		{"a 200 for what the ledger does not hold", reconciled(func(r *history.Run) {
			key := first(r, ackedBy("osaka")).Key
			state(r, key, "")
			r.Evidence.Reconciliation.Raw = nil
		}), fail, "does not hold"},
		{"a 200 from memory, made good by the reconciler", reconciled(func(r *history.Run) {
			raw := r.Evidence.Reconciliation.Raw.Ledger
			raw.Payments = without(slices.Clone(raw.Payments), repeated(r, "osaka").Key, rowKey)
		}), fail, "does not hold"},

		{"no repeats", reconciled(func(r *history.Run) {
			r.Operations = slices.DeleteFunc(r.Operations, func(o history.Operation) bool { return o.Stream == history.StreamRepeat })
		}), open, "repeats"},
		{"no repeat over the switch", reconciled(func(r *history.Run) {
			r.Operations = slices.DeleteFunc(r.Operations, func(o history.Operation) bool { return o.Stream == history.StreamRepeat && o.Site == "tokyo" })
		}), open, "other site"},
	}, blind(open)...))
}

// The three are judged only where the drill looked, and losses are those that the switch left, whatever was made good later.
func TestInterruptedPaymentsInTheVerdict(t *testing.T) {
	names := []string{check.NameInFlight, check.NameReconciled, check.NameSameAnswer}
	for _, name := range names {
		if _, ok := check.Judge(good()).Get(name); ok {
			t.Errorf("%s is judged without evidence", name)
		}
	}
	run := bent(reconciled(nil))
	d := check.Judge(run)
	for _, name := range names {
		if r, ok := d.Get(name); !ok || r.Verdict() != check.Pass {
			t.Errorf("%s: %v, %s %v", name, ok, r.Says, r.Missing)
		}
	}
	stages, err := objective.LossStages(run)
	if err != nil || len(stages) != 2 || stages[0].Name != "raw" || stages[1].Name != "final" {
		t.Fatalf("%v, %v", stages, err)
	}
	if len(stages[0].Ledger.MySQL.Lost) == 0 || len(stages[1].Ledger.MySQL.Lost) != 0 {
		t.Errorf("raw %d, final %d lost", len(stages[0].Ledger.MySQL.Lost), len(stages[1].Ledger.MySQL.Lost))
	}
	r, _ := d.Get(check.NameUnreplicated)
	if n := r.Numbers["mysql lost"].Lower; n != float64(len(stages[0].Ledger.MySQL.Lost)) {
		t.Errorf("unreplicated says %v, the raw ledger %d", n, len(stages[0].Ledger.MySQL.Lost))
	}
	text := ""
	for _, l := range check.Headlines(run, d) {
		text += l.Label + "|" + l.Text + "\n"
	}
	if !strings.Contains(text, " · final mysql 0, cassandra 0") || !strings.Contains(text, " · reconciled") {
		t.Error(text)
	}
}
