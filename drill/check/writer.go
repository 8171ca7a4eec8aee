package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// minCanaries must have been accepted at the old site before the fault, and at the new one after the switch: canaries that no
// site ever takes prove nothing.
const minCanaries = 20

// OneWriter judges that no two databases ever accepted writes at the same time, over any number of reigns. Canaries are written to
// every MySQL directly, all the time: reading read_only would prove nothing about the moment between two reads. Each accepted one
// proves that its node was writable at some instant between its sending and its answer, each refused one that it was not; between
// two that say the same the node is taken not to have changed. That gives the time for which two were writable as an interval: FAIL
// when its lower end is beyond the limit, PASS when its upper end is not, otherwise INCONCLUSIVE.
//
// Customers' payments say the same without a database: a payment that one site took after its successor had acknowledged its
// first is a zombie acknowledgement, and counts as time for which two sites were writable. Where the scenario promises that there is
// none, one is enough to fail, and somebody must have asked the deposed site at all.
func OneWriter(run *history.Run) Result {
	o := objective.WithDefaults(run.Meta.Objectives)
	limit := max(0, o.DualMax.D())
	end := endOfLoad(run)
	byNode := map[string][]history.Operation{}
	for _, o := range run.Operations {
		if o.Stream == history.StreamCanary && o.Sent <= end && tells(o) {
			byNode[o.Node] = append(byNode[o.Node], o)
		}
	}
	dual, findings := together(run, byNode)
	late, asked := zombieAcks(run)
	zombies := 0
	for _, z := range late {
		zombies += len(z.acks)
		f := Finding{What: fmt.Sprintf("%d payments were acknowledged by %s after %s had acknowledged its first", len(z.acks), z.by(), z.ruler), T: int64(z.acks[0].Finished)}
		for _, a := range z.acks {
			f.Keys = append(f.Keys, a.Key)
			if d := a.Sent.Sub(z.since); d > dual.Lower {
				dual.Lower, dual.Upper = d, max(d, dual.Upper)
			}
		}
		findings = append(findings, f)
	}

	evidence := canaryEvidence(run, byNode)
	if o.NoZombies {
		evidence = append(evidence, Counter{"customers' requests to a deposed site after its successor's first acknowledgement", asked, 1})
	}
	says := fmt.Sprintf("one writer (%d ms dual-writable, limit %d ms)", dual.Upper.Milliseconds(), limit.Milliseconds())
	if dual.Upper > limit {
		says = fmt.Sprintf("two writers for %d – %d ms (limit %d ms)", dual.Lower.Milliseconds(), dual.Upper.Milliseconds(), limit.Milliseconds())
		if zombies > 0 {
			says += fmt.Sprintf(", %d zombie acknowledgements", zombies)
		}
	} else if o.NoZombies && zombies > 0 {
		says = fmt.Sprintf("%d zombie acknowledgements (none is allowed), %d ms dual-writable", zombies, dual.Upper.Milliseconds())
	}
	failed := dual.Lower > limit || o.NoZombies && zombies > 0
	r := Conclude(NameOneWriter, says, failed, evidence, findings)
	if !failed && dual.Upper > limit {
		r = Hold(NameOneWriter, says, evidence, findings, fmt.Sprintf("canaries that tell: they leave %d ms open", dual.Upper.Milliseconds()))
	}
	r.Numbers = map[string]Interval{
		"dual-writable":           {ms(dual.Lower), ms(dual.Upper), "ms"},
		"zombie acknowledgements": exactly(zombies, "payments"),
	}
	return r
}

// tells says whether a canary tells of its server. One that was told busy never asked it: the canary before it was still waiting. One
// that the server had no connection for was turned away before anybody looked whether it may write.
func tells(o history.Operation) bool {
	switch o.Outcome {
	case history.OK:
		return true
	case history.Fail:
		return o.Error != "busy" && o.Error != "too-many-connections"
	}
	return false
}

// together adds up for how long any two nodes accepted canaries at once.
func together(run *history.Run, byNode map[string][]history.Operation) (dual objective.Span, findings []Finding) {
	type node struct {
		site  string
		spans []writable
	}
	var nodes []node
	var last history.Instant
	for _, name := range sortedKeys(byNode) {
		ops := byNode[name]
		slices.SortStableFunc(ops, func(a, b history.Operation) int { return cmp.Compare(a.Sent, b.Sent) })
		last = max(last, ops[len(ops)-1].Finished)
		nodes = append(nodes, node{ops[0].Site, spans(ops)})
	}
	slices.SortStableFunc(nodes, func(a, b node) int { // the site that served at the start is named first
		return cmp.Compare(b2i(a.site != run.Meta.Active), b2i(b.site != run.Meta.Active))
	})
	for _, n := range nodes {
		for i := range n.spans {
			n.spans[i].mayEnd = min(n.spans[i].mayEnd, max(last, n.spans[i].until))
		}
	}
	for i, a := range nodes {
		for _, b := range nodes[i+1:] {
			d, first := overlap(a.spans, b.spans)
			dual = dual.Plus(d)
			if first != 0 {
				findings = append(findings, Finding{T: int64(first), What: fmt.Sprintf("%s and %s both accepted canaries for %d – %d ms",
					a.site, b.site, d.Lower.Milliseconds(), d.Upper.Milliseconds())})
			}
		}
	}
	return dual, findings
}

// canaryEvidence is what one writer needs: canaries that were accepted in every reign; in a run in which nobody else was to reign,
// also some that the other side refused.
func canaryEvidence(run *history.Run, byNode map[string][]history.Operation) []Counter {
	reigns := run.Reigns()
	cut, faulted := run.Cut()
	count := func(site string, outcome history.Outcome, fits func(history.Operation) bool) (n int64) {
		for _, ops := range byNode {
			for _, o := range ops {
				if o.Site == site && o.Outcome == outcome && fits(o) {
					n++
				}
			}
		}
		return n
	}
	always := func(history.Operation) bool { return true }
	switch {
	case len(reigns) > 2:
		var out []Counter
		for i, r := range reigns {
			out = append(out, Counter{fmt.Sprintf("canaries accepted at %s in reign %d", r.Site, i+1),
				count(r.Site, history.OK, func(o history.Operation) bool { return o.Sent >= r.From && o.Finished <= r.Until }), minCanaries})
		}
		return out
	case len(reigns) == 1 && (run.Meta.TakenBack || oneReign(run)):
		return []Counter{
			{"canaries accepted at " + run.Meta.Active, count(run.Meta.Active, history.OK, always), minCanaries},
			{"canaries refused at " + run.Meta.Standby, count(run.Meta.Standby, history.Fail, always), minCanaries},
		}
	}
	return []Counter{
		{"canaries accepted at " + run.Meta.Active + " before the cut",
			count(run.Meta.Active, history.OK, func(o history.Operation) bool { return !faulted || o.Finished <= cut }), minCanaries},
		{"canaries accepted at " + run.Meta.Standby + " after it",
			count(run.Meta.Standby, history.OK, func(o history.Operation) bool { return !faulted || o.Sent >= cut }), minCanaries},
	}
}

// writable is a time in which a site took every canary: certainly from From to Until (one canary alone proves an instant, and
// From may lie after Until), at most from mayBegin to mayEnd, where the neighbouring canaries were refused.
type writable struct{ from, until, mayBegin, mayEnd history.Instant }

// spans cuts one node's canaries, which are in order and were each accepted or refused, into the times in which it was writable.
func spans(ops []history.Operation) (out []writable) {
	for i := 0; i < len(ops); i++ {
		if ops[i].Outcome != history.OK {
			continue
		}
		w := writable{from: ops[i].Finished, mayBegin: ops[0].Sent, mayEnd: 1<<63 - 1}
		if i > 0 {
			w.mayBegin = ops[i-1].Sent
		}
		for i+1 < len(ops) && ops[i+1].Outcome == history.OK {
			i++
		}
		w.until = ops[i].Sent
		if i+1 < len(ops) {
			w.mayEnd = ops[i+1].Finished
		}
		out = append(out, w)
	}
	return out
}

// overlap adds up the times in which both were writable: certainly, and at most. First is the first instant at which they may
// have been; 0 for never.
func overlap(a, b []writable) (dual objective.Span, first history.Instant) {
	for _, x := range a {
		for _, y := range b {
			dual.Lower += max(0, min(x.until, y.until).Sub(max(x.from, y.from)))
			begin := max(x.mayBegin, y.mayBegin)
			if d := min(x.mayEnd, y.mayEnd).Sub(begin); d > 0 {
				dual.Upper += d
				if first == 0 || begin < first {
					first = begin
				}
			}
		}
	}
	return dual, first
}

// zombies are the payments that somebody acknowledged after his successor's first acknowledgement.
type zombies struct {
	ruler string          // whose first acknowledgement it was
	since history.Instant // when
	acks  []history.Operation
}

// by names who acknowledged them.
func (z zombies) by() string {
	var sites []string
	for _, a := range z.acks {
		sites = append(sites, a.Site)
	}
	return strings.Join(slices.Compact(sorted(sites)), " and ")
}

// zombieAcks lists, for every reign but the first, the payments that another site, or an older epoch, acknowledged after the
// reign's first acknowledgement and before the next reign's. It also counts the requests that customers made in that time to the site
// that had reigned before, whatever came of them.
func zombieAcks(run *history.Run) (out []zombies, asked int64) {
	all := run.Reigns()
	reigns := all[1:]
	if len(reigns) == 0 { // nobody was seen to take over; whoever else answers takes over
		reigns = []history.Reign{{Site: run.Meta.Standby}}
	}
	firsts := make([]history.Operation, len(reigns))
	for _, o := range run.Operations {
		if !payment(o) || o.Outcome != history.OK {
			continue
		}
		for i, r := range reigns {
			// One change of reign is told by the site alone: an answer of the new site is an answer of the new reign, whatever it says.
			if o.Site == r.Site && (len(reigns) == 1 || o.Epoch >= r.Epoch) && (firsts[i].Finished == 0 || o.Finished < firsts[i].Finished) {
				firsts[i] = o
			}
		}
	}
	for i, r := range reigns {
		first := firsts[i]
		if first.Finished == 0 {
			continue
		}
		until := history.Instant(1<<63 - 1)
		for _, next := range firsts[i+1:] {
			if next.Finished > first.Finished {
				until = min(until, next.Finished)
			}
		}
		z := zombies{ruler: r.Site, since: first.Finished}
		for _, o := range run.Operations {
			if payment(o) && o.Outcome != history.Shed && o.Site == all[i].Site && o.Site != r.Site && o.Sent > z.since && o.Sent < until {
				asked++
			}
			if payment(o) && o.Outcome == history.OK && o.Finished > z.since && o.Finished < until &&
				(o.Site != r.Site && (len(reigns) > 1 || o.Site == run.Meta.Active) || o.Epoch != 0 && o.Epoch < first.Epoch) {
				z.acks = append(z.acks, o)
			}
		}
		if len(z.acks) > 0 {
			slices.SortStableFunc(z.acks, func(a, b history.Operation) int { return cmp.Compare(a.Finished, b.Finished) })
			out = append(out, z)
		}
	}
	return out, asked
}

func payment(o history.Operation) bool {
	return o.Stream == history.StreamPayment || o.Stream == history.StreamRepeat
}
