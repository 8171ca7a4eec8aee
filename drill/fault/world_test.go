package fault

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

// fakeWorld is two regions on loopback: real listeners, a small proxy a door, links that act on the proxies.
type fakeWorld struct {
	topology.World // nil: what is not here is not used
	mu             sync.Mutex
	nodes          []*fakeNode
	links          []*fakeLink
	acts           []string // what was done to it, in order
}

func (w *fakeWorld) act(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acts = append(w.acts, fmt.Sprintf(format, args...))
}

func (w *fakeWorld) Topology() topology.Topology {
	return topology.Topology{Name: "fake", Regions: []topology.Region{
		{Name: "tokyo", Role: topology.Active}, {Name: "osaka", Role: topology.Standby},
	}}
}

func (w *fakeWorld) Node(name string) (topology.Node, error) {
	for _, n := range w.nodes {
		if n.name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node %q", name)
}

func (w *fakeWorld) Nodes(site topology.Site, kind topology.Kind) []topology.Node {
	var out []topology.Node
	for _, n := range w.nodes {
		if n.site == site && (kind == "" || n.kind == kind) {
			out = append(out, n)
		}
	}
	return out
}

func (w *fakeWorld) Link(id topology.LinkID) (topology.Link, error) {
	for _, l := range w.links {
		if l.id == id {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no link %s", id)
}

func (w *fakeWorld) Links() []topology.Link {
	var out []topology.Link
	for _, l := range w.links {
		out = append(out, l)
	}
	return out
}

type fakeNode struct {
	topology.Node
	world *fakeWorld
	name  string
	site  topology.Site
	kind  topology.Kind
	mu    sync.Mutex
	state topology.State
	end   func()
}

func (n *fakeNode) Name() string        { return n.name }
func (n *fakeNode) Site() topology.Site { return n.site }
func (n *fakeNode) Kind() topology.Kind { return n.kind }
func (n *fakeNode) State(context.Context) (topology.State, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state, nil
}
func (n *fakeNode) Kill(context.Context) error {
	n.world.act("kill %s", n.name)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = topology.Stopped
	if n.end != nil {
		n.end()
	}
	return nil
}

type fakeLink struct {
	world  *fakeWorld
	id     topology.LinkID
	doors  []topology.Door
	mu     sync.Mutex
	layers topology.Layers
	proxy  []*fakeProxy // one a door
	broken error
}

func (l *fakeLink) ID() topology.LinkID    { return l.id }
func (l *fakeLink) Doors() []topology.Door { return l.doors }
func (l *fakeLink) Layers(context.Context) (topology.Layers, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.layers, nil
}
func (l *fakeLink) SetFault(_ context.Context, f topology.Fault) error {
	l.world.act("%s %q", l.id, f.Kind)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	l.layers.Fault = f
	l.apply()
	return nil
}
func (l *fakeLink) SetDelay(_ context.Context, d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.layers.Delay = d
	l.apply()
	return nil
}
func (l *fakeLink) SetAccess(_ context.Context, a topology.Access) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.layers.Access = a
	l.apply()
	return nil
}
func (l *fakeLink) apply() {
	for i, p := range l.proxy {
		p.set(l.doors[i].Upstream, l.layers)
	}
}

// fakeProxy is one door: it passes bytes on, late, or not at all, or refuses.
type fakeProxy struct {
	address, target string
	mu              sync.Mutex
	layers          [2]topology.Layers // of the bytes back, and of those to the target
	listener        net.Listener
	conns           map[net.Conn]bool
	wg              sync.WaitGroup
}

// ownHost is a loopback address that only this process uses: a door that was shut finds its port free when it opens again, and
// nobody else answers there meanwhile.
func ownHost() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.252.%d.%d", pid>>8&0xff, pid&0xff)
}

func newFakeProxy(t *testing.T, target string) *fakeProxy {
	t.Helper()
	p := &fakeProxy{target: target, conns: map[net.Conn]bool{}}
	p.listen(t, net.JoinHostPort(ownHost(), "0"))
	t.Cleanup(p.shut)
	return p
}

func (p *fakeProxy) listen(t *testing.T, address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		if t != nil {
			t.Fatal(err)
		}
		panic(err)
	}
	p.address, p.listener = l.Addr().String(), l
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
}

func (p *fakeProxy) set(upstream bool, layers topology.Layers) {
	p.mu.Lock()
	i := 0
	if upstream {
		i = 1
	}
	p.layers[i] = layers
	cut := false
	for _, l := range p.layers {
		cut = cut || l.Access == topology.Deny || l.Fault.Kind == topology.Cut
	}
	open := p.listener != nil
	p.mu.Unlock()
	if cut && open {
		p.shut()
	} else if !cut && !open {
		p.listen(nil, p.address)
	}
}

func (p *fakeProxy) shut() {
	p.mu.Lock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		c.Close()
	}
	p.conns = map[net.Conn]bool{}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *fakeProxy) serve(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return // as a proxy does whose target is dead: accepted, closed at once
	}
	defer out.Close()
	p.mu.Lock()
	if p.listener == nil {
		p.mu.Unlock()
		return
	}
	p.conns[in], p.conns[out] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pump(out, in, 1) })
	both.Go(func() { p.pump(in, out, 0) })
	both.Wait()
}

func (p *fakeProxy) pump(to, from net.Conn, direction int) {
	defer to.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		l := p.layers[direction]
		p.mu.Unlock()
		if l.Fault.Kind == topology.BlackHole {
			continue
		}
		d := l.Delay
		if l.Fault.Kind == topology.Slow {
			d = l.Fault.Delay
		}
		time.Sleep(d)
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// server listens and answers each connection with f.
func server(t *testing.T, f func(net.Conn)) (address string, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			wg.Go(func() { defer c.Close(); f(c) })
		}
	})
	end = sync.OnceFunc(func() {
		l.Close()
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	t.Cleanup(end)
	return l.Addr().String(), end
}

// mysqlServer greets and refuses every login, as MySQL refuses an unknown user.
func mysqlServer(c net.Conn) {
	greeting := append([]byte{10}, "9.7.4\x00more"...)
	c.Write(append([]byte{byte(len(greeting)), 0, 0, 0}, greeting...))
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	if _, err := io.ReadFull(c, make([]byte, int(head[0])|int(head[1])<<8)); err != nil {
		return
	}
	no := append([]byte{0xff, 0x15, 0x04}, "#28000Access denied"...)
	c.Write(append([]byte{byte(len(no)), 0, 0, 2}, no...))
}

// cassandraServer answers an opening handshake as a node does that shares no version with the caller.
func cassandraServer(c net.Conn) {
	b := make([]byte, 19)
	if _, err := io.ReadFull(c, b); err != nil || binary.BigEndian.Uint32(b) != 0xCA552DFA || binary.BigEndian.Uint32(b[15:]) != cassandraCRC(b[:15]) {
		return
	}
	a := binary.BigEndian.AppendUint32(nil, 13)
	a = binary.BigEndian.AppendUint32(a, 13)
	c.Write(binary.BigEndian.AppendUint32(a, cassandraCRC(a)))
}

// newWorld makes tokyo and osaka with a MySQL, a Cassandra and a gateway each, an acquirer, and every link between them.
func newWorld(t *testing.T) *fakeWorld {
	t.Helper()
	w := &fakeWorld{}
	add := func(name string, site topology.Site, kind topology.Kind, serve func(net.Conn)) string {
		address, end := "", func() {}
		if serve != nil {
			address, end = server(t, serve)
		} else {
			h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusServiceUnavailable) // a gateway without a backend answers too
			}))
			end = sync.OnceFunc(h.Close)
			t.Cleanup(end)
			address = h.Listener.Addr().String()
		}
		w.nodes = append(w.nodes, &fakeNode{world: w, name: name, site: site, kind: kind, state: topology.Running, end: end})
		return address
	}
	join := func(from, to topology.Site, s topology.Service, node, target string) {
		p := newFakeProxy(t, target)
		for _, d := range []struct {
			id topology.LinkID
			up bool
		}{{topology.LinkID{From: from, To: to, Service: s}, true}, {topology.LinkID{From: to, To: from, Service: s}, false}} {
			i := slices.IndexFunc(w.links, func(l *fakeLink) bool { return l.id == d.id })
			if i < 0 {
				i = len(w.links)
				w.links = append(w.links, &fakeLink{world: w, id: d.id})
			}
			l := w.links[i]
			l.doors = append(l.doors, topology.Door{Node: node, Address: p.address, Reach: p.address, Upstream: d.up})
			l.proxy = append(l.proxy, p)
		}
	}
	addresses := map[string]string{}
	for _, s := range []topology.Site{"tokyo", "osaka"} {
		addresses[string(s)+"-mysql-1"] = add(string(s)+"-mysql-1", s, topology.MySQL, mysqlServer)
		addresses[string(s)+"-cassandra-1"] = add(string(s)+"-cassandra-1", s, topology.Cassandra, cassandraServer)
		addresses[string(s)+"-gateway-1"] = add(string(s)+"-gateway-1", s, topology.Gateway, nil)
	}
	acquirer := add("outside-acquirer-1", topology.Outside, topology.Acquirer, nil)
	for _, x := range [][2]topology.Site{{"tokyo", "osaka"}, {"osaka", "tokyo"}} {
		for _, s := range []topology.Service{topology.ServiceMySQL, topology.ServiceCassandra} {
			node := fmt.Sprintf("%s-%s-1", x[1], s)
			join(x[0], x[1], s, node, addresses[node])
		}
		join(topology.Outside, x[0], topology.ServiceHTTP, string(x[0])+"-gateway-1", addresses[string(x[0])+"-gateway-1"])
		join(x[0], topology.Outside, topology.ServiceAcquirer, "outside-acquirer-1", acquirer)
	}
	for _, l := range w.links {
		l.SetDelay(context.Background(), time.Millisecond)
	}
	return w
}

// record opens a recorder in a folder of its own; read loads what it wrote.
func record(t *testing.T) (rec *history.Recorder, read func() *history.Run) {
	t.Helper()
	folder := t.TempDir()
	if err := history.WriteJSON(folder+"/"+history.MetaFile, history.Meta{Schema: history.SchemaVersion}); err != nil {
		t.Fatal(err)
	}
	rec, err := history.NewRecorder(folder, history.Monotonic{})
	if err != nil {
		t.Fatal(err)
	}
	return rec, func() *history.Run {
		t.Helper()
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		run, err := history.Load(folder)
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
}
