package check

import (
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// minRows is how many payments the new authority must hold before its two stores can be said to agree.
const minRows = 100

// StoresAgree judges the new authority's two stores against each other, modulo the loss ledger. An event without a row must be
// among the payments that mysql lost, acknowledged or not; a row without an event among those that cassandra lost, or its
// outcome must be one that no client ever learned. Anything else is a platform that wrote half.
func StoresAgree(run *history.Run) Result { return storesAgree(run, measure(run)) }

func storesAgree(run *history.Run, m measures) Result {
	e := run.Evidence
	switch {
	case e.Ledger == nil || e.Journal == nil:
		return Undecided(NameStoresAgree, "the new authority's stores were not both read")
	case e.Quiescence == nil || !e.Quiescence.Agreed:
		return Undecided(NameStoresAgree, "the final reads did not agree")
	}
	l, err := m.ledger()
	if err != nil {
		return Undecided(NameStoresAgree, err.Error())
	}
	lostRow, lostEvent := map[string]bool{}, map[string]bool{}
	for _, x := range l.MySQL.Lost {
		lostRow[x.Key] = true
	}
	for _, x := range l.Unpromised { // what had been received and is gone is no loss that explains anything
		if x.Class == objective.Unreplicated {
			lostRow[x.Key] = true
		}
	}
	for _, x := range l.Cassandra.Lost {
		lostEvent[x.Key] = true
	}
	old := map[string]bool{}
	if e.OldJournal != nil {
		for _, x := range e.OldJournal.Events {
			old[x.Key] = true
		}
	}
	told, unknown := map[string]bool{}, map[string]bool{}
	for _, o := range run.Operations {
		if o.Stream == history.StreamPayment || o.Stream == history.StreamRepeat {
			told[o.Key] = told[o.Key] || o.Outcome == history.OK
			unknown[o.Key] = unknown[o.Key] || o.Outcome == history.Info
		}
	}

	rows := map[string]history.PaymentRow{}
	for _, p := range e.Ledger.Payments {
		if p.State == "DONE" {
			rows[p.Key] = p
		}
	}
	events := map[string]bool{}
	var eventOnly, rowOnly, amounts []string
	var explained, open int64
	for _, x := range e.Journal.Events {
		events[x.Key] = true
		row, ok := rows[x.Key]
		switch {
		case ok && row.Yen != x.Yen:
			amounts = append(amounts, x.Key)
		case ok:
		case lostRow[x.Key]:
			explained++
		case e.OldLedger == nil && !told[x.Key]:
			open++ // it may have been lost with the site; nobody looked
		default:
			eventOnly = append(eventOnly, x.Key)
		}
	}
	for key := range rows {
		switch {
		case events[key]:
		case lostEvent[key], unknown[key] && !told[key]:
			explained++
		case told[key] && old[key]: // repeated on purpose, so outside the loss ledger: its event was lost with the site
			explained++
		case e.OldJournal == nil && told[key]:
			open++
		default:
			rowOnly = append(rowOnly, key)
		}
	}

	var findings []Finding
	list := func(keys []string, format string) {
		if len(keys) > 0 {
			slices.Sort(keys)
			findings = append(findings, Finding{What: fmt.Sprintf(format, len(keys)), Keys: keys})
		}
	}
	list(eventOnly, "%d events have no row, and mysql did not lose one")
	list(rowOnly, "%d rows have no event, cassandra did not lose one, and their outcome was known")
	list(amounts, "%d payments have one amount in mysql and another in cassandra")
	evidence := []Counter{
		{"payments in mysql", int64(len(rows)), minRows},
		{"events in cassandra", int64(len(e.Journal.Events)), minRows},
		{"differences that could be judged", explained + int64(len(eventOnly)+len(rowOnly)), explained + int64(len(eventOnly)+len(rowOnly)) + open},
	}
	says := "stores agree"
	if explained > 0 {
		says = fmt.Sprintf("stores agree but for the losses (%d differences, each explained)", explained)
	}
	if len(findings) > 0 {
		says = findings[0].What
	}
	r := Conclude(NameStoresAgree, says, len(findings) > 0, evidence, findings)
	r.Numbers = map[string]Interval{"differences explained": exactly(int(explained), "payments")}
	return r
}

// Quiescent judges whether the final reads are final: two of them, at least two seconds apart, agreed, and the platform's own
// API tells the same payments as its stores. Reads that did not settle decide nothing; an API that tells something else than the
// settled stores fails.
func Quiescent(run *history.Run) Result {
	e := run.Evidence
	if e.Quiescence == nil {
		return Undecided(NameQuiescent, "the final reads were not made")
	}
	evidence := []Counter{
		{"final reads", int64(e.Quiescence.Reads), 2},
		{"apart, ms", e.Quiescence.Apart.D().Milliseconds(), 2000},
		{"they agreed", b2i(e.Quiescence.Agreed), 1},
		{"stores read", b2i(e.Ledger != nil) + b2i(e.Journal != nil), 2},
		{"payments told by the API", int64(len(e.API)), 1},
	}
	if !e.Quiescence.Agreed {
		why := e.Quiescence.Why
		if why == "" {
			why = "the last two reads differ"
		}
		return Conclude(NameQuiescent, "not quiescent: "+why, false, evidence, nil)
	}
	if e.API == nil || e.Ledger == nil {
		return Conclude(NameQuiescent, "not read through the API and around it", false, evidence, nil)
	}
	direct := map[string]history.PaymentRow{}
	for _, p := range e.Ledger.Payments {
		direct[p.Key] = p
	}
	var differ []string
	told := map[string]bool{}
	for _, p := range e.API {
		q, ok := direct[p.Key]
		if told[p.Key] || !ok || q.State != p.State || q.Yen != p.Yen || q.Epoch != p.Epoch {
			differ = append(differ, p.Key)
		}
		told[p.Key] = true
	}
	for key := range direct {
		if !told[key] {
			differ = append(differ, key)
		}
	}
	if len(differ) > 0 {
		slices.Sort(differ)
		what := fmt.Sprintf("%d payments are told otherwise by the API than the store holds them", len(differ))
		return Conclude(NameQuiescent, what, true, evidence, []Finding{{What: what, Keys: slices.Compact(differ)}})
	}
	return Conclude(NameQuiescent, fmt.Sprintf("%d final reads agreed %s apart, and the API told the same %d payments",
		e.Quiescence.Reads, seconds(e.Quiescence.Apart.D()), len(e.API)), false, evidence, nil)
}
