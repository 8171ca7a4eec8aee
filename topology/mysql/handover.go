package mysql

import (
	"context"
	"database/sql"
	"time"
)

// stale is how long InnoDB's list of transactions may be old: MySQL copies it anew only when nobody has read it for 100 ms (manual,
// 17.15.2.3). Whoever asks again at once is shown what was, so a transaction that began in between would not be there.
const stale = 110 * time.Millisecond

// Writing counts the transactions that have changed rows and have not ended yet, whoever's they are but the replication's. On a
// server that is super_read_only none of them can commit any more. It takes a little longer than stale.
func (s *Server) Writing(ctx context.Context) (n int, err error) {
	err = s.do(ctx, "count open transactions", func(ctx context.Context, c *sql.Conn) error {
		select { // no read of the server says how old its copy is
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(stale):
		}
		return c.QueryRowContext(ctx, `SELECT COUNT(*) FROM information_schema.innodb_trx t
  JOIN performance_schema.threads h ON h.processlist_id = t.trx_mysql_thread_id
  WHERE t.trx_rows_modified > 0 AND h.name NOT LIKE 'thread/sql/replica%'`).Scan(&n)
	})
	return n, err
}
