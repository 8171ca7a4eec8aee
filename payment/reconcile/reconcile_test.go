package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/forward"
	"github.com/kirikae/kirikae/payment/paymenttest"
)

var (
	tokyo = payment.Writer{Node: "tokyo-app-1", Site: "tokyo", Epoch: 1}
	osaka = payment.Writer{Node: "osaka-reconcile-1", Site: "osaka", Epoch: 2}
)

const grace = 10 * time.Second

// maker leaves one payment in the middle, as a region does that is lost; any error ends the test.
type maker struct {
	t *testing.T
	paymenttest.Platform
	salvage map[string]payment.Payment
}

func (m maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func body(key string) payment.Payment { return payment.Payment{Key: key, From: 1, To: 2, Yen: 100} }

func (m maker) open(key string) {
	_, _, err := m.Ledger.Open(context.Background(), body(key), tokyo)
	m.must(err)
}

func (m maker) charge(key, request string) {
	c := forward.ChargeOf(body(key))
	c.Request = request
	_, err := m.Acquirer.Charge(context.Background(), c)
	m.must(err)
}

func (m maker) refund(key string) {
	_, err := m.Acquirer.Refund(context.Background(), payment.Refund{Payment: key, Request: key, Yen: 100})
	m.must(err)
}

func (m maker) finish(key string) {
	_, err := m.Ledger.Finish(context.Background(), key, tokyo)
	m.must(err)
}

func (m maker) cancel(key string) {
	_, err := m.Ledger.Cancel(context.Background(), key, tokyo)
	m.must(err)
}

func (m maker) event(key string, yen int64) {
	m.must(m.Journal.Append(context.Background(), payment.Event{Key: key, Yen: yen, Epoch: 1, Site: "tokyo"}))
}

func (m maker) salvaged(key string, state payment.State, change ...func(*payment.Payment)) {
	p := body(key)
	p.State, p.Epoch, p.Site, p.Node = state, 1, "tokyo", "tokyo-app-1"
	for _, f := range change {
		f(&p)
	}
	m.salvage[key] = p
}

type scenario struct {
	name string
	make func(m maker, key string)
	kind string   // of the mismatch; "": none
	did  []string // repairs
	ends payment.State
}

func done(m maker, key string) {
	m.open(key)
	m.charge(key, key)
	m.finish(key)
	m.event(key, 100)
}

// scenarios are all ways in which the three can disagree, and some in which they only seem to.
var scenarios = []scenario{
	{"done", done, Agrees, nil, payment.Done},
	{"cancelled", func(m maker, key string) {
		m.open(key)
		_, err := m.Acquirer.Void(context.Background(), key)
		m.must(err)
		m.cancel(key)
	}, Agrees, nil, payment.Cancelled},
	{"opened, not charged", func(m maker, key string) { m.open(key) }, Pending, []string{DidCancel}, payment.Cancelled},
	{"opened and charged", func(m maker, key string) { m.open(key); m.charge(key, key) }, Pending, []string{DidFinish}, payment.Done},
	{"opened, charged and given back", func(m maker, key string) { m.open(key); m.charge(key, key); m.refund(key) }, Pending, []string{DidCancel}, payment.Cancelled},
	{"opened and charged, with an event of a lost end", func(m maker, key string) { m.open(key); m.charge(key, key); m.event(key, 100) }, Pending, []string{DidFinish}, payment.Done},
	{"done without its event", func(m maker, key string) { m.open(key); m.charge(key, key); m.finish(key) }, NoEvent, []string{DidEvent}, payment.Done},
	{"done with another event", func(m maker, key string) { done(m, key); m.event(key, 99) }, OtherEvent, []string{DidEvent}, payment.Done},
	{"done and not charged", func(m maker, key string) { m.open(key); m.finish(key); m.event(key, 100) }, Uncharged, []string{DidCharge}, payment.Done},
	{"done and charged twice", func(m maker, key string) { done(m, key); m.charge(key, "again-"+key) }, ChargedTwice, []string{DidRefund}, payment.Done},
	{"charged three times, none under its own key", func(m maker, key string) {
		m.open(key)
		for i := range 3 {
			m.charge(key, fmt.Sprintf("try-%d-%s", i, key))
		}
	}, Pending, []string{DidFinish, DidRefund}, payment.Done},
	{"cancelled by somebody blind, charged", func(m maker, key string) { m.open(key); m.charge(key, key); m.cancel(key) }, CancelledCharged, []string{DidRefund}, payment.Cancelled},
	{"cancelled by somebody blind, not charged", func(m maker, key string) { m.open(key); m.cancel(key) }, CancelledOpen, []string{DidVoid}, payment.Cancelled},
	{"cancelled, and its refund is not recorded", func(m maker, key string) { m.open(key); m.charge(key, key); m.cancel(key); m.refund(key) }, Unrecorded, []string{DidRecord}, payment.Cancelled},
	{"row and event lost", func(m maker, key string) { done(m, key); m.Ledger.Lose(key); m.Journal.Lose(key) }, Lost, []string{DidRecreate}, payment.Done},
	{"row lost, event kept", func(m maker, key string) { done(m, key); m.Ledger.Lose(key) }, Lost, []string{DidRecreate}, payment.Done},
	{"row lost before its end", func(m maker, key string) { m.open(key); m.charge(key, key); m.Ledger.Lose(key) }, Lost, []string{DidRecreate}, payment.Done},
	{"row lost, charged twice", func(m maker, key string) { done(m, key); m.charge(key, "again-"+key); m.Ledger.Lose(key) }, Lost, []string{DidRecreate, DidRefund}, payment.Done},
	{"row lost and salvaged", func(m maker, key string) { done(m, key); m.Ledger.Lose(key); m.salvaged(key, payment.Done) }, Lost, []string{DidRecreate}, payment.Done},
	{"row lost and salvaged, charged without a reference", func(m maker, key string) {
		_, err := m.Acquirer.Charge(context.Background(), payment.Charge{Payment: key, Request: key, Yen: 100})
		m.must(err)
		m.salvaged(key, payment.Pending)
	}, Lost, []string{DidRecreate}, payment.Done},
	{"salvaged as done, and the acquirer never heard of it", func(m maker, key string) { m.salvaged(key, payment.Done) }, Lost, []string{DidRecreate}, payment.Done},
	{"pending here, salvaged as done, never charged", func(m maker, key string) { m.open(key); m.salvaged(key, payment.Done) }, Pending, []string{DidFinish}, payment.Done},
	{"salvaged as pending, never charged", func(m maker, key string) { m.salvaged(key, payment.Pending) }, Agrees, nil, ""},
	{"salvaged and here", func(m maker, key string) { done(m, key); m.salvaged(key, payment.Done) }, Agrees, nil, payment.Done},
	{"charged for accounts that are not there", func(m maker, key string) {
		_, err := m.Acquirer.Charge(context.Background(), payment.Charge{Payment: key, Request: key, Yen: 100, From: 1, To: 99})
		m.must(err)
	}, Lost, []string{DidRefund}, ""},

	// Nobody but people can say.
	{"row lost, charged without a reference", func(m maker, key string) {
		_, err := m.Acquirer.Charge(context.Background(), payment.Charge{Payment: key, Request: key, Yen: 100})
		m.must(err)
	}, UnknownAccounts, nil, ""},
	{"salvage and acquirer differ", func(m maker, key string) {
		m.charge(key, key)
		m.salvaged(key, payment.Done, func(p *payment.Payment) { p.To = 3 })
	}, Conflict, nil, ""},
	{"salvage and charge differ in yen", func(m maker, key string) {
		_, err := m.Acquirer.Charge(context.Background(), payment.Charge{Payment: key, Request: key, Yen: 99})
		m.must(err)
		m.salvaged(key, payment.Done)
	}, Conflict, nil, ""},
	{"salvage and row differ", func(m maker, key string) {
		done(m, key)
		m.salvaged(key, payment.Done, func(p *payment.Payment) { p.To = 3 })
	}, Conflict, nil, payment.Done},
	{"an event of nobody", func(m maker, key string) { m.event(key, 100) }, OrphanEvent, nil, ""},
	{"done and given back", func(m maker, key string) { done(m, key); m.refund(key) }, Conflict, nil, payment.Done},
	{"salvaged as done, and given back", func(m maker, key string) {
		m.charge(key, key)
		m.refund(key)
		m.salvaged(key, payment.Done)
	}, Conflict, nil, ""},
	{"cancelled, with an event", func(m maker, key string) { m.open(key); m.cancel(key); m.event(key, 100) }, CancelledOpen, []string{DidVoid}, payment.Cancelled},
	{"charged another amount", func(m maker, key string) {
		m.open(key)
		_, err := m.Acquirer.Charge(context.Background(), payment.Charge{Payment: key, Request: key, Yen: 99})
		m.must(err)
	}, Conflict, nil, payment.Pending},
}

// disputed are the scenarios after which the three still disagree.
func (s scenario) disputed() bool {
	return s.kind == UnknownAccounts || s.kind == Conflict || s.kind == OrphanEvent || s.name == "cancelled, with an event"
}

func platform(t *testing.T) maker {
	return maker{t, paymenttest.NewPlatform(), map[string]payment.Payment{}}
}

func (m maker) reconciler(defects ...payment.Defect) *Reconciler {
	return &Reconciler{Writer: osaka, Ledger: m.Ledger, Journal: m.Journal, Acquirer: m.Acquirer, Grace: grace, Salvage: m.salvage, Defects: defects, Log: slog.New(slog.DiscardHandler)}
}

func TestEachMismatch(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := platform(t)
				s.make(m, "k")
				m.Ledger.SetEpoch(2)
				time.Sleep(grace + time.Second)
				rep := m.reconciler().Run(t.Context())
				if rep.Error != "" || len(rep.Failed) > 0 || rep.Young > 0 {
					t.Fatalf("%+v", rep)
				}
				want := map[string]int{}
				if s.kind != Agrees {
					want[s.kind] = 1
				}
				if !maps.Equal(rep.Mismatches, want) {
					t.Errorf("found %v, want %v", rep.Mismatches, want)
				}
				var did []string
				for _, a := range rep.Actions {
					did = append(did, a.Did)
				}
				if !slices.Equal(did, s.did) {
					t.Errorf("did %v, want %v", did, s.did)
				}
				if s.disputed() != (len(rep.Unresolved) > 0) {
					t.Errorf("left to people: %v", rep.Unresolved)
				}
				row, _ := m.Ledger.Find(t.Context(), "k")
				if row.State != s.ends {
					t.Errorf("ends as %+v, want %q", row, s.ends)
				}
				if wrong := m.Disagreements(); !s.disputed() && len(wrong) > 0 {
					t.Errorf("%v", wrong)
				}
				if err := m.Ledger.Conserved(); err != nil {
					t.Error(err)
				}
				if again := m.reconciler().Run(t.Context()); again.Changed() || again.Error != "" || !s.disputed() && again.Found() > 0 {
					t.Errorf("a second run: %+v", again)
				}
			})
		})
	}
}

// All at once, under keys of their own, with a reconciler that dies at each call in turn: whoever comes next leaves what one that
// never died would have left.
func TestADeathAtEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := func() maker {
			m := platform(t)
			for i, s := range scenarios {
				s.make(m, fmt.Sprintf("k-%02d", i))
			}
			m.Ledger.SetEpoch(2)
			time.Sleep(grace + time.Second)
			return m
		}
		undisturbed := all()
		if rep := undisturbed.reconciler().Run(t.Context()); rep.Error != "" || len(rep.Failed) > 0 {
			t.Fatalf("%+v", rep)
		}
		want, left := states(t, undisturbed), undisturbed.Disagreements()
		deaths := 0
		for call := 1; ; call++ {
			n := 0
			m := all()
			ctx, cancel := context.WithCancel(t.Context())
			m.Fail(func(string, string) (before, after error) {
				switch n++; {
				case n == call && call%2 == 0:
					cancel()
					return nil, paymenttest.ErrLost
				case n >= call:
					cancel()
					return paymenttest.ErrLost, nil
				}
				return nil, nil
			})
			rep := m.reconciler().Run(ctx)
			cancel()
			if n < call {
				break
			}
			deaths++
			if rep.Error == "" && len(rep.Failed) == 0 {
				t.Errorf("died at call %d, and says nothing: %+v", call, rep)
			}
			m.Fail(nil)
			time.Sleep(grace + time.Second) // rows that it made before it died are young
			if rep := m.reconciler().Run(t.Context()); rep.Error != "" || len(rep.Failed) > 0 {
				t.Fatalf("after a death at call %d: %+v", call, rep)
			}
			if got := states(t, m); !maps.Equal(got, want) {
				t.Errorf("after a death at call %d:\n got %v\nwant %v", call, got, want)
			}
			if wrong := m.Disagreements(); !slices.Equal(wrong, left) {
				t.Errorf("after a death at call %d:\n got %v\nwant %v", call, wrong, left)
			}
			if err := m.Ledger.Conserved(); err != nil {
				t.Errorf("after a death at call %d: %v", call, err)
			}
			if rep := m.reconciler().Run(t.Context()); rep.Changed() {
				t.Errorf("after a death at call %d, a third run: %+v", call, rep)
			}
		}
		if deaths < 100 {
			t.Errorf("it died only %d times", deaths)
		}
	})
}

func states(t *testing.T, m maker) map[string]payment.State {
	t.Helper()
	rows, err := m.Ledger.List(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]payment.State{}
	for _, p := range rows {
		out[p.Key] = p.State
	}
	return out
}

func TestYoungPaymentsAreLeftAlone(t *testing.T) {
	for _, c := range []struct {
		defects []payment.Defect
		want    payment.State
		young   int
	}{{nil, payment.Pending, 1}, {[]payment.Defect{payment.TouchYoung}, payment.Cancelled, 0}} {
		synctest.Test(t, func(t *testing.T) {
			m := platform(t)
			m.open("k")
			m.Ledger.SetEpoch(2)
			time.Sleep(grace - time.Second)
			rep := m.reconciler(c.defects...).Run(t.Context())
			row, err := m.Ledger.Find(t.Context(), "k")
			if err != nil || row.State != c.want || rep.Young != c.young || rep.Changed() != (c.want != payment.Pending) {
				t.Errorf("%v: %+v, %v, %+v", c.defects, row, err, rep)
			}
			for _, a := range rep.Actions { // it does not hide what it did
				if time.Duration(a.Age) >= grace {
					t.Errorf("%v: %+v", c.defects, a)
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // an old row whose customer asks again right now
		m := platform(t)
		m.open("k")
		m.Ledger.SetEpoch(2)
		time.Sleep(time.Hour)
		m.charge("k", "k")
		if rep := m.reconciler().Run(t.Context()); rep.Young != 1 || rep.Changed() {
			t.Errorf("%+v", rep)
		}
	})
	synctest.Test(t, func(t *testing.T) { // opened between the reads
		m := platform(t)
		m.charge("k", "k")
		m.Ledger.SetEpoch(2)
		time.Sleep(time.Hour)
		opened := false
		m.Ledger.Fail = func(method, _ string) (error, error) {
			if method == "find" && !opened {
				opened = true
				go func() { _, _, _ = m.Ledger.Open(context.Background(), body("k"), osaka) }()
			}
			return nil, nil
		}
		m.reconciler().Run(t.Context())
		synctest.Wait()
		m.Ledger.Fail = nil
		time.Sleep(time.Hour)
		m.reconciler().Run(t.Context())
		if wrong := m.Disagreements(); len(wrong) > 0 {
			t.Errorf("%v", wrong)
		}
	})
}

func TestAStaleReconcilerDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platform(t)
		m.open("uncharged")
		m.Ledger.SetEpoch(2)
		time.Sleep(time.Hour)
		r := m.reconciler()
		r.Writer.Epoch = 1
		if rep := r.Run(t.Context()); rep.Error == "" || rep.Changed() {
			t.Errorf("%+v", rep)
		}
		if a, err := m.Acquirer.Status(t.Context(), "uncharged"); err != nil || a.Voided {
			t.Errorf("it voided %+v, %v", a, err)
		}

		// And when it becomes stale in the middle of a run.
		looks := 0
		m.Ledger.Fail = func(method, _ string) (error, error) {
			if looks++; method == "refunds" {
				go m.Ledger.SetEpoch(3)
			}
			return nil, nil
		}
		r = m.reconciler()
		m.Acquirer.Fail = func(method, _ string) (error, error) {
			synctest.Wait()
			return nil, nil
		}
		if rep := r.Run(t.Context()); rep.Error == "" || rep.Changed() {
			t.Errorf("%+v", rep)
		}
	})
}

func TestOnlySalvaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := platform(t)
		m.open("here")
		m.charge("lost", "lost")
		m.salvaged("lost", payment.Done)
		m.Ledger.SetEpoch(2)
		time.Sleep(time.Hour)
		r := m.reconciler()
		r.Only = true
		if rep := r.Run(t.Context()); len(rep.Actions) != 1 || rep.Actions[0].Key != "lost" {
			t.Errorf("%+v", rep)
		}
	})
}

func TestDefects(t *testing.T) {
	for _, c := range []struct {
		defect  payment.Defect
		ends    payment.State
		charges int
	}{{payment.BlindCancel, payment.Cancelled, 1}, {payment.BlindRetry, payment.Done, 2}} {
		synctest.Test(t, func(t *testing.T) {
			m := platform(t)
			m.open("k")
			m.charge("k", "k")
			m.Ledger.SetEpoch(2)
			time.Sleep(time.Hour)
			m.reconciler(c.defect).Run(t.Context())
			row, err := m.Ledger.Find(t.Context(), "k")
			if err != nil || row.State != c.ends || m.Acquirer.Charges("k") != c.charges {
				t.Errorf("%s: %+v, %v, charged %d times", c.defect, row, err, m.Acquirer.Charges("k"))
			}
		})
	}
	if len(payment.ReconcilerDefects()) != 3 {
		t.Error("a defect without a test")
	}
}
