package online

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/paymenttest"
)

// stores in memory, and an application at each site over them.
type stores struct {
	ledger   *paymenttest.Ledger
	journal  *paymenttest.Journal
	acquirer *paymenttest.Acquirer
}

func newStores() *stores {
	return &stores{paymenttest.NewLedger(10, 1000, 1), paymenttest.NewJournal(), paymenttest.NewAcquirer()}
}

func (s *stores) app(epoch int64, defects ...payment.Defect) *App {
	return &App{
		Writer: payment.Writer{Node: "tokyo-app-1", Site: "tokyo", Epoch: epoch},
		Ledger: s.ledger, Journal: s.journal, Acquirer: s.acquirer,
		Defects: defects, Log: slog.New(slog.DiscardHandler),
	}
}

// once fails the first call of a method, before or after its effect.
func once(method string, before, after error) paymenttest.Failure {
	failed := false
	return func(m, _ string) (error, error) {
		if m != method || failed {
			return nil, nil
		}
		failed = true
		return before, after
	}
}

var (
	errLost = errors.New("connection lost")
	pay1    = payment.Payment{Key: "p-1", From: 1, To: 2, Yen: 100}
)

func TestPay(t *testing.T) {
	s := newStores()
	row, err := s.app(1).Pay(t.Context(), pay1)
	if err != nil || row.State != payment.Done || row.Epoch != 1 || row.Node != "tokyo-app-1" {
		t.Fatalf("Pay: %+v, %v", row, err)
	}
	if e, ok := s.journal.Look("p-1"); !ok || e != (payment.Event{Key: "p-1", Yen: 100, Epoch: 1, Site: "tokyo"}) {
		t.Errorf("event %+v, %v", e, ok)
	}
	if n := s.acquirer.Charges("p-1"); n != 1 {
		t.Errorf("charged %d times", n)
	}
	if s.ledger.Balance(1) != 900 || s.ledger.Balance(2) != 1100 {
		t.Errorf("balances %d, %d", s.ledger.Balance(1), s.ledger.Balance(2))
	}
}

// Wherever an attempt breaks off, before or after the effect of any of its steps, it promises nothing, and the same key asked again
// brings the payment forward, charged once, moved once, with its event.
func TestTheSameKeyBringsForwardWhatWasBrokenOff(t *testing.T) {
	for _, step := range []string{"open", "charge", "finish", "append"} {
		for _, after := range []bool{false, true} {
			s := newStores()
			fail := once(step, errLost, nil)
			if after {
				fail = once(step, nil, errLost)
			}
			s.ledger.Fail, s.journal.Fail, s.acquirer.Fail = fail, fail, fail
			app := s.app(1)
			_, err := app.Pay(t.Context(), pay1)
			if err == nil {
				t.Fatalf("%s broken off, after %v: promised", step, after)
			}
			if errors.Is(err, payment.ErrNotExecuted) {
				t.Errorf("%s broken off, after %v: %v claims proof", step, after, err)
			}
			var first payment.Payment
			for range 3 {
				row, err := app.Pay(t.Context(), pay1)
				if err != nil {
					t.Fatalf("%s broken off, after %v: again: %v", step, after, err)
				}
				if first == (payment.Payment{}) {
					first = row
				}
				if row != first || row.State != payment.Done {
					t.Errorf("%s broken off, after %v: answers %+v and %+v", step, after, first, row)
				}
			}
			if n := s.acquirer.Charges("p-1"); n != 1 {
				t.Errorf("%s broken off, after %v: charged %d times", step, after, n)
			}
			if _, ok := s.journal.Look("p-1"); !ok {
				t.Errorf("%s broken off, after %v: no event", step, after)
			}
			if b := s.ledger.Balance(1); b != 900 {
				t.Errorf("%s broken off, after %v: balance %d", step, after, b)
			}
			if err := s.ledger.Conserved(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestTheAnswerStaysTheSameAtAnotherNodeAndEpoch(t *testing.T) {
	s := newStores()
	first, err := s.app(1).Pay(t.Context(), pay1)
	if err != nil {
		t.Fatal(err)
	}
	s.ledger.SetEpoch(2)
	osaka := s.app(2)
	osaka.Writer = payment.Writer{Node: "osaka-app-1", Site: "osaka", Epoch: 2}
	again, err := osaka.Pay(t.Context(), pay1)
	if err != nil || again != first {
		t.Errorf("osaka answers %+v, %v; tokyo answered %+v", again, err, first)
	}
	if e, _ := s.journal.Look("p-1"); e.Site != "tokyo" || e.Epoch != 1 {
		t.Errorf("the event changed: %+v", e)
	}
}

func TestConflictChargesNothing(t *testing.T) {
	s := newStores()
	app := s.app(1)
	if _, err := app.Pay(t.Context(), pay1); err != nil {
		t.Fatal(err)
	}
	other := pay1
	other.Yen = 101
	if _, err := app.Pay(t.Context(), other); !errors.Is(err, payment.ErrConflict) || !errors.Is(err, payment.ErrNotExecuted) {
		t.Errorf("another body: %v", err)
	}
	if n := s.acquirer.Charges("p-1"); n != 1 {
		t.Errorf("charged %d times", n)
	}
}

func TestAStaleEpochIsProofOnlyWhenNothingWasBegun(t *testing.T) {
	s := newStores()
	app := s.app(1)
	s.acquirer.Fail = once("charge", nil, errLost) // charged, and left PENDING
	if _, err := app.Pay(t.Context(), pay1); err == nil {
		t.Fatal("promised without the acquirer's answer")
	}
	s.ledger.SetEpoch(2)

	fresh := pay1
	fresh.Key = "p-2"
	if _, err := app.Pay(t.Context(), fresh); !errors.Is(err, payment.ErrStaleEpoch) || !errors.Is(err, payment.ErrNotExecuted) {
		t.Errorf("a new payment under a stale epoch: %v", err)
	}
	if n := s.acquirer.Charges("p-2"); n != 0 {
		t.Errorf("a stale writer charged %d times", n)
	}
	if _, err := app.Pay(t.Context(), pay1); err == nil || errors.Is(err, payment.ErrNotExecuted) {
		t.Errorf("a payment that was charged under the old epoch: %v", err)
	}

	// The epoch changes between the charge and the money: rolled back, outcome unknown.
	s = newStores()
	s.acquirer.Fail = func(method, _ string) (error, error) { s.ledger.SetEpoch(2); return nil, nil }
	if _, err := s.app(1).Pay(t.Context(), pay1); err == nil || errors.Is(err, payment.ErrNotExecuted) {
		t.Errorf("the epoch changed after the charge: %v", err)
	}
	if s.ledger.Balance(1) != 1000 {
		t.Error("a stale writer moved money")
	}
}

func TestProbe(t *testing.T) {
	s := newStores()
	if err := s.app(1).Probe(t.Context(), payment.Probe{Slot: 1, N: 2}); err != nil {
		t.Fatal(err)
	}
	if err := s.app(7).Probe(t.Context(), payment.Probe{}); !errors.Is(err, payment.ErrNotExecuted) {
		t.Errorf("stale: %v", err)
	}
	s.journal.Fail = func(string, string) (error, error) { return payment.NotExecuted(errLost), nil }
	if err := s.app(1).Probe(t.Context(), payment.Probe{}); err == nil || errors.Is(err, payment.ErrNotExecuted) {
		t.Errorf("the ledger took it and the journal refused: %v", err)
	}
}

func TestDefectAckBeforeCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores()
		app := s.app(1, payment.AckBeforeCommit)
		row, err := app.Pay(t.Context(), pay1)
		if err != nil || row.State != payment.Done {
			t.Fatalf("Pay: %+v, %v", row, err)
		}
		look := func() (payment.State, bool) {
			p, err := s.ledger.Find(t.Context(), "p-1")
			if err != nil {
				t.Fatal(err)
			}
			_, event := s.journal.Look("p-1")
			return p.State, event
		}
		time.Sleep(ackLead - time.Millisecond)
		synctest.Wait()
		if state, event := look(); state != payment.Pending || event || s.acquirer.Charges("p-1") != 1 {
			t.Errorf("just before it is due: %s, event %v", state, event)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if state, event := look(); state != payment.Done || !event {
			t.Errorf("just after it was due: %s, event %v", state, event)
		}
		app.Wait()
	})
}

func TestDefectNewRequestKey(t *testing.T) {
	for _, c := range []struct {
		defects []payment.Defect
		charges int
	}{{nil, 1}, {[]payment.Defect{payment.NewRequestKey}, 2}} {
		s := newStores()
		s.ledger.Fail = once("finish", errLost, nil)
		app := s.app(1, c.defects...)
		if _, err := app.Pay(t.Context(), pay1); err == nil {
			t.Fatal("promised")
		}
		if _, err := app.Pay(t.Context(), pay1); err != nil {
			t.Fatal(err)
		}
		if n := s.acquirer.Charges("p-1"); n != c.charges {
			t.Errorf("defects %v: charged %d times, want %d", c.defects, n, c.charges)
		}
	}
}

func TestADefectDoesNothingElse(t *testing.T) {
	for _, d := range payment.Defects() {
		s := newStores()
		app := s.app(1, d)
		if _, err := app.Pay(t.Context(), pay1); err != nil {
			t.Fatal(err)
		}
		app.Wait()
		row, err := app.Pay(t.Context(), pay1)
		if err != nil || row.State != payment.Done || s.acquirer.Charges("p-1") != 1 || s.ledger.Balance(1) != 900 {
			t.Errorf("%s: an undisturbed payment, asked twice: %+v, %v, charged %d", d, row, err, s.acquirer.Charges("p-1"))
		}
	}
	if !slices.Equal(payment.Defects(), []payment.Defect{payment.AckBeforeCommit, payment.NewRequestKey, payment.BlindCancel, payment.BlindRetry, payment.CachedAnswer}) {
		t.Error("a defect without a test")
	}
}

func TestReadyNamesTheStore(t *testing.T) {
	s := newStores()
	s.journal.Fail = func(m, _ string) (error, error) { return errLost, nil }
	ledger, journal := s.app(2).Ready(context.Background())
	if !errors.Is(ledger, payment.ErrStaleEpoch) || !errors.Is(journal, errLost) {
		t.Errorf("ledger %v, journal %v", ledger, journal)
	}
}
