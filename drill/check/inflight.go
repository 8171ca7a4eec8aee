package check

import (
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/drill/history"
)

// What must have been in flight at the cut before its end means anything.
const (
	minInFlight  = 20
	minCharged   = 5
	minUncharged = 5
)

// InFlight judges the payments that were in flight at the cut: sent to the site that was lost, and not answered for certain
// before. Each must end as the acquirer says: DONE, with its event, if and only if it holds the customer's money, and otherwise
// CANCELLED or never there. One that was charged may end CANCELLED only with a refund that is on record, and most of those that were
// charged by the cut must have gone forward instead (article 001: 前進させる). A charge that was made later is not what the cut found.
func InFlight(run *history.Run) Result {
	cut, ok := run.Cut()
	if !ok {
		return Undecided(NameInFlight, "no fault was injected")
	}
	e, why := finalEnds(run)
	if why != "" {
		return Undecided(NameInFlight, why)
	}
	flying := map[string]bool{}
	for _, o := range run.Operations {
		if !customers(o) || o.Site != run.Meta.Active || o.Wire == 0 || o.Sent >= cut || o.Outcome == history.Shed {
			continue
		}
		certain := o.Outcome != history.Info && o.Finished != 0 && o.Finished < cut
		if o.Outcome == history.OK && certain {
			flying[o.Key] = false
		} else if _, seen := flying[o.Key]; !seen && !certain {
			flying[o.Key] = true
		}
	}
	var n, charged, forward, back int64
	var wrong faults
	for key, inFlight := range flying {
		if !inFlight {
			continue
		}
		n++
		h, row := e.of(key), e.rows[key]
		_, told := e.events[key]
		atCut := slices.ContainsFunc(h.charges, func(c history.Charge) bool { return c.T <= cut })
		if atCut {
			charged++
		}
		switch {
		case row.State != "" && row.State != "DONE" && row.State != "CANCELLED":
			wrong.add("%d payments in flight at the cut were never brought to an end", key)
		case h.now() > 0 && row.State == "CANCELLED":
			wrong.add("%d payments in flight at the cut were charged and cancelled, and nothing was given back", key)
		case h.now() > 0 && row.State == "":
			wrong.add("%d payments in flight at the cut were charged, and the ledger does not know them", key)
		case h.now() > 0 && !told:
			wrong.add("%d payments in flight at the cut are DONE without their event", key)
		case h.now() > 0:
			if atCut {
				forward++
			}
		case row.State == "DONE":
			wrong.add("%d payments in flight at the cut are DONE, and the acquirer holds nothing for them", key)
		case e.unrecorded(key):
			wrong.add("%d payments in flight at the cut were given back, and the ledger has no record of it", key)
		case atCut:
			back++
		}
	}
	findings := wrong.findings()
	if back > forward {
		findings = append(findings, Finding{What: fmt.Sprintf("of %d payments in flight at the cut that were charged by then, %d were taken back and %d went forward: most must go forward", charged, back, forward)})
	}
	evidence := []Counter{
		{"payments in flight at the cut", n, minInFlight},
		{"of these charged by then", charged, minCharged},
		{"of these not charged yet", n - charged, minUncharged},
	}
	says := fmt.Sprintf("%d payments in flight at the cut ended as the acquirer says: %d forward, %d given back, %d not charged by then", n, forward, back, n-charged)
	if len(findings) > 0 {
		says = findings[0].What
	}
	r := Conclude(NameInFlight, says, len(findings) > 0, evidence, findings)
	r.Numbers = map[string]Interval{"forward": exactly(int(forward), "payments"), "given back": exactly(int(back), "payments"), "not charged": exactly(int(n-charged), "payments")}
	return r
}
