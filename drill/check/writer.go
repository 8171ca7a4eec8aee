package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// minCanaries must have been accepted at the old site before the fault, and at the new one after the switch: canaries that no
// site ever takes prove nothing.
const minCanaries = 20

// OneWriter judges that the two sites never accepted writes at the same time. Canaries are written to both MySQL directly, all
// the time: reading read_only would prove nothing about the moment between two reads. Each accepted one proves that its site was
// writable at some instant between its sending and its answer, each refused one that it was not; between two that say the same
// the site is taken not to have changed. That gives the time for which both were writable as an interval: FAIL when its lower
// end is beyond the limit, PASS when its upper end is not, otherwise INCONCLUSIVE.
//
// Customers' payments say the same without a database: a payment that the old site took after the new one had acknowledged its
// first is a zombie acknowledgement, and counts as time for which two sites were writable.
func OneWriter(run *history.Run) Result {
	limit := max(0, objective.WithDefaults(run.Meta.Objectives).DualMax.D())
	end := endOfLoad(run)
	cut, faulted := run.Cut()
	byNode := map[string][]history.Operation{}
	var oldAccepted, newAccepted int64
	for _, o := range run.Operations {
		if o.Stream != history.StreamCanary || o.Sent > end || o.Outcome == history.Info || o.Outcome == history.Shed {
			continue
		}
		byNode[o.Node] = append(byNode[o.Node], o)
		if o.Outcome == history.OK && o.Site == run.Meta.Active && (!faulted || o.Finished <= cut) {
			oldAccepted++
		}
		if o.Outcome == history.OK && o.Site == run.Meta.Standby && (!faulted || o.Sent >= cut) {
			newAccepted++
		}
	}
	var oldSpans, newSpans []writable
	var last history.Instant
	for _, node := range sortedKeys(byNode) {
		ops := byNode[node]
		slices.SortStableFunc(ops, func(a, b history.Operation) int { return cmp.Compare(a.Sent, b.Sent) })
		last = max(last, ops[len(ops)-1].Finished)
		switch ops[0].Site {
		case run.Meta.Active:
			oldSpans = append(oldSpans, spans(ops)...)
		case run.Meta.Standby:
			newSpans = append(newSpans, spans(ops)...)
		}
	}
	for i := range oldSpans {
		oldSpans[i].mayEnd = min(oldSpans[i].mayEnd, max(last, oldSpans[i].until))
	}
	for i := range newSpans {
		newSpans[i].mayEnd = min(newSpans[i].mayEnd, max(last, newSpans[i].until))
	}
	dual, first := overlap(oldSpans, newSpans)

	zombies, since := zombieAcks(run)
	var findings []Finding
	if first != 0 {
		findings = append(findings, Finding{T: int64(first), What: fmt.Sprintf("%s and %s both accepted canaries for %d – %d ms",
			run.Meta.Active, run.Meta.Standby, dual.Lower.Milliseconds(), dual.Upper.Milliseconds())})
	}
	if len(zombies) > 0 {
		f := Finding{What: fmt.Sprintf("%d payments were acknowledged by %s after %s had acknowledged its first", len(zombies), run.Meta.Active, run.Meta.Standby), T: int64(zombies[0].Finished)}
		for _, z := range zombies {
			f.Keys = append(f.Keys, z.Key)
			if d := z.Sent.Sub(since); d > dual.Lower {
				dual.Lower, dual.Upper = d, max(d, dual.Upper)
			}
		}
		findings = append(findings, f)
	}

	evidence := []Counter{
		{"canaries accepted at " + run.Meta.Active + " before the cut", oldAccepted, minCanaries},
		{"canaries accepted at " + run.Meta.Standby + " after it", newAccepted, minCanaries},
	}
	says := fmt.Sprintf("one writer (%d ms dual-writable, limit %d ms)", dual.Upper.Milliseconds(), limit.Milliseconds())
	if dual.Upper > limit {
		says = fmt.Sprintf("two writers for %d – %d ms (limit %d ms)", dual.Lower.Milliseconds(), dual.Upper.Milliseconds(), limit.Milliseconds())
		if len(zombies) > 0 {
			says += fmt.Sprintf(", %d zombie acknowledgements", len(zombies))
		}
	}
	failed := dual.Lower > limit
	r := Conclude(NameOneWriter, says, failed, evidence, findings)
	if !failed && dual.Upper > limit {
		r = Hold(NameOneWriter, says, evidence, findings, fmt.Sprintf("canaries that tell: they leave %d ms open", dual.Upper.Milliseconds()))
	}
	r.Numbers = map[string]Interval{
		"dual-writable":           {ms(dual.Lower), ms(dual.Upper), "ms"},
		"zombie acknowledgements": exactly(len(zombies), "payments"),
	}
	return r
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

// zombieAcks lists the payments that the old site, or the old epoch, acknowledged after the new site's first acknowledgement,
// and when that was.
func zombieAcks(run *history.Run) (out []history.Operation, since history.Instant) {
	var epoch int64
	for _, o := range run.Operations {
		if payment(o) && o.Outcome == history.OK && o.Site == run.Meta.Standby && (since == 0 || o.Finished < since) {
			since, epoch = o.Finished, o.Epoch
		}
	}
	if since == 0 {
		return nil, 0
	}
	for _, o := range run.Operations {
		if payment(o) && o.Outcome == history.OK && o.Finished > since && (o.Site == run.Meta.Active || o.Epoch != 0 && o.Epoch < epoch) {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b history.Operation) int { return cmp.Compare(a.Finished, b.Finished) })
	return out, since
}

func payment(o history.Operation) bool {
	return o.Stream == history.StreamPayment || o.Stream == history.StreamRepeat
}
