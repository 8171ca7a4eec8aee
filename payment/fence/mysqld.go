package fence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	driver "github.com/go-sql-driver/mysql"
)

// server is a MySQL as its Guard needs it. Every call is bounded by its context, and harmless when repeated.
type server interface {
	// Learn reads how writable the server wants to be, before the Guard has changed anything.
	Learn(ctx context.Context) error
	// Writable says whether anybody could write: super_read_only is off.
	Writable(ctx context.Context) (bool, error)
	// Offline sends customers away and lets none in; or lets them in again.
	Offline(ctx context.Context, on bool) error
	// Protect stops every write, also the operators', and returns when that is proved. What is persisted stays.
	Protect(ctx context.Context) error
	// Restore makes the server as writable as is persisted, or as it was when Learn read it; a read-only one stays as it is.
	Restore(ctx context.Context) error
}

// mysqld is a server reached by its unix socket as root, who has no password.
type mysqld struct {
	db                   *sql.DB
	readOnly, superReads bool // as Learn read them
}

func openMysqld(socket string) (*mysqld, error) {
	cfg := driver.NewConfig()
	cfg.User, cfg.Net, cfg.Addr = "root", "unix", socket
	cfg.DialFunc = dialSocket
	cfg.InterpolateParams = true
	cfg.Logger = &driver.NopLogger{}
	c, err := driver.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("open the database at %s: %w", socket, err)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(2)
	db.SetMaxIdleConns(1)
	return &mysqld{db: db}, nil
}

// dialSocket dials by way of the folder's descriptor: the path in the call stays below the kernel's 108 bytes.
func dialSocket(ctx context.Context, _, path string) (net.Conn, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: err}
	}
	defer dir.Close()
	var d net.Dialer
	return d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(int(dir.Fd()))+"/"+filepath.Base(path))
}

func (m *mysqld) Learn(ctx context.Context) error {
	err := m.db.QueryRowContext(ctx, "SELECT @@global.read_only, @@global.super_read_only").Scan(&m.readOnly, &m.superReads)
	if err != nil {
		return fmt.Errorf("read the database's state: %w", err)
	}
	return nil
}

func (m *mysqld) Writable(ctx context.Context) (bool, error) {
	var super bool
	if err := m.db.QueryRowContext(ctx, "SELECT @@global.super_read_only").Scan(&super); err != nil {
		return false, fmt.Errorf("read the database's state: %w", err)
	}
	return !super, nil
}

func (m *mysqld) Offline(ctx context.Context, on bool) error {
	if err := m.set(ctx, "offline_mode", on); err != nil {
		return fmt.Errorf("set offline_mode: %w", err)
	}
	return nil
}

func (m *mysqld) Protect(ctx context.Context) error {
	if err := m.set(ctx, "super_read_only", true); err != nil {
		return fmt.Errorf("set super_read_only: %w", err)
	}
	writable, err := m.Writable(ctx)
	if err == nil && writable {
		err = errors.New("set super_read_only: it is still off")
	}
	return err
}

// Restore makes the server what it persists of itself, which an operator may be changing at the same moment: what he persisted meanwhile
// counts. A server that persists super_read_only is left as it is, as nothing but Protect has touched it.
func (m *mysqld) Restore(ctx context.Context) error {
	for {
		read, super, err := m.persisted(ctx)
		if err != nil {
			return err
		}
		if super {
			return nil
		}
		if err := m.set(ctx, "super_read_only", false); err != nil {
			return fmt.Errorf("set super_read_only: %w", err)
		}
		if err := m.set(ctx, "read_only", read); err != nil {
			return fmt.Errorf("set read_only: %w", err)
		}
		nowRead, nowSuper, err := m.persisted(ctx)
		if err != nil {
			return err
		}
		if nowRead == read && !nowSuper {
			return nil
		}
		if nowSuper {
			return m.Protect(ctx)
		}
	}
}

// persisted is what the server will be after a restart: what is persisted, or else what it was when its Guard first saw it.
func (m *mysqld) persisted(ctx context.Context) (read, super bool, err error) {
	read, super = m.readOnly, m.superReads
	rows, err := m.db.QueryContext(ctx, "SELECT variable_name, variable_value IN ('ON', '1') FROM performance_schema.persisted_variables WHERE variable_name IN ('read_only', 'super_read_only')")
	if err != nil {
		return false, false, fmt.Errorf("read what is persisted: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var on bool
		if err := rows.Scan(&name, &on); err != nil {
			return false, false, fmt.Errorf("read what is persisted: %w", err)
		}
		if name == "read_only" {
			read = on
		} else {
			super = on
		}
	}
	if err := rows.Err(); err != nil {
		return false, false, fmt.Errorf("read what is persisted: %w", err)
	}
	return read, super, nil
}

func (m *mysqld) set(ctx context.Context, variable string, on bool) error {
	value := "OFF"
	if on {
		value = "ON"
	}
	_, err := m.db.ExecContext(ctx, "SET GLOBAL "+variable+" = "+value)
	return err
}
