package historytest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// links that the loss of Tokyo cuts, in their declared order.
var links = []string{
	"tokyo>osaka/mysql", "osaka>tokyo/mysql", "tokyo>osaka/cassandra", "osaka>tokyo/cassandra",
	"outside>tokyo/http", "tokyo>outside/http", "tokyo>outside/acquirer", "outside>tokyo/acquirer",
}

// world writes phases, fault, attestations, decision and persons.
func (m *model) world() {
	for _, p := range []struct {
		d    time.Duration
		name string
	}{
		{0, history.PhaseWorldUp}, {Load, history.PhaseLoad}, {Steady, history.PhaseSteady}, {Fault, history.PhaseFault},
		{Procedure, history.PhaseProcedure}, {After, history.PhaseAfter}, {LoadEnd, history.PhaseLoadEnd},
		{LoadEnd + 100*time.Millisecond, history.PhaseFinal}, {60 * time.Second, history.PhaseEvidence},
		{66 * time.Second, history.PhaseDown}, {70 * time.Second, history.PhaseEnd},
	} {
		m.mark(p.d, history.KindPhase, p.name, nil)
	}
	m.mark(CutAll+60*time.Millisecond, history.KindFault, "tokyo is lost", history.FaultData{
		Action: "inject", Targets: append(slices.Clone(links), "tokyo-mysql-1", "tokyo-cassandra-1", "tokyo-app-1", "tokyo-app-2"),
		Began: m.at(Fault), Done: m.at(CutAll + 60*time.Millisecond), Cut: m.at(CutAll),
	})
	for i, link := range links {
		d := time.Duration(i) * time.Millisecond
		m.mark(Fault-time.Second+d, history.KindAttest, link, history.AttestData{
			Link: link, When: "before", Declared: "open", Old: "open", New: "open", RTT: history.Duration(9 * time.Millisecond), Agrees: true,
		})
		m.mark(CutAll+200*time.Millisecond+d, history.KindAttest, link, history.AttestData{
			Link: link, When: "during", Declared: "cut", Old: "cut", New: "cut", Agrees: true,
		})
	}
	m.mark(Decision, history.KindDecision, "switch over", history.PersonData{Who: "person in charge", Did: "decided to switch over"})
	m.mark(DNS, history.KindPerson, "8", history.PersonData{
		Who: "person on duty", Did: "changed the DNS records",
		Records: []string{"api", "www", "admin", "notify", "campaign"}, Young: []string{"campaign"},
	})
}

// samples writes what the drill samples while it runs: the received set, the lag and the snapshots.
func (m *model) samples() {
	for d := Load; d < LoadEnd; d += 100 * time.Millisecond {
		received, executed := "", m.executed(d)
		if d < Detached {
			received = m.received(d)
		}
		m.mark(d, history.KindReceived, "osaka-mysql-1", history.ReceivedData{Node: "osaka-mysql-1", Received: received, Executed: executed})
		if d < Fault {
			m.mark(d, history.KindLag, "osaka-mysql-1", history.LagData{Node: "osaka-mysql-1", Lag: history.Duration(Lag + m.ms(0, 60))})
		}
	}
	for d := Load; d < LoadEnd; d += 500 * time.Millisecond {
		node := "tokyo-mysql-1"
		if d >= Fault {
			node = "osaka-mysql-1"
		}
		m.mark(d, history.KindSnapshot, node, m.snapshot(node, d))
	}
}

// reached is the last instant of which Tokyo's commits had been received by Osaka at d.
func reached(d time.Duration) time.Duration { return min(d, CutOsaka) - Lag }

func (m *model) received(d time.Duration) string {
	return gtids(m.tokyo, m.at(reached(d)))
}

// executed is Osaka's gtid_executed: what it received and what it committed itself.
func (m *model) executed(d time.Duration) string {
	return strings.Trim(m.received(d)+","+gtids(m.osaka, m.at(d)), ",")
}

// gtids prints the set of a site's own commits until t.
func gtids(s site, t history.Instant) string {
	var tags []string
	for tag := range s.times {
		if s.until(tag, t) > 0 {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	var b strings.Builder
	for _, tag := range tags {
		if b.Len() == 0 {
			b.WriteString(s.uuid)
		}
		fmt.Fprintf(&b, ":%s:1-%d", tag, s.until(tag, t))
	}
	return b.String()
}

// payments are the DONE rows that a site's MySQL shows at d.
func (m *model) payments(node string, d time.Duration) []history.PaymentRow {
	rows := map[string]history.PaymentRow{}
	until := m.at(d)
	if node == "osaka-mysql-1" {
		until = m.at(reached(d))
		for _, c := range m.osaka.commits {
			if c.tag == "pay" && c.t <= m.at(d) {
				rows[c.key] = history.PaymentRow{Key: c.key, State: "DONE", Yen: c.yen, Epoch: m.osaka.epoch}
			}
		}
	}
	for _, c := range m.tokyo.commits {
		if c.tag == "pay" && c.t <= until {
			rows[c.key] = history.PaymentRow{Key: c.key, State: "DONE", Yen: c.yen, Epoch: m.tokyo.epoch}
		}
	}
	out := make([]history.PaymentRow, 0, len(rows))
	for _, r := range rows {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b history.PaymentRow) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

func (m *model) snapshot(node string, d time.Duration) history.SnapshotData {
	done := m.tokyo.until("pay", m.at(d))
	if node == "osaka-mysql-1" {
		done = m.tokyo.until("pay", m.at(reached(d))) + m.osaka.until("pay", m.at(d))
	}
	return history.SnapshotData{
		Node: node, Accounts: Accounts, Balance: Accounts * Opening, Constant: Accounts * Opening, Entries: 2 * done,
	}
}

// evidence is what was read after the load stopped.
func (m *model) evidence() {
	const end = LoadEnd + 3*time.Second
	e := &m.run.Evidence
	e.Quiescence = &history.Quiescence{Agreed: true, Reads: 2, Apart: history.Duration(2100 * time.Millisecond)}
	e.Ledger = &history.LedgerRows{
		Node: "osaka-mysql-1", T: m.at(end), Executed: m.executed(end), Payments: m.payments("osaka-mysql-1", end),
		Snapshot: m.snapshot("osaka-mysql-1", end),
	}
	e.API = slices.Clone(e.Ledger.Payments)
	e.OldLedger = &history.LedgerRows{
		Node: "tokyo-mysql-1", T: m.at(62 * time.Second), Executed: gtids(m.tokyo, m.at(end)), Payments: m.payments("tokyo-mysql-1", end),
		Snapshot: m.snapshot("tokyo-mysql-1", end),
	}
	for _, c := range m.tokyo.commits {
		if c.tag == "pay" {
			e.OldLedger.Transactions = append(e.OldLedger.Transactions, history.Transaction{
				GTID: fmt.Sprintf("%s:pay:%d", TokyoUUID, c.n), Key: c.key,
			})
		}
	}
	// Cassandra's hints are no help after a cut: what had not crossed in 20 ms is gone.
	journal, old := map[string]history.EventRow{}, map[string]history.EventRow{}
	for _, x := range m.events {
		if !x.osa {
			old[x.row.Key] = x.row
		}
		if _, first := journal[x.row.Key]; !first && (x.osa || x.t.Add(20*time.Millisecond) < m.at(CutOsaka)) {
			journal[x.row.Key] = x.row
		}
	}
	e.Journal = &history.JournalRows{Node: "osaka-cassandra-1", T: m.at(end), Events: eventRows(journal)}
	e.OldJournal = &history.JournalRows{Node: "tokyo-cassandra-1", T: m.at(62 * time.Second), Events: eventRows(old)}
	e.Charges = slices.Clone(m.charges)
	slices.SortStableFunc(e.Charges, func(a, b history.Charge) int { return cmp.Compare(a.T, b.T) })
	e.Facts = facts()
}

// facts are the end facts that the model states and finds.
func facts() map[string]string {
	return map[string]string{
		"mysql primary": "osaka", "mysql osaka writable": "true", "mysql osaka replicates": "false", "epoch": "2",
		"links between regions": "denied", "parameters osaka": "after start", "dns": "osaka", "batch osaka": "enabled",
		"apps osaka": "2", "on-premises": "started",
	}
}

func eventRows(rows map[string]history.EventRow) []history.EventRow {
	out := make([]history.EventRow, 0, len(rows))
	for _, r := range rows {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b history.EventRow) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// load writes the account of each stream's schedule.
func (m *model) load() { m.run.Marks = append(m.run.Marks, loads(m.run.Operations, m.at(LoadEnd))...) }

func loads(ops []history.Operation, at history.Instant) (out []history.Mark) {
	rates := map[string]float64{
		history.StreamPayment: 50, history.StreamProbe: 100, history.StreamRepeat: 5,
		history.StreamCanary + ":tokyo-mysql-1": 20, history.StreamCanary + ":osaka-mysql-1": 20,
	}
	for _, stream := range slices.Sorted(maps.Keys(rates)) {
		l := history.LoadData{Rate: rates[stream]}
		var last history.Instant
		for _, op := range ops {
			if name := op.Stream + ":" + op.Node; op.Stream != stream && (op.Stream != history.StreamCanary || name != stream) {
				continue
			}
			l.Records++
			l.Wire += op.Wire
			if op.Attempt > 1 {
				l.Retries++
			} else {
				l.Slots++
			}
			late := history.Duration(op.Sent.Sub(op.Intended))
			l.LatenessP99, l.LatenessMax = max(l.LatenessP99, late), max(l.LatenessMax, late)
			if last != 0 {
				l.MaxGap = max(l.MaxGap, history.Duration(op.Sent.Sub(last)))
			}
			last = op.Sent
		}
		out = append(out, mark(at, history.KindLoad, stream, l))
	}
	return out
}

func mark(t history.Instant, kind, name string, data any) history.Mark {
	k := history.Mark{T: t, Kind: kind, Name: name}
	if data != nil {
		b, err := json.Marshal(data)
		if err != nil {
			panic("historytest: " + err.Error()) // plain structs always marshal
		}
		k.Data = b
	}
	return k
}
