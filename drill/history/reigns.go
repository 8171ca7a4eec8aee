package history

import (
	"cmp"
	"slices"
)

// ReignData says which site's MySQL is the writer from the mark's instant on, as its epoch row names it. The drill marks the
// first reign when it has the world, and each later one when it sees that the row has changed.
type ReignData struct {
	Site  string `json:"site"`
	Epoch int64  `json:"epoch"`
}

// Reign is a time in which one site was the writer. Its ends are as fine as what tells of them: a sample of the epoch row, or
// the confirm of a promotion. Customers' answers, which name their epoch, are finer.
type Reign struct {
	Site  string
	Epoch int64   // 0: not known
	From  Instant // the first one: the run's origin
	Until Instant // when the next one began; the end of time for the last
}

// forever is the end of a reign that nobody ended.
const forever = Instant(1<<63 - 1)

// Reigns lists who was the writer from when to when: from the drill's marks and from the promotions that an operator confirmed
// (a read that names the epoch and its site), each epoch once, at the instant it was first told of. A run that tells of neither has
// one reign, of the site that served at the start.
func (r *Run) Reigns() []Reign {
	told, _ := Marked[ReignData](r, KindReign)
	var all []Reign
	for _, m := range told {
		all = append(all, Reign{Site: m.Data.Site, Epoch: m.Data.Epoch, From: m.T})
	}
	for _, e := range r.Journal {
		site, _ := e.SawText(SawEpochSite)
		epoch, _ := e.SawNumber(SawEpoch)
		if (e.Kind == EntryConfirm || e.Kind == EntryAlready) && site != "" && epoch > 0 {
			all = append(all, Reign{Site: site, Epoch: epoch, From: e.T})
		}
	}
	slices.SortStableFunc(all, func(a, b Reign) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.From, b.From))
	})
	all = slices.CompactFunc(all, func(a, b Reign) bool { return a.Epoch == b.Epoch })
	first := Reign{Site: r.Meta.Active}
	if len(all) > 0 && all[0].Site == first.Site { // a run begins with the site that served at the start
		first, all = all[0], all[1:]
	}
	first.From = r.Meta.Origin
	out := append([]Reign{first}, all...)
	for i := range out {
		out[i].Until = forever
		if i+1 < len(out) {
			out[i].Until = out[i+1].From
		}
	}
	return out
}

// Ruler is the site that was the writer at the end.
func (r *Run) Ruler() string {
	all := r.Reigns()
	return all[len(all)-1].Site
}

// Return is when the lost region's old processes were started again, and whether they were.
func (r *Run) Return() (Instant, bool) {
	for _, m := range r.Marks {
		if m.Kind == KindReturn {
			return m.T, true
		}
	}
	return 0, false
}
