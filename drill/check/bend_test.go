package check_test

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/history/historytest"
)

// good is the good run that every bad one is bent from.
var good = sync.OnceValue(func() *history.Run { return historytest.Good(3) })

const origin = history.Instant(1000 * time.Second)

func at(d time.Duration) history.Instant { return origin.Add(d) }

// bent copies the good run and bends the copy.
func bent(bend func(*history.Run)) *history.Run {
	r := *good()
	r.Operations, r.Marks, r.Journal = slices.Clone(r.Operations), slices.Clone(r.Marks), slices.Clone(r.Journal)
	e := &r.Evidence
	e.Quiescence, e.Ledger, e.OldLedger, e.Journal, e.OldJournal = copied(e.Quiescence), copied(e.Ledger), copied(e.OldLedger), copied(e.Journal), copied(e.OldJournal)
	for _, l := range []*history.LedgerRows{e.Ledger, e.OldLedger} {
		l.Payments, l.Transactions = slices.Clone(l.Payments), slices.Clone(l.Transactions)
	}
	for _, j := range []*history.JournalRows{e.Journal, e.OldJournal} {
		j.Events = slices.Clone(j.Events)
	}
	e.API, e.Charges, e.Facts, r.Meta.Facts = slices.Clone(e.API), slices.Clone(e.Charges), maps.Clone(e.Facts), maps.Clone(r.Meta.Facts)
	if bend != nil {
		bend(&r)
	}
	return &r
}

func copied[T any](p *T) *T {
	c := *p
	return &c
}

// edit changes the data of the marks of a kind.
func edit[T any](r *history.Run, kind string, change func(m *history.Mark, data *T)) {
	for i := range r.Marks {
		if r.Marks[i].Kind != kind {
			continue
		}
		var data T
		if err := json.Unmarshal(r.Marks[i].Data, &data); err != nil {
			panic(err)
		}
		change(&r.Marks[i], &data)
		r.Marks[i].Data, _ = json.Marshal(data)
	}
}

// add adds a mark in its place.
func add(r *history.Run, t history.Instant, kind, name string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	r.Marks = append(r.Marks, history.Mark{T: t, Kind: kind, Name: name, Data: b})
	slices.SortStableFunc(r.Marks, func(a, b history.Mark) int { return int(a.T - b.T) })
}

// drop removes the marks of a kind.
func drop(r *history.Run, kind string) {
	r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool { return m.Kind == kind })
}

// each changes the operations of a stream.
func each(r *history.Run, stream string, change func(o *history.Operation)) {
	for i := range r.Operations {
		if r.Operations[i].Stream == stream {
			change(&r.Operations[i])
		}
	}
}

// first finds an operation.
func first(r *history.Run, want func(o history.Operation) bool) *history.Operation {
	i := slices.IndexFunc(r.Operations, want)
	if i < 0 {
		panic("no such operation")
	}
	return &r.Operations[i]
}

func ackedBy(site string) func(history.Operation) bool {
	return func(o history.Operation) bool {
		return o.Stream == history.StreamPayment && o.Outcome == history.OK && o.Site == site
	}
}

// lostKey is an acknowledged payment that was not replicated, keptKey one that was.
func lostKey(r *history.Run) string {
	for _, o := range r.Operations {
		if ackedBy("tokyo")(o) && !slices.ContainsFunc(r.Evidence.Ledger.Payments, func(p history.PaymentRow) bool { return p.Key == o.Key }) {
			return o.Key
		}
	}
	panic("nothing was lost")
}

func keptKey(r *history.Run) string { return first(r, ackedBy("tokyo")).Key }

func without[T any](rows []T, key string, of func(T) string) []T {
	return slices.DeleteFunc(rows, func(x T) bool { return of(x) == key })
}

func rowKey(p history.PaymentRow) string          { return p.Key }
func eventKey(e history.EventRow) string          { return e.Key }
func chargeKey(c history.Charge) string           { return c.Payment }
func transactionKey(t history.Transaction) string { return t.Key }
