package procedure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// twins is as much of a platform as the verbs of the handover see: Tokyo writes, Osaka follows.
type twins struct {
	Estate // whatever else is asked for panics
	dbs    map[topology.Site]*twin
	values map[string]string
	differ string
	rows   int
	fence  topology.Fence
	lease  *judge
}

type twin struct {
	Database
	r       Replication
	epoch   int64
	owner   topology.Site
	writing int
	later   func(*twin) // called before each read
	gone    bool
}

func newTwins() *twins {
	return &twins{
		dbs: map[topology.Site]*twin{
			tokyo: {r: Replication{Executed: uuid + ":1-9:pay:1-5", PersistedWritable: true}, epoch: 1, owner: tokyo},
			osaka: {r: Replication{Executed: uuid + ":1-9:pay:1-5", Source: "tokyo", Receiving: true, Connected: true, Applying: true, ReadOnly: true, SuperReadOnly: true, PersistedSuperReadOnly: true}, epoch: 1, owner: tokyo},
		},
		values: map[string]string{"acquirer.endpoint": "a", "cluster.form": "false"},
		rows:   7,
	}
}

func (w *twins) Topology() topology.Topology                        { return topology.Topology{Fence: w.fence} }
func (w *twins) Leases() (Leases, error)                            { return w.lease, nil }
func (w *twins) Database(site topology.Site) (Database, error)      { return w.dbs[site], nil }
func (w *twins) Ring(topology.Site) (Ring, error)                   { return quiet{}, nil }
func (w *twins) Params(topology.Site) (Params, error)               { return shelf{w}, nil }
func (w *twins) Source(_, source topology.Site) (string, error)     { return string(source), nil }
func (w *twins) Nodes(topology.Site, topology.Kind) []topology.Node { return nil }
func (w *twins) Follow(_ context.Context, r, s topology.Site) error {
	w.dbs[r].r = Replication{Executed: w.dbs[s].r.Executed, Source: string(s), Receiving: true, Connected: true, Applying: true, ReadOnly: true, SuperReadOnly: true, PersistedSuperReadOnly: true}
	return nil
}

func (w *twins) CompareJournals(context.Context, topology.Site, topology.Site) (JournalsCompared, error) {
	return JournalsCompared{w.rows, w.rows, w.differ}, nil
}

type quiet struct{}

func (quiet) Answers(context.Context) error { return nil }

type shelf struct{ w *twins }

func (s shelf) Read(context.Context) (int64, map[string]string, error) {
	return 1, maps.Clone(s.w.values), nil
}

func (s shelf) Write(_ context.Context, v map[string]string) (int64, error) {
	maps.Copy(s.w.values, v)
	return 2, nil
}

func (s shelf) Remove(_ context.Context, names []string) (int64, error) {
	for _, n := range names {
		delete(s.w.values, n)
	}
	return 3, nil
}

func (d *twin) Replication(context.Context) (Replication, error) {
	if d.later != nil {
		d.later(d)
	}
	return d.r, nil
}

func (d *twin) Epoch(context.Context) (int64, string, error) {
	if d.gone {
		return 0, "", fmt.Errorf("dial: %w", topology.ErrUnreachable)
	}
	return d.epoch, string(d.owner), nil
}
func (d *twin) Writing(context.Context) (int, error) { return d.writing, nil }
func (d *twin) SetWritable(_ context.Context, on bool) error {
	d.r.ReadOnly, d.r.SuperReadOnly, d.r.PersistedSuperReadOnly, d.r.PersistedWritable = !on, !on, !on, on
	return nil
}

// flip is what detaching and promoting leave.
func (w *twins) flip() {
	for _, d := range w.dbs {
		d.epoch, d.owner = 2, osaka
	}
	w.dbs[osaka].r = Replication{Executed: w.dbs[osaka].r.Executed + ":open:1-3", PersistedWritable: true}
}

func says(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestFence(t *testing.T) {
	for _, x := range []struct {
		name string
		bend func(*twin)
		want string
	}{
		{"fenced", func(*twin) {}, ""},
		{"still writable", func(d *twin) { d.r.SuperReadOnly = false }, "super_read_only is off"},
		{"not after a restart", func(d *twin) { d.r.PersistedSuperReadOnly = false }, "a restart would make it writable"},
		{"something is in flight", func(d *twin) { d.writing = 2 }, "2 transactions that write are still open"},
	} {
		t.Run(x.name, func(t *testing.T) {
			w, f := newTwins(), fence{nil, tokyo}
			f.estate = w
			if _, err := f.Confirm(t.Context(), &stub{}); err == nil {
				t.Fatal("confirmed before it was done")
			}
			if _, err := f.Act(t.Context(), &stub{}); err != nil {
				t.Fatal(err)
			}
			x.bend(w.dbs[tokyo])
			_, err := f.Confirm(t.Context(), &stub{})
			says(t, err, x.want)
		})
	}
}

func TestUnfenceIsRefusedOnceTheOtherSideWasPromoted(t *testing.T) {
	w := newTwins()
	u := unfence{w, tokyo, osaka}
	w.dbs[tokyo].r.SuperReadOnly, w.dbs[tokyo].r.PersistedWritable = true, false
	if _, err := u.Act(t.Context(), &stub{}); err != nil {
		t.Fatal(err)
	}
	_, err := u.Confirm(t.Context(), &stub{})
	says(t, err, "")
	w.dbs[osaka].owner, w.dbs[osaka].epoch = osaka, 2
	_, err = u.Act(t.Context(), &stub{})
	says(t, err, "epoch 2 belongs to osaka")
}

// The region that was to take over may be what died: the one that served must be able to serve again, and with a witness only while the
// lease is its own.
func TestUnfenceWhileTheOtherSideIsDown(t *testing.T) {
	for _, x := range []struct {
		name string
		bend func(*twins)
		want string
	}{
		{"no fence", func(*twins) {}, ""},
		{"it holds the lease", func(w *twins) {
			w.fence, w.lease = topology.WitnessFence, &judge{holder: tokyo, renewed: true, until: time.Now().Add(time.Hour)}
		}, ""},
		{"the other one holds it", func(w *twins) {
			w.fence, w.lease = topology.WitnessFence, &judge{holder: osaka, renewed: true, until: time.Now().Add(time.Hour)}
		}, "osaka holds the lease"},
		{"it is another region's replica", func(w *twins) { w.dbs[tokyo].r.Source = "osaka" }, "tokyo replicates from osaka"},
		{"it cannot be asked itself", func(w *twins) { w.dbs[tokyo].gone = true }, "unreachable"},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newTwins()
			w.dbs[tokyo].r.SuperReadOnly, w.dbs[tokyo].r.PersistedWritable, w.dbs[osaka].gone = true, false, true
			x.bend(w)
			u := unfence{w, tokyo, osaka}
			saw, err := u.Act(t.Context(), &stub{})
			says(t, err, x.want)
			if x.want == "" && saw["osaka"] == nil {
				t.Errorf("it is not said that osaka was not asked: %v", saw)
			}
			_, err = u.Confirm(t.Context(), &stub{})
			if (err == nil) != (x.want == "") {
				t.Errorf("confirmed: %v", err)
			}
		})
	}
}

func TestDrained(t *testing.T) {
	for _, x := range []struct {
		name string
		bend func(*twins)
		want string
	}{
		{"equal", func(*twins) {}, ""},
		{"a payment is missing", func(w *twins) { w.dbs[osaka].r.Executed = uuid + ":1-9:pay:1-4" }, "osaka has not executed " + uuid + ":pay:5"},
		{"it arrives late", func(w *twins) {
			n := 0
			w.dbs[osaka].r.Executed = uuid + ":1-9:pay:1-4"
			w.dbs[osaka].later = func(d *twin) {
				if n++; n > 3 {
					d.r.Executed = uuid + ":1-9:pay:1-5"
				}
			}
		}, ""},
		{"one of its own", func(w *twins) { w.dbs[osaka].r.Executed = uuid + ":1-9:pay:1-6" }, "which tokyo never had"},
		{"not fenced", func(w *twins) { w.dbs[tokyo].r.SuperReadOnly = false }, "tokyo is not fenced"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTwins()
				w.dbs[tokyo].r.SuperReadOnly = true
				x.bend(w)
				d, notes := drained{w, tokyo, osaka}, &stub{}
				if _, err := d.Confirm(t.Context(), notes); err == nil {
					t.Fatal("confirmed before it was compared")
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("its budget ended"))
				defer cancel()
				saw, err := d.Act(ctx, notes)
				says(t, err, x.want)
				if err != nil {
					return
				}
				tags := saw[sawByTag].(map[string]any)
				for _, tag := range []string{"untagged", "pay"} {
					if row, _ := tags[tag].(map[string]any); row["equal"] != true {
						t.Errorf("%s: %v", tag, tags)
					}
				}
				_, err = d.Confirm(t.Context(), notes)
				says(t, err, "")
				w.dbs[osaka].later = nil
				w.flip()
				_, err = d.Confirm(t.Context(), notes) // the new writer goes on, and the old one's set is still in it
				says(t, err, "")
				w.dbs[osaka].r.Executed = uuid + ":1-9"
				_, err = d.Confirm(t.Context(), notes)
				says(t, err, "osaka has not executed "+uuid+":pay:1-5")
			})
		})
	}
}

func TestEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, notes := newTwins(), &stub{}
		q := equal{w, tokyo, osaka}
		w.differ = "1 missing: events/k9"
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("its budget ended"))
		defer cancel()
		_, err := q.Act(ctx, notes)
		says(t, err, "events/k9")
		_, err = q.Confirm(t.Context(), notes)
		says(t, err, "not compared")
		w.differ = ""
		_, err = q.Act(t.Context(), notes)
		says(t, err, "")
		w.differ = "1 extra: events/k0"
		_, err = q.Confirm(t.Context(), notes)
		says(t, err, "events/k0")
		w.flip()
		_, err = q.Confirm(t.Context(), notes) // rows on their way back to the old region
		says(t, err, "")
		w.rows = 6
		_, err = q.Confirm(t.Context(), notes)
		says(t, err, "had 7 at the flip")
	})
}

func TestReady(t *testing.T) {
	for _, x := range []struct {
		name string
		bend func(*twins)
		want string
	}{
		{"fit", func(*twins) {}, ""},
		{"far behind", func(w *twins) { w.dbs[tokyo].r.Executed = uuid + ":1-900:pay:1-5" }, "891 transactions behind, at most 200"},
		{"cut off", func(w *twins) { w.dbs[osaka].r.Connected = false }, "does not replicate"},
		{"follows another", func(w *twins) { w.dbs[osaka].r.Source = "kyoto" }, "expected tokyo"},
		{"errant", func(w *twins) { w.dbs[osaka].r.Executed = uuid + ":1-9:pay:1-7" }, "which tokyo never had"},
		{"writable standby", func(w *twins) { w.dbs[osaka].r.PersistedSuperReadOnly = false }, "can be written to"},
		{"no writer", func(w *twins) { w.dbs[tokyo].r.ReadOnly = true }, "is not the writer"},
		{"the other way round", func(w *twins) { w.dbs[tokyo].owner = osaka }, "belongs to osaka"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, notes := newTwins(), &stub{}
				x.bend(w)
				r := ready{w, tokyo, osaka, 200}
				_, err := r.Confirm(t.Context(), notes)
				says(t, err, "not seen")
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("its budget ended"))
				defer cancel()
				_, err = r.Act(ctx, notes)
				says(t, err, x.want)
				_, confirmed := r.Confirm(t.Context(), notes)
				if (confirmed == nil) != (x.want == "") {
					t.Errorf("confirmed: %v", confirmed)
				}
			})
		})
	}
}

func TestPreparedParametersAreRestored(t *testing.T) {
	w, notes := newTwins(), &stub{}
	before := maps.Clone(w.values)
	p := prepare{set{estate: w, region: osaka, from: []string{"cassandra.dc", "epoch"}, values: map[string]string{"cluster.form": "true"}, next: true}}
	r := restore{w, osaka}
	_, err := r.Confirm(t.Context(), notes) // nothing was written, nothing is to be put back
	says(t, err, "")
	for range 2 { // the second act finds what the first one wrote
		if _, err := p.Act(t.Context(), notes); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(w.values); got != "map[acquirer.endpoint:a cassandra.dc:osaka cluster.form:true epoch:2]" {
		t.Errorf("wrote %s", got)
	}
	_, err = p.Confirm(t.Context(), notes)
	says(t, err, "")
	w.flip()
	_, err = p.Confirm(t.Context(), notes) // promoted: the epoch to come is the one that it is in
	says(t, err, "")
	_, err = r.Confirm(t.Context(), notes)
	says(t, err, "cluster.form=true, expected false")
	_, err = r.Act(t.Context(), notes)
	says(t, err, "")
	_, err = r.Confirm(t.Context(), notes)
	says(t, err, "")
	if !maps.Equal(w.values, before) {
		t.Errorf("restored %v, want %v", w.values, before)
	}
}

func TestFollow(t *testing.T) {
	w, notes := newTwins(), &stub{}
	f := follow{w, tokyo, osaka}
	_, err := f.Act(t.Context(), notes)
	says(t, err, "fence it first")
	w.dbs[tokyo].r.SuperReadOnly = true
	_, err = f.Act(t.Context(), notes)
	says(t, err, "promote it first")
	w.flip()
	w.dbs[tokyo].r.Executed = uuid + ":1-9:pay:1-6"
	_, err = f.Act(t.Context(), notes)
	says(t, err, "has executed "+uuid+":pay:6, which osaka never had")
	w.dbs[tokyo].r.Executed = uuid + ":1-9:pay:1-5"
	_, err = f.Act(t.Context(), notes)
	says(t, err, "")
	_, err = f.Confirm(t.Context(), notes)
	says(t, err, "")
	w.dbs[tokyo].r.Connected = false
	_, err = f.Confirm(t.Context(), notes)
	says(t, err, "not connected")
}

var _ = []runbook.Action{ready{}, drained{}, equal{}, fence{}, unfence{}, follow{}, prepare{}, restore{}, remove{}, await{}, stopNodes{}, disableBatch{}, listed{}}

// lateGuard is a server whose guard sets it read-only some times more than it should.
type lateGuard struct {
	*twin
	late, asked int
}

func (d *lateGuard) SetWritable(ctx context.Context, on bool) error {
	d.asked++
	if err := d.twin.SetWritable(ctx, on); err != nil || d.late == 0 {
		return err
	}
	d.late--
	d.r.ReadOnly, d.r.SuperReadOnly = true, true
	return nil
}

// TestAllowWrites: a server that its guard has made read-only once more is made writable again, and is not called writable while it is not.
func TestAllowWrites(t *testing.T) {
	for _, late := range []int{0, 1, 3} {
		d := &lateGuard{twin: &twin{}, late: late}
		if err := allowWrites(t.Context(), d, osaka); err != nil || d.r.ReadOnly || d.asked != late+1 {
			t.Errorf("read-only %d times more: %v, read-only %t, asked %d times", late, err, d.r.ReadOnly, d.asked)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	says(t, allowWrites(ctx, &lateGuard{twin: &twin{}, late: 1e9}, osaka), "allow writes in osaka: context deadline exceeded; last saw: it is read-only again")
}
