package cassandra

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gocql/gocql"

	"github.com/kirikae/kirikae/topology"
)

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
	}{
		{gocql.ErrNoConnections, topology.ErrUnreachable},
		{fmt.Errorf("x: %w", gocql.ErrNoConnections), topology.ErrUnreachable},
		{&gocql.RequestErrUnavailable{}, nil},
		{&gocql.RequestErrWriteTimeout{}, topology.ErrUnknown},
		{&gocql.RequestErrWriteFailure{}, topology.ErrUnknown},
		{&gocql.RequestErrReadTimeout{}, nil},
		{gocql.ErrTimeoutNoResponse, topology.ErrUnknown},
		{gocql.ErrConnectionClosed, topology.ErrUnknown},
		{context.DeadlineExceeded, topology.ErrUnknown},
		{gocql.ErrNotFound, nil},
	} {
		if got := kindOf(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

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
	mute, err := net.Listen("tcp", "127.202.4.1:0")
	must(t, err)
	defer mute.Close()
	for _, address := range []string{refusing(t, [4]byte{127, 202, 4, 1}), mute.Addr().String()} {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		began := time.Now()
		_, err := Open(ctx, Site{Name: "tokyo", Contact: []string{address}, DC: "tokyo"})
		if !errors.Is(err, topology.ErrUnreachable) || !strings.HasPrefix(err.Error(), "connect to Cassandra tokyo: ") {
			t.Errorf("%s: %v", address, err)
		}
		if d := time.Since(began); d > 20*time.Second { // the driver alone would wait for as long as its patience has parts
			t.Errorf("%s: took %s", address, d)
		}
		err = WaitRing(ctx, address)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "last seen: "+address) {
			t.Errorf("ring of %s: %v", address, err)
		}
		cancel()
	}
}

func TestMissing(t *testing.T) {
	p := func(address, schema string, tokens bool) peer { return peer{address, schema, tokens} }
	a, b := p("a", "1", true), p("b", "1", true)
	nodes := []string{"A", "B"}
	for _, c := range []struct {
		name  string
		views []view
		want  string
	}{
		{"a ring", []view{{peers: []peer{a, b}}, {peers: []peer{b, a}}}, ""},
		{"one is blind", []view{{peers: []peer{a, b}}, {peers: []peer{b}}}, "B does not see a"},
		{"both are blind", []view{{peers: []peer{a}}, {peers: []peer{b}}}, "A does not see b; B does not see a"},
		{"one is down", []view{{peers: []peer{a, b}}, {err: errors.New("refused")}}, "B: refused"},
		{"no tokens yet", []view{{peers: []peer{a, p("b", "1", false)}}, {peers: []peer{b, a}}}, "A sees b without tokens"},
		{"two schemas", []view{{peers: []peer{a, p("b", "2", true)}}, {peers: []peer{b, a}}}, "A sees b in another schema"},
		{"the same node twice", []view{{peers: []peer{a}}, {peers: []peer{a}}}, "several nodes have one address"},
	} {
		if got := missing(nodes, c.views); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestOneSchema: what a node says of itself counts, not what the others have heard of it.
func TestOneSchema(t *testing.T) {
	is := func(address, schema, heard string) view {
		return view{peers: []peer{{address, schema, true}, {"x", heard, true}}}
	}
	down := view{err: errors.New("refused")}
	for _, c := range []struct {
		name  string
		views []view
		want  string
	}{
		{"one schema", []view{is("a", "2", "1"), is("b", "2", "1")}, ""},
		{"one lags", []view{is("a", "2", "2"), is("b", "1", "2")}, "B has schema 1, A has 2"},
		{"the first lags", []view{is("a", "1", "1"), is("b", "2", "1")}, "B has schema 2, A has 1"},
		{"one is down", []view{is("a", "2", "2"), down}, "B: refused"},
		{"the first is down", []view{down, is("b", "2", "2")}, "A: refused"},
	} {
		if got := oneSchema([]string{"A", "B"}, c.views); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
