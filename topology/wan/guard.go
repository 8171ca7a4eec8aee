package wan

import (
	"net"
	"net/netip"
	"slices"
)

// Guard lets in only connections that come from one of some addresses, or from this host's own loopback. Every other one is
// closed at once and never seen by whoever accepts: the API and the taps of a WAN stand in the networks of the very nodes that
// must not reach them.
func Guard(l net.Listener, only []netip.Addr) net.Listener {
	return &guard{l, only}
}

type guard struct {
	net.Listener
	only []netip.Addr
}

// Accept implements net.Listener.
func (g *guard) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.admits(c.RemoteAddr()) {
			return c, nil
		}
		_ = c.Close() // it was never anybody's
	}
}

func (g *guard) admits(from net.Addr) bool {
	at, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return false
	}
	host := at.Addr().Unmap()
	return host.IsLoopback() || slices.Contains(g.only, host)
}
