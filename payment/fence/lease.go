package fence

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of a lease.
const (
	DefaultTTL    = 5 * time.Second
	DefaultMargin = time.Second
)

// Lease is the right to write as the Witness tells it.
type Lease struct {
	Holder   string    `json:"holder"`             // site; "": nobody
	Node     string    `json:"node,omitempty"`     // whose Guard renews it; "": none has yet
	Term     int64     `json:"term"`               // rises with every new holder
	TTL      Millis    `json:"ttl_ms"`             // how long a renewal holds, counted by the Guard from before it sent it
	Left     Millis    `json:"left_ms"`            // from now until another site may take it; 0: it may now
	Released bool      `json:"released,omitempty"` // the holder is being asked to give it up
	Override *Override `json:"override,omitempty"` // how the holder got it, where that was against another's valid lease
}

// Millis is a duration that travels as whole milliseconds.
type Millis int64

// Duration converts.
func (m Millis) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// millis rounds up: nobody is told that a lease ends before it does.
func millis(d time.Duration) Millis {
	return Millis((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
}

// Override takes the lease although another's has not expired: a decision of people who know by other means that the other site does
// not write, or accept that it may.
type Override struct {
	Who string `json:"who"` // who approved it
	Why string `json:"why"`
}

// ErrHeld says that the lease is not to be had: another holds it, it was given up, or it is of another term.
var ErrHeld = errors.New("the lease is not to be had")

// HeldError is ErrHeld with the lease as it stands.
type HeldError struct {
	Why   string
	Lease Lease
}

func (e *HeldError) Error() string { return e.Why }
func (e *HeldError) Unwrap() error { return ErrHeld }

// String says who holds the lease and for how long.
func (l Lease) String() string {
	if l.Holder == "" {
		return fmt.Sprintf("nobody holds the lease (term %d)", l.Term)
	}
	s := fmt.Sprintf("%s holds the lease (term %d)", l.Holder, l.Term)
	if l.Released {
		s += ", is giving it up"
	}
	if l.Left == 0 {
		return s + ", expired"
	}
	return s + fmt.Sprintf(", for another %.1f s", l.Left.Duration().Seconds())
}
