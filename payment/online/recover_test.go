package online

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/forward"
	"github.com/kirikae/kirikae/payment/paymenttest"
)

func platform(s *stores) paymenttest.Platform {
	return paymenttest.Platform{Ledger: s.ledger, Journal: s.journal, Acquirer: s.acquirer}
}

// calls notes what the acquirer is asked.
func calls(s *stores) func() []string {
	var mu sync.Mutex
	var all []string
	s.acquirer.Fail = func(method, _ string) (error, error) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, method)
		return nil, nil
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func TestAPaymentFoundPendingAsksForItsStatusFirst(t *testing.T) {
	for _, c := range []struct {
		name    string
		charged bool
		asked   []string
	}{
		{"charged", true, []string{"status"}},
		{"not charged", false, []string{"status", "charge"}},
	} {
		s := newStores()
		if _, _, err := s.ledger.Open(t.Context(), pay1, payment.Writer{Node: "tokyo-app-2", Site: "tokyo", Epoch: 1}); err != nil {
			t.Fatal(err)
		}
		if c.charged {
			if _, err := s.acquirer.Charge(t.Context(), forward.ChargeOf(pay1)); err != nil {
				t.Fatal(err)
			}
		}
		asked := calls(s)
		if row, err := s.app(1).Pay(t.Context(), pay1); err != nil || row.State != payment.Done {
			t.Errorf("%s: %+v, %v", c.name, row, err)
		}
		if !slices.Equal(asked(), c.asked) {
			t.Errorf("%s: asked %v, want %v", c.name, asked(), c.asked)
		}
		if wrong := platform(s).Disagreements(); len(wrong) > 0 {
			t.Errorf("%s: %v", c.name, wrong)
		}
	}
	s := newStores() // and a new one does not
	asked := calls(s)
	if _, err := s.app(1).Pay(t.Context(), pay1); err != nil || !slices.Equal(asked(), []string{"charge"}) {
		t.Errorf("a new payment: asked %v, %v", asked(), err)
	}
}

func TestACancelledPaymentIsToldForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores()
		n := started(t, s, paymenttest.NewParams(paymenttest.Complete("1")))
		synctest.Wait()
		w := payment.Writer{Node: "osaka-reconcile-1", Site: "osaka", Epoch: 1}
		if _, _, err := s.ledger.Open(t.Context(), pay1, w); err != nil {
			t.Fatal(err)
		}
		if _, err := s.acquirer.Charge(t.Context(), forward.ChargeOf(pay1)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ledger.Cancel(t.Context(), pay1.Key, w); err != nil { // and nobody gave the money back yet
			t.Fatal(err)
		}
		for range 2 {
			w := ask(n, "POST", "/payments", "p-1", `{"from":1,"to":2,"yen":100}`)
			if w.Code != 410 || w.Header().Get("X-Executed") != "none" || !strings.Contains(w.Body.String(), "cancelled") {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			if wrong := platform(s).Disagreements(); len(wrong) > 0 {
				t.Errorf("%v", wrong)
			}
		}
	})
}

// A payment that is cancelled while its first attempt is at work is not acknowledged, and what was charged is given back.
func TestACancellationUnderAPayment(t *testing.T) {
	w := payment.Writer{Node: "tokyo-reconcile-1", Site: "tokyo", Epoch: 1}
	for _, at := range []string{"before the charge", "after it"} {
		s := newStores()
		app := s.app(1)
		app.Acquirer = meddler{s.acquirer, func() {
			if at == "before the charge" {
				if _, err := s.acquirer.Void(t.Context(), pay1.Key); err != nil {
					t.Error(err)
				}
			}
		}, func() {
			if at == "after it" { // by somebody blind
				if _, err := s.ledger.Cancel(t.Context(), pay1.Key, w); err != nil {
					t.Error(err)
				}
			}
		}}
		row, err := app.Pay(t.Context(), pay1)
		if !errors.Is(err, payment.ErrCancelled) || !errors.Is(err, payment.ErrNotExecuted) || row.State != payment.Cancelled {
			t.Errorf("%s: %+v, %v", at, row, err)
		}
		if wrong := platform(s).Disagreements(); len(wrong) > 0 {
			t.Errorf("%s: %v", at, wrong)
		}
	}
}

// meddler is an acquirer around whose charges something else happens.
type meddler struct {
	payment.Acquirer
	before, after func()
}

func (m meddler) Charge(ctx context.Context, c payment.Charge) (bool, error) {
	m.before()
	dup, err := m.Acquirer.Charge(ctx, c)
	m.after()
	return dup, err
}

func TestDefectsOfRecovery(t *testing.T) {
	for _, c := range []struct {
		defect  payment.Defect
		state   payment.State
		charges int
	}{{payment.BlindCancel, payment.Cancelled, 1}, {payment.BlindRetry, payment.Done, 2}} {
		s := newStores()
		if _, _, err := s.ledger.Open(t.Context(), pay1, payment.Writer{Node: "tokyo-app-2", Site: "tokyo", Epoch: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.acquirer.Charge(t.Context(), forward.ChargeOf(pay1)); err != nil {
			t.Fatal(err)
		}
		app := s.app(1, c.defect)
		for range 2 {
			_, _ = app.Pay(t.Context(), pay1)
		}
		row, err := s.ledger.Find(t.Context(), pay1.Key)
		if err != nil || row.State != c.state || s.acquirer.Charges(pay1.Key) != c.charges || len(platform(s).Disagreements()) == 0 {
			t.Errorf("%s: %+v, %v, charged %d times, %v", c.defect, row, err, s.acquirer.Charges(pay1.Key), platform(s).Disagreements())
		}
	}
	s := newStores() // lost with its region, and answered all the same
	app := s.app(1, payment.CachedAnswer)
	if _, err := app.Pay(t.Context(), pay1); err != nil {
		t.Fatal(err)
	}
	s.ledger.Lose(pay1.Key)
	s.journal.Lose(pay1.Key)
	if row, err := app.Pay(t.Context(), pay1); err != nil || row.State != payment.Done {
		t.Errorf("%+v, %v", row, err)
	}
	if _, err := s.ledger.Find(t.Context(), pay1.Key); !errors.Is(err, payment.ErrNotFound) {
		t.Errorf("the defect wrote it: %v", err)
	}
}

func TestANodeEndsInterruptedPaymentsAtItsStart(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newStores()
			tokyo := payment.Writer{Node: "tokyo-app-1", Site: "tokyo", Epoch: 1}
			for key, charged := range map[string]bool{"charged": true, "uncharged": false} {
				p := payment.Payment{Key: key, From: 1, To: 2, Yen: 10}
				if _, _, err := s.ledger.Open(t.Context(), p, tokyo); err != nil {
					t.Fatal(err)
				}
				if charged {
					if _, err := s.acquirer.Charge(t.Context(), forward.ChargeOf(p)); err != nil {
						t.Fatal(err)
					}
				}
			}
			s.ledger.SetEpoch(2)
			down := time.Now().Add(3 * time.Second) // the acquirer is not reached at first
			s.acquirer.Fail = func(string, string) (error, error) {
				if time.Now().Before(down) {
					return errLost, nil
				}
				return nil, nil
			}
			n := New(Config{Name: "osaka-app-1", Site: "osaka", Params: paymenttest.NewParams(paymenttest.Complete("2")), Recover: wanted,
				Connect: func(payment.Parameters) (payment.Stores, error) {
					return payment.Stores{Ledger: s.ledger, Journal: s.journal, Acquirer: s.acquirer}, nil
				}})
			ended := make(chan error, 1)
			ctx, cancel := context.WithCancel(context.Background())
			go func() { ended <- n.Run(ctx) }()
			status := func() (out Status) {
				if err := json.NewDecoder(ask(n, "GET", "/status", "", "").Body).Decode(&out); err != nil {
					t.Fatal(err)
				}
				return out
			}
			time.Sleep(2 * time.Second)
			if st := status(); wanted != (st.Recovered != nil) || wanted && (st.Recovered.Complete || st.Recovered.Error == "") {
				t.Errorf("without the acquirer: %+v", st.Recovered)
			}
			time.Sleep(5 * time.Second)
			want := payment.Pending
			if wanted {
				want = payment.Done
				if st := status(); *st.Recovered != (forward.Recovered{Complete: true, Finished: 1, Left: 1}) {
					t.Errorf("%+v", st.Recovered)
				}
			}
			if row, err := s.ledger.Find(t.Context(), "charged"); err != nil || row.State != want {
				t.Errorf("%+v, %v", row, err)
			}
			if row, err := s.ledger.Find(t.Context(), "uncharged"); err != nil || row.State != payment.Pending {
				t.Errorf("%+v, %v", row, err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
