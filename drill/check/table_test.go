package check_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

const (
	pass = check.Pass
	fail = check.Fail
	open = check.Inconclusive
)

// bend is one way in which a good drill's record can be otherwise, and what the check must then say.
type bend struct {
	name    string
	bend    func(r *history.Run)
	verdict check.Verdict
	says    string // part of Says or of what is missing
}

func judgeTable(t *testing.T, name string, judge func(*history.Run) check.Result, table []bend) {
	t.Helper()
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			run := bent(c.bend)
			r := judge(run)
			if r.Check != name {
				t.Fatalf("the check calls itself %q", r.Check)
			}
			if r.Verdict() != c.verdict {
				t.Fatalf("%s, expected %s: %s %v %+v", r.Verdict(), c.verdict, r.Says, r.Missing, r.Findings)
			}
			if all := r.Says + " " + strings.Join(r.Missing, " "); !strings.Contains(all, c.says) {
				t.Errorf("says %q, expected something about %q", all, c.says)
			}
			if r.Verdict() == check.Inconclusive && len(r.Missing) == 0 {
				t.Error("it is inconclusive and does not say what is missing")
			}
		})
	}
}

func TestSane(t *testing.T) {
	edited := func(change func(m *history.Mark, l *history.LoadData)) func(*history.Run) {
		return func(r *history.Run) { edit(r, history.KindLoad, change) }
	}
	judgeTable(t, check.NameSane, check.Sane, []bend{
		{"good", nil, pass, "no clock jumped"},
		{"a record is missing", func(r *history.Run) { r.Operations = slices.Delete(r.Operations, 500, 501) }, open, "missing"},
		{"the last records are missing", func(r *history.Run) { r.Operations = r.Operations[:len(r.Operations)-20] }, open, "a sane harness"},
		{"a slot without a record", edited(func(m *history.Mark, l *history.LoadData) { l.Slots++ }), open, "slots"},
		{"two requests for one record", func(r *history.Run) { r.Operations[100].Wire = 2 }, open, "more than one request"},
		{"a request that no record tells of", edited(func(m *history.Mark, l *history.LoadData) { l.Wire++ }), open, "left the machine"},
		{"answered without being sent", func(r *history.Run) { first(r, ackedBy("tokyo")).Wire = 0 }, open, "without being sent"},
		{"no account of the schedule", func(r *history.Run) { drop(r, history.KindLoad) }, open, "did not account"},
		{"too much was shed", func(r *history.Run) {
			n := 0
			each(r, history.StreamProbe, func(o *history.Operation) {
				if n++; n > 4000 {
					o.Outcome = history.Shed
				}
			})
		}, open, "shed"},
		{"a clock that jumped", edited(func(m *history.Mark, l *history.LoadData) { l.ClockJump = history.Duration(time.Second) }), open, "jumped"},
		{"a clock that is disciplined", edited(func(m *history.Mark, l *history.LoadData) { l.ClockJump = history.Duration(20 * time.Millisecond) }), pass, ""},
		{"time ran backwards", func(r *history.Run) { r.Operations[9].Finished = r.Operations[9].Sent - 1 }, open, "backwards"},
		{"sent before it was due", func(r *history.Run) { r.Operations[9].Sent -= history.Instant(time.Second) }, open, "backwards"},
		{"later than the end", func(r *history.Run) { r.Meta.Ended = at(40 * time.Second) }, open, "younger"},
		{"older than the run", func(r *history.Run) { r.Marks[0].T = 1 }, open, "older"},
		{"one key twice", func(r *history.Run) {
			key := keptKey(r)
			first(r, ackedBy("osaka")).Key = key
		}, open, "two slots"},
		{"a history that was cut off", func(r *history.Run) { r.Truncated = []string{history.OperationsFile} }, open, "cut off"},
		{"a journal that was cut off by a killed operator", func(r *history.Run) { r.Truncated = []string{history.JournalFile} }, pass, ""},
		{"a denied payment is done", func(r *history.Run) {
			first(r, ackedBy("tokyo")).Outcome = history.Fail
		}, open, "certainly not done"},
		{"nothing was recorded", func(r *history.Run) { r.Operations = nil; drop(r, history.KindLoad) }, open, "payments sent"},
		{"a mark that cannot be read", func(r *history.Run) { add(r, at(time.Second), history.KindLoad, "x", 3) }, open, "mark"},
	})
	if r := check.Sane(bent(func(r *history.Run) { first(r, ackedBy("tokyo")).Outcome = history.Fail })); !r.Contradiction {
		t.Error("a payment that was certainly not done, and is done, is no contradiction")
	}
}

func TestFaultReal(t *testing.T) {
	attests := func(change func(a *history.AttestData)) func(*history.Run) {
		return func(r *history.Run) {
			edit(r, history.KindAttest, func(_ *history.Mark, a *history.AttestData) { change(a) })
		}
	}
	only := func(when string, keep bool) func(*history.Run) {
		return func(r *history.Run) {
			r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool {
				return m.Kind == history.KindAttest && strings.Contains(string(m.Data), `"when":"`+when+`"`) != keep
			})
		}
	}
	healed := func(when string) func(*history.Run) {
		return func(r *history.Run) {
			add(r, at(40*time.Second), history.KindFault, "loss", history.FaultData{Action: "heal", Targets: []string{"tokyo>osaka/mysql"}})
			if when != "" {
				add(r, at(41*time.Second), history.KindAttest, "x", history.AttestData{Link: "tokyo>osaka/mysql", When: "after", Declared: "open", Old: "none", New: when, Agrees: true})
			}
		}
	}
	answers := func(r *history.Run) {
		o := first(r, func(o history.Operation) bool { return o.Stream == history.StreamProbe && o.Sent > at(30*time.Second) })
		o.Site, o.Outcome, o.Wire = "tokyo", history.OK, 1
	}
	reboots := func(t time.Duration) func(*history.Run) {
		return func(r *history.Run) {
			var name string
			edit(r, history.KindFault, func(m *history.Mark, f *history.FaultData) {
				if f.Action == "inject" {
					name = m.Name
				}
			})
			add(r, at(t), history.KindFault, name, history.FaultData{Action: "heal", Began: at(t), Done: at(t)})
			add(r, at(41*time.Second), history.KindAttest, "x", history.AttestData{Link: "tokyo>osaka/mysql", When: "after", Declared: "open", Old: "none", New: "open", Agrees: true})
			answers(r)
		}
	}
	judgeTable(t, check.NameFaultReal, check.FaultReal, []bend{
		{"good", nil, pass, "8 links"},
		{"no fault", func(r *history.Run) { drop(r, history.KindFault) }, open, "no fault"},
		{"nobody looked", func(r *history.Run) { drop(r, history.KindAttest) }, open, "attestations"},
		{"nobody looked before", only("before", false), open, "before"},
		{"nobody looked while it held", only("before", true), open, "nobody felt"},
		{"one link that nobody felt", func(r *history.Run) {
			r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool {
				return m.Kind == history.KindAttest && m.Name == "tokyo>osaka/mysql" && m.T > at(24*time.Second)
			})
		}, open, "tokyo>osaka/mysql"},
		{"a link that nobody could ever probe", func(r *history.Run) {
			r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool {
				return m.Kind == history.KindAttest && m.Name == "tokyo>osaka/mysql"
			})
		}, pass, "7 links"},
		{"traffic goes around the proxy", attests(func(a *history.AttestData) {
			if a.When == "during" {
				a.New, a.Old, a.Agrees = "open", "open", false
			}
		}), open, "declared cut"},
		{"an old connection survives", attests(func(a *history.AttestData) {
			if a.When == "during" {
				a.Old, a.Agrees = "open", false
			}
		}), open, "an old connection found it open"},
		{"the harness's own word is not taken", attests(func(a *history.AttestData) {
			if a.When == "during" {
				a.New = "open"
			}
		}), open, "declared cut"},
		{"it was cut before the fault", attests(func(a *history.AttestData) {
			if a.When == "before" {
				a.New = "cut"
			}
		}), open, "declared open"},
		{"no old connection was held", attests(func(a *history.AttestData) { a.Old = "none" }), pass, ""},
		{"healed, and nobody looked", healed(""), open, "after healing"},
		{"healed, and still cut", healed("cut"), open, "declared open"},
		{"healed", healed("open"), pass, ""},
		{"a dead site answers", answers, open, "although all its nodes had been killed"},
		{"a site that rebooted answers", reboots(29 * time.Second), pass, ""},
		{"a dead site answers before it reboots", reboots(39 * time.Second), open, "although all its nodes had been killed"},
		{"a mark that cannot be read", func(r *history.Run) { add(r, at(time.Second), history.KindAttest, "x", 3) }, open, "mark"},
	})
}

func TestProcedure(t *testing.T) {
	entries := func(change func(j []history.Entry) []history.Entry) func(*history.Run) {
		return func(r *history.Run) { r.Journal = change(r.Journal) }
	}
	index := func(j []history.Entry, kind, step string) int {
		i := slices.IndexFunc(j, func(e history.Entry) bool { return e.Kind == kind && e.Step == step })
		if i < 0 {
			panic(kind + " " + step)
		}
		return i
	}
	without := func(kind, step string) func(*history.Run) {
		return entries(func(j []history.Entry) []history.Entry { i := index(j, kind, step); return slices.Delete(j, i, i+1) })
	}
	// killed cuts the journal after an entry and lets another operator begin.
	killed := func(kind, step string, resumed func(rest []history.Entry) []history.Entry) func(*history.Run) {
		return entries(func(j []history.Entry) []history.Entry {
			i := index(j, kind, step) + 1
			again := j[0]
			again.Attempt, again.PID, again.T = 2, 4343, j[i-1].T+1
			return append(append(slices.Clone(j[:i]), again), resumed(slices.Clone(j[i:]))...)
		})
	}
	judgeTable(t, check.NameProcedure, check.Procedure, []bend{
		{"good", nil, pass, "9 steps confirmed in order, 1 of them by a person"},
		{"none was run", func(r *history.Run) { r.Journal = nil }, open, "no procedure"},
		{"the operator was told to stop, and the drill with it", func(r *history.Run) { cutShort(r, history.EntryStopped) }, open, "ended early"},
		{"the operator failed, and the drill ended with it", func(r *history.Run) { cutShort(r, history.EntryFailed) }, fail, "failed"},
		{"a step was never confirmed", without(history.EntryConfirm, "3"), fail, "step 3 was never confirmed"},
		{"a step of the plan never happened", entries(func(j []history.Entry) []history.Entry {
			return slices.DeleteFunc(j, func(e history.Entry) bool { return e.Step == "7.1" })
		}), fail, "step 7.1 was never confirmed"},
		{"it did not end", entries(func(j []history.Entry) []history.Entry { return j[:len(j)-1] }), fail, "did not get past step 9"},
		{"it was begun only", entries(func(j []history.Entry) []history.Entry { return j[:1] }), fail, "not carried out"},
		{"an act that was not announced", without(history.EntryIntent, "2"), fail, "without having been announced"},
		{"a step that was begun too early", entries(func(j []history.Entry) []history.Entry {
			i, k := index(j, history.EntryIntent, "3"), index(j, history.EntryConfirm, "2")
			j[i], j[k] = j[k], j[i]
			return j
		}), fail, "begun before step 2 was confirmed"},
		{"a failed step", entries(func(j []history.Entry) []history.Entry {
			i := index(j, history.EntryConfirm, "2")
			j[i].Kind, j[i].Error = history.EntryFailed, "the relay log does not drain"
			return j[:i+1]
		}), fail, "step 2 (MySQL をレプリケーションから離脱させる / leave the replication) failed: the relay log does not drain"},
		{"a failed step, resumed", killed(history.EntryAct, "2", func(rest []history.Entry) []history.Entry {
			rest[0].Kind = history.EntryAlready
			return rest
		}), pass, "resumed 1 times"},
		{"killed after the intent, resumed", killed(history.EntryIntent, "2", func(rest []history.Entry) []history.Entry {
			intent := good().Journal[index(good().Journal, history.EntryIntent, "2")]
			intent.Attempt = 2
			return append([]history.Entry{intent}, rest...)
		}), pass, "resumed 1 times"},
		{"killed after the act, found done", killed(history.EntryIntent, "2", func(rest []history.Entry) []history.Entry {
			rest[1].Kind = history.EntryAlready
			return rest[1:]
		}), pass, "resumed 1 times"},
		{"killed, and acted again without saying so", killed(history.EntryIntent, "2", func(rest []history.Entry) []history.Entry { return rest }), fail, "without having been announced"},
		{"killed, never resumed", entries(func(j []history.Entry) []history.Entry { return j[:index(j, history.EntryIntent, "5.1")+1] }), fail, "never confirmed"},
		{"the drill was killed", func(r *history.Run) { r.Journal, r.Meta.Ended = r.Journal[:8], 0 }, open, "the drill was killed"},
		{"a step failed, and that ended the drill", func(r *history.Run) {
			i := index(r.Journal, history.EntryConfirm, "2")
			r.Journal[i].Kind = history.EntryFailed
			r.Journal, r.Meta.Interrupt = r.Journal[:i+1], "the operator failed"
		}, fail, "failed"},
		{"refused", entries(func(j []history.Entry) []history.Entry {
			j[1].Kind, j[1].Error = history.EntryRefused, "osaka's MySQL does not replicate"
			return j[:2]
		}), fail, "refused"},
		{"refused, then corrected", entries(func(j []history.Entry) []history.Entry {
			begin, refused := j[0], j[1]
			begin.Digest, refused.Digest, refused.Kind = "other", "other", history.EntryRefused
			return append([]history.Entry{begin, refused}, j...)
		}), pass, "9 steps"},
		{"begun before the decision", func(r *history.Run) {
			i := index(r.Journal, history.EntryIntent, "1")
			r.Journal[i].T = at(25 * time.Second)
		}, fail, "before the person in charge had decided"},
		{"another procedure after it", entries(func(j []history.Entry) []history.Entry {
			more := slices.Clone(j)
			for i := range more {
				more[i].Digest, more[i].Procedure = "other", "failback"
			}
			return append(j, more...)
		}), pass, "18 steps"},
		{"another procedure after it that did not end", entries(func(j []history.Entry) []history.Entry {
			more := slices.Clone(j)
			for i := range more {
				more[i].Digest, more[i].Procedure = "other", "failback"
			}
			return append(j, more[:len(more)-1]...)
		}), fail, "failback did not get past step 9"},
	})
}

func TestRecoveryTime(t *testing.T) {
	target := func(d time.Duration) func(*history.Run) {
		return func(r *history.Run) { r.Meta.Objectives.Recovery.Target = history.Duration(d) }
	}
	judgeTable(t, check.NameRecovery, check.RecoveryTime, []bend{
		{"good", nil, pass, "after the decision (target 60 s)"},
		{"too long", target(2 * time.Second), fail, "target 2 s"},
		{"none is allowed", target(-1), fail, "target 0 s"},
		{"on the edge", func(r *history.Run) {
			n, _ := check.Judge(r).Get(check.NameRecovery)
			s := n.Numbers["since decision"]
			target(time.Duration((s.Lower + s.Upper) / 2 * float64(time.Second)))(r)
		}, open, "straddles"},
		{"too thin", func(r *history.Run) {
			each(r, history.StreamProbe, func(o *history.Operation) {
				if o.Slot%4 != 0 {
					o.Stream = "elsewhere"
				}
			})
		}, open, "probes a second"},
		{"a gap", func(r *history.Run) {
			each(r, history.StreamProbe, func(o *history.Operation) {
				if o.Sent > at(45*time.Second) && o.Sent < at(45800*time.Millisecond) {
					o.Outcome = history.Shed
				}
			})
		}, open, "without gaps"},
		{"a gap that a long target allows", func(r *history.Run) {
			target(time.Hour)(r)
			each(r, history.StreamProbe, func(o *history.Operation) {
				if o.Sent > at(45*time.Second) && o.Sent < at(45800*time.Millisecond) {
					o.Outcome = history.Shed
				}
			})
		}, pass, ""},
		{"not steady before", func(r *history.Run) {
			each(r, history.StreamProbe, func(o *history.Operation) {
				if o.Slot%50 == 0 && o.Sent < at(23*time.Second) {
					o.Outcome = history.Info
				}
			})
		}, open, "a steady state"},
		{"not steady before, and too long", func(r *history.Run) {
			target(2 * time.Second)(r)
			each(r, history.StreamProbe, func(o *history.Operation) {
				if o.Slot%50 == 0 && o.Sent < at(23*time.Second) {
					o.Outcome = history.Info
				}
			})
		}, open, "a steady state"},
		{"never back, longer than the target", func(r *history.Run) {
			target(20 * time.Second)(r)
			each(r, history.StreamProbe, func(o *history.Operation) {
				if o.Sent > at(25*time.Second) {
					o.Outcome = history.Fail
				}
			})
		}, fail, "not back"},
		{"never back, the load ended first", func(r *history.Run) {
			each(r, history.StreamProbe, func(o *history.Operation) {
				if o.Sent > at(25*time.Second) {
					o.Outcome = history.Fail
				}
			})
		}, open, "a recovery"},
		{"nobody decided", func(r *history.Run) { drop(r, history.KindDecision) }, open, "nobody decided"},
		{"no outage", func(r *history.Run) {
			each(r, history.StreamProbe, func(o *history.Operation) {
				if o.Outcome != history.OK {
					o.Outcome, o.Finished = history.OK, o.Sent.Add(5*time.Millisecond)
				}
			})
		}, pass, "no outage"},
		{"never steady", func(r *history.Run) {
			r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool { return m.Name == history.PhaseSteady })
		}, open, "never reached"},
		{"no probe", func(r *history.Run) {
			each(r, history.StreamProbe, func(o *history.Operation) { o.Stream = "elsewhere" })
		}, open, "no probe"},
	})
}

func TestUnreplicated(t *testing.T) {
	judgeTable(t, check.NameUnreplicated, check.Unreplicated, []bend{
		{"good", nil, pass, "mysql 2"},
		{"too many", func(r *history.Run) { r.Meta.Objectives.Loss.MaxCount = 3 }, fail, "target ≤ 3"},
		{"none allowed", func(r *history.Run) { r.Meta.Objectives.Loss.MaxCount = -1 }, fail, "target ≤ 0"},
		{"too old", func(r *history.Run) { r.Meta.Objectives.Loss.MaxAge = history.Duration(100 * time.Millisecond) }, fail, "≤ 0.1 s"},
		{"a hole", func(r *history.Run) {
			key := keptKey(r) // lost, although the survivor received what came after it
			r.Evidence.Ledger.Payments = without(r.Evidence.Ledger.Payments, key, rowKey)
			for i := range r.Evidence.OldLedger.Transactions {
				if x := &r.Evidence.OldLedger.Transactions[i]; x.Key == key {
					x.GTID = strings.Replace(x.GTID, ":pay:", ":other:", 1)
				}
			}
		}, fail, ""},
		{"no lag", func(r *history.Run) {
			edit(r, history.KindLag, func(_ *history.Mark, l *history.LagData) { l.Lag = history.Duration(5 * time.Millisecond) })
		}, open, "replication lag"},
		{"lag that was gone by the cut", func(r *history.Run) {
			edit(r, history.KindLag, func(m *history.Mark, l *history.LagData) {
				if m.T > at(21*time.Second) {
					l.Lag = 0
				}
			})
		}, open, "replication lag"},
		{"lag was not measured", func(r *history.Run) { drop(r, history.KindLag) }, open, "replication lag"},
		{"nothing in flight", func(r *history.Run) { r.Meta.Objectives.Loss.MinAcked = 100 }, open, "in the last second"},
		{"the lost site was not read", func(r *history.Run) { r.Evidence.OldLedger = nil }, open, "stores of tokyo"},
		{"the new site was not read", func(r *history.Run) { r.Evidence.Ledger = nil }, open, "stores of osaka"},
		{"not quiescent", func(r *history.Run) { r.Evidence.Quiescence.Agreed = false }, open, "final reads"},
		{"a payment that cannot be classified", func(r *history.Run) {
			r.Evidence.OldLedger.Transactions = without(r.Evidence.OldLedger.Transactions, lostKey(r), transactionKey)
		}, open, "classified"},
		{"the accounts disagree", func(r *history.Run) {
			r.Evidence.OldLedger.Executed = strings.Replace(r.Evidence.OldLedger.Executed, "pay:1-", "pay:1-9", 1)
		}, open, "own account disagrees"},
		{"the accounts disagree the other way", func(r *history.Run) {
			r.Evidence.OldLedger.Payments = append(r.Evidence.OldLedger.Payments, history.PaymentRow{Key: "ghost", State: "DONE"})
		}, open, "own account disagrees"},
		{"gtid_executed was not read", func(r *history.Run) { r.Evidence.Ledger.Executed = "" }, open, "own account"},
		{"a set that cannot be read", func(r *history.Run) { r.Evidence.Ledger.Executed = "x" }, open, "GTID"},
	})
	r := check.Unreplicated(bent(func(r *history.Run) {
		r.Evidence.OldLedger.Executed = strings.Replace(r.Evidence.OldLedger.Executed, "pay:1-", "pay:1-9", 1)
	}))
	if !r.Contradiction {
		t.Error("two accounts that disagree are no contradiction")
	}
}

func TestDropped(t *testing.T) {
	judgeTable(t, check.NameDropped, check.Dropped, []bend{
		{"good", nil, pass, "none of"},
		{"received, and gone", func(r *history.Run) {
			r.Evidence.Ledger.Payments = without(r.Evidence.Ledger.Payments, keptKey(r), rowKey)
		}, fail, "1 payments that osaka had received"},
		{"never sampled", func(r *history.Run) { drop(r, history.KindReceived) }, open, "samples"},
		{"not sampled after the cut", func(r *history.Run) {
			r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool { return m.Kind == history.KindReceived && m.T > at(24*time.Second) })
		}, open, "after the cut"},
		{"the lost site was not read", func(r *history.Run) { r.Evidence.OldLedger, r.Evidence.OldJournal = nil, nil }, open, "stores of tokyo"},
		{"a sample that cannot be read", func(r *history.Run) {
			add(r, at(20*time.Second), history.KindReceived, "x", history.ReceivedData{Received: "x"})
		}, open, "received"},
	})
}

func TestNeverDurable(t *testing.T) {
	judgeTable(t, check.NameNeverDurable, check.NeverDurable, []bend{
		{"good", nil, pass, "durable somewhere"},
		{"acknowledged before it was written", func(r *history.Run) {
			key := lostKey(r)
			r.Evidence.OldLedger.Payments = without(r.Evidence.OldLedger.Payments, key, rowKey)
		}, fail, "mysql 1, cassandra 0"},
		{"an event that was never written", func(r *history.Run) {
			key := keptKey(r)
			r.Evidence.Journal.Events = without(r.Evidence.Journal.Events, key, eventKey)
			r.Evidence.OldJournal.Events = without(r.Evidence.OldJournal.Events, key, eventKey)
		}, fail, "mysql 0, cassandra 1"},
		{"lost by the new site", func(r *history.Run) {
			r.Evidence.Ledger.Payments = without(r.Evidence.Ledger.Payments, first(r, ackedBy("osaka")).Key, rowKey)
		}, fail, "mysql 1"},
		{"the lost site was not read", func(r *history.Run) { r.Evidence.OldJournal = nil }, open, "stores of tokyo"},
	})
}

func TestDoubleCharge(t *testing.T) {
	judgeTable(t, check.NameDoubleCharge, check.DoubleCharge, []bend{
		{"good", nil, pass, "keys over the switch"},
		{"charged twice", func(r *history.Run) {
			c := r.Evidence.Charges[100]
			c.Request, c.Dup = "another", false
			r.Evidence.Charges = append(r.Evidence.Charges, c)
		}, fail, "1 payments were charged more than once"},
		{"asked twice, charged once", func(r *history.Run) {
			c := r.Evidence.Charges[100]
			c.Dup = true
			r.Evidence.Charges = append(r.Evidence.Charges, c)
		}, pass, ""},
		{"acknowledged, never charged", func(r *history.Run) {
			r.Evidence.Charges = without(r.Evidence.Charges, keptKey(r), chargeKey)
		}, fail, "never charged"},
		{"another amount", func(r *history.Run) { first(r, ackedBy("osaka")).Yen++ }, fail, "another amount"},
		{"the log was not read", func(r *history.Run) { r.Evidence.Charges = nil }, open, "not read"},
		{"nobody repeated himself", func(r *history.Run) {
			r.Operations = slices.DeleteFunc(r.Operations, func(o history.Operation) bool { return o.Stream == history.StreamRepeat && o.Attempt > 1 })
		}, open, "repeated attempts"},
		{"nobody repeated himself over the switch", func(r *history.Run) {
			each(r, history.StreamRepeat, func(o *history.Operation) {
				if o.Attempt == 3 {
					o.Key = fmt.Sprintf("other-%d", o.ID)
					o.Outcome = history.Info
				}
			})
		}, open, "over the switch"},
		{"too few charges", func(r *history.Run) {
			r.Operations = r.Operations[:2]
			r.Evidence.Charges = r.Evidence.Charges[:50]
		}, open, "payments charged"},
	})
}

func TestConservation(t *testing.T) {
	one := func(change func(s *history.SnapshotData)) func(*history.Run) {
		return func(r *history.Run) {
			edit(r, history.KindSnapshot, func(m *history.Mark, s *history.SnapshotData) {
				if m.T > at(20*time.Second) && m.T < at(20700*time.Millisecond) {
					change(s)
				}
			})
		}
	}
	judgeTable(t, check.NameConservation, check.Conservation, []bend{
		{"good", nil, pass, "conserved in"},
		{"money was made", one(func(s *history.SnapshotData) { s.Balance++ }), fail, "add up"},
		{"a half entry", one(func(s *history.SnapshotData) { s.EntrySum = -100 }), fail, "statements add up"},
		{"balance and statement differ", one(func(s *history.SnapshotData) { s.Mismatched = []string{"17"} }), fail, "the first is 17"},
		{"another constant", one(func(s *history.SnapshotData) { s.Constant++; s.Balance++ }), fail, "constant changed"},
		{"only in the final read", func(r *history.Run) { r.Evidence.Ledger.Snapshot.Balance-- }, fail, "osaka-mysql-1"},
		{"only in the recovered data", func(r *history.Run) { r.Evidence.OldLedger.Snapshot.EntrySum = 5 }, fail, "tokyo-mysql-1"},
		{"an entry without a payment", func(r *history.Run) { r.Evidence.Ledger.Snapshot.Entries++ }, fail, "statement entries"},
		{"too few snapshots", func(r *history.Run) {
			n := 0
			r.Marks = slices.DeleteFunc(r.Marks, func(m history.Mark) bool {
				if m.Kind == history.KindSnapshot {
					n++
				}
				return m.Kind == history.KindSnapshot && n > 19
			})
		}, open, "19 of at least 20"},
		{"snapshots that read nothing", func(r *history.Run) {
			edit(r, history.KindSnapshot, func(_ *history.Mark, s *history.SnapshotData) { *s = history.SnapshotData{Node: s.Node} })
		}, open, "snapshots under load"},
		{"snapshots without load", func(r *history.Run) {
			for i := range r.Marks {
				if r.Marks[i].Kind == history.KindSnapshot {
					r.Marks[i].T = at(5 * time.Second)
				}
			}
		}, open, "snapshots under load"},
		{"no final one", func(r *history.Run) { r.Evidence.Ledger, r.Evidence.OldLedger = nil, nil }, open, "final snapshots"},
		{"a mark that cannot be read", func(r *history.Run) { add(r, at(time.Second), history.KindSnapshot, "x", 3) }, open, "mark"},
	})
}

func TestStoresAgree(t *testing.T) {
	unknown := func(r *history.Run) string { // done in Tokyo, and nobody was told
		o := first(r, ackedBy("tokyo"))
		o.Outcome = history.Info
		return o.Key
	}
	judgeTable(t, check.NameStoresAgree, check.StoresAgree, []bend{
		{"good", nil, pass, "but for the losses"},
		{"an event of nobody", func(r *history.Run) {
			r.Evidence.Journal.Events = append(r.Evidence.Journal.Events, history.EventRow{Key: "ghost"})
		}, fail, "have no row"},
		{"a row of nobody", func(r *history.Run) {
			r.Evidence.Ledger.Payments = append(r.Evidence.Ledger.Payments, history.PaymentRow{Key: "ghost", State: "DONE"})
		}, fail, "have no event"},
		{"the event of a payment that osaka acknowledged is missing", func(r *history.Run) {
			// It is in cassandra's loss list, and fails there, as never durable.
			r.Evidence.Journal.Events = without(r.Evidence.Journal.Events, first(r, ackedBy("osaka")).Key, eventKey)
		}, pass, "explained"},
		{"an event whose row was dropped", func(r *history.Run) {
			r.Evidence.Ledger.Payments = without(r.Evidence.Ledger.Payments, unknown(r), rowKey)
		}, fail, "have no row"},
		{"an event whose row was lost and never promised", func(r *history.Run) {
			key := lostKey(r)
			first(r, func(o history.Operation) bool { return o.Key == key }).Outcome = history.Info
		}, pass, "explained"},
		{"the same, and nobody read the lost site", func(r *history.Run) {
			key := lostKey(r)
			first(r, func(o history.Operation) bool { return o.Key == key }).Outcome = history.Info
			r.Evidence.OldLedger = nil
		}, open, "could be judged"},
		{"a row of unknown outcome without an event", func(r *history.Run) {
			r.Evidence.Journal.Events = without(r.Evidence.Journal.Events, unknown(r), eventKey)
		}, pass, "explained"},
		{"a repeated payment's row whose event was lost with the site", func(r *history.Run) {
			key := first(r, func(o history.Operation) bool { return o.Stream == history.StreamRepeat && o.Outcome == history.OK }).Key
			r.Evidence.Journal.Events = without(r.Evidence.Journal.Events, key, eventKey)
		}, pass, "explained"},
		{"a repeated payment's row without any event", func(r *history.Run) {
			key := first(r, func(o history.Operation) bool { return o.Stream == history.StreamRepeat && o.Outcome == history.OK }).Key
			r.Evidence.Journal.Events = without(r.Evidence.Journal.Events, key, eventKey)
			r.Evidence.OldJournal.Events = without(r.Evidence.OldJournal.Events, key, eventKey)
		}, fail, "have no event"},
		{"a repeated payment's row without an event, and nobody read the lost site", func(r *history.Run) {
			key := first(r, func(o history.Operation) bool { return o.Stream == history.StreamRepeat && o.Outcome == history.OK }).Key
			r.Evidence.Journal.Events = without(r.Evidence.Journal.Events, key, eventKey)
			r.Evidence.OldJournal = nil
		}, open, "could be judged"},
		{"two amounts", func(r *history.Run) { r.Evidence.Journal.Events[7].Yen++ }, fail, "one amount"},
		{"only one store was read", func(r *history.Run) { r.Evidence.Journal = nil }, open, "not both read"},
		{"not quiescent", func(r *history.Run) { r.Evidence.Quiescence = nil }, open, "did not agree"},
		{"too little", func(r *history.Run) {
			r.Operations = nil
			r.Evidence.Ledger.Payments, r.Evidence.Journal.Events = r.Evidence.Ledger.Payments[:5], nil
			for _, p := range r.Evidence.Ledger.Payments {
				r.Evidence.Journal.Events = append(r.Evidence.Journal.Events, history.EventRow{Key: p.Key, Yen: p.Yen})
			}
		}, open, "payments in mysql"},
		{"a set that cannot be read", func(r *history.Run) { r.Evidence.Ledger.Executed = "x" }, open, "GTID"},
	})
}

func TestQuiescent(t *testing.T) {
	judgeTable(t, check.NameQuiescent, check.Quiescent, []bend{
		{"good", nil, pass, "final reads agreed"},
		{"not read", func(r *history.Run) { r.Evidence.Quiescence = nil }, open, "not made"},
		{"never settled", func(r *history.Run) {
			*r.Evidence.Quiescence = history.Quiescence{Reads: 9, Apart: history.Duration(20 * time.Second), Why: "3 rows more"}
		}, open, "not quiescent: 3 rows more"},
		{"too near", func(r *history.Run) { r.Evidence.Quiescence.Apart = history.Duration(time.Second) }, open, "apart"},
		{"read once", func(r *history.Run) { r.Evidence.Quiescence.Reads = 1 }, open, "final reads"},
		{"the API was not asked", func(r *history.Run) { r.Evidence.API = nil }, open, "API"},
		{"the API tells more", func(r *history.Run) {
			r.Evidence.API = append(r.Evidence.API, history.PaymentRow{Key: "ghost", State: "DONE"})
		}, fail, "told otherwise"},
		{"the API tells less", func(r *history.Run) { r.Evidence.API = r.Evidence.API[1:] }, fail, "told otherwise"},
		{"the API tells twice", func(r *history.Run) { r.Evidence.API = append(r.Evidence.API, r.Evidence.API[0]) }, fail, "told otherwise"},
		{"the API tells another state", func(r *history.Run) { r.Evidence.API[4].State = "PENDING" }, fail, "told otherwise"},
		{"the API tells another amount", func(r *history.Run) { r.Evidence.API[4].Yen++ }, fail, "told otherwise"},
		{"the API tells another epoch", func(r *history.Run) { r.Evidence.API[4].Epoch++ }, fail, "told otherwise"},
		{"the API tells in another order", func(r *history.Run) { slices.Reverse(r.Evidence.API) }, pass, ""},
	})
}

func TestOneWriter(t *testing.T) {
	canaries := func(node string, from, until time.Duration, change func(o *history.Operation)) func(*history.Run) {
		return func(r *history.Run) {
			each(r, history.StreamCanary, func(o *history.Operation) {
				if o.Node == node && o.Sent >= at(from) && o.Sent < at(until) {
					change(o)
				}
			})
		}
	}
	taken := func(o *history.Operation) {
		o.Outcome, o.Error, o.Finished = history.OK, "", o.Sent.Add(time.Millisecond)
	}
	refused := func(o *history.Operation) {
		o.Outcome, o.Error, o.Finished = history.Fail, "read-only", o.Sent.Add(time.Millisecond)
	}
	unheard := func(o *history.Operation) {
		o.Outcome, o.Error, o.Finished = history.Info, "timeout", o.Sent.Add(200*time.Millisecond)
	}
	busy := func(o *history.Operation) { // told so at once, without asking the server
		o.Outcome, o.Error, o.Finished = history.Fail, "busy", o.Sent.Add(time.Microsecond)
	}
	full := func(o *history.Operation) { refused(o); o.Error = "too-many-connections" }
	const tokyo, osaka = "tokyo-mysql-1", "osaka-mysql-1"
	both := func(a, b func(*history.Run)) func(*history.Run) { return func(r *history.Run) { a(r); b(r) } }
	everyOther := func(change func(o *history.Operation)) func(*history.Run) {
		n := 0
		return canaries(tokyo, 40*time.Second, 42*time.Second, func(o *history.Operation) {
			if n++; n%2 == 0 {
				change(o)
			}
		})
	}
	promised := func(r *history.Run) { r.Meta.Objectives.NoZombies = true }
	judgeTable(t, check.NameOneWriter, check.OneWriter, []bend{
		{"good", nil, pass, "one writer (0 ms dual-writable, limit 50 ms)"},
		{"tokyo stays writable", canaries(tokyo, 20*time.Second, 54*time.Second, taken), fail, "two writers"},
		{"tokyo comes back writable", canaries(tokyo, 40*time.Second, 42*time.Second, taken), fail, "two writers"},
		{"osaka was writable all the time", canaries(osaka, 10*time.Second, 54*time.Second, taken), fail, "two writers"},
		{"one canary of tokyo's among osaka's", canaries(tokyo, 40*time.Second, 40050*time.Millisecond, taken), open, "leave"},
		{"tokyo is never heard of again", canaries(tokyo, 24*time.Second, 54*time.Second, unheard), open, "leave"},
		{"some canaries around the cut were not heard of", canaries(tokyo, 23500*time.Millisecond, 24500*time.Millisecond, unheard), pass, "one writer"},
		{"a canary's turn never came between two of them", both(canaries(tokyo, 40*time.Second, 42*time.Second, taken), everyOther(busy)), fail, "two writers"},
		{"the server had no connection for some", both(canaries(tokyo, 40*time.Second, 42*time.Second, taken), everyOther(full)), fail, "two writers"},
		{"tokyo hangs, and every canary after the one that waits is told busy", both(canaries(tokyo, 23*time.Second, 32*time.Second, busy), canaries(tokyo, 23*time.Second, 23050*time.Millisecond, unheard)), open, "leave"},
		{"a few canaries were not heard of", canaries(osaka, 29*time.Second, 29200*time.Millisecond, unheard), pass, "one writer"},
		{"osaka never took one", canaries(osaka, 10*time.Second, 54*time.Second, refused), open, "osaka after it"},
		{"tokyo never took one", canaries(tokyo, 10*time.Second, 54*time.Second, refused), open, "tokyo before"},
		{"no canaries", func(r *history.Run) {
			each(r, history.StreamCanary, func(o *history.Operation) { o.Stream = "elsewhere" })
		}, open, "canaries accepted"},
		{"tokyo rebooted writable after the drill", func(r *history.Run) {
			o := *first(r, func(o history.Operation) bool { return o.Node == tokyo })
			o.Intended, o.Sent, o.Finished, o.Outcome = at(60*time.Second), at(60*time.Second), at(60001*time.Millisecond), history.OK
			r.Operations = append(r.Operations, o)
		}, pass, ""},
		{"a zombie acknowledgement", func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; ackedBy("osaka")(*o) && o.Sent > at(45*time.Second) {
					o.Site = "tokyo"
					return
				}
			}
		}, fail, "1 zombie acknowledgements"},
		{"an acknowledgement by the old epoch", func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; ackedBy("osaka")(*o) && o.Sent > at(45*time.Second) {
					o.Epoch = 1
					return
				}
			}
		}, fail, "1 zombie acknowledgements"},
		{"none is promised, and some customers went on asking tokyo", promised, pass, "one writer"},
		{"none is promised, and nobody asked tokyo any more", both(promised, func(r *history.Run) {
			for i := range r.Operations {
				if o := &r.Operations[i]; o.Stream != history.StreamCanary && o.Site == "tokyo" && o.Sent > at(30*time.Second) {
					o.Site = ""
				}
			}
		}), open, "requests to a deposed site"},
	})
	limit := bent(func(r *history.Run) {
		canaries(tokyo, 40*time.Second, 42*time.Second, taken)(r)
		r.Meta.Objectives.DualMax = history.Duration(3 * time.Second)
	})
	if r := check.OneWriter(limit); r.Verdict() != pass {
		t.Errorf("2 s within a limit of 3 s: %s %s", r.Verdict(), r.Says)
	}
}

func TestEndFacts(t *testing.T) {
	judgeTable(t, check.NameEndFacts, check.EndFacts, []bend{
		{"good", nil, pass, "10 facts"},
		{"another value", func(r *history.Run) { r.Evidence.Facts["dns"] = "tokyo" }, fail, "differ"},
		{"one is missing", func(r *history.Run) { delete(r.Evidence.Facts, "dns") }, fail, "differ"},
		{"one too many", func(r *history.Run) { r.Evidence.Facts["other"] = "1" }, fail, "differ"},
		{"another value, and the drill ended early", func(r *history.Run) {
			r.Evidence.Facts["dns"], r.Meta.Interrupt = "tokyo", "the operator was killed"
		}, open, "ended early"},
		{"not read", func(r *history.Run) { r.Evidence.Facts = nil }, open, "not read"},
		{"not stated", func(r *history.Run) { r.Meta.Facts = nil }, open, "does not name"},
	})
}

// cutShort ends a run's journal in the middle of its fifth step, with an entry of one kind, and the drill with it.
func cutShort(r *history.Run, kind string) {
	for i, e := range r.Journal {
		if e.Kind == history.EntryIntent && strings.HasPrefix(e.Step, "5") {
			e.Kind, e.Error = kind, "waited for the application"
			r.Journal = append(r.Journal[:i+1:i+1], e)
			break
		}
	}
	r.Meta.Interrupt = "interrupted by a signal"
}
