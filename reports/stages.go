package reports

import (
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// Stage is what one store had lost at one stage of what happened after the switch.
type Stage struct {
	Stage        string `json:"stage"` // raw, after replay, final
	Store        string `json:"store"` // mysql, cassandra
	Known        bool   `json:"known"` // the store was read at that stage; otherwise nothing below means anything
	Lost         int    `json:"lost"`  // acknowledged payments that it lacks
	Yen          int64  `json:"yen"`   // what they were worth
	Unreplicated int    `json:"unreplicated"`
	Dropped      int    `json:"dropped"`
	NeverDurable int    `json:"never_durable"`
	Unclassified int    `json:"unclassified"`
}

// stages are the loss ledgers of a drill that looked at what became of interrupted payments. Any other has only the one that Lost
// lists.
func stages(run *history.Run) []Stage {
	if run.Evidence.Reconciliation == nil {
		return nil
	}
	all, err := objective.LossStages(run)
	if err != nil {
		return nil // to say so is the judges' part
	}
	var out []Stage
	for _, s := range all {
		for _, store := range []objective.Store{s.Ledger.MySQL, s.Ledger.Cassandra} {
			out = append(out, Stage{
				Stage: s.Name, Store: store.Name, Known: store.Known, Lost: len(store.Lost), Yen: objective.Yen(store.Lost),
				Unreplicated: len(store.Of(objective.Unreplicated)), Dropped: len(store.Of(objective.Dropped)),
				NeverDurable: len(store.Of(objective.NeverDurable)), Unclassified: len(store.Of(objective.Unclassified)),
			})
		}
	}
	return out
}
