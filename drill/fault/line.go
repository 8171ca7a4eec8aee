package fault

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// felt is what one probe felt.
type felt int

const (
	nothing  felt = iota // it was not made
	answered             // bytes went to the target, and its answer came back
	refused              // no connection
	closed               // a connection that was open, or had just been accepted, was closed before an answer
	silent               // no answer in time
)

// line is one connection of a prober. Something always reads from it, so that its closing is noticed when it happens.
type line struct {
	conn net.Conn
	done chan struct{} // closed when the reader has ended

	mu    sync.Mutex
	in    []byte
	ended bool
	more  chan struct{} // closed and replaced when in or ended changes
}

// errClosed says that the peer closed the line.
var errClosed = errors.New("connection closed")

func dialLine(ctx context.Context, address string) (*line, felt) {
	conn, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", address)
	switch {
	case err == nil:
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ECONNRESET):
		return nil, refused
	default:
		return nil, silent
	}
	l := &line{conn: conn, done: make(chan struct{}), more: make(chan struct{})}
	go l.read()
	return l, answered
}

// mostKept bounds what a line keeps of what its target says.
const mostKept = 64 << 10

func (l *line) read() {
	defer close(l.done)
	buf := make([]byte, 4<<10)
	for {
		n, err := l.conn.Read(buf)
		l.mu.Lock()
		if len(l.in)+n <= mostKept {
			l.in = append(l.in, buf[:n]...)
		}
		l.ended = l.ended || err != nil
		close(l.more)
		l.more = make(chan struct{})
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// say sends bytes. That they left says nothing about their arrival.
func (l *line) say(b []byte) error {
	if _, err := l.conn.Write(b); err != nil {
		return errClosed
	}
	return nil
}

// hear waits until what came in satisfies whole, and forgets it.
func (l *line) hear(ctx context.Context, whole func(in []byte) bool) error {
	for {
		l.mu.Lock()
		in, ended, more := l.in, l.ended, l.more
		if whole(in) {
			l.in = nil
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		if ended {
			return errClosed
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open says whether nobody closed the line so far.
func (l *line) open() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ended
}

func (l *line) close() {
	l.conn.Close()
	<-l.done
}

// ask makes one exchange on a line and says what it felt.
func ask(ctx context.Context, p protocol, l *line) (felt, time.Duration) {
	began := time.Now()
	switch err := p.exchange(ctx, l); {
	case err == nil:
		return answered, time.Since(began)
	case errors.Is(err, errClosed):
		return closed, 0
	}
	return silent, 0
}

// call opens a line and makes one exchange on it.
func call(ctx context.Context, p protocol, address string) (felt, time.Duration) {
	l, f := dialLine(ctx, address)
	if l == nil {
		return f, 0
	}
	defer l.close()
	if err := p.greet(ctx, l); err != nil {
		if errors.Is(err, errClosed) {
			return closed, 0
		}
		return silent, 0
	}
	return ask(ctx, p, l)
}
