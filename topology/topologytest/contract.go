package topologytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
)

// contract is one run of the suite: a world made by another process, attached to from this one.
type contract struct {
	h        Host
	paymentd string
	runtime  topology.Runtime
	owner    *Owner
	topology.World
	active, standby topology.Site
}

// Run holds a runtime against the contract.
func Run(t *testing.T, h Host) {
	if os.Getenv(LiveVariable) != "1" {
		t.Skipf("set %s=1 to run tests that start real servers", LiveVariable)
	}
	c := &contract{h: h, paymentd: Paymentd(t)}
	var err error
	c.runtime, err = h.Runtime(c.paymentd)
	must(t, err)
	must(t, c.runtime.Check(t.Context()))
	c.owner = Start(t, h, c.paymentd, nil)
	c.World, err = c.runtime.Attach(t.Context(), c.owner.Folder)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	c.active, c.standby = c.Topology().Active(), c.Topology().Standby()

	for _, s := range []struct {
		name string
		test func(*testing.T)
	}{
		{"about", c.about},
		{"nodes", c.nodes},
		{"unknown names", c.unknown},
		{"customers are served", c.served},
		{"zone", c.zone},
		{"links", c.links},
		{"links/layers", c.layers},
		{"isolation", c.isolation},
		{"life of a node", c.lives},
		{"restarted stores are the same", c.identity},
		{"wipe", c.wipe},
		{"alone", c.alone},
		{"two worlds, and one owner is killed", c.sweep},
		{"down", c.down},
	} {
		if !t.Run(s.name, s.test) && t.Context().Err() != nil {
			return
		}
	}
}

func (c *contract) node(t *testing.T, site topology.Site, kind topology.Kind) topology.Node {
	t.Helper()
	all := c.Nodes(site, kind)
	if len(all) == 0 {
		t.Fatalf("no %s at %s", kind, site)
	}
	return all[0]
}

func (c *contract) link(t *testing.T, from, to topology.Site, s topology.Service) topology.Link {
	t.Helper()
	l, err := c.Link(topology.LinkID{From: from, To: to, Service: s})
	must(t, err)
	return l
}

func (c *contract) state(t *testing.T, n topology.Node, want topology.State) {
	t.Helper()
	got, err := n.State(t.Context())
	must(t, err)
	if got != want {
		t.Fatalf("%s is %s, want %s", n.Name(), got, want)
	}
}

func (c *contract) mysql(t *testing.T, site topology.Site) *mysql.Server {
	t.Helper()
	n := c.node(t, site, topology.MySQL)
	at, err := n.Endpoint(topology.ServiceMySQL)
	must(t, err)
	s, err := mysql.Open(at, mysql.UserOps, c.About().Secret, mysql.Options{Name: n.Name()})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func (c *contract) cql(t *testing.T, sites ...topology.Site) []string {
	t.Helper()
	var all []string
	for _, site := range sites {
		for _, n := range c.Nodes(site, topology.Cassandra) {
			at, err := n.Endpoint(topology.ServiceCQL)
			must(t, err)
			all = append(all, at)
		}
	}
	return all
}

func (c *contract) cassandra(t *testing.T, site topology.Site) *cassandra.Session {
	t.Helper()
	s, err := cassandra.Open(t.Context(), cassandra.Site{Name: string(site), Contact: c.cql(t, site), DC: string(site)})
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

func (c *contract) about(t *testing.T) {
	a := c.About()
	if a.Runtime != c.runtime.Name() || a.ID == "" || len(a.Secret) < 16 {
		t.Errorf("%+v", a)
	}
	if a.Owner.PID != c.owner.PID() || a.Owner.BootID != history.BootID() || a.Owner.StartTime == 0 {
		t.Errorf("owner %+v, the world process is %d", a.Owner, c.owner.PID())
	}
	if a.Engines["mysql"] == "" || a.Engines["cassandra"] == "" {
		t.Errorf("engines %v", a.Engines)
	}
	info, err := os.Stat(filepath.Join(c.owner.Folder, history.WorldFile))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s holds a secret and has mode %s", history.WorldFile, info.Mode())
	}
	if _, err := c.runtime.Attach(t.Context(), t.TempDir()); err == nil {
		t.Error("attached to a folder without a world")
	}
}

// nodes: all that were declared, running but for those that article 002 keeps stopped in normal times.
func (c *contract) nodes(t *testing.T) {
	want := map[topology.Kind]int{topology.MySQL: 1, topology.Params: 1, topology.Gateway: 1, topology.Batch: 1}
	for _, r := range c.Topology().Regions {
		want[topology.Cassandra], want[topology.App] = r.Cassandra, r.Apps
		for kind, n := range want {
			if got := len(c.Nodes(r.Name, kind)); got != n {
				t.Errorf("%s has %d %s, want %d", r.Name, got, kind, n)
			}
		}
	}
	if len(c.Nodes(topology.Outside, topology.Acquirer)) != 1 || len(c.Nodes(topology.Outside, topology.OnPremises)) != 1 {
		t.Error("outside lacks the acquirer or the client on premises")
	}
	for _, n := range c.Nodes("", "") {
		want := topology.Running
		if n.Kind() == topology.OnPremises || n.Kind() == topology.App && n.Site() == c.standby {
			want = topology.Stopped
		}
		c.state(t, n, want)
		if again, err := c.Node(n.Name()); err != nil || again.Name() != n.Name() || again.Site() != n.Site() || again.Kind() != n.Kind() {
			t.Errorf("%s by name: %v, %v", n.Name(), again, err)
		}
		if want != topology.Running {
			continue
		}
		lines, err := n.Logs(t.Context(), 5)
		if err != nil || len(lines) == 0 || len(lines) > 5 {
			t.Errorf("log of %s: %d lines, %v", n.Name(), len(lines), err)
		}
	}
}

func (c *contract) unknown(t *testing.T) {
	_, err := c.Node("tokyo-mysq-1")
	if err == nil || !strings.Contains(err.Error(), `did you mean "tokyo-mysql-1"?`) {
		t.Errorf("node: %v", err)
	}
	_, err = c.Link(topology.LinkID{From: "tokyo", To: "osaka", Service: "mysq"})
	if err == nil || !strings.Contains(err.Error(), `did you mean "tokyo>osaka/mysql"?`) {
		t.Errorf("link: %v", err)
	}
	if _, err := c.node(t, c.active, topology.MySQL).Endpoint(topology.ServiceHTTP); err == nil || !strings.Contains(err.Error(), "known: mysql") {
		t.Errorf("endpoint: %v", err)
	}
}

// resolve asks the zone's server, as a customer does.
func (c *contract) resolve(t *testing.T, name string) string {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	r, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(m, c.Zone().Server())
	must(t, err)
	if len(r.Answer) != 1 {
		t.Fatalf("%s: %v", name, r)
	}
	return r.Answer[0].(*dns.A).A.String()
}

// served: a payment by name, through the door, lands in both regions' stores.
func (c *contract) served(t *testing.T) {
	records, err := c.Zone().Records(t.Context())
	must(t, err)
	at := c.resolve(t, records[0].Name)
	status, body, err := web(t.Context(), "POST", fmt.Sprintf("http://%s:%d/payments", at, topology.ServiceHTTP.Port()), "contract-1", `{"from":1,"to":2,"yen":100}`)
	if err != nil || status != 200 || !strings.Contains(body, "DONE") {
		t.Fatalf("payment: %d %s %v", status, body, err)
	}
	replica, ring := c.mysql(t, c.standby), c.cassandra(t, c.standby)
	within(t, 5*time.Second, "the standby's MySQL shows the payment", func(ctx context.Context) error {
		rows, err := replica.Rows(ctx)
		if err == nil && !slices.ContainsFunc(rows.Payments, func(p history.PaymentRow) bool { return p.Key == "contract-1" && p.State == "DONE" }) {
			err = fmt.Errorf("it shows %d payments", len(rows.Payments))
		}
		return err
	})
	within(t, 5*time.Second, "the standby's Cassandra shows the event", func(ctx context.Context) error {
		rows, err := ring.JournalRows(ctx)
		if err == nil && !slices.ContainsFunc(rows.Events, func(e history.EventRow) bool { return e.Key == "contract-1" }) {
			err = fmt.Errorf("it shows %d events", len(rows.Events))
		}
		return err
	})
}

func (c *contract) zone(t *testing.T) {
	before, err := c.Zone().Records(t.Context())
	must(t, err)
	if len(before) != len(c.Topology().Zone.Records) || len(before) < 5 {
		t.Fatalf("%d records", len(before))
	}
	r := before[0]
	was := c.resolve(t, r.Name)
	if was != r.Address || r.Site != c.active || r.TTL != c.Topology().Zone.TTL {
		t.Errorf("%s is %s, the record says %+v", r.Name, was, r)
	}
	must(t, c.Zone().Point(t.Context(), r.Name, c.standby))
	if now := c.resolve(t, r.Name); now == was {
		t.Errorf("%s still leads to %s", r.Name, now)
	}
	must(t, c.Zone().Point(t.Context(), r.Name, c.active))
	must(t, c.Zone().Point(t.Context(), "young", c.standby))
	after, err := c.Zone().Records(t.Context())
	must(t, err)
	if len(after) != len(before)+1 || !after[0].Changed.After(before[0].Changed) || !after[0].Added.Equal(before[0].Added) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if err := c.Zone().Point(t.Context(), r.Name, "osako"); err == nil || !strings.Contains(err.Error(), `did you mean "osaka"?`) {
		t.Errorf("unknown site: %v", err)
	}
}

// links: every one of them, at each of its doors, open, cut, slow and silent; and what its neighbours feel of it.
func (c *contract) links(t *testing.T) {
	const patience = 3 * time.Second
	for _, l := range c.Links() {
		t.Run(strings.ReplaceAll(l.ID().String(), "/", " "), func(t *testing.T) {
			if len(l.Doors()) == 0 {
				t.Fatal("it has no door")
			}
			service := l.ID().Service
			before, err := l.Layers(t.Context())
			must(t, err)
			for _, d := range l.Doors() {
				if _, err := ping(service, d.Reach, patience); err != nil {
					t.Fatalf("open, %s: %v", d.Reach, err)
				}
			}
			door := l.Doors()[0]
			if service == topology.ServiceCassandra { // it answers with the end of the connection, which no delay and no hole holds back
				door = l.Doors()[slices.IndexFunc(l.Doors(), func(d topology.Door) bool { return d.Upstream })]
			}
			old, err := dial(service, door.Reach, patience)
			must(t, err)
			defer old.Close()

			must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
			for _, d := range l.Doors() {
				if _, err := ping(service, d.Reach, patience); !closed(err) {
					t.Errorf("cut, a new connection to %s: %v", d.Reach, err)
				}
			}
			if service != topology.ServiceCassandra { // its far end would hang up, too
				if _, err := old.ask(patience); !closed(err) {
					t.Errorf("cut, an old connection: %v", err)
				}
			}
			must(t, l.SetFault(t.Context(), topology.Fault{}))
			if _, err := ping(service, door.Reach, patience); err != nil {
				t.Errorf("healed: %v", err)
			}

			far := 120 * time.Millisecond
			must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Slow, Delay: far}))
			if rtt, err := ping(service, door.Reach, patience); err != nil || rtt < far || rtt > 2*far+time.Second {
				t.Errorf("slow: %s, %v", rtt, err)
			}

			must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.BlackHole}))
			if _, err := ping(service, door.Reach, 300*time.Millisecond); !timedOut(err) {
				t.Errorf("black hole: %v", err)
			}
			must(t, l.SetFault(t.Context(), topology.Fault{}))
			if _, err := ping(service, door.Reach, patience); err != nil {
				t.Errorf("healed: %v", err)
			}
			if after, err := l.Layers(t.Context()); err != nil || after != before {
				t.Errorf("layers %+v before, %+v after, %v", before, after, err)
			}
		})
	}
}

// layers: the world's fault and the operators' denial do not undo one another.
func (c *contract) layers(t *testing.T) {
	l := c.link(t, c.standby, c.active, topology.ServiceCassandra)
	open := func(want bool) {
		t.Helper()
		x, err := l.Layers(t.Context())
		must(t, err)
		_, err = ping(topology.ServiceCassandra, l.Doors()[0].Reach, 2*time.Second)
		if x.Open() != want || (err == nil) != want {
			t.Fatalf("layers %+v, ping %v, want open %v", x, err, want)
		}
	}
	must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
	must(t, l.SetAccess(t.Context(), topology.Deny))
	open(false)
	must(t, l.SetFault(t.Context(), topology.Fault{}))
	open(false)
	must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
	must(t, l.SetAccess(t.Context(), topology.Allow))
	open(false)
	must(t, l.SetFault(t.Context(), topology.Fault{}))
	open(true)
}

// isolation: with all links between the regions cut, neither store gets anything across; each region goes on by itself. After
// the heal they catch up.
func (c *contract) isolation(t *testing.T) {
	here, there := c.mysql(t, c.active), c.mysql(t, c.standby)
	ring, other := c.cassandra(t, c.active), c.cassandra(t, c.standby)
	must(t, ring.Quorums(t.Context()))
	cut := func(f topology.Fault) {
		for _, l := range c.Links() {
			if id := l.ID(); id.From != topology.Outside && id.To != topology.Outside {
				must(t, l.SetFault(t.Context(), f))
			}
		}
	}
	cut(topology.Fault{Kind: topology.Cut})
	defer cut(topology.Fault{})
	if err := ring.Quorums(t.Context()); err == nil {
		t.Error("Cassandra reaches both regions over cut links")
	}
	must(t, ring.Ping(t.Context()))
	must(t, other.Ping(t.Context()))
	can, err := mysql.OpenCanary(endpoint(t, c.node(t, c.active, topology.MySQL), topology.ServiceMySQL), c.About().Secret, 2*time.Second)
	must(t, err)
	defer can.Close()
	if o, why := can.Insert(t.Context(), "contract-isolated", string(c.active), history.Monotonic{}.Now()); o != history.OK {
		t.Fatalf("the active region's MySQL takes no write: %s %s", o, why)
	}
	mine, err := here.Status(t.Context())
	must(t, err)
	if got, err := there.WaitExecuted(t.Context(), mine.Executed, time.Second); err != nil || got {
		t.Errorf("the standby has what was written behind the cut (%v, %v)", got, err)
	}
	cut(topology.Fault{})
	within(t, 20*time.Second, "the standby has caught up", func(ctx context.Context) error {
		if got, err := there.WaitExecuted(ctx, mine.Executed, time.Second); err != nil || !got {
			return fmt.Errorf("not yet, %v", err)
		}
		return nil
	})
	within(t, 40*time.Second, "both quorums answer again", ring.Quorums)
}

func endpoint(t *testing.T, n topology.Node, s topology.Service) string {
	t.Helper()
	at, err := n.Endpoint(s)
	must(t, err)
	return at
}

// lives: pause, resume, kill, start and stop of every kind of node, in the standby region, whose loss nobody misses.
func (c *contract) lives(t *testing.T) {
	nodes := []topology.Node{
		c.node(t, c.standby, topology.Params), c.node(t, c.standby, topology.Gateway), c.node(t, c.standby, topology.Batch),
		c.node(t, topology.Outside, topology.Acquirer), c.node(t, c.standby, topology.MySQL), c.node(t, c.standby, topology.Cassandra),
		c.node(t, c.active, topology.App),
	}
	for _, n := range nodes {
		t.Run(n.Name(), func(t *testing.T) {
			service := topology.ServiceHTTP
			switch n.Kind() {
			case topology.MySQL:
				service = topology.ServiceMySQL
			case topology.Cassandra:
				service = topology.ServiceCassandra
			}
			at := endpoint(t, n, service)
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			answers := func() {
				t.Helper()
				within(t, 60*time.Second, n.Name()+" answers", func(context.Context) error { _, err := ping(service, at, 2*time.Second); return err })
			}
			answers()
			must(t, n.Start(ctx)) // it runs: nothing happens
			must(t, n.Pause(ctx))
			c.state(t, n, topology.Paused)
			if _, err := ping(service, at, 300*time.Millisecond); !timedOut(err) {
				t.Errorf("paused: %v", err)
			}
			must(t, n.Pause(ctx))
			must(t, n.Resume(ctx))
			c.state(t, n, topology.Running)
			answers()
			must(t, n.Pause(ctx)) // a paused one can be killed
			must(t, n.Kill(ctx))
			c.state(t, n, topology.Stopped)
			if _, err := ping(service, at, 300*time.Millisecond); !closed(err) {
				t.Errorf("killed: %v", err)
			}
			must(t, n.Kill(ctx))
			if err := n.Pause(ctx); err == nil {
				t.Error("a killed node was paused")
			}
			must(t, n.Start(ctx))
			c.state(t, n, topology.Running)
			answers()
			if again := endpoint(t, n, service); again != at {
				t.Errorf("it moved from %s to %s", at, again)
			}
			if n.Kind() == topology.Cassandra {
				return // an orderly stop is tried below, with its identity
			}
			must(t, n.Stop(ctx))
			c.state(t, n, topology.Stopped)
			must(t, n.Stop(ctx))
			must(t, n.Start(ctx))
			answers()
			lines, err := n.Logs(ctx, 1000)
			must(t, err)
			if len(lines) == 0 || !strings.Contains(strings.Join(lines, "\n"), "killed") {
				t.Errorf("its log does not tell that it was killed: %q", lines)
			}
		})
	}
	// Replication does not start by itself: an operator decides. Here that is the test.
	replica := c.mysql(t, c.standby)
	must(t, replica.Follow(t.Context(), doorHost(t, c.link(t, c.active, c.standby, topology.ServiceMySQL), false), topology.ServiceMySQL.Port(), c.About().Secret, mysql.FollowOptions{}))
}

// doorHost is the host of a link's first door in the given direction.
func doorHost(t *testing.T, l topology.Link, upstream bool) string {
	t.Helper()
	for _, d := range l.Doors() {
		if d.Upstream == upstream {
			host, _, _ := strings.Cut(d.Reach, ":")
			return host
		}
	}
	t.Fatalf("link %s has no such door", l.ID())
	return ""
}

// identity: a store that was stopped or killed comes back as the same member with the same data.
func (c *contract) identity(t *testing.T) {
	db := c.mysql(t, c.standby)
	before, err := db.Status(t.Context())
	must(t, err)
	n := c.node(t, c.standby, topology.MySQL)
	must(t, n.Kill(t.Context()))
	must(t, n.Start(t.Context()))
	must(t, db.WaitReady(t.Context()))
	after, err := db.Status(t.Context())
	must(t, err)
	if after.UUID != before.UUID || !strings.Contains(after.Executed, ":") || !after.SuperReadOnly {
		t.Errorf("before %+v, after %+v", before, after)
	}
	ring := c.node(t, c.standby, topology.Cassandra)
	must(t, ring.Stop(t.Context()))
	c.state(t, ring, topology.Stopped)
	must(t, ring.Start(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	must(t, cassandra.WaitRing(ctx, c.cql(t, c.active, c.standby)...))
	s := c.cassandra(t, c.standby)
	within(t, 40*time.Second, "both quorums answer", s.Quorums)
	rows, err := s.JournalRows(t.Context())
	must(t, err)
	if len(rows.Events) == 0 {
		t.Error("its events are gone")
	}
}

func (c *contract) wipe(t *testing.T) {
	n := c.node(t, c.standby, topology.Params)
	url := "http://" + endpoint(t, n, topology.ServiceHTTP) + "/params"
	if err := n.Wipe(t.Context()); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("a running node was wiped: %v", err)
	}
	_, before, err := web(t.Context(), "GET", url, "", "")
	must(t, err)
	must(t, n.Stop(t.Context()))
	must(t, n.Wipe(t.Context()))
	must(t, n.Start(t.Context()))
	within(t, 5*time.Second, "it answers", func(ctx context.Context) error {
		_, after, err := web(ctx, "GET", url, "", "")
		if err == nil && (after == before || !strings.Contains(before, "batch.enabled") || strings.Contains(after, "batch.enabled")) {
			t.Errorf("before %s, after %s", before, after)
		}
		return err
	})
	db := c.node(t, c.standby, topology.MySQL)
	was, err := c.mysql(t, c.standby).Status(t.Context())
	must(t, err)
	must(t, db.Kill(t.Context()))
	must(t, db.Wipe(t.Context()))
	must(t, db.Start(t.Context()))
	is, err := c.mysql(t, c.standby).Status(t.Context())
	must(t, err)
	if is.UUID == was.UUID || is.Executed != "" || is.Source != "" {
		t.Errorf("a wiped server came back with %+v", is)
	}
}

// alone: a lost site's stores give their data while everything around them is cut.
func (c *contract) alone(t *testing.T) {
	for _, l := range c.Links() {
		if l.ID().From == c.active || l.ID().To == c.active {
			must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
		}
	}
	for _, kind := range []topology.Kind{topology.App, topology.MySQL, topology.Cassandra} {
		for _, n := range c.Nodes(c.active, kind) {
			must(t, n.Kill(t.Context()))
		}
	}
	app, ok := c.node(t, c.active, topology.App).(topology.LoneStarter)
	if ok {
		if err := app.StartAlone(t.Context()); !errors.Is(err, topology.ErrUnsupported) {
			t.Errorf("an app alone: %v", err)
		}
	}
	for _, kind := range []topology.Kind{topology.MySQL, topology.Cassandra} {
		for _, n := range c.Nodes(c.active, kind) {
			lone, ok := n.(topology.LoneStarter)
			if !ok {
				t.Fatalf("%s cannot be started alone", n.Name())
			}
			must(t, lone.StartAlone(t.Context()))
		}
	}
	db := c.mysql(t, c.active)
	must(t, db.WaitReady(t.Context()))
	s, err := db.Status(t.Context())
	must(t, err)
	if !s.SuperReadOnly {
		t.Error("it came up writable")
	}
	rows, err := db.Rows(t.Context())
	must(t, err)
	if len(rows.Payments) == 0 {
		t.Error("its payments are gone")
	}
	within(t, 60*time.Second, "Cassandra gives its events", func(ctx context.Context) error {
		ring, err := cassandra.Open(ctx, cassandra.Site{Contact: c.cql(t, c.active), DC: string(c.active)})
		if err != nil {
			return err
		}
		defer ring.Close()
		rows, err := ring.JournalRows(ctx)
		if err == nil && len(rows.Events) == 0 {
			err = errors.New("its events are gone")
		}
		return err
	})
}

// sweep: two worlds at once; the owner of one is killed, and all of that one and nothing of the other is removed.
func (c *contract) sweep(t *testing.T) {
	second := Start(t, c.h, c.paymentd, map[string][]string{"wan": {"bypass"}})
	w, err := c.runtime.Attach(t.Context(), second.Folder)
	must(t, err)
	defer w.Close()
	if w.About().ID == c.About().ID {
		t.Fatal("two worlds have one id")
	}
	used := map[string]bool{}
	for _, n := range c.Nodes("", "") {
		for _, s := range []topology.Service{topology.ServiceMySQL, topology.ServiceCassandra, topology.ServiceCQL, topology.ServiceHTTP} {
			if at, err := n.Endpoint(s); err == nil {
				used[at] = true
			}
		}
	}
	var theirs []string
	for _, n := range w.Nodes("", "") {
		for _, s := range []topology.Service{topology.ServiceMySQL, topology.ServiceCassandra, topology.ServiceCQL, topology.ServiceHTTP} {
			if at, err := n.Endpoint(s); err == nil {
				theirs = append(theirs, at)
				if used[at] {
					t.Errorf("both worlds use %s", at)
				}
			}
		}
	}
	// It has a planted defect: its links say that they are cut, and traffic goes around them.
	for _, l := range w.Links() {
		must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
		if x, err := l.Layers(t.Context()); err != nil || x.Open() {
			t.Errorf("cut link %s says %+v, %v", l.ID(), x, err)
		}
		if _, err := ping(l.ID().Service, l.Doors()[0].Reach, 3*time.Second); err != nil {
			t.Errorf("traffic does not go around link %s: %v", l.ID(), err)
		}
		if _, err := ping(l.ID().Service, c.link(t, l.ID().From, l.ID().To, l.ID().Service).Doors()[0].Reach, 3*time.Second); err != nil && l.ID().From != c.active && l.ID().To != c.active {
			t.Errorf("link %s of the other world was cut, too: %v", l.ID(), err)
		}
	}
	swept, err := c.runtime.Sweep(t.Context())
	if err != nil || len(swept) != 0 {
		t.Fatalf("a sweep among living worlds: %v, %v", swept, err)
	}
	second.Kill()
	swept, err = c.runtime.Sweep(t.Context())
	must(t, err)
	if len(swept) != 1 || !strings.Contains(swept[0], w.About().ID) {
		t.Errorf("swept %v, want world %s only", swept, w.About().ID)
	}
	for _, at := range theirs {
		if _, err := dial("", at, time.Second); err == nil {
			t.Errorf("%s still answers", at)
		}
	}
	if _, err := c.runtime.Attach(t.Context(), second.Folder); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("attached to a dead world: %v", err)
	}
	must(t, w.Down(t.Context())) // nothing is left to do
	again, err := c.runtime.Sweep(t.Context())
	if err != nil || len(again) != 0 {
		t.Errorf("a second sweep: %v, %v", again, err)
	}
	if _, err := c.node(t, c.standby, topology.Gateway).State(t.Context()); err != nil {
		t.Errorf("the living world was touched: %v", err)
	}
}

// down: from this process, twice; the world process ends by itself and leaves the run folder.
func (c *contract) down(t *testing.T) {
	began := time.Now()
	must(t, c.Down(t.Context()))
	took := time.Since(began)
	t.Logf("down in %s", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("down took %s", took)
	}
	must(t, c.Down(t.Context()))
	select {
	case <-c.owner.ended:
	case <-time.After(10 * time.Second):
		t.Error("the world process goes on")
	}
	if _, err := c.runtime.Attach(t.Context(), c.owner.Folder); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("attached to a world that is down: %v", err)
	}
	if err := c.node(t, c.active, topology.Params).Start(t.Context()); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("a node of a world that is down: %v", err)
	}
	for _, f := range []string{history.WorldFile, history.LogsFolder} {
		if _, err := os.Stat(filepath.Join(c.owner.Folder, f)); err != nil {
			t.Errorf("the run folder lost %s", f)
		}
	}
	swept, err := c.runtime.Sweep(t.Context())
	if err != nil || len(swept) != 0 {
		t.Errorf("down left %v, %v", swept, err)
	}
}
