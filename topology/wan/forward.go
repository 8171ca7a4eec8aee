package wan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// dialBudget bounds the forwarder's own connecting to where its bytes go.
const dialBudget = 10 * time.Second

// Forwarder carries bytes between listeners and the addresses behind them, without toxiproxy. It knows nothing of links.
type Forwarder struct {
	ctx  context.Context // ends with Close
	end  context.CancelFunc
	only []netip.Addr // nil: everybody

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]bool
	all    sync.WaitGroup
}

// Tap is a second way to a door, for the published side of a container: an address on which the engine's port publishing can
// arrive, whose bytes then pass the same toxiproxy listener as those of the dialling site.
type Tap struct {
	Listen string // host:port
	Door   string // host:port, where toxiproxy listens
}

// Forward is a planted defect: it serves the doors itself, so that traffic goes around toxiproxy while its API answers OK. A
// drill whose fault no traffic felt must notice. The routes' Listen must be elsewhere than their Door. Close it.
func Forward(routes []Route) (*Forwarder, error) {
	f := newForwarder(nil)
	for _, r := range routes {
		if err := f.serve(r.Door, r.Target); err != nil {
			f.Close()
			return nil, fmt.Errorf("listen at door %s: %w: %w", r.Door, topology.ErrEnvironment, err)
		}
	}
	return f, nil
}

// Taps serves taps for connections from the addresses in only, and from this host itself (its loopback); all others are closed
// at once. So it is with a connection whose door refuses: what a tap cannot do is refuse before it has accepted. Close it.
func Taps(taps []Tap, only []netip.Addr) (*Forwarder, error) {
	f := newForwarder(&only)
	for _, t := range taps {
		if err := f.serve(t.Listen, t.Door); err != nil {
			f.Close()
			return nil, fmt.Errorf("listen at tap %s of door %s: %w: %w", t.Listen, t.Door, topology.ErrEnvironment, err)
		}
	}
	return f, nil
}

func newForwarder(only *[]netip.Addr) *Forwarder {
	f := &Forwarder{open: map[io.Closer]bool{}}
	if only != nil {
		f.only = append([]netip.Addr{}, *only...) // not nil: an empty list lets nobody in
	}
	f.ctx, f.end = context.WithCancel(context.Background())
	return f
}

// serve listens at an address and carries what arrives there to another.
func (f *Forwarder) serve(listen, to string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(f.ctx, "tcp", listen)
	if err != nil {
		return err
	}
	if f.only != nil {
		l = Guard(l, f.only)
	}
	f.keep(l)
	f.all.Go(func() { f.accept(l, to) })
	return nil
}

func (f *Forwarder) accept(l net.Listener, to string) {
	for {
		in, err := l.Accept()
		switch {
		case err == nil:
			f.all.Go(func() { f.carry(in, to) })
		case f.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default: // no descriptor to be had, or the caller has gone again: neither ends a listener
			select {
			case <-f.ctx.Done():
				return
			case <-time.After(acceptPause):
			}
		}
	}
}

// acceptPause is how long a listener that cannot accept waits, as in net/http, before it tries again.
const acceptPause = 50 * time.Millisecond

// carry connects one accepted connection to where it leads, until both directions have ended.
func (f *Forwarder) carry(in net.Conn, to string) {
	defer f.drop(in)
	if !f.keep(in) {
		return
	}
	d := net.Dialer{Timeout: dialBudget}
	out, err := d.DialContext(f.ctx, "tcp", to)
	if err != nil {
		return
	}
	defer f.drop(out)
	if !f.keep(out) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			if _, err := io.Copy(way[1], way[0]); err == nil && closeWrite(way[1]) == nil {
				return // this direction has ended in order; the other one may go on
			}
			way[1].Close()
			way[0].Close()
		})
	}
	both.Wait()
}

// closeWrite says to a connection's peer that nothing more comes.
func closeWrite(c net.Conn) error {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// keep remembers what Close has to close; once closed, it closes it at once.
func (f *Forwarder) keep(c io.Closer) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		c.Close()
		return false
	}
	f.open[c] = true
	return true
}

func (f *Forwarder) drop(c io.Closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.Close()
	delete(f.open, c)
}

// Close ends its listeners and connections, and returns when nothing of it runs any more. Harmless when repeated.
func (f *Forwarder) Close() {
	f.end()
	f.mu.Lock()
	f.closed = true
	for c := range f.open {
		c.Close()
	}
	f.mu.Unlock()
	f.all.Wait()
}
