package mysql

import (
	"context"
	"database/sql"
	"errors"
	"strconv"

	"github.com/kirikae/kirikae/drill/history"
)

// Received reads what the replica had received from its source, and executed. What it holds is the union of both: the received
// set begins anew when the replica is pointed at a source, and ends when it is detached.
func (s *Server) Received(ctx context.Context) (history.ReceivedData, error) {
	d := history.ReceivedData{Node: s.name}
	err := s.do(ctx, "read received transactions", func(ctx context.Context, c *sql.Conn) error {
		return c.QueryRowContext(ctx, `SELECT COALESCE((SELECT received_transaction_set
  FROM performance_schema.replication_connection_status WHERE channel_name = ''), ''), @@global.gtid_executed`).Scan(&d.Received, &d.Executed)
	})
	d.Received, d.Executed = oneLine(d.Received), oneLine(d.Executed)
	return d, err
}

// NewestCanary reads the youngest canary row that a site wrote: its id and the instant it carries. Without any the id is "".
func (s *Server) NewestCanary(ctx context.Context, site string) (id string, t history.Instant, err error) {
	err = s.do(ctx, "read newest canary", func(ctx context.Context, c *sql.Conn) error {
		err := c.QueryRowContext(ctx, "SELECT id, t FROM pay.canary WHERE site = ? ORDER BY t DESC LIMIT 1", site).Scan(&id, &t)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return id, t, err
}

// Snapshot reads all balances and statements in one consistent read.
func (s *Server) Snapshot(ctx context.Context) (history.SnapshotData, error) {
	var d history.SnapshotData
	err := s.do(ctx, "read snapshot", func(ctx context.Context, c *sql.Conn) error {
		return consistent(ctx, c, func() (err error) {
			d, err = s.snapshot(ctx, c)
			return err
		})
	})
	return d, err
}

// Rows reads the whole ledger in one consistent read: payments, balances, and the GTIDs that the server has executed.
func (s *Server) Rows(ctx context.Context) (history.LedgerRows, error) {
	l := history.LedgerRows{Node: s.name}
	err := s.do(ctx, "read ledger", func(ctx context.Context, c *sql.Conn) error {
		return consistent(ctx, c, func() (err error) {
			l.T = history.Monotonic{}.Now()
			if l.Snapshot, err = s.snapshot(ctx, c); err != nil {
				return err
			}
			if l.Payments, err = payments(ctx, c); err != nil {
				return err
			}
			// Not part of the snapshot, and may be ahead of it while somebody writes.
			if err := c.QueryRowContext(ctx, "SELECT @@global.gtid_executed").Scan(&l.Executed); err != nil {
				return err
			}
			l.Executed = oneLine(l.Executed)
			return nil
		})
	})
	return l, err
}

// consistent runs f inside one REPEATABLE READ snapshot.
func consistent(ctx context.Context, c *sql.Conn, f func() error) error {
	if err := run(ctx, c, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"); err != nil {
		return err
	}
	err := f()
	if rerr := run(ctx, c, "ROLLBACK"); err == nil {
		err = rerr
	}
	return err
}

func (s *Server) snapshot(ctx context.Context, c *sql.Conn) (history.SnapshotData, error) {
	d := history.SnapshotData{Node: s.name, Mismatched: []string{}}
	err := c.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(SUM(balance), 0), COALESCE(SUM(opening), 0) FROM pay.accounts").Scan(&d.Accounts, &d.Balance, &d.Constant)
	if err != nil {
		return d, err
	}
	err = c.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(SUM(amount), 0) FROM pay.entries").Scan(&d.Entries, &d.EntrySum)
	if err != nil {
		return d, err
	}
	// An entry of an account that does not exist is a mismatch too.
	rows, err := c.QueryContext(ctx, `SELECT a.id FROM pay.accounts a
  LEFT JOIN (SELECT account, SUM(amount) AS moved FROM pay.entries GROUP BY account) e ON e.account = a.id
  WHERE a.balance <> a.opening + COALESCE(e.moved, 0)
UNION ALL
SELECT DISTINCT e.account FROM pay.entries e LEFT JOIN pay.accounts a ON a.id = e.account WHERE a.id IS NULL`)
	if err != nil {
		return d, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return d, err
		}
		d.Mismatched = append(d.Mismatched, strconv.FormatInt(id, 10))
	}
	return d, rows.Err()
}

func payments(ctx context.Context, c *sql.Conn) ([]history.PaymentRow, error) {
	rows, err := c.QueryContext(ctx, "SELECT pay_key, state, yen, epoch FROM pay.payments ORDER BY pay_key")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []history.PaymentRow{}
	for rows.Next() {
		var p history.PaymentRow
		if err := rows.Scan(&p.Key, &p.State, &p.Yen, &p.Epoch); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

// Transactions reads the server's binary logs, oldest first, and returns the transactions that are tagged pay, each with the
// payment that its statement's comment names (/* pay:KEY */). A tagged transaction without such a comment has an empty key: it is
// for judges to say what that means.
func (s *Server) Transactions(ctx context.Context) ([]history.Transaction, error) {
	var all []history.Transaction
	err := s.do(ctx, "read binary logs", func(ctx context.Context, c *sql.Conn) error {
		logs, err := binaryLogs(ctx, c)
		if err != nil {
			return err
		}
		var p parser
		for _, log := range logs {
			if err := binlogEvents(ctx, c, log, &p); err != nil {
				return err
			}
		}
		all = p.found
		return nil
	})
	return all, err
}

func binaryLogs(ctx context.Context, c *sql.Conn) ([]string, error) {
	rows, err := c.QueryContext(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var logs []string
	for rows.Next() {
		var name, encrypted string
		var size int64
		if err := rows.Scan(&name, &size, &encrypted); err != nil {
			return nil, err
		}
		logs = append(logs, name)
	}
	return logs, rows.Err()
}

func binlogEvents(ctx context.Context, c *sql.Conn, log string, p *parser) error {
	rows, err := c.QueryContext(ctx, "SHOW BINLOG EVENTS IN "+quote(log))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, kind, info string
		var pos, server, end int64
		if err := rows.Scan(&name, &pos, &kind, &server, &end, &info); err != nil {
			return err
		}
		if err := p.event(kind, info); err != nil {
			return statef("%s at %d: %v", name, pos, err)
		}
	}
	return rows.Err()
}
