package check

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// Line is one line of a drill's summary.
type Line struct {
	Label string `json:"label"` // out, lost, money, and what failed or could not be said
	Text  string `json:"text"`
}

// Headlines is the summary of a judged drill: how long customers were out, what was lost, whether the money agrees, and then
// every check that did not pass.
func Headlines(run *history.Run, d Drill) []Line {
	m := measure(objective.Raw(run))
	out := []Line{{"out", outLine(run, d, m)}, {"lost", lossLine(run, d, m)}, {"money", moneyLine(d)}}
	if r, ok := d.Get(NameLevelHeld); ok && r.Verdict() == Pass {
		out = slices.Insert(out, 1, Line{"level", strings.TrimPrefix(r.Says, "level held: ")})
	}
	for _, r := range d.Results {
		if r.Verdict() == Fail {
			out = append(out, Line{"FAIL", r.Check + ": " + r.Says})
		}
	}
	for _, r := range d.Results {
		if r.Verdict() == Inconclusive {
			text := r.Check + ": " + r.Says
			if len(r.Missing) > 0 && r.Missing[0] != r.Says {
				text += " (" + strings.Join(r.Missing, "; ") + ")"
			}
			out = append(out, Line{"unknown", text})
		}
	}
	if d.Interrupted != "" {
		out = append(out, Line{"ended", "early: " + d.Interrupted})
	}
	return out
}

func outLine(run *history.Run, d Drill, m measures) string {
	var parts []string
	if !run.Meta.Calm {
		parts = append(parts, recoveryLine(d, m))
	}
	if r, ok := d.Get(NamePlanned); ok {
		parts = append(parts, strings.TrimPrefix(r.Says, "out "))
	}
	if len(parts) == 0 {
		return "no procedure took the work elsewhere"
	}
	return strings.Join(parts, " · ")
}

func recoveryLine(d Drill, m measures) string {
	r, err := m.recovery()
	if err != nil {
		return err.Error()
	}
	if res, ok := d.Get(NameRecovery); ok {
		return strings.TrimPrefix(res.Says, "out ")
	}
	return span(r.Outage)
}

// lossLine is what a lost region took, and what a planned switchover took: nothing, and how that is known.
func lossLine(run *history.Run, d Drill, m measures) string {
	var parts []string
	if !run.Meta.Calm {
		parts = append(parts, lostLine(run, m)+stagesOf(run))
	}
	if r, ok := d.Get(NameNothingLost); ok {
		says := r.Says
		if r.Verdict() == Inconclusive {
			says = NameNothingLost + " not known"
		}
		if len(parts) == 0 {
			says = strings.TrimPrefix(says, "lost ")
		}
		parts = append(parts, says)
	}
	return strings.Join(parts, " · ")
}

// lostLine is "mysql 14 of 3 912 acknowledged payments: 14 unreplicated (¥ 61 400, oldest 0.41 s before the cut), 0 dropped,
// 0 never durable · cassandra 2".
func lostLine(run *history.Run, m measures) string {
	l, err := m.ledger()
	if err != nil {
		return err.Error()
	}
	if !l.MySQL.Known || !l.Cassandra.Known {
		return fmt.Sprintf("not known: the stores were not read; %s payments were acknowledged", thousands(int64(l.Acked)))
	}
	mysql := l.MySQL
	text := fmt.Sprintf("mysql %d of %s acknowledged payments: %d unreplicated", len(mysql.Lost), thousands(int64(l.Acked)), len(mysql.Of(objective.Unreplicated)))
	if lost := mysql.Of(objective.Unreplicated); len(lost) > 0 {
		text += fmt.Sprintf(" (¥ %s, oldest %.2f s before the cut)", thousands(objective.Yen(lost)), objective.Age(lost, l.Cut).Seconds())
	}
	text += fmt.Sprintf(", %d dropped, %d never durable", len(mysql.Of(objective.Dropped)), len(mysql.Of(objective.NeverDurable)))
	if n := len(mysql.Of(objective.Unclassified)); n > 0 {
		text += fmt.Sprintf(", %d not classified", n)
	}
	text += fmt.Sprintf(" · cassandra %d", len(l.Cassandra.Lost))
	if n := len(l.Cassandra.Of(objective.NeverDurable)); n > 0 {
		text += fmt.Sprintf(" (%d never durable)", n)
	}
	return text
}

// stagesOf is " · after replay mysql 3, cassandra 0 · final mysql 0, cassandra 0", where the drill looked at later stages.
func stagesOf(run *history.Run) string {
	if run.Evidence.Reconciliation == nil {
		return ""
	}
	stages, err := objective.LossStages(run)
	if err != nil {
		return " · " + err.Error()
	}
	text := ""
	for _, s := range stages {
		if s.Name == "raw" || !s.Ledger.MySQL.Known || !s.Ledger.Cassandra.Known {
			continue
		}
		text += fmt.Sprintf(" · %s mysql %d, cassandra %d", s.Name, len(s.Ledger.MySQL.Lost), len(s.Ledger.Cassandra.Lost))
	}
	return text
}

// moneyLine is "no double charge · conserved in 61 snapshots · one writer (…) · stores agree but for …".
func moneyLine(d Drill) string {
	var parts []string
	for _, name := range []string{NameDoubleCharge, NameConservation, NameOneWriter, NameStoresAgree, NameReconciled} {
		r, ok := d.Get(name)
		switch {
		case !ok:
		case r.Verdict() == Inconclusive:
			parts = append(parts, name+" not known")
		default:
			says, _, _ := strings.Cut(r.Says, ":")
			parts = append(parts, says)
		}
	}
	return strings.Join(parts, " · ")
}

// thousands prints 61400 as "61 400".
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return sign + s
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
