package check_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

const (
	oldServer = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	newServer = "3e11fa47-71ca-11e1-9e33-c80aa9429563"
)

// judged is one record and what a check must say of it.
type judged struct {
	name    string
	run     *history.Run
	verdict check.Verdict
	says    string // part of Says, of what is missing or of a finding
}

func judgedTable(t *testing.T, judge func(*history.Run) check.Result, table []judged) {
	t.Helper()
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			r := judge(c.run)
			all := r.Says + " " + strings.Join(r.Missing, " ")
			for _, f := range r.Findings {
				all += " " + f.What
			}
			if r.Verdict() != c.verdict || !strings.Contains(all, c.says) {
				t.Errorf("%s, expected %s with %q: %s", r.Verdict(), c.verdict, c.says, all)
			}
		})
	}
}

func marked(t *testing.T, kind string, data ...any) *history.Run {
	t.Helper()
	run := &history.Run{}
	for i, d := range data {
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		run.Marks = append(run.Marks, history.Mark{T: history.Instant(i + 1), Kind: kind, Name: "tokyo", Data: b})
	}
	return run
}

func TestSalvaged(t *testing.T) {
	wiped := func(executed, serving, salvaged any) *history.Run {
		return &history.Run{Journal: []history.Entry{
			{Kind: history.EntryNote, Step: "1", Saw: map[string]any{"else": 1}},
			{Kind: history.EntryNote, Step: "1", Saw: map[string]any{"wiped": oldServer, "wiped_executed": executed, "serving": serving, "salvaged": salvaged}},
		}}
	}
	had := oldServer + ":1-9:pay:1-7"
	saved := func(r *history.Run, rows any) *history.Run {
		r.Journal[1].Saw["salvaged_transactions"] = rows
		return r
	}
	returned := func(r *history.Run) *history.Run {
		r.Marks = []history.Mark{{T: 1, Kind: history.KindReturn, Name: "tokyo"}}
		return r
	}
	// A person's notes are his own: what is in the journal is the confirm.
	byHand := func(bend func(r *history.Run, told map[string]any)) *history.Run {
		told := map[string]any{"server": oldServer, "salvaged": oldServer + ":pay:5-7", "transactions.ndjson": 3.0}
		r := returned(&history.Run{
			Journal: []history.Entry{
				{T: 1, Kind: history.EntryBegin, Procedure: "failback-preparation", Digest: "d"},
				{T: 2, Kind: history.EntryConfirm, Procedure: "failback-preparation", Step: "1.1", Verb: "mysql.rebuild", Manual: true, Saw: map[string]any{"salvage": told}},
				{T: 4, Kind: history.EntryEnd, Procedure: "failback-preparation"},
			},
			Evidence: history.Evidence{OldLedger: &history.LedgerRows{Executed: had}, Ledger: &history.LedgerRows{Executed: oldServer + ":1-9:pay:1-4," + newServer + ":pay:1-3"}},
		})
		if bend != nil {
			bend(r, told)
		}
		return r
	}
	judgedTable(t, check.Salvaged, []judged{
		{"it had nothing of its own", wiped(had, had+","+newServer+":1-3", "none"), pass, "1 databases were emptied, 0 pay transactions"},
		{"all of it was saved", wiped(had, oldServer+":1-9:pay:1-4", oldServer+":pay:5-7"), pass, "3 pay transactions that nobody else had were saved"},
		{"nothing was saved", wiped(had, oldServer+":1-9:pay:1-4", "none"), fail, "with 3 pay transactions that nobody else has and nobody saved: " + oldServer + ":pay:5-7"},
		{"one was not saved", wiped(had, oldServer+":1-9:pay:1-4", oldServer+":pay:5-6"), fail, "with 1 pay transactions"},
		{"no payment, and data all the same", wiped(had, oldServer+":1-8:pay:1-7", "none"), fail, "with 0 pay transactions that nobody else has and nobody saved: " + oldServer + ":9"},
		{"what the other had too need not be saved", wiped(had, had, "none"), pass, "0 pay"},
		{"a note that cannot be read", wiped("pay", had, "none"), open, "wiped_executed of the wiped server"},
		{"a note that says nothing", wiped(had, nil, nil), fail, "nobody saved"},
		{"nothing was emptied", &history.Run{}, open, "databases emptied: 0 of at least 1"},
		{"the file holds as many", saved(wiped(had, oldServer+":1-9:pay:1-4", oldServer+":pay:5-7"), 3.0), pass, "3 pay transactions"},
		{"the file holds one less than the salvage says", saved(wiped(had, oldServer+":1-9:pay:1-4", oldServer+":pay:5-7"), 2.0), fail, "with 3 pay transactions that nobody else has, and the salvage's file holds 2"},
		{"a region that returned had nothing of its own", returned(wiped(had, had, "none")), open, "only the emptied databases had: 0 of at least 1"},
		{"a region that returned had some", returned(wiped(had, oldServer+":1-9:pay:1-6", oldServer+":pay:7")), pass, "1 pay transactions"},

		{"by hand, and all of it was saved", byHand(nil), pass, "1 databases were emptied, 3 pay transactions"},
		{"by hand, and one was not saved", byHand(func(r *history.Run, told map[string]any) { told["salvaged"] = oldServer + ":pay:5-6" }), fail, "with 1 pay transactions"},
		{"by hand, and the file holds less", byHand(func(r *history.Run, told map[string]any) { told["transactions.ndjson"] = 0.0 }), fail, "holds 0"},
		{"by hand, and nobody had read what there was", byHand(func(r *history.Run, told map[string]any) { r.Evidence.OldLedger = nil }), open, "databases emptied: 0"},
		{"by hand, and nothing is told of a salvage", byHand(func(r *history.Run, told map[string]any) { delete(r.Journal[1].Saw, "salvage") }), open, "databases emptied: 0"},
		{"by hand, and read again by the next operator", byHand(func(r *history.Run, told map[string]any) {
			r.Journal = slices.Insert(r.Journal, 2, history.Entry{T: 3, Kind: history.EntryAlready, Step: "1.1", Verb: "mysql.rebuild", Saw: r.Journal[1].Saw})
		}), pass, "1 databases were emptied"},
	})

	// A preparation that has ended is judged, note or no note; one that has not ended says nothing yet.
	judgedAt := func(run *history.Run) bool {
		run.Meta.Calm = true
		_, ok := check.Judge(run).Get(check.NameSalvage)
		return ok
	}
	ended := byHand(func(r *history.Run, told map[string]any) { delete(r.Journal[1].Saw, "salvage") })
	if !judgedAt(ended) {
		t.Error("a preparation without a note is not asked for its salvage")
	}
	ended.Journal = ended.Journal[:2]
	if judgedAt(ended) {
		t.Error("a preparation that did not come to its end is asked for its salvage")
	}
}

func TestErrant(t *testing.T) {
	had := oldServer + ":1-9:pay:1-7"
	compared := func(follower string, following bool, keys ...string) *history.Run {
		return marked(t, history.KindDatabases, history.DatabasesData{Source: "osaka-mysql-1", Follower: "tokyo-mysql-1", Following: following,
			SourceExecuted: had, Executed: follower, Payments: 7, Keys: keys})
	}
	judgedTable(t, check.Errant, []judged{
		{"a replica without a past of its own", compared(had, true), pass, "1 comparisons of 7 payments"},
		{"it is behind", compared(oldServer+":1-9:pay:1-3", true), pass, ""},
		{"it has a transaction of its own, and follows", compared(had+","+newServer+":pay:1-2", true), fail, "2 pay transactions and 0 payments that osaka-mysql-1 lacks, and follows it without an error"},
		{"and it does not follow", compared(had+","+newServer+":1", false), fail, "does not follow it"},
		{"a row of its own, by no transaction", compared(had, true, "payment-1"), fail, "0 pay transactions and 1 payments"},
		{"it follows nobody", compared(had, false), open, "comparisons of a replica: 0 of at least 1"},
		{"a set that is none", compared("x", true), open, ""},
		{"nobody compared", &history.Run{}, open, "comparisons of a replica"},
	})
}

func TestGate(t *testing.T) {
	names := []string{"errant transactions", "binlog purged", "replication lag", "content differs", "hints pending", "ring not whole", "parameters", "app version"}
	read := func(planted string, violated ...string) history.GateData {
		g := history.GateData{From: "tokyo", To: "osaka", Planted: planted, Violated: violated}
		for _, n := range names {
			c := history.GateCondition{Name: n, Holds: true, Saw: "as it must be"}
			for _, v := range violated {
				if v == n {
					c.Holds, c.Saw = false, "as it must not be"
				}
			}
			g.Conditions = append(g.Conditions, c)
		}
		return g
	}
	ready := read("")
	all := func(without string, instead ...any) *history.Run {
		data := []any{ready}
		for _, n := range names {
			if n != without {
				data = append(data, read(n, n))
			}
		}
		return marked(t, history.KindGate, append(data, instead...)...)
	}
	short := read("")
	short.Conditions = short.Conditions[:7]
	judgedTable(t, check.Gate, []judged{
		{"each violation by its name", all(""), pass, "1 ready worlds accepted, 8 of 8 planted violations refused by their names"},
		{"nothing was planted", marked(t, history.KindGate, ready), pass, "1 ready worlds accepted"},
		{"one was not planted", all("parameters"), open, "planted violations refused by name: 7 of at least 8"},
		{"one was not seen", all("parameters", read("parameters")), fail, `"parameters" was planted, and the gate did not see it: it refused by nothing`},
		{"by another name only", all("parameters", read("parameters", "app version")), fail, "it refused by app version"},
		{"by another name as well", all("parameters", read("parameters", "parameters", "app version")), fail, `the gate also refused by "app version" (parameters: as it must not be; app version: as it must not be)`},
		{"what a purged log brings with it", all("binlog purged", read("binlog purged", "binlog purged", "replication lag", "content differs")), pass, ""},
		{"what a dead node brings with it", all("ring not whole", read("ring not whole", "content differs", "hints pending", "ring not whole")), pass, ""},
		{"hints bring no dead node with them", all("hints pending", read("hints pending", "hints pending", "ring not whole")), fail, "ring not whole"},
		{"a ready world was refused", marked(t, history.KindGate, read("", "content differs")), fail, "a world that is ready was refused by content differs (content differs: as it must not be)"},
		{"the gate forgot a condition", marked(t, history.KindGate, short), fail, "the gate read 7 conditions, expected 8"},
		{"no ready world was shown to it", marked(t, history.KindGate, read("parameters", "parameters")), open, "ready worlds accepted: 0 of at least 1"},
		{"nobody read it", &history.Run{}, open, ""},
	})
	r := check.Gate(all(""))
	if r.Numbers[check.GatePlanted].Lower != 8 || r.Numbers[check.GateRefused].Lower != 8 || r.Numbers[check.GateAccepted].Lower != 1 {
		t.Errorf("%v", r.Numbers)
	}
}

// TestGateAlone: a drill that only reads the gate needs no procedure and no switch as evidence; one that calls itself calm and reads
// no gate needs both.
func TestGateAlone(t *testing.T) {
	gate := func(r *history.Run) {
		r.Meta.Calm, r.Journal = true, nil
		r.Marks = append(r.Marks, marked(t, history.KindGate, history.GateData{}).Marks...)
	}
	missing := func(run *history.Run, name, what string) bool {
		for _, r := range check.Judge(run).Results {
			if r.Check == name && strings.Contains(strings.Join(r.Missing, " "), what) {
				return true
			}
		}
		return false
	}
	calm := bent(func(r *history.Run) { r.Meta.Calm, r.Journal = true, nil })
	alone := bent(gate)
	for name, what := range map[string]string{check.NameNothingLost: "planned switchovers", check.NameProcedure: ""} {
		if !missing(calm, name, what) {
			t.Errorf("%s: a calm drill without a procedure is not asked for %q", name, what)
		}
		if missing(alone, name, what) {
			t.Errorf("%s: a drill of the gate alone is asked for %q", name, what)
		}
	}
}
