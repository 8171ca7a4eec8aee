package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/payment"
)

// Cancel implements payment.Ledger, with the locks of Finish in the same order: the payment, then the epoch (shared).
func (l *Ledger) Cancel(ctx context.Context, key string, w payment.Writer) (payment.Payment, error) {
	var p payment.Payment
	err := l.transact(ctx, l.cancel, func(tx *sql.Tx) (bool, error) {
		var err error
		if p, err = scan(tx.QueryRowContext(ctx, "SELECT "+columns+" FROM payments WHERE pay_key = ? FOR UPDATE", key)); err != nil {
			return false, fmt.Errorf("lock it: %w", err)
		}
		switch p.State {
		case payment.Cancelled:
			return false, nil
		case payment.Done:
			return false, payment.ErrDone
		}
		if err := inEpoch(ctx, tx, w); err != nil {
			return false, err
		}
		p.State, p.Epoch, p.Site, p.Node = payment.Cancelled, w.Epoch, w.Site, w.Node
		if err := matched(1)(tx.ExecContext(ctx, "UPDATE payments SET state = ?, epoch = ?, site = ?, node = ? WHERE pay_key = ?",
			p.State, p.Epoch, p.Site, p.Node, key)); err != nil {
			return false, fmt.Errorf("set CANCELLED: %w", err)
		}
		return true, nil
	})
	if err != nil {
		if !errors.Is(err, payment.ErrDone) {
			p = payment.Payment{}
		}
		return p, fmt.Errorf("cancel payment %s: %w", key, err)
	}
	return p, nil
}

// Refunded implements payment.Ledger.
func (l *Ledger) Refunded(ctx context.Context, r payment.Refund, w payment.Writer) error {
	err := l.transact(ctx, l.cancel, func(tx *sql.Tx) (bool, error) {
		if err := inEpoch(ctx, tx, w); err != nil {
			return false, err
		}
		var yen int64
		err := tx.QueryRowContext(ctx, "SELECT yen FROM refunds WHERE pay_key = ? AND request = ? FOR UPDATE", r.Payment, r.Request).Scan(&yen)
		switch {
		case err == nil && yen != r.Yen:
			return false, fmt.Errorf("it is recorded with %d yen, not %d: %w", yen, r.Yen, payment.ErrConflict)
		case err == nil:
			return false, nil
		case !errors.Is(err, sql.ErrNoRows):
			return false, fmt.Errorf("look for it: %w", err)
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO refunds (pay_key, request, yen, epoch, site, node) VALUES (?, ?, ?, ?, ?, ?)",
			r.Payment, r.Request, r.Yen, w.Epoch, w.Site, w.Node)
		return true, err
	})
	if err != nil {
		return fmt.Errorf("record refund of payment %s: %w", r.Payment, err)
	}
	return nil
}

// Refunds implements payment.Ledger.
func (l *Ledger) Refunds(ctx context.Context) ([]payment.Refund, error) {
	rows, err := l.read.QueryContext(ctx, "SELECT pay_key, request, yen FROM refunds ORDER BY pay_key, request")
	if err != nil {
		return nil, fmt.Errorf("read refunds: %w", err)
	}
	defer rows.Close()
	var out []payment.Refund
	for rows.Next() {
		var r payment.Refund
		if err := rows.Scan(&r.Payment, &r.Request, &r.Yen); err != nil {
			return nil, fmt.Errorf("read refunds: %w", err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read refunds: %w", err)
	}
	return out, nil
}
