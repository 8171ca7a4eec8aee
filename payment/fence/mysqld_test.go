package fence

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"testing"
)

// variables are a server's read_only and super_read_only, now and after a restart.
type variables struct {
	read, super                   bool
	persistedRead, persistedSuper bool
	between                       func(*variables) // what an operator does once the guard has read what is persisted; once
}

func (v *variables) Connect(context.Context) (driver.Conn, error) { return v, nil }
func (v *variables) Driver() driver.Driver                        { return nil }
func (v *variables) Prepare(string) (driver.Stmt, error)          { return nil, errors.ErrUnsupported }
func (v *variables) Begin() (driver.Tx, error)                    { return nil, errors.ErrUnsupported }
func (v *variables) Close() error                                 { return nil }
func (v *variables) persist(read, super bool) {
	v.persistedRead, v.persistedSuper, v.read, v.super = read, super, read, super
}
func row(columns int, values ...driver.Value) *rows { return &rows{columns, values} }

func (v *variables) QueryContext(_ context.Context, q string, _ []driver.NamedValue) (driver.Rows, error) {
	if !strings.Contains(q, "persisted_variables") {
		return row(1, v.super), nil
	}
	r := row(2, "read_only", v.persistedRead, "super_read_only", v.persistedSuper)
	if v.between != nil {
		v.between(v)
		v.between = nil
	}
	return r, nil
}

// ExecContext: super_read_only switches read_only on with it, and read_only switches super_read_only off with it, as in MySQL.
func (v *variables) ExecContext(_ context.Context, q string, _ []driver.NamedValue) (driver.Result, error) {
	on := strings.HasSuffix(q, "ON")
	switch {
	case strings.Contains(q, "super_read_only"):
		v.super, v.read = on, v.read || on
	case strings.Contains(q, "read_only"):
		v.read, v.super = on, v.super && on
	default:
		return nil, errors.ErrUnsupported
	}
	return driver.RowsAffected(0), nil
}

type rows struct {
	columns int
	values  []driver.Value
}

func (r *rows) Columns() []string { return make([]string, r.columns) }
func (r *rows) Close() error      { return nil }
func (r *rows) Next(to []driver.Value) error {
	if len(r.values) == 0 {
		return io.EOF
	}
	copy(to, r.values[:r.columns])
	r.values = r.values[r.columns:]
	return nil
}

// TestRestore: a guard that takes the lease up makes the server what it persists, and what an operator persists meanwhile counts: a promotion
// that comes between two statements of the guard's is not undone, nor is a fence.
func TestRestore(t *testing.T) {
	promotes := func(v *variables) { v.persist(false, false) }
	fences := func(v *variables) { v.persist(true, true) }
	for _, x := range []struct {
		name        string
		read, super bool // persisted; the guard has made the server read-only
		between     func(*variables)
		want        [2]bool // read_only, super_read_only in the end
	}{
		{"a primary", false, false, nil, [2]bool{false, false}},
		{"a standby", true, true, nil, [2]bool{true, true}},
		{"operators only", true, false, nil, [2]bool{true, false}},
		{"a standby that is promoted", true, true, promotes, [2]bool{false, false}},
		{"operators only, then promoted", true, false, promotes, [2]bool{false, false}},
		{"a primary that is fenced", false, false, fences, [2]bool{true, true}},
	} {
		v := &variables{read: true, super: true, persistedRead: x.read, persistedSuper: x.super, between: x.between}
		db := sql.OpenDB(v)
		defer db.Close()
		if err := (&mysqld{db: db}).Restore(t.Context()); err != nil || [2]bool{v.read, v.super} != x.want {
			t.Errorf("%s: %v, read_only and super_read_only are %t and %t, want %v", x.name, err, v.read, v.super, x.want)
		}
	}
}
