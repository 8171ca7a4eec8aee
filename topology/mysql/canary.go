package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/kirikae/kirikae/drill/history"
)

// Canary writes tiny rows straight to one server, around application and gateway, on one connection of its own: whether the
// server accepts writes is all that it asks. Its transactions are tagged canary.
type Canary struct {
	db       *sql.DB
	deadline time.Duration
	one      sync.Mutex // one insert at a time; a second caller is told busy
}

// OpenCanary describes a canary of the server at "host:port". Each insert, connecting included, ends within the deadline.
// Nothing is dialled before the first one. Close it.
func OpenCanary(address, secret string, deadline time.Duration) (*Canary, error) {
	if deadline <= 0 {
		return nil, fmt.Errorf("open canary of %s: its deadline is %s", address, deadline)
	}
	cfg := driversql.NewConfig()
	cfg.User, cfg.Passwd = UserDrill, secret
	cfg.Net, cfg.Addr, cfg.DBName = "tcp", address, "pay"
	cfg.Timeout = deadline
	cfg.InterpolateParams = true // the row leaves in one write: without it, what is lost may be the PREPARE
	cfg.Params = map[string]string{"gtid_next": "'AUTOMATIC:canary'"}
	cfg.Logger = &driversql.NopLogger{}
	c, err := driversql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("open canary of %s: %w", address, err)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(1)
	return &Canary{db: db, deadline: deadline}, nil
}

// Insert writes one row and says how that ended, with the class of the failure: OK; Fail when it certainly was not written
// (refused, read-only, or never sent); Info when it may have been.
func (c *Canary) Insert(ctx context.Context, id, site string, t history.Instant) (history.Outcome, string) {
	if !c.one.TryLock() {
		return history.Fail, "busy"
	}
	defer c.one.Unlock()
	ctx, cancel := context.WithTimeout(ctx, c.deadline)
	defer cancel()
	conn, err := c.db.Conn(ctx) // a connection that the server closed is noticed and replaced here
	if err != nil {
		return history.Fail, class(err) // the row never left
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "INSERT INTO canary (id, site, t) VALUES (?, ?, ?)", id, site, int64(t)); err != nil {
		var refusal *driversql.MySQLError
		if errors.As(err, &refusal) && !undecided(refusal) {
			return history.Fail, class(err)
		}
		return history.Info, class(err)
	}
	return history.OK, ""
}

// Close ends the connection.
func (c *Canary) Close() error { return c.db.Close() }

// class names the kind of an error, as histories do.
func class(err error) string {
	var refusal *driversql.MySQLError
	var wire net.Error
	switch {
	case errors.As(err, &refusal):
		if ReadOnly(err) {
			return "read-only"
		}
		switch refusal.Number {
		case 1040:
			return "too-many-connections"
		case 1053:
			return "shutdown"
		}
		return fmt.Sprintf("mysql-%d", refusal.Number)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &wire) && wire.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	return "reset" // the connection ended while it was in use
}
