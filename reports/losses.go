package reports

import (
	"cmp"
	"slices"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// Loss is one acknowledged payment that at least one store lost. Amount and age come from the clients' records: that is what
// the customers were promised.
type Loss struct {
	Key       string          `json:"key"`
	Yen       int64           `json:"yen"`
	MySQL     objective.Class `json:"mysql,omitempty"`     // how MySQL lost it; "" when it did not
	Cassandra objective.Class `json:"cassandra,omitempty"` // likewise
	Age       float64         `json:"age"`                 // seconds from its acknowledgement to the cut; negative: acknowledged after it
	GTID      string          `json:"gtid,omitempty"`      // of its transaction at the lost site, where known
	Zombie    bool            `json:"zombie,omitempty"`    // acknowledged by the lost site after the cut

	acked history.Instant
}

// Worst is the class that weighs more: dropped and never durable are never within target.
func (l Loss) Worst() objective.Class {
	for _, c := range []objective.Class{objective.NeverDurable, objective.Dropped, objective.Unclassified} {
		if l.MySQL == c || l.Cassandra == c {
			return c
		}
	}
	return objective.Unreplicated
}

// losses joins the two stores' ledgers into one list, oldest first. Evidence that cannot be read gives none: to say so is the
// judges' part.
func losses(run *history.Run) []Loss {
	ledger, err := objective.LossLedger(run)
	if err != nil {
		return nil
	}
	byKey := map[string]*Loss{}
	var keys []string
	of := func(x objective.Loss) *Loss {
		l := byKey[x.Key]
		if l == nil {
			l = &Loss{Key: x.Key, Yen: x.Yen, acked: x.Acked}
			if ledger.Cut != 0 {
				l.Age = ledger.Cut.Sub(x.Acked).Seconds()
			}
			byKey[x.Key] = l
			keys = append(keys, x.Key)
		}
		l.Zombie = l.Zombie || x.Zombie
		if x.GTID != "" {
			l.GTID = x.GTID
		}
		return l
	}
	for _, x := range ledger.MySQL.Lost {
		of(x).MySQL = x.Class
	}
	for _, x := range ledger.Cassandra.Lost {
		of(x).Cassandra = x.Class
	}
	var out []Loss
	for _, k := range keys {
		out = append(out, *byKey[k])
	}
	slices.SortStableFunc(out, func(a, b Loss) int { return cmp.Compare(a.acked, b.acked) })
	return out
}
