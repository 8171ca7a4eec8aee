package wan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"

	"github.com/kirikae/kirikae/topology"
)

const (
	tokyo topology.Site = "tokyo"
	osaka topology.Site = "osaka"
)

func id(from, to topology.Site) topology.LinkID {
	return topology.LinkID{From: from, To: to, Service: topology.ServiceMySQL}
}

// rig is a toxiproxy between two sites with one echoing node at each, and doors both ways.
type rig struct {
	t      *testing.T
	server *Server
	lock   string
	specs  []topology.LinkSpec
	routes []Route
	*WAN
}

func newRig(t *testing.T, delay time.Duration) *rig {
	t.Helper()
	s, err := Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	r := &rig{t: t, server: s, lock: filepath.Join(t.TempDir(), "links.lock"),
		specs: []topology.LinkSpec{{ID: id(tokyo, osaka), Delay: delay}, {ID: id(osaka, tokyo), Delay: delay}}}
	for _, w := range [][2]topology.Site{{tokyo, osaka}, {osaka, tokyo}} {
		door := free(t)
		r.routes = append(r.routes, Route{From: w[0], To: w[1], Service: topology.ServiceMySQL, Node: string(w[1]) + "-mysql-1", Door: door, Reach: door, Listen: door, Target: echo(t)})
	}
	r.WAN = r.again()
	if err := r.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// again is what another process would hold: it shares nothing with the first but the server and the lock.
func (r *rig) again() *WAN {
	r.t.Helper()
	w, err := New(r.server.Address(), r.lock, r.specs, r.routes)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(w.Close)
	return w
}

// patience is how long a test waits for what must come. Only a machine under a heavy load needs more than a moment of it.
const patience = 30 * time.Second

// ports counts what free has given.
var ports atomic.Int32

// free is an address that stays free until it is listened on: a host of this process's own, and a port below those that the kernel
// gives to whoever asks for any. Nothing is listened on to find it, so nothing else can be given it in between, another call of
// this function included.
func free(t *testing.T) string {
	t.Helper()
	pid := os.Getpid()
	port := 10_000 + ports.Add(1)
	if port > 30_000 {
		t.Fatal("this process has used up its ports")
	}
	return fmt.Sprintf("127.%d.%d.%d:%d", 251+pid>>16&3, pid>>8&255, pid&255, port)
}

func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				serve(c)
			})
		}
	})
	t.Cleanup(func() { cancel(); l.Close(); wg.Wait() })
	return l.Addr().String()
}

func echo(t *testing.T) string { return listen(t, func(c net.Conn) { io.Copy(c, c) }) }

func (r *rig) link(from, to topology.Site) *Link { return r.WAN.Link(id(from, to)) }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// ping sends one byte over a new connection and waits for its echo.
func ping(door string, patience time.Duration) (time.Duration, error) {
	began := time.Now()
	c, err := net.DialTimeout("tcp", door, patience)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return pingOver(c, began, patience)
}

// below pings until a round trip takes less than limit, bounded: a busy machine adds to each, a link to all.
func below(t *testing.T, door string, limit time.Duration) {
	t.Helper()
	var best time.Duration
	for began := time.Now(); ; {
		rtt, err := ping(door, patience)
		if err != nil {
			t.Fatal(err)
		}
		if rtt < limit {
			return
		}
		if best == 0 || rtt < best {
			best = rtt
		}
		if time.Since(began) > patience {
			t.Fatalf("no round trip through %s took less than %s within %s, the best one %s", door, limit, patience, best)
		}
	}
}

func pingOver(c net.Conn, began time.Time, patience time.Duration) (time.Duration, error) {
	if _, err := c.Write([]byte{1}); err != nil {
		return 0, err
	}
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

func TestDesired(t *testing.T) {
	up, down := id(tokyo, osaka), id(osaka, tokyo)
	cut, hole, slow := topology.Fault{Kind: topology.Cut}, topology.Fault{Kind: topology.BlackHole}, topology.Fault{Kind: topology.Slow, Delay: time.Second}
	for _, c := range []struct {
		name     string
		up, down topology.Layers
		enabled  bool
	}{
		{"nothing", topology.Layers{}, topology.Layers{}, true},
		{"delay", topology.Layers{Delay: 1}, topology.Layers{}, true},
		{"cut", topology.Layers{Fault: cut}, topology.Layers{}, false},
		{"denied", topology.Layers{Access: topology.Deny}, topology.Layers{}, false},
		{"cut and denied", topology.Layers{Fault: cut, Access: topology.Deny}, topology.Layers{}, false},
		{"delay and cut", topology.Layers{Delay: 1, Fault: cut}, topology.Layers{}, false},
		{"delay and denied", topology.Layers{Delay: 1, Access: topology.Deny}, topology.Layers{}, false},
		{"all three", topology.Layers{Delay: 1, Fault: cut, Access: topology.Deny}, topology.Layers{}, false},
		{"cut one way, denied the other", topology.Layers{Fault: cut}, topology.Layers{Access: topology.Deny}, false},
		{"only the way back is denied", topology.Layers{}, topology.Layers{Access: topology.Deny}, false},
		{"only the way back is cut", topology.Layers{}, topology.Layers{Fault: cut}, false},
		{"black hole keeps connecting", topology.Layers{Fault: hole}, topology.Layers{}, true},
		{"slow", topology.Layers{Fault: slow}, topology.Layers{Access: topology.Allow}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := desired(up, down, map[topology.LinkID]topology.Layers{up: c.up, down: c.down})
			if s.enabled != c.enabled {
				t.Errorf("enabled %v, want %v", s.enabled, c.enabled)
			}
			if s.layers[up] != normal(c.up) || s.layers[down] != normal(c.down) {
				t.Errorf("layers are not what was asked: %+v", s.layers)
			}
		})
	}
}

func TestBehave(t *testing.T) {
	for _, c := range []struct {
		in   topology.Layers
		want behaviour
	}{
		{topology.Layers{Delay: 4}, behaviour{delay: 4}},
		{topology.Layers{Delay: 4, Fault: topology.Fault{Kind: topology.Slow, Delay: 9}}, behaviour{delay: 9}},
		{topology.Layers{Delay: 4, Fault: topology.Fault{Kind: topology.Narrow, Rate: 2}}, behaviour{delay: 4, rate: 2048}},
		{topology.Layers{Delay: 4, Fault: topology.Fault{Kind: topology.BlackHole}}, behaviour{delay: 4, hole: true}},
		{topology.Layers{Delay: 4, Fault: topology.Fault{Kind: topology.Cut}}, behaviour{delay: 4}},
		{topology.Layers{Delay: 4, Access: topology.Deny}, behaviour{delay: 4}},
	} {
		if got := behave(c.in); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		in  topology.Layers
		bad string
	}{
		{topology.Layers{}, ""},
		{topology.Layers{Fault: topology.Fault{Kind: topology.Slow}}, "delay above 0"},
		{topology.Layers{Fault: topology.Fault{Kind: topology.Narrow}}, "rate above 0"},
		{topology.Layers{Fault: topology.Fault{Kind: "loss"}}, `unknown fault "loss"`},
		{topology.Layers{Access: "maybe"}, `unknown access "maybe"`},
		{topology.Layers{Delay: -1}, "below 0"},
	} {
		if err := Validate(c.in); (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%+v: %v, want %q", c.in, err, c.bad)
		}
	}
}

// TestLayers sets all eight combinations of the three layers and heals them in both orders. What a link does to traffic and
// what another process reads back agree at every stop.
func TestLayers(t *testing.T) {
	const base, far = time.Duration(0), 20 * time.Millisecond
	r := newRig(t, base)
	l := r.link(tokyo, osaka)
	door := r.routes[0].Door
	check := func(what string, want topology.Layers) {
		t.Helper()
		got, err := r.again().Link(l.ID()).Layers(t.Context())
		r.must(err)
		if got != normal(want) {
			t.Fatalf("%s: another process reads %+v, want %+v", what, got, want)
		}
		rtt, err := ping(door, patience)
		if (err == nil) != want.Open() {
			t.Fatalf("%s: ping %v, layers %+v", what, err, want)
		}
		switch {
		case err != nil:
		case want.Delay == far && rtt < far:
			t.Fatalf("%s: round trip %s with layers %+v", what, rtt, want)
		case want.Delay != far && rtt >= far:
			below(t, door, far)
		}
	}
	cut := topology.Fault{Kind: topology.Cut}
	for bits := range 8 {
		for _, faultFirst := range []bool{true, false} {
			var want topology.Layers
			if bits&1 != 0 {
				want.Delay = far
			}
			if bits&2 != 0 {
				want.Fault = cut
			}
			want.Access = topology.Allow
			if bits&4 != 0 {
				want.Access = topology.Deny
			}
			r.must(l.SetDelay(t.Context(), want.Delay))
			r.must(l.SetFault(t.Context(), want.Fault))
			r.must(l.SetAccess(t.Context(), want.Access))
			check("set", want)
			heal := []func(){
				func() { r.must(l.SetFault(t.Context(), topology.Fault{})); want.Fault = topology.Fault{} },
				func() { r.must(l.SetAccess(t.Context(), topology.Allow)); want.Access = topology.Allow },
			}
			if !faultFirst {
				heal[0], heal[1] = heal[1], heal[0]
			}
			heal[0]()
			check(fmt.Sprintf("bits %03b, one healed (fault first: %v)", bits, faultFirst), want)
			heal[1]()
			check(fmt.Sprintf("bits %03b, both healed (fault first: %v)", bits, faultFirst), want)
			r.must(l.SetDelay(t.Context(), base))
		}
	}
}

func TestSecondApplyTouchesNothing(t *testing.T) {
	r := newRig(t, 0)
	l := r.link(tokyo, osaka)
	r.must(l.SetFault(t.Context(), topology.Fault{Kind: topology.Slow, Delay: 5 * time.Millisecond}))
	c, err := net.Dial("tcp", r.routes[0].Door)
	r.must(err)
	defer c.Close()
	for range 3 {
		r.must(l.SetFault(t.Context(), topology.Fault{Kind: topology.Slow, Delay: 5 * time.Millisecond}))
		r.must(l.SetAccess(t.Context(), topology.Allow))
		if _, err := pingOver(c, time.Now(), patience); err != nil {
			t.Fatalf("a connection did not live through an idempotent apply: %v", err)
		}
	}
}

// TestOneWay: a link is one direction of bytes, at the doors of both sites.
func TestOneWay(t *testing.T) {
	r := newRig(t, 0)
	far := 60 * time.Millisecond
	r.must(r.link(tokyo, osaka).SetFault(t.Context(), topology.Fault{Kind: topology.Slow, Delay: far}))
	for i, door := range []string{r.routes[0].Door, r.routes[1].Door} {
		rtt, err := ping(door, patience)
		r.must(err)
		if rtt < far {
			t.Errorf("door %d: round trip %s, want one way slow (%s)", i, rtt, far)
		}
		below(t, door, 2*far) // the other way is not
	}
	back, err := r.link(osaka, tokyo).Layers(t.Context())
	r.must(err)
	if back != normal(topology.Layers{}) {
		t.Errorf("the other direction changed: %+v", back)
	}
	up := map[string]bool{}
	for _, d := range r.link(tokyo, osaka).Doors() {
		up[d.Node] = d.Upstream
	}
	if !up["osaka-mysql-1"] || up["tokyo-mysql-1"] || len(up) != 2 {
		t.Errorf("doors of tokyo>osaka: %v", up)
	}
}

// TestBlackHole: bytes vanish one way while connections stay, old and new; once healed they arrive, in order.
func TestBlackHole(t *testing.T) {
	r := newRig(t, 0)
	l := r.link(tokyo, osaka)
	old, err := net.Dial("tcp", r.routes[0].Door)
	r.must(err)
	defer old.Close()
	if _, err := pingOver(old, time.Now(), patience); err != nil {
		t.Fatal(err)
	}
	r.must(l.SetFault(t.Context(), topology.Fault{Kind: topology.BlackHole}))
	if _, err := pingOver(old, time.Now(), 150*time.Millisecond); !timeout(err) {
		t.Errorf("over an old connection: %v, want silence", err)
	}
	if _, err := ping(r.routes[0].Door, 150*time.Millisecond); !timeout(err) {
		t.Errorf("over a new connection: %v, want silence", err)
	}
	for i := range byte(5) {
		old.Write([]byte{10 + i})
	}
	r.must(l.SetFault(t.Context(), topology.Fault{}))
	got := make([]byte, 6)
	old.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(old, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, []byte{1, 10, 11, 12, 13, 14}) {
		t.Errorf("after the heal: %v", got)
	}
}

func timeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// TestBlackHoleGivenUp: a sender that gives up during a black hole takes its bytes with it.
func TestBlackHoleGivenUp(t *testing.T) {
	r := newRig(t, 0)
	got := make(chan []byte, 1)
	target := listen(t, func(c net.Conn) { b, _ := io.ReadAll(c); got <- b })
	r.routes = append(r.routes, Route{From: tokyo, To: osaka, Service: topology.ServiceMySQL, Node: "osaka-mysql-2", Door: free(t), Target: target})
	r.routes[2].Listen = r.routes[2].Door
	w := r.again()
	r.must(w.create(t.Context(), r.routes[2]))
	r.must(w.Link(id(tokyo, osaka)).SetFault(t.Context(), topology.Fault{Kind: topology.BlackHole}))
	c, err := net.Dial("tcp", r.routes[2].Door)
	r.must(err)
	c.Write([]byte("late"))
	c.Close()
	select {
	case b := <-got:
		if len(b) != 0 {
			t.Errorf("the target got %q", b)
		}
	case <-time.After(patience):
		t.Fatal("the connection to the target was not closed")
	}
}

// TestDelayInFlight: a new delay applies to what is on its way, and order is kept.
func TestDelayInFlight(t *testing.T) {
	r := newRig(t, 0)
	l := r.link(tokyo, osaka)
	r.must(l.SetDelay(t.Context(), time.Minute))
	c, err := net.Dial("tcp", r.routes[0].Door)
	r.must(err)
	defer c.Close()
	c.Write([]byte{1, 2})
	if _, err := pingOver(c, time.Now(), 100*time.Millisecond); !timeout(err) {
		t.Fatalf("a minute of delay: %v", err)
	}
	r.must(l.SetDelay(t.Context(), time.Millisecond))
	c.Write([]byte{3})
	got := make([]byte, 4)
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, []byte{1, 2, 1, 3}) {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestNarrow(t *testing.T) {
	r := newRig(t, 0)
	r.must(r.link(tokyo, osaka).SetFault(t.Context(), topology.Fault{Kind: topology.Narrow, Rate: 256}))
	c, err := net.Dial("tcp", r.routes[0].Door)
	r.must(err)
	defer c.Close()
	data := bytes.Repeat([]byte("0123456789abcdef"), 8*1024) // 128 KiB: half a second
	began := time.Now()
	go c.Write(data)
	got := make([]byte, len(data))
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("bytes are not the same, or %v", err)
	}
	if took := time.Since(began); took < 450*time.Millisecond {
		t.Errorf("128 KiB at 256 KiB/s took %s", took)
	}
}

// TestNoWedge is upstream issue 558: a receiver that does not read, and every change that a link knows, on it. Each must end
// within its deadline, and the server must still list its proxies.
func TestNoWedge(t *testing.T) {
	r := newRig(t, 0)
	stuff(t, r)
	l := r.link(tokyo, osaka)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for round := range 2 {
		for _, f := range []topology.Fault{
			{Kind: topology.Slow, Delay: 20 * time.Millisecond}, {}, {Kind: topology.BlackHole}, {}, {Kind: topology.Narrow, Rate: 64},
			{Kind: topology.Cut}, {},
		} {
			r.must(l.SetFault(ctx, f))
			r.must(l.SetDelay(ctx, time.Duration(round)*time.Millisecond))
			r.must(r.Healthy(ctx))
			if f.Kind == topology.Cut {
				r.must(l.SetAccess(ctx, topology.Deny))
				r.must(l.SetAccess(ctx, topology.Allow))
			}
		}
		stuff(t, r)
	}
	if _, err := ping(r.routes[0].Door, patience); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// stuff fills one direction of a few connections through the first door until nothing fits any more: the echoing node stops
// reading when its own answers are not read.
func stuff(t *testing.T, r *rig) {
	t.Helper()
	block := make([]byte, 1<<16)
	for range 2 {
		c, err := net.Dial("tcp", r.routes[0].Door)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		for {
			c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := c.Write(block); err != nil {
				if !timeout(err) {
					t.Fatal(err)
				}
				break
			}
		}
	}
}

// TestOrdinaryToxicWedges shows why the links have a toxic of their own: the same update of toxiproxy's latency toxic, and
// the health check sees the wedge. When this fails, upstream was mended.
func TestOrdinaryToxicWedges(t *testing.T) {
	s, err := Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(s.Address())
	door := free(t)
	if err := a.create(t.Context(), proxyJSON{Name: "x", Listen: door, Upstream: echo(t)}); err != nil {
		t.Fatal(err)
	}
	body := map[string]any{"name": "l", "type": "latency", "stream": "upstream", "toxicity": 1, "attributes": map[string]int{"latency": 1}}
	if err := a.call(t.Context(), "POST", "/proxies/x/toxics", body, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.enable(t.Context(), "x", true); err != nil {
		t.Fatal(err)
	}
	stuff(t, &rig{t: t, routes: []Route{{Door: door}}})
	// On a loaded machine the pipe may still have been filling when its writer gave up: then an update comes back, and the next
	// one may not. There, too, a call may take its time: wedged is what the health check does not get through, either.
	within := func(f func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return f(ctx)
	}
	for i := 0; ; i++ {
		err := within(func(ctx context.Context) error {
			return a.call(ctx, "PATCH", "/proxies/x/toxics/l", map[string]any{"attributes": map[string]int{"latency": 2 + i}}, nil)
		})
		if errors.Is(err, topology.ErrUnknown) && within((&WAN{api: a}).Healthy) != nil {
			break
		}
		if err != nil && !errors.Is(err, topology.ErrUnknown) || i == 100 {
			t.Fatalf("%d updates of a latency toxic came back or left the server healthy, the last one with %v", i+1, err)
		}
		stuff(t, &rig{t: t, routes: []Route{{Door: door}}})
	}
	s.http.Close() // this server cannot be closed in an orderly way any more
}

// TestTwoProcesses: a drill heals and breaks while an operator denies. Neither undoes the other.
func TestTwoProcesses(t *testing.T) {
	r := newRig(t, 0)
	drill, operator := r.again().Link(id(tokyo, osaka)), r.again().Link(id(tokyo, osaka))
	var wg sync.WaitGroup
	errs := make(chan error, 200)
	wg.Go(func() {
		for i := range 60 {
			f := topology.Fault{Kind: topology.Cut}
			if i%2 == 1 {
				f = topology.Fault{}
			}
			errs <- drill.SetFault(t.Context(), f)
		}
	})
	wg.Go(func() {
		for i := range 61 {
			a := topology.Deny
			if i%2 == 1 {
				a = topology.Allow
			}
			errs <- operator.SetAccess(t.Context(), a)
		}
	})
	wg.Wait()
	close(errs)
	for err := range errs {
		r.must(err)
	}
	got, err := r.link(tokyo, osaka).Layers(t.Context())
	r.must(err)
	if want := (topology.Layers{Access: topology.Deny}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := ping(r.routes[0].Door, patience); err == nil {
		t.Error("a denied link answers")
	}
}

// TestHalfDone: whoever was killed in the middle of a change leaves a door that the next reader puts right.
func TestHalfDone(t *testing.T) {
	r := newRig(t, 0)
	l := r.link(tokyo, osaka)
	t.Run("closed but not said", func(t *testing.T) {
		r.must(r.api.enable(t.Context(), r.routes[0].Name(), false))
		got, err := l.Layers(t.Context())
		r.must(err)
		if _, err := ping(r.routes[0].Door, patience); got.Open() != (err == nil) {
			t.Errorf("layers %+v but ping %v", got, err)
		}
	})
	t.Run("said at the first door only", func(t *testing.T) {
		deny := toAttributes(topology.Layers{Access: topology.Deny})
		r.must(r.api.enable(t.Context(), r.routes[0].Name(), false))
		r.must(r.api.updateToxic(t.Context(), r.routes[0].Name(), toxicName(l.ID()), deny))
		got, err := l.Layers(t.Context())
		r.must(err)
		if got.Access != topology.Deny {
			t.Fatalf("%+v", got)
		}
		if _, err := ping(r.routes[1].Door, patience); err == nil {
			t.Error("the second door stayed open")
		}
	})
}

func TestBadAttributes(t *testing.T) {
	r := newRig(t, 0)
	err := r.api.updateToxic(t.Context(), r.routes[0].Name(), toxicName(id(tokyo, osaka)), attributes{Delay: "soon", FaultDelay: "0s", Access: "allow"})
	if err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("toxiproxy took a delay that is none: %v", err)
	}
	if err := r.link(tokyo, osaka).SetFault(t.Context(), topology.Fault{Kind: "loss"}); err == nil {
		t.Error("an unknown fault was set")
	}
}

func TestLockIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := lockFile(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock: %v", err)
	}
	unlock()
	again, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	again()
	cancel()
	if late, err := lockFile(ctx, path); err == nil {
		late()
		t.Error("a lock that is free was taken after its context had ended")
	}
}

// TestLockIsFair: one who takes the lock again and again does not keep another from it.
func TestLockIsFair(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	greedy := make(chan error, 1)
	has := make(chan bool)
	go func() {
		for {
			unlock, err := lockFile(ctx, path)
			if err != nil {
				greedy <- err
				return
			}
			select {
			case has <- true:
			default:
			}
			time.Sleep(10 * time.Millisecond) // longer than the other one's pause between two looks
			unlock()
		}
	}()
	for range 20 {
		select {
		case <-has: // whoever freed the lock a moment ago has it again
		case err := <-greedy:
			t.Fatal(err)
		}
		unlock, err := lockFile(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		unlock()
	}
	stop()
	if err := <-greedy; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestDoorTaken(t *testing.T) {
	r := newRig(t, 0)
	taken := r.routes[0]
	taken.Node = "osaka-mysql-9"
	if err := r.create(t.Context(), taken); !errors.Is(err, topology.ErrEnvironment) {
		t.Errorf("a taken address: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	specs := []topology.LinkSpec{{ID: id(tokyo, osaka)}}
	if _, err := New("x", "y", specs, []Route{{From: tokyo, To: osaka, Service: topology.ServiceMySQL}}); err == nil || !strings.Contains(err.Error(), "osaka>tokyo/mysql") {
		t.Errorf("a door without its way back: %v", err)
	}
	if _, err := New("x", "y", specs, nil); err == nil || !strings.Contains(err.Error(), "tokyo>osaka/mysql") {
		t.Errorf("a link without a door: %v", err)
	}
}

var (
	_ toxics.BufferedToxic = (*shape)(nil)
	_ toxics.StatefulToxic = (*shape)(nil)
)
