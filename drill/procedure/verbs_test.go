package procedure

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// switched is a land after a switchover: every confirm holds there.
func switched(t *testing.T) *land {
	t.Helper()
	l, dir := newLand(), folder(t)
	synctest.Test(t, func(t *testing.T) {
		if err := operate(t, filepath.Join(dir, "journal"), load(t, "switchover", l), l); err != nil {
			t.Fatal(err)
		}
	})
	return l
}

func bind(t *testing.T, l *land, verb string, in Values) runbook.Action {
	t.Helper()
	a, err := Standard(l.topology, l)[verb].Bind(in)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var steps = map[string]struct {
	verb string
	in   Values
	saw  []map[string]any // what the step had noted
}{
	"1": {"access.deny", Values{"region": "osaka", "peer": "tokyo", "service": "cassandra"}, nil},
	"2": {"mysql.detach", Values{"region": "osaka", "drain": true}, []map[string]any{{"received": gtids(99)}, {"promoted": gtids(99)}}},
	"3": {"mysql.promote", Values{"region": "osaka"}, []map[string]any{{"old_epoch": float64(1)}}},
	"4": {"params.set", Values{"region": "osaka", "from_region": []any{"mysql.endpoint", "epoch"}, "values": map[string]any{}, "seen_by": "nobody"}, nil},
	"5": {"app.start", Values{"region": "osaka", "service": "online"}, nil},
	"6": {"app.start", Values{"region": "osaka", "service": "batch"}, nil},
	"7": {"params.set", Values{"region": "osaka", "from_region": []any{}, "values": map[string]any{"cluster.form": "false"}, "seen_by": "online"}, nil},
	"8": {"dns.point", Values{"from": "tokyo", "to": "osaka"}, []map[string]any{{"led": []any{"pay.", "api."}}}},
	"9": {"onprem.start", Values{"region": "osaka"}, nil},
}

// Every confirm holds after the switchover, and no longer once one thing is spoilt: a confirm that cannot fail confirms nothing.
func TestConfirmMisses(t *testing.T) {
	refused := errors.New("connection refused")
	for _, c := range []struct {
		step  string
		what  string
		spoil func(*land)
		want  string
	}{
		{"1", "one direction is open", func(l *land) { l.links[3].layers.Access = topology.Allow }, "the access list does not deny [osaka>tokyo/cassandra]"},
		{"1", "never set", func(l *land) { l.links[2].layers.Access = "" }, "does not deny [tokyo>osaka/cassandra]"},
		{"1", "only cut by the world", func(l *land) { l.links[2].layers = topology.Layers{Fault: topology.Fault{Kind: topology.Cut}} }, "does not deny"},
		{"1", "cassandra is gone", func(l *land) { l.quorum = refused }, "cassandra of osaka does not answer at LOCAL_QUORUM: connection refused"},
		{"2", "it follows again", func(l *land) { l.db.source = "tokyo-mysql-1" }, "osaka still replicates from tokyo-mysql-1"},
		{"2", "a received transaction is missing", func(l *land) { l.db.executed = 98 }, "had received " + uuid + ":99 and has not executed it"},
		{"2", "it is down", func(l *land) { l.db.noResult = refused }, "read replication of osaka: connection refused"},
		{"3", "it is down", func(l *land) { l.db.noResult = refused }, "read replication of osaka: connection refused"},
		{"3", "read-only", func(l *land) { l.db.readOnly = true }, "it is read-only"},
		{"3", "read-only for operators too", func(l *land) { l.db.super = true }, "it is read-only"},
		{"3", "a restart undoes it", func(l *land) { l.db.savedReadOnly = true }, "a restart would make it read-only"},
		{"3", "it follows somebody", func(l *land) { l.db.source = "x" }, "it replicates from x"},
		{"3", "the epoch is another region's", func(l *land) { l.db.epochSite = tokyo }, "epoch 2 belongs to tokyo"},
		{"3", "raised twice", func(l *land) { l.db.epoch = 3 }, "the epoch is 3, expected 2"},
		{"4", "an old value", func(l *land) { l.values["mysql.endpoint"] = "old" }, "the parameter store of osaka has mysql.endpoint=old, expected osaka-mysql-1:3306"},
		{"4", "no value", func(l *land) { delete(l.values, "epoch") }, "has no epoch"},
		{"4", "the epoch went on", func(l *land) { l.db.epoch = 3 }, "epoch=2, expected 3"},
		{"5", "one node is dead", func(l *land) { l.node("osaka-app-2").state = topology.Stopped }, "osaka-app-2 is stopped"},
		{"5", "one node is paused", func(l *land) { l.node("osaka-app-2").state = topology.Paused }, "osaka-app-2 is paused"},
		{"5", "one node is of the old epoch", func(l *land) { l.node("osaka-app-1").epoch = 1 }, "osaka-app-1 works for osaka in epoch 1, expected osaka in epoch 2"},
		{"5", "nobody can pay", func(l *land) { l.entry = refused }, "pay operator-run-osaka through the entry of osaka: connection refused"},
		{"6", "the node is dead", func(l *land) { l.node("osaka-batch-1").state = topology.Stopped }, "osaka-batch-1 is stopped"},
		{"6", "the flag is off", func(l *land) { l.values["batch.enabled"] = "false" }, "osaka-batch-1 says that it is not enabled"},
		{"6", "it works in the old epoch", func(l *land) { l.node("osaka-batch-1").epoch = 1 }, "epoch 1, expected osaka in epoch 2"},
		{"7", "the value is old", func(l *land) { l.values["cluster.form"] = "true" }, "cluster.form=true, expected false"},
		{"7", "a node has not seen it", func(l *land) { l.node("osaka-app-2").sees = map[string]string{"cluster.form": "true"} }, "osaka-app-2 works by cluster.form=true, expected false"},
		{"7", "no node runs that could see it", func(l *land) { l.node("osaka-app-1").state = topology.Stopped }, "osaka-app-1 is stopped"},
		{"8", "one record leads to the lost region", func(l *land) { l.zone.point("api.", tokyo) }, "1 of 5 records still lead to tokyo: [api.]"},
		{"8", "a new one does", func(l *land) { l.zone.point("campaign.", tokyo) }, "1 of 6 records still lead to tokyo: [campaign.]"},
		{"8", "one leads elsewhere", func(l *land) { l.zone.point("api.", topology.Outside) }, "api., which led to tokyo, leads to outside"},
		{"8", "one was deleted", func(l *land) { l.zone.records = l.zone.records[1:] }, "pay., which led to tokyo, is gone from the zone"},
		{"8", "all were deleted", func(l *land) { l.zone.records = nil }, "the zone has no record"},
		{"8", "none leads to the new region", func(l *land) {
			for _, r := range l.zone.records {
				l.zone.point(r.Name, topology.Outside)
			}
		}, "no record leads to osaka"},
		{"9", "it is dead", func(l *land) { l.node("outside-onprem-1").state = topology.Stopped }, "outside-onprem-1 is stopped"},
		{"9", "it has not paid since", func(l *land) { l.node("outside-onprem-1").pays = 0 }, "outside-onprem-1 has not paid since it was started"},
		{"9", "another region answered", func(l *land) { l.zone.point("pay.", tokyo) }, "outside-onprem-1 was last answered by tokyo, expected osaka"},
	} {
		t.Run(c.step+" "+c.what, func(t *testing.T) {
			l, s := switched(t), steps[c.step]
			l.db.executed = 99
			action, notes := bind(t, l, s.verb, s.in), &stub{seen: s.saw}
			if saw, err := action.Confirm(t.Context(), notes); err != nil || len(saw) == 0 {
				t.Fatalf("before it is spoilt: saw %v, %v", saw, err)
			}
			if _, err := action.Check(t.Context()); err != nil {
				t.Fatalf("the check must hold after the act as well: %v", err)
			}
			c.spoil(l)
			_, err := action.Confirm(t.Context(), notes)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if len(notes.seen) != len(s.saw) {
				t.Error("a confirm took notes")
			}
		})
	}
}

// Acting twice is harmless.
func TestActTwice(t *testing.T) {
	for number, s := range steps {
		t.Run(number, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLand()
				before(t, l, number)
				action, notes := bind(t, l, s.verb, s.in), &stub{}
				for range 2 {
					if _, err := action.Act(t.Context(), notes); err != nil {
						t.Fatal(err)
					}
				}
				first := factsOf(l)
				if number == "9" {
					l.node("outside-onprem-1").pays = 1
				}
				if _, err := action.Confirm(t.Context(), notes); err != nil {
					t.Fatal(err)
				}
				if first.Raised > 1 || first.Dropped > 0 || first.Starts > 3 {
					t.Errorf("%+v", first)
				}
			})
		})
	}
}

// before does the steps that come before one.
func before(t *testing.T, l *land, number string) {
	t.Helper()
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"} {
		if n == number {
			return
		}
		if _, err := bind(t, l, steps[n].verb, steps[n].in).Act(t.Context(), &stub{}); err != nil {
			t.Fatalf("step %s: %v", n, err)
		}
	}
}

// What an act must refuse before it changes anything, and what it must not wait for without end.
func TestActRefuses(t *testing.T) {
	for _, c := range []struct {
		step  string
		what  string
		spoil func(*land)
		want  string
		sound func(*land) bool
	}{
		{"1", "one link cannot be set, the other is", func(l *land) { l.links[2].stuck = errors.New("no answer") }, "deny tokyo>osaka/cassandra: no answer",
			func(l *land) bool { return l.links[3].layers.Access == topology.Deny }},
		{"1", "there is no such link", func(l *land) { l.links = l.links[:3] }, "the world has no link osaka>tokyo/cassandra",
			func(l *land) bool { return l.links[2].layers.Access == "" }},
		{"2", "the applier has failed", func(l *land) { l.db.applyError = "duplicate key" }, "the applier of osaka has stopped before " + uuid + ":95-102: duplicate key",
			func(l *land) bool { return l.db.source != "" && l.db.dropped == 0 }},
		{"2", "somebody else detached it", func(l *land) { l.db.source = "" }, "no record of what it had received: somebody else detached it",
			func(l *land) bool { return true }},
		{"3", "it is not detached", func(l *land) { l.db.source = "tokyo-mysql-1" }, "osaka still replicates from tokyo-mysql-1",
			func(l *land) bool { return l.db.super && l.db.epoch == 1 }},
		{"4", "it is not promoted", func(l *land) { l.db.epochSite = tokyo }, "belongs to tokyo: promote the database of osaka first",
			func(l *land) bool { return l.values["mysql.endpoint"] == "old" }},
	} {
		t.Run(c.step+" "+c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, s := newLand(), steps[c.step]
				before(t, l, c.step)
				c.spoil(l)
				_, err := bind(t, l, s.verb, s.in).Act(t.Context(), &stub{})
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				if !c.sound(l) {
					t.Error("it changed what it must not, or left what it must change")
				}
			})
		})
	}
}

// A drain that cannot end is ended by the step's budget, says what it waits for, and detaches nothing.
func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLand()
		l.db.executed, l.db.received = 10, 1_000_000 // minutes of work
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("its budget ended"))
		defer cancel()
		_, err := bind(t, l, "mysql.detach", steps["2"].in).Act(ctx, &stub{})
		if err == nil || !strings.Contains(err.Error(), "apply what osaka has received: its budget ended; last saw: not yet executed: "+uuid) {
			t.Error(err)
		}
		if l.db.source == "" || l.db.dropped > 0 {
			t.Error("it was detached")
		}
	})
}

// An earlier operator was killed inside the detach, after the applier was stopped: what is left must still be applied.
func TestStoppedApplierIsStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLand()
		l.db.applying = false
		if _, err := bind(t, l, "mysql.detach", steps["2"].in).Act(t.Context(), &stub{}); err != nil {
			t.Fatal(err)
		}
		if l.db.dropped > 0 {
			t.Errorf("%d dropped", l.db.dropped)
		}
	})
}

// A replica that was restarted half-way threw its relay log away: what an earlier operator noted is missing for good, and the step
// says so instead of promoting.
func TestRelayLogLostByARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLand()
		notes := &stub{seen: []map[string]any{{"received": gtids(120)}}}
		l.db.receiving, l.db.received = false, 94
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := bind(t, l, "mysql.detach", steps["2"].in).Act(ctx, notes)
		if err == nil || !strings.Contains(err.Error(), "not yet executed: "+uuid+":95-120") || l.db.source == "" {
			t.Error(err)
		}
	})
}

// A node that has been running since before the promotion is started anew; one that has its epoch is left alone.
func TestStaleNodesAreStartedAnew(t *testing.T) {
	l := newLand()
	l.db.epoch, l.db.epochSite, l.values["epoch"] = 2, osaka, "2"
	for i, epoch := range []int64{1, 2} {
		n := l.Nodes(osaka, topology.App)[i].(*node)
		n.state, n.epoch = topology.Running, epoch
	}
	if _, err := bind(t, l, "app.start", steps["5"].in).Act(t.Context(), &stub{}); err != nil {
		t.Fatal(err)
	}
	if a, b := l.node("osaka-app-1"), l.node("osaka-app-2"); a.epoch != 2 || a.starts != 1 || b.starts != 0 {
		t.Errorf("%+v %+v", a, b)
	}
}

// What the preflight must refuse.
func TestCheckRefuses(t *testing.T) {
	for _, c := range []struct {
		step  string
		spoil func(*land)
		want  string
	}{
		{"1", func(l *land) { l.links = nil }, "the world has no link tokyo>osaka/cassandra"},
		{"2", func(l *land) { l.db.noResult = errors.New("connection refused") }, "connection refused"},
		{"2", func(l *land) { l.db.applyError = "duplicate key" }, "the applier of osaka has stopped: duplicate key"},
		{"3", func(l *land) { l.db.noResult = errors.New("connection refused") }, "connection refused"},
		{"4", func(l *land) { l.nodes = nil }, "find mysql.endpoint: osaka has no mysql node"},
		{"5", func(l *land) { l.node("osaka-gateway-1").state = topology.Stopped }, "osaka-gateway-1 is stopped"},
		{"5", func(l *land) { l.nodes = nil }, "osaka has no app node"},
		{"6", func(l *land) { l.nodes = nil }, "osaka has no batch node"},
		{"8", func(l *land) { l.zone.records = nil }, "the zone has no record"},
		{"9", func(l *land) { l.nodes = nil }, "outside has no onprem node"},
	} {
		l, s := newLand(), steps[c.step]
		action := bind(t, l, s.verb, s.in)
		if _, err := action.Check(t.Context()); err != nil {
			t.Errorf("step %s, before it is spoilt: %v", c.step, err)
		}
		c.spoil(l)
		if _, err := action.Check(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("step %s: error %v, want %q", c.step, err, c.want)
		}
	}
}

func TestDescribe(t *testing.T) {
	text := Standard(newLand().topology, nil).Describe()
	for _, want := range []string{"access.deny\n", "    drain: true or false.", "onprem.start"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
