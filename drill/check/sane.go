package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

const (
	clockLimit = 250 * time.Millisecond // |wall − monotonic| drift beyond what a clock that is being disciplined shows in a drill
	shedShare  = 100                    // at most one slot in so many may be shed
	early      = 5 * time.Millisecond   // rounding between the schedule and the send
)

// Sane judges the harness itself: every slot gave one record and every record at most one wire attempt, no record is missing,
// no clock jumped, and nothing that a client called "certainly not done" is found done. It never fails a drill: a harness that
// is not sane makes it inconclusive. Only the last of these makes the evidence contradict itself.
func Sane(run *history.Run) Result {
	var wrong []Finding
	add := func(format string, args ...any) { wrong = append(wrong, Finding{What: fmt.Sprintf(format, args...)}) }

	for _, name := range run.Truncated {
		if name != history.JournalFile { // a killed operator is no fault of the harness, and often the drill's purpose
			add("%s was cut off in the middle of a record", name)
		}
	}
	for _, k := range run.Marks {
		if k.T < run.Meta.Origin {
			add("mark %s %q is older than the run", k.Kind, k.Name)
			break
		}
	}
	for i, e := range run.Journal {
		if i > 0 && e.T < run.Journal[i-1].T || e.T < run.Meta.Origin {
			add("the journal runs backwards in time at its entry %d (%s)", i+1, e.Kind)
			break
		}
	}

	type count struct{ records, first, retries, wire, shed int }
	counts := map[string]*count{}
	of := func(o history.Operation) *count {
		name := o.Stream
		if name == history.StreamCanary {
			name += ":" + o.Node
		}
		if counts[name] == nil {
			counts[name] = &count{}
		}
		return counts[name]
	}
	var last int64
	var lost, backwards, resent, unsent, futureless int
	keys := map[string]bool{}
	for _, o := range run.Operations {
		c := of(o)
		c.records++
		c.wire += o.Wire
		switch {
		case o.Attempt > 1:
			c.retries++
		default:
			c.first++
		}
		if o.Outcome == history.Shed {
			c.shed++
		}
		lost += int(o.ID - last - 1)
		last = o.ID
		if o.Sent < o.Intended.Add(-early) || o.Finished != 0 && o.Finished < o.Sent || o.Intended < run.Meta.Origin {
			backwards++
		}
		if o.Wire > 1 {
			resent++
		}
		if o.Wire == 0 && o.Outcome == history.OK || o.Outcome == history.OK && o.Finished == 0 {
			unsent++
		}
		if run.Meta.Ended != 0 && (o.Sent > run.Meta.Ended || o.Finished > run.Meta.Ended) {
			futureless++
		}
		if o.Stream == history.StreamPayment {
			if keys[o.Key] {
				add("payment key %s was used by two slots", o.Key)
			}
			keys[o.Key] = true
		}
	}
	for _, n := range []struct {
		n    int
		what string
	}{
		{lost, "%d records of operations are missing"},
		{backwards, "%d operations ran backwards in time"},
		{resent, "%d operations left more than one request on the wire"},
		{unsent, "%d operations were answered without being sent"},
		{futureless, "%d operations are younger than the end of the run"},
	} {
		if n.n != 0 {
			add(n.what, n.n)
		}
	}

	loads, err := history.Marked[history.LoadData](run, history.KindLoad)
	if err != nil {
		return Undecided(NameSane, err.Error())
	}
	var slots, records int64
	accounted := map[string]bool{}
	for _, l := range loads {
		c := counts[l.Name]
		if c == nil {
			c = &count{}
		}
		accounted[l.Name] = true
		slots, records = slots+int64(l.Data.Slots), records+int64(c.records)
		if c.first != l.Data.Slots || c.records != l.Data.Records || c.retries != l.Data.Records-l.Data.Slots {
			add("stream %s: %d slots and %d repetitions gave %d records, and %d were counted",
				l.Name, l.Data.Slots, l.Data.Retries, c.records, l.Data.Records)
		}
		if c.wire != l.Data.Wire {
			add("stream %s: %d requests left the machine, and records tell of %d", l.Name, l.Data.Wire, c.wire)
		}
		if c.shed != l.Data.Shed || c.shed*shedShare > c.records {
			add("stream %s: %d of %d slots were shed, %d were counted: the harness could not keep up", l.Name, c.shed, c.records, l.Data.Shed)
		}
		if l.Data.ClockJump.D() > clockLimit {
			add("stream %s: the wall clock jumped by %v", l.Name, l.Data.ClockJump)
		}
	}
	for name := range counts {
		if !accounted[name] {
			add("stream %s did not account for its schedule", name)
		}
	}
	slices.SortStableFunc(wrong, func(a, b Finding) int { return strings.Compare(a.What, b.What) })

	denied := deniedButDone(run)
	if len(denied) > 0 {
		wrong = append(wrong, Finding{What: fmt.Sprintf("%d payments that were certainly not done, as every client was told, are done", len(denied)), Keys: denied})
	}
	evidence := []Counter{
		{"payments sent", have(counts, history.StreamPayment, func(c *count) int { return c.records - c.shed }), 1},
		{"probes sent", have(counts, history.StreamProbe, func(c *count) int { return c.records - c.shed }), 1},
		{"streams that accounted for their schedule", int64(len(loads)), 2},
	}
	if len(wrong) > 0 {
		r := Hold(NameSane, wrong[0].What, evidence, wrong, fmt.Sprintf("a sane harness (%d findings)", len(wrong)))
		r.Contradiction = len(denied) > 0
		return r
	}
	return Conclude(NameSane, fmt.Sprintf("%d slots gave %d records, one wire attempt each at most; no clock jumped", slots, records), false, evidence, nil)
}

func have[T any](m map[string]*T, name string, f func(*T) int) int64 {
	if c := m[name]; c != nil {
		return int64(f(c))
	}
	return 0
}

// deniedButDone finds keys whose every attempt was answered with proof that nothing was done, and that are DONE.
func deniedButDone(run *history.Run) []string {
	possible, denied := map[string]bool{}, map[string]bool{}
	for _, o := range run.Operations {
		switch {
		case o.Key == "" || o.Stream != history.StreamPayment && o.Stream != history.StreamRepeat:
		case o.Outcome == history.Fail || o.Outcome == history.Shed:
			denied[o.Key] = true
		default:
			possible[o.Key] = true
		}
	}
	var out []string
	for _, rows := range []*history.LedgerRows{run.Evidence.Ledger, run.Evidence.OldLedger} {
		if rows == nil {
			continue
		}
		for _, p := range rows.Payments {
			if p.State == "DONE" && denied[p.Key] && !possible[p.Key] {
				out = append(out, p.Key)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
