package inside

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Reached is what came of dialling an address.
type Reached string

// Outcomes of a dial.
const (
	Open        Reached = "open"        // connected, and not turned away
	Turned      Reached = "closed"      // connected, and closed again by the other side without a word: a guard
	Refused     Reached = "refused"     // somebody answered that nobody listens
	TimedOut    Reached = "timeout"     // no answer at all: dropped on the way
	Unreachable Reached = "unreachable" // there is no way, or the way says no
	Failed      Reached = "failed"      // anything else, see the error
)

// Dialled is one address and what came of it.
type Dialled struct {
	Address string  `json:"address"`
	Result  Reached `json:"result"`
	Error   string  `json:"error,omitempty"`
}

// DialOptions bound a dial.
type DialOptions struct {
	Timeout time.Duration // of connecting
	// Linger is how long a connection is watched for being closed at once. A server that hears nothing closes it, too, after some
	// seconds of its own; that is not what is meant.
	Linger time.Duration
}

// Dial dials addresses ("host:port"), all at once, and says what came of each, in their order. Nothing is ever sent.
func Dial(ctx context.Context, addresses []string, o DialOptions) []Dialled {
	all := make([]Dialled, len(addresses))
	var wg sync.WaitGroup
	for i, a := range addresses {
		wg.Go(func() {
			r, err := dial(ctx, a, o)
			all[i] = Dialled{Address: a, Result: r}
			if err != nil {
				all[i].Error = err.Error()
			}
		})
	}
	wg.Wait()
	return all
}

func dial(ctx context.Context, address string, o DialOptions) (Reached, error) {
	d := net.Dialer{Timeout: o.Timeout}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return classify(err), err
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(o.Linger)); err != nil {
		return Failed, err
	}
	_, err = c.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return Turned, nil
	}
	return Open, nil // it spoke, or it waits for us to speak
}

func classify(err error) Reached {
	var wire net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return Unreachable
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &wire) && wire.Timeout():
		return TimedOut
	}
	return Failed
}
