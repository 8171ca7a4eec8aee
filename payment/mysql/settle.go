package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/payment"
)

// The business date before the first one that is settled. Dates are the platform's own calendar: they advance with each
// settlement, not with the wall clock.
const dayZero = "2023-01-31"

// Settle implements payment.Settler. The table's key lets no date in twice, whoever else settles.
func (l *Ledger) Settle(ctx context.Context, w payment.Writer) (payment.Settlement, error) {
	s := payment.Settlement{Site: w.Site, Epoch: w.Epoch}
	err := l.transact(ctx, l.batch, func(tx *sql.Tx) (bool, error) {
		if err := inEpoch(ctx, tx, w); err != nil {
			return false, err
		}
		var settled int64
		err := tx.QueryRowContext(ctx, "SELECT DATE_FORMAT(DATE_ADD(COALESCE(MAX(business_date), '"+dayZero+"'), INTERVAL 1 DAY), '%Y-%m-%d'), COALESCE(SUM(settled), 0) FROM batch_runs FOR UPDATE").
			Scan(&s.Date, &settled)
		if err != nil {
			return false, fmt.Errorf("find next business date: %w", err)
		}
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM payments WHERE state = ?", payment.Done).Scan(&s.Payments); err != nil {
			return false, fmt.Errorf("count payments: %w", err)
		}
		s.Payments -= settled
		if _, err := tx.ExecContext(ctx, "INSERT INTO batch_runs (business_date, site, epoch, settled) VALUES (?, ?, ?, ?)", s.Date, s.Site, s.Epoch, s.Payments); err != nil {
			return false, fmt.Errorf("write business date %s: %w", s.Date, err)
		}
		return true, nil
	})
	if err != nil {
		return payment.Settlement{}, fmt.Errorf("settle: %w", err)
	}
	return s, nil
}

// inEpoch locks the epoch for the transaction, and refuses any but the writer's.
func inEpoch(ctx context.Context, tx *sql.Tx, w payment.Writer) error {
	var is int64
	var site string
	if err := tx.QueryRowContext(ctx, "SELECT epoch, site FROM epoch WHERE id = 1 FOR SHARE").Scan(&is, &site); err != nil {
		return fmt.Errorf("read epoch: %w", err)
	}
	if is != w.Epoch {
		return staleEpoch(w, is, site)
	}
	return nil
}

// Last implements payment.Settler.
func (l *Ledger) Last(ctx context.Context) (payment.Settlement, error) {
	var s payment.Settlement
	err := l.read.QueryRowContext(ctx, "SELECT DATE_FORMAT(business_date, '%Y-%m-%d'), site, epoch, settled FROM batch_runs ORDER BY business_date DESC LIMIT 1").
		Scan(&s.Date, &s.Site, &s.Epoch, &s.Payments)
	if errors.Is(err, sql.ErrNoRows) {
		err = payment.ErrNotFound
	}
	if err != nil {
		return payment.Settlement{}, fmt.Errorf("read last business date: %w", err)
	}
	return s, nil
}
