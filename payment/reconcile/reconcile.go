// Package reconcile is 突合 (article 001): a process of its own that compares ledger, journal and acquirer, and completes what
// interrupted payments left undone. It moves forward wherever the acquirer has charged, and cancels what was never charged, in
// such a way that it never can be.
//
// It leaves payments alone that are younger than its grace: their customers' requests may still be at work on them. Each repair
// is the same idempotent step that the application takes (package forward); a second run over stores that agree changes nothing.
// A payment whose row was lost with its region is made again when the acquirer has charged it and not given it back, since the
// customer has paid, or when the salvage shows that the lost region had promised it; and only if all who know it agree on what
// it was. What they disagree on is counted and left to people.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/forward"
	"github.com/kirikae/kirikae/payment/internal/mono"
)

// Reconciler makes runs.
type Reconciler struct {
	Writer   payment.Writer
	Ledger   payment.Ledger
	Journal  payment.Journal
	Acquirer payment.Acquirer
	Grace    time.Duration              // payments younger than this are left alone
	Salvage  map[string]payment.Payment // rows of a lost region, by key
	Only     bool                       // reconcile nothing but the salvaged rows
	Defects  []payment.Defect
	Log      *slog.Logger
}

// pageOf is how many rows are read at once.
const pageOf = 1000

// rounds is how many repairs one payment may need in one run: it can lack its row, be charged twice and miss a refund row.
const rounds = 5

// Run compares everything once and repairs what it may. What it could not read or do stands in the report; it is no error of the
// run's caller, since the next run tries again.
func (r *Reconciler) Run(ctx context.Context) Report {
	began := time.Now()
	rep := Report{
		T: mono.Now(), Node: r.Writer.Node, Site: r.Writer.Site, Epoch: r.Writer.Epoch, Grace: Duration(r.Grace), Salvaged: len(r.Salvage), Only: r.Only,
		Mismatches: map[string]int{}, Keys: []string{}, Repaired: map[string]int{}, Actions: []Action{}, Unresolved: []Item{}, Failed: []Item{},
	}
	if err := r.run(ctx, &rep); err != nil {
		rep.Error = err.Error()
	}
	rep.Took = Duration(time.Since(began))
	return rep
}

func (r *Reconciler) run(ctx context.Context, rep *Report) error {
	if err := r.Ledger.Ready(ctx, r.Writer); err != nil {
		return fmt.Errorf("the ledger takes no repairs: %w", err)
	}
	views, err := r.views(ctx, rep)
	if err != nil {
		return err
	}
	var keys []string
	for key, v := range views {
		if r.Only && v.salvaged == nil {
			continue
		}
		kind, _ := v.kind()
		if kind == Agrees {
			continue
		}
		if v.age() < r.Grace && !slices.Contains(r.Defects, payment.TouchYoung) {
			rep.Young++
			continue
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("stopped before payment %s: %w", key, err)
		}
		if err := r.settle(ctx, rep, *views[key]); err != nil {
			return err
		}
	}
	return nil
}

// views reads all three. Each payment that seems not to agree is looked at once more before anything is done about it, so the
// moments of these reads need not be one.
func (r *Reconciler) views(ctx context.Context, rep *Report) (map[string]*view, error) {
	all := map[string]*view{}
	of := func(key string) *view {
		v := all[key]
		if v == nil {
			v = &view{key: key, account: payment.Account{Payment: key}, recorded: map[string]bool{}}
			if p, ok := r.Salvage[key]; ok {
				v.salvaged = &p
			}
			all[key] = v
		}
		return v
	}
	for key := range r.Salvage {
		of(key)
	}
	events, err := r.Journal.Events(ctx)
	if err != nil {
		return nil, err
	}
	for i, e := range events {
		of(e.Key).event = &events[i]
	}
	accounts, err := r.Acquirer.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		of(a.Payment).account = a
	}
	for after := ""; ; {
		rows, err := r.Ledger.Audit(ctx, after, pageOf)
		if err != nil {
			return nil, err
		}
		for i, p := range rows {
			of(p.Key).row = &rows[i]
			after = p.Key
		}
		rep.Rows += len(rows)
		if len(rows) < pageOf {
			break
		}
	}
	refunds, err := r.Ledger.Refunds(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range refunds {
		of(f.Payment).recorded[f.Request] = true
	}
	rep.Events, rep.Accounts = len(events), len(accounts)
	return all, nil
}

// look reads one payment again. A row that was not there when all were read is a young one.
func (r *Reconciler) look(ctx context.Context, was view) (v view, young bool, err error) {
	v = view{key: was.key, recorded: map[string]bool{}, salvaged: was.salvaged}
	p, err := r.Ledger.Find(ctx, v.key)
	switch {
	case errors.Is(err, payment.ErrNotFound):
	case err != nil:
		return v, false, err
	case was.row == nil:
		return v, true, nil
	default:
		v.row = &payment.Aged{Payment: p, Age: was.row.Age}
	}
	e, err := r.Journal.Event(ctx, v.key)
	switch {
	case err == nil:
		v.event = &e
	case !errors.Is(err, payment.ErrNotFound):
		return v, false, err
	}
	if v.account, err = r.Acquirer.Status(ctx, v.key); err != nil {
		return v, false, err
	}
	if len(v.account.Charges) > len(v.account.Held()) {
		refunds, err := r.Ledger.Refunds(ctx)
		if err != nil {
			return v, false, err
		}
		for _, f := range refunds {
			if f.Payment == v.key {
				v.recorded[f.Request] = true
			}
		}
	}
	return v, false, nil
}

// settle repairs one payment until it agrees. Only an error that concerns all payments is returned.
func (r *Reconciler) settle(ctx context.Context, rep *Report, was view) error {
	var last string
	var age time.Duration // before any repair
	for round := range rounds {
		v, young, err := r.look(ctx, was)
		if err != nil {
			rep.Failed = append(rep.Failed, Item{was.key, last, err.Error()})
			return nil
		}
		kind, why := v.kind()
		if round == 0 {
			age = v.age()
			if young || age < r.Grace && !slices.Contains(r.Defects, payment.TouchYoung) { // somebody came in between
				rep.Young++
				return nil
			}
			if kind != Agrees {
				rep.Mismatches[kind]++
				rep.Keys = append(rep.Keys, v.key)
			}
		}
		last = kind
		switch kind {
		case Agrees:
			return nil
		case OrphanEvent, UnknownAccounts, Conflict:
			rep.Unresolved = append(rep.Unresolved, Item{v.key, kind, why})
			return nil
		}
		if err := r.Ledger.Ready(ctx, r.Writer); err != nil { // the acquirer knows no epochs: a writer that was fenced must not reach it
			return fmt.Errorf("the ledger takes no more repairs: %w", err)
		}
		did, err := r.repair(ctx, v, kind)
		if err != nil {
			r.Log.Warn("not repaired", "payment", v.key, "kind", kind, "error", err)
			rep.Failed = append(rep.Failed, Item{v.key, kind, err.Error()})
			return nil
		}
		r.Log.Info("repaired", "payment", v.key, "kind", kind, "did", did, "age", age)
		rep.Actions = append(rep.Actions, Action{T: mono.Now(), Key: v.key, Kind: kind, Did: did, Age: Duration(age)})
		rep.Repaired[did]++
		if was.row == nil { // it has been made
			was.row = &payment.Aged{}
		}
	}
	rep.Failed = append(rep.Failed, Item{was.key, last, fmt.Sprintf("it does not agree after %d repairs", rounds)})
	return nil
}

// repair takes one step towards agreement, and says what it did.
func (r *Reconciler) repair(ctx context.Context, v view, kind string) (did string, err error) {
	f := &forward.Recoverer{Writer: r.Writer, Ledger: r.Ledger, Journal: r.Journal, Acquirer: r.Acquirer, Defects: r.Defects, Log: r.Log}
	uncharged := forward.Cancel
	if v.promised() {
		uncharged = forward.Charge
	}
	switch kind {
	case Pending:
		row, err := f.End(ctx, v.row.Payment, uncharged)
		return ended(row), err
	case Lost:
		body, _, _ := v.body()
		row, _, err := r.Ledger.Open(ctx, body, r.Writer)
		if errors.Is(err, payment.ErrNoAccount) { // it can never be finished: the customer gets his money back
			return DidRefund, f.GiveBack(ctx, v.account, v.account.Charges)
		}
		if err != nil {
			return "", err
		}
		if row.State == payment.Pending {
			_, err = f.End(ctx, row, uncharged)
		}
		return DidRecreate, err
	case NoEvent, OtherEvent: // the ledger is right: money moved by it
		return DidEvent, r.Journal.Append(ctx, forward.EventOf(v.row.Payment))
	case Uncharged:
		_, err := r.Acquirer.Charge(ctx, forward.ChargeOf(v.row.Payment))
		return DidCharge, err
	case ChargedTwice:
		return DidRefund, f.GiveBack(ctx, v.account, surplus(v.account))
	case CancelledCharged:
		return DidRefund, f.GiveBack(ctx, v.account, v.account.Charges)
	case CancelledOpen:
		return DidVoid, f.Close(ctx, v.row.Payment)
	case Unrecorded:
		var refunded []payment.Charged
		for _, c := range v.account.Charges {
			if c.Refunded {
				refunded = append(refunded, c)
			}
		}
		return DidRecord, f.GiveBack(ctx, v.account, refunded)
	}
	return "", fmt.Errorf("no repair is known for %q", kind)
}

func ended(row payment.Payment) string {
	if row.State == payment.Done {
		return DidFinish
	}
	return DidCancel
}

// surplus are all held charges but one: that of the payment's own request key where it is among them, else the oldest.
func surplus(a payment.Account) []payment.Charged {
	held := a.Held()
	keep := max(0, slices.IndexFunc(held, func(c payment.Charged) bool { return c.Request == a.Payment }))
	return slices.Delete(held, keep, keep+1)
}

// Summary is a report in one line, for logs.
func (r Report) Summary() string {
	var parts []string
	for kind, n := range r.Mismatches {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(parts)
	return fmt.Sprintf("%d payments did not agree (%s), %d repairs, %d young, %d left to people, %d failed", r.Found(), strings.Join(parts, ", "), len(r.Actions), r.Young, len(r.Unresolved), len(r.Failed))
}
