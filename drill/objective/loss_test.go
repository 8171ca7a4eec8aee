package objective

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

const (
	tokyoUUID = "11111111-1111-1111-1111-111111111111"
	osakaUUID = "22222222-2222-2222-2222-222222222222"
	cutAt     = 20 * second
)

// story is a small drill: payments p1, p2, … acknowledged by tokyo 100 ms apart, the last one 100 ms before the cut.
type story struct{ run *history.Run }

func tell(n int) *story {
	run := &history.Run{Meta: history.Meta{Active: "tokyo", Standby: "osaka"}}
	s := &story{run}
	mark(run, cutAt, history.KindFault, "loss", history.FaultData{Action: "inject", Began: cutAt - 20, Done: cutAt, Cut: cutAt})
	e := &run.Evidence
	e.Ledger, e.OldLedger = &history.LedgerRows{}, &history.LedgerRows{}
	e.Journal, e.OldJournal = &history.JournalRows{}, &history.JournalRows{}
	for i := 1; i <= n; i++ {
		key := fmt.Sprintf("p%d", i)
		at := cutAt - history.Instant(n+1-i)*history.Instant(100*time.Millisecond)
		s.op(history.OK, key, at, "tokyo")
		e.OldLedger.Payments = append(e.OldLedger.Payments, row(key, 1))
		e.Ledger.Payments = append(e.Ledger.Payments, row(key, 1))
		e.OldLedger.Transactions = append(e.OldLedger.Transactions, history.Transaction{GTID: fmt.Sprintf("%s:pay:%d", tokyoUUID, i), Key: key})
		e.Journal.Events = append(e.Journal.Events, history.EventRow{Key: key, Yen: 100, Epoch: 1})
		e.OldJournal.Events = append(e.OldJournal.Events, history.EventRow{Key: key, Yen: 100, Epoch: 1})
	}
	e.OldLedger.Executed = fmt.Sprintf("%s:pay:1-%d", tokyoUUID, n)
	s.has(n, n)
	return s
}

func row(key string, epoch int64) history.PaymentRow {
	return history.PaymentRow{Key: key, State: "DONE", Yen: 100, Epoch: epoch}
}

func (s *story) op(outcome history.Outcome, key string, at history.Instant, site string) {
	s.run.Operations = append(s.run.Operations, history.Operation{
		ID: int64(len(s.run.Operations) + 1), Stream: history.StreamPayment, Attempt: 1, Key: key, Yen: 100, Outcome: outcome,
		Intended: at - 10, Sent: at - 10, Finished: at, Site: site, Wire: 1,
	})
}

// has says how many of tokyo's pay transactions osaka had received, and how many it executed in the end.
func (s *story) has(received, executed int) {
	s.run.Marks = slices.DeleteFunc(s.run.Marks, func(m history.Mark) bool { return m.Kind == history.KindReceived })
	set := func(n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("%s:pay:1-%d", tokyoUUID, n)
	}
	mark(s.run, cutAt-history.Instant(time.Millisecond), history.KindReceived, "osaka-mysql-1", history.ReceivedData{Received: set(max(1, received-1)), Executed: set(executed)})
	mark(s.run, cutAt+history.Instant(time.Millisecond), history.KindReceived, "osaka-mysql-1", history.ReceivedData{Received: set(received), Executed: set(executed)})
	s.run.Evidence.Ledger.Executed = strings.TrimSuffix(set(executed)+","+osakaUUID+":canary:1-9", ",")
	s.run.Evidence.Ledger.Payments = s.run.Evidence.Ledger.Payments[:executed]
}

func lossesOf(s Store) string {
	var out []string
	for _, l := range s.Lost {
		x := l.Key + " " + string(l.Class)
		if l.Zombie {
			x += " zombie"
		}
		out = append(out, x)
	}
	return strings.Join(out, ", ")
}

func TestLossLedger(t *testing.T) {
	drop := func(events []history.EventRow, key string) []history.EventRow {
		return slices.DeleteFunc(slices.Clone(events), func(e history.EventRow) bool { return e.Key == key })
	}
	dropRow := func(rows []history.PaymentRow, key string) []history.PaymentRow {
		return slices.DeleteFunc(slices.Clone(rows), func(p history.PaymentRow) bool { return p.Key == key })
	}
	for _, c := range []struct {
		name      string
		make      func(*story)
		mysql     string
		cassandra string
		also      func(Ledger) error
	}{
		{"nothing lost", func(*story) {}, "", "", func(l Ledger) error {
			return expect(l.Acked == 5 && l.MySQL.Kept == 5 && l.Accounts.Agree() && l.AckedLast == 5 && l.After == 1)
		}},
		{"a tail that was never received", func(s *story) { s.has(3, 3) }, "p4 unreplicated, p5 unreplicated", "", func(l Ledger) error {
			return expect(Yen(l.MySQL.Lost) == 200 && Age(l.MySQL.Lost, l.Cut) == 200*time.Millisecond && len(l.MySQL.Holes) == 0 &&
				l.Accounts.GTIDs == 2 && l.Accounts.Rows == 2 && l.Accounts.Agree())
		}},
		{"received and not drained", func(s *story) { s.has(5, 3) }, "p4 dropped, p5 dropped", "", func(l Ledger) error {
			return expect(l.Pending == 1 && l.Accounts.Agree())
		}},
		{"some of each", func(s *story) { s.has(4, 3) }, "p4 dropped, p5 unreplicated", "", nil},
		{"executed, and not there", func(s *story) {
			s.run.Evidence.Ledger.Payments = dropRow(s.run.Evidence.Ledger.Payments, "p2")
		}, "p2 dropped", "", func(l Ledger) error {
			return expect(!l.Accounts.Agree() && len(l.MySQL.Holes) == 1 && l.MySQL.Holes[0] == Hole{"p2", "p3", 3})
		}},
		{"acknowledged before it was written", func(s *story) { s.op(history.OK, "early", cutAt-10, "tokyo") }, "early never durable", "early never durable", nil},
		{"PENDING is not durable", func(s *story) {
			s.op(history.OK, "early", cutAt-10, "tokyo")
			s.run.Evidence.OldLedger.Payments = append(s.run.Evidence.OldLedger.Payments, history.PaymentRow{Key: "early", State: "PENDING"})
			s.run.Evidence.Ledger.Payments = append(s.run.Evidence.Ledger.Payments, history.PaymentRow{Key: "early", State: "PENDING"})
		}, "early never durable", "early never durable", nil},
		{"lost by the new site itself", func(s *story) { s.op(history.OK, "new", cutAt+10*second, "osaka") }, "new never durable", "new never durable", nil},
		{"an unknown outcome is never lost", func(s *story) {
			s.op(history.Info, "who knows", cutAt-10, "tokyo")
			s.run.Evidence.OldLedger.Payments = append(s.run.Evidence.OldLedger.Payments, row("who knows", 1))
			s.run.Evidence.OldLedger.Transactions = append(s.run.Evidence.OldLedger.Transactions, history.Transaction{GTID: tokyoUUID + ":pay:6", Key: "who knows"})
			s.run.Evidence.OldLedger.Executed = tokyoUUID + ":pay:1-6"
		}, "", "", func(l Ledger) error {
			return expect(l.Unknown == 1 && len(l.Unpromised) == 1 && l.Unpromised[0].Class == Unreplicated && l.Accounts.Rows == 1 && l.Accounts.Agree())
		}},
		{"a refusal is never lost", func(s *story) { s.op(history.Fail, "refused", cutAt+10, "tokyo") }, "", "", nil},
		{"other streams are not in the ledger", func(s *story) {
			s.op(history.OK, "again", cutAt-10, "tokyo")
			s.run.Operations[len(s.run.Operations)-1].Stream = history.StreamRepeat
		}, "", "", nil},
		{"a zombie acknowledgement", func(s *story) {
			s.op(history.OK, "z", cutAt+second, "tokyo")
			s.run.Evidence.OldLedger.Payments = append(s.run.Evidence.OldLedger.Payments, row("z", 1))
			s.run.Evidence.OldLedger.Transactions = append(s.run.Evidence.OldLedger.Transactions, history.Transaction{GTID: tokyoUUID + ":pay:6", Key: "z"})
			s.run.Evidence.OldJournal.Events = append(s.run.Evidence.OldJournal.Events, history.EventRow{Key: "z", Yen: 100})
			s.run.Evidence.OldLedger.Executed = tokyoUUID + ":pay:1-6"
		}, "z unreplicated zombie", "z unreplicated zombie", func(l Ledger) error {
			return expect(len(l.Zombies) == 1 && Age(l.MySQL.Lost, l.Cut) == 0 && l.AckedLast == 5 && l.Accounts.Agree())
		}},
		{"an event that did not cross", func(s *story) { s.run.Evidence.Journal.Events = drop(s.run.Evidence.Journal.Events, "p5") }, "", "p5 unreplicated", nil},
		{"an event that is nowhere", func(s *story) {
			s.run.Evidence.Journal.Events = drop(s.run.Evidence.Journal.Events, "p2")
			s.run.Evidence.OldJournal.Events = drop(s.run.Evidence.OldJournal.Events, "p2")
		}, "", "p2 never durable", func(l Ledger) error { return expect(len(l.Cassandra.Holes) == 1 && l.Cassandra.Holes[0].Pairs == 3) }},
		{"the lost site was not read", func(s *story) {
			s.has(3, 3)
			s.run.Evidence.Journal.Events = drop(s.run.Evidence.Journal.Events, "p5")
			s.run.Evidence.OldLedger, s.run.Evidence.OldJournal = nil, nil
		}, "p4 unclassified, p5 unclassified", "p5 unclassified", func(l Ledger) error { return expect(!l.Accounts.Known && l.Accounts.Why != "") }},
		{"the binary log does not name it", func(s *story) { s.has(4, 4); s.run.Evidence.OldLedger.Transactions = nil }, "p5 unclassified", "", nil},
		{"what was received was never sampled", func(s *story) {
			s.has(4, 4)
			s.run.Marks = slices.DeleteFunc(s.run.Marks, func(m history.Mark) bool { return m.Kind == history.KindReceived })
		}, "p5 unclassified", "", nil},
		{"the new authority was not read", func(s *story) { s.run.Evidence.Ledger, s.run.Evidence.Journal = nil, nil }, "", "", func(l Ledger) error {
			return expect(!l.MySQL.Known && !l.Cassandra.Known && l.Acked == 5 && !l.Accounts.Known)
		}},
		{"paid again under the same key", func(s *story) {
			s.has(4, 4) // p5's transaction is lost
			s.run.Evidence.Ledger.Payments = append(s.run.Evidence.Ledger.Payments, row("p5", 2))
		}, "", "", func(l Ledger) error {
			return expect(l.Accounts.GTIDs == 1 && l.Accounts.Rows == 0 && slices.Equal(l.Accounts.Redone, []string{"p5"}) && l.Accounts.Agree())
		}},
		{"a transaction that no row explains", func(s *story) { s.run.Evidence.OldLedger.Executed = tokyoUUID + ":pay:1-7" }, "", "", func(l Ledger) error {
			return expect(l.Accounts.GTIDs == 2 && !l.Accounts.Agree())
		}},
		{"a row that no transaction explains", func(s *story) {
			s.run.Evidence.Ledger.Payments = dropRow(s.run.Evidence.Ledger.Payments, "p3")
		}, "p3 dropped", "", func(l Ledger) error { return expect(l.Accounts.Rows == 1 && !l.Accounts.Agree()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := tell(5)
			c.make(s)
			l, err := LossLedger(s.run)
			if err != nil {
				t.Fatal(err)
			}
			if got := lossesOf(l.MySQL); got != c.mysql {
				t.Errorf("mysql lost %q, expected %q", got, c.mysql)
			}
			if got := lossesOf(l.Cassandra); got != c.cassandra {
				t.Errorf("cassandra lost %q, expected %q", got, c.cassandra)
			}
			if c.also != nil && c.also(l) != nil {
				t.Errorf("%+v", l)
			}
		})
	}
}

func TestLossLedgerRefusesWhatItCannotRead(t *testing.T) {
	for name, spoil := range map[string]func(*story){
		"received set": func(s *story) {
			mark(s.run, cutAt, history.KindReceived, "osaka-mysql-1", history.ReceivedData{Received: "nonsense"})
		},
		"gtid_executed of tokyo": func(s *story) { s.run.Evidence.OldLedger.Executed = "nonsense" },
		"gtid_executed of osaka": func(s *story) { s.run.Evidence.Ledger.Executed = "nonsense" },
		"a mark":                 func(s *story) { s.run.Marks[0].Kind, s.run.Marks[0].Data = history.KindReceived, []byte(`{"node":1}`) },
	} {
		s := tell(2)
		spoil(s)
		if l, err := LossLedger(s.run); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
}
