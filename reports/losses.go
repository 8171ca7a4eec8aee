package reports

import (
	"cmp"
	"slices"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

// Loss is one acknowledged payment that is lost.
type Loss struct {
	Key   string  `json:"key"`
	Yen   int64   `json:"yen"`
	Class string  `json:"class"` // check that holds it: unreplicated, dropped, never durable
	Acked float64 `json:"acked"` // seconds between its acknowledgement and the cut; negative: acknowledged after it
	What  string  `json:"what"`  // what the check says of it
	t     history.Instant
}

// losses lists the payments that the three classes of the loss ledger name, oldest first. Amount and age come from the
// clients' records: that is what the customers were promised.
func losses(run *history.Run, d check.Drill) []Loss {
	acked := map[string]history.Operation{}
	for _, o := range run.Operations {
		if o.Stream == history.StreamPayment && o.Outcome == history.OK {
			acked[o.Key] = o
		}
	}
	cut, _ := run.Cut()
	var out []Loss
	for _, name := range []string{check.NameNeverDurable, check.NameDropped, check.NameUnreplicated} {
		r, ok := d.Get(name)
		if !ok {
			continue
		}
		for _, f := range r.Findings {
			for _, key := range f.Keys {
				o := acked[key]
				l := Loss{Key: key, Yen: o.Yen, Class: name, What: f.What, t: o.Finished}
				if cut != 0 && o.Finished != 0 {
					l.Acked = cut.Sub(o.Finished).Seconds()
				}
				out = append(out, l)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Loss) int { return cmp.Compare(a.t, b.t) })
	return out
}
