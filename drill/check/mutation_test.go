package check_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

// mutant changes one record of a good history. It says which check must notice, or "" where the history stays a good one (the
// reason stands beside it), or skip where the record cannot be changed so.
type mutant struct {
	name   string
	mutate func(r *history.Run, random *rand.Rand) (notices string)
}

const skip = "skip"

var judges = map[string]func(*history.Run) check.Result{
	check.NameSane: check.Sane, check.NameFaultReal: check.FaultReal, check.NameProcedure: check.Procedure,
	check.NameRecovery: check.RecoveryTime, check.NameUnreplicated: check.Unreplicated, check.NameDropped: check.Dropped,
	check.NameNeverDurable: check.NeverDurable, check.NameDoubleCharge: check.DoubleCharge, check.NameConservation: check.Conservation,
	check.NameStoresAgree: check.StoresAgree, check.NameOneWriter: check.OneWriter, check.NameQuiescent: check.Quiescent,
}

func isDone(rows []history.PaymentRow, key string) bool {
	return slices.ContainsFunc(rows, func(p history.PaymentRow) bool { return p.Key == key && p.State == "DONE" })
}

// operation picks one.
func operation(r *history.Run, random *rand.Rand) *history.Operation {
	return &r.Operations[random.IntN(len(r.Operations))]
}

func anAck(r *history.Run, random *rand.Rand) *history.Operation {
	for {
		if o := operation(r, random); o.Stream == history.StreamPayment && o.Outcome == history.OK {
			return o
		}
	}
}

var mutants = []mutant{
	{"drop an operation", func(r *history.Run, random *rand.Rand) string {
		i := random.IntN(len(r.Operations))
		r.Operations = slices.Delete(r.Operations, i, i+1)
		return check.NameSane
	}},
	{"duplicate an operation", func(r *history.Run, random *rand.Rand) string {
		i := random.IntN(len(r.Operations))
		r.Operations = slices.Insert(r.Operations, i, r.Operations[i])
		return check.NameSane
	}},
	{"duplicate an operation under its own number", func(r *history.Run, random *rand.Rand) string {
		o := *operation(r, random)
		o.ID = int64(len(r.Operations) + 1)
		r.Operations = append(r.Operations, o)
		return check.NameSane
	}},
	{"swap two numbers", func(r *history.Run, random *rand.Rand) string {
		i := random.IntN(len(r.Operations) - 1)
		r.Operations[i].ID, r.Operations[i+1].ID = r.Operations[i+1].ID, r.Operations[i].ID
		slices.SortFunc(r.Operations, func(a, b history.Operation) int { return int(a.ID - b.ID) })
		return "" // customers are independent: which of two was numbered first says nothing
	}},
	{"truncate the history", func(r *history.Run, random *rand.Rand) string {
		r.Operations = r.Operations[:1+random.IntN(len(r.Operations)-1)]
		return check.NameSane
	}},
	{"date an answer before its request", func(r *history.Run, random *rand.Rand) string {
		o := operation(r, random)
		o.Finished = o.Sent - 1 - history.Instant(random.Int64N(1e9))
		return check.NameSane
	}},
	{"date an operation before the run", func(r *history.Run, random *rand.Rand) string {
		o := operation(r, random)
		o.Intended, o.Sent, o.Finished = 1, 2, 3
		return check.NameSane
	}},
	{"date an operation after the run", func(r *history.Run, random *rand.Rand) string {
		o := operation(r, random)
		o.Finished = r.Meta.Ended + 1 + history.Instant(random.Int64N(1e9))
		return check.NameSane
	}},
	{"shift a payment a little", func(r *history.Run, random *rand.Rand) string {
		o := anAck(r, random)
		if d := o.Sent.Sub(at(24 * time.Second)).Abs(); d < 2*time.Second || o.Site == "osaka" {
			return skip
		}
		o.Sent, o.Finished = o.Sent.Add(500*time.Microsecond), o.Finished.Add(time.Millisecond)
		return "" // far from the cut, a millisecond promises nothing else
	}},
	{"send an operation twice", func(r *history.Run, random *rand.Rand) string {
		operation(r, random).Wire = 2
		return check.NameSane
	}},
	{"call an acknowledged payment refused", func(r *history.Run, random *rand.Rand) string {
		o := anAck(r, random)
		if !isDone(r.Evidence.Ledger.Payments, o.Key) && !isDone(r.Evidence.OldLedger.Payments, o.Key) {
			return skip
		}
		o.Outcome = history.Fail
		return check.NameSane
	}},
	{"call an acknowledged payment unknown", func(r *history.Run, random *rand.Rand) string {
		anAck(r, random).Outcome = history.Info
		return "" // a promise fewer: nothing that was promised is lost
	}},
	{"call a refused payment acknowledged", func(r *history.Run, random *rand.Rand) string {
		for {
			if o := operation(r, random); o.Stream == history.StreamPayment && o.Outcome == history.Fail {
				o.Outcome, o.Wire = history.OK, 1
				return check.NameNeverDurable
			}
		}
	}},
	{"call an unknown payment acknowledged that is nowhere", func(r *history.Run, random *rand.Rand) string {
		for {
			if o := operation(r, random); o.Stream == history.StreamPayment && o.Outcome == history.Fail {
				o.Key, o.Outcome, o.Wire = "nowhere", history.OK, 1
				return check.NameDoubleCharge // told that it is paid, and never charged
			}
		}
	}},
	{"change the amount of an acknowledged payment", func(r *history.Run, random *rand.Rand) string {
		anAck(r, random).Yen += 1 + random.Int64N(100)
		return check.NameDoubleCharge
	}},
	{"use a key twice", func(r *history.Run, random *rand.Rand) string {
		a, b := anAck(r, random), anAck(r, random)
		if a == b {
			return skip
		}
		a.Key = b.Key
		return check.NameSane
	}},
	{"make a dead site's canary accepted", func(r *history.Run, random *rand.Rand) string {
		for {
			if o := operation(r, random); o.Stream == history.StreamCanary && o.Site == "tokyo" && o.Sent > at(32*time.Second) && o.Sent < at(53*time.Second) {
				o.Outcome, o.Wire = history.OK, 1
				return check.NameOneWriter
			}
		}
	}},
	{"make one canary unheard", func(r *history.Run, random *rand.Rand) string {
		for {
			if o := operation(r, random); o.Stream == history.StreamCanary {
				o.Outcome = history.Info
				return "" // the neighbours say the same, or are at most a period further
			}
		}
	}},
	{"acknowledge at the lost site", func(r *history.Run, random *rand.Rand) string {
		for {
			if o := anAck(r, random); o.Site == "osaka" && o.Sent > at(40*time.Second) {
				o.Site = "tokyo"
				return check.NameOneWriter
			}
		}
	}},
	{"drop a row", func(r *history.Run, random *rand.Rand) string {
		i := random.IntN(len(r.Evidence.Ledger.Payments))
		r.Evidence.Ledger.Payments = slices.Delete(r.Evidence.Ledger.Payments, i, i+1)
		return check.NameQuiescent
	}},
	{"drop a row everywhere", func(r *history.Run, random *rand.Rand) string {
		key := r.Evidence.Ledger.Payments[random.IntN(len(r.Evidence.Ledger.Payments))].Key
		r.Evidence.Ledger.Payments = without(r.Evidence.Ledger.Payments, key, rowKey)
		r.Evidence.API = without(r.Evidence.API, key, rowKey)
		return check.NameConservation // its entries are still there
	}},
	{"drop an acknowledged row and its entries everywhere", func(r *history.Run, random *rand.Rand) string {
		key := anAck(r, random).Key
		if !isDone(r.Evidence.Ledger.Payments, key) {
			return skip
		}
		notices := check.NameNeverDurable
		if isDone(r.Evidence.OldLedger.Payments, key) {
			notices = check.NameDropped
		}
		r.Evidence.Ledger.Payments = without(r.Evidence.Ledger.Payments, key, rowKey)
		r.Evidence.API = without(r.Evidence.API, key, rowKey)
		r.Evidence.Ledger.Snapshot.Entries -= 2
		return notices
	}},
	{"change a row", func(r *history.Run, random *rand.Rand) string {
		r.Evidence.Ledger.Payments[random.IntN(len(r.Evidence.Ledger.Payments))].Yen++
		return check.NameStoresAgree
	}},
	{"duplicate a row", func(r *history.Run, random *rand.Rand) string {
		r.Evidence.Ledger.Payments = append(r.Evidence.Ledger.Payments, r.Evidence.Ledger.Payments[random.IntN(len(r.Evidence.Ledger.Payments))])
		return check.NameConservation
	}},
	{"make a row pending", func(r *history.Run, random *rand.Rand) string {
		r.Evidence.Ledger.Payments[random.IntN(len(r.Evidence.Ledger.Payments))].State = "PENDING"
		return check.NameQuiescent
	}},
	{"drop a row of the lost site", func(r *history.Run, random *rand.Rand) string {
		rows := r.Evidence.OldLedger.Payments
		i := random.IntN(len(rows))
		if key := rows[i].Key; isDone(r.Evidence.Ledger.Payments, key) {
			r.Evidence.OldLedger.Payments = slices.Delete(rows, i, i+1)
			return "" // it is kept where it counts
		}
		r.Evidence.OldLedger.Payments = slices.Delete(rows, i, i+1)
		return check.NameUnreplicated // one transaction more than rows
	}},
	{"drop an event", func(r *history.Run, random *rand.Rand) string {
		i := random.IntN(len(r.Evidence.Journal.Events))
		key := r.Evidence.Journal.Events[i].Key
		old := slices.ContainsFunc(r.Evidence.OldJournal.Events, func(e history.EventRow) bool { return e.Key == key })
		if old || !slices.ContainsFunc(r.Operations, func(o history.Operation) bool {
			return o.Key == key && o.Stream == history.StreamPayment && o.Outcome == history.OK
		}) {
			return skip // one more that did not cross: within the target
		}
		r.Evidence.Journal.Events = slices.Delete(r.Evidence.Journal.Events, i, i+1)
		return check.NameNeverDurable
	}},
	{"invent an event", func(r *history.Run, random *rand.Rand) string {
		r.Evidence.Journal.Events = append(r.Evidence.Journal.Events, history.EventRow{Key: "ghost", Yen: 1})
		return check.NameStoresAgree
	}},
	{"drop a charge", func(r *history.Run, random *rand.Rand) string {
		i := random.IntN(len(r.Evidence.Charges))
		key := r.Evidence.Charges[i].Payment
		told := slices.ContainsFunc(r.Operations, func(o history.Operation) bool { return o.Key == key && o.Outcome == history.OK })
		if r.Evidence.Charges[i].Dup || !told {
			r.Evidence.Charges = slices.Delete(r.Evidence.Charges, i, i+1)
			return "" // nobody was told that it is paid, or it was an answer given again
		}
		r.Evidence.Charges = slices.Delete(r.Evidence.Charges, i, i+1)
		return check.NameDoubleCharge
	}},
	{"charge twice", func(r *history.Run, random *rand.Rand) string {
		c := r.Evidence.Charges[random.IntN(len(r.Evidence.Charges))]
		c.Request, c.Dup = "another", false
		r.Evidence.Charges = append(r.Evidence.Charges, c)
		return check.NameDoubleCharge
	}},
	{"count a transaction more", func(r *history.Run, random *rand.Rand) string {
		old := &r.Evidence.OldLedger.Executed
		*old += "," + strings.SplitN(*old, ":", 2)[0] + ":pay:99999"
		return check.NameUnreplicated
	}},
	{"drop a mark", func(r *history.Run, random *rand.Rand) string {
		i := random.IntN(len(r.Marks))
		m := r.Marks[i]
		notices := ""
		switch {
		case m.Kind == history.KindSnapshot, m.Kind == history.KindReceived, m.Kind == history.KindLag, m.Kind == history.KindPerson:
			// one of many
		case m.Kind == history.KindAttest && strings.Contains(string(m.Data), `"during"`), m.Kind == history.KindFault:
			notices = check.NameFaultReal
		case m.Kind == history.KindAttest: // the link is then one that could not be probed before
		case m.Kind == history.KindDecision:
			notices = check.NameRecovery
		case m.Kind == history.KindLoad:
			notices = check.NameSane
		case m.Kind == history.KindPhase && m.Name == history.PhaseSteady:
			notices = check.NameRecovery
		}
		r.Marks = slices.Delete(r.Marks, i, i+1)
		return notices
	}},
	{"change a snapshot", func(r *history.Run, random *rand.Rand) string {
		for {
			m := &r.Marks[random.IntN(len(r.Marks))]
			if m.Kind != history.KindSnapshot {
				continue
			}
			var s history.SnapshotData
			if err := json.Unmarshal(m.Data, &s); err != nil {
				panic(err)
			}
			change := []*int64{&s.Balance, &s.EntrySum, &s.Constant}[random.IntN(3)]
			*change += 1 + random.Int64N(1000)
			m.Data, _ = json.Marshal(s)
			return check.NameConservation
		}
	}},
	{"change an attestation", func(r *history.Run, random *rand.Rand) string {
		for {
			m := &r.Marks[random.IntN(len(r.Marks))]
			if m.Kind == history.KindAttest {
				swap := strings.NewReplacer(`"new":"cut"`, `"new":"open"`, `"new":"open"`, `"new":"cut"`)
				m.Data = json.RawMessage(swap.Replace(string(m.Data)))
				return check.NameFaultReal
			}
		}
	}},
	{"drop a journal entry", func(r *history.Run, random *rand.Rand) string {
		i := random.IntN(len(r.Journal))
		kind := r.Journal[i].Kind
		r.Journal = slices.Delete(r.Journal, i, i+1)
		if kind == history.EntryNote {
			return "" // the steps themselves tell the plan
		}
		return check.NameProcedure
	}},
	{"swap two journal entries", func(r *history.Run, random *rand.Rand) string {
		i := random.IntN(len(r.Journal) - 1)
		a, b := &r.Journal[i], &r.Journal[i+1]
		*a, *b = *b, *a
		if a.T == b.T {
			return check.NameProcedure
		}
		return check.NameSane
	}},
	{"date a journal entry before its time", func(r *history.Run, random *rand.Rand) string {
		r.Journal[1+random.IntN(len(r.Journal)-1)].T = at(26 * time.Second)
		return check.NameSane
	}},
}

// Every change of one record of a good history is noticed by the check that is there for it, or is listed as neutral and leaves
// every verdict as it was.
func TestMutants(t *testing.T) {
	for k, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			noticed, neutral := 0, 0
			for position := range uint64(12) {
				random := rand.New(rand.NewPCG(position, uint64(k)))
				name := ""
				run := bent(func(r *history.Run) { name = m.mutate(r, random) })
				switch name {
				case skip:
				case "":
					if neutral++; neutral > 4 {
						continue
					}
					d := check.Judge(run)
					for _, r := range d.Results {
						if r.Verdict() != check.Pass {
							t.Errorf("position %d is neutral, and %s is %s: %s %v", position, r.Check, r.Verdict(), r.Says, r.Missing)
						}
					}
				default:
					noticed++
					if r := judges[name](run); r.Verdict() == check.Pass {
						t.Errorf("position %d: %s did not notice: %s", position, name, r.Says)
					}
				}
			}
			if noticed+neutral == 0 {
				t.Error("nothing was changed at any position")
			}
		})
	}
}
