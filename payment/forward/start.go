package forward

import (
	"context"
	"errors"
	"time"

	"github.com/kirikae/kirikae/payment"
)

// Recovered counts what a node did with the payments that it found PENDING at its start.
type Recovered struct {
	Complete  bool   `json:"complete"` // all of them were looked at, without an error
	Finished  int    `json:"finished"`
	Cancelled int    `json:"cancelled"`
	Left      int    `json:"left"` // not charged: left to their customers, and in the end to the reconciler
	Error     string `json:"error,omitempty"`
}

// page is how many rows are read at once.
const page = 500

// Start looks once at all payments that were interrupted before this node started: those of another epoch, whose writers are
// fenced, and those that an earlier process of this node left behind. up is how long this process has been running. Payments
// that another node of the same epoch may still be working on are not touched, however old.
func (r *Recoverer) Start(ctx context.Context, up func() time.Duration) Recovered {
	var n Recovered
	var failed error
	for after := ""; ; {
		rows, err := r.Ledger.Unfinished(ctx, after, page)
		if err != nil {
			failed = errors.Join(failed, err)
			break
		}
		for _, p := range rows {
			after = p.Key
			if p.Epoch == r.Writer.Epoch && (p.Node != r.Writer.Node || p.Age < up()) {
				continue
			}
			row, err := r.End(ctx, p.Payment, Leave)
			switch {
			case err != nil:
				if failed == nil {
					failed = err
				}
			case row.State == payment.Done:
				n.Finished++
			case row.State == payment.Cancelled:
				n.Cancelled++
			default:
				n.Left++
			}
		}
		if len(rows) < page || ctx.Err() != nil {
			break
		}
	}
	if failed == nil {
		failed = ctx.Err()
	}
	if n.Complete = failed == nil; failed != nil {
		n.Error = failed.Error()
	}
	return n
}
