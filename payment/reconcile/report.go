package reconcile

import (
	"encoding/json"
	"time"
)

// Duration is written as a string like "1.5s".
type Duration time.Duration

// MarshalJSON writes "1.5s".
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// What a repair did.
const (
	DidFinish   = "finished"  // PENDING became DONE, with its event
	DidCancel   = "cancelled" // PENDING became CANCELLED, with its refunds
	DidRecreate = "recreated" // the lost row is there again, and ended
	DidEvent    = "event"     // the event was written
	DidCharge   = "charged"   // the charge was made up for
	DidRefund   = "refunded"  // charges were given back, and recorded
	DidVoid     = "voided"    // the payment was closed to charges
	DidRecord   = "recorded"  // the ledger now tells of a refund
)

// Action is one repair.
type Action struct {
	T    int64    `json:"t"` // CLOCK_MONOTONIC, ns
	Key  string   `json:"key"`
	Kind string   `json:"kind"` // of the mismatch
	Did  string   `json:"did"`
	Age  Duration `json:"age"` // of the payment; as old as can be where only a salvaged row knows it
}

// Item is a payment that a run did not bring into agreement, and why.
type Item struct {
	Key  string `json:"key"`
	Kind string `json:"kind"`
	Why  string `json:"why"`
}

// Report is what one run found and did.
type Report struct {
	T     int64    `json:"t"` // when it began, CLOCK_MONOTONIC, ns
	Took  Duration `json:"took"`
	Node  string   `json:"node"`
	Site  string   `json:"site"`
	Epoch int64    `json:"epoch"`
	Grace Duration `json:"grace"` // younger payments were left alone

	Rows     int `json:"rows"` // of the ledger
	Events   int `json:"events"`
	Accounts int `json:"accounts"` // payments that the acquirer knows
	Salvaged int `json:"salvaged"` // rows that were given

	Only bool `json:"only,omitempty"` // nothing but these was reconciled: the run says nothing about other payments

	Mismatches map[string]int `json:"mismatches"` // found, by kind, before any repair
	Keys       []string       `json:"keys"`       // payments that did not agree
	Young      int            `json:"young"`      // payments that did not agree and were left alone
	Repaired   map[string]int `json:"repaired"`   // actions, by what they did
	Actions    []Action       `json:"actions"`
	Unresolved []Item         `json:"unresolved"` // left to people
	Failed     []Item         `json:"failed"`     // repairs that did not come through; the next run tries again
	Error      string         `json:"error,omitempty"`
}

// Found is how many payments did not agree.
func (r Report) Found() int { return len(r.Keys) }

// Changed says whether the run changed anything.
func (r Report) Changed() bool { return len(r.Actions) > 0 }
