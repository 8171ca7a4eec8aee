package check

import (
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/drill/history"
)

// Names of the checks on how interrupted payments ended. They are judged where the drill looked (Evidence.Reconciliation).
const (
	NameInFlight   = "in flight"   // payments in flight at the cut end as the acquirer says, most of them forward
	NameReconciled = "reconciled"  // after 突合 ledger, journal and acquirer agree, and a second run changes nothing
	NameSameAnswer = "same answer" // an acknowledged key keeps its answer, and no 200 is for a payment that no store holds
)

// held is what the acquirer's two logs say of one payment.
type held struct {
	charges  []history.Charge // each request once
	refunded map[string]bool  // by request
	voided   bool
}

// now is how many charges were not given back.
func (h *held) now() int {
	n := 0
	for _, c := range h.charges {
		if !h.refunded[c.Request] {
			n++
		}
	}
	return n
}

// ends is the final state of all payments, by key, from the stores' rows and the acquirer's own logs.
type ends struct {
	rows     map[string]history.PaymentRow
	events   map[string]history.EventRow
	acquirer map[string]*held
	recorded map[[2]string]bool // refund rows, by payment and request
}

// of is what the acquirer knows of a payment; never nil.
func (e ends) of(key string) *held {
	if h := e.acquirer[key]; h != nil {
		return h
	}
	return &held{}
}

// unrecorded says whether something was given back that the ledger does not tell.
func (e ends) unrecorded(key string) bool {
	for request := range e.of(key).refunded {
		if !e.recorded[[2]string{key, request}] {
			return true
		}
	}
	return false
}

// finalEnds reads the final state, or says why it cannot be known.
func finalEnds(run *history.Run) (e ends, why string) {
	v := run.Evidence
	switch {
	case v.Reconciliation == nil:
		return e, "the drill did not look at interrupted payments"
	case v.Ledger == nil || v.Journal == nil:
		return e, "the new authority's stores were not both read"
	case v.Quiescence == nil || !v.Quiescence.Agreed:
		return e, "the final reads did not agree"
	case v.Charges == nil || v.Reconciliation.Closings == nil:
		return e, "the acquirer's two logs were not both read"
	case v.Reconciliation.Refunds == nil:
		return e, "the ledger's refunds were not read"
	}
	e = ends{rows: map[string]history.PaymentRow{}, events: map[string]history.EventRow{}, acquirer: map[string]*held{}, recorded: map[[2]string]bool{}}
	for _, p := range v.Ledger.Payments {
		e.rows[p.Key] = p
	}
	for _, x := range v.Journal.Events {
		e.events[x.Key] = x
	}
	account := func(key string) *held {
		h := e.acquirer[key]
		if h == nil {
			h = &held{refunded: map[string]bool{}}
			e.acquirer[key] = h
		}
		return h
	}
	for _, c := range v.Charges {
		if !c.Dup {
			h := account(c.Payment)
			h.charges = append(h.charges, c)
		}
	}
	for _, c := range v.Reconciliation.Closings {
		switch h := account(c.Payment); {
		case c.Kind == "void":
			h.voided = true
		case c.Kind == "refund":
			h.refunded[c.Request] = true
		}
	}
	for _, r := range v.Reconciliation.Refunds {
		e.recorded[[2]string{r.Key, r.Request}] = true
	}
	return e, ""
}

// customers says whether an operation is a payment of a customer.
func customers(o history.Operation) bool {
	return o.Stream == history.StreamPayment || o.Stream == history.StreamRepeat
}

// faults collects findings by sentence, each with the payments that it is about.
type faults struct {
	order []string
	keys  map[string][]string
}

func (f *faults) add(format, key string) {
	if f.keys == nil {
		f.keys = map[string][]string{}
	}
	if f.keys[format] == nil {
		f.order = append(f.order, format)
	}
	f.keys[format] = append(f.keys[format], key)
}

// findings makes one of each sentence, whose %d is how many payments it is about, in the order of the sentences.
func (f *faults) findings() []Finding {
	slices.Sort(f.order)
	var out []Finding
	for _, format := range f.order {
		keys := f.keys[format]
		slices.Sort(keys)
		keys = slices.Compact(keys)
		out = append(out, Finding{What: fmt.Sprintf(format, len(keys)), Keys: keys})
	}
	return out
}
