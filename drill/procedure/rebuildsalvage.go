package procedure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/drill/salvage"
	"github.com/kirikae/kirikae/topology"
)

// SalvageFolder is where the salvage of a region's database is in a run folder.
func SalvageFolder(run string, region topology.Site) string {
	return filepath.Join(run, "salvage", string(region))
}

// save is mysql.salvage.
type save struct{ pair }

// Act stops every write first: what is saved must be all there will ever be. It does nothing once the data are gone.
func (s save) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	folder, err := s.folder()
	if err != nil {
		return nil, err
	}
	now, err := s.up(ctx)
	if err != nil {
		return nil, err
	}
	old, err := salvage.Read(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // never replaced in silence
	}
	if err == nil {
		replaced, err := s.replaced(ctx, old.UUID)
		if err != nil {
			return s.saw(old), err
		}
		switch same := old.Of(now.UUID, now.Executed) == nil; {
		case replaced, same && old.Events == eventsRead:
			return s.late(ctx, folder, old) // taken of this state, or the data it was taken of are gone
		}
	}
	target, source, err := s.both()
	if err != nil {
		return nil, err
	}
	if err := target.SetWritable(ctx, false); err != nil {
		return nil, fmt.Errorf("stop the writes of %s: %w", s.region, err)
	}
	had, err := target.Holdings(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what %s has: %w", s.region, err)
	}
	transactions, err := target.Transactions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the binary logs of %s: %w", s.region, err)
	}
	after, err := target.Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("read mysql of %s: %w", s.region, err)
	}
	m := salvage.Manifest{Region: string(s.region), UUID: had.UUID, Executed: had.Executed, Taken: time.Now().UTC()}
	if err := m.Of(after.UUID, after.Executed); err != nil {
		return nil, fmt.Errorf("mysql of %s changed while it was saved: %w", s.region, err)
	}
	serving, err := source.Holdings(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what %s has: %w", s.from, err)
	}
	missing, err := minus(had.Executed, serving.Executed)
	if err != nil {
		return nil, err
	}
	rows := had.Lacking(serving)
	for _, t := range transactions {
		if missing.Contains(t.GTID) {
			rows.Transactions = append(rows.Transactions, t)
		}
	}
	m.Events = eventsRead
	if rows.Events, err = s.started(ctx); err != nil {
		m.Events = err.Error()
	}
	m.Against, m.Missing, m.ByTag = serving.Executed, missing.String(), salvage.ByTag(missing)
	for _, n := range s.estate.Nodes(s.region, topology.MySQL) {
		m.Node = n.Name()
	}
	if m, err = salvage.Write(folder, m, rows); err != nil {
		return nil, err
	}
	return s.saw(m), nil
}

// late adds to a salvage the journal events that could not be read when it was taken, once the region's Cassandra answers.
func (s save) late(ctx context.Context, folder string, m salvage.Manifest) (runbook.Seen, error) {
	if m.Events == eventsRead {
		return s.saw(m), nil
	}
	events, err := s.events(ctx)
	if err != nil {
		return s.saw(m), nil // still not: the manifest says so
	}
	m.Events = eventsRead
	m, err = salvage.AddEvents(folder, m, events)
	return s.saw(m), err
}

// eventsRead is what a manifest says of a journal that was read.
const eventsRead = "read"

// eventsWithin is for the journal of a returned region's Cassandra to answer.
const eventsWithin = 10 * time.Second

// started reads the events, and waits for a Cassandra that has been started and does not answer yet.
func (s save) started(ctx context.Context) (rows []history.EventRow, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, eventsStarting, fmt.Errorf("it did not answer within %v", eventsStarting))
	defer cancel()
	running := func() bool {
		return slices.ContainsFunc(s.estate.Nodes(s.region, topology.Cassandra), func(n topology.Node) bool {
			state, err := n.State(ctx)
			return err == nil && state == topology.Running
		})
	}
	var last error
	err = until(ctx, func() (string, error) {
		if rows, last = s.events(ctx); last == nil || !running() {
			return "", last
		}
		return last.Error(), nil
	})
	return rows, err
}

// eventsStarting is for a Cassandra node that has just been started.
const eventsStarting = 30 * time.Second

// events are the journal events that only the returned region has. Its Cassandra may be down or beyond repair: that is no reason to
// keep its database from being rebuilt, and the manifest says so.
func (s save) events(ctx context.Context) ([]history.EventRow, error) {
	ctx, cancel := context.WithTimeout(ctx, eventsWithin)
	defer cancel()
	var rows [2][]history.EventRow
	for i, site := range []topology.Site{s.region, s.from} {
		var err error
		if rows[i], err = journalOf(ctx, s.estate, site); err != nil {
			return nil, err
		}
	}
	return salvage.LackingEvents(rows[0], rows[1]), nil
}

func (s save) saw(m salvage.Manifest) runbook.Seen {
	saw := runbook.Seen{"server": m.UUID, sawSalvaged: none(m.Missing), "events_read": m.Events}
	for name, f := range m.Files {
		saw[name] = f.Rows
	}
	return saw
}

func none(set string) string {
	if set == "" {
		return "none"
	}
	return set
}

// Confirm: the files are whole, and of exactly what the server has; or of a server whose data are gone.
func (s save) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	folder, err := s.folder()
	if err != nil {
		return nil, err
	}
	m, err := salvage.Read(folder)
	if err != nil {
		return nil, err
	}
	db, err := s.restorer(s.region)
	if err != nil {
		return s.saw(m), err
	}
	now, err := db.Identity(ctx)
	if err != nil {
		return s.saw(m), fmt.Errorf("read mysql of %s: %w", s.region, err)
	}
	if now.UUID != m.UUID {
		replaced, err := s.replaced(ctx, m.UUID)
		if err == nil && !replaced {
			err = fmt.Errorf("mysql of %s is server %s, with data of its own, and the salvage is of server %s", s.region, now.UUID, m.UUID)
		}
		if err == nil {
			err = s.unread(ctx, m)
		}
		return s.saw(m), err
	}
	if !now.ReadOnly || !now.StaysReadOnly {
		return s.saw(m), fmt.Errorf("mysql of %s takes writes that the salvage does not have", s.region)
	}
	if err := m.Of(now.UUID, now.Executed); err != nil {
		return s.saw(m), err
	}
	return s.saw(m), s.unread(ctx, m)
}

// unread says that a journal which a salvage does not have can be read by now: the region's Cassandra has come up since.
func (s save) unread(ctx context.Context, m salvage.Manifest) error {
	if m.Events == eventsRead {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second) // of a confirm that has more to read
	defer cancel()
	if _, err := s.events(ctx); err != nil {
		return nil // the manifest says so
	}
	return fmt.Errorf("the journal of %s can be read, and the salvage does not have what it alone has", s.region)
}

// Would implements runbook.Foreteller.
func (s save) Would(ctx context.Context) (string, error) {
	target, _, errant, err := s.read(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("stop the writes of server %s, and save what it alone has: %s", target.UUID, none(errant.String())), nil
}
