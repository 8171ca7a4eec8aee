package mysql

import (
	"context"
	"fmt"
	"time"

	"github.com/kirikae/kirikae/payment"
)

// age is a row's age in microseconds by the clock of the server that is asked.
const age = "TIMESTAMPDIFF(MICROSECOND, opened, CURRENT_TIMESTAMP(6))"

// Audit implements payment.Ledger.
func (l *Ledger) Audit(ctx context.Context, after string, limit int) ([]payment.Aged, error) {
	return l.aged(ctx, "audit payments", "WHERE pay_key > ? ORDER BY pay_key LIMIT ?", after, limit)
}

// Unfinished implements payment.Ledger.
func (l *Ledger) Unfinished(ctx context.Context, after string, limit int) ([]payment.Aged, error) {
	return l.aged(ctx, "list unfinished payments", "WHERE state = ? AND pay_key > ? ORDER BY pay_key LIMIT ?", payment.Pending, after, limit)
}

func (l *Ledger) aged(ctx context.Context, what, where string, args ...any) ([]payment.Aged, error) {
	rows, err := l.read.QueryContext(ctx, "SELECT "+columns+", "+age+" FROM payments "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer rows.Close()
	var out []payment.Aged
	for rows.Next() {
		var a payment.Aged
		var µs int64
		if err := rows.Scan(&a.Key, &a.From, &a.To, &a.Yen, &a.State, &a.Epoch, &a.Site, &a.Node, &µs); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		a.Age = max(0, time.Duration(µs)*time.Microsecond) // another server's clock may be ahead
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}
