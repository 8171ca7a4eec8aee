package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/paymenttest"
)

var (
	tokyo = payment.Writer{Node: "tokyo-app-1", Site: "tokyo", Epoch: 1}
	osaka = payment.Writer{Node: "osaka-app-1", Site: "osaka", Epoch: 2}
	pay1  = payment.Payment{Key: "p-1", From: 1, To: 2, Yen: 100}
	found = payment.Payment{Key: "p-1", From: 1, To: 2, Yen: 100, State: payment.Pending, Epoch: 1, Site: "tokyo", Node: "tokyo-app-1"}
)

func recoverer(p paymenttest.Platform, w payment.Writer, defects ...payment.Defect) *Recoverer {
	return &Recoverer{Writer: w, Ledger: p.Ledger, Journal: p.Journal, Acquirer: p.Acquirer, Defects: defects, Log: slog.New(slog.DiscardHandler)}
}

// beginnings are payments as a lost region can leave them.
var beginnings = map[string]func(p paymenttest.Platform) error{
	"uncharged": func(p paymenttest.Platform) error { return nil },
	"charged": func(p paymenttest.Platform) error {
		_, err := p.Acquirer.Charge(context.Background(), ChargeOf(pay1))
		return err
	},
	"voided": func(p paymenttest.Platform) error {
		_, err := p.Acquirer.Void(context.Background(), pay1.Key)
		return err
	},
	"given back": func(p paymenttest.Platform) error {
		if _, err := p.Acquirer.Charge(context.Background(), ChargeOf(pay1)); err != nil {
			return err
		}
		_, err := p.Acquirer.Refund(context.Background(), payment.Refund{Payment: pay1.Key, Request: pay1.Key, Yen: 100})
		return err
	},
	"charged, and cancelled by somebody blind": func(p paymenttest.Platform) error {
		if _, err := p.Acquirer.Charge(context.Background(), ChargeOf(pay1)); err != nil {
			return err
		}
		_, err := p.Ledger.Cancel(context.Background(), pay1.Key, tokyo)
		return err
	},
}

// pending makes a platform with one payment that was opened in Tokyo and interrupted; Osaka writes now.
func pending(t *testing.T, begin func(paymenttest.Platform) error) paymenttest.Platform {
	t.Helper()
	p := paymenttest.NewPlatform()
	if _, _, err := p.Ledger.Open(t.Context(), pay1, tokyo); err != nil {
		t.Fatal(err)
	}
	if err := begin(p); err != nil {
		t.Fatal(err)
	}
	p.Ledger.SetEpoch(2)
	return p
}

func TestEnd(t *testing.T) {
	for _, c := range []struct {
		beginning string
		uncharged Uncharged
		want      payment.State
		charges   int
	}{
		{"uncharged", Leave, payment.Pending, 0},
		{"uncharged", Charge, payment.Done, 1},
		{"uncharged", Cancel, payment.Cancelled, 0},
		{"charged", Leave, payment.Done, 1},
		{"charged", Charge, payment.Done, 1},
		{"charged", Cancel, payment.Done, 1},
		{"voided", Leave, payment.Cancelled, 0},
		{"voided", Charge, payment.Cancelled, 0},
		{"given back", Charge, payment.Cancelled, 1},
		{"charged, and cancelled by somebody blind", Leave, payment.Cancelled, 1},
	} {
		t.Run(fmt.Sprint(c.beginning, " ", c.uncharged), func(t *testing.T) {
			p := pending(t, beginnings[c.beginning])
			for range 2 { // once more changes nothing
				row, err := recoverer(p, osaka).End(t.Context(), found, c.uncharged)
				if err != nil || row.State != c.want || p.Acquirer.Charges(pay1.Key) != c.charges {
					t.Fatalf("%+v, %v, charged %d times", row, err, p.Acquirer.Charges(pay1.Key))
				}
			}
			if c.want == payment.Pending {
				return
			}
			if wrong := p.Disagreements(); len(wrong) > 0 {
				t.Errorf("%v", wrong)
			}
			if err := p.Ledger.Conserved(); err != nil {
				t.Error(err)
			}
			if _, err := p.Acquirer.Charge(t.Context(), ChargeOf(pay1)); c.want == payment.Cancelled && !errors.Is(err, payment.ErrClosed) {
				t.Errorf("a cancelled payment can still be charged: %v", err)
			}
		})
	}
}

// effects are all calls that change something or decide what is changed.
var effects = []string{"open", "status", "charge", "finish", "append", "void", "cancel", "refund", "refunded"}

// Whoever ends a payment may die between any two effects: the next one brings it to an end on which all three agree, and never to
// another end than one that was reached before.
func TestADeathBetweenAnyTwoEffects(t *testing.T) {
	died := 0
	for name, begin := range beginnings {
		for _, uncharged := range []Uncharged{Leave, Charge, Cancel} {
			for _, method := range effects {
				for _, after := range []bool{false, true} {
					for _, next := range []Uncharged{Charge, Cancel} { // a customer, or the reconciler
						where := fmt.Sprintf("%s, uncharged %d, %s, after %v, then %d", name, uncharged, method, after, next)
						p := pending(t, begin)
						once := paymenttest.Once(method, 1, paymenttest.ErrLost, nil)
						if after {
							once = paymenttest.Once(method, 1, nil, paymenttest.ErrLost)
						}
						dead := false // nothing works for a process that has died
						p.Fail(func(m, key string) (error, error) {
							if dead {
								return paymenttest.ErrLost, nil
							}
							b, a := once(m, key)
							dead = a != nil || b != nil
							return b, a
						})
						first, err := recoverer(p, osaka).End(t.Context(), found, uncharged)
						if dead {
							died++
							if err == nil {
								t.Errorf("%s: no error", where)
							}
						}
						p.Fail(nil)
						row, err := recoverer(p, osaka).End(t.Context(), found, next)
						if err != nil {
							t.Fatalf("%s: %v", where, err)
						}
						if !dead && first.State != payment.Pending && row != first {
							t.Errorf("%s: ended as %+v, and then as %+v", where, first, row)
						}
						if wrong := p.Disagreements(); len(wrong) > 0 {
							t.Errorf("%s: %v", where, wrong)
						}
						if err := p.Ledger.Conserved(); err != nil {
							t.Errorf("%s: %v", where, err)
						}
						if n := p.Acquirer.Charges(pay1.Key); n > 1 {
							t.Errorf("%s: charged %d times", where, n)
						}
					}
				}
			}
		}
	}
	if died < 100 {
		t.Errorf("it died only %d times", died)
	}
}

// A charge on its way, which the acquirer takes in after the payment was cancelled, is refused; one that it takes in before makes
// the payment DONE. Whatever the order, there is one end.
func TestAChargeThatRacesWithACancellation(t *testing.T) {
	for i := range 50 {
		p := pending(t, beginnings["uncharged"])
		ends := make(chan error, 2)
		for _, u := range []Uncharged{Charge, Cancel} {
			go func() {
				_, err := recoverer(p, osaka).End(context.Background(), found, u)
				ends <- err
			}()
		}
		for range 2 {
			if err := <-ends; err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if wrong := p.Disagreements(); len(wrong) > 0 {
			t.Errorf("%d: %v", i, wrong)
		}
	}
}

func TestAStaleWriterEndsNothing(t *testing.T) {
	p := pending(t, beginnings["charged"])
	if _, err := recoverer(p, tokyo).End(t.Context(), found, Charge); !errors.Is(err, payment.ErrStaleEpoch) {
		t.Errorf("%v", err)
	}
	if row, _ := p.Ledger.Find(t.Context(), pay1.Key); row.State != payment.Pending {
		t.Errorf("%+v", row)
	}
}

func TestAnotherAmountIsNotFinished(t *testing.T) {
	p := pending(t, func(p paymenttest.Platform) error {
		c := ChargeOf(pay1)
		c.Yen = 99
		_, err := p.Acquirer.Charge(context.Background(), c)
		return err
	})
	if _, err := recoverer(p, osaka).End(t.Context(), found, Cancel); !errors.Is(err, payment.ErrConflict) {
		t.Errorf("%v", err)
	}
}

func TestDefects(t *testing.T) {
	for _, c := range []struct {
		defect    payment.Defect
		beginning string
		want      payment.State
		charges   int
		agrees    bool
	}{
		{payment.BlindCancel, "charged", payment.Cancelled, 1, false},
		{payment.BlindCancel, "uncharged", payment.Cancelled, 0, false},
		{payment.BlindRetry, "charged", payment.Done, 2, false},
		{payment.BlindRetry, "uncharged", payment.Done, 1, true},
	} {
		p := pending(t, beginnings[c.beginning])
		row, err := recoverer(p, osaka, c.defect).End(t.Context(), found, Leave)
		if err != nil || row.State != c.want || p.Acquirer.Charges(pay1.Key) != c.charges || (len(p.Disagreements()) == 0) != c.agrees {
			t.Errorf("%s, %s: %+v, %v, charged %d times, %v", c.defect, c.beginning, row, err, p.Acquirer.Charges(pay1.Key), p.Disagreements())
		}
	}
}

func TestStart(t *testing.T) {
	p := paymenttest.NewPlatform()
	open := func(key string, w payment.Writer, charge bool) {
		t.Helper()
		x := payment.Payment{Key: key, From: 1, To: 2, Yen: 10}
		if _, _, err := p.Ledger.Open(t.Context(), x, w); err != nil {
			t.Fatal(err)
		}
		if charge {
			if _, err := p.Acquirer.Charge(t.Context(), ChargeOf(x)); err != nil {
				t.Fatal(err)
			}
		}
	}
	open("old-charged", tokyo, true)
	open("old-uncharged", tokyo, false)
	open("old-voided", tokyo, false)
	if _, err := p.Acquirer.Void(t.Context(), "old-voided"); err != nil {
		t.Fatal(err)
	}
	p.Ledger.SetEpoch(2)
	open("own-charged", osaka, true)
	other := osaka
	other.Node = "osaka-app-2"
	open("other-charged", other, true)

	r := recoverer(p, osaka)
	up := func() time.Duration { return time.Hour } // this process is older than all of them
	want := Recovered{Complete: true, Finished: 1, Cancelled: 1, Left: 1}
	if got := r.Start(t.Context(), up); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	up = func() time.Duration { return 0 } // it started after its own was opened
	want = Recovered{Complete: true, Finished: 1, Left: 1}
	if got := r.Start(t.Context(), up); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for key, state := range map[string]payment.State{"old-charged": payment.Done, "old-uncharged": payment.Pending, "old-voided": payment.Cancelled, "own-charged": payment.Done, "other-charged": payment.Pending} {
		if row, err := p.Ledger.Find(t.Context(), key); err != nil || row.State != state {
			t.Errorf("%s is %+v, %v, want %s", key, row, err, state)
		}
	}
	p.Fail(paymenttest.Once("status", 1, paymenttest.ErrLost, nil))
	if got := r.Start(t.Context(), up); got.Complete || got.Error == "" {
		t.Errorf("without the acquirer: %+v", got)
	}
	p.Fail(paymenttest.Once("unfinished", 1, paymenttest.ErrLost, nil))
	if got := r.Start(t.Context(), up); got.Complete || got.Error == "" {
		t.Errorf("without the ledger: %+v", got)
	}
}
