package reports

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// binWidth is the resolution of the counts on the time axis.
const binWidth = 250 * time.Millisecond

// timeline is the picture of a run in plain values: everything on one axis, before anything is drawn.
type timeline struct {
	from, to history.Instant // all that is known
	view     interval        // what is shown first: while load ran
	zero     history.Instant // instant that the axis calls 0
	zeroName string

	phases    []span
	faults    []span
	events    []event // decision, cut, persons, operators that started
	attests   []tick
	outages   []outage
	steps     []Step
	runs      []Procedure
	streams   []stream
	served    []lane // acknowledged payments by the site that answered
	canaries  []lane // canaries by site
	lags      []sample
	snapshots []tick
}

type span struct {
	name, title string
	interval
	open bool // it had not ended when the record did
}

// outage is one episode that customers felt, with what is not known of its ends.
type outage struct {
	certain, possible interval
	open              bool // it lasted until the load ended
}

type event struct {
	name, title string
	t           history.Instant
}

type tick struct {
	title string
	t     history.Instant
	good  bool
}

type sample struct {
	t history.Instant
	d time.Duration
}

// stream is one kind of operation: counts over time, and every single latency.
type stream struct {
	name string
	bins []bin
	dots []dot
}

// bin counts outcomes; stale ones failed for customers that ignore the DNS TTL, whom no switchover brings back soon.
type bin struct{ ok, info, fail, stale, shed int }

func (b bin) sum() int { return b.ok + b.info + b.fail + b.stale + b.shed }

type dot struct {
	t       history.Instant // intended
	d       time.Duration   // 0: it never ended
	outcome history.Outcome
}

// lane is one row of ticks, by outcome.
type lane struct {
	name  string
	ticks map[history.Outcome][]history.Instant
}

// readTimeline reads a run into a timeline. It takes any run, an empty one too.
func readTimeline(run *history.Run, steps []Step, runs []Procedure) timeline {
	t := timeline{steps: steps, runs: runs, from: firstInstant(run), to: lastInstant(run)}
	t.zero, t.zeroName = run.Meta.Origin, "start of the run"
	if t.zero == 0 {
		t.zero = t.from
	}
	if cut, ok := run.Cut(); ok {
		t.zero, t.zeroName = cut, "the last link was cut"
	}
	t.readMarks(run)
	t.readOperations(run)
	t.readOutages(run)
	t.readView(run)
	for _, e := range run.Journal {
		switch { // what else befell an operator is told in its procedure's row
		case e.Kind == history.EntryBegin && e.Attempt <= 1:
			t.events = append(t.events, event{"operator", e.Procedure + " begins, by " + e.Who, e.T})
		case e.Kind == history.EntryRefused:
			t.events = append(t.events, event{"refused", e.Error, e.T})
		}
	}
	slices.SortStableFunc(t.events, func(a, b event) int { return cmp.Compare(a.t, b.t) })
	return t
}

func (t *timeline) readMarks(run *history.Run) {
	for _, m := range run.Marks {
		if m.Kind == history.KindPhase {
			if n := len(t.phases); n > 0 && t.phases[n-1].to == 0 {
				t.phases[n-1].to = m.T
			}
			t.phases = append(t.phases, span{name: m.Name, interval: interval{from: m.T}})
		}
	}
	if n := len(t.phases); n > 0 && t.phases[n-1].to == 0 {
		t.phases[n-1].to, t.phases[n-1].open = t.to, true
	}
	t.readFaults(run)
	for i, r := range run.Reigns() {
		if i > 0 {
			t.events = append(t.events, event{r.Site + " reigns", r.Site + " is the writer from here on", r.From})
		}
	}
	if at, ok := run.Return(); ok {
		t.events = append(t.events, event{"return", run.Meta.Active + "'s old processes are started again", at})
	}
	// A mark that cannot be read is the judges' to complain of; the picture shows what there is.
	people, _ := history.Marked[history.PersonData](run, history.KindPerson)
	for _, p := range people {
		t.events = append(t.events, event{personFlag(p.Name), p.Data.Who + ": " + p.Data.Did, p.T})
	}
	decisions, _ := history.Marked[history.PersonData](run, history.KindDecision)
	for _, p := range decisions {
		t.events = append(t.events, event{"decision", "decision, by " + p.Data.Who + ": " + p.Data.Did, p.T})
	}
	attests, _ := history.Marked[history.AttestData](run, history.KindAttest)
	for _, a := range attests {
		t.attests = append(t.attests, tick{a.Data.Link + " " + a.Data.When + " the fault: declared " + a.Data.Declared + ", old connection " + a.Data.Old + ", new connection " + a.Data.New, a.T, a.Data.Agrees})
	}
	lags, _ := history.Marked[history.LagData](run, history.KindLag)
	for _, l := range lags {
		t.lags = append(t.lags, sample{l.T, l.Data.Lag.D()})
	}
	snapshots, _ := history.Marked[history.SnapshotData](run, history.KindSnapshot)
	for _, s := range snapshots {
		good := len(s.Data.Mismatched) == 0 && s.Data.Balance == s.Data.Constant && s.Data.EntrySum == 0
		t.snapshots = append(t.snapshots, tick{s.Data.Node, s.T, good})
	}
}

// personFlag is what a person's act is called in the picture, with the thing it was about where the mark names one.
func personFlag(name string) string {
	if name == "" {
		return "person"
	}
	return "person: " + name
}

func (t *timeline) readFaults(run *history.Run) {
	faults, _ := history.Marked[history.FaultData](run, history.KindFault)
	for _, f := range faults {
		if f.Data.Action == "heal" {
			for i := range t.faults {
				if t.faults[i].name == f.Name && t.faults[i].open {
					t.faults[i].to, t.faults[i].open = f.Data.Done, false
				}
			}
			continue
		}
		s := span{name: f.Name, interval: interval{f.Data.Began, t.to}, open: true}
		if s.from == 0 {
			s.from = f.T
		}
		for i, x := range f.Data.Targets {
			if i > 0 {
				s.title += ", "
			}
			s.title += x
		}
		t.faults = append(t.faults, s)
		if f.Data.Cut != 0 {
			t.events = append(t.events, event{"cut", "last link of the lost site cut", f.Data.Cut})
		}
	}
}

// readOutages asks for the measured outage; a run that it cannot be measured in shows its operations only.
func (t *timeline) readOutages(run *history.Run) {
	add := func(o outage, end history.Instant) {
		if o.open {
			o.possible.to, o.certain.to = end, end
		} else {
			t.events = append(t.events, event{"back", "customers are served again", o.possible.to})
		}
		t.outages = append(t.outages, o)
	}
	if r, err := objective.RecoveryTime(run); err == nil {
		for _, e := range r.Episodes {
			add(outage{certain: interval{e.OnsetUntil, e.EndFrom}, possible: interval{e.OnsetFrom, e.EndUntil}, open: !e.Ended}, r.LoadEnded)
		}
	}
	for _, p := range t.runs {
		for _, o := range p.outage {
			add(o, objective.Next(run, p.window.to))
		}
	}
}

func (t *timeline) readOperations(run *history.Run) {
	byStream := map[string]*stream{}
	served, canaries := map[string]*lane{}, map[string]*lane{}
	put := func(m map[string]*lane, site string, o history.Operation, at history.Instant) {
		if site == "" {
			site = "unknown"
		}
		if m[site] == nil {
			m[site] = &lane{site, map[history.Outcome][]history.Instant{}}
		}
		m[site].ticks[o.Outcome] = append(m[site].ticks[o.Outcome], at)
	}
	for _, o := range run.Operations {
		at := o.Intended
		if at == 0 {
			at = o.Sent
		}
		if o.Stream == history.StreamCanary {
			put(canaries, o.Site, o, at)
			continue
		}
		if o.Outcome == history.OK && o.Stream == history.StreamPayment {
			put(served, o.Site, o, o.Finished)
		}
		s := byStream[o.Stream]
		if s == nil {
			s = &stream{name: o.Stream, bins: make([]bin, t.to.Sub(t.from)/binWidth+1)}
			byStream[o.Stream] = s
		}
		d := dot{t: at, outcome: o.Outcome}
		if o.Finished > at {
			d.d = o.Finished.Sub(at)
		}
		s.dots = append(s.dots, d)
		s.bins[at.Sub(t.from)/binWidth].add(o)
	}
	for _, name := range []string{history.StreamPayment, history.StreamProbe, history.StreamRepeat} {
		if s := byStream[name]; s != nil {
			t.streams = append(t.streams, *s)
			delete(byStream, name)
		}
	}
	t.served, t.canaries = sortLanes(run, served), sortLanes(run, canaries)
}

func (b *bin) add(o history.Operation) {
	switch {
	case o.Outcome == history.OK:
		b.ok++
	case o.Outcome == history.Shed:
		b.shed++
	case o.Stale && o.Outcome == history.Fail:
		b.stale++
	case o.Outcome == history.Fail:
		b.fail++
	default:
		b.info++
	}
}

// sortLanes puts the region that served at the start first.
func sortLanes(run *history.Run, m map[string]*lane) []lane {
	var out []lane
	for _, l := range m {
		out = append(out, *l)
	}
	rank := func(site string) string {
		switch site {
		case run.Meta.Active:
			return "0"
		case run.Meta.Standby:
			return "1"
		}
		return "2" + site
	}
	sort.Slice(out, func(i, j int) bool { return rank(out[i].name) < rank(out[j].name) })
	return out
}

// readView chooses what is shown first: from the load's start to its end, with a little air. Starting servers and reading
// final states take longer than the drill itself and would press it into a corner.
func (t *timeline) readView(run *history.Run) {
	t.view = interval{t.from, t.to}
	if at, ok := run.Phase(history.PhaseLoad); ok {
		t.view.from = at.Add(-time.Second)
	}
	if at, ok := run.Phase(history.PhaseLoadEnd); ok {
		t.view.to = at.Add(time.Second)
	}
	t.view.from, t.view.to = max(t.view.from, t.from), min(t.view.to, t.to)
	if t.view.to <= t.view.from {
		t.view = interval{t.from, t.to}
	}
}

// firstInstant is the earliest thing that a run knows.
func firstInstant(run *history.Run) history.Instant {
	first := run.Meta.Origin
	least := func(t history.Instant) {
		if t != 0 && (first == 0 || t < first) {
			first = t
		}
	}
	for _, o := range run.Operations {
		least(o.Intended)
		least(o.Sent)
	}
	for _, m := range run.Marks {
		least(m.T)
	}
	for _, e := range run.Journal {
		least(e.T)
	}
	return first
}

// lastInstant is the latest one, never before the first.
func lastInstant(run *history.Run) history.Instant {
	last := max(run.Meta.Ended, run.Meta.Origin)
	for _, o := range run.Operations {
		last = max(last, o.Intended, o.Sent, o.Finished)
	}
	for _, m := range run.Marks {
		last = max(last, m.T)
	}
	for _, e := range run.Journal {
		last = max(last, e.T)
	}
	return last
}
