package history

// Stores is what the two stores of a site held at one stage of a drill.
type Stores struct {
	Ledger  *LedgerRows  `json:"ledger"`
	Journal *JournalRows `json:"journal"`
}

// Reconciliation is the evidence of how interrupted payments ended (article 001: forward recovery and 突合). The stores' last
// stage, after the last run of the reconciler, is Evidence.Ledger and Evidence.Journal.
type Reconciliation struct {
	Grace Duration       `json:"grace"`          // G: younger payments are left alone
	Raw   *Stores        `json:"raw"`            // what the switch left, before anything was replayed or reconciled
	After *Stores        `json:"after_replay"`   // after the salvaged rows were replayed; nil: nothing was
	First *Stores        `json:"after_first"`    // after the first run that was made with the load stopped
	Again *ReconcileRun  `json:"again"`          // the run after that one, which must change nothing; nil: it was not made
	Runs  []ReconcileRun `json:"runs,omitempty"` // all runs in order of time, as the reconciler tells them; Again among them

	Closings []Closing    `json:"closings"` // the acquirer's log of refunds and voids; nil if not read
	Refunds  []RefundRow  `json:"refunds"`  // the new authority's refund rows; nil if not read
	Salvaged []PaymentRow `json:"salvaged"` // rows that were saved from the lost site; nil if none were
}

// ReconcileRun is one run of the platform's reconciler, as it tells it.
type ReconcileRun struct {
	T          Instant           `json:"t"` // when it began
	Took       Duration          `json:"took"`
	Node       string            `json:"node"`
	Grace      Duration          `json:"grace"`
	Only       bool              `json:"only,omitempty"` // only salvaged rows were looked at: the run says nothing about others
	Mismatches map[string]int    `json:"mismatches"`     // found, by kind, before any repair
	Keys       []string          `json:"keys"`           // payments that did not agree
	Young      int               `json:"young"`          // payments that did not agree and were left alone
	Actions    []ReconcileAction `json:"actions"`        // repairs, in order
	Unresolved []ReconcileItem   `json:"unresolved"`     // found, and left to people
	Failed     []ReconcileItem   `json:"failed"`         // repairs that did not come through
	Error      string            `json:"error,omitempty"`
}

// ReconcileAction is one repair.
type ReconcileAction struct {
	T    Instant  `json:"t"`
	Key  string   `json:"key"`
	Kind string   `json:"kind"` // of the mismatch
	Did  string   `json:"did"`  // finished, cancelled, recreated, event, refunded, charged, voided, recorded
	Age  Duration `json:"age"`  // of the payment
}

// ReconcileItem is a payment that a run could not bring into agreement, and why.
type ReconcileItem struct {
	Key  string `json:"key"`
	Kind string `json:"kind"`
	Why  string `json:"why"`
}

// Closing is one line of the acquirer's second log: a charge given back, or a payment that is closed to charges.
type Closing struct {
	T       Instant `json:"t"`
	Kind    string  `json:"kind"` // refund, void
	Payment string  `json:"payment"`
	Request string  `json:"request,omitempty"` // of the charge that was given back
	Yen     int64   `json:"yen,omitempty"`
	Dup     bool    `json:"dup,omitempty"` // asked again; nothing was done
}

// RefundRow is one row of MySQL's refunds table.
type RefundRow struct {
	Key     string `json:"key"`
	Request string `json:"request"`
	Yen     int64  `json:"yen"`
}
