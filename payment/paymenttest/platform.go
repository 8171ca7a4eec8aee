package paymenttest

import (
	"errors"
	"fmt"
	"sort"

	"github.com/kirikae/kirikae/payment"
)

// Platform is the storage of one region in memory, and the acquirer.
type Platform struct {
	Ledger   *Ledger
	Journal  *Journal
	Acquirer *Acquirer
}

// NewPlatform makes one of 10 accounts with 1000 yen each, in epoch 1.
func NewPlatform() Platform {
	return Platform{NewLedger(10, 1000, 1), NewJournal(), NewAcquirer()}
}

// Fail sets a failure for all of it, before first use.
func (p Platform) Fail(f Failure) { p.Ledger.Fail, p.Journal.Fail, p.Acquirer.Fail = f, f, f }

// Once fails the nth call of a method, before or after its effect, and no other.
func Once(method string, nth int, before, after error) Failure {
	return func(m, _ string) (error, error) {
		if m != method {
			return nil, nil
		}
		if nth--; nth != 0 {
			return nil, nil
		}
		return before, after
	}
}

// Disagreements tells what is not at its end, or where ledger, journal and acquirer do not agree on it, sentence by sentence. It
// reads the values themselves: no failure is in its way.
func (p Platform) Disagreements() []string {
	l, j, a := p.Ledger, p.Journal, p.Acquirer
	l.mu.Lock()
	defer l.mu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }

	var charged, refunded, moved int64
	for key, row := range l.payments {
		x := a.accounts[key]
		if x == nil {
			x = &payment.Account{Payment: key}
		}
		event, told := j.events[key]
		switch row.State {
		case payment.Done:
			moved += row.Yen
			if held := x.Held(); len(held) != 1 || held[0].Yen != row.Yen {
				say("%s is DONE with %d yen, and the acquirer holds %v", key, row.Yen, held)
			}
			if !told || event.Yen != row.Yen {
				say("%s is DONE, and its event is %+v", key, event)
			}
		case payment.Cancelled:
			if !x.Closed() {
				say("%s is CANCELLED, and open at the acquirer: %+v", key, *x)
			}
			if told {
				say("%s is CANCELLED and has an event", key)
			}
		default:
			say("%s is %s", key, row.State)
		}
	}
	for key := range j.events {
		if _, ok := l.payments[key]; !ok {
			say("%s has an event and no row", key)
		}
	}
	for key, x := range a.accounts {
		if _, ok := l.payments[key]; !ok && len(x.Held()) > 0 {
			say("%s was charged and has no row", key)
		}
		for _, c := range x.Charges {
			charged += c.Yen
			r, recorded := l.refunds[[2]string{key, c.Request}]
			if c.Refunded {
				refunded += c.Yen
			}
			if c.Refunded != recorded || recorded && r.Yen != c.Yen {
				say("%s: charge %+v, refund row %+v", key, c, r)
			}
		}
	}
	if charged-refunded != moved {
		say("%d yen were charged, %d given back, and %d moved", charged, refunded, moved)
	}
	sort.Strings(out)
	return out
}

// ErrLost is an error that leaves an outcome open.
var ErrLost = errors.New("connection lost")
