package steps

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

// fakeWorld is a world of nodes, links and records without servers. What it has no field for, nobody may ask.
type fakeWorld struct {
	topology.World
	is    topology.Topology
	nodes []*fakeNode
	links []*fakeLink
	zone  *fakeZone
}

func (w *fakeWorld) Topology() topology.Topology { return w.is }
func (w *fakeWorld) Zone() topology.Zone         { return w.zone }
func (w *fakeWorld) Close() error                { return nil }

func (w *fakeWorld) Nodes(site topology.Site, kind topology.Kind) (out []topology.Node) {
	for _, n := range w.nodes {
		if (site == "" || n.site == site) && (kind == "" || n.kind == kind) {
			out = append(out, n)
		}
	}
	return out
}

func (w *fakeWorld) Links() (out []topology.Link) {
	for _, l := range w.links {
		out = append(out, l)
	}
	return out
}

func (w *fakeWorld) Link(id topology.LinkID) (topology.Link, error) {
	for _, l := range w.links {
		if l.id == id {
			return l, nil
		}
	}
	return nil, errors.New("no such link")
}

// fakeNode is a node that is in the state that it is put into.
type fakeNode struct {
	topology.Node
	name  string
	site  topology.Site
	kind  topology.Kind
	reach string

	mu            sync.Mutex
	state         topology.State
	starts, kills int
}

func (n *fakeNode) Name() string                           { return n.name }
func (n *fakeNode) Site() topology.Site                    { return n.site }
func (n *fakeNode) Kind() topology.Kind                    { return n.kind }
func (n *fakeNode) Reach(topology.Service) (string, error) { return n.reach, nil }

func (n *fakeNode) State(context.Context) (topology.State, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state, nil
}

func (n *fakeNode) Start(context.Context) error {
	n.put(topology.Running)
	n.starts++
	return nil
}

func (n *fakeNode) Kill(context.Context) error {
	n.put(topology.Stopped)
	n.kills++
	return nil
}

func (n *fakeNode) put(s topology.State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = s
}

// fakeLink is a link without doors: nothing can be felt on it.
type fakeLink struct {
	topology.Link
	id  topology.LinkID
	set func(topology.Fault)
}

func (l *fakeLink) ID() topology.LinkID    { return l.id }
func (l *fakeLink) Doors() []topology.Door { return nil }

func (l *fakeLink) SetFault(_ context.Context, f topology.Fault) error {
	l.set(f)
	return nil
}

// fakeZone is a zone some of whose records cannot be changed a few times.
type fakeZone struct {
	topology.Zone
	records []topology.Record
	stuck   map[string]int // by name: how often it still fails
	points  int            // that were tried
}

func (z *fakeZone) Records(context.Context) ([]topology.Record, error) {
	return append([]topology.Record{}, z.records...), nil
}

func (z *fakeZone) Point(_ context.Context, name string, to topology.Site) error {
	z.points++
	if z.stuck[name] > 0 {
		z.stuck[name]--
		return errors.New("the zone is locked")
	}
	for i := range z.records {
		if z.records[i].Name == name {
			z.records[i].Site = to
		}
	}
	return nil
}

// fakeDrill is a drill in a world without servers, with a folder and a record. marked is called for each mark.
func fakeDrill(t *testing.T, w *fakeWorld, marked func(history.Mark)) *Drill {
	t.Helper()
	record, err := history.NewRecorder(t.TempDir(), history.Monotonic{})
	if err != nil {
		t.Fatal(err)
	}
	record.Watch = marked
	t.Cleanup(func() { _ = record.Close() })
	estate, err := NewEstate(w)
	if err != nil {
		t.Fatal(err)
	}
	d := &Drill{folder: t.TempDir(), record: record, world: w, estate: estate}
	d.ctx, d.cancel = context.WithCancelCause(t.Context())
	t.Cleanup(func() { d.cancel(nil) })
	return d
}

// writeJournal writes a journal into a run folder.
func writeJournal(t *testing.T, folder string, entries ...history.Entry) {
	t.Helper()
	var text []byte
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, line...), '\n')
	}
	if err := os.WriteFile(filepath.Join(folder, history.JournalFile), text, 0o644); err != nil {
		t.Fatal(err)
	}
}
