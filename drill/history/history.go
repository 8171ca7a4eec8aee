// Package history is the record of a drill: what clients did, what the world and the persons did, what an operator did, and
// what the stores held afterwards. Everything that judges, measures or draws a drill reads these values and nothing else.
//
// All instants are the kernel's CLOCK_MONOTONIC, so that the three processes of a run (drill, world, operator) share one
// timeline. They compare within one boot only; Meta.BootID names it.
package history

import (
	"encoding/json"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Instant is a moment in nanoseconds of CLOCK_MONOTONIC. Instants of one boot compare over processes; wall time never enters.
type Instant int64

// Sub returns i − j.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// Add returns the instant d after i.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Clock tells the present instant. Monotonic is the real one; tests give their own.
type Clock interface{ Now() Instant }

// Monotonic reads the kernel's CLOCK_MONOTONIC.
type Monotonic struct{}

// Now returns the present instant.
func (Monotonic) Now() Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("history: CLOCK_MONOTONIC cannot be read: " + err.Error()) // no Linux kernel refuses it
	}
	return Instant(ts.Nano())
}

// BootID names the running boot of this machine; instants of different boots do not compare.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// Outcome is how an operation ended (Jepsen's ok, fail and info).
type Outcome string

const (
	OK   Outcome = "ok"   // it happened, and the client was told so
	Fail Outcome = "fail" // it certainly did not happen: there is proof that nothing was done
	Info Outcome = "info" // not known: a time-out, a reset, a 5xx. It stays possible
	Shed Outcome = "shed" // the harness did not send it (too many in flight); never success or failure of the platform
)

// Streams of operations. The loss ledger reads Payment only.
const (
	StreamPayment = "payment" // one unique key an operation, customers by DNS: what the loss ledger and double charge read
	StreamProbe   = "probe"   // tiny writes at a high rate: what recovery time is measured with
	StreamRepeat  = "repeat"  // keys repeated on purpose, over the switch too: idempotency
	StreamCanary  = "canary"  // direct writes to each MySQL, for one writer; Node says which
)

// Operation is one wire attempt of a client, or one canary. A record is written when it is invoked and again when it ends;
// Load joins the two, and one that never ended is Info.
type Operation struct {
	ID       int64   `json:"id"`               // unique within the run, in order of invocation
	Stream   string  `json:"stream"`           // one of Stream…
	Slot     int     `json:"slot"`             // place in the stream's schedule, from 0
	Attempt  int     `json:"attempt"`          // 1, 2, … of one key (StreamRepeat); 1 elsewhere
	Key      string  `json:"key"`              // X-Payment-Key, and the payment id; canary id for a canary
	Yen      int64   `json:"yen,omitempty"`    // amount asked for
	Intended Instant `json:"intended"`         // when the schedule wanted it sent; latency counts from here
	Sent     Instant `json:"sent"`             // when it was really sent
	Finished Instant `json:"finished"`         // when the answer, or its absence, was known; 0 while pending
	Outcome  Outcome `json:"outcome"`          // Info when it never ended
	Status   int     `json:"status,omitempty"` // HTTP status, 0 without an answer
	Error    string  `json:"error,omitempty"`  // class of the failure: refused, reset, timeout, unavailable, read-only, …
	Site     string  `json:"site,omitempty"`   // site whose address was dialled (canary: of the node)
	Node     string  `json:"node,omitempty"`   // node that answered
	Epoch    int64   `json:"epoch,omitempty"`  // epoch that the answer named
	Wire     int     `json:"wire"`             // requests that really went out; must be 1, or 0 when shed or when dialling failed
	Stale    bool    `json:"stale,omitempty"`  // sent by a customer that ignores the DNS TTL
}

// Mark is one thing that the drill did or saw, beside the operations. Data is one of the …Data types, by Kind.
type Mark struct {
	T    Instant         `json:"t"`
	Kind string          `json:"kind"` // one of Kind…
	Name string          `json:"name"` // the fault, phase, node, … that it is about
	Data json.RawMessage `json:"data,omitempty"`
}

// Kinds of marks.
const (
	KindPhase    = "phase"    // Name: one of Phase…; a phase lasts until the next one
	KindFault    = "fault"    // FaultData: a fault was injected or healed
	KindAttest   = "attest"   // AttestData: probes over a link after a fault, or after it healed
	KindDecision = "decision" // PersonData: the person in charge decided to switch over
	KindPerson   = "person"   // PersonData: a scripted person did a manual step or gave an approval
	KindSnapshot = "snapshot" // SnapshotData: balances and statements in one consistent read
	KindReceived = "received" // ReceivedData: what a replica had received
	KindLag      = "lag"      // LagData: replication lag, measured with canary rows
	KindLoad     = "load"     // LoadData: the schedule of one stream, when it ended
	KindReign    = "reign"    // ReignData: a site's MySQL is the writer from here on
	KindReturn   = "return"   // Name: the lost site; its old processes are started again, on its old data
	KindNote     = "note"     // anything for people; judges do not read it
)

// Phases of a drill, in order.
const (
	PhaseWorldUp   = "world-up"
	PhaseLoad      = "load"      // load is running, not yet steady
	PhaseSteady    = "steady"    // the steady state that baseline numbers are taken from begins
	PhaseFault     = "fault"     // the first action of the fault
	PhaseProcedure = "procedure" // the operator was started
	PhaseAfter     = "after"     // the procedure ended; load goes on
	PhaseLoadEnd   = "load-end"
	PhaseReconcile = "reconcile" // what interrupted payments became, and 突合
	PhaseFinal     = "final-reads"
	PhaseEvidence  = "evidence" // the lost site's stores are started alone and read
	PhaseDown      = "world-down"
	PhaseEnd       = "end"
)

// FaultData says what was done to which target: "inject" or "heal", and the targets in the order they were acted on.
type FaultData struct {
	Action  string   `json:"action"`
	Targets []string `json:"targets"`           // links ("tokyo>osaka/mysql") and nodes ("tokyo-mysql-1")
	Began   Instant  `json:"began"`             // before the first target was acted on
	Done    Instant  `json:"done"`              // after the last one
	Cut     Instant  `json:"cut,omitempty"`     // when the last link between the lost site and any other was cut
	Planted string   `json:"planted,omitempty"` // a defect planted in the harness itself
}

// AttestData is what traffic over one link said, held against what was declared. A fault counts when traffic felt it.
type AttestData struct {
	Link     string   `json:"link"`
	When     string   `json:"when"`     // before, during, after
	Declared string   `json:"declared"` // open, cut, slow
	Old      string   `json:"old"`      // what a connection opened before saw: open, cut, or none if none was held
	New      string   `json:"new"`      // what a new connection saw: open, cut
	RTT      Duration `json:"rtt"`      // round trip of the probe, where it came back
	Agrees   bool     `json:"agrees"`
}

// PersonData is an act of a person, scripted in a drill.
type PersonData struct {
	Who     string   `json:"who"`
	Did     string   `json:"did"`
	Records []string `json:"records,omitempty"` // DNS records that were changed
	Young   []string `json:"young,omitempty"`   // of these, the ones younger than the procedure file
}

// SnapshotData is one consistent read of all balances and statements (the invariant of Jepsen's bank test).
type SnapshotData struct {
	Node       string   `json:"node"`
	Accounts   int      `json:"accounts"`
	Balance    int64    `json:"balance"`    // Σ balances, yen
	Entries    int64    `json:"entries"`    // number of statement entries
	EntrySum   int64    `json:"entry_sum"`  // Σ amounts of all entries; each transfer moves +y and −y
	Constant   int64    `json:"constant"`   // what Σ balances was when the world was made
	Mismatched []string `json:"mismatched"` // accounts whose balance ≠ opening balance + Σ its entries
}

// ReceivedData is a replica's view of its source: the received GTID set as MySQL prints it, and the executed one.
type ReceivedData struct {
	Node     string `json:"node"`
	Received string `json:"received"` // '' once the replica was detached
	Executed string `json:"executed"`
}

// LagData is the age of the newest canary row of the source that the replica shows.
type LagData struct {
	Node string   `json:"node"`
	Lag  Duration `json:"lag"`
}

// LoadData is the account of one stream's schedule: every slot gives exactly one record.
type LoadData struct {
	Rate        float64  `json:"rate"` // operations a second
	Slots       int      `json:"slots"`
	Records     int      `json:"records"`
	Wire        int      `json:"wire"` // requests that left, counted below the HTTP client
	Shed        int      `json:"shed"`
	LatenessP99 Duration `json:"lateness_p99"` // sent − intended
	LatenessMax Duration `json:"lateness_max"`
	MaxGap      Duration `json:"max_gap"`    // longest time between two consecutive sends
	ClockJump   Duration `json:"clock_jump"` // largest |wall − monotonic| drift that was seen
	Resolved    int      `json:"resolved"`   // DNS look-ups made
	Retries     int      `json:"retries"`    // attempts after the first (StreamRepeat)
	InFlightMax int      `json:"in_flight_max"`
}

// Duration marshals as a string like "4ms".
type Duration time.Duration

// D is d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String formats like time.Duration.
func (d Duration) String() string { return time.Duration(d).String() }

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

// Entry is one line of an operator's journal: an intent, an act, a confirm, or what surrounds them. The engine
// (drill/runbook) writes it; a resumed operator and the judges read it.
type Entry struct {
	T         Instant           `json:"t"`
	Kind      string            `json:"kind"` // one of Entry…
	Procedure string            `json:"procedure"`
	Digest    string            `json:"digest,omitempty"` // sha256 of the bound plan
	Step      string            `json:"step,omitempty"`   // path of numbers, "4" or "4.1" inside a called procedure
	Title     string            `json:"title,omitempty"`
	Verb      string            `json:"verb,omitempty"`
	Inputs    map[string]any    `json:"inputs,omitempty"`
	Attempt   int               `json:"attempt,omitempty"` // 1 for the first operator process that tried the step
	Who       string            `json:"who"`
	PID       int               `json:"pid"`
	Manual    bool              `json:"manual,omitempty"`
	Budget    Duration          `json:"budget,omitempty"` // of the step, as its procedure sets it; written with the intent
	Saw       map[string]any    `json:"saw,omitempty"`    // what check, act or confirm read
	Error     string            `json:"error,omitempty"`
	Why       string            `json:"why,omitempty"`       // the reason that a person gave: skip, retry, pause, abort
	By        string            `json:"by,omitempty"`        // the person who asked or approved, where it is not the operator
	Request   string            `json:"request,omitempty"`   // the request that this entry answers; each is answered once
	Approval  *Approval         `json:"approval,omitempty"`  // what was presented, whether it was accepted or not
	Key       string            `json:"key,omitempty"`       // begin: public key of the operator, in base64
	Planned   bool              `json:"planned,omitempty"`   // begin: the plan is a planned switchover, to be taken back until it commits
	Approvers map[string]string `json:"approvers,omitempty"` // begin: who may approve, with the public keys, in base64; for plans that need it
}

// Kinds of journal entries.
const (
	EntryBegin   = "begin"   // an operator process took the lock; Attempt > 1 is a resume
	EntryIntent  = "intent"  // about to act
	EntryAct     = "act"     // acted
	EntryConfirm = "confirm" // the confirming read holds: the step is done
	EntryAlready = "already" // the confirming read held before any act of this process
	EntryNote    = "note"    // evidence that a running act put down before it went on; without a step: what the preflight read
	EntryWait    = "wait"    // waiting for a person, or (Saw) for a state
	EntryFailed  = "failed"  // the step failed; the operator stops
	EntryStopped = "stopped" // the operator was told to stop (Ctrl-C) in the middle of the step: it did not fail, and can be resumed
	EntryEnd     = "end"     // all steps confirmed
	EntryRefused = "refused" // preflight or lock refused; nothing was changed

	EntrySkip     = "skip"     // a person decided that the step is passed over (Why)
	EntryRetry    = "retry"    // a step that had failed is tried anew, or (Why) a skip was taken back
	EntryPause    = "pause"    // a person asked for a pause: no step is begun until it is continued
	EntryContinue = "continue" // a person ended the pause
	EntryAsk      = "ask"      // the step waits for an approval
	EntryApproved = "approved" // a valid approval of the step was presented
	EntryRejected = "rejected" // a request or an approval was not accepted (Error)
	EntryTakeover = "takeover" // the journal was taken from an operator that is stopped
	EntryAbort    = "abort"    // from here on the steps that were begun are taken back, in reverse (UndoPrefix)
	EntryUndone   = "undone"   // every step that was begun is taken back: the run has ended, and everything is as it was
)

// PaymentRow is one row of MySQL's payments table.
type PaymentRow struct {
	Key   string `json:"key"`
	State string `json:"state"` // PENDING, DONE, CANCELLED
	Yen   int64  `json:"yen"`
	Epoch int64  `json:"epoch"`
}

// Transaction names a payment's DONE transaction in the binary log: the database's own account, row by row.
type Transaction struct {
	GTID string `json:"gtid"` // uuid:tag:n
	Key  string `json:"key"`
}

// LedgerRows is what one MySQL held at T, read around the app.
type LedgerRows struct {
	Node         string        `json:"node"`
	T            Instant       `json:"t"`
	Executed     string        `json:"gtid_executed"`
	Payments     []PaymentRow  `json:"payments"`
	Transactions []Transaction `json:"transactions,omitempty"` // pay-tagged, from the binary log (recovered site only)
	Snapshot     SnapshotData  `json:"snapshot"`
}

// EventRow is one row of Cassandra's journal of events.
type EventRow struct {
	Key   string `json:"key"`
	Yen   int64  `json:"yen"`
	Epoch int64  `json:"epoch"`
}

// JournalRows is what one site's Cassandra held at T, read at LOCAL_QUORUM.
type JournalRows struct {
	Node   string     `json:"node"`
	T      Instant    `json:"t"`
	Events []EventRow `json:"events"`
}

// Charge is one line of the acquirer's append-only log: ground truth for money, kept outside both regions.
type Charge struct {
	T       Instant `json:"t"`
	Payment string  `json:"payment"` // payment id
	Request string  `json:"request"` // request key that the acquirer deduplicates by
	Yen     int64   `json:"yen"`
	Dup     bool    `json:"dup,omitempty"` // an equal request key was answered again; nothing was charged
}

// Quiescence says whether two final reads agreed, and how far apart they were taken.
type Quiescence struct {
	Agreed bool     `json:"agreed"`
	Reads  int      `json:"reads"`
	Apart  Duration `json:"apart"`
	Why    string   `json:"why,omitempty"`
}

// Evidence is what was read after the load stopped. A nil part was not read; judges that need it are inconclusive.
type Evidence struct {
	Quiescence *Quiescence  `json:"quiescence"`
	Ledger     *LedgerRows  `json:"ledger"`      // the MySQL of the site that is the writer at the end
	Journal    *JournalRows `json:"journal"`     // that site's Cassandra
	API        []PaymentRow `json:"api"`         // the same payments, once more, through the platform's own API; nil if not read
	OldLedger  *LedgerRows  `json:"old_ledger"`  // the lost site's MySQL on its own data, links still cut: started alone at the end, or when the site returned, before anything of it was wiped
	OldJournal *JournalRows `json:"old_journal"` // the lost site's Cassandra, likewise
	Charges    []Charge     `json:"charges"`     // the acquirer's log; nil if not read

	// Facts is the state that the drill left, as a canonical document without anything of one run: roles, GTID relations,
	// parameters, DNS, links, batch, app nodes. nil if not read.
	Facts map[string]string `json:"facts"`

	// StartFacts is the same document, read before the fault or the first procedure. nil: not read.
	StartFacts map[string]string `json:"start_facts,omitempty"`

	// Reconciliation is how interrupted payments ended. nil: the drill did not look.
	Reconciliation *Reconciliation `json:"reconciliation,omitempty"`
}
