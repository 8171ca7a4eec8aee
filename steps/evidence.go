package steps

import (
	"context"
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
)

// Charges reads the acquirer's log.
func (e *Estate) Charges(ctx context.Context) ([]history.Charge, error) {
	return readLog[history.Charge](ctx, e, "/charges")
}

// lostJournal reads the journal of a region that was started alone a moment ago: it waits until its Cassandra answers.
func (e *Estate) lostJournal(ctx context.Context, site topology.Site) (history.JournalRows, error) {
	where, err := e.ring(site)
	if err != nil {
		return history.JournalRows{}, err
	}
	// A session of its own: the one from before the loss still believes that its nodes are down.
	for {
		rows, err := readJournal(ctx, where)
		if err == nil {
			return rows, nil
		}
		if pass(ctx, 200*time.Millisecond) != nil {
			return rows, fmt.Errorf("wait for %s's Cassandra on its own: %w", site, err)
		}
	}
}

func readJournal(ctx context.Context, site cassandra.Site) (history.JournalRows, error) {
	s, err := cassandra.Open(ctx, site)
	if err != nil {
		return history.JournalRows{}, err
	}
	defer s.Close()
	return s.JournalRows(ctx)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
