package procedure

import (
	"context"
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/salvage"
	"github.com/kirikae/kirikae/topology"
)

// Restorer is a Database that can be salvaged, emptied and rebuilt from another one.
type Restorer interface {
	Database
	// Identity is one read of who it is and whom it follows.
	Identity(ctx context.Context) (Identity, error)
	// Holdings reads all of the platform's rows, in one consistent read.
	Holdings(ctx context.Context) (salvage.Holdings, error)
	// Transactions reads the pay transactions of its binary logs.
	Transactions(ctx context.Context) ([]history.Transaction, error)
	// Clone replaces its data by the source's, physically (CLONE INSTANCE), over a door at which it dials the source. Nil when it
	// worked, or may have: the server ends then, and is started again.
	Clone(ctx context.Context, source Database, host string, port int) error
	// Copy replaces its data by a logical copy of the source's, as a dump does.
	Copy(ctx context.Context, source Database) error
	// FollowSource makes it a read-only replica, for every restart too.
	FollowSource(ctx context.Context, host string, port int) error
	// WaitExecuted waits until it has executed a GTID set, and says whether it has.
	WaitExecuted(ctx context.Context, set string, d time.Duration) (bool, error)
}

// Cloned is an ability of a Restorer: it says how the last clone into it ended.
type Cloned interface {
	// CloneState is "" when there never was one, else "In Progress", "Completed" or "Failed", with the failure.
	CloneState(ctx context.Context) (state, failure string, err error)
}

// Identity is what a MySQL server says of itself.
type Identity struct {
	UUID     string
	Executed string // GTID set
	Purged   string // GTID set: executed, and no longer in its binary logs
	Source   string // host:port that it follows; "" for nobody

	Receiving     bool // connected to the source
	Applying      bool
	Error         string // of receiver or applier, "" when none
	ReadOnly      bool   // super_read_only is on
	StaysReadOnly bool   // after a restart too
}

// Journalist is a Ring whose journal of events can be read, at LOCAL_QUORUM.
type Journalist interface {
	Events(ctx context.Context) ([]history.EventRow, error)
}

// journalOf reads a region's journal.
func journalOf(ctx context.Context, e Estate, site topology.Site) ([]history.EventRow, error) {
	ring, err := e.Ring(site)
	if err != nil {
		return nil, err
	}
	j, err := able[Journalist](ring, fmt.Sprintf("read the journal of %s", site))
	if err != nil {
		return nil, err
	}
	events, err := j.Events(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the journal of %s: %w", site, err)
	}
	return events, nil
}
