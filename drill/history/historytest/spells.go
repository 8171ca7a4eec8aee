package historytest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Spell is a time in which one site serves customers and its MySQL takes writes.
type Spell struct {
	Site        string
	Epoch       int64
	From, Until time.Duration // since the run's origin
}

// Instants of the runs that Planned, TakenBack, ThereAndBack and RoundTrip tell of, since the run's origin. Load and Steady are as in Good.
const (
	HandoverBegin = 24 * time.Second
	HandoverOut   = 26 * time.Second         // customers are shut out of Tokyo
	HandoverIn    = 27500 * time.Millisecond // Osaka, or Tokyo again, takes them
	HandoverEnd   = 29 * time.Second

	Returned         = 50 * time.Second
	PreparationBegin = 54 * time.Second
	PreparationEnd   = 70 * time.Second
	BackBegin        = 74 * time.Second
	BackOut          = 76 * time.Second
	BackIn           = 77700 * time.Millisecond
	BackEnd          = 79 * time.Second
	RebuiltUUID      = "33333333-3333-3333-3333-333333333333" // Tokyo's second MySQL
)

// Planned is the history of a planned switchover under load: no fault, nothing lost.
func Planned(seed uint64) *history.Run {
	return spells(seed, "A planned switchover while customers are paying", 45*time.Second, []Spell{
		{"tokyo", 1, 0, HandoverOut}, {"osaka", 2, HandoverIn, time.Hour},
	}, func(w *world) {
		w.run.Meta.Calm = true
		w.handover("switchover-planned", "osaka", 2, HandoverBegin, HandoverOut, HandoverIn, HandoverEnd)
	})
}

// TakenBack is the history of a planned switchover that fails before it commits, and is taken back.
func TakenBack(seed uint64) *history.Run {
	return spells(seed, "A planned switchover that is taken back", 45*time.Second, []Spell{
		{"tokyo", 1, 0, HandoverOut}, {"tokyo", 1, HandoverIn, time.Hour},
	}, func(w *world) {
		w.run.Meta.Calm, w.run.Meta.TakenBack, w.run.Meta.FactsAsStart = true, true, true
		w.abort("switchover-planned", HandoverBegin, HandoverOut, HandoverIn, HandoverEnd)
	})
}

// ThereAndBack is the history of a planned switchover and a failback in one run.
func ThereAndBack(seed uint64) *history.Run {
	return spells(seed, "There and back", 95*time.Second, []Spell{
		{"tokyo", 1, 0, HandoverOut}, {"osaka", 2, HandoverIn, BackOut}, {"tokyo", 3, BackIn, time.Hour},
	}, func(w *world) {
		w.run.Meta.Calm, w.run.Meta.FactsAsStart = true, true
		w.handover("switchover-planned", "osaka", 2, HandoverBegin, HandoverOut, HandoverIn, HandoverEnd)
		w.handover("failback", "tokyo", 3, BackBegin, BackOut, BackIn, BackEnd)
	})
}

// RoundTrip is the history of a whole round: Tokyo is lost, Osaka takes over, Tokyo returns, is prepared, and is given the work back.
func RoundTrip(seed uint64) *history.Run {
	return spells(seed, "There and back again", 95*time.Second, []Spell{
		{"tokyo", 1, 0, CutAll}, {"osaka", 2, Writable, BackOut}, {"tokyo", 3, BackIn, time.Hour},
	}, func(w *world) {
		w.run.Meta.FactsAsStart, w.run.Meta.Level = true, []string{"failback-preparation", history.WindowReturn}
		w.lose()
		w.procedure("switchover", false, Procedure, After, []row{{"1", "access.deny", nil}, {"2", "mysql.detach", nil}, {"3", "mysql.promote", epoch("osaka", 2)}, {"8", "dns.point", nil}})
		w.mark(Returned, history.KindReturn, "tokyo", nil)
		w.procedure("failback-preparation", false, PreparationBegin, PreparationEnd, []row{{"1", "mysql.rebuild", nil}, {"2", "cassandra.remove", nil}, {"10", "params.set", nil}})
		w.handover("failback", "tokyo", 3, BackBegin, BackOut, BackIn, BackEnd)
	})
}

// world is a platform of which only the writer is known, second by second.
type world struct {
	rand   *rand.Rand
	run    *history.Run
	spells []Spell
	end    time.Duration // of the load
	lost   bool          // the first spell ended with the loss of its site

	paid    []payment // in order of commit
	charges []history.Charge
}

type payment struct {
	t     history.Instant
	key   string
	yen   int64
	epoch int64
	gtid  string
}

func spells(seed uint64, name string, end time.Duration, all []Spell, tell func(*world)) *history.Run {
	m := &model{origin: history.Instant(1000 * time.Second)}
	w := &world{rand: rand.New(rand.NewPCG(seed, 0x7370656c6c73)), spells: all, end: end}
	w.run = &history.Run{Meta: meta(seed, m.origin)}
	w.run.Meta.Name, w.run.Meta.Facts, w.run.Meta.Ended = name, nil, w.at(end+20*time.Second)
	for _, p := range []struct {
		d    time.Duration
		name string
	}{{0, history.PhaseWorldUp}, {Load, history.PhaseLoad}, {Steady, history.PhaseSteady}, {end, history.PhaseLoadEnd}, {end + time.Second, history.PhaseFinal}, {end + 10*time.Second, history.PhaseEnd}} {
		w.mark(p.d, history.KindPhase, p.name, nil)
	}
	tell(w)
	for i, s := range all {
		if i == 0 || s.Epoch != all[i-1].Epoch {
			w.mark(s.From, history.KindReign, s.Site, history.ReignData{Site: s.Site, Epoch: s.Epoch})
		}
	}
	for i, link := range links {
		d := time.Duration(i) * time.Millisecond
		for when, t := range map[string]time.Duration{"before": Steady + 11*time.Second, "after": end - time.Second} {
			w.mark(t+d, history.KindAttest, link, history.AttestData{Link: link, When: when, Declared: "open", Old: "open", New: "open", Agrees: true})
		}
	}
	w.operations()
	w.samples()
	w.evidence()
	slices.SortStableFunc(w.run.Operations, func(a, b history.Operation) int { return cmp.Compare(a.Sent, b.Sent) })
	for i := range w.run.Operations {
		w.run.Operations[i].ID = int64(i + 1)
	}
	w.run.Marks = append(w.run.Marks, loads(w.run.Operations, w.at(end))...)
	slices.SortStableFunc(w.run.Marks, func(a, b history.Mark) int { return cmp.Compare(a.T, b.T) })
	slices.SortStableFunc(w.run.Journal, func(a, b history.Entry) int { return cmp.Compare(a.T, b.T) })
	return w.run
}

func (w *world) at(d time.Duration) history.Instant {
	return history.Instant(1000 * time.Second).Add(d)
}

func (w *world) mark(d time.Duration, kind, name string, data any) {
	w.run.Marks = append(w.run.Marks, mark(w.at(d), kind, name, data))
}

func (w *world) ms(lo, hi float64) time.Duration {
	return time.Duration((lo + (hi-lo)*w.rand.Float64()) * float64(time.Millisecond))
}

// serving is the spell at t.
func (w *world) serving(t history.Instant) (Spell, bool) {
	for _, s := range w.spells {
		if t >= w.at(s.From) && t < w.at(s.Until) {
			return s, true
		}
	}
	return Spell{}, false
}

// each calls f for every slot of a schedule.
func (w *world) each(rate float64, f func(slot int, intended, sent history.Instant)) {
	every := time.Duration(float64(time.Second) / rate)
	slot := 0
	for t := Load; t+every < w.end; t += every {
		intended := w.at(t + time.Duration(w.rand.Int64N(int64(every)/2+1)))
		f(slot, intended, intended.Add(w.ms(0.05, 1.5)))
		slot++
	}
}

func (w *world) operations() {
	var ops []history.Operation
	w.each(50, func(slot int, intended, sent history.Instant) {
		ops = append(ops, history.Operation{Stream: history.StreamPayment, Slot: slot, Attempt: 1, Key: fmt.Sprintf("p-%05d", slot), Yen: 100 * (1 + w.rand.Int64N(90)), Intended: intended, Sent: sent})
	})
	w.each(5, func(slot int, intended, sent history.Instant) {
		yen := 100 * (1 + w.rand.Int64N(90))
		for attempt, wait := range []time.Duration{0, time.Second, 12 * time.Second} {
			if sent.Add(wait) < w.at(w.end) {
				ops = append(ops, history.Operation{Stream: history.StreamRepeat, Slot: slot, Attempt: attempt + 1, Key: fmt.Sprintf("r-%05d", slot), Yen: yen, Intended: intended.Add(wait), Sent: sent.Add(wait)})
			}
		}
	})
	w.each(100, func(slot int, intended, sent history.Instant) {
		ops = append(ops, history.Operation{Stream: history.StreamProbe, Slot: slot, Attempt: 1, Key: fmt.Sprintf("probe-%05d", slot), Intended: intended, Sent: sent})
	})
	slices.SortStableFunc(ops, func(a, b history.Operation) int { return cmp.Compare(a.Sent, b.Sent) })
	done := map[string]bool{}
	count := map[int64]int64{}
	var last history.Instant
	for i := range ops {
		o := &ops[i]
		took := w.ms(6, 18)
		s, up := w.serving(o.Sent)
		if now, still := w.serving(o.Sent.Add(took)); !up || !still || now != s {
			o.Site = s.Site
			if o.Site == "" {
				o.Site = "tokyo"
			}
			refuse(o, w.ms(0.2, 1))
			continue
		}
		o.Site = s.Site
		answer(o, took, s.Epoch, s.Site+"-app-1")
		if o.Stream == history.StreamProbe || done[o.Key] {
			continue
		}
		done[o.Key] = true
		last = max(o.Sent.Add(took*6/10), last+1)
		count[s.Epoch]++
		uuid := map[int64]string{1: TokyoUUID, 2: OsakaUUID, 3: RebuiltUUID}[s.Epoch]
		if s.Epoch == 3 && !w.lost {
			uuid, count[s.Epoch] = TokyoUUID, max(count[s.Epoch], count[1]+1)
		}
		w.paid = append(w.paid, payment{last, o.Key, o.Yen, s.Epoch, fmt.Sprintf("%s:pay:%d", uuid, count[s.Epoch])})
		w.charges = append(w.charges, history.Charge{T: last - 1, Payment: o.Key, Request: "req-" + o.Key, Yen: o.Yen})
	}
	for _, node := range []string{"tokyo-mysql-1", "osaka-mysql-1"} {
		w.each(20, func(slot int, intended, sent history.Instant) {
			o := history.Operation{Stream: history.StreamCanary, Slot: slot, Attempt: 1, Key: fmt.Sprintf("%s-%05d", node[:5], slot), Intended: intended, Sent: sent, Site: node[:5], Node: node}
			took := w.ms(0.8, 3)
			a, up := w.serving(sent)
			b, still := w.serving(sent.Add(took))
			if up && still && a == b && a.Site == o.Site {
				o.Outcome, o.Wire, o.Finished = history.OK, 1, sent.Add(took)
			} else {
				o.Outcome, o.Error, o.Wire, o.Finished = history.Fail, "read-only", 1, sent.Add(took)
			}
			ops = append(ops, o)
		})
	}
	w.run.Operations = ops
}

// crossed says whether a payment outlived the loss of Tokyo.
func (w *world) crossed(p payment) bool {
	return !w.lost || p.epoch != 1 || p.t.Add(Lag) <= w.at(CutOsaka)
}

// executed is the GTID set of the payments until t.
func (w *world) executed(t history.Instant, all bool) string {
	set := history.GTIDSet{}
	from, last := map[string]string{}, map[string]string{}
	for _, p := range w.paid {
		if p.t > t || !all && !w.crossed(p) {
			continue
		}
		uuid := p.gtid[:len(p.gtid)-len(p.gtid[36:])]
		if from[uuid] == "" {
			from[uuid] = p.gtid[len(uuid)+len(":pay:"):]
		}
		last[uuid] = p.gtid[len(uuid)+len(":pay:"):]
	}
	for _, uuid := range slices.Sorted(maps.Keys(from)) {
		s, err := history.ParseGTIDSet(fmt.Sprintf("%s:pay:%s-%s", uuid, from[uuid], last[uuid]))
		if err != nil {
			panic("historytest: " + err.Error())
		}
		set = set.Union(s)
	}
	return set.String()
}

func (w *world) snapshot(t history.Instant, node string) history.SnapshotData {
	n := int64(0)
	for _, p := range w.paid {
		if p.t <= t && (node[:5] == "tokyo" && t < w.at(Returned) || w.crossed(p)) {
			n++
		}
	}
	return history.SnapshotData{Node: node, Accounts: Accounts, Balance: Accounts * Opening, Constant: Accounts * Opening, Entries: 2 * n}
}

func (w *world) samples() {
	for d := Load; d < w.end; d += 100 * time.Millisecond {
		received := ""
		if d < Detached || !w.lost {
			received = w.executed(min(w.at(d), w.at(CutOsaka)).Add(-Lag), true)
		}
		w.mark(d, history.KindReceived, "osaka-mysql-1", history.ReceivedData{Node: "osaka-mysql-1", Received: received, Executed: received})
		if d < Fault {
			w.mark(d, history.KindLag, "osaka-mysql-1", history.LagData{Node: "osaka-mysql-1", Lag: history.Duration(Lag)})
		}
		if s, up := w.serving(w.at(d)); up && d%(500*time.Millisecond) == 0 {
			w.mark(d, history.KindSnapshot, s.Site+"-mysql-1", w.snapshot(w.at(d), s.Site+"-mysql-1"))
		}
	}
}

func (w *world) evidence() {
	e := &w.run.Evidence
	site := w.spells[len(w.spells)-1].Site
	end := w.at(w.end + 3*time.Second)
	e.Quiescence = &history.Quiescence{Agreed: true, Reads: 2, Apart: history.Duration(2100 * time.Millisecond)}
	e.Ledger = &history.LedgerRows{Node: site + "-mysql-1", T: end, Executed: w.executed(end, false), Snapshot: w.snapshot(end, site+"-mysql-1")}
	e.Journal = &history.JournalRows{Node: site + "-cassandra-1", T: end}
	old := history.LedgerRows{Node: "tokyo-mysql-1", T: w.at(Returned), Executed: w.executed(w.at(CutAll), true), Snapshot: w.snapshot(w.at(CutAll), "tokyo-mysql-1")}
	oldEvents := history.JournalRows{Node: "tokyo-cassandra-1", T: w.at(Returned)}
	for _, p := range w.paid {
		row := history.PaymentRow{Key: p.key, State: "DONE", Yen: p.yen, Epoch: p.epoch}
		ev := history.EventRow{Key: p.key, Yen: p.yen, Epoch: p.epoch}
		if w.crossed(p) {
			e.Ledger.Payments = append(e.Ledger.Payments, row)
			e.Journal.Events = append(e.Journal.Events, ev)
		}
		if p.epoch == 1 {
			old.Payments = append(old.Payments, row)
			oldEvents.Events = append(oldEvents.Events, ev)
			old.Transactions = append(old.Transactions, history.Transaction{GTID: p.gtid, Key: p.key})
		}
	}
	if w.lost {
		e.OldLedger, e.OldJournal = &old, &oldEvents
		w.salvage(old.Executed, e.Ledger.Executed)
	}
	e.API, e.Charges = slices.Clone(e.Ledger.Payments), w.charges
	e.StartFacts = facts()
	e.StartFacts["mysql primary"], e.StartFacts["epoch"], e.StartFacts["epoch.site"] = site, "1", site
	e.StartFacts["tokyo.params.epoch"] = "1"
	e.Facts = maps.Clone(e.StartFacts)
	epoch := fmt.Sprint(w.spells[len(w.spells)-1].Epoch)
	e.Facts["epoch"], e.Facts[site+".params.epoch"] = epoch, epoch
}

// salvage tells, where Tokyo's database was rebuilt, that all that it alone had was saved before.
func (w *world) salvage(had, kept string) {
	has, err1 := history.ParseGTIDSet(had)
	serving, err2 := history.ParseGTIDSet(kept)
	if err := cmp.Or(err1, err2); err != nil {
		panic("historytest: " + err.Error())
	}
	only := has.Subtract(serving)
	for i, e := range w.run.Journal {
		if e.Verb == "cassandra.remove" && e.Kind == history.EntryIntent { // a node that is emptied is noted under the same word as a database
			note := e
			note.Kind, note.Saw = history.EntryNote, map[string]any{"wiped": "tokyo-cassandra-1"}
			defer func() { w.run.Journal = slices.Insert(w.run.Journal, i+1, note) }()
		}
		if e.Verb == "mysql.rebuild" && e.Kind == history.EntryConfirm {
			w.run.Journal[i].Saw = map[string]any{"salvage": map[string]any{
				"server": TokyoUUID, "salvaged": only.String(), "transactions.ndjson": float64(only.Count("pay")),
			}}
		}
	}
}

// lose tells of Tokyo's loss, as Good does, and of the links' healing when it returns.
func (w *world) lose() {
	w.lost = true
	w.mark(Fault, history.KindPhase, history.PhaseFault, nil)
	w.mark(CutAll+60*time.Millisecond, history.KindFault, "tokyo is lost", history.FaultData{
		Action: "inject", Targets: append(slices.Clone(links), "tokyo-mysql-1", "tokyo-cassandra-1", "tokyo-app-1"),
		Began: w.at(Fault), Done: w.at(CutAll + 60*time.Millisecond), Cut: w.at(CutAll),
	})
	for _, link := range links {
		w.mark(CutAll+200*time.Millisecond, history.KindAttest, link, history.AttestData{Link: link, When: "during", Declared: "cut", Old: "cut", New: "cut", Agrees: true})
	}
	w.mark(Returned-time.Second, history.KindFault, "tokyo is lost", history.FaultData{Action: "heal", Targets: links})
	w.mark(Decision, history.KindDecision, "switch over", history.PersonData{Who: "person in charge", Did: "decided to switch over"})
}

// row is one step of a procedure, and what its confirm saw.
type row struct {
	step, verb string
	saw        map[string]any
}

func epoch(site string, n int64) map[string]any {
	return map[string]any{history.SawEpoch: float64(n), history.SawEpochSite: site}
}

// procedure journals a run that went well.
func (w *world) procedure(name string, planned bool, from, until time.Duration, rows []row) {
	w.entry(from, name, history.Entry{Kind: history.EntryBegin, Attempt: 1, Planned: planned})
	step := (until - from - 20*time.Millisecond) / time.Duration(len(rows))
	for i, r := range rows {
		at := from + 10*time.Millisecond + time.Duration(i)*step
		w.step(name, r, at, at+step-time.Millisecond)
	}
	w.entry(until, name, history.Entry{Kind: history.EntryEnd})
}

func (w *world) step(name string, r row, from, until time.Duration) {
	e := history.Entry{Step: r.step, Title: r.verb, Verb: r.verb, Attempt: 1, Kind: history.EntryIntent, Budget: history.Duration(time.Minute)}
	w.entry(from, name, e)
	e.Budget, e.Kind = 0, history.EntryAct
	w.entry(until-time.Millisecond, name, e)
	e.Kind, e.Saw = history.EntryConfirm, r.saw
	if e.Saw == nil {
		e.Saw = map[string]any{"holds": true}
	}
	w.entry(until, name, e)
}

func (w *world) entry(d time.Duration, name string, e history.Entry) {
	e.T, e.Procedure, e.Digest, e.Who, e.PID = w.at(d), name, "digest of "+name, "operator", 4242
	w.run.Journal = append(w.run.Journal, e)
}

// handover journals a planned switchover to a site: shut, drained, compared, flipped, opened.
func (w *world) handover(name, to string, n int64, from, out, in, until time.Duration) {
	w.entry(from, name, history.Entry{Kind: history.EntryBegin, Attempt: 1, Planned: true})
	sets := func() map[string]any {
		set := fmt.Sprintf("%s:pay:1-700,\n%s:pay:1-3", TokyoUUID, OsakaUUID)
		return map[string]any{history.SawExecutedFrom: set, history.SawExecutedTo: set}
	}
	w.step(name, row{"1", "app.stop", nil}, from+10*time.Millisecond, out)
	w.step(name, row{"2", "mysql.fence", nil}, out+time.Millisecond, out+200*time.Millisecond)
	w.step(name, row{"3", "mysql.drained", sets()}, out+201*time.Millisecond, out+400*time.Millisecond)
	w.step(name, row{"4", "cassandra.equal", map[string]any{history.SawRows: float64(900), "tokyo": float64(900), "osaka": float64(900)}}, out+401*time.Millisecond, out+700*time.Millisecond)
	w.step(name, row{"5", "mysql.promote", epoch(to, n)}, out+701*time.Millisecond, in-10*time.Millisecond)
	w.step(name, row{"6", "dns.point", nil}, in, until-10*time.Millisecond)
	w.entry(until, name, history.Entry{Kind: history.EntryEnd})
}

// abort journals a planned switchover whose third step fails, and that is taken back.
func (w *world) abort(name string, from, out, in, until time.Duration) {
	w.entry(from, name, history.Entry{Kind: history.EntryBegin, Attempt: 1, Planned: true})
	w.entry(from+time.Millisecond, name, history.Entry{Kind: history.EntryNote, Saw: map[string]any{
		"checks": map[string]any{"1": map[string]any{}, "2": map[string]any{}, "3": map[string]any{}, "4": map[string]any{}}, "undo_checks": map[string]any{"1": map[string]any{}, "2": map[string]any{}},
	}})
	w.step(name, row{"1", "app.stop", nil}, from+10*time.Millisecond, out)
	w.step(name, row{"2", "mysql.fence", nil}, out+time.Millisecond, out+200*time.Millisecond)
	w.entry(out+201*time.Millisecond, name, history.Entry{Kind: history.EntryIntent, Step: "3", Verb: "mysql.drained"})
	w.entry(out+400*time.Millisecond, name, history.Entry{Kind: history.EntryFailed, Step: "3", Verb: "mysql.drained", Error: "osaka does not catch up"})
	w.entry(out+401*time.Millisecond, name, history.Entry{Kind: history.EntryAbort})
	for i, step := range []string{"2", "1"} {
		at := out + 500*time.Millisecond + time.Duration(i)*100*time.Millisecond
		if step == "1" {
			at = in
		}
		for j, kind := range []string{history.EntryIntent, history.EntryAct, history.EntryConfirm} {
			w.entry(at+time.Duration(j)*10*time.Millisecond, name, history.Entry{Kind: history.UndoPrefix + kind, Step: step})
		}
	}
	w.entry(until, name, history.Entry{Kind: history.EntryUndone})
}
