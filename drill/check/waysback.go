package check

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// Names of the checks about the way back; judged where the drill has such evidence.
const (
	NameSalvage = "salvage"             // nothing that only one server had was thrown away unsaved
	NameErrant  = "errant transactions" // no replica has what its source lacks
	NameGate    = "readiness gate"      // it refused every planted violation by its name, and accepted a world that is ready
)

// waysBack are the checks for which a run has evidence.
func waysBack(run *history.Run) []Result {
	var out []Result
	if len(wipes(run)) > 0 || slices.ContainsFunc(run.Procedures(), empties) {
		out = append(out, Salvaged(run))
	}
	if has(run, history.KindDatabases) {
		out = append(out, Errant(run))
	}
	if has(run, history.KindGate) {
		out = append(out, Gate(run))
	}
	return out
}

// decoded reads the data of a mark.
func decoded[T any](m history.Mark) (data T, err error) {
	if err := json.Unmarshal(m.Data, &data); err != nil {
		return data, fmt.Errorf("read mark %s %q: %w", m.Kind, m.Name, err)
	}
	return data, nil
}

func has(run *history.Run, kind string) bool {
	return slices.ContainsFunc(run.Marks, func(m history.Mark) bool { return m.Kind == kind })
}

// Keys of the notes that an operator puts down before a database's data are thrown away.
const (
	noteWiped    = "wiped"
	noteExecuted = "wiped_executed"
	noteServing  = "serving"
	noteSalvaged = "salvaged"
	noteSavedPay = "salvaged_transactions"
)

// What the confirm of a whole rebuild tells of its salvage, where a person did it, whose own notes are in no journal.
const (
	rebuilds    = "mysql.rebuild"
	sawSalvage  = "salvage"
	sawServer   = "server"
	sawSavedPay = "transactions.ndjson" // how many rows that file has
)

// globalDatabase is how the names of procedures begin that form the global database again.
const globalDatabase = "global-database"

// empties says whether a procedure that has ended has emptied a database on its way.
func empties(p history.ProcedureRun) bool {
	return p.Ended && !p.Undone && (strings.HasPrefix(p.Name, preparation) || strings.HasPrefix(p.Name, globalDatabase))
}

// wipes are the notes of data that were about to be thrown away.
func wipes(run *history.Run) []history.Entry { return wipesOf(run.Journal) }

func wipesOf(journal []history.Entry) []history.Entry {
	var out []history.Entry
	for _, e := range journal {
		_, wiped := e.Saw[noteWiped]
		_, database := e.Saw[noteExecuted] // a Cassandra node that is emptied is noted under the same word
		if wiped && database && e.Kind == history.EntryNote {
			out = append(out, e)
		}
	}
	return out
}

// wiped is a database whose data were thrown away.
type wiped struct {
	entry history.Entry
	uuid  any
	only  history.GTIDSet // what it had and the serving one lacked
	saved history.GTIDSet // what the salvage says that it holds
	rows  int64           // pay transactions in the salvage's file; below 0: nobody says
}

// wipedOf reads the notes of a run. A rebuild that a person did is known by its confirm, which tells of the salvage, and by what was
// read of the lost region when it returned: whatever of that nobody has at the end, its database alone had. Its confirm is read again
// by every operator who comes back: the first one counts.
func wipedOf(run *history.Run) ([]wiped, error) {
	var out []wiped
	for _, e := range wipes(run) {
		sets, err := setsOf(e, noteExecuted, noteServing, noteSalvaged)
		if err != nil {
			return nil, err
		}
		x := wiped{e, e.Saw[noteWiped], sets[0].Subtract(sets[1]), sets[2], -1}
		if n, ok := e.SawNumber(noteSavedPay); ok {
			x.rows = n
		}
		out = append(out, x)
	}
	old, now := run.Evidence.OldLedger, run.Evidence.Ledger
	for _, p := range run.Procedures() {
		if old == nil || now == nil || !empties(p) || len(wipesOf(p.Entries)) > 0 {
			continue
		}
		for _, e := range p.Entries {
			told, ok := e.Saw[sawSalvage].(map[string]any)
			if !ok || e.Verb != rebuilds || e.Kind != history.EntryConfirm && e.Kind != history.EntryAlready {
				continue
			}
			read := history.Entry{Saw: map[string]any{noteExecuted: old.Executed, noteServing: now.Executed, noteSalvaged: told[noteSalvaged]}}
			sets, err := setsOf(read, noteExecuted, noteServing, noteSalvaged)
			if err != nil {
				return nil, err
			}
			x := wiped{e, told[sawServer], sets[0].Subtract(sets[1]), sets[2], -1}
			if n, ok := (history.Entry{Saw: told}).SawNumber(sawSavedPay); ok {
				x.rows = n
			}
			out = append(out, x)
			break
		}
	}
	return out, nil
}

// setsOf reads GTID sets that an entry saw. What it did not see is empty.
func setsOf(e history.Entry, keys ...string) ([]history.GTIDSet, error) {
	var out []history.GTIDSet
	for _, key := range keys {
		text, _ := e.SawText(key)
		if text == "none" {
			text = ""
		}
		set, err := history.ParseGTIDSet(text)
		if err != nil {
			return nil, fmt.Errorf("%s of the wiped server: %w", key, err)
		}
		out = append(out, set)
	}
	return out, nil
}

// Salvaged judges whether a returned region's database was saved before it was emptied: of the transactions that it had and the serving
// one lacked, none may be missing in the salvage, and the file of pay transactions must hold as many. Pay transactions are acknowledged
// payments; any other is data all the same. Of a region that was lost under load and has returned, its database alone had some.
func Salvaged(run *history.Run) Result {
	all, err := wipedOf(run)
	if err != nil {
		return Undecided(NameSalvage, err.Error())
	}
	var wrong []Finding
	var had, saved int64
	for _, x := range all {
		pay := x.only.Count("pay")
		had += pay
		switch left := x.only.Subtract(x.saved); {
		case !left.Empty():
			wrong = append(wrong, finding(x.entry, "step %s threw server %v away with %d pay transactions that nobody else has and nobody saved: %s",
				x.entry.Step, x.uuid, left.Count("pay"), left))
		case x.rows >= 0 && x.rows < pay:
			wrong = append(wrong, finding(x.entry, "step %s threw server %v away with %d pay transactions that nobody else has, and the salvage's file holds %d",
				x.entry.Step, x.uuid, pay, x.rows))
		default:
			saved += pay
		}
	}
	says := fmt.Sprintf("%d databases were emptied, %d pay transactions that nobody else had were saved before", len(all), saved)
	if len(wrong) > 0 {
		says = wrong[0].What
	}
	evidence := []Counter{{"databases emptied", int64(len(all)), 1}}
	if _, back := run.Return(); back {
		evidence = append(evidence, Counter{"pay transactions that only the emptied databases had", had, 1})
	}
	return Conclude(NameSalvage, says, len(wrong) > 0, evidence, wrong)
}

// Errant judges whether a replica has transactions or rows that its source lacks. MySQL follows with them as well, and says nothing.
func Errant(run *history.Run) Result {
	var wrong []Finding
	var compared, rows int64
	for _, m := range run.Marks {
		if m.Kind != history.KindDatabases {
			continue
		}
		d, err := decoded[history.DatabasesData](m)
		if err != nil {
			return Undecided(NameErrant, err.Error())
		}
		follower, err := history.ParseGTIDSet(d.Executed)
		if err != nil {
			return Undecided(NameErrant, err.Error())
		}
		source, err := history.ParseGTIDSet(d.SourceExecuted)
		if err != nil {
			return Undecided(NameErrant, err.Error())
		}
		if only := follower.Subtract(source); !only.Empty() || len(d.Keys) > 0 {
			how := "does not follow it"
			if d.Following {
				how = "follows it without an error"
			}
			wrong = append(wrong, Finding{What: fmt.Sprintf("%s has %d pay transactions and %d payments that %s lacks, and %s: %s",
				d.Follower, only.Count("pay"), len(d.Keys), d.Source, how, only), Keys: d.Keys, T: int64(m.T)})
		}
		if d.Following {
			compared, rows = compared+1, rows+int64(d.Payments)
		}
	}
	says := fmt.Sprintf("%d comparisons of %d payments: no replica has what its source lacks", compared, rows)
	if len(wrong) > 0 {
		says = wrong[0].What
	}
	return Conclude(NameErrant, says, len(wrong) > 0, []Counter{{"comparisons of a replica", compared, 1}, {"payments", rows, 1}}, wrong)
}

// Numbers of the readiness gate's result.
const (
	GateAccepted = "accepted" // worlds that were ready
	GatePlanted  = "planted"  // violations that a drill which plants any must plant
	GateRefused  = "refused"  // of them, by their names
)

// conditions of the gate, each of which a drill that plants violations must plant.
const conditions = 8

// follows are the conditions that a violation brings with it: a replica that cannot get its transactions also lags, one that lags also
// differs, and a node that nobody sees gets hints and no rows.
func follows(planted string) []string {
	switch planted {
	case "binlog purged":
		return []string{"replication lag", "content differs"}
	case "replication lag":
		return []string{"content differs"}
	case "ring not whole":
		return []string{"hints pending", "content differs"}
	case "hints pending":
		return []string{"content differs"} // that is what the hints carry
	}
	return nil
}

// Gate judges the readiness gate: a world that is ready is accepted, and every violation that was planted is refused, by its name and by
// no other that it does not bring with it.
func Gate(run *history.Run) Result {
	var wrong []Finding
	var accepted int64
	refused := map[string]bool{}
	var planted bool
	for _, m := range run.Marks {
		if m.Kind != history.KindGate {
			continue
		}
		g, err := decoded[history.GateData](m)
		if err != nil {
			return Undecided(NameGate, err.Error())
		}
		bad := func(format string, a ...any) {
			wrong = append(wrong, Finding{What: fmt.Sprintf(format, a...), T: int64(m.T)})
		}
		switch {
		case len(g.Conditions) != conditions:
			bad("the gate read %d conditions, expected %d", len(g.Conditions), conditions)
		case g.Planted == "" && len(g.Violated) > 0:
			bad("a world that is ready was refused by %s%s", strings.Join(g.Violated, ", "), sawOf(g))
		case g.Planted == "":
			accepted++
		case !slices.Contains(g.Violated, g.Planted):
			bad("%q was planted, and the gate did not see it: it refused by %s", g.Planted, or(strings.Join(g.Violated, ", "), "nothing"))
		default:
			for _, v := range g.Violated {
				if v != g.Planted && !slices.Contains(follows(g.Planted), v) {
					bad("%q was planted, and the gate also refused by %q%s", g.Planted, v, sawOf(g))
				}
			}
			refused[g.Planted] = true
		}
		planted = planted || g.Planted != ""
	}
	evidence := []Counter{{"ready worlds accepted", accepted, 1}}
	says := fmt.Sprintf("%d ready worlds accepted", accepted)
	if planted {
		evidence = append(evidence, Counter{"planted violations refused by name", int64(len(refused)), conditions})
		says += fmt.Sprintf(", %d of %d planted violations refused by their names", len(refused), conditions)
	}
	if len(wrong) > 0 {
		says = wrong[0].What
	}
	r := Conclude(NameGate, says, len(wrong) > 0, evidence, wrong)
	r.Numbers = map[string]Interval{GateAccepted: exactly(int(accepted), "worlds")}
	if planted {
		r.Numbers[GatePlanted] = exactly(conditions, "violations")
		r.Numbers[GateRefused] = exactly(len(refused), "violations")
	}
	return r
}

// sawOf says what the conditions that did not hold were read as.
func sawOf(g history.GateData) string {
	var out []string
	for _, c := range g.Conditions {
		if !c.Holds {
			out = append(out, c.Name+": "+c.Saw)
		}
	}
	return " (" + strings.Join(out, "; ") + ")"
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
