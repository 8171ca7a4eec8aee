package steps

import (
	"context"
	"fmt"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/mysql"
)

var (
	_ procedure.Restorer   = database{}
	_ procedure.Journalist = ring{}
)

// Identity implements procedure.Restorer.
func (d database) Identity(ctx context.Context) (procedure.Identity, error) {
	s, err := d.Server.Status(ctx)
	if err != nil {
		return procedure.Identity{}, err
	}
	purged, err := d.Purged(ctx)
	if err != nil {
		return procedure.Identity{}, err
	}
	return procedure.Identity{
		UUID: s.UUID, Executed: s.Executed, Purged: purged, Source: s.Source,
		Receiving: s.ReceiverConnected, Applying: s.ApplierOn, Error: strings.TrimSpace(s.ReceiverError + " " + s.ApplierError),
		ReadOnly: s.SuperReadOnly, StaysReadOnly: s.PersistedSuperReadOnly,
	}, nil
}

// FollowSource implements procedure.Restorer.
func (d database) FollowSource(ctx context.Context, host string, port int) error {
	return d.Follow(ctx, host, port, d.secret, mysql.FollowOptions{})
}

// Clone implements procedure.Restorer.
func (d database) Clone(ctx context.Context, source procedure.Database, host string, port int) error {
	from, ok := source.(database)
	if !ok {
		return fmt.Errorf("clone into %s: %w", d.Name(), topology.ErrUnsupported)
	}
	if err := from.OfferClone(ctx); err != nil {
		return err
	}
	return d.CloneFrom(ctx, host, port, d.secret)
}

// Copy implements procedure.Restorer.
func (d database) Copy(ctx context.Context, source procedure.Database) error {
	from, ok := source.(database)
	if !ok {
		return fmt.Errorf("copy to %s: %w", d.Name(), topology.ErrUnsupported)
	}
	return d.CopyFrom(ctx, from.Server)
}

// Events implements procedure.Journalist.
func (r ring) Events(ctx context.Context) ([]history.EventRow, error) {
	where, err := r.e.ring(r.site)
	if err != nil {
		return nil, err
	}
	// A session of its own: one from before a loss still believes that its nodes are down.
	rows, err := readJournal(ctx, where)
	return rows.Events, err
}
