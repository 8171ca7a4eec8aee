package mysql

import (
	"context"
	"database/sql"
)

// Writing counts the transactions that have changed rows and have not ended yet, whoever's they are but the replication's. On a
// server that is super_read_only none of them can commit any more.
func (s *Server) Writing(ctx context.Context) (n int, err error) {
	err = s.do(ctx, "count open transactions", func(ctx context.Context, c *sql.Conn) error {
		return c.QueryRowContext(ctx, `SELECT COUNT(*) FROM information_schema.innodb_trx t
  JOIN performance_schema.threads h ON h.processlist_id = t.trx_mysql_thread_id
  WHERE t.trx_rows_modified > 0 AND h.name NOT LIKE 'thread/sql/replica%'`).Scan(&n)
	})
	return n, err
}
