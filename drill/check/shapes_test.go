package check_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/history/historytest"
)

// Good runs of every shape pass by every check, whatever their seed.
func TestGoodShapesPass(t *testing.T) {
	for name, shape := range map[string]func(uint64) *history.Run{
		"planned": historytest.Planned, "taken back": historytest.TakenBack, "there and back": historytest.ThereAndBack, "round trip": historytest.RoundTrip,
	} {
		for seed := range uint64(1) {
			run := shape(seed)
			for _, r := range check.Judge(run).Results {
				if r.Verdict() != check.Pass {
					t.Errorf("%s, seed %d: %s is %s: %s %v %+v", name, seed, r.Check, r.Verdict(), r.Says, r.Missing, r.Findings)
				}
			}
		}
	}
}

// shaped is one way in which a good run of a shape can be otherwise, and what the named check must then say.
type shaped struct {
	name    string
	shape   func(uint64) *history.Run
	bend    func(r *history.Run)
	check   string
	verdict check.Verdict
	says    string
}

func TestShapes(t *testing.T) {
	planned, back, round, both := historytest.Planned, historytest.TakenBack, historytest.RoundTrip, historytest.ThereAndBack
	saw := func(key string, v any) func(*history.Run) {
		return func(r *history.Run) {
			for i := range r.Journal {
				if _, ok := r.Journal[i].Saw[key]; !ok {
					continue
				}
				if v == nil {
					delete(r.Journal[i].Saw, key)
				} else {
					r.Journal[i].Saw[key] = v
				}
			}
		}
	}
	// out makes customers of a site go unanswered for a time.
	out := func(from, until time.Duration) func(*history.Run) {
		return func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Stream != history.StreamCanary && o.Sent >= at(from) && o.Sent < at(until) {
					o.Outcome, o.Wire, o.Error = history.Fail, 0, "refused"
				}
			}
		}
	}
	// slow makes n probes late, 400 ms apart.
	slow := func(from time.Duration, n int) func(*history.Run) {
		return func(r *history.Run) {
			next, left := at(from), n
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Stream == history.StreamProbe && o.Sent >= next && left > 0 {
					o.Finished = o.Intended.Add(400 * time.Millisecond)
					next, left = o.Sent.Add(400*time.Millisecond), left-1
				}
			}
		}
	}
	// tardy makes the harness send the probes of a time later and later, up to a limit; the platform answers each in 5 ms.
	tardy := func(from, until, limit time.Duration) func(*history.Run) {
		return func(r *history.Run) {
			late := time.Duration(0)
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Stream == history.StreamProbe && o.Intended >= at(from) && o.Intended < at(until) {
					late = min(limit, late+20*time.Millisecond)
					o.Sent = o.Intended.Add(late)
					o.Finished = o.Sent.Add(5 * time.Millisecond)
				}
			}
		}
	}
	// unsent takes the probes of a time away.
	unsent := func(from, until time.Duration) func(*history.Run) {
		return func(r *history.Run) {
			r.Operations = slices.DeleteFunc(r.Operations, func(o history.Operation) bool {
				return o.Stream == history.StreamProbe && o.Sent >= at(from) && o.Sent < at(until)
			})
		}
	}
	// gone takes the first payment that fits from both stores, or from one.
	gone := func(epoch int64, mysql, cassandra bool) func(*history.Run) {
		return func(r *history.Run) {
			key := ""
			for _, p := range r.Evidence.Ledger.Payments {
				if p.Epoch == epoch && strings.HasPrefix(p.Key, "p-") {
					key = p.Key
				}
			}
			if mysql {
				r.Evidence.Ledger.Payments = slices.DeleteFunc(slices.Clone(r.Evidence.Ledger.Payments), func(p history.PaymentRow) bool { return p.Key == key })
			}
			if cassandra {
				r.Evidence.Journal.Events = slices.DeleteFunc(slices.Clone(r.Evidence.Journal.Events), func(p history.EventRow) bool { return p.Key == key })
			}
		}
	}
	// late lets a site acknowledge one payment of an old epoch.
	// only lets the repeated attempts of a time alone come to anything.
	only := func(from, until time.Duration) func(*history.Run) {
		return func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Stream == history.StreamRepeat && (o.Sent < at(from) || o.Sent > at(until)) {
					o.Outcome = history.Fail
				}
			}
		}
	}
	late := func(site string, epoch int64, when time.Duration) func(*history.Run) {
		return func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Stream == history.StreamPayment && o.Sent >= at(when) {
					o.Site, o.Epoch, o.Outcome, o.Wire = site, epoch, history.OK, 1
					return
				}
			}
		}
	}
	writable := func(node string, from, until time.Duration) func(*history.Run) {
		return func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Node == node && o.Stream == history.StreamCanary && o.Sent >= at(from) && o.Sent < at(until) {
					o.Outcome = history.OK
				}
			}
		}
	}
	promise := func(change func(*history.Meta)) func(*history.Run) { return func(r *history.Run) { change(&r.Meta) } }
	then := func(all ...func(*history.Run)) func(*history.Run) {
		return func(r *history.Run) {
			for _, f := range all {
				f(r)
			}
		}
	}
	drop := func(kind string) func(*history.Run) {
		return func(r *history.Run) {
			r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool { return m.Kind == kind })
		}
	}
	fact := func(key, v string) func(*history.Run) { return func(r *history.Run) { r.Evidence.Facts[key] = v } }

	mended := then(promise(func(m *history.Meta) { m.Faulted = true }), func(r *history.Run) { // replication is cut for a while
		const link = "tokyo>osaka/mysql"
		add(r, at(time.Second), history.KindAttest, link, history.AttestData{Link: link, When: "before", Declared: "open", Old: "open", New: "open", Agrees: true})
		add(r, at(20*time.Second), history.KindFault, "cut", history.FaultData{Action: "inject", Targets: []string{link}})
		add(r, at(20*time.Second), history.KindAttest, link, history.AttestData{Link: link, When: "during", Declared: "cut", Old: "cut", New: "cut", Agrees: true})
		add(r, at(22*time.Second), history.KindFault, "cut", history.FaultData{Action: "heal", Targets: []string{link}})
		add(r, at(22*time.Second), history.KindAttest, link, history.AttestData{Link: link, When: "after", Declared: "open", Old: "open", New: "open", Agrees: true})
	})

	judges := map[string]func(*history.Run) check.Result{
		check.NameFaultReal: check.FaultReal, check.NamePlanned: check.PlannedOutage, check.NameRecovery: check.RecoveryTime, check.NameNothingLost: check.NothingLost,
		check.NameNeverDurable: check.NeverDurable, check.NameDropped: check.Dropped, check.NameUnreplicated: check.Unreplicated, check.NameLevelHeld: check.LevelHeld,
		check.NameOneWriter: check.OneWriter, check.NameProcedure: check.Procedure, check.NameEndFacts: check.EndFacts, check.NameDoubleCharge: check.DoubleCharge,
	}
	kept := map[string]*history.Run{}
	made := map[string][]byte{}
	shapeOf := func(shape func(uint64) *history.Run) *history.Run {
		// A shape is made once and kept as its operations; all else is small enough to be made anew by copying.
		key := fmt.Sprintf("%p", shape)
		whole := kept[key]
		if whole == nil {
			whole = shape(1)
			kept[key] = whole
			made[key], _ = json.Marshal(struct {
				J []history.Entry
				E history.Evidence
			}{whole.Journal, whole.Evidence})
		}
		run := *whole
		var parts struct {
			J []history.Entry
			E history.Evidence
		}
		if err := json.Unmarshal(made[key], &parts); err != nil {
			t.Fatal(err)
		}
		run.Operations, run.Marks, run.Journal, run.Evidence = slices.Clone(whole.Operations), slices.Clone(whole.Marks), parts.J, parts.E
		return &run
	}
	for _, c := range []shaped{
		// a run without a fault
		{"a fault all the same", planned, func(r *history.Run) {
			add(r, at(20*time.Second), history.KindFault, "lag", history.FaultData{Action: "inject", Targets: []string{"tokyo>osaka/mysql"}})
		}, check.NameFaultReal, open, "although the scenario declares none"},
		{"nobody looked at the links", planned, drop(history.KindAttest), check.NameFaultReal, open, "attestations"},
		{"a link is cut at the end", planned, func(r *history.Run) {
			add(r, at(40*time.Second), history.KindAttest, "x", history.AttestData{Link: "x", When: "after", Declared: "cut", Old: "cut", New: "cut", Agrees: true})
		}, check.NameFaultReal, open, "was not open"},

		{"a link is cut, as declared, and heals", planned, mended, check.NameFaultReal, pass, "1 links felt the fault"},
		{"nobody felt the cut", planned, then(mended, func(r *history.Run) {
			r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool {
				return m.Kind == history.KindAttest && strings.Contains(string(m.Data), `"during"`)
			})
		}), check.NameFaultReal, open, "nobody felt the fault"},
		{"a region is lost all the same", planned, then(mended, func(r *history.Run) {
			add(r, at(21*time.Second), history.KindFault, "loss", history.FaultData{Action: "inject", Targets: []string{"tokyo-mysql-1"}, Done: at(21 * time.Second)})
		}), check.NameFaultReal, open, "declares that no region is lost"},
		{"no fault although one is declared", planned, promise(func(m *history.Meta) { m.Faulted = true }), check.NameFaultReal, open, "no fault was injected"},

		// planned outage
		{"out too long", planned, out(historytest.HandoverIn, historytest.HandoverIn+5*time.Second), check.NamePlanned, fail, "out 6."},
		{"out too long on the way back only", both, out(historytest.BackIn, historytest.BackIn+5*time.Second), check.NamePlanned, fail, "during failback"},
		{"two slow probes long after customers were served again are their own outage", planned, slow(historytest.HandoverIn+8*time.Second, 2), check.NamePlanned, pass, "out 1."},
		{"a second outage counts with the first", planned, out(historytest.HandoverIn+5*time.Second, historytest.HandoverIn+9*time.Second), check.NamePlanned, fail, "out 5."},
		{"a second outage is too late to be the handover's", planned, out(historytest.HandoverEnd+11*time.Second, historytest.HandoverEnd+14*time.Second), check.NamePlanned, pass, "out 1."},
		{"never quite back", planned, slow(historytest.HandoverIn, 1000), check.NamePlanned, fail, "at least"},
		{"the harness sent late for longer than customers may be out", planned, tardy(historytest.HandoverIn, historytest.HandoverIn+6*time.Second, 150*time.Millisecond), check.NamePlanned, open, "the harness sent 5"},
		{"out too long, and the harness sent late after it", planned, then(out(historytest.HandoverIn, historytest.HandoverIn+5*time.Second), tardy(historytest.HandoverIn+5*time.Second, historytest.HandoverIn+6*time.Second, 150*time.Millisecond)), check.NamePlanned, fail, "out 7."},
		{"no outage is allowed", planned, promise(func(m *history.Meta) { m.Objectives.PlannedMax = -1 }), check.NamePlanned, fail, "target 0 s"},
		{"a maintenance window", both, then(out(historytest.BackIn, historytest.BackIn+4*time.Second), promise(func(m *history.Meta) { m.Objectives.FailbackMax = history.Duration(time.Minute) })), check.NamePlanned, pass, "target 60 s"},
		{"on the edge", planned, promise(func(m *history.Meta) { m.Objectives.PlannedMax = history.Duration(1510 * time.Millisecond) }), check.NamePlanned, open, "straddles"},
		{"never back", planned, out(historytest.HandoverIn, time.Hour), check.NamePlanned, fail, "at least"},
		{"a failback after a loss", round, out(historytest.BackIn, historytest.BackIn+5*time.Second), check.NamePlanned, fail, "failback"},
		{"an outage of the failback is not the fault's", round, out(historytest.BackIn, historytest.BackIn+5*time.Second), check.NameRecovery, pass, "out 4.2"},
		{"an outage of the return is not the fault's", round, out(historytest.Returned+time.Second, historytest.Returned+2*time.Second), check.NameRecovery, pass, "out 4.2"},
		{"an outage before the return is the fault's", round, out(historytest.Returned-12*time.Second, historytest.Returned-11*time.Second), check.NameRecovery, pass, "out 1"},

		// nothing lost
		{"the sets differ", planned, saw(history.SawExecutedTo, historytest.TokyoUUID+":pay:1-699"), check.NameNothingLost, fail, "executed by the old primary only"},
		{"another tag differs", planned, saw(history.SawExecutedTo, historytest.TokyoUUID+":pay:1-700:canary:1-2,"+historytest.OsakaUUID+":pay:1-3"), check.NameNothingLost, fail, "canary"},
		{"the sets were not read", planned, saw(history.SawExecutedTo, nil), check.NameNothingLost, open, "GTID sets: 0"},
		{"empty sets prove nothing", planned, then(saw(history.SawExecutedTo, ""), saw(history.SawExecutedFrom, "")), check.NameNothingLost, open, "GTID sets: 0"},
		{"cassandra differs", planned, saw("osaka", 899.0), check.NameNothingLost, fail, "899 in osaka"},
		{"cassandra was not compared", planned, saw("tokyo", nil), check.NameNothingLost, open, "compared: 0"},
		{"no row was compared", planned, then(saw(history.SawRows, 0.0), saw("tokyo", 0.0), saw("osaka", 0.0)), check.NameNothingLost, open, "compared: 0"},
		{"a payment is gone from mysql", planned, gone(1, true, false), check.NameNothingLost, fail, "mysql: 1 acknowledged payments are not there"},
		{"a payment is gone from cassandra", planned, gone(2, false, true), check.NameNothingLost, fail, "cassandra: 1 acknowledged payments are not there"},
		{"nobody paid before the handover", planned, out(20*time.Second, historytest.HandoverOut), check.NameNothingLost, open, "before a handover: 0"},
		{"it was never handed over", planned, func(r *history.Run) { r.Journal = r.Journal[:8] }, check.NameNothingLost, open, "carried out: 0"},
		{"a payment is gone although all was taken back", back, gone(1, true, true), check.NameNothingLost, fail, "not there at the end"},
		{"what the cut took is no loss of the failback", round, nil, check.NameNothingLost, pass, "after the cut"},
		{"the failback lost a payment of osaka's", round, gone(2, true, true), check.NameNothingLost, fail, "not there at the end"},
		{"the failback lost a payment of osaka's, by the ledger", round, gone(2, true, false), check.NameNeverDurable, fail, "must be 0"},
		{"a payment that osaka had received is gone at the end", round, func(r *history.Run) {
			key := r.Evidence.Ledger.Payments[0].Key
			for _, p := range r.Evidence.Ledger.Payments {
				if strings.HasPrefix(p.Key, "p-") {
					key = p.Key
					break
				}
			}
			r.Evidence.Ledger.Payments = slices.DeleteFunc(slices.Clone(r.Evidence.Ledger.Payments), func(p history.PaymentRow) bool { return p.Key == key })
		}, check.NameDropped, fail, "had received"},
		{"tokyo was not read before it was wiped", round, func(r *history.Run) { r.Evidence.OldLedger = nil }, check.NameUnreplicated, open, "tokyo read"},

		// level held
		{"an outage in the preparation", round, out(60*time.Second, 61*time.Second), check.NameLevelHeld, fail, "outage"},
		{"strays in the preparation", round, func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Stream == history.StreamProbe && o.Sent > at(55*time.Second) && o.Sent < at(69*time.Second) && o.Slot%400 == 0 {
					o.Outcome = history.Info
				}
			}
		}, check.NameLevelHeld, fail, "probes were bad"},
		{"slow in the preparation", round, func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Stream == history.StreamProbe && o.Sent > at(55*time.Second) && o.Sent < at(69*time.Second) && o.Slot%20 == 0 {
					o.Finished = o.Intended.Add(400 * time.Millisecond)
				}
			}
		}, check.NameLevelHeld, fail, "bad"},
		{"a short outage, and a longer time in which the probe stood still", round, then(out(60*time.Second, 60200*time.Millisecond), unsent(62*time.Second, 62400*time.Millisecond)), check.NameLevelHeld, open, "a probe without gaps"},
		{"an outage that was longer than the probe stood still", round, then(out(60*time.Second, 61*time.Second), unsent(62*time.Second, 62300*time.Millisecond)), check.NameLevelHeld, fail, "outage"},
		{"the harness sent late, and that alone was slow", round, tardy(60*time.Second, 62*time.Second, 260*time.Millisecond), check.NameLevelHeld, open, "the harness sent 1"},
		{"the harness sent late, and some were bad that it sent in time", round, then(tardy(60*time.Second, 62*time.Second, 260*time.Millisecond), out(64*time.Second, 65*time.Second)), check.NameLevelHeld, fail, "outage"},
		{"the harness sent late, and nobody answered", round, then(tardy(60*time.Second, 62*time.Second, 260*time.Millisecond), out(60*time.Second, 62*time.Second)), check.NameLevelHeld, fail, "outage"},
		{"the harness sent late, and nobody minded", round, tardy(60*time.Second, 62*time.Second, 200*time.Millisecond), check.NameLevelHeld, pass, "100.00 %"},
		{"a window that says nothing, and an outage in another", round, then(out(60*time.Second, 60200*time.Millisecond), unsent(62*time.Second, 62400*time.Millisecond), out(52*time.Second, 53*time.Second)), check.NameLevelHeld, fail, "return: outage"},
		{"there was no preparation", round, func(r *history.Run) {
			r.Journal = slices.DeleteFunc(r.Journal, func(e history.Entry) bool { return e.Procedure == "failback-preparation" })
		}, check.NameLevelHeld, open, "failback-preparation: 0"},
		{"an outage elsewhere is not the preparation's", round, out(30*time.Second, 32*time.Second), check.NameLevelHeld, pass, "100.00 %"},

		// one writer over any reigns
		{"tokyo of the first epoch answers after osaka", round, late("tokyo", 1, 60*time.Second), check.NameOneWriter, fail, "1 zombie"},
		{"osaka answers after tokyo has the work again", round, late("osaka", 2, 85*time.Second), check.NameOneWriter, fail, "1 zombie"},
		{"tokyo answers in its old epoch after the way back", both, late("tokyo", 1, 85*time.Second), check.NameOneWriter, fail, "1 zombie"},
		{"both write at the failback", both, writable("osaka-mysql-1", historytest.BackOut, historytest.BackIn+2*time.Second), check.NameOneWriter, fail, "two writers"},
		{"old data, out of customers' reach", round, writable("tokyo-mysql-1", historytest.Returned, 60*time.Second), check.NameOneWriter, fail, "two writers"},
		{"tokyo writable after the preparation", round, writable("tokyo-mysql-1", historytest.Returned, 73*time.Second), check.NameOneWriter, fail, "two writers"},
		{"nobody tried the last reign", both, func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Stream == history.StreamCanary && o.Sent > at(historytest.BackIn) {
					o.Outcome = history.Info
				}
			}
		}, check.NameOneWriter, open, "reign 3: 0"},
		{"one late answer is within the limit", planned, late("tokyo", 1, historytest.HandoverIn+25*time.Millisecond), check.NameOneWriter, pass, ""},
		{"one late answer where none is allowed", planned, then(late("tokyo", 1, historytest.HandoverIn+25*time.Millisecond), promise(func(m *history.Meta) { m.Objectives.NoZombies = true })), check.NameOneWriter, fail, "none is allowed"},
		{"osaka took a write although all was taken back", back, writable("osaka-mysql-1", historytest.HandoverOut, historytest.HandoverEnd), check.NameOneWriter, fail, "two writers"},

		// the procedure that is taken back
		{"it failed, and nobody said that it may", back, promise(func(m *history.Meta) { m.TakenBack = false }), check.NameProcedure, fail, "every step was taken back"},
		{"a step was not taken back", back, func(r *history.Run) {
			r.Journal = slices.DeleteFunc(r.Journal, func(e history.Entry) bool { _, undo := e.Undoes(); return undo && e.Step == "1" })
		}, check.NameProcedure, fail, "never taken back"},
		{"it was to be taken back and went through", planned, promise(func(m *history.Meta) { m.TakenBack = true }), check.NameProcedure, fail, "no procedure was taken back"},

		// the facts of the start
		{"a fact is another", both, fact("dns", "elsewhere"), check.NameEndFacts, fail, "1 of 12"},
		{"an epoch too many", both, fact("epoch", "4"), check.NameEndFacts, fail, "2 of 12"},
		{"an old epoch among the parameters", both, fact("tokyo.params.epoch", "2"), check.NameEndFacts, fail, "1 of 12"},
		{"the epoch rose although all was taken back", back, then(fact("epoch", "2"), fact("tokyo.params.epoch", "2")), check.NameEndFacts, fail, "1 of 12"},
		{"the start was not read", both, func(r *history.Run) { r.Evidence.StartFacts = nil }, check.NameEndFacts, open, "start"},
		{"the end was not read", both, func(r *history.Run) { r.Evidence.Facts = nil }, check.NameEndFacts, open, "end facts"},

		// money, where nobody else ever answers
		{"nobody repeated himself over it", back, func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Stream == history.StreamRepeat && o.Sent < at(historytest.HandoverEnd) {
					o.Outcome = history.Fail
				}
			}
		}, check.NameDoubleCharge, open, "taken back"},
		{"keys that were tried while operators were at work already, and nobody was out of service yet", back, only(historytest.HandoverBegin, time.Hour), check.NameDoubleCharge, pass, ""},
		{"two strays are no time without service", back, then(only(historytest.HandoverBegin, time.Hour), func(r *history.Run) {
			strays := 0
			r.Operations = slices.DeleteFunc(r.Operations, func(o history.Operation) bool {
				if o.Sent < at(historytest.HandoverBegin) || o.Sent > at(historytest.HandoverEnd) || o.Outcome == history.OK || o.Stream != history.StreamPayment && o.Stream != history.StreamRepeat {
					return false
				}
				strays++
				return strays > 2
			})
		}), check.NameDoubleCharge, open, "taken back"},
		{"keys that were repeated before it alone", back, only(0, historytest.HandoverOut), check.NameDoubleCharge, open, "taken back"},
		{"keys that were repeated after it alone", back, only(historytest.HandoverIn, time.Hour), check.NameDoubleCharge, open, "taken back"},
		{"a procedure that never ended", round, func(r *history.Run) {
			r.Journal = slices.DeleteFunc(r.Journal, func(e history.Entry) bool { return e.Procedure == "failback" && e.Kind == history.EntryEnd })
		}, check.NameProcedure, fail, "failback did not get past"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := shapeOf(c.shape)
			if c.bend != nil {
				c.bend(run)
			}
			r := judges[c.check](run)
			if r.Verdict() != c.verdict {
				t.Fatalf("%s, expected %s: %s %v %+v", r.Verdict(), c.verdict, r.Says, r.Missing, r.Findings)
			}
			if all := r.Says + " " + strings.Join(r.Missing, " "); !strings.Contains(all, c.says) {
				t.Errorf("says %q, expected something about %q", all, c.says)
			}
		})
	}
}
