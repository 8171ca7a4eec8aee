package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// beforeFence is the time before a handover in which customers must have been paying: a loss of zero without a payment that could
// have been lost says nothing.
const beforeFence = 2 * time.Second

// handovers are the planned switchovers of a run that were carried out: neither taken back nor left half done.
func handovers(run *history.Run) (out []history.ProcedureRun) {
	for _, p := range plannedWindows(run) {
		if p.Ended && !p.Undone {
			out = append(out, p)
		}
	}
	return out
}

// NothingLost judges that a planned switchover lost nothing, and proves it by the stores: at the flip both MySQL had executed the
// same transactions, tag by tag; Cassandra gave the same rows in both regions; and at the end every payment that was acknowledged
// in this way, after any earlier loss of a region, is in both stores. In a drill without a fault that is every payment.
func NothingLost(run *history.Run) Result { return nothingLost(run, measure(run)) }

func nothingLost(run *history.Run, m measures) Result {
	o := objective.WithDefaults(run.Meta.Objectives)
	l, err := m.ledger()
	if err != nil {
		return Undecided(NameNothingLost, err.Error())
	}
	e := run.Evidence
	flips := handovers(run)
	var findings []Finding
	var sets, compared int64
	var rows int64
	acked := int64(-1)
	for _, p := range flips {
		found, proved := tagsAtFlip(p)
		findings = append(findings, found...)
		sets += b2i(proved)
		found, n := rowsAtFlip(run, p)
		findings = append(findings, found...)
		compared += b2i(n > 0)
		rows += n
		if n := lastAcks(run, p); acked < 0 || n < acked {
			acked = n
		}
	}
	gone := 0
	for _, s := range []objective.Store{l.MySQL, l.Cassandra} {
		var lost []objective.Loss
		for _, x := range s.Lost {
			if l.Cut == 0 || x.Acked > l.Cut && !x.Zombie { // what an earlier cut took is judged as its loss
				lost = append(lost, x)
			}
		}
		if gone += len(lost); len(lost) > 0 {
			findings = append(findings, Finding{What: fmt.Sprintf("%s: %d acknowledged payments are not there at the end", s.Name, len(lost)),
				Keys: objective.Keys(lost), T: int64(lost[0].Acked)})
		}
	}
	evidence := []Counter{
		{"payments acknowledged", int64(l.Acked), 100},
		{"stores read at the end", b2i(e.Ledger != nil) + b2i(e.Journal != nil), 2},
		{"final reads that agreed", b2i(e.Quiescence != nil && e.Quiescence.Agreed), 1},
	}
	says := fmt.Sprintf("lost nothing: each of %d acknowledged payments is in both stores", l.Acked)
	if !run.Meta.Calm && l.Cut != 0 {
		says = "lost nothing: each payment that was acknowledged after the cut is in both stores"
	}
	if n := int64(len(flips)); n > 0 {
		evidence = append(evidence,
			Counter{"handovers with both sites' GTID sets", sets, n},
			Counter{"handovers with both regions' Cassandra rows compared", compared, n},
			Counter{"payments acknowledged in the last 2 s before a handover", acked, int64(max(0, o.PlannedAcked))},
		)
		if sets == n && compared == n {
			says += fmt.Sprintf("; GTID sets equal per tag at the flip, Cassandra equal in %s rows", thousands(rows))
		}
	} else if !run.Meta.TakenBack && !oneReign(run) {
		evidence = append(evidence, Counter{"planned switchovers that were carried out", 0, 1})
	}
	slices.SortStableFunc(findings, func(a, b Finding) int { return int(max(-1, min(1, a.T-b.T))) })
	if len(findings) > 0 {
		says = findings[0].What
	}
	r := Conclude(NameNothingLost, says, len(findings) > 0, evidence, findings)
	r.Numbers = map[string]Interval{"lost": exactly(gone, "payments"), "acknowledged": exactly(l.Acked, "payments")}
	return r
}

// proof is the last thing that a run put down with all of some keys: what a step confirmed, or noted while it acted. A confirm that is
// read again after the flip sees other things.
func proof(p history.ProcedureRun, keys ...string) (history.Entry, bool) {
	for _, e := range slices.Backward(p.Entries) {
		if e.Step != "" && !slices.ContainsFunc(keys, func(k string) bool { _, ok := e.Saw[k]; return !ok }) {
			return e, true
		}
	}
	return history.Entry{}, false
}

// tagsAtFlip holds the two sites' GTID sets at a handover against each other. False: they were not both read.
func tagsAtFlip(p history.ProcedureRun) ([]Finding, bool) {
	e, ok := proof(p, history.SawExecutedFrom, history.SawExecutedTo)
	if !ok {
		return nil, false
	}
	text := func(key string) string { s, _ := e.SawText(key); return s }
	from, err1 := history.ParseGTIDSet(text(history.SawExecutedFrom))
	to, err2 := history.ParseGTIDSet(text(history.SawExecutedTo))
	if err1 != nil || err2 != nil || from.Empty() && to.Empty() {
		return nil, false
	}
	var out []Finding
	for _, d := range []struct {
		set  history.GTIDSet
		what string
	}{
		{from.Subtract(to), "executed by the old primary only"},
		{to.Subtract(from), "executed by the new primary only"},
	} {
		if !d.set.Empty() {
			out = append(out, Finding{T: int64(e.T), What: fmt.Sprintf("%s, step %s: the GTID sets differ at the flip: %s %s", p.Name, e.Step, short(d.set.String()), d.what)})
		}
	}
	return out, true
}

// rowsAtFlip reads how many Cassandra rows a handover compared, and whether the regions gave as many.
func rowsAtFlip(run *history.Run, p history.ProcedureRun) ([]Finding, int64) {
	e, ok := proof(p, history.SawRows, run.Meta.Active, run.Meta.Standby)
	if !ok {
		return nil, 0
	}
	n, _ := e.SawNumber(history.SawRows)
	a, there := e.SawNumber(run.Meta.Active)
	b, here := e.SawNumber(run.Meta.Standby)
	switch {
	case !there || !here:
		return nil, 0
	case a != n || b != n:
		return []Finding{{T: int64(e.T), What: fmt.Sprintf("%s, step %s: Cassandra gave %d rows in %s and %d in %s, %d of them alike",
			p.Name, e.Step, a, run.Meta.Active, b, run.Meta.Standby, n)}}, n
	}
	return nil, n
}

// lastAcks counts the payments that were acknowledged in the two seconds before customers were shut out of a handover's old site:
// before the last acknowledgement that its old epoch gave.
func lastAcks(run *history.Run, p history.ProcedureRun) (n int64) {
	reigns := run.Reigns()
	old := reigns[0]
	for _, r := range reigns[1:] {
		if r.From <= p.Until {
			if r.From >= p.From { // the reign that the handover began
				break
			}
			old = r
		}
	}
	mine := func(o history.Operation) bool {
		return o.Stream == history.StreamPayment && o.Outcome == history.OK && o.Site == old.Site && o.Finished <= p.Until && (o.Epoch == 0 || old.Epoch == 0 || o.Epoch == old.Epoch)
	}
	var last history.Instant
	for _, o := range run.Operations {
		if mine(o) {
			last = max(last, o.Finished)
		}
	}
	if last < p.From { // nobody paid while it was made ready: what it had to keep was long replicated
		return 0
	}
	for _, o := range run.Operations {
		if mine(o) && o.Finished > last.Add(-beforeFence) {
			n++
		}
	}
	return n
}

// short is a set that fits on a line.
func short(s string) string {
	s = strings.ReplaceAll(s, "\n", "")
	if len(s) > 120 {
		return s[:117] + "…"
	}
	return s
}
