package check

import (
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// Unreplicated judges the acknowledged payments that the lost site had and the survivor never received: asynchronous
// replication loses them, and the RPO target says how many, and how old. It also holds the databases' own account against the
// rows: the pay transactions that one site executed and the other did not must be exactly as many as the payments that are DONE
// in one and not in the other. Where they are not, the evidence contradicts itself.
func Unreplicated(run *history.Run) Result { return unreplicated(run, measure(objective.Raw(run))) }

func unreplicated(run *history.Run, m measures) Result {
	l, err := m.ledger()
	if err != nil {
		return Undecided(NameUnreplicated, err.Error())
	}
	o := objective.WithDefaults(run.Meta.Objectives)
	maxCount, maxAge := max(0, o.Loss.MaxCount), max(0, o.Loss.MaxAge.D())
	evidence := lossEvidence(run, l)
	evidence = append(evidence,
		Counter{"replication lag before the cut, ms", lagBefore(run, l.Cut).Milliseconds(), max(0, o.LagMin.D()).Milliseconds()},
		Counter{"the databases' own account", b2i(l.Accounts.Known), 1},
	)

	failed := false
	var findings []Finding
	numbers := map[string]Interval{}
	for _, s := range []objective.Store{l.MySQL, l.Cassandra} {
		lost := s.Of(objective.Unreplicated)
		age := objective.Age(lost, l.Cut)
		if f, ok := lossFinding(run, l, s, lost); ok {
			findings = append(findings, f)
		}
		if len(lost) > maxCount || age > maxAge {
			failed = true
		}
		numbers[s.Name+" lost"] = exactly(len(lost), "payments")
		numbers[s.Name+" yen"] = Interval{float64(objective.Yen(lost)), float64(objective.Yen(lost)), "yen"}
		numbers[s.Name+" age of the oldest"] = Interval{age.Seconds(), age.Seconds(), "s"}
		numbers[s.Name+" holes"] = exactly(len(s.Holes), "payments")
	}
	// MySQL replicates in the order of commits: what was acknowledged before something that arrived was committed before it.
	lostAs := map[string]objective.Class{}
	for _, x := range l.MySQL.Lost {
		lostAs[x.Key] = x.Class
	}
	for _, h := range l.MySQL.Holes {
		if lostAs[h.Lost] == objective.Unreplicated {
			failed = true
			findings = append(findings, Finding{What: fmt.Sprintf("a hole in mysql's order: %s was lost, and %s, sent after it had been acknowledged, was kept", h.Lost, h.Kept)})
		}
	}
	if n := len(l.Zombies); n > 0 {
		findings = append(findings, Finding{What: fmt.Sprintf("%d payments were acknowledged by %s after the cut", n, run.Meta.Active), T: int64(l.Zombies[0].Finished)})
	}
	numbers["acknowledged"] = exactly(l.Acked, "payments")
	numbers["unknown outcomes"] = exactly(l.Unknown, "payments")
	numbers["gtids missing"] = exactly(int(l.Accounts.GTIDs), "transactions")
	numbers["rows missing"] = exactly(int(l.Accounts.Rows), "payments")

	mysql, cassandra := l.MySQL.Of(objective.Unreplicated), l.Cassandra.Of(objective.Unreplicated)
	says := fmt.Sprintf("mysql %s, cassandra %s of %d acknowledged payments never left %s (target ≤ %d, ≤ %s)",
		losing(mysql, l.Cut), losing(cassandra, l.Cut), l.Acked, run.Meta.Active, maxCount, seconds(maxAge))
	contradiction := l.Accounts.Known && !l.Accounts.Agree()
	if contradiction {
		what := fmt.Sprintf("the databases' own account disagrees: %d pay transactions of %s are not in %s, and %d payments are (%d of them paid again)",
			l.Accounts.GTIDs, run.Meta.Active, run.Meta.Standby, l.Accounts.Rows+int64(len(l.Accounts.Redone)), len(l.Accounts.Redone))
		findings = append(findings, Finding{What: what})
		says = what
	}
	r := Conclude(NameUnreplicated, says, failed, evidence, findings)
	if contradiction && !failed {
		r = Hold(NameUnreplicated, says, evidence, findings, "two accounts that agree")
	}
	r.Contradiction, r.Numbers = contradiction, numbers
	return r
}

// Dropped judges the acknowledged payments that the survivor had received before the cut, and that its new primary lacks:
// received is safe, whoever loses it later did it himself. There must be none.
func Dropped(run *history.Run) Result { return dropped(run, measure(objective.Raw(run))) }

func dropped(run *history.Run, m measures) Result {
	l, err := m.ledger()
	if err != nil {
		return Undecided(NameDropped, err.Error())
	}
	evidence := append(lossEvidence(run, l),
		Counter{"samples of the received set", int64(l.Samples), 10},
		Counter{"samples of it after the cut", int64(l.After), 1},
	)
	lost := l.MySQL.Of(objective.Dropped)
	var findings []Finding
	if f, ok := lossFinding(run, l, l.MySQL, lost); ok {
		findings = append(findings, f)
	}
	says := fmt.Sprintf("none of %d acknowledged payments that %s had received is missing there", l.Acked, run.Meta.Standby)
	if h := holder(run); h != run.Meta.Standby {
		says = fmt.Sprintf("none of %d acknowledged payments that %s had received is missing in %s at the end", l.Acked, run.Meta.Standby, h)
		if len(lost) > 0 {
			says = fmt.Sprintf("%d payments that %s had received are not in %s at the end (must be 0)", len(lost), run.Meta.Standby, h)
		}
	} else if len(lost) > 0 {
		says = fmt.Sprintf("%d payments that %s had received are not in its new primary (must be 0)", len(lost), run.Meta.Standby)
	}
	r := Conclude(NameDropped, says, len(lost) > 0, evidence, findings)
	r.Numbers = map[string]Interval{
		"mysql lost": exactly(len(lost), "payments"),
		"received and not yet applied at the cut": exactly(int(l.Pending), "transactions"),
	}
	return r
}

// NeverDurable judges the acknowledged payments that are in neither site's data: the platform said yes to what it never had.
// There must be none, in either store.
func NeverDurable(run *history.Run) Result { return neverDurable(run, measure(objective.Raw(run))) }

func neverDurable(run *history.Run, m measures) Result {
	l, err := m.ledger()
	if err != nil {
		return Undecided(NameNeverDurable, err.Error())
	}
	var findings []Finding
	n := 0
	numbers := map[string]Interval{}
	for _, s := range []objective.Store{l.MySQL, l.Cassandra} {
		lost := s.Of(objective.NeverDurable)
		n += len(lost)
		numbers[s.Name+" lost"] = exactly(len(lost), "payments")
		if f, ok := lossFinding(run, l, s, lost); ok {
			findings = append(findings, f)
		}
	}
	says := fmt.Sprintf("each of %d acknowledged payments was durable somewhere, in both stores", l.Acked)
	if n > 0 {
		says = fmt.Sprintf("%d acknowledgements are in neither site's data: mysql %d, cassandra %d (must be 0)",
			n, len(l.MySQL.Of(objective.NeverDurable)), len(l.Cassandra.Of(objective.NeverDurable)))
	}
	r := Conclude(NameNeverDurable, says, n > 0, lossEvidence(run, l), findings)
	r.Numbers = numbers
	return r
}

// lossEvidence is what each statement about lost payments needs: something that could have been lost, and all places read.
func lossEvidence(run *history.Run, l objective.Ledger) []Counter {
	o := objective.WithDefaults(run.Meta.Objectives)
	e := run.Evidence
	lost := len(l.MySQL.Lost) + len(l.Cassandra.Lost)
	unclassified := len(l.MySQL.Of(objective.Unclassified)) + len(l.Cassandra.Of(objective.Unclassified))
	return []Counter{
		{"payments acknowledged in the last second before the cut", int64(l.AckedLast), int64(o.Loss.MinAcked)},
		{"stores of " + holder(run) + " read", b2i(e.Ledger != nil) + b2i(e.Journal != nil), 2},
		{"stores of " + run.Meta.Active + " read", b2i(e.OldLedger != nil) + b2i(e.OldJournal != nil), 2},
		{"final reads that agreed", b2i(e.Quiescence != nil && e.Quiescence.Agreed), 1},
		{"lost payments classified", int64(lost - unclassified), int64(lost)},
	}
}

// lossFinding names the lost payments of one store and class.
func lossFinding(run *history.Run, l objective.Ledger, s objective.Store, lost []objective.Loss) (Finding, bool) {
	if len(lost) == 0 {
		return Finding{}, false
	}
	active, standby := run.Meta.Active, run.Meta.Standby
	end, finally := "its new primary", standby
	if h := holder(run); h != standby {
		end, finally = h+"'s primary at the end", h+"'s data at the end"
	}
	where := map[objective.Class]string{
		objective.Unreplicated: fmt.Sprintf("in %s's recovered data, never received by %s", active, standby),
		objective.Dropped:      fmt.Sprintf("received by %s, and not in %s", standby, end),
		objective.NeverDurable: fmt.Sprintf("acknowledged, and neither in %s's recovered data nor in %s", active, finally),
	}[lost[0].Class]
	return Finding{What: s.Name + ": " + where, Keys: objective.Keys(lost), T: int64(lost[0].Acked)}, true
}

// holder is the site whose stores hold the truth at the end of a run in which a site was lost: its successor, or whoever was given
// the work since.
func holder(run *history.Run) string {
	if len(run.Reigns()) > 2 {
		return run.Ruler()
	}
	return run.Meta.Standby
}

// losing prints "14 (¥ 61 400, oldest 0.41 s before the cut)".
func losing(lost []objective.Loss, cut history.Instant) string {
	if len(lost) == 0 {
		return "0"
	}
	return fmt.Sprintf("%s (¥ %s, oldest %.2f s before the cut)", thousands(int64(len(lost))), thousands(objective.Yen(lost)), objective.Age(lost, cut).Seconds())
}

// lagBefore is the longest replication lag that was measured in the two seconds before the cut.
func lagBefore(run *history.Run, cut history.Instant) time.Duration {
	marks, err := history.Marked[history.LagData](run, history.KindLag)
	if err != nil {
		return 0
	}
	var lag time.Duration
	for _, k := range marks {
		if k.T <= cut && k.T > cut.Add(-2*time.Second) {
			lag = max(lag, k.Data.Lag.D())
		}
	}
	return lag
}

func exactly(n int, unit string) Interval { return Interval{float64(n), float64(n), unit} }

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
