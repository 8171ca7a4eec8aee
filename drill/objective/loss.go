package objective

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Class says how an acknowledged payment was lost.
type Class string

// Classes of loss.
const (
	Unreplicated Class = "unreplicated"  // in the lost site's recovered data, never received by the survivor
	Dropped      Class = "dropped"       // the survivor had received it, and the new authority lacks it
	NeverDurable Class = "never durable" // in neither
	Unclassified Class = "unclassified"  // the lost site was not read, or its binary log does not name the payment's transaction
)

// Loss is one payment that a store acknowledged and the new authority lacks.
type Loss struct {
	Key    string
	Yen    int64
	Acked  history.Instant // when the client had the answer
	Class  Class
	GTID   string // of its DONE transaction at the lost site, where known
	Zombie bool   // acknowledged by the lost site after the cut
}

// Store is the ledger of one store.
type Store struct {
	Name  string // mysql, cassandra
	Known bool   // the new authority's rows were read; otherwise nothing below means anything
	Kept  int    // acknowledged payments that the new authority holds
	Lost  []Loss // in order of acknowledgement
	Holes []Hole // lost payments of which a later one was kept
}

// Hole is a lost payment, acknowledged before a kept one was even sent: what is left is no prefix of what was. Pairs counts
// the kept ones.
type Hole struct {
	Lost  string
	Kept  string // the first such payment
	Pairs int
}

// Of returns the losses of one class.
func (s Store) Of(c Class) []Loss {
	var out []Loss
	for _, l := range s.Lost {
		if l.Class == c {
			out = append(out, l)
		}
	}
	return out
}

// Yen is the sum of losses.
func Yen(lost []Loss) (sum int64) {
	for _, l := range lost {
		sum += l.Yen
	}
	return sum
}

// Age is how long before the cut the oldest of them was acknowledged; 0 for none, or when all came after it.
func Age(lost []Loss, cut history.Instant) time.Duration {
	var age time.Duration
	for _, l := range lost {
		age = max(age, cut.Sub(l.Acked))
	}
	return age
}

// Keys names them.
func Keys(lost []Loss) []string {
	out := make([]string, len(lost))
	for i, l := range lost {
		out[i] = l.Key
	}
	return out
}

// Ledger is the loss ledger: what was promised to customers (payments that StreamPayment saw acknowledged: 200 is a promise
// by both stores) against what the new authority holds. Unknown outcomes are promises of nothing and are never lost; those
// that had happened and are gone are listed in Unpromised, because they explain rows and GTIDs.
type Ledger struct {
	Cut       history.Instant // 0 without a fault
	Acked     int             // promised payments
	AckedLast int             // of these, acknowledged in the last second before the cut began
	AckedOld  int             // of these, acknowledged by the lost site
	Unknown   int             // payments whose outcome the client never learned
	MySQL     Store
	Cassandra Store
	Zombies   []history.Operation // payments that the lost site acknowledged after the cut, in order

	// Unpromised are payments of any stream, DONE at the lost site and not at the new authority, that are not in MySQL.Lost.
	Unpromised []Loss

	Received history.GTIDSet // all that the survivor was ever seen to have received
	Samples  int             // samples of the received set
	After    int             // of these, taken after the cut, before the replica was detached
	Pending  int64           // pay transactions received and not yet applied, in the last sample before the cut
	Accounts Accounts
}

// Accounts holds the databases' own account of the loss against the rows: pay transactions that the lost site executed and
// the new authority did not, and payments that are DONE there and not here.
type Accounts struct {
	Known bool   // both sides were read
	Why   string // why not
	GTIDs int64
	Rows  int64
	// Redone are payments lost with their transaction and paid again, under the same key, at the new authority: their old
	// transaction is missing, their row is not.
	Redone []string
}

// Agree says whether the two accounts are the same.
func (a Accounts) Agree() bool { return a.GTIDs == a.Rows+int64(len(a.Redone)) }

// LossLedger builds the ledger of a run. What was not read leaves its part unknown; an error means that the evidence itself
// cannot be read (a GTID set or a mark that does not parse).
func LossLedger(run *history.Run) (Ledger, error) {
	l := Ledger{MySQL: Store{Name: "mysql"}, Cassandra: Store{Name: "cassandra"}}
	l.Cut, _ = run.Cut()
	if err := l.received(run); err != nil {
		return l, err
	}
	e := run.Evidence
	now, old := done(e.Ledger), done(e.OldLedger)
	gtids := map[string]string{}
	if e.OldLedger != nil {
		for _, t := range e.OldLedger.Transactions {
			gtids[t.Key] = t.GTID
		}
	}
	events, oldEvents := eventsOf(e.Journal), eventsOf(e.OldJournal)
	classify := func(key string) (Class, string) {
		switch _, durable := old[key]; {
		case e.OldLedger == nil:
			return Unclassified, ""
		case !durable:
			return NeverDurable, ""
		case gtids[key] == "" || l.Samples == 0:
			return Unclassified, gtids[key]
		case l.Received.Contains(gtids[key]):
			return Dropped, gtids[key]
		}
		return Unreplicated, gtids[key]
	}

	began, faulted := began(run)
	byLost := Deposed(run)
	lost := map[string]bool{}
	var kept [2][]history.Operation // mysql, cassandra: kept payments that the lost site acknowledged
	l.MySQL.Known, l.Cassandra.Known = e.Ledger != nil, e.Journal != nil
	for _, op := range run.Operations {
		if op.Stream != history.StreamPayment {
			continue
		}
		if op.Outcome == history.Info {
			l.Unknown++
		}
		if op.Outcome != history.OK {
			continue
		}
		byOld := byLost(op)
		zombie := byOld && l.Cut != 0 && op.Finished > l.Cut
		l.Acked++
		if byOld {
			l.AckedOld++
		}
		if zombie {
			l.Zombies = append(l.Zombies, op)
		}
		if faulted && op.Finished <= l.Cut && op.Finished > began.Add(-time.Second) {
			l.AckedLast++
		}
		loss := Loss{Key: op.Key, Yen: op.Yen, Acked: op.Finished, Zombie: zombie}
		if l.MySQL.Known {
			if _, ok := now[op.Key]; ok {
				l.MySQL.Kept++
				if byOld {
					kept[0] = append(kept[0], op)
				}
			} else {
				loss.Class, loss.GTID = classify(op.Key)
				l.MySQL.Lost = append(l.MySQL.Lost, loss)
				lost[op.Key] = true
			}
		}
		if l.Cassandra.Known {
			if events[op.Key] {
				l.Cassandra.Kept++
				if byOld {
					kept[1] = append(kept[1], op)
				}
				continue
			}
			loss.GTID = ""
			switch {
			case e.OldJournal == nil:
				loss.Class = Unclassified
			case oldEvents[op.Key]:
				loss.Class = Unreplicated
			default:
				loss.Class = NeverDurable
			}
			l.Cassandra.Lost = append(l.Cassandra.Lost, loss)
		}
	}
	for i, s := range []*Store{&l.MySQL, &l.Cassandra} {
		slices.SortStableFunc(s.Lost, func(a, b Loss) int { return cmp.Compare(a.Acked, b.Acked) })
		s.Holes = holes(s.Lost, kept[i])
	}
	slices.SortStableFunc(l.Zombies, func(a, b history.Operation) int { return cmp.Compare(a.Finished, b.Finished) })
	if e.Ledger != nil && e.OldLedger != nil {
		for _, row := range e.OldLedger.Payments {
			if _, ok := now[row.Key]; row.State == "DONE" && !ok && !lost[row.Key] {
				u := Loss{Key: row.Key, Yen: row.Yen}
				u.Class, u.GTID = classify(row.Key)
				l.Unpromised = append(l.Unpromised, u)
			}
		}
	}
	var err error
	l.Accounts, err = accounts(run, now, old, gtids)
	return l, err
}

// received unites the samples of what the survivor had received. What it executed it had received too, and its own
// transactions do no harm: they are asked for by GTID.
func (l *Ledger) received(run *history.Run) error {
	marks, err := history.Marked[history.ReceivedData](run, history.KindReceived)
	if err != nil {
		return err
	}
	texts := map[string]bool{}
	// A lost site that came back and follows its successor has received nothing that this is about.
	marks = slices.DeleteFunc(marks, func(m history.At[history.ReceivedData]) bool {
		return run.Meta.Active != "" && strings.HasPrefix(m.Data.Node, run.Meta.Active+"-")
	})
	for i, s := range marks {
		if s.Data.Received != "" {
			l.Samples++
			if l.Cut != 0 && s.T > l.Cut {
				l.After++
			}
		}
		if s.T <= l.Cut && (i+1 == len(marks) || marks[i+1].T > l.Cut) {
			r, err1 := history.ParseGTIDSet(s.Data.Received)
			x, err2 := history.ParseGTIDSet(s.Data.Executed)
			if err := cmp.Or(err1, err2); err != nil {
				return fmt.Errorf("read received set of %s: %w", s.Data.Node, err)
			}
			l.Pending = r.Subtract(x).Count("pay")
		}
		texts[s.Data.Received], texts[s.Data.Executed] = true, true
	}
	for text := range texts {
		set, err := history.ParseGTIDSet(text)
		if err != nil {
			return fmt.Errorf("read received set: %w", err)
		}
		l.Received = l.Received.Union(set)
	}
	return nil
}

// accounts counts the loss twice: in GTIDs and in rows.
func accounts(run *history.Run, now, old map[string]history.PaymentRow, gtids map[string]string) (Accounts, error) {
	e := run.Evidence
	switch {
	case e.Ledger == nil:
		return Accounts{Why: "the new authority's MySQL was not read"}, nil
	case e.OldLedger == nil:
		return Accounts{Why: "the lost site's MySQL was not read"}, nil
	case e.Ledger.Executed == "" || e.OldLedger.Executed == "":
		return Accounts{Why: "gtid_executed was not read at both sites"}, nil
	}
	has, err := history.ParseGTIDSet(e.OldLedger.Executed)
	if err != nil {
		return Accounts{}, fmt.Errorf("read gtid_executed of %s: %w", e.OldLedger.Node, err)
	}
	lacks, err := history.ParseGTIDSet(e.Ledger.Executed)
	if err != nil {
		return Accounts{}, fmt.Errorf("read gtid_executed of %s: %w", e.Ledger.Node, err)
	}
	missing := has.Subtract(lacks)
	a := Accounts{Known: true, GTIDs: missing.Count("pay")}

	tried := map[string]bool{} // keys that a client also sent to the new authority
	for _, op := range run.Operations {
		if op.Stream != history.StreamCanary && op.Site == run.Meta.Standby && op.Outcome != history.Fail && op.Outcome != history.Shed {
			tried[op.Key] = true
		}
	}
	for key, row := range old {
		here, both := now[key]
		switch {
		case !both:
			a.Rows++
		case gtids[key] != "" && !missing.Contains(gtids[key]): // one and the same transaction
		case gtids[key] != "" && (tried[key] || here.Epoch != row.Epoch), gtids[key] == "" && here.Epoch != row.Epoch:
			a.Redone = append(a.Redone, key)
		}
	}
	slices.Sort(a.Redone)
	return a, nil
}

// Deposed tells the answers of the site that served at the start, in the reign that it lost, from everybody else's. A site that was
// given the work back answers with a younger epoch.
func Deposed(run *history.Run) func(history.Operation) bool {
	active, reigns := run.Meta.Active, run.Reigns()
	for i, r := range reigns {
		if i > 0 && r.Site == active {
			return func(o history.Operation) bool {
				if o.Epoch != 0 && r.Epoch != 0 {
					return o.Site == active && o.Epoch < r.Epoch
				}
				return o.Site == active && o.Sent < r.From
			}
		}
	}
	return func(o history.Operation) bool { return o.Site == active }
}

func done(rows *history.LedgerRows) map[string]history.PaymentRow {
	if rows == nil {
		return nil
	}
	out := make(map[string]history.PaymentRow, len(rows.Payments))
	for _, p := range rows.Payments {
		if p.State == "DONE" {
			out[p.Key] = p
		}
	}
	return out
}

func eventsOf(rows *history.JournalRows) map[string]bool {
	if rows == nil {
		return nil
	}
	out := make(map[string]bool, len(rows.Events))
	for _, e := range rows.Events {
		out[e.Key] = true
	}
	return out
}

// holes pairs each lost payment with the kept ones that were sent after it had been acknowledged.
func holes(lost []Loss, kept []history.Operation) []Hole {
	slices.SortStableFunc(kept, func(a, b history.Operation) int { return cmp.Compare(a.Sent, b.Sent) })
	var out []Hole
	for _, l := range lost {
		i, _ := slices.BinarySearchFunc(kept, l.Acked, func(op history.Operation, t history.Instant) int {
			if op.Sent <= t {
				return -1
			}
			return 1
		})
		if i < len(kept) {
			out = append(out, Hole{Lost: l.Key, Kept: kept[i].Key, Pairs: len(kept) - i})
		}
	}
	return out
}
