package mysql

import (
	"context"
	"database/sql"

	"github.com/kirikae/kirikae/drill/salvage"
)

// Holdings reads all of the platform's payments, statements, refunds and accounts in one consistent read. Executed is what the
// server had executed before it: whatever is committed while it reads may or may not be in the rows.
func (s *Server) Holdings(ctx context.Context) (salvage.Holdings, error) {
	var h salvage.Holdings
	err := s.do(ctx, "read holdings", func(ctx context.Context, c *sql.Conn) error {
		if err := c.QueryRowContext(ctx, "SELECT @@global.server_uuid, @@global.gtid_executed").Scan(&h.UUID, &h.Executed); err != nil {
			return err
		}
		h.Executed = oneLine(h.Executed)
		return consistent(ctx, c, func() (err error) {
			h.Payments, err = list(ctx, c, "SELECT pay_key, from_account, to_account, yen, state, epoch, site, node FROM pay.payments ORDER BY pay_key",
				func(p *salvage.Payment) []any {
					return []any{&p.Key, &p.From, &p.To, &p.Yen, &p.State, &p.Epoch, &p.Site, &p.Node}
				})
			if err != nil {
				return err
			}
			h.Entries, err = list(ctx, c, "SELECT account, pay_key, amount FROM pay.entries ORDER BY account, pay_key",
				func(e *salvage.Entry) []any { return []any{&e.Account, &e.Key, &e.Amount} })
			if err != nil {
				return err
			}
			h.Refunds, err = list(ctx, c, "SELECT pay_key, request, yen, epoch FROM pay.refunds ORDER BY pay_key, request",
				func(r *salvage.Refund) []any { return []any{&r.Key, &r.Request, &r.Yen, &r.Epoch} })
			if err != nil {
				return err
			}
			h.Accounts, err = list(ctx, c, "SELECT id, opening, balance FROM pay.accounts ORDER BY id",
				func(a *salvage.Account) []any { return []any{&a.ID, &a.Opening, &a.Balance} })
			return err
		})
	})
	return h, err
}

// list reads all rows of a query.
func list[T any](ctx context.Context, c *sql.Conn, query string, fields func(*T) []any) ([]T, error) {
	rows, err := c.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []T{}
	for rows.Next() {
		var x T
		if err := rows.Scan(fields(&x)...); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, rows.Err()
}

// Purged reads which transactions the server has executed and no longer has in its binary logs: a replica that lacks one of them
// cannot get it from here.
func (s *Server) Purged(ctx context.Context) (set string, err error) {
	err = s.do(ctx, "read purged transactions", func(ctx context.Context, c *sql.Conn) error {
		return c.QueryRowContext(ctx, "SELECT @@global.gtid_purged").Scan(&set)
	})
	return oneLine(set), err
}

// OneSession executes statements in turn in a session of its own, which is thrown away: what they set for it ends with it.
func (s *Server) OneSession(ctx context.Context, statements []string) error {
	return s.do(ctx, "execute", func(ctx context.Context, c *sql.Conn) error {
		defer discard(c)
		return run(ctx, c, statements...)
	})
}
