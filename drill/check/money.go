package check

import (
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/drill/history"
)

// DoubleCharge judges the acquirer's own log, which is kept outside both regions: no payment id was charged more than once,
// and none that a customer was told is paid was never charged, or with another amount. It says nothing unless customers
// really repeated themselves, some of them over the switch.
func DoubleCharge(run *history.Run) Result {
	e := run.Evidence
	if e.Charges == nil {
		return Undecided(NameDoubleCharge, "the acquirer's log was not read")
	}
	type charge struct {
		times int
		yen   int64
		last  history.Instant
	}
	charged := map[string]*charge{}
	for _, c := range e.Charges {
		if c.Dup {
			continue
		}
		x := charged[c.Payment]
		if x == nil {
			x = &charge{}
			charged[c.Payment] = x
		}
		x.times, x.yen, x.last = x.times+1, c.Yen, c.T
	}
	var twice, never, other []string
	var first history.Instant
	for id, c := range charged {
		if c.times > 1 {
			twice = append(twice, id)
			if first == 0 || c.last < first {
				first = c.last
			}
		}
	}

	type tries struct{ old, now bool }
	crossing := map[string]*tries{}
	var repeats, told int64
	// A region that is cut off from the other but alive goes on charging until its last acknowledgement.
	charges, _ := run.Cut()
	for _, o := range run.Operations {
		if charges != 0 && payment(o) && o.Outcome == history.OK && o.Site == run.Meta.Active && o.Sent > charges {
			charges = o.Sent
		}
	}
	before, after := aroundTakenBack(run)
	for _, o := range run.Operations {
		if o.Stream != history.StreamPayment && o.Stream != history.StreamRepeat {
			continue
		}
		if o.Stream == history.StreamRepeat {
			if o.Attempt > 1 && o.Wire > 0 {
				repeats++
			}
			t := crossing[o.Key]
			if t == nil {
				t = &tries{}
				crossing[o.Key] = t
			}
			// Before: it may have been charged there. After: it was answered by the new site.
			was := o.Site == run.Meta.Active && (charges == 0 || o.Sent <= charges)
			is := o.Site == run.Meta.Standby
			if run.Meta.TakenBack { // nobody else ever answers: before and after the attempt
				was, is = o.Sent < before, o.Sent > after
			}
			t.old = t.old || was && o.Wire > 0 && o.Outcome != history.Fail
			t.now = t.now || is && o.Outcome == history.OK
		}
		if o.Outcome == history.OK {
			told++
			switch c := charged[o.Key]; {
			case c == nil:
				never = append(never, o.Key)
			case c.yen != o.Yen:
				other = append(other, o.Key)
			}
		}
	}
	var crossed int64
	for _, t := range crossing {
		if t.old && t.now {
			crossed++
		}
	}

	var findings []Finding
	list := func(keys []string, t history.Instant, format string) {
		if len(keys) > 0 {
			slices.Sort(keys)
			keys = slices.Compact(keys)
			findings = append(findings, Finding{What: fmt.Sprintf(format, len(keys)), Keys: keys, T: int64(t)})
		}
	}
	list(twice, first, "%d payments were charged more than once")
	list(never, 0, "%d payments were acknowledged and never charged")
	list(other, 0, "%d payments were charged with another amount than the customer's")
	over := "keys tried at both sites, over the switch"
	if run.Meta.TakenBack {
		over = "keys tried before and after the switch that was taken back"
	}
	evidence := []Counter{
		{"payments charged", int64(len(charged)), 100},
		{"repeated attempts that left", repeats, 10},
	}
	if !oneReign(run) { // there, nobody takes the work over
		evidence = append(evidence, Counter{over, crossed, 3})
	}
	says := fmt.Sprintf("no double charge: %d payments charged once each, %d repeated attempts, %d keys over the switch", len(charged), repeats, crossed)
	if len(findings) > 0 {
		says = findings[0].What
	}
	r := Conclude(NameDoubleCharge, says, len(findings) > 0, evidence, findings)
	r.Numbers = map[string]Interval{"charged twice": exactly(len(twice), "payments"), "acknowledged": exactly(int(told), "answers")}
	return r
}

// minOut is how many payments must go unanswered for customers to have been out of service: fewer are strays.
const minOut = 10

// aroundTakenBack is when a switch that was taken back began, and when everything was back, as customers saw it: from the first payment
// that was not answered as it should while such a procedure was at work, to the last one. Nobody was out of service before and after
// that, whatever else the operators did. Where customers noticed nothing but strays: from the begin of the first such procedure to the end of the
// last.
func aroundTakenBack(run *history.Run) (before, after history.Instant) {
	for _, p := range run.Procedures() {
		if p.Undone {
			if before == 0 {
				before = p.From
			}
			after = p.Until
		}
	}
	var first, last history.Instant
	out := 0
	for _, o := range run.Operations {
		if o.Sent < before || o.Sent > after || o.Outcome == history.OK || o.Stream != history.StreamPayment && o.Stream != history.StreamRepeat {
			continue
		}
		if out++; first == 0 || o.Sent < first {
			first = o.Sent
		}
		last = max(last, o.Sent)
	}
	if out >= minOut {
		return first, last
	}
	return before, after
}

// minSnapshots is how many consistent reads of all balances a drill must have made.
const minSnapshots = 20

// Conservation judges every snapshot of balances and statements (Jepsen's bank test): the balances add up to the constant that
// the world was made with, the entries to nothing, and each account's balance is its opening balance and its entries. At the
// end each payment that is DONE has exactly its two entries.
func Conservation(run *history.Run) Result {
	marks, err := history.Marked[history.SnapshotData](run, history.KindSnapshot)
	if err != nil {
		return Undecided(NameConservation, err.Error())
	}
	e := run.Evidence
	var during, final, constant int64
	var findings []Finding
	look := func(t history.Instant, s history.SnapshotData) {
		if constant == 0 {
			constant = s.Constant
		}
		var what string
		switch {
		case s.Constant != constant:
			what = fmt.Sprintf("the constant changed from ¥ %s to ¥ %s", thousands(constant), thousands(s.Constant))
		case s.Balance != s.Constant:
			what = fmt.Sprintf("the balances add up to ¥ %s, not to ¥ %s", thousands(s.Balance), thousands(s.Constant))
		case s.EntrySum != 0:
			what = fmt.Sprintf("the statements add up to ¥ %s, not to 0", thousands(s.EntrySum))
		case len(s.Mismatched) > 0:
			what = fmt.Sprintf("%d accounts hold another balance than their statement says, the first is %s", len(s.Mismatched), s.Mismatched[0])
		default:
			return
		}
		findings = append(findings, Finding{What: s.Node + ": " + what, T: int64(t)})
	}
	load, _ := run.Phase(history.PhaseLoad)
	for _, k := range marks {
		if k.Data.Accounts == 0 {
			continue // nothing was read
		}
		if k.T >= load && k.T <= endOfLoad(run) {
			during++
		}
		look(k.T, k.Data)
	}
	for _, rows := range []*history.LedgerRows{e.Ledger, e.OldLedger} {
		if rows != nil && rows.Snapshot.Accounts > 0 {
			final++
			look(rows.T, rows.Snapshot)
		}
	}
	if rows := e.Ledger; rows != nil && rows.Snapshot.Accounts > 0 && e.Quiescence != nil && e.Quiescence.Agreed {
		done := int64(0)
		for _, p := range rows.Payments {
			if p.State == "DONE" {
				done++
			}
		}
		if rows.Snapshot.Entries != 2*done {
			findings = append(findings, Finding{T: int64(rows.T), What: fmt.Sprintf("%s: %d statement entries for %d payments, which have two each", rows.Node, rows.Snapshot.Entries, done)})
		}
	}
	evidence := []Counter{{"snapshots under load", during, minSnapshots}, {"final snapshots", final, 1}}
	says := fmt.Sprintf("conserved in %d snapshots", during+final)
	if len(findings) > 0 {
		says = findings[0].What
	}
	return Conclude(NameConservation, says, len(findings) > 0, evidence, findings)
}
