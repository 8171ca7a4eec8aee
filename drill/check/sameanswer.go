package check

import (
	"fmt"
	"net/http"

	"github.com/kirikae/kirikae/drill/history"
)

// SameAnswer judges idempotency over everything that happened: one key is charged once, given back or not; a key that was
// acknowledged is never told anything else afterwards, and one that was told it is cancelled is never acknowledged; and each
// acknowledgement of the site that writes in the end is for a payment which that site's ledger holds, as the switch left it and
// in the end. What the lost site had acknowledged is for the loss checks to judge.
func SameAnswer(run *history.Run) Result {
	e, why := finalEnds(run)
	if why != "" {
		return Undecided(NameSameAnswer, why)
	}
	var wrong faults
	for key, h := range e.acquirer {
		if len(h.charges) > 1 {
			wrong.add("%d payments were charged under more than one request", key)
		}
	}

	type told struct {
		ok        history.Instant // when the first acknowledgement was known
		site      string          // that gave it
		cancelled history.Instant // when it was first said to be cancelled
		repeated  bool            // asked again after it
		crossed   bool            // at another site
	}
	keys := map[string]*told{}
	of := func(key string) *told {
		t := keys[key]
		if t == nil {
			t = &told{}
			keys[key] = t
		}
		return t
	}
	cancelled := func(o history.Operation) bool { return o.Status == http.StatusGone && o.Outcome == history.Fail }
	for _, o := range run.Operations {
		switch t := of(o.Key); {
		case !customers(o):
		case o.Outcome == history.OK && (t.ok == 0 || o.Finished < t.ok):
			t.ok, t.site = o.Finished, o.Site
		case cancelled(o) && (t.cancelled == 0 || o.Finished < t.cancelled):
			t.cancelled = o.Finished
		}
	}
	_, cut := run.Cut()
	stages := []*history.LedgerRows{run.Evidence.Ledger}
	if r := run.Evidence.Reconciliation; r.Raw != nil && r.Raw.Ledger != nil {
		stages = append(stages, r.Raw.Ledger)
	}
	var done []map[string]bool
	for _, rows := range stages {
		all := map[string]bool{}
		for _, p := range rows.Payments {
			if p.State == "DONE" {
				all[p.Key] = true
			}
		}
		done = append(done, all)
	}
	var acknowledged, repeats, crossed int64
	for _, o := range run.Operations {
		if !customers(o) {
			continue
		}
		t := of(o.Key)
		if t.ok != 0 && o.Sent > t.ok && o.Wire > 0 {
			repeats++
			if o.Site != t.site && !t.crossed {
				t.crossed = true
				crossed++
			}
			if o.Outcome == history.Fail && (o.Status == http.StatusGone || o.Status == http.StatusConflict) {
				wrong.add("%d payments had been acknowledged, and were told something else when they were asked again", o.Key)
			}
		}
		if o.Outcome != history.OK {
			continue
		}
		if t.cancelled != 0 && o.Sent > t.cancelled {
			wrong.add("%d payments had been told that they are cancelled, and were acknowledged when they were asked again", o.Key)
		}
		if cut && o.Site == run.Meta.Active {
			continue
		}
		acknowledged++
		for i, rows := range stages {
			if o.Finished < rows.T && !done[i][o.Key] {
				wrong.add("%d payments were answered 200, and the ledger behind the answer does not hold them", o.Key)
				break
			}
		}
	}
	findings := wrong.findings()
	evidence := []Counter{
		{"acknowledgements held against the ledger", acknowledged, minRows},
		{"repeats of an acknowledged key", repeats, 10},
		{"acknowledged keys repeated at the other site", crossed, 3 * b2i(cut)},
	}
	says := fmt.Sprintf("%d repeats of acknowledged keys had the same answer, %d keys of them at the other site", repeats, crossed)
	if len(findings) > 0 {
		says = findings[0].What
	}
	return Conclude(NameSameAnswer, says, len(findings) > 0, evidence, findings)
}
