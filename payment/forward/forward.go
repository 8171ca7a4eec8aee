// Package forward ends an interrupted payment (article 001): it asks the acquirer for the payment's status first, and then goes on
// to the end that the status names. What was charged becomes DONE; what was not is charged for a customer who still asks, or is
// cancelled for good; what was charged and cannot become DONE is given back, with a record of it in both places.
//
// Each step is one effect that is harmless when repeated, so that whoever comes next, after a crash between any two of them,
// goes on where the last one stopped. The application does so at its start and when a key is asked again; the reconciler does so
// for everybody else.
package forward

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/kirikae/kirikae/payment"
)

// Recoverer ends payments as one writer.
type Recoverer struct {
	Writer   payment.Writer
	Ledger   payment.Ledger
	Journal  payment.Journal
	Acquirer payment.Acquirer
	Defects  []payment.Defect
	Log      *slog.Logger
}

// Uncharged says what becomes of a PENDING payment that the acquirer has not charged.
type Uncharged int

// What may become of it.
const (
	Leave  Uncharged = iota // nothing: its customer may still ask again
	Charge                  // it is charged and finished: its customer asks again right now
	Cancel                  // it is voided at the acquirer, so that nobody can charge it any more, and cancelled
)

// End brings a payment that was found PENDING to its end, and returns its row: DONE with its event, CANCELLED, or PENDING where
// nothing was charged and it is left.
func (r *Recoverer) End(ctx context.Context, p payment.Payment, uncharged Uncharged) (payment.Payment, error) {
	switch {
	case r.has(payment.BlindCancel):
		r.Log.Warn("defect acts: cancelled without asking", "defect", payment.BlindCancel, "payment", p.Key)
		row, err := r.Ledger.Cancel(ctx, p.Key, r.Writer)
		if errors.Is(err, payment.ErrDone) {
			return row, r.Journal.Append(ctx, EventOf(row))
		}
		return row, err
	case r.has(payment.BlindRetry):
		request := rand.Text()
		r.Log.Warn("defect acts: charged again without asking", "defect", payment.BlindRetry, "payment", p.Key, "request", request)
		if _, err := r.Acquirer.Charge(ctx, payment.Charge{Payment: p.Key, Request: request, Yen: p.Yen, From: p.From, To: p.To}); err != nil {
			return p, err
		}
		return r.finish(ctx, p, payment.Account{})
	}
	a, err := r.Acquirer.Status(ctx, p.Key)
	if err != nil {
		return p, err
	}
	if len(a.Charges) == 0 && !a.Voided {
		switch uncharged {
		case Leave:
			return p, nil
		case Charge:
			_, err := r.Acquirer.Charge(ctx, ChargeOf(p))
			if errors.Is(err, payment.ErrClosed) { // somebody cancels it at this moment
				return r.cancel(ctx, p)
			}
			if err != nil {
				return p, err
			}
			return r.finish(ctx, p, payment.Account{})
		case Cancel:
			if a, err = r.Acquirer.Void(ctx, p.Key); err != nil {
				return p, err
			}
		}
	}
	if a.Closed() {
		return r.cancel(ctx, p)
	}
	return r.finish(ctx, p, a)
}

// finish goes forward: money, then the event. A payment that turns out to be CANCELLED gives its charges back instead.
func (r *Recoverer) finish(ctx context.Context, p payment.Payment, a payment.Account) (payment.Payment, error) {
	for _, c := range a.Held() {
		if c.Yen != p.Yen {
			return p, fmt.Errorf("finish payment %s: the acquirer charged %d yen for it, its row says %d: %w", p.Key, c.Yen, p.Yen, payment.ErrConflict)
		}
	}
	row, err := r.Ledger.Finish(ctx, p.Key, r.Writer)
	if errors.Is(err, payment.ErrCancelled) {
		return row, r.Close(ctx, row)
	}
	if err != nil {
		return p, err
	}
	return row, r.Journal.Append(ctx, EventOf(row))
}

// cancel ends a payment that the acquirer holds nothing of.
func (r *Recoverer) cancel(ctx context.Context, p payment.Payment) (payment.Payment, error) {
	row, err := r.Ledger.Cancel(ctx, p.Key, r.Writer)
	if err != nil {
		return p, err
	}
	return row, r.Close(ctx, row)
}

// Close makes a CANCELLED payment's end agree with the acquirer: nothing of it is held there, nothing will be charged, and each
// refund stands in the ledger.
func (r *Recoverer) Close(ctx context.Context, p payment.Payment) error {
	a, err := r.Acquirer.Void(ctx, p.Key)
	if err != nil {
		return err
	}
	return r.GiveBack(ctx, a, a.Charges)
}

// GiveBack refunds charges of a payment and records it. Those that were given back before are recorded only.
func (r *Recoverer) GiveBack(ctx context.Context, a payment.Account, charges []payment.Charged) error {
	for _, c := range charges {
		f := payment.Refund{Payment: a.Payment, Request: c.Request, Yen: c.Yen}
		if !c.Refunded {
			if _, err := r.Acquirer.Refund(ctx, f); err != nil {
				return err
			}
		}
		if err := r.Ledger.Refunded(ctx, f, r.Writer); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recoverer) has(d payment.Defect) bool { return slices.Contains(r.Defects, d) }

// ChargeOf is the one charge of a payment. Its id is the request key, so that any attempt of any node at any time is the same
// request.
func ChargeOf(p payment.Payment) payment.Charge {
	return payment.Charge{Payment: p.Key, Request: p.Key, Yen: p.Yen, From: p.From, To: p.To}
}

// EventOf is the event of a payment that is DONE.
func EventOf(p payment.Payment) payment.Event {
	return payment.Event{Key: p.Key, Yen: p.Yen, Epoch: p.Epoch, Site: p.Site}
}
