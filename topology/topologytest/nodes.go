package topologytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
)

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
	for _, i := range a.Images {
		if i.Name == "" || i.Reference == "" || i.ID == "" || i.Source != "official" && i.Source != "built" {
			t.Errorf("image %+v", i)
		}
	}
	info, err := os.Stat(filepath.Join(c.owner.Folder, history.WorldFile))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s holds a secret and has mode %s", history.WorldFile, info.Mode())
	}
	if _, err := c.runtime.Attach(t.Context(), t.TempDir()); err == nil {
		t.Error("attached to a folder without a world")
	}
	if w, err := c.runtime.Create(t.Context(), c.Topology(), topology.Options{Folder: c.owner.Folder}); err == nil {
		must(t, w.Down(context.WithoutCancel(t.Context())))
		t.Error("a second world was made in one run folder")
	}
}

// nodes: all that were declared, running but for those that article 002 keeps stopped in normal times.
func (c *contract) nodes(t *testing.T) {
	want := map[topology.Kind]int{topology.MySQL: 1, topology.Params: 1, topology.Gateway: 1, topology.Batch: 1, topology.Reconciler: 1}
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
		switch {
		case n.Kind() == topology.OnPremises, n.Kind() == topology.App && n.Site() == c.standby,
			n.Kind() == topology.Reconciler && (n.Site() == c.standby || !c.Topology().Reconcile):
			want = topology.Stopped
		}
		c.state(t, n, want)
		if again, err := c.Node(n.Name()); err != nil || again.Name() != n.Name() || again.Site() != n.Site() || again.Kind() != n.Kind() {
			t.Errorf("%s by name: %v, %v", n.Name(), again, err)
		}
		for _, s := range services(n) {
			at := reach(t, n, s)
			host, _, err := net.SplitHostPort(at)
			if err != nil || !net.ParseIP(host).IsLoopback() {
				t.Errorf("%s of %s is published at %s, %v; only on the loopback was expected", s, n.Name(), at, err)
			}
		}
		if want != topology.Running {
			continue
		}
		within(t, c.limits.Answer, n.Name()+" has 1 to 5 last lines of log", func(ctx context.Context) error {
			lines, err := n.Logs(ctx, 5)
			if err == nil && (len(lines) == 0 || len(lines) > 5) {
				err = fmt.Errorf("%d lines", len(lines))
			}
			return err
		})
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
	db := c.node(t, c.active, topology.MySQL)
	if _, err := db.Endpoint(topology.ServiceHTTP); err == nil || !strings.Contains(err.Error(), "known: mysql") {
		t.Errorf("endpoint: %v", err)
	}
	if _, err := db.Reach(topology.ServiceHTTP); err == nil || !strings.Contains(err.Error(), "known: mysql") {
		t.Errorf("reach: %v", err)
	}
}

// lives: one node of every kind, in the standby region where there is one, is paused and resumed, killed and started, stopped and
// started, emptied and started. Nobody misses the standby's; what they are and hold is compared each time.
func (c *contract) lives(t *testing.T) {
	kinds := []topology.Kind{topology.Cassandra, topology.MySQL, topology.Params, topology.Gateway, topology.Batch, topology.App,
		topology.Acquirer, topology.OnPremises, topology.Reconciler}
	if c.Topology().Fence == topology.WitnessFence {
		kinds = append(kinds, topology.Witness)
	}
	t.Run("kinds", func(t *testing.T) {
		for _, kind := range kinds {
			site := c.standby
			switch kind {
			case topology.App: // the standby's has nothing to start with
				site = c.active
			case topology.Acquirer, topology.OnPremises, topology.Witness:
				site = topology.Outside
			}
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				l := &life{contract: c, Node: c.node(t, site, kind)}
				l.service, l.at = main(l.Node), reach(t, l.Node, main(l.Node))
				l.live(t)
			})
		}
	})
}

// life is that of one node.
type life struct {
	*contract
	topology.Node
	service topology.Service
	at      string
}

func (l *life) live(t *testing.T) {
	ctx := t.Context()
	before, err := l.State(ctx)
	must(t, err)
	if before == topology.Stopped {
		defer func() { must(t, l.Stop(ctx)) }()
	}
	must(t, l.Start(ctx)) // if it runs already, nothing happens
	l.answers(t)
	is := l.look(t)

	must(t, l.Pause(ctx))
	l.state(t, l.Node, topology.Paused)
	if _, err := ping(l.service, l.at, silence); !timedOut(err) {
		t.Errorf("paused: %v", err)
	}
	must(t, l.Pause(ctx))
	must(t, l.Resume(ctx))
	l.state(t, l.Node, topology.Running)
	l.answers(t)

	must(t, l.Pause(ctx)) // a paused one can be killed
	must(t, l.Kill(ctx))
	l.dead(t)
	must(t, l.Kill(ctx))
	if err := l.Pause(ctx); err == nil {
		t.Error("a killed node was paused")
	}
	must(t, l.Start(ctx))
	l.answers(t)
	l.same(t, "killed and started", is)

	must(t, l.Stop(ctx))
	l.dead(t)
	must(t, l.Stop(ctx))
	must(t, l.Start(ctx))
	l.answers(t)
	l.same(t, "stopped and started", is)

	if err := l.Wipe(ctx); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("a running node was wiped: %v", err)
	}
	if l.Kind() == topology.Cassandra {
		return // what becomes of an emptied one is a test of its own: its region's parameters decide
	}
	must(t, l.Kill(ctx))
	must(t, l.Wipe(ctx))
	must(t, l.Start(ctx))
	l.answers(t)
	l.emptied(t, is)
}

// replaced: what becomes of a Cassandra node that lost its data, by its region's parameters (article 002, ※6 and ※8).
func (c *contract) replaced(t *testing.T) {
	l := &life{contract: c, Node: c.node(t, c.standby, topology.Cassandra)}
	l.service, l.at = main(l.Node), reach(t, l.Node, main(l.Node))
	c.whole(t)
	was := l.look(t)
	for _, keep := range []bool{false, true} {
		values := map[string]string{payment.ParamSeeds: cassandra.SeedsForm, payment.ParamBootstrap: "false", payment.ParamReplace: "false"}
		if keep {
			var seeds []string
			for _, n := range c.Nodes(c.active, topology.Cassandra) {
				host, _ := c.door(t, c.standby, n.Name())
				seeds = append(seeds, host)
			}
			values = map[string]string{payment.ParamSeeds: strings.Join(seeds, ","), payment.ParamBootstrap: "true", payment.ParamReplace: "true"}
		}
		body, err := json.Marshal(map[string]any{"values": values})
		must(t, err)
		store := "http://" + reach(t, c.node(t, c.standby, topology.Params), topology.ServiceHTTP) + "/params"
		within(t, c.limits.Answer, "the standby's parameters are set", func(ctx context.Context) error {
			status, answer, err := web(ctx, http.MethodPut, store, "", string(body))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("it answers %d: %s", status, answer)
			}
			return err
		})
		must(t, l.Kill(t.Context()))
		must(t, l.Wipe(t.Context()))
		must(t, l.Start(t.Context()))
		if !keep {
			l.stranger(t)
		}
	}
	l.within(t, "has its data again", func(ctx context.Context) error {
		var is looks
		if err := l.lookCassandra(ctx, &is); err != nil {
			return err
		}
		// Who replaces the node that had its own address takes over its name in the ring, too.
		if is.identity != was.identity || !slices.Equal(is.data, was.data) || len(is.data) == 0 {
			return fmt.Errorf("it was %+v, it is %+v", was, is)
		}
		return nil
	})
	c.whole(t)
}

// stranger: Cassandra itself keeps an emptied node out of the ring that knows another one by its address. To let it in again, as
// a replacement of the old one, is an operator's decision and no restart.
func (l *life) stranger(t *testing.T) {
	t.Helper()
	within(t, l.limits.Answer, l.Name()+" is refused by its ring", func(ctx context.Context) error {
		state, err := l.State(ctx)
		if err == nil && state != topology.Stopped {
			err = fmt.Errorf("it is %s", state)
		}
		return err
	})
	lines, err := l.Logs(t.Context(), 1000)
	must(t, err)
	if !slices.ContainsFunc(lines, func(s string) bool { return strings.Contains(s, "already exists, cancelling join") }) {
		t.Errorf("an emptied node ended, the end of its log: %s", strings.Join(lines[max(0, len(lines)-20):], "\n  "))
	}
}

func (l *life) answers(t *testing.T) {
	t.Helper()
	l.within(t, "answers", func(context.Context) error {
		_, err := ping(l.service, l.at, patience)
		return err
	})
	l.state(t, l.Node, topology.Running)
}

// within waits for a node that runs; one that has died is not waited for.
func (l *life) within(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	var died error
	within(t, l.limits.Answer, l.Name()+" "+what, func(ctx context.Context) error {
		if err := f(ctx); err == nil {
			return nil
		} else if state, serr := l.State(ctx); serr != nil || state != topology.Stopped {
			return err
		}
		lines, err := l.Logs(ctx, 20)
		died = fmt.Errorf("%s died (%v); the end of its log:\n  %s", l.Name(), err, strings.Join(lines, "\n  "))
		return nil
	})
	must(t, died)
}

func (l *life) dead(t *testing.T) {
	t.Helper()
	l.state(t, l.Node, topology.Stopped)
	if _, err := ping(l.service, l.at, patience); !closed(err) {
		t.Errorf("dead: %v", err)
	}
}

// looks is what a node is and holds.
type looks struct {
	addresses string
	identity  string   // what it is to its peers: lost with its data
	data      []string // some of what it holds
	log       string   // the first line that it wrote
}

func (l *life) look(t *testing.T) (is looks) {
	t.Helper()
	for _, s := range services(l.Node) {
		inside, err := l.Endpoint(s)
		must(t, err)
		is.addresses += inside + " " + reach(t, l.Node, s) + " "
	}
	l.within(t, "shows itself", func(ctx context.Context) error {
		lines, err := l.Logs(ctx, 1_000_000)
		if err != nil {
			return err
		}
		if len(lines) == 0 {
			return errors.New("its log is empty")
		}
		is.log = lines[0]
		is.identity, is.data = "", nil
		switch l.Kind() {
		case topology.MySQL:
			err = l.lookMySQL(ctx, &is)
		case topology.Cassandra:
			err = l.lookCassandra(ctx, &is)
		case topology.Params, topology.Acquirer:
			path := map[topology.Kind]string{topology.Params: "/params", topology.Acquirer: "/charges"}[l.Kind()]
			var status int
			var body string
			status, body, err = web(ctx, "GET", "http://"+l.at+path, "", "")
			if err == nil && status != 200 {
				err = fmt.Errorf("%s answers %d: %s", path, status, body)
			}
			for _, word := range []string{"batch.enabled", "contract-1"} {
				if strings.Contains(body, word) {
					is.data = append(is.data, word)
				}
			}
		}
		return err
	})
	return is
}

func (l *life) lookMySQL(ctx context.Context, is *looks) error {
	s, err := mysql.Open(l.at, mysql.UserOps, l.About().Secret, mysql.Options{Name: l.Name()})
	if err != nil {
		return err
	}
	defer s.Close()
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	is.identity = status.UUID
	if status.Executed == "" {
		return nil
	}
	is.data = append(is.data, "transactions")
	rows, err := s.Rows(ctx)
	if err == nil && slices.ContainsFunc(rows.Payments, func(p history.PaymentRow) bool { return p.Key == "contract-1" }) {
		is.data = append(is.data, "contract-1")
	}
	if err == nil && status.SuperReadOnly {
		is.data = append(is.data, "read-only")
	}
	return err
}

func (l *life) lookCassandra(ctx context.Context, is *looks) error {
	s, err := cql(l.Node)
	if err != nil {
		return err
	}
	defer s.Close()
	var id, broadcast, listen, rpc, dc string
	var tokens []string
	err = s.Query("SELECT host_id, broadcast_address, listen_address, rpc_address, data_center, tokens FROM system.local").WithContext(ctx).
		Scan(&id, &broadcast, &listen, &rpc, &dc, &tokens)
	if err != nil {
		return err
	}
	is.identity = fmt.Sprint(id, " ", broadcast, " ", listen, " ", rpc, " ", dc, " ", tokens)
	var key string
	it := s.Query("SELECT pay_key FROM pay.events").WithContext(ctx).Iter()
	for it.Scan(&key) {
		if key == "contract-1" {
			is.data = append(is.data, key)
		}
	}
	return it.Close()
}

// same: a node that comes back has its addresses, its identity and its data, and its log goes on.
func (l *life) same(t *testing.T, when string, was looks) {
	t.Helper()
	is := l.look(t)
	if is.addresses != was.addresses || is.identity != was.identity || !slices.Equal(is.data, was.data) || is.log != was.log {
		t.Errorf("%s: it was %+v, it is %+v", when, was, is)
	}
}

// emptied: a node that lost its disk has its addresses; MySQL is another server, without data. The acquirer's log is its owner's
// evidence and no part of the world.
func (l *life) emptied(t *testing.T, was looks) {
	t.Helper()
	is := l.look(t)
	if is.addresses != was.addresses {
		t.Errorf("emptied: it was %+v, it is %+v", was, is)
	}
	switch l.Kind() {
	case topology.MySQL:
		if len(was.data) == 0 || len(is.data) != 0 || is.identity == was.identity || is.identity == "" {
			t.Errorf("emptied: it was %+v, it is %+v", was, is)
		}
	case topology.Params:
		if len(was.data) == 0 || len(is.data) != 0 {
			t.Errorf("emptied: it was %+v, it is %+v", was, is)
		}
	}
	if l.Kind() == topology.MySQL {
		l.refill(t)
	}
}

// refill: an empty server becomes the standby again by following the active region's, through the link.
func (l *life) refill(t *testing.T) {
	t.Helper()
	replica := l.mysql(t, l.standby)
	host, port := l.door(t, l.standby, l.node(t, l.active, topology.MySQL).Name())
	must(t, replica.Follow(t.Context(), host, port, l.About().Secret, mysql.FollowOptions{}))
	within(t, l.limits.Answer, "the emptied standby has the payment again", func(ctx context.Context) error {
		rows, err := replica.Rows(ctx)
		if err == nil && !slices.ContainsFunc(rows.Payments, func(p history.PaymentRow) bool { return p.Key == "contract-1" }) {
			err = errors.New("it has not")
		}
		return err
	})
}

// door is where a site's nodes dial a node of another site.
func (c *contract) door(t *testing.T, from topology.Site, node string) (host string, port int) {
	t.Helper()
	for _, l := range c.Links() {
		for _, d := range l.Doors() {
			if d.Node == node && dialler(l, d) == from {
				host, p, err := net.SplitHostPort(d.Address)
				must(t, err)
				port, err := strconv.Atoi(p)
				must(t, err)
				return host, port
			}
		}
	}
	t.Fatalf("%s has no door for %s", node, from)
	return "", 0
}

// dialler is the site that dials a link's door.
func dialler(l topology.Link, d topology.Door) topology.Site {
	if d.Upstream {
		return l.ID().From
	}
	return l.ID().To
}
