package local

import (
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/wan"
)

// forwarder is a planted defect: it serves the doors itself, so that traffic goes around toxiproxy while its API answers OK.
// A drill whose fault no traffic felt must notice.
type forwarder struct {
	mu     sync.Mutex
	closed bool
	open   map[io.Closer]bool
	all    sync.WaitGroup
}

func forward(routes []wan.Route) (*forwarder, error) {
	f := &forwarder{open: map[io.Closer]bool{}}
	for _, r := range routes {
		l, err := net.Listen("tcp", r.Door)
		if err != nil {
			f.close()
			return nil, fmt.Errorf("listen at door %s: %w: %w", r.Door, topology.ErrEnvironment, err)
		}
		f.keep(l)
		f.all.Go(func() { f.accept(l, r.Target) })
	}
	return f, nil
}

func (f *forwarder) accept(l net.Listener, target string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		f.all.Go(func() {
			defer f.drop(in)
			if !f.keep(in) {
				return
			}
			out, err := net.Dial("tcp", target)
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
					_, _ = io.Copy(way[1], way[0]) // ends with its connections
					way[1].Close()
					way[0].Close()
				})
			}
			both.Wait()
		})
	}
}

func (f *forwarder) keep(c io.Closer) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		c.Close()
		return false
	}
	f.open[c] = true
	return true
}

func (f *forwarder) drop(c io.Closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.Close()
	delete(f.open, c)
}

func (f *forwarder) close() {
	f.mu.Lock()
	f.closed = true
	for c := range f.open {
		c.Close()
	}
	f.mu.Unlock()
	f.all.Wait()
}
