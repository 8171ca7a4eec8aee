package objective

import "github.com/kirikae/kirikae/drill/history"

// Stage is the loss ledger at one stage of what happened after the switch.
type Stage struct {
	Name   string // raw, after replay, final
	Ledger Ledger
}

// Raw is the run with its stores as the switch left them, before anything was replayed or reconciled: what a recovery point
// objective is about. A run whose drill did not look at interrupted payments is its own.
func Raw(run *history.Run) *history.Run {
	if r := run.Evidence.Reconciliation; r != nil && r.Raw != nil {
		return with(run, r.Raw)
	}
	return run
}

// LossStages builds the loss ledger of each stage that was read, in order: raw, after replay, final. Without evidence of a
// reconciliation there is the final one only.
func LossStages(run *history.Run) ([]Stage, error) {
	var out []Stage
	add := func(name string, r *history.Run) error {
		l, err := LossLedger(r)
		if err == nil {
			out = append(out, Stage{name, l})
		}
		return err
	}
	if r := run.Evidence.Reconciliation; r != nil {
		for _, s := range []struct {
			name   string
			stores *history.Stores
		}{{"raw", r.Raw}, {"after replay", r.After}} {
			if s.stores == nil {
				continue
			}
			if err := add(s.name, with(run, s.stores)); err != nil {
				return nil, err
			}
		}
	}
	if err := add("final", run); err != nil {
		return nil, err
	}
	return out, nil
}

// with is a run whose new authority held other stores.
func with(run *history.Run, s *history.Stores) *history.Run {
	r := *run
	r.Evidence.Ledger, r.Evidence.Journal = s.Ledger, s.Journal
	return &r
}
