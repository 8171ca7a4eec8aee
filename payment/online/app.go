// Package online is the application: it takes payments and moves them forward through the acquirer and both stores (articles
// 001 and 002). App is the flow, over the storage interfaces alone; Node is one running application node around it.
package online

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/forward"
)

// App pays. It is a plain value: everything from outside comes in here.
type App struct {
	Writer   payment.Writer
	Ledger   payment.Ledger
	Journal  payment.Journal
	Acquirer payment.Acquirer
	Defects  []payment.Defect
	Log      *slog.Logger

	late sync.WaitGroup // commits that AckBeforeCommit put off
}

// lateness of the commits that AckBeforeCommit puts off, and the time they may then take.
const (
	ackLead   = 2 * time.Second // longer than a container engine takes to kill a region
	lateLimit = 5 * time.Second
)

// Pay makes a payment, or ends what an earlier attempt with its key left undone: row, charge, money, event. Of a payment that it
// finds PENDING it asks the acquirer's status first, so that work which was done already is not asked for again (article 001).
//
// A nil error is a promise by both stores. An error that is payment.ErrNotExecuted proves that this payment was not charged by
// this attempt, and that no earlier one had begun it; payment.ErrCancelled, that it never will be done under this key. After any
// other error its outcome is unknown, and the same key asked again finishes it.
func (a *App) Pay(ctx context.Context, p payment.Payment) (payment.Payment, error) {
	if a.has(payment.CachedAnswer) {
		if row, ok := a.cached(ctx, p); ok {
			return row, nil
		}
	}
	row, fresh, err := a.Ledger.Open(ctx, p, a.Writer)
	if err != nil {
		if errors.Is(err, payment.ErrStaleEpoch) && row.State != "" { // an earlier attempt may have charged it
			return payment.Payment{}, unsure{err}
		}
		return payment.Payment{}, err
	}
	switch row.State {
	case payment.Pending:
		row, err = a.forward(ctx, row, fresh)
	case payment.Done: // it may lack its event: it is written again, as it would have been
		err = a.Journal.Append(ctx, forward.EventOf(row))
	case payment.Cancelled: // it may lack its refund
		if !a.has(payment.BlindCancel) {
			err = a.Recoverer().Close(ctx, row)
		}
	}
	if err == nil && row.State == payment.Cancelled {
		return row, payment.NotExecuted(fmt.Errorf("payment %s: %w", p.Key, payment.ErrCancelled))
	}
	if err != nil {
		return payment.Payment{}, unsure{err}
	}
	return row, nil
}

// forward brings a PENDING payment to its end. What this attempt opened itself nobody can have charged.
func (a *App) forward(ctx context.Context, row payment.Payment, fresh bool) (payment.Payment, error) {
	if !fresh && !a.blind() {
		return a.Recoverer().End(ctx, row, forward.Charge)
	}
	if err := a.charge(ctx, row); err != nil {
		if errors.Is(err, payment.ErrClosed) { // it was cancelled on its way
			return a.Recoverer().End(ctx, row, forward.Charge)
		}
		return row, err
	}
	if a.has(payment.AckBeforeCommit) {
		return a.acknowledgeEarly(row), nil
	}
	row, err := a.Ledger.Finish(ctx, row.Key, a.Writer)
	if errors.Is(err, payment.ErrCancelled) { // likewise: what was charged is given back
		return row, a.Recoverer().Close(ctx, row)
	}
	if err != nil {
		return row, err
	}
	return row, a.Journal.Append(ctx, forward.EventOf(row))
}

// blind says whether this application never asks the acquirer what became of a payment: its defect is older than the question. It
// does not end at its start what was interrupted either, which would heal what the defect has lost.
func (a *App) blind() bool { return a.has(payment.AckBeforeCommit) || a.has(payment.NewRequestKey) }

// Recoverer ends interrupted payments as this application.
func (a *App) Recoverer() *forward.Recoverer {
	return &forward.Recoverer{Writer: a.Writer, Ledger: a.Ledger, Journal: a.Journal, Acquirer: a.Acquirer, Defects: a.Defects, Log: a.Log}
}

// cached is the defect cached-answer: whatever the acquirer has charged is answered as done, and no store is asked.
func (a *App) cached(ctx context.Context, p payment.Payment) (payment.Payment, bool) {
	x, err := a.Acquirer.Status(ctx, p.Key)
	if err != nil || len(x.Held()) == 0 {
		return payment.Payment{}, false
	}
	a.Log.Warn("defect acts: answered without the stores", "defect", payment.CachedAnswer, "payment", p.Key)
	p.State, p.Epoch, p.Site, p.Node = payment.Done, a.Writer.Epoch, a.Writer.Site, a.Writer.Node
	return p, true
}

// charge asks the acquirer with the payment's id as request key, so that any attempt of any node at any time is the same request.
func (a *App) charge(ctx context.Context, p payment.Payment) error {
	request := p.Key
	if a.has(payment.NewRequestKey) {
		request = rand.Text()
		a.Log.Warn("defect acts: new request key", "defect", payment.NewRequestKey, "payment", p.Key, "request", request)
	}
	c := forward.ChargeOf(p)
	c.Request = request
	_, err := a.Acquirer.Charge(ctx, c)
	return err
}

// acknowledgeEarly is the defect ack-before-commit: it returns the answer that only both stores could give, and asks them later.
func (a *App) acknowledgeEarly(p payment.Payment) payment.Payment {
	a.Log.Warn("defect acts: acknowledged before commit", "defect", payment.AckBeforeCommit, "payment", p.Key)
	a.late.Go(func() {
		time.Sleep(ackLead) // the defect itself: time in which a loss goes unseen
		ctx, cancel := context.WithTimeout(context.Background(), lateLimit)
		defer cancel()
		done, err := a.Ledger.Finish(ctx, p.Key, a.Writer)
		if err == nil {
			err = a.Journal.Append(ctx, forward.EventOf(done))
		}
		if err != nil {
			a.Log.Error("defect acted: an acknowledged payment was not committed", "payment", p.Key, "error", err)
		}
	})
	p.State, p.Epoch, p.Site, p.Node = payment.Done, a.Writer.Epoch, a.Writer.Site, a.Writer.Node
	return p
}

// Probe writes a tiny row to both stores, the ledger first: its refusal proves that nothing was written.
func (a *App) Probe(ctx context.Context, p payment.Probe) error {
	if err := a.Ledger.Probe(ctx, p, a.Writer); err != nil {
		return err
	}
	if err := a.Journal.Probe(ctx, p); err != nil {
		return unsure{err}
	}
	return nil
}

// Ready says why the application could not take a payment now, or nil.
func (a *App) Ready(ctx context.Context) (ledger, journal error) {
	var both sync.WaitGroup
	both.Go(func() { ledger = a.Ledger.Ready(ctx, a.Writer) })
	both.Go(func() { journal = a.Journal.Ready(ctx) })
	both.Wait()
	return ledger, journal
}

// Wait returns when no put-off commit is left. Call it after the last request.
func (a *App) Wait() { a.late.Wait() }

func (a *App) has(d payment.Defect) bool { return slices.Contains(a.Defects, d) }

// unsure hides from errors.Is what a later step of a payment could prove about itself alone: the payment as a whole may have
// happened.
type unsure struct{ err error }

func (u unsure) Error() string { return fmt.Sprintf("outcome unknown: %v", u.err) }
