package procedure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// land is a platform in memory, as far as the verbs can see it: Tokyo was just lost, Osaka stands by. Every call from outside is
// counted, and one of them can be the death of the caller, before or after it has its effect. Its Cassandra is in ring_test.go.
type land struct {
	topology topology.Topology
	nodes    []*node
	links    []*link
	zone     *zone
	db       *db
	values   map[string]string // Osaka's parameters
	others   map[string]string // Tokyo's
	version  int64
	quorum   error
	cluster  *cluster
	back     bool           // Tokyo can be reached again
	entry    error          // of Osaka's gateway
	paid     map[string]int // synthetic payments by key
	dialled  []topology.Site
	// formedTwice: while the application ran, its parameters told it once more to form a new cluster
	formedTwice bool

	calls  int
	killAt int
	after  bool
}

var errKilled = errors.New("killed")

// call counts one call; deferring what it returns counts its end.
func (l *land) call() func() {
	l.calls++
	n := l.calls
	if n == l.killAt && !l.after {
		panic(errKilled)
	}
	return func() {
		if n == l.killAt && l.after {
			panic(errKilled)
		}
	}
}

const (
	tokyo, osaka = topology.Site("tokyo"), topology.Site("osaka")
	uuid         = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
)

func newLand() *land {
	l := &land{
		topology: topology.Topology{Name: "test", Regions: []topology.Region{{Name: tokyo, Role: topology.Active}, {Name: osaka, Role: topology.Standby}},
			ReplicationFactor: map[topology.Site]int{tokyo: 1, osaka: 2}},
		values:  map[string]string{"acquirer.endpoint": "10.0.0.9:8080", "epoch": "1", "mysql.endpoint": "old"},
		others:  map[string]string{},
		version: 1,
		paid:    map[string]int{},
	}
	for _, n := range []struct {
		site  topology.Site
		kind  topology.Kind
		n     int
		state topology.State
	}{
		{tokyo, topology.MySQL, 1, topology.Stopped}, {tokyo, topology.Cassandra, 1, topology.Stopped}, {tokyo, topology.App, 2, topology.Stopped},
		{osaka, topology.MySQL, 1, topology.Running}, {osaka, topology.Cassandra, 2, topology.Running}, {osaka, topology.App, 2, topology.Stopped},
		{osaka, topology.Gateway, 1, topology.Running}, {osaka, topology.Batch, 1, topology.Running},
		{topology.Outside, topology.OnPremises, 1, topology.Stopped},
	} {
		for i := range n.n {
			l.nodes = append(l.nodes, &node{land: l, name: fmt.Sprintf("%s-%s-%d", n.site, n.kind, i+1), site: n.site, kind: n.kind, state: n.state})
		}
	}
	for _, s := range []topology.Service{topology.ServiceMySQL, topology.ServiceCassandra} {
		for _, id := range []topology.LinkID{{From: tokyo, To: osaka, Service: s}, {From: osaka, To: tokyo, Service: s}} {
			l.links = append(l.links, &link{land: l, id: id, layers: topology.Layers{Fault: topology.Fault{Kind: topology.Cut}}})
		}
	}
	l.cluster = newCluster(l)
	l.zone = &zone{land: l}
	for _, name := range []string{"pay.", "api.", "shop.", "admin.", "partner."} {
		l.zone.records = append(l.zone.records, topology.Record{Name: name, Site: tokyo})
	}
	l.db = &db{land: l, source: "tokyo-mysql-1", receiving: true, applying: true, received: 100, executed: 94, readOnly: true, super: true, epoch: 1, epochSite: tokyo}
	return l
}

func (l *land) Topology() topology.Topology { return l.topology }
func (l *land) Zone() topology.Zone         { return l.zone }

func (l *land) Nodes(site topology.Site, kind topology.Kind) []topology.Node {
	var out []topology.Node
	for _, n := range l.nodes {
		if (site == "" || n.site == site) && n.kind == kind {
			out = append(out, n)
		}
	}
	return out
}

func (l *land) Links() []topology.Link {
	var out []topology.Link
	for _, x := range l.links {
		out = append(out, x)
	}
	return out
}

func (l *land) node(name string) *node {
	return l.nodes[slices.IndexFunc(l.nodes, func(n *node) bool { return n.name == name })]
}

func (l *land) at(site topology.Site) error {
	if l.dialled = append(l.dialled, site); site != osaka && !l.back {
		return fmt.Errorf("%s: %w", site, topology.ErrUnreachable)
	}
	return nil
}

func (l *land) Database(site topology.Site) (Database, error) { return l.db, l.at(site) }
func (l *land) Ring(site topology.Site) (Ring, error)         { return ring{l, site}, l.at(site) }
func (l *land) Params(site topology.Site) (Params, error) {
	if site == tokyo {
		return store{l, l.others}, l.at(site)
	}
	return store{l, l.values}, l.at(site)
}
func (l *land) Payments(site topology.Site) (Payments, error) { return till{l}, l.at(site) }

func (l *land) Status(_ context.Context, n topology.Node) (Status, error) {
	defer l.call()()
	x := n.(*node)
	if x.state != topology.Running {
		return Status{}, fmt.Errorf("%s: %w", x.name, topology.ErrUnreachable)
	}
	s := Status{Site: x.site, Epoch: x.epoch, Values: x.sees, Warming: x.warms}
	switch x.kind {
	case topology.Batch: // watches its flag, and reads the epoch when it is enabled
		s.Enabled = l.values[batchEnabled] == "true"
		if s.Epoch == 0 && s.Enabled {
			x.epoch, _ = strconv.ParseInt(l.values["epoch"], 10, 64)
			s.Epoch = x.epoch
		}
	case topology.App:
		if s.Values == nil {
			s.Values = maps.Clone(l.values)
		}
	case topology.OnPremises:
		x.pays++
		s.Paid, s.Site = x.pays-1, l.zone.records[0].Site
	}
	return s, nil
}

type node struct {
	land   *land
	name   string
	site   topology.Site
	kind   topology.Kind
	state  topology.State
	epoch  int64             // read at the start
	sees   map[string]string // stale parameters; nil: the present ones
	warms  string            // application: how far its warm-up is
	starts int
	pays   int64
	host   string // Cassandra: its id in the ring, which its volume keeps; "" on an empty one
	stuck  error  // of every call on it
}

func (n *node) Name() string        { return n.name }
func (n *node) Site() topology.Site { return n.site }
func (n *node) Kind() topology.Kind { return n.kind }

func (n *node) State(context.Context) (topology.State, error) {
	defer n.land.call()()
	return n.state, n.stuck
}

func (n *node) Start(context.Context) error {
	defer n.land.call()()
	if n.stuck != nil || n.state == topology.Running {
		return n.stuck
	}
	n.starts++
	n.state = topology.Running
	switch n.kind {
	case topology.App:
		n.epoch, _ = strconv.ParseInt(n.land.values["epoch"], 10, 64)
	case topology.Cassandra:
		n.land.cluster.enter(n)
	}
	return nil
}

func (n *node) Stop(context.Context) error {
	defer n.land.call()()
	if n.stuck == nil {
		n.state = topology.Stopped
	}
	return n.stuck
}

func (n *node) Wipe(context.Context) error {
	defer n.land.call()()
	if n.state != topology.Stopped {
		return errors.New("it runs")
	}
	n.host = ""
	n.land.cluster.rows[n.site] = 0
	return n.stuck
}

func (n *node) Kill(context.Context) error                  { return topology.ErrUnsupported }
func (n *node) Pause(context.Context) error                 { return topology.ErrUnsupported }
func (n *node) Resume(context.Context) error                { return topology.ErrUnsupported }
func (n *node) Logs(context.Context, int) ([]string, error) { return nil, nil }
func (n *node) Endpoint(s topology.Service) (string, error) {
	return fmt.Sprintf("%s:%d", n.name, s.Port()), nil
}
func (n *node) Reach(s topology.Service) (string, error) { return n.Endpoint(s) }

type link struct {
	land   *land
	id     topology.LinkID
	layers topology.Layers
	stuck  error
}

func (l *link) ID() topology.LinkID { return l.id }

func (l *link) Layers(context.Context) (topology.Layers, error) {
	defer l.land.call()()
	return l.layers, nil
}

func (l *link) SetAccess(_ context.Context, a topology.Access) error {
	defer l.land.call()()
	if l.stuck != nil {
		return l.stuck
	}
	l.layers.Access = a
	return nil
}

func (l *link) SetDelay(context.Context, time.Duration) error  { return topology.ErrUnsupported }
func (l *link) SetFault(context.Context, topology.Fault) error { return topology.ErrUnsupported }

// Doors lead to the nodes of the service at the site that the bytes of the link go to.
func (l *link) Doors() []topology.Door {
	kind := topology.MySQL
	if l.id.Service == topology.ServiceCassandra {
		kind = topology.Cassandra
	}
	var out []topology.Door
	for _, n := range l.land.Nodes(l.id.To, kind) {
		out = append(out, topology.Door{Node: n.Name(), Upstream: true})
	}
	return out
}

type zone struct {
	land    *land
	records []topology.Record
}

func (z *zone) Server() string { return "" }

func (z *zone) Records(context.Context) ([]topology.Record, error) {
	defer z.land.call()()
	return slices.Clone(z.records), nil
}

func (z *zone) Point(_ context.Context, name string, to topology.Site) error {
	defer z.land.call()()
	z.point(name, to)
	return nil
}

func (z *zone) point(name string, to topology.Site) {
	for i := range z.records {
		if z.records[i].Name == name {
			z.records[i].Site = to
			return
		}
	}
	z.records = append(z.records, topology.Record{Name: name, Site: to})
}

// person points every record, as somebody who was called does.
func (z *zone) person() {
	for _, r := range z.records {
		z.point(r.Name, osaka)
	}
}

// db is Osaka's MySQL: a replica that receives while it is asked, and applies one transaction for each look at it.
type db struct {
	land               *land
	source             string
	receiving          bool
	applying           bool
	applyError         string
	received, executed int64
	dropped            int64 // received, and forgotten before they were executed
	readOnly, super    bool
	savedReadOnly      bool
	epoch              int64
	epochSite          topology.Site
	raised             int
	tornWindow         bool // it was open to everybody in an epoch that is not its own
	noResult           error
	refusals           int   // of the epoch's next raises,
	refusal            error // with this
}

func gtids(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s:1-%d", uuid, n)
}

func (d *db) Replication(context.Context) (Replication, error) {
	defer d.land.call()()
	if d.noResult != nil {
		return Replication{}, d.noResult
	}
	if d.receiving {
		d.received += 2
	}
	if d.applying && d.applyError == "" && d.executed < d.received {
		d.executed++
	}
	received := gtids(d.received)
	if d.source == "" {
		received = ""
	}
	return Replication{Source: d.source, Receiving: d.receiving, Applying: d.applying, ApplyError: d.applyError, Received: received,
		Executed: gtids(d.executed), ReadOnly: d.readOnly || d.super, SuperReadOnly: d.super, PersistedSuperReadOnly: d.savedReadOnly, PersistedWritable: !d.savedReadOnly && !d.readOnly && !d.super}, nil
}

func (d *db) StopReceiver(context.Context) error {
	defer d.land.call()()
	d.receiving = false
	return nil
}

func (d *db) StartApplier(context.Context) error {
	defer d.land.call()()
	d.applying = d.source != ""
	return nil
}

func (d *db) Detach(context.Context) error {
	defer d.land.call()()
	if d.source != "" {
		d.dropped += d.received - d.executed
	}
	d.source, d.receiving, d.applying, d.received = "", false, false, 0
	return nil
}

func (d *db) AllowOperators(context.Context) error {
	defer d.land.call()()
	d.super = false
	return nil
}

func (d *db) SetWritable(_ context.Context, on bool) error {
	defer d.land.call()()
	d.super, d.readOnly = !on, !on
	if on && d.epochSite != osaka {
		d.tornWindow = true
	}
	return nil
}

func (d *db) Epoch(context.Context) (int64, string, error) {
	defer d.land.call()()
	return d.epoch, string(d.epochSite), nil
}

func (d *db) RaiseEpoch(_ context.Context, to int64, site string) error {
	defer d.land.call()()
	switch {
	case d.refusals > 0:
		d.refusals, d.super = d.refusals-1, true
		return d.refusal
	case d.super || d.source != "":
		return ErrReadOnly
	case d.epoch < to:
		d.epoch, d.epochSite = to, topology.Site(site)
		d.raised++
	case d.epoch > to || d.epochSite != topology.Site(site):
		return fmt.Errorf("it is epoch %d of %s", d.epoch, d.epochSite)
	}
	return nil
}

type store struct {
	land   *land
	values map[string]string
}

func (s store) Read(context.Context) (int64, map[string]string, error) {
	defer s.land.call()()
	return s.land.version, maps.Clone(s.values), nil
}

func (s store) Write(_ context.Context, v map[string]string) (int64, error) {
	defer s.land.call()()
	s.land.version++
	s.land.formedTwice = s.land.formedTwice || s.values["cluster.form"] == "false" && v["cluster.form"] == "true"
	maps.Copy(s.values, v)
	return s.land.version, nil
}

func (s store) Remove(_ context.Context, names []string) (int64, error) {
	defer s.land.call()()
	s.land.version++
	maps.DeleteFunc(s.values, func(name, _ string) bool { return slices.Contains(names, name) })
	return s.land.version, nil
}

type till struct{ land *land }

func (t till) Pay(_ context.Context, key string) (Paid, error) {
	defer t.land.call()()
	if t.land.entry != nil {
		return Paid{}, t.land.entry
	}
	for _, n := range t.land.Nodes(osaka, topology.App) {
		n := n.(*node)
		if n.state == topology.Running && n.epoch == t.land.db.epoch && !t.land.db.readOnly {
			t.land.paid[key]++
			return Paid{Site: osaka, Node: n.name, Epoch: n.epoch, State: "DONE"}, nil
		}
	}
	return Paid{}, errors.New("503 no backend")
}

// stub is a journal in memory for the tests of single verbs.
type stub struct{ seen []map[string]any }

func (s *stub) Run() string { return "run" }

func (s *stub) All(key string) []any {
	var out []any
	for _, m := range s.seen {
		if v, ok := m[key]; ok {
			out = append(out, v)
		}
	}
	return out
}

func (s *stub) Note(saw map[string]any) error {
	s.seen = append(s.seen, saw)
	return nil
}

// killed lets an operator act who is killed by one of its calls.
func killed(t *testing.T, act func()) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil && r != errKilled {
			panic(r)
		}
	}()
	act()
	t.Error("it was not killed")
}

// budget is a context of a step that ends as the engine ends it.
func budget(t *testing.T, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(t.Context(), limit, errors.New("its budget ended"))
}

var _ Estate = (*land)(nil)
