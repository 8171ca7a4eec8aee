package procedure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/drill/salvage"
	"github.com/kirikae/kirikae/topology"
)

const (
	oldUUID = "3e11fa47-71ca-11e1-9e33-c80aa9429563" // Tokyo's server before it is wiped
	newUUID = "3e11fa47-71ca-11e1-9e33-c80aa9429564" // and after
)

// wayback is as much of a platform as the gate and the rebuild see. Osaka serves. With newWayback Tokyo is a replica of it; with
// returned it came back with a payment that nobody else has.
type wayback struct {
	Estate // whatever else is asked for panics
	dbs    map[topology.Site]*server
	rings  map[topology.Site]*journal
	params map[topology.Site]map[string]string
	views  []RingNode
	later  []RingNode // from whole on, if there are any
	whole  time.Time
	app    string // release that Osaka's application says
	links  []*link
	folder string
	fence  topology.Fence
}

type server struct {
	Database
	w       *wayback
	site    topology.Site
	id      Identity
	holds   salvage.Holdings
	log     []history.Transaction
	stopped bool
	moved   string // executed from the second reading on: somebody writes meanwhile
	reads   int
	did     []string
}

type journal struct {
	events []history.EventRow
	err    error
}

func (journal) Answers(context.Context) error                        { return nil }
func (j journal) Events(context.Context) ([]history.EventRow, error) { return j.events, j.err }
func (w *wayback) Database(site topology.Site) (Database, error)     { return w.dbs[site], nil }
func (w *wayback) Ring(site topology.Site) (Ring, error)             { return w.rings[site], nil }
func (w *wayback) Params(site topology.Site) (Params, error)         { return drawer(w.params[site]), nil }
func (w *wayback) RingNodes(context.Context) ([]RingNode, error) {
	if w.later != nil && !time.Now().Before(w.whole) {
		return w.later, nil
	}
	return w.views, nil
}
func (w *wayback) Folder() string { return w.folder }
func (w *wayback) Topology() topology.Topology {
	t := newLand().topology
	t.Fence = w.fence
	return t
}
func (w *wayback) Get(context.Context, topology.Node, string) (int, []byte, error) {
	return 200, fmt.Appendf(nil, `{"release":%q}`, w.app), nil
}

func (w *wayback) Links() (out []topology.Link) {
	for _, l := range w.links {
		out = append(out, doored{l})
	}
	return out
}

// doored is a link at which one dials.
type doored struct{ *link }

func (l doored) Doors() []topology.Door {
	return []topology.Door{{Node: "up", Address: "127.0.0.1:1", Upstream: true}, {Node: "door", Address: "127.0.0.2:3306"}}
}

func (w *wayback) Nodes(site topology.Site, kind topology.Kind) []topology.Node {
	if kind == topology.MySQL {
		return []topology.Node{machine{&node{name: string(site) + "-mysql-1", site: site, kind: kind}, w.dbs[site]}}
	}
	if site == "" {
		return nil
	}
	return []topology.Node{&node{land: newLand(), name: fmt.Sprintf("%s-%s-1", site, kind), site: site, kind: kind, state: topology.Running}}
}

// machine is the node of a server.
type machine struct {
	*node
	s *server
}

func (m machine) State(context.Context) (topology.State, error) {
	if m.s.stopped {
		return topology.Stopped, nil
	}
	return topology.Running, nil
}
func (m machine) Start(context.Context) error { m.s.stopped = false; return nil }
func (m machine) Stop(context.Context) error  { m.s.stopped = true; return nil }

// Wipe leaves what a fresh server is: another one, empty, and writable.
func (m machine) Wipe(context.Context) error {
	if !m.s.stopped {
		return errors.New("it runs")
	}
	m.s.did = append(m.s.did, "wipe")
	m.s.id, m.s.holds, m.s.log = Identity{UUID: newUUID}, salvage.Holdings{UUID: newUUID}, nil
	return nil
}

type drawer map[string]string

func (d drawer) Read(context.Context) (int64, map[string]string, error) { return 1, maps.Clone(d), nil }
func (d drawer) Write(_ context.Context, v map[string]string) (int64, error) {
	maps.Copy(d, v)
	return 2, nil
}

func (s *server) up() error {
	if s.stopped {
		return topology.ErrUnreachable
	}
	return nil
}

func (s *server) Identity(context.Context) (Identity, error) {
	if s.reads++; s.moved != "" && s.reads > 1 {
		s.id.Executed = s.moved
	}
	return s.id, s.up()
}

func (s *server) Holdings(context.Context) (salvage.Holdings, error) {
	h := s.holds
	h.UUID, h.Executed = s.id.UUID, s.id.Executed
	return h, s.up()
}

func (s *server) Transactions(context.Context) ([]history.Transaction, error) { return s.log, s.up() }
func (s *server) Epoch(context.Context) (int64, string, error)                { return 2, string(osaka), nil }
func (s *server) SetWritable(_ context.Context, on bool) error {
	s.did = append(s.did, fmt.Sprintf("writable %t", on))
	s.id.ReadOnly, s.id.StaysReadOnly = !on, !on
	return s.up()
}

func (s *server) Clone(_ context.Context, source Database, host string, port int) error {
	s.did = append(s.did, fmt.Sprintf("clone %s:%d", host, port))
	from := source.(*server)
	s.id.Executed, s.holds, s.stopped = from.id.Executed, from.holds, true // it ends by itself
	s.id.ReadOnly, s.id.StaysReadOnly = true, true
	return nil
}

func (s *server) Copy(_ context.Context, source Database) error {
	s.did = append(s.did, "copy")
	from := source.(*server)
	s.id.Executed, s.holds = from.id.Executed, from.holds
	s.id.ReadOnly, s.id.StaysReadOnly = true, true
	return nil
}

func (s *server) FollowSource(_ context.Context, host string, port int) error {
	s.did = append(s.did, "follow")
	s.id.Source, s.id.Receiving, s.id.Applying = fmt.Sprintf("%s:%d", host, port), true, true
	s.id.ReadOnly, s.id.StaysReadOnly = true, true
	return nil
}

func (s *server) WaitExecuted(_ context.Context, set string, _ time.Duration) (bool, error) {
	lacks, err := minus(set, s.id.Executed)
	return lacks.Empty(), err
}

func newWayback(t *testing.T) *wayback {
	w := &wayback{folder: t.TempDir(), app: "1", params: map[topology.Site]map[string]string{
		osaka: {"app.release": "1", batchEnabled: "true", "cluster.form": "false"}, tokyo: {"app.release": "1", batchEnabled: "false", "cluster.form": "false", "cassandra.auto_bootstrap": "true", "cassandra.replace": "true"},
	}}
	for _, id := range []topology.LinkID{{From: tokyo, To: osaka, Service: topology.ServiceMySQL}, {From: osaka, To: tokyo, Service: topology.ServiceMySQL}} {
		w.links = append(w.links, &link{land: newLand(), id: id, layers: topology.Layers{Access: topology.Deny}})
	}
	rows := salvage.Holdings{
		Payments: []salvage.Payment{{Key: "a", From: 1, To: 2, Yen: 100, State: "DONE"}},
		Entries:  []salvage.Entry{{Account: 1, Key: "a", Amount: -100}, {Account: 2, Key: "a", Amount: 100}},
		Accounts: []salvage.Account{{ID: 1, Opening: 500, Balance: 400}, {ID: 2, Opening: 500, Balance: 600}},
	}
	event := []history.EventRow{{Key: "a", Yen: 100, Epoch: 1}}
	set := oldUUID + ":1-9:pay:1-5," + uuid + ":1-3:pay:1-7"
	w.dbs = map[topology.Site]*server{
		osaka: {w: w, site: osaka, holds: rows, id: Identity{UUID: uuid, Executed: set}},
		tokyo: {w: w, site: tokyo, holds: rows, id: Identity{UUID: newUUID, Executed: set, Source: "127.0.0.2:3306", Receiving: true, Applying: true, ReadOnly: true, StaysReadOnly: true}},
	}
	w.rings = map[topology.Site]*journal{osaka: {events: event}, tokyo: {events: event}}
	for _, n := range []string{"tokyo-cassandra-1", "osaka-cassandra-1"} {
		w.views = append(w.views, RingNode{Node: n, Live: []string{"10.0.0.1", "10.0.0.2"}})
	}
	return w
}

// returned is Tokyo on its old data: it has two pay transactions and one payment that Osaka never got, and takes writes.
func returned(t *testing.T) *wayback {
	w := newWayback(t)
	old := w.dbs[tokyo]
	old.id = Identity{UUID: oldUUID, Executed: oldUUID + ":1-9:pay:1-7"}
	old.holds.Payments = append(slices.Clone(old.holds.Payments), salvage.Payment{Key: "only here", From: 1, To: 2, Yen: 30, State: "DONE"})
	old.log = []history.Transaction{{GTID: oldUUID + ":pay:5"}, {GTID: oldUUID + ":pay:6"}, {GTID: oldUUID + ":pay:7"}}
	w.rings[tokyo].events = append(slices.Clone(w.rings[tokyo].events), history.EventRow{Key: "only here", Yen: 30, Epoch: 1})
	return w
}

func TestGate(t *testing.T) {
	for _, x := range []struct {
		name string
		bend func(*wayback)
		want []string // conditions that do not hold
		saw  string
	}{
		{"ready", func(*wayback) {}, nil, ""},
		{"a transaction of its own", func(w *wayback) { w.dbs[tokyo].id.Executed += "," + newUUID + ":pay:1" }, []string{ReadyErrant}, newUUID + ":pay:1"},
		{"one server twice", func(w *wayback) { w.dbs[tokyo].id.UUID = uuid }, []string{ReadyErrant}, "are one server"},
		{"purged before it had it", func(w *wayback) {
			w.dbs[osaka].id.Executed, w.dbs[osaka].id.Purged = w.dbs[osaka].id.Executed+":batch:1-4", uuid+":batch:1-2"
		}, []string{ReadyBinlog, ReadyLag}, uuid + ":batch:1-2"},
		{"purged, and it has it", func(w *wayback) { w.dbs[osaka].id.Purged = uuid + ":pay:1-7" }, nil, ""},
		{"behind", func(w *wayback) { w.dbs[osaka].id.Executed += ":batch:1" }, []string{ReadyLag}, "has not executed"},
		{"it receives nothing", func(w *wayback) { w.dbs[tokyo].id.Receiving = false }, []string{ReadyLag}, "does not run"},
		{"another amount", func(w *wayback) {
			h := &w.dbs[tokyo].holds
			h.Payments = slices.Clone(h.Payments)
			h.Payments[0].Yen++
		}, []string{ReadyContent}, "101 yen"},
		{"a balance that its entries do not explain", func(w *wayback) {
			h := &w.dbs[tokyo].holds
			h.Accounts = slices.Clone(h.Accounts)
			h.Accounts[0].Balance++
		}, []string{ReadyContent}, "off its entries by 1"},
		{"an event is missing", func(w *wayback) { w.rings[tokyo].events = nil }, []string{ReadyContent}, "1 events in cassandra differ"},
		{"the journal cannot be read", func(w *wayback) { w.rings[tokyo].err = errors.New("no quorum") }, []string{ReadyContent}, "no quorum"},
		{"hints", func(w *wayback) { w.views[1].Hints = map[string]int{"h": 2} }, []string{ReadyHints}, "osaka-cassandra-1 keeps 2 files of hints for h"},
		{"one sees the other dead", func(w *wayback) { w.views[1].Live, w.views[1].Down = w.views[1].Live[:1], w.views[1].Live[1:] }, []string{ReadyRing}, "sees 1 of 2 nodes live"},
		{"one does not answer", func(w *wayback) { w.views[0] = RingNode{Node: "tokyo-cassandra-1", Error: "refused"} }, []string{ReadyHints, ReadyRing}, "does not tell whom it sees: refused"},
		{"a node is missing", func(w *wayback) { w.views = w.views[1:] }, []string{ReadyRing}, "1 of 2 nodes answer"},
		{"no node at all", func(w *wayback) { w.views = nil }, []string{ReadyHints, ReadyRing}, "there is no Cassandra node"},
		{"its batch would run", func(w *wayback) { w.params[tokyo][batchEnabled] = "true" }, []string{ReadyParams}, `"true", expected "false"`},
		{"it would form a cluster", func(w *wayback) { delete(w.params[tokyo], "cluster.form") }, []string{ReadyParams}, "cluster.form"},
		{"a node of it that loses its volume would come back empty", func(w *wayback) { w.params[tokyo]["cassandra.replace"] = "false" }, []string{ReadyParams}, "cassandra.replace"},
		{"another release would start", func(w *wayback) { w.params[tokyo]["app.release"] = "2" }, []string{ReadyRelease}, `tokyo would start "2"`},
		{"another release serves", func(w *wayback) { w.app = "2" }, []string{ReadyRelease}, `says release "2"`},
		{"nobody says which", func(w *wayback) {
			delete(w.params[tokyo], "app.release")
			delete(w.params[osaka], "app.release")
			w.app = ""
		}, []string{ReadyRelease}, `release ""`},
		{"the one that would take over is down", func(w *wayback) { w.dbs[tokyo].stopped = true }, []string{ReadyErrant, ReadyBinlog, ReadyLag, ReadyContent}, "unreachable"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWayback(t)
				x.bend(w)
				r := Gate{From: osaka, To: tokyo, Lag: time.Second}.Read(t.Context(), w)
				if !slices.Equal(r.Violated(), x.want) || r.Ready() != (x.want == nil) {
					t.Errorf("violated %q, want %q: %v", r.Violated(), x.want, r.Err())
				}
				if len(r.Conditions) != len(Conditions()) {
					t.Errorf("%d conditions were read", len(r.Conditions))
				}
				says(t, r.Err(), x.saw)
			})
		})
	}
	if (Readiness{}).Ready() {
		t.Error("nothing was read, and it is ready")
	}
}

// TestPassage: the verb refuses at once what time does not mend, waits for what it does, and once passed it does not stand in the way
// of an operator who goes on after the flip.
func TestPassage(t *testing.T) {
	for _, x := range []struct {
		name string
		bend func(*wayback)
		late time.Duration // when it is mended; 0: never
		want string
		took time.Duration
	}{
		{"ready", func(*wayback) {}, 0, "", 0},
		{"hints that are delivered", func(w *wayback) { w.views[1].Hints = map[string]int{"h": 1} }, 5 * time.Second, "", 5 * time.Second},
		{"hints that stay", func(w *wayback) { w.views[1].Hints = map[string]int{"h": 1} }, 0, "its budget ended", time.Minute},
		{"an errant transaction", func(w *wayback) { w.dbs[tokyo].id.Executed += "," + newUUID + ":pay:1" }, 5 * time.Second, ReadyErrant, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, notes := newWayback(t), &stub{}
				x.bend(w)
				p := passage{w, Gate{From: osaka, To: tokyo, Lag: time.Second}}
				_, err := p.Confirm(t.Context(), notes)
				says(t, err, "not passed the gate")
				if x.late > 0 {
					w.whole, w.later = time.Now().Add(x.late), newWayback(t).views
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("its budget ended"))
				defer cancel()
				began := time.Now()
				_, err = p.Act(ctx, notes)
				says(t, err, x.want)
				if took := time.Since(began); took < x.took || took > x.took+time.Second {
					t.Errorf("it took %v, expected %v", took, x.took)
				}
				if _, confirmed := p.Confirm(t.Context(), notes); (confirmed == nil) != (x.want == "") {
					t.Errorf("confirmed: %v", confirmed)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // the row that is approved reads it once more
		w, notes := newWayback(t), &stub{}
		a, err := Standard(w.Topology(), w)["failback.begin"].Bind(Values{"from": string(osaka), "to": string(tokyo), "lag": time.Second, "parameters": map[string]any{}})
		if err != nil {
			t.Fatal(err)
		}
		w.params[tokyo]["app.release"] = "2"
		_, err = a.Act(t.Context(), notes)
		says(t, err, ReadyRelease)
		_, err = a.Confirm(t.Context(), notes)
		says(t, err, "not passed the gate")
	})
	w := newWayback(t)
	p := passage{w, Gate{From: osaka, To: tokyo, Lag: time.Second}}
	w.params[tokyo]["cluster.form"] = "true" // as the handover's first row leaves it
	_, err := p.Check(t.Context())
	says(t, err, "")
	w.dbs[tokyo].stopped = true
	_, err = p.Check(t.Context())
	says(t, err, "read mysql of tokyo")
}

func bound(t *testing.T, w *wayback, verb string, in Values) runbook.Action {
	t.Helper()
	in["region"], in["from"] = string(tokyo), string(osaka)
	a, err := Standard(w.Topology(), w)[verb].Bind(in)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestRebuild: what only the old server had is in the run folder before its data go, and the new one is a replica without a past.
func TestRebuild(t *testing.T) {
	for _, variant := range []string{byClone, byDump} {
		t.Run(variant, func(t *testing.T) {
			w, notes := returned(t), &stub{}
			r := bound(t, w, "mysql.rebuild", Values{"variant": variant})
			if _, err := r.Confirm(t.Context(), notes); err == nil {
				t.Fatal("confirmed before it was done")
			}
			for range 2 { // the second time finds everything done
				if _, err := r.Act(t.Context(), notes); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Confirm(t.Context(), notes); err != nil {
					t.Fatal(err)
				}
			}
			s := w.dbs[tokyo]
			if s.id.UUID != newUUID || s.id.Executed != w.dbs[osaka].id.Executed || !s.id.StaysReadOnly {
				t.Errorf("%+v", s.id)
			}
			if n := strings.Count(strings.Join(s.did, " "), "wipe"); n != 1 {
				t.Errorf("wiped %d times: %v", n, s.did)
			}
			m, err := salvage.Read(filepath.Join(w.folder, "salvage", "tokyo"))
			if err != nil {
				t.Fatal(err)
			}
			if m.UUID != oldUUID || m.Missing != oldUUID+":pay:6-7" || m.Events != "read" {
				t.Errorf("%+v", m)
			}
			for file, rows := range map[string]int{salvage.PaymentsFile: 1, salvage.TransactionsFile: 2, salvage.EventsFile: 1} {
				if m.Files[file].Rows != rows {
					t.Errorf("%s has %d rows, expected %d", file, m.Files[file].Rows, rows)
				}
			}
			if len(notes.All(sawWiped)) != 1 || notes.All(sawSalvaged)[0] != oldUUID+":pay:6-7" {
				t.Errorf("noted before it went: %v", notes.seen)
			}
		})
	}
}

// TestRebuildRefuses: each finer verb refuses what would lose data.
func TestRebuildRefuses(t *testing.T) {
	saved := func(t *testing.T, w *wayback) {
		t.Helper()
		if _, err := bound(t, w, "mysql.salvage", Values{}).Act(t.Context(), &stub{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		name, verb string
		in         Values
		before     func(*testing.T, *wayback)
		want       string
	}{
		{"a wipe before the salvage", "mysql.wipe", Values{"salvaged": true}, func(*testing.T, *wayback) {}, "is not thrown away"},
		{"a wipe after it", "mysql.wipe", Values{"salvaged": true}, saved, ""},
		{"a wipe of what was written since", "mysql.wipe", Values{"salvaged": true}, func(t *testing.T, w *wayback) {
			saved(t, w)
			w.dbs[tokyo].id.Executed = oldUUID + ":1-9:pay:1-8"
		}, "has executed " + oldUUID + ":pay:8 since the salvage"},
		{"a wipe of what takes writes again", "mysql.wipe", Values{"salvaged": true}, func(t *testing.T, w *wayback) {
			saved(t, w)
			w.dbs[tokyo].id.ReadOnly = false
		}, "takes writes that the salvage does not have"},
		{"a wipe after a salvage that was damaged", "mysql.wipe", Values{"salvaged": true}, func(t *testing.T, w *wayback) {
			saved(t, w)
			if err := os.WriteFile(filepath.Join(SalvageFolder(w.folder, tokyo), salvage.PaymentsFile), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is not thrown away"},
		{"the planted wipe", "mysql.wipe", Values{"salvaged": false}, func(*testing.T, *wayback) {}, ""},
		{"a salvage while somebody writes", "mysql.salvage", Values{}, func(_ *testing.T, w *wayback) { w.dbs[tokyo].moved = oldUUID + ":1-9:pay:1-9" }, "changed while it was saved"},
		{"a copy over a past of its own", "mysql.copy", Values{"variant": byClone}, func(*testing.T, *wayback) {}, "has transactions that osaka lacks"},
		{"following with a past of its own", "mysql.rejoin", Values{"errant": false}, func(*testing.T, *wayback) {}, "MySQL would not mind"},
		{"the planted one", "mysql.rejoin", Values{"errant": true}, func(*testing.T, *wayback) {}, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := returned(t)
			x.before(t, w)
			w.dbs[tokyo].reads = 0
			_, err := bound(t, w, x.verb, x.in).Act(t.Context(), &stub{})
			says(t, err, x.want)
			if wiped := slices.Contains(w.dbs[tokyo].did, "wipe"); wiped != (x.verb == "mysql.wipe" && x.want == "") {
				t.Errorf("wiped: %t, %v", wiped, w.dbs[tokyo].did)
			}
		})
	}
}

// TestSalvageWithoutCassandra: a returned region's ring that is beyond repair keeps nobody from saving its database, and the
// manifest says so.
func TestSalvageWithoutCassandra(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := returned(t)
		w.rings[tokyo].err = errors.New("its commit log is damaged")
		began := time.Now()
		saw, err := bound(t, w, "mysql.salvage", Values{}).Act(t.Context(), &stub{})
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(saw["events_read"]); !strings.Contains(text, "damaged") {
			t.Errorf("%v", saw)
		}
		if took := time.Since(began); took < eventsStarting || took > eventsStarting+time.Second {
			t.Errorf("it waited %v for a node that runs, expected %v", took, eventsStarting)
		}
	})
}

// TestLateEvents: what only the region's Cassandra has is saved once it answers, and until then nothing of it is emptied.
func TestLateEvents(t *testing.T) { synctest.Test(t, testLateEvents) }

func testLateEvents(t *testing.T) {
	w, notes := returned(t), &stub{}
	w.rings[tokyo].err = errors.New("it is still starting")
	r := bound(t, w, "mysql.rebuild", Values{"variant": byClone})
	if _, err := r.Act(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Confirm(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	e := empty{estate: w, region: tokyo, by: osaka}
	says(t, e.saved(), "it is still starting): start its nodes")
	e.unsalvaged = true
	says(t, e.saved(), "")
	e.unsalvaged = false

	w.rings[tokyo].err = nil // it answers now
	_, err := r.Confirm(t.Context(), notes)
	says(t, err, "the journal of tokyo can be read, and the salvage does not have")
	if _, err := r.Act(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Confirm(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	says(t, e.saved(), "")
	m, err := salvage.Read(SalvageFolder(w.folder, tokyo))
	if err != nil {
		t.Fatal(err)
	}
	if m.Files[salvage.EventsFile].Rows != 1 || m.Files[salvage.PaymentsFile].Rows != 1 || m.UUID != oldUUID {
		t.Errorf("%+v", m)
	}
	if n := strings.Count(strings.Join(w.dbs[tokyo].did, " "), "wipe"); n != 1 {
		t.Errorf("wiped %d times", n)
	}
}

// TestSecondLoss: a server that was rebuilt, served and was lost has a past of its own. It is salvaged as the first one was, whose
// salvage is kept.
func TestSecondLoss(t *testing.T) {
	w, notes := returned(t), &stub{}
	r := bound(t, w, "mysql.rebuild", Values{"variant": byClone})
	if _, err := r.Act(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	s := w.dbs[tokyo] // it served, and took a payment that osaka never got
	s.id.Executed += "," + newUUID + ":pay:1"
	s.id.Source, s.id.Receiving, s.id.Applying, s.id.ReadOnly, s.id.StaysReadOnly = "", false, false, false, false
	s.holds.Payments = append(slices.Clone(s.holds.Payments), salvage.Payment{Key: "second", From: 1, To: 2, Yen: 40, State: "DONE"})
	s.log = []history.Transaction{{GTID: newUUID + ":pay:1"}}
	_, err := r.Confirm(t.Context(), notes)
	says(t, err, "with data of its own, and the salvage is of server "+oldUUID)
	_, err = bound(t, w, "mysql.wipe", Values{"salvaged": true}).Act(t.Context(), notes)
	says(t, err, "is not thrown away")
	if _, err := bound(t, w, "mysql.salvage", Values{}).Act(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]salvage.Manifest{
		SalvageFolder(w.folder, tokyo):                     {UUID: newUUID, Missing: newUUID + ":pay:1"},
		SalvageFolder(w.folder, tokyo) + "." + oldUUID[:8]: {UUID: oldUUID, Missing: oldUUID + ":pay:6-7"},
	} {
		m, err := salvage.Read(folder)
		if err != nil || m.UUID != want.UUID || m.Missing != want.Missing {
			t.Errorf("%s: %+v, %v", folder, m, err)
		}
	}
}

// TestBrokenClone: a clone that failed is said at once, with the server's own words.
func TestBrokenClone(t *testing.T) {
	f := fill{pair: pair{returned(t), tokyo, osaka}}
	for state, want := range map[string]string{"Failed": "the clone failed: out of disk", "In Progress": "", "Completed": "", "": ""} {
		says(t, f.broken(t.Context(), clonedServer{state: state}), want)
	}
	says(t, f.broken(t.Context(), clonedServer{state: "Failed", err: topology.ErrUnreachable}), "")
}

type clonedServer struct {
	Restorer
	state string
	err   error
}

func (c clonedServer) CloneState(context.Context) (string, string, error) {
	return c.state, "out of disk", c.err
}

// TestNoLogicalCopyUnderALease: found before anything is thrown away.
func TestNoLogicalCopyUnderALease(t *testing.T) {
	for _, verb := range []string{"mysql.rebuild", "mysql.copy"} {
		for variant, want := range map[string]string{byClone: "", byDump: `use variant "clone"`} {
			w := returned(t)
			w.fence = topology.WitnessFence
			_, err := bound(t, w, verb, Values{"variant": variant}).Check(t.Context())
			says(t, err, want)
		}
	}
}
