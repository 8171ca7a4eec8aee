// Package payment is the reference platform that drills break: a small payment service over two stores, one region active and
// one standby, after articles 001 (Rakuten Pay) and 002 (Lerna at TIS). It never knows that it is being drilled: nothing here
// imports the harness.
//
// This package holds what its parts share: the values, the errors, and the storage that the application sees. Each part lives
// in its own folder: online (the application), gateway, params (the region's parameter store), acquirer, batch, onprem, reconcile
// (突合), forward (how an interrupted payment ends, for both of them); mysql and cassandra are the real stores, paymenttest the ones
// in memory with the contract that both keep.
//
// Every part is an http.Handler, plus Run(ctx) where it works in the background. Only cmd/paymentd owns listeners.
package payment

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// State of a payment.
type State string

// States. Work goes forward to DONE wherever the acquirer has charged (article 001: 前進させる). Only a payment that the acquirer
// has not charged and never will, or whose charge it has given back, is CANCELLED. Both ends are final.
const (
	Pending   State = "PENDING"   // its row exists; it may have been charged
	Done      State = "DONE"      // money moved in the ledger; its event may still be missing in the journal
	Cancelled State = "CANCELLED" // no money moved in the ledger, and none ever will under this key
)

// Payment is one transfer between two accounts. Its key, chosen by the customer, is its id everywhere: in both stores and at the
// acquirer. An account may go negative: the platform moves money and keeps its sum, it grants no credit decisions.
type Payment struct {
	Key   string
	From  int   // account
	To    int   // account
	Yen   int64 // > 0
	State State
	Epoch int64  // of the writer that opened it, then of the one that finished it
	Site  string // likewise
	Node  string // likewise
}

// Same says whether two payments ask for the same thing: the same key must always carry the same body.
func (p Payment) Same(q Payment) bool {
	return p.Key == q.Key && p.From == q.From && p.To == q.To && p.Yen == q.Yen
}

// Limits of a payment.
const (
	MaxKey = 64         // bytes of a key
	MaxYen = 10_000_000 // of one payment
)

// CheckKey says why a string cannot be a payment's key: it is 1 to 64 of A-Z a-z 0-9 . _ : -, so that it can stand in a URL, a
// log and a SQL comment as it is.
func CheckKey(key string) error {
	if key == "" {
		return errors.New("payment key is empty")
	}
	if len(key) > MaxKey {
		return fmt.Errorf("payment key has %d bytes, at most %d are allowed", len(key), MaxKey)
	}
	for _, c := range []byte(key) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == ':', c == '-':
		default:
			return fmt.Errorf("payment key holds %q; allowed are A-Z a-z 0-9 . _ : -", c)
		}
	}
	return nil
}

// Check says why a payment cannot be asked for.
func (p Payment) Check() error {
	if err := CheckKey(p.Key); err != nil {
		return err
	}
	switch {
	case p.From < 1:
		return fmt.Errorf("from is %d, an account is 1 or more", p.From)
	case p.To < 1:
		return fmt.Errorf("to is %d, an account is 1 or more", p.To)
	case p.From == p.To:
		return fmt.Errorf("from and to are the same account %d", p.From)
	case p.Yen < 1 || p.Yen > MaxYen:
		return fmt.Errorf("yen is %d, allowed are 1 to %d", p.Yen, MaxYen)
	}
	return nil
}

// Writer is who writes: one application node, at a site, under the epoch that it was started with. A ledger refuses a writer
// whose epoch is not the ledger's (a fencing token).
type Writer struct {
	Node  string
	Site  string
	Epoch int64
}

// Errors of the stores. A caller may say that nothing happened only on ErrNotExecuted; every error that is none of these leaves
// the outcome unknown.
var (
	ErrNotExecuted = errors.New("not executed")                   // proof: never sent, refused by the store, or rolled back
	ErrStaleEpoch  = errors.New("stale epoch")                    // the store is in another epoch; always with ErrNotExecuted
	ErrConflict    = errors.New("key is known with another body") // always with ErrNotExecuted
	ErrNoAccount   = errors.New("no such account")                // always with ErrNotExecuted
	ErrNotFound    = errors.New("not found")
	ErrCancelled   = errors.New("payment is cancelled")         // always with ErrNotExecuted
	ErrDone        = errors.New("payment is done")              // it cannot be cancelled; always with ErrNotExecuted
	ErrClosed      = errors.New("payment is closed to charges") // the acquirer voided or refunded it; always with ErrNotExecuted
)

// Ledger is where money is (MySQL). Each method is one whole business transaction.
type Ledger interface {
	// Open makes the PENDING row of a payment and returns it, or the row that exists, in whatever state; fresh says that this
	// call made it, so that nobody can have charged it. Errors: ErrStaleEpoch, ErrConflict, ErrNoAccount. With ErrStaleEpoch the
	// returned payment has a State only if a row exists: an earlier attempt may then have charged.
	Open(ctx context.Context, p Payment, w Writer) (row Payment, fresh bool, err error)
	// Finish moves the money: both accounts, one entry in each one's statement, DONE, only in the writer's epoch. It returns the
	// finished row; one that is DONE already is returned as it is, and one that is CANCELLED with ErrCancelled.
	Finish(ctx context.Context, key string, w Writer) (Payment, error)
	// Cancel ends a PENDING payment without moving money, only in the writer's epoch. One that is CANCELLED already is returned
	// as it is, and one that is DONE with ErrDone.
	Cancel(ctx context.Context, key string, w Writer) (Payment, error)
	// Refunded records that the acquirer gave a charge back. Recording it again is harmless. It does not touch accounts: what
	// was given back was never moved in the ledger, or moved once and charged twice.
	Refunded(ctx context.Context, r Refund, w Writer) error
	// Refunds reads all recorded refunds, by payment and request.
	Refunds(ctx context.Context) ([]Refund, error)
	// Audit is List with the age of each row.
	Audit(ctx context.Context, after string, limit int) ([]Aged, error)
	// Unfinished reads the PENDING rows, up to limit of them, whose keys are greater than after.
	Unfinished(ctx context.Context, after string, limit int) ([]Aged, error)
	// Find reads one payment, or ErrNotFound.
	Find(ctx context.Context, key string) (Payment, error)
	// List reads up to limit payments whose keys are greater than after, in byte order of their keys.
	List(ctx context.Context, after string, limit int) ([]Payment, error)
	// Probe is a tiny write in the writer's epoch.
	Probe(ctx context.Context, p Probe, w Writer) error
	// Ready says why the ledger would not take a write of this writer, or nil.
	Ready(ctx context.Context, w Writer) error
}

// Aged is a payment and how long ago its row was made, by the clock of the store. That of a row which another server made is as
// right as the two servers' clocks agree.
type Aged struct {
	Payment
	Age time.Duration
}

// Settler settles business dates (the batch). One call is one transaction in the writer's epoch.
type Settler interface {
	// Settle settles the next business date that no one has settled yet and returns it.
	Settle(ctx context.Context, w Writer) (Settlement, error)
	// Last returns the last settled business date, or ErrNotFound.
	Last(ctx context.Context) (Settlement, error)
}

// Settlement is one settled business date.
type Settlement struct {
	Date     string `json:"date"` // 2006-01-02
	Site     string `json:"site"`
	Epoch    int64  `json:"epoch"`
	Payments int64  `json:"payments"` // DONE payments that no earlier date had settled
}

// Event is a payment's entry in the journal of events. Equal payments give equal events, so that writing one twice is harmless.
type Event struct {
	Key   string
	Yen   int64
	Epoch int64
	Site  string
}

// Journal is the append-only record of events (Cassandra, a quorum of the region's own data centre).
type Journal interface {
	// Append writes the event of a payment that is DONE. Writing it again is harmless.
	Append(ctx context.Context, e Event) error
	// Event reads one event, or ErrNotFound.
	Event(ctx context.Context, key string) (Event, error)
	// Events reads all events, in no order.
	Events(ctx context.Context) ([]Event, error)
	// Probe is a tiny write.
	Probe(ctx context.Context, p Probe) error
	// Ready says why the journal would not answer, or nil.
	Ready(ctx context.Context) error
}

// Probe is a tiny write to both stores: what recovery time is measured with.
type Probe struct {
	Slot int
	N    int64
}

// Charge is one request to the acquirer. It carries the accounts as the platform's own reference: should a region be lost with its
// rows, the acquirer still knows what was paid to whom.
type Charge struct {
	Payment string `json:"payment"` // payment id
	Request string `json:"request"` // the acquirer charges one request key once
	Yen     int64  `json:"yen"`
	From    int    `json:"from,omitempty"` // account
	To      int    `json:"to,omitempty"`   // account
}

// Refund is one charge that the acquirer gives back, whole.
type Refund struct {
	Payment string `json:"payment"`
	Request string `json:"request"` // request key of the charge
	Yen     int64  `json:"yen"`
}

// Charged is one charge as the acquirer knows it.
type Charged struct {
	Charge
	Age      time.Duration `json:"age_ns"` // since it was charged, by the acquirer's clock
	Refunded bool          `json:"refunded,omitempty"`
}

// Account is what the acquirer knows of one payment. The zero value: it never heard of it.
type Account struct {
	Payment string    `json:"payment"`
	Charges []Charged `json:"charges"` // each request key once, oldest first
	Voided  bool      `json:"voided"`  // it was not charged when it was voided, and never will be
}

// Held are the charges that were not given back.
func (a Account) Held() []Charged {
	var out []Charged
	for _, c := range a.Charges {
		if !c.Refunded {
			out = append(out, c)
		}
	}
	return out
}

// Closed says that the acquirer holds no money of this payment, and never will again.
func (a Account) Closed() bool {
	return a.Voided || len(a.Charges) > 0 && len(a.Held()) == 0
}

// Acquirer takes the customer's money, outside both regions.
type Acquirer interface {
	// Charge charges once for each request key; dup says that this key had been charged before. ErrNotExecuted: it was never
	// asked; ErrClosed: it refused, since the payment was voided or given back.
	Charge(ctx context.Context, c Charge) (dup bool, err error)
	// Status tells what the acquirer knows of one payment.
	Status(ctx context.Context, payment string) (Account, error)
	// Void makes sure that a payment which is not charged never will be, and tells what it then knows: either Voided, or charged
	// before. Both are one decision of the acquirer, so that a charge on its way cannot slip in behind a cancellation.
	Void(ctx context.Context, payment string) (Account, error)
	// Refund gives one charge back, once; dup says that it had been before.
	Refund(ctx context.Context, r Refund) (dup bool, err error)
	// Accounts tells all payments that it knows, by id.
	Accounts(ctx context.Context) ([]Account, error)
}

// Stores are the outside of one node, as its region's parameters name it.
type Stores struct {
	Ledger   Ledger
	Journal  Journal
	Acquirer Acquirer
	Run      func(ctx context.Context) error // keeps connections until ctx ends; nil: nothing to keep
	Close    func() error                    // called after Run; nil: nothing to close
}

// Params is the region's parameter store (article 002: Systems Manager Parameter Store).
type Params interface {
	Get(ctx context.Context) (Values, error)
}

// Values are all parameters of a region at one version.
type Values struct {
	Version int64             `json:"version"`
	Values  map[string]string `json:"values"`
}

// Defect is a planted misbehaviour. It exists to prove that the judges of a drill see it; a node that has one says so in its
// status and its log.
type Defect string

// Defects.
const (
	AckBeforeCommit Defect = "ack-before-commit" // answers 200 after the charge and commits both stores 2 s after the answer; recovers nothing at its start
	NewRequestKey   Defect = "new-request-key"   // asks the acquirer with a new random request key at each attempt
	BlindCancel     Defect = "blind-cancel"      // cancels a payment found PENDING without asking the acquirer
	BlindRetry      Defect = "blind-retry"       // charges a payment found PENDING under a new request key, without asking
	CachedAnswer    Defect = "cached-answer"     // answers 200 to any payment that the acquirer has charged, without its stores
	TouchYoung      Defect = "touch-young"       // reconciles payments however young they are
)

// Defects lists those that the application can have.
func Defects() []Defect {
	return []Defect{AckBeforeCommit, NewRequestKey, BlindCancel, BlindRetry, CachedAnswer}
}

// ReconcilerDefects lists those that the reconciler can have.
func ReconcilerDefects() []Defect { return []Defect{BlindCancel, BlindRetry, TouchYoung} }

// NotExecuted wraps an error as proof that nothing was done.
func NotExecuted(err error) error {
	if err == nil || errors.Is(err, ErrNotExecuted) {
		return err
	}
	return fmt.Errorf("%w (%w)", err, ErrNotExecuted)
}
