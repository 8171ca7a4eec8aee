package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

func TestSentError(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
	}{
		{&driversql.MySQLError{Number: 1290}, nil},
		{fmt.Errorf("wrapped: %w", &driversql.MySQLError{Number: 1205}), nil},
		{&driversql.MySQLError{Number: 1053}, topology.ErrUnknown},
		{&driversql.MySQLError{Number: 1317}, topology.ErrUnknown},
		{driversql.ErrInvalidConn, topology.ErrUnknown},
		{driver.ErrBadConn, topology.ErrUnknown}, // an earlier statement of the same verb may have been sent
		{context.DeadlineExceeded, topology.ErrUnknown},
		{io.ErrUnexpectedEOF, topology.ErrUnknown},
		{sql.ErrNoRows, nil},
		{statef("found %d", 2), nil},
		{&newerEpoch{3, "osaka"}, nil},
	} {
		if got := sentError(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestClass(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&driversql.MySQLError{Number: 1290}, "read-only"},
		{&driversql.MySQLError{Number: 1836}, "read-only"},
		{&driversql.MySQLError{Number: 1062}, "mysql-1062"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "refused"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, "reset"},
		{&net.OpError{Op: "dial", Err: timeout{}}, "timeout"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), "timeout"},
		{context.Canceled, "cancelled"},
		{driversql.ErrInvalidConn, "reset"},
	} {
		if got := class(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// refusing is an address that nobody can listen on while the test runs, and that refuses: a socket has it and does not listen.
func refusing(t *testing.T, host [4]byte) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { syscall.Close(fd) })
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: host}))
	at, err := syscall.Getsockname(fd)
	must(t, err)
	return fmt.Sprintf("%d.%d.%d.%d:%d", host[0], host[1], host[2], host[3], at.(*syscall.SockaddrInet4).Port)
}

// TestNobodyThere dials where nobody listens, and where somebody listens and never speaks.
func TestNobodyThere(t *testing.T) {
	mute, err := net.Listen("tcp", "127.201.4.1:0")
	must(t, err)
	defer mute.Close()
	for _, c := range []struct {
		address, class string
		timeout        time.Duration
	}{{refusing(t, [4]byte{127, 201, 4, 1}), "refused", 30 * time.Second}, {mute.Addr().String(), "timeout", 200 * time.Millisecond}} {
		s, err := Open(c.address, UserOps, "x", Options{Name: "n", Timeout: c.timeout})
		must(t, err)
		defer s.Close()
		began := time.Now()
		_, err = s.Status(context.Background())
		if !errors.Is(err, topology.ErrUnreachable) || errors.Is(err, topology.ErrUnknown) || !strings.HasPrefix(err.Error(), "read status of n: ") {
			t.Errorf("%s: %v", c.class, err)
		}
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("%s: took %s", c.class, d)
		}
		canary, err := OpenCanary(c.address, "x", c.timeout)
		must(t, err)
		defer canary.Close()
		if o, class := canary.Insert(context.Background(), "1", "tokyo", 1); o != history.Fail || class != c.class {
			t.Errorf("canary: %s %s, want fail %s", o, class, c.class)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		if err := s.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "last seen: ") {
			t.Errorf("wait: %v", err)
		}
	}
	if _, err := OpenCanary("127.0.0.1:1", "x", 0); err == nil {
		t.Error("a canary without a deadline was opened")
	}
	s, err := Open("/nowhere/at/all/mysqld.sock", UserRoot, "", Options{})
	must(t, err)
	defer s.Close()
	if err := s.Ready(context.Background()); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("socket: %v", err)
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"a": "'a'", `it's`: `'it''s'`, `b\s`: `'b\\s'`, "": "''"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) is %s, want %s", in, got, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for in, want := range map[time.Duration]int64{0: 0, time.Millisecond: 1, time.Second: 1, 1500 * time.Millisecond: 2} {
		if got := seconds(in); got != want {
			t.Errorf("seconds(%s) is %d, want %d", in, got, want)
		}
	}
}
