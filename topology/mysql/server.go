package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/kirikae/kirikae/topology"
)

// Users that Bootstrap makes. All have the world's secret as password. Root has none, and comes in by the unix socket only.
const (
	UserRoot        = "root"
	UserOps         = "ops"   // operators' verbs and the harness's reads: all privileges
	UserPay         = "pay"   // the application: nothing that would pass read_only
	UserDrill       = "drill" // canaries: as the application
	UserReplication = "repl"
)

// Options of an operator's connections. The zero value is good.
type Options struct {
	Name    string        // node, as errors and evidence name it; "": the address
	Timeout time.Duration // bound of a verb whose context has no deadline; 0: 10 s
}

// Server is one MySQL server, seen by an operator. Its methods are one statement each where that is possible, bounded by their
// context, and harmless when repeated.
//
// Errors: topology.ErrUnreachable is proof that nothing was sent. topology.ErrUnknown means that the statement was sent and no
// answer came: it may have happened, or may happen yet. Any other error is the server's refusal.
type Server struct {
	db      *sql.DB
	name    string
	timeout time.Duration
}

// Open describes a server at "host:port", or at the absolute path of its unix socket. Nothing is dialled before the first verb,
// so a server that is down can be opened; Ready tells. Close it.
func Open(address, user, secret string, o Options) (*Server, error) {
	cfg := driversql.NewConfig()
	cfg.User, cfg.Passwd = user, secret
	cfg.Net, cfg.Addr = "tcp", address
	if strings.HasPrefix(address, "/") {
		cfg.Net = "unix"
		cfg.DialFunc = dialSocket
	}
	cfg.Timeout = 2 * time.Second // of dialling; the verb's context bounds all of it
	cfg.InterpolateParams = true  // one round trip a statement
	cfg.Logger = &driversql.NopLogger{}
	c, err := driversql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("open MySQL %s: %w", address, err)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(4)
	db.SetConnMaxIdleTime(time.Minute)
	s := &Server{db: db, name: o.Name, timeout: o.Timeout}
	if s.name == "" {
		s.name = address
	}
	if s.timeout <= 0 {
		s.timeout = 10 * time.Second
	}
	return s, nil
}

// Name is the node's name, as given.
func (s *Server) Name() string { return s.name }

// Close ends the connections. The server goes on.
func (s *Server) Close() error { return s.db.Close() }

// dialSocket dials a unix socket by way of its folder's descriptor: the path in the call stays short, whatever the folder's is.
func dialSocket(ctx context.Context, _, path string) (net.Conn, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: err}
	}
	defer dir.Close()
	var d net.Dialer
	return d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(int(dir.Fd()))+"/"+filepath.Base(path))
}

// do runs f on one connection, bounded. What fails before there is a connection has sent nothing.
func (s *Server) do(ctx context.Context, what string, f func(ctx context.Context, c *sql.Conn) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	c, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("%s of %s: %w: %w", what, s.name, topology.ErrUnreachable, err)
	}
	defer c.Close()
	if err := f(ctx, c); err != nil {
		if kind := sentError(err); kind != nil {
			return fmt.Errorf("%s of %s: %w: %w", what, s.name, kind, err)
		}
		return fmt.Errorf("%s of %s: %w", what, s.name, err)
	}
	return nil
}

// sentError is the kind of an error met by a statement; nil when the server itself refused it, or when it is not the wire's.
func sentError(err error) error {
	var refused *driversql.MySQLError
	var known *stateError
	switch {
	case errors.As(err, &refused):
		if undecided(refused) {
			return topology.ErrUnknown
		}
		return nil
	case errors.As(err, &known), errors.Is(err, sql.ErrNoRows):
		return nil
	}
	return topology.ErrUnknown
}

// undecided are refusals after which the statement may nevertheless have taken effect.
func undecided(e *driversql.MySQLError) bool {
	switch e.Number {
	case 1053, // server shutdown in progress
		1317, // interrupted
		1927, // connection was killed
		3024: // maximum statement execution time
		return true
	}
	return false
}

// stateError is a finding of a verb about the state that it read, as opposed to an error of the wire.
type stateError struct{ what string }

func (e *stateError) Error() string { return e.what }

func statef(format string, args ...any) error { return &stateError{fmt.Sprintf(format, args...)} }

// number is the error number of a server's refusal, or 0.
func number(err error) uint16 {
	var e *driversql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// ReadOnly says whether a server refused to write because it, or the transaction, is read-only: nothing was written then.
func ReadOnly(err error) bool {
	switch number(err) {
	case 1290, // read_only, super_read_only, offline_mode
		1792, // transaction is read only
		1836: // the server runs in read-only mode
		return true
	}
	return false
}

// discard throws a connection away instead of giving it back: its session must not serve another verb.
func discard(c *sql.Conn) { _ = c.Raw(func(any) error { return driver.ErrBadConn }) }

// run executes statements in turn on one connection.
func run(ctx context.Context, c *sql.Conn, statements ...string) error {
	for _, q := range statements {
		if _, err := c.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// quote writes a string literal.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}

// Ready says whether the server answers: nil, or why not.
func (s *Server) Ready(ctx context.Context) error {
	return s.do(ctx, "read version", func(ctx context.Context, c *sql.Conn) error {
		var v string
		return c.QueryRowContext(ctx, "SELECT @@version").Scan(&v)
	})
}

// WaitReady waits until the server answers, as long as ctx allows. Its error says what it last saw.
func (s *Server) WaitReady(ctx context.Context) error {
	return poll(ctx, 20*time.Millisecond, "wait for "+s.name+" to answer", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return s.Ready(ctx)
	})
}

// poll calls f until it returns nil, at most until ctx ends.
func poll(ctx context.Context, every time.Duration, what string, f func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; last seen: %w", what, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
