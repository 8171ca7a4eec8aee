package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// chunk is how many bytes of rows one INSERT of a copy carries.
const chunk = 256 << 10

// CopyFrom replaces all databases of this server by a logical copy of another's, as mysqldump makes it (--single-transaction,
// --set-gtid-purged=ON): one consistent read of the source, and as purged here exactly the transactions that were in it. The source's
// commits wait for as long as it takes to open that read. It is written without a binary log, while only operators can write here;
// at the end the server is read-only, now and after a restart. A copy that was interrupted leaves a server without history: it is
// made again from the beginning. Users are not copied.
func (s *Server) CopyFrom(ctx context.Context, source *Server) error {
	return s.do(ctx, "copy "+source.name+" to", func(ctx context.Context, to *sql.Conn) error {
		return source.do(ctx, "read a dump", func(ctx context.Context, from *sql.Conn) error {
			defer discard(from) // its time zone and lock time are for this only
			defer discard(to)
			if err := run(ctx, from, "SET SESSION time_zone = '+00:00'", "SET SESSION lock_wait_timeout = 2", "FLUSH TABLES WITH READ LOCK"); err != nil {
				return err
			}
			var executed string
			err := run(ctx, from, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
			if err == nil {
				err = from.QueryRowContext(ctx, "SELECT @@global.gtid_executed").Scan(&executed)
			}
			if uerr := run(ctx, from, "UNLOCK TABLES"); err == nil {
				err = uerr
			}
			if err != nil {
				return err
			}
			if err := run(ctx, to, "SET SESSION sql_log_bin = 0", "SET SESSION time_zone = '+00:00'", "SET SESSION foreign_key_checks = 0", "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
				"SET PERSIST read_only = ON", "SET GLOBAL super_read_only = OFF", "SET PERSIST_ONLY super_read_only = ON"); err != nil {
				return err
			}
			if err := copyDatabases(ctx, from, to); err != nil {
				return err
			}
			return run(ctx, to, "RESET BINARY LOGS AND GTIDS", "SET GLOBAL gtid_purged = "+quote(oneLine(executed)), "SET PERSIST super_read_only = ON")
		})
	})
}

func copyDatabases(ctx context.Context, from, to *sql.Conn) error {
	// What stands here goes first: a copy that was interrupted is no copy.
	const own = "WHERE schema_name NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY schema_name"
	name := func(s *string) []any { return []any{s} }
	stale, err := list(ctx, to, "SELECT schema_name FROM information_schema.schemata "+own, name)
	if err != nil {
		return err
	}
	for _, db := range stale {
		if err := run(ctx, to, "DROP DATABASE "+ident(db)); err != nil {
			return err
		}
	}
	databases, err := list(ctx, from, "SELECT schema_name FROM information_schema.schemata "+own, name)
	if err != nil {
		return err
	}
	for _, db := range databases {
		var ddl string
		if err := from.QueryRowContext(ctx, "SHOW CREATE DATABASE "+ident(db)).Scan(&db, &ddl); err != nil {
			return err
		}
		if err := run(ctx, to, ddl); err != nil {
			return err
		}
		tables, err := list(ctx, from, "SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema = "+quote(db)+" ORDER BY table_name", name)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if err := copyTable(ctx, from, to, db, t); err != nil {
				return fmt.Errorf("table %s.%s: %w", db, t, err)
			}
		}
	}
	return nil
}

func copyTable(ctx context.Context, from, to *sql.Conn, db, table string) error {
	var ddl string
	if err := from.QueryRowContext(ctx, "SHOW CREATE TABLE "+ident(db)+"."+ident(table)).Scan(&table, &ddl); err != nil {
		return err
	}
	if err := run(ctx, to, "USE "+ident(db), ddl); err != nil {
		return err
	}
	// By name: SELECT * leaves invisible columns out. Generated ones are made here again.
	columns, err := list(ctx, from, "SELECT column_name FROM information_schema.columns WHERE generation_expression = '' AND table_schema = "+quote(db)+
		" AND table_name = "+quote(table)+" ORDER BY ordinal_position", func(s *string) []any { return []any{s} })
	if err != nil {
		return err
	}
	for i, c := range columns {
		columns[i] = ident(c)
	}
	rows, err := from.QueryContext(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM "+ident(db)+"."+ident(table))
	if err != nil {
		return err
	}
	defer rows.Close()
	head := "INSERT INTO " + ident(table) + " (" + strings.Join(columns, ", ") + ") VALUES "
	var b strings.Builder
	flush := func() error {
		if b.Len() == 0 {
			return nil
		}
		defer b.Reset()
		return run(ctx, to, head+b.String())
	}
	for rows.Next() {
		cells := make([]sql.NullString, len(columns))
		at := make([]any, len(columns))
		for i := range cells {
			at[i] = &cells[i]
		}
		if err := rows.Scan(at...); err != nil {
			return err
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for i, c := range cells {
			if i > 0 {
				b.WriteByte(',')
			}
			if c.Valid {
				b.WriteString(quote(c.String))
			} else {
				b.WriteString("NULL")
			}
		}
		b.WriteByte(')')
		if b.Len() > chunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return flush()
}

// ident quotes a name.
func ident(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
