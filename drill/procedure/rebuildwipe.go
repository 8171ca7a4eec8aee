package procedure

import (
	"context"
	"fmt"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/drill/salvage"
	"github.com/kirikae/kirikae/topology"
)

// wipe is mysql.wipe: article 002 forms the global database on an empty one.
type wipe struct {
	pair
	salvaged bool
}

func (w wipe) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	now, err := w.up(ctx)
	if err != nil {
		return nil, err
	}
	_, source, err := w.both()
	if err != nil {
		return nil, err
	}
	serving, err := source.Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("read mysql of %s: %w", w.from, err)
	}
	saw := runbook.Seen{sawWiped: now.UUID, sawWipedSet: now.Executed, sawServing: serving.Executed, sawSalvaged: "none"}
	gone, err := w.gone(ctx, now.UUID, notes)
	if err != nil && w.salvaged {
		return saw, fmt.Errorf("mysql of %s is not thrown away: %w", w.region, err)
	}
	if gone {
		return runbook.Seen{"server": now.UUID}, nil
	}
	if w.salvaged {
		m, err := w.manifest()
		if err != nil {
			return saw, err
		}
		if err := m.Of(now.UUID, now.Executed); err != nil {
			return saw, fmt.Errorf("mysql of %s is not thrown away: %w", w.region, err)
		}
		if !now.ReadOnly {
			return saw, fmt.Errorf("mysql of %s is not thrown away: it takes writes that the salvage does not have", w.region)
		}
		saw[sawSalvaged], saw[sawSavedPay], saw[sawSavedRows] = none(m.Missing), m.Files[salvage.TransactionsFile].Rows, m.Files[salvage.PaymentsFile].Rows
	}
	if err := notes.Note(saw); err != nil {
		return saw, err
	}
	for _, n := range w.estate.Nodes(w.region, topology.MySQL) {
		if err := n.Stop(ctx); err != nil {
			return saw, fmt.Errorf("stop %s: %w", n.Name(), err)
		}
		if err := n.Wipe(ctx); err != nil {
			return saw, fmt.Errorf("wipe %s: %w", n.Name(), err)
		}
	}
	fresh, err := w.up(ctx)
	saw["server"] = fresh.UUID
	return saw, err
}

func (w wipe) manifest() (salvage.Manifest, error) {
	folder, err := w.folder()
	if err != nil {
		return salvage.Manifest{}, err
	}
	return salvage.Read(folder)
}

// gone says whether the data that had to go are gone: this server is another one.
func (w wipe) gone(ctx context.Context, uuid string, notes runbook.Notes) (bool, error) {
	if w.salvaged {
		m, err := w.manifest()
		if err != nil {
			return false, err
		}
		return w.replaced(ctx, m.UUID)
	}
	noted := notes.All(sawWiped)
	for _, u := range noted {
		if u == uuid {
			return false, nil
		}
	}
	return len(noted) > 0, nil
}

// Confirm: the server that answers is another one than that whose data had to go.
func (w wipe) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	db, err := w.restorer(w.region)
	if err != nil {
		return nil, err
	}
	now, err := db.Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("read mysql of %s: %w", w.region, err)
	}
	saw := runbook.Seen{"server": now.UUID}
	gone, err := w.gone(ctx, now.UUID, notes)
	if err == nil && !gone {
		err = fmt.Errorf("mysql of %s is still server %s, with its old data", w.region, now.UUID)
	}
	return saw, err
}

// Would implements runbook.Foreteller.
func (w wipe) Would(ctx context.Context) (string, error) {
	target, _, errant, err := w.read(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("throw the data of server %s away, with what it alone has: %s; refused unless exactly that was salvaged", target.UUID, none(errant.String())), nil
}
