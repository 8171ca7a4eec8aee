package reconcile

import (
	"fmt"
	"time"

	"github.com/kirikae/kirikae/payment"
)

// Kinds of mismatches: how ledger, journal and acquirer can disagree on a payment.
const (
	Agrees           = ""
	Lost             = "lost"              // charged, or salvaged as DONE, and the ledger has no row
	Pending          = "pending"           // neither DONE nor CANCELLED
	NoEvent          = "no event"          // DONE, and the journal lacks its event
	OtherEvent       = "other event"       // DONE, and its event names another amount
	Uncharged        = "uncharged"         // DONE, and never charged
	ChargedTwice     = "charged twice"     // DONE, and charged under more than one request
	CancelledCharged = "cancelled charged" // CANCELLED, and the acquirer still holds the money
	CancelledOpen    = "cancelled open"    // CANCELLED, and the acquirer would still charge it
	Unrecorded       = "unrecorded refund" // given back by the acquirer, and the ledger does not say so

	// These are left to people.
	OrphanEvent     = "orphan event"     // an event of a payment that nobody else knows, or that is CANCELLED
	UnknownAccounts = "unknown accounts" // charged, without a row, and nobody knows between which accounts
	Conflict        = "conflict"         // the three name different amounts or accounts, or DONE was given back
)

// view is what the three, and the salvage, know of one payment.
type view struct {
	key      string
	row      *payment.Aged
	event    *payment.Event
	account  payment.Account
	recorded map[string]bool  // requests whose refund stands in the ledger
	salvaged *payment.Payment // the lost region's row
}

// age of a payment is that of its youngest trace: a customer who has just asked again is at work on it, however old its row.
func (v view) age() time.Duration {
	age := time.Duration(1<<63 - 1) // an event, or a salvaged row, alone: nobody is at work on it
	if v.row != nil {
		age = v.row.Age
	}
	for _, c := range v.account.Charges {
		age = min(age, c.Age)
	}
	return age
}

func (v view) promised() bool { return v.salvaged != nil && v.salvaged.State == payment.Done }

// kind names the first thing that is wrong with a payment, in the order in which it is repaired, and why where that is not plain.
func (v view) kind() (kind, why string) {
	held := v.account.Held()
	if v.row == nil {
		switch {
		case len(held) > 0, v.promised() && !v.account.Closed():
			_, kind, why := v.body()
			return kind, why
		case v.promised():
			return Conflict, "its salvaged row is DONE, and the acquirer voided it or gave it back"
		case v.unrecorded():
			return Unrecorded, ""
		case v.event != nil:
			return OrphanEvent, "neither ledger nor acquirer know it"
		}
		return Agrees, ""
	}
	for _, c := range held {
		if c.Yen != v.row.Yen {
			return Conflict, fmt.Sprintf("the acquirer charged %d yen, its row says %d", c.Yen, v.row.Yen)
		}
	}
	if s := v.salvaged; s != nil && !s.Same(v.row.Payment) {
		return Conflict, "its salvaged row asks for something else"
	}
	switch v.row.State {
	case payment.Done:
		switch {
		case len(held) == 0 && v.account.Closed():
			return Conflict, "it is DONE, and the acquirer voided it or gave it back"
		case len(held) == 0:
			return Uncharged, ""
		case len(held) > 1:
			return ChargedTwice, ""
		case v.event == nil:
			return NoEvent, ""
		case v.event.Yen != v.row.Yen:
			return OtherEvent, fmt.Sprintf("its event says %d yen, its row %d", v.event.Yen, v.row.Yen)
		}
	case payment.Cancelled:
		switch {
		case len(held) > 0:
			return CancelledCharged, ""
		case !v.account.Closed():
			return CancelledOpen, ""
		case v.event != nil:
			return OrphanEvent, "it is CANCELLED and has an event"
		}
	default:
		return Pending, ""
	}
	if v.unrecorded() {
		return Unrecorded, ""
	}
	return Agrees, ""
}

// unrecorded says whether the acquirer gave something back that the ledger does not tell.
func (v view) unrecorded() bool {
	for _, c := range v.account.Charges {
		if c.Refunded && !v.recorded[c.Request] {
			return true
		}
	}
	return false
}

// body is what a payment without a row asked for: as the salvage knows it, and as the acquirer was told with its charges. Where
// two of them differ nobody can say which is right.
func (v view) body() (p payment.Payment, kind, why string) {
	known := false
	take := func(q payment.Payment) bool {
		if known {
			return p.Same(q)
		}
		p, known = q, true
		return true
	}
	if v.salvaged != nil {
		s := v.salvaged
		take(payment.Payment{Key: v.key, From: s.From, To: s.To, Yen: s.Yen})
	}
	for _, c := range v.account.Held() {
		if c.From == 0 && c.To == 0 { // charged without a reference
			if known && c.Yen != p.Yen {
				return p, Conflict, fmt.Sprintf("the acquirer charged %d yen, %d were asked for", c.Yen, p.Yen)
			}
			continue
		}
		if !take(payment.Payment{Key: v.key, From: c.From, To: c.To, Yen: c.Yen}) {
			return p, Conflict, "salvage and acquirer, or two charges, name different accounts or amounts"
		}
	}
	if !known {
		return p, UnknownAccounts, "the acquirer was told no accounts, and no salvaged row names them"
	}
	if err := p.Check(); err != nil {
		return p, Conflict, err.Error()
	}
	return p, Lost, ""
}
