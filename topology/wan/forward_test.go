package wan

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// from dials an address from another of this host's.
func from(host, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	return d.Dial("tcp", address)
}

// ended says that nothing more comes from a connection.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	n, err := io.Copy(io.Discard, c)
	if n != 0 || timeout(err) {
		t.Errorf("read %d bytes, then %v; the end was expected", n, err)
	}
}

func TestGuard(t *testing.T) {
	g := &guard{only: []netip.Addr{netip.MustParseAddr("10.9.15.254"), netip.MustParseAddr("10.9.31.254")}}
	for from, want := range map[string]bool{
		"10.9.15.254:4711": true, "10.9.31.254:1": true, "127.0.0.1:4711": true, "127.9.0.254:1": true, "[::1]:1": true,
		"[::ffff:10.9.15.254]:4711": true, "[::ffff:10.9.15.253]:4711": false,
		"10.9.15.253:4711": false, "10.9.16.1:4711": false, "0.0.0.0:1": false,
	} {
		if got := g.admits(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))); got != want {
			t.Errorf("%s: %v, want %v", from, got, want)
		}
	}
	if g.admits(&net.UnixAddr{Name: "/x"}) {
		t.Error("somebody without an address was let in")
	}
	if (&guard{}).admits(net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.9.15.254:1"))) {
		t.Error("a guard for nobody lets somebody in")
	}
}

// foreign is an address of this machine that is none of its loopback, to be let in or not. A machine without any (ok false) has
// nobody to refuse.
func foreign(t *testing.T) (at netip.Addr, ok bool) {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return netip.AddrFromSlice(n.IP.To4())
		}
	}
	t.Log("this machine has no address but its loopback: nobody is refused here")
	return netip.MustParseAddr("127.0.0.2"), false
}

// TestTaps: whoever may comes through the door's own toxiproxy, everybody else is turned away at once, and a door that refuses
// ends the connection.
func TestTaps(t *testing.T) {
	r := newRig(t, 0)
	me, some := foreign(t)
	mine, theirs := free(t), free(t)
	f, err := Taps([]Tap{{Listen: mine, Door: r.routes[0].Door}}, []netip.Addr{me})
	r.must(err)
	defer f.Close()
	g, err := Taps([]Tap{{Listen: theirs, Door: r.routes[0].Door}}, []netip.Addr{netip.MustParseAddr("10.255.255.254")})
	r.must(err)
	defer g.Close()

	for _, host := range []string{me.String(), "127.0.0.1"} {
		c, err := from(host, mine)
		r.must(err)
		if _, err := pingOver(c, time.Now(), patience); err != nil {
			t.Errorf("from %s: %v", host, err)
		}
		c.Close()
	}
	if some {
		c, err := from(me.String(), theirs)
		r.must(err)
		ended(t, c)
		c.Close()
	}
	if _, err := ping(theirs, patience); err != nil {
		t.Errorf("this host itself: %v", err)
	}

	old, err := net.Dial("tcp", mine)
	r.must(err)
	defer old.Close()
	if _, err := pingOver(old, time.Now(), patience); err != nil {
		t.Fatal(err)
	}
	r.must(r.link(tokyo, osaka).SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
	ended(t, old)
	young, err := net.Dial("tcp", mine)
	r.must(err)
	defer young.Close()
	ended(t, young)
	r.must(r.link(tokyo, osaka).SetFault(t.Context(), topology.Fault{}))
	if _, err := ping(mine, patience); err != nil {
		t.Errorf("healed: %v", err)
	}
}

// TestHalfClose: the end of one direction is handed on, and the other one goes on.
func TestHalfClose(t *testing.T) {
	counted := listen(t, func(c net.Conn) {
		n, _ := io.Copy(io.Discard, c) // to its end
		_, _ = io.WriteString(c, strconv.FormatInt(n, 10))
	})
	f, err := Forward([]Route{{Door: free(t), Target: counted}})
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	door := free(t)
	if f, err = Forward([]Route{{Door: door, Target: counted}}); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := net.Dial("tcp", door)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(c); err != nil || string(b) != "100000" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestForward: it goes around toxiproxy, a taken door is the environment's, a dead target ends the connection, and Close ends all.
func TestForward(t *testing.T) {
	r := newRig(t, 0)
	around := r.routes[0]
	around.Door = free(t)
	dead := around
	dead.Door, dead.Target = free(t), free(t)
	f, err := Forward([]Route{around, dead})
	r.must(err)
	r.must(r.link(tokyo, osaka).SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
	c, err := net.Dial("tcp", around.Door)
	r.must(err)
	defer c.Close()
	if _, err := pingOver(c, time.Now(), patience); err != nil {
		t.Errorf("around a cut: %v", err)
	}
	nobody, err := net.Dial("tcp", dead.Door)
	r.must(err)
	defer nobody.Close()
	ended(t, nobody)
	if _, err := Forward([]Route{dead, around}); !errors.Is(err, topology.ErrEnvironment) {
		t.Errorf("a taken door: %v", err)
	}
	f.Close()
	f.Close()
	ended(t, c)
	if _, err := net.Dial("tcp", around.Door); err == nil {
		t.Error("a closed forwarder accepts")
	}
}

// TestOpen: the API's second address is guarded, and goes with the server.
func TestOpen(t *testing.T) {
	r := newRig(t, 0)
	me, some := foreign(t)
	for _, c := range []struct {
		only []netip.Addr
		ok   bool
	}{{[]netip.Addr{me}, true}, {nil, !some}} {
		at := free(t)
		r.must(r.server.Open(t.Context(), at, c.only))
		client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: me.AsSlice()}}).DialContext}}
		res, err := client.Get("http://" + at + "/proxies")
		if (err == nil) != c.ok {
			t.Errorf("only from %v: %v", c.only, err)
		}
		if err == nil {
			res.Body.Close()
		}
		if err := r.server.Open(t.Context(), at, nil); !errors.Is(err, topology.ErrEnvironment) {
			t.Errorf("a taken address: %v", err)
		}
	}
}
