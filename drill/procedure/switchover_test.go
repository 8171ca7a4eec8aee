package procedure

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

var update = flag.Bool("update", false, "write the golden files anew")

var roles = map[string]any{"lost": "tokyo", "survivor": "osaka"}

// others are the roles of the other procedures.
var others = map[string]any{"source": "osaka", "target": "tokyo", "from": "osaka", "to": "tokyo", "active": "tokyo", "standby": "osaka", "home": "tokyo", "away": "osaka"}

func load(t testing.TB, name string, e *land) runbook.Runbook {
	t.Helper()
	fsys, file, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	rb, err := Load(fsys, file, given(t, name), Standard(e.topology, e))
	if err != nil {
		t.Fatal(err)
	}
	return rb
}

// given are those of the roles that a procedure declares.
func given(t testing.TB, name string) map[string]any {
	t.Helper()
	fsys, file, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	declared, err := Inputs(fsys, file)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]any{}
	for _, name := range declared {
		if in[name] = roles[name]; in[name] == nil {
			in[name] = others[name]
		}
	}
	return in
}

// The plans of the program's own procedures are what people review; here they are reviewed once more.
func TestPlans(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			fsys, file, err := Find(name)
			if err != nil {
				t.Fatal(err)
			}
			rb, err := Load(fsys, file, given(t, name), Standard(newLand().topology, nil)) // printing a plan needs no world
			if err != nil {
				t.Fatal(err)
			}
			got, golden := runbook.Plan(rb), filepath.Join("testdata", strings.ReplaceAll(name, "/", "-")+".plan")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the plan differs from %s; if that is wanted: go test ./drill/procedure -update\n%s", golden, got)
			}
			if _, err := rb.Steps[0].Action.Check(t.Context()); !errors.Is(err, errUnattached) {
				t.Errorf("a plan without a world can be run: %v", err)
			}
		})
	}
	for _, name := range []string{"examples/announce", "known_bad/switchover-no-drain", "known_bad/switchover-dead-is-fenced", "switchover", "switchover-witness", "switchover-override", "global-database-steps", "switchover-planned", "failback"} {
		if !slices.Contains(Names(), name) {
			t.Errorf("there is no procedure %s: %v", name, Names())
		}
	}
	for _, called := range []string{"handover", "parameters", "application"} {
		if slices.Contains(Names(), called) {
			t.Errorf("%s is called by others, and listed with those that are run", called)
		}
	}
}

// The nine rows of the article are kept, the two manual ones among them.
func TestSwitchoverHasTheRowsOfTheArticle(t *testing.T) {
	rb := load(t, "switchover", newLand())
	var rows []string
	for _, s := range rb.Steps {
		row := s.Path
		if len(s.Under) > 0 {
			row += " (" + s.Under[0].Path + " by " + s.Under[0].File + ")"
		}
		rows = append(rows, row)
	}
	want := []string{"1", "2", "3", "4.1 (4 by parameters.yaml)", "5.1 (5 by application.yaml)", "6.1 (6 by application.yaml)",
		"7.1 (7 by parameters.yaml)", "8", "9"}
	if !slices.Equal(rows, want) {
		t.Errorf("rows\n got %v\nwant %v", rows, want)
	}
	if !rb.Steps[7].Manual {
		t.Error("the DNS records are changed by hand")
	}
}

// facts are what a switchover leaves, however often its operator died.
type facts struct {
	Denied   []string
	Source   string
	Dropped  int64
	Executed bool // everything that was received
	Epoch    string
	Raised   int
	Writable bool
	Torn     bool
	Values   map[string]string
	Running  []string
	Starts   int
	Payments int
	Zone     map[string]topology.Site
	OnPrem   bool
	Tokyo    bool // somebody dialled the lost region
	Reformed bool // row 4 was done once more after row 7
}

func factsOf(l *land) facts {
	f := facts{Source: l.db.source, Dropped: l.db.dropped, Executed: l.db.executed >= l.db.received, Epoch: fmt.Sprintf("%d %s", l.db.epoch, l.db.epochSite),
		Raised: l.db.raised, Writable: !l.db.readOnly && !l.db.super, Torn: l.db.tornWindow, Values: maps.Clone(l.values),
		Payments: len(l.paid), Zone: map[string]topology.Site{}, Tokyo: slices.Contains(l.dialled, tokyo), Reformed: l.formedTwice}
	for _, x := range l.links {
		if x.layers.Access == topology.Deny {
			f.Denied = append(f.Denied, x.id.String())
		}
	}
	for _, n := range l.nodes {
		if n.state == topology.Running {
			f.Running = append(f.Running, n.name)
		}
		f.Starts += n.starts
		f.OnPrem = f.OnPrem || n.pays > 0
	}
	for _, r := range l.zone.records {
		f.Zone[r.Name] = r.Site
	}
	return f
}

// operate runs the procedure on the land, with a person who changes the records when asked.
func operate(t testing.TB, path string, rb runbook.Runbook, l *land) (err error) {
	j, err := runbook.Open(path)
	if err != nil {
		return err
	}
	defer j.Close()
	defer func() {
		if r := recover(); r == errKilled {
			err = errKilled
		} else if r != nil {
			panic(r)
		}
	}()
	return runbook.Run(context.Background(), rb, j, runbook.Options{Who: "tester", Progress: func(e runbook.Event) {
		if e.Kind == history.EntryWait {
			l.zone.person()
		}
		if testing.Verbose() {
			t.Log(e)
		}
	}})
}

// folder is a place where a flush to disk costs nothing, if there is one.
func folder(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "kirikae-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func undisturbed(t *testing.T, dir string) (facts, int) {
	t.Helper()
	l := newLand()
	if err := operate(t, filepath.Join(dir, "undisturbed.ndjson"), load(t, "switchover", l), l); err != nil {
		t.Fatal(err)
	}
	return factsOf(l), l.calls
}

func TestSwitchover(t *testing.T) {
	dir := folder(t)
	synctest.Test(t, func(t *testing.T) {
		got, calls := undisturbed(t, dir)
		want := facts{
			Denied: []string{"tokyo>osaka/cassandra", "osaka>tokyo/cassandra"}, Executed: true, Epoch: "2 osaka", Raised: 1, Writable: true,
			Values: map[string]string{"acquirer.endpoint": "10.0.0.9:8080", "batch.enabled": "true", "cassandra.dc": "osaka",
				"cassandra.endpoints": "osaka-cassandra-1:9042,osaka-cassandra-2:9042", "cluster.form": "false", "epoch": "2", "mysql.endpoint": "osaka-mysql-1:3306"},
			Running: []string{"osaka-mysql-1", "osaka-cassandra-1", "osaka-cassandra-2", "osaka-app-1", "osaka-app-2", "osaka-gateway-1", "osaka-batch-1", "outside-onprem-1"},
			Starts:  3, Payments: 1, OnPrem: true,
			Zone: map[string]topology.Site{"pay.": osaka, "api.": osaka, "shop.": osaka, "admin.": osaka, "partner.": osaka},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
		t.Logf("%d calls", calls)
	})
}

// The operator is killed before and after the effect of every single call that it makes, and once more while it resumes. The
// world must be the same in the end.
func TestKilledBetweenAnyTwoCalls(t *testing.T) {
	dir := folder(t)
	synctest.Test(t, func(t *testing.T) {
		want, calls := undisturbed(t, dir)
		deaths := 0
		for n := 1; n <= calls; n++ {
			for _, after := range []bool{false, true} {
				for _, again := range []int{0, 1 + (n*31+7)%calls} {
					l := newLand()
					path := filepath.Join(dir, fmt.Sprintf("%d-%v-%d.ndjson", n, after, again))
					rb := load(t, "switchover", l)
					l.killAt, l.after = n, after
					err := operate(t, path, rb, l)
					for ; err == errKilled; err = operate(t, path, rb, l) {
						deaths++
						l.calls, l.killAt, l.after = 0, again, !after
						again = 0
					}
					if err != nil {
						t.Fatalf("killed at call %d (after its effect: %v): %v", n, after, err)
					}
					if got := factsOf(l); !reflect.DeepEqual(got, want) {
						t.Fatalf("killed at call %d (after its effect: %v)\n got %+v\nwant %+v", n, after, got, want)
					}
					for key, times := range l.paid {
						if !strings.HasPrefix(key, "operator-") || times < 1 {
							t.Fatalf("payment %s, %d times", key, times)
						}
					}
					promoted(t, path)
				}
			}
		}
		t.Logf("%d deaths over %d calls", deaths, calls)
	})
}

// promoted sees that the journal tells which GTID set was promoted, whoever wrote it.
func promoted(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if (strings.Contains(line, `"kind":"confirm"`) || strings.Contains(line, `"kind":"already"`)) && strings.Contains(line, `"step":"2"`) {
			if !strings.Contains(line, `"promoted":"`+uuid) {
				t.Fatalf("step 2 was confirmed without the promoted set: %s", line)
			}
			return
		}
	}
	t.Fatal("step 2 was not confirmed")
}

// The planted variant drops what was received and not applied; the real one does not.
func TestNoDrainDrops(t *testing.T) {
	dir := folder(t)
	synctest.Test(t, func(t *testing.T) {
		l := newLand()
		if err := operate(t, filepath.Join(dir, "journal"), load(t, "known_bad/switchover-no-drain", l), l); err != nil {
			t.Fatal(err)
		}
		if l.db.dropped == 0 {
			t.Error("the planted procedure dropped nothing")
		}
		if f := factsOf(l); !f.Writable || f.Payments != 1 {
			t.Errorf("it differs in more than the draining: %+v", f)
		}
	})
}

// The two procedures differ in the drain input and in nothing else that is done.
func TestNoDrainDiffersInOneInput(t *testing.T) {
	good, bad := load(t, "switchover", newLand()), load(t, "known_bad/switchover-no-drain", newLand())
	for i := range good.Steps {
		g, b := good.Steps[i], bad.Steps[i]
		if g.Path == "2" {
			if g.Inputs["drain"] != true || b.Inputs["drain"] != false {
				t.Errorf("drain %v and %v", g.Inputs["drain"], b.Inputs["drain"])
			}
			continue
		}
		if g.Path != b.Path || g.Title != b.Title || g.Verb != b.Verb || g.Budget != b.Budget || g.Manual != b.Manual || !reflect.DeepEqual(g.Inputs, b.Inputs) {
			t.Errorf("step %s: %+v and %+v", g.Path, g, b)
		}
	}
}

// A record that is added while the person is at work keeps the step waiting, though no file knows its name.
func TestRecordAddedMeanwhile(t *testing.T) {
	dir := folder(t)
	synctest.Test(t, func(t *testing.T) {
		l := newLand()
		rb := load(t, "switchover", l)
		j, err := runbook.Open(filepath.Join(dir, "journal"))
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		waited := false
		err = runbook.Run(t.Context(), rb, j, runbook.Options{Beat: time.Second, Progress: func(e runbook.Event) {
			switch e.Kind {
			case history.EntryWait:
				l.zone.person()
				l.zone.point("campaign.", tokyo)
			case runbook.EventWaiting:
				waited = true
				if !strings.Contains(e.Err.Error(), "1 of 6 records still lead to tokyo: [campaign.]") {
					t.Errorf("%v", e.Err)
				}
				l.zone.person()
			}
		}})
		if err != nil || !waited {
			t.Errorf("waited %v, %v", waited, err)
		}
	})
}
