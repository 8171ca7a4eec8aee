package procedure

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// handing is a land whose regions are both well: Tokyo serves in epoch 1, its batch too, and hands over to Osaka.
func handing() *land {
	l := newLand()
	l.back = true
	l.others = map[string]string{"epoch": "1", "mysql.endpoint": "tokyo-mysql-1:3306", batchEnabled: "true"}
	l.nodes = append(l.nodes, &node{land: l, name: "tokyo-batch-1", site: tokyo, kind: topology.Batch})
	for _, kind := range []topology.Kind{topology.MySQL, topology.Cassandra, topology.App, topology.Batch} {
		for _, n := range l.Nodes(tokyo, kind) {
			n.(*node).state = topology.Running
		}
	}
	return l
}

// handovers are the verbs, each with what must have been done before it.
var handovers = map[string]struct {
	verb   string
	in     Values
	after  []string // rows that come before
	before string   // what the confirm misses before the act; "": it holds
	writes []string
	would  string // "": it does not tell
}{
	"prepare": {"params.prepare", Values{"region": "osaka", "from_region": []any{"mysql.endpoint", "epoch"}, "values": map[string]any{"cluster.form": "true"}}, nil,
		"the parameter store of osaka has no cluster.form, epoch=1, expected 2, mysql.endpoint=old, expected osaka-mysql-1:3306",
		[]string{"osaka/params/cluster.form", "osaka/params/epoch", "osaka/params/mysql.endpoint"},
		"write cluster.form=true (new), epoch=2 (now 1), mysql.endpoint=osaka-mysql-1:3306 (now old) into the parameter store of osaka"},
	"await": {"app.await", Values{"region": "osaka"}, []string{"prepare"},
		"osaka-app-1 is stopped\nosaka-app-2 is stopped", nil, "start osaka-app-1 (stopped), osaka-app-2 (stopped)"},
	"stop": {"app.stop", Values{"region": "tokyo"}, nil,
		"tokyo-app-1 is running\ntokyo-app-2 is running", nil, "stop tokyo-app-1, tokyo-app-2"},
	"disable": {"batch.disable", Values{"region": "tokyo"}, nil,
		"tokyo-batch-1 is running", []string{"tokyo/params/batch.enabled"}, "set batch.enabled=false, stop tokyo-batch-1"},
	"remove": {"params.remove", Values{"region": "tokyo", "names": []any{"epoch", "mysql.endpoint"}}, nil,
		"still has epoch=1\nthe parameter store of tokyo still has mysql.endpoint=tokyo-mysql-1:3306", []string{"tokyo/params/epoch", "tokyo/params/mysql.endpoint"}, ""},
	"list": {"dns.list", Values{"records": []any{"pay", "api"}, "to": "osaka"}, nil,
		"[api. pay.] do not lead to osaka", nil, ""},
}

// handed does what comes before a row, and the row itself where done says so.
func handed(t *testing.T, l *land, row string, done bool) (runbook.Action, *stub) {
	t.Helper()
	h := handovers[row]
	for _, earlier := range h.after {
		handed(t, l, earlier, true)
	}
	action, notes := bind(t, l, h.verb, h.in), &stub{}
	if done {
		if _, err := action.Act(t.Context(), notes); err != nil {
			t.Fatalf("%s: %v", row, err)
		}
	}
	return action, notes
}

// TestHandoverVerbs: each confirm fails before its act and holds after it, and acting again changes nothing.
func TestHandoverVerbs(t *testing.T) {
	for row, h := range handovers {
		t.Run(row, func(t *testing.T) {
			l := handing()
			action, notes := handed(t, l, row, false)
			if saw, err := action.Check(t.Context()); err != nil || len(saw) == 0 {
				t.Fatalf("check: saw %v, %v", saw, err)
			}
			_, err := action.Confirm(t.Context(), notes)
			says(t, err, h.before)
			would, untouched := "", landOf(l)
			if f, ok := action.(runbook.Foreteller); ok {
				if would, err = f.Would(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if would != h.would {
				t.Errorf("would %q, expected %q", would, h.would)
			}
			if now := landOf(l); now != untouched {
				t.Errorf("reading changed\n%s into\n%s", untouched, now)
			}
			var after string
			for again := range 2 {
				if _, err := action.Act(t.Context(), notes); err != nil {
					t.Fatal(err)
				}
				if now := landOf(l); again == 0 {
					after = now
				} else if now != after {
					t.Errorf("acting again changed\n%s into\n%s", after, now)
				}
				if saw, err := action.Confirm(t.Context(), notes); err != nil || len(saw) == 0 {
					t.Fatalf("confirm: saw %v, %v", saw, err)
				}
			}
			if after == untouched {
				t.Error("the act changed nothing")
			}
			if _, err := action.Check(t.Context()); err != nil {
				t.Errorf("the check must hold after the act as well: %v", err)
			}
			var writes []string
			if w, ok := action.(runbook.Writer); ok {
				writes = slices.Sorted(slices.Values(w.Writes()))
			}
			if !slices.Equal(writes, h.writes) {
				t.Errorf("writes %v, expected %v", writes, h.writes)
			}
		})
	}
}

// landOf is what these verbs change.
func landOf(l *land) string {
	var b []byte
	for _, n := range l.nodes {
		b = fmt.Appendf(b, "%s %s epoch %d started %d\n", n.name, n.state, n.epoch, n.starts)
	}
	return string(fmt.Appendf(b, "%v\n%v\n%v", l.values, l.others, l.zone.records))
}

// Each confirm holds after its act, and no longer once one fact is another.
func TestHandoverConfirmMisses(t *testing.T) {
	silent := errors.New("no answer")
	for _, c := range []struct {
		row, what string
		spoil     func(*land)
		want      string
	}{
		{"prepare", "an old value", func(l *land) { l.values["epoch"] = "1" }, "has epoch=1, expected 2"},
		{"prepare", "no value", func(l *land) { delete(l.values, "cluster.form") }, "has no cluster.form"},
		{"prepare", "the epoch went on without it", func(l *land) { l.db.epoch = 5 }, "has epoch=2, expected 6"},
		{"await", "one node is dead", func(l *land) { l.node("osaka-app-2").state = topology.Stopped }, "osaka-app-2 is stopped"},
		{"await", "one node is paused", func(l *land) { l.node("osaka-app-1").state = topology.Paused }, "osaka-app-1 is paused"},
		{"await", "one started in the old epoch", func(l *land) { l.node("osaka-app-2").epoch = 1 }, "osaka-app-2 works for osaka in epoch 1, expected osaka in epoch 2"},
		{"await", "one started in a later epoch", func(l *land) { l.node("osaka-app-1").epoch = 3 }, "osaka-app-1 works for osaka in epoch 3, expected osaka in epoch 2"},
		{"await", "another site was promoted meanwhile", func(l *land) { l.db.epoch = 2 }, "in epoch 2, expected osaka in epoch 3"},
		{"await", "its own was promoted twice", func(l *land) { l.db.epoch, l.db.epochSite = 3, osaka }, "in epoch 2, expected osaka in epoch 3"},
		{"stop", "one runs", func(l *land) { l.node("tokyo-app-2").state = topology.Running }, "tokyo-app-2 is running"},
		{"stop", "one is only paused", func(l *land) { l.node("tokyo-app-2").state = topology.Paused }, "tokyo-app-2 is paused"},
		{"stop", "nobody knows", func(l *land) { l.node("tokyo-app-1").stuck = silent }, "read the state of tokyo-app-1: no answer"},
		{"disable", "it was enabled", func(l *land) { l.others[batchEnabled] = "true" }, `batch.enabled of tokyo is "true", expected false`},
		{"disable", "the flag is gone", func(l *land) { delete(l.others, batchEnabled) }, `batch.enabled of tokyo is "", expected false`},
		{"disable", "it runs", func(l *land) { l.node("tokyo-batch-1").state = topology.Running }, "tokyo-batch-1 is running"},
		{"remove", "one came back", func(l *land) { l.others["epoch"] = "2" }, "the parameter store of tokyo still has epoch=2"},
		{"remove", "one came back, empty", func(l *land) { l.others["mysql.endpoint"] = "" }, "still has mysql.endpoint="},
		{"remove", "nobody knows", func(l *land) { l.back = false }, "tokyo"},
		{"list", "one leads elsewhere", func(l *land) { l.zone.point("api.", topology.Outside) }, "[api.] do not lead to osaka"},
		{"list", "one is gone", func(l *land) { l.zone.records = l.zone.records[1:] }, "the zone has no record pay."},
	} {
		t.Run(c.row+" "+c.what, func(t *testing.T) {
			l := handing()
			action, notes := handed(t, l, c.row, true)
			spoilt(t, action, notes, func() { c.spoil(l) }, c.want)
		})
	}
}

// spoilt: a step that was confirmed is not confirmed any more once the world is spoilt, and says so; no confirm takes notes.
func spoilt(t *testing.T, action runbook.Action, notes *stub, spoil func(), want string) {
	t.Helper()
	if _, err := action.Confirm(t.Context(), notes); err != nil {
		t.Fatalf("before it is spoilt: %v", err)
	}
	noted := len(notes.seen)
	spoil()
	_, err := action.Confirm(t.Context(), notes)
	says(t, err, want)
	if len(notes.seen) != noted {
		t.Error("a confirm took notes")
	}
}

// What was proved stays proved when the next rows do their work: the promotion gives the awaiting application its epoch.
func TestAwaitOutlastsThePromotion(t *testing.T) {
	l := handing()
	prepared, notes := handed(t, l, "prepare", true)
	await, _ := handed(t, l, "await", true)
	l.db.epoch, l.db.epochSite = 2, osaka
	for what, a := range map[string]runbook.Action{"prepare": prepared, "await": await} {
		if _, err := a.Confirm(t.Context(), notes); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	starts := landOf(l)
	if _, err := await.Act(t.Context(), notes); err != nil || landOf(l) != starts {
		t.Errorf("nodes that work in the epoch were started anew: %v\n%s", err, landOf(l))
	}
}

// Customers are not sent to nodes that have not warmed up.
func TestAwaitWaitsForTheWarmUp(t *testing.T) {
	l := handing()
	handed(t, l, "prepare", true)
	await, notes := handed(t, l, "await", true)
	n := l.node("osaka-app-2")
	n.warms = "31 of 250 probes"
	_, err := await.Confirm(t.Context(), notes)
	says(t, err, "osaka-app-2 still warms up: 31 of 250 probes")
	n.warms = ""
	if _, err := await.Confirm(t.Context(), notes); err != nil {
		t.Error(err)
	}
}

// A node that runs in another epoch than the one to come is started anew, one that cannot be is named, and keeps no other from it.
func TestAwaitStartsAnew(t *testing.T) {
	l := handing()
	handed(t, l, "prepare", true)
	for _, n := range l.Nodes(osaka, topology.App) {
		n.(*node).state, n.(*node).epoch = topology.Running, 1
	}
	await := bind(t, l, "app.await", Values{"region": "osaka"})
	if _, err := await.Act(t.Context(), &stub{}); err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes(osaka, topology.App) {
		if n := n.(*node); n.epoch != 2 || n.starts != 1 {
			t.Errorf("%s works in epoch %d after %d starts", n.name, n.epoch, n.starts)
		}
	}
	l.node("osaka-app-1").stuck, l.node("osaka-app-2").state = errors.New("no memory"), topology.Stopped
	_, err := await.Act(t.Context(), &stub{})
	says(t, err, "start osaka-app-1: no memory")
	if l.node("osaka-app-2").state != topology.Running {
		t.Error("the other one was not started")
	}
}

// One node that cannot be stopped is named; the others end.
func TestStopNamesWhoStays(t *testing.T) {
	for _, c := range []struct {
		verb, stays string
		flag        string
	}{{"app.stop", "tokyo-app-1", "true"}, {"batch.disable", "tokyo-batch-1", "false"}} {
		l := handing()
		l.node(c.stays).stuck = errors.New("no answer")
		_, err := bind(t, l, c.verb, Values{"region": "tokyo"}).Act(t.Context(), &stub{})
		says(t, err, "stop "+c.stays+": no answer")
		if l.node("tokyo-app-2").state == topology.Running && c.verb == "app.stop" {
			t.Error("the other one runs")
		}
		if l.others[batchEnabled] != c.flag {
			t.Errorf("%s left the flag %q: it lasts, and comes first", c.verb, l.others[batchEnabled])
		}
	}
}

// What the preflight refuses.
func TestHandoverCheckRefuses(t *testing.T) {
	none := func(l *land) { l.nodes = nil }
	for _, c := range []struct {
		row   string
		spoil func(*land)
		want  string
	}{
		{"prepare", none, "find mysql.endpoint: osaka has no mysql node"},
		{"await", none, "osaka has no app node"},
		{"await", func(l *land) { l.node("osaka-gateway-1").state = topology.Stopped }, "osaka-gateway-1 is stopped"},
		{"stop", none, "tokyo has no app node"},
		{"disable", none, "tokyo has no batch node"},
		{"disable", func(l *land) { l.back = false }, "tokyo"},
		{"remove", func(l *land) { l.back = false }, "tokyo"},
		{"list", func(l *land) { l.zone.records = nil }, "the zone has no record api."},
	} {
		l := handing()
		action, _ := handed(t, l, c.row, false)
		if _, err := action.Check(t.Context()); err != nil {
			t.Errorf("%s, before it is spoilt: %v", c.row, err)
		}
		c.spoil(l)
		_, err := action.Check(t.Context())
		says(t, err, c.want)
	}
	l := handing()
	for _, verb := range []string{"params.remove", "params.prepare"} {
		var mistake *InputError
		_, err := Standard(l.topology, l)[verb].Bind(Values{"region": "tokyo", "names": []any{}, "from_region": []any{}, "values": map[string]any{}})
		if !errors.As(err, &mistake) {
			t.Errorf("%s of no parameter: %v", verb, err)
		}
	}
}

// Nothing is pointed but what the procedure lists: the planted procedure's list grew old.
func TestListedRecordsOnly(t *testing.T) {
	l := handing()
	action, _ := handed(t, l, "list", true)
	if _, err := action.Confirm(t.Context(), &stub{}); err != nil {
		t.Error(err)
	}
	for _, r := range l.zone.records {
		if listed := r.Name == "pay." || r.Name == "api."; listed != (r.Site == osaka) {
			t.Errorf("%s leads to %s", r.Name, r.Site)
		}
	}
}

// The operator is killed before and after the effect of each call of params.prepare, or writes again after another one did: what is
// put back is what stood there before the run.
func TestRestoreAfterADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := handing()
		before := maps.Clone(l.values)
		prepared, notes := handed(t, l, "prepare", false)
		l.calls = 0
		if _, err := prepared.Act(t.Context(), notes); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= l.calls; n++ {
			for _, after := range []bool{false, true} {
				l := handing()
				prepared, notes := handed(t, l, "prepare", false)
				l.calls, l.killAt, l.after = 0, n, after
				killed(t, func() { _, _ = prepared.Act(t.Context(), notes) })
				l.killAt = 0
				if _, err := prepared.Act(t.Context(), notes); err != nil {
					t.Fatal(err)
				}
				if got := notes.All(sawBefore); len(got) != 1 {
					t.Errorf("noted %v", got)
				}
				back := bind(t, l, "params.restore", Values{"region": "osaka"})
				if _, err := back.Check(t.Context()); err != nil {
					t.Error(err)
				}
				_, err := back.Confirm(t.Context(), notes)
				says(t, err, "the parameter store of osaka has epoch=2, expected 1")
				for range 2 {
					if _, err := back.Act(t.Context(), notes); err != nil {
						t.Fatal(err)
					}
				}
				if !maps.Equal(l.values, before) {
					t.Errorf("killed at call %d (after its effect: %v): %v is left, %v was there", n, after, l.values, before)
				}
				if _, err := back.Confirm(t.Context(), notes); err != nil {
					t.Error(err)
				}
				l.values["cluster.form"] = "true"
				_, err = back.Confirm(t.Context(), notes)
				says(t, err, "the parameter store of osaka still has cluster.form=true")
			}
		}
	})
}

// A store that only takes values in is no place for a row that takes them out.
func TestRemovingNeedsAStoreThatCan(t *testing.T) {
	l := handing()
	e := keeps{l}
	_, err := remove{e, tokyo, []string{"epoch"}}.Act(t.Context(), &stub{})
	if !errors.Is(err, topology.ErrUnsupported) {
		t.Error(err)
	}
	notes := &stub{seen: []map[string]any{{sawBefore: map[string]any{"cluster.form": nil}}}}
	if _, err := (restore{e, tokyo}).Act(t.Context(), notes); !errors.Is(err, topology.ErrUnsupported) {
		t.Error(err)
	}
}

// keeps is a land whose stores take nothing out.
type keeps struct{ *land }

func (k keeps) Params(site topology.Site) (Params, error) {
	s, err := k.land.Params(site)
	return struct{ Params }{s}, err
}
