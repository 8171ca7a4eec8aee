package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/kirikae/kirikae/topology"
)

// reads are the statements that Query takes.
func reads() []string { return []string{"SELECT", "SHOW", "TABLE", "VALUES", "WITH", "EXPLAIN"} }

// Query makes one read in a transaction that can write nothing, and returns its rows as texts; NULL is "NULL". Whatever is no read
// is refused before it is sent: confirming a step changes nothing.
func (s *Server) Query(ctx context.Context, statement string) ([][]string, error) {
	word, _, _ := strings.Cut(strings.TrimSpace(statement), " ")
	allowed := false
	for _, r := range reads() {
		allowed = allowed || strings.EqualFold(word, r)
	}
	if !allowed {
		return nil, fmt.Errorf("query %s: %w: %q is no read, expected one of %s", s.name, topology.ErrUnsupported, word, strings.Join(reads(), ", "))
	}
	var all [][]string
	err := s.do(ctx, "query", func(ctx context.Context, c *sql.Conn) error {
		tx, err := c.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // nothing was written
		rows, err := tx.QueryContext(ctx, statement)
		if err != nil {
			return err
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		for rows.Next() {
			cells := make([]sql.NullString, len(columns))
			to := make([]any, len(columns))
			for i := range cells {
				to[i] = &cells[i]
			}
			if err := rows.Scan(to...); err != nil {
				return err
			}
			row := make([]string, len(columns))
			for i, cell := range cells {
				row[i] = cell.String
				if !cell.Valid {
					row[i] = "NULL"
				}
			}
			all = append(all, row)
		}
		return rows.Err()
	})
	return all, err
}
