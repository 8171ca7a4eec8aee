package steps

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/mysql"
)

// askLimit bounds one question to a server that may be dead.
const askLimit = 3 * time.Second

// reigning asks every MySQL that answers for its epoch row. The region with the highest row serves, if that row stands in its own
// MySQL and names it: what a replica or a dead region's rows say of others is hearsay.
func (e *Estate) reigning(ctx context.Context) (history.ReignData, error) {
	var top, self history.ReignData
	var silent []error
	for _, r := range e.Topology().Regions {
		epoch, site, err := e.epochRow(ctx, r.Name)
		if err != nil {
			silent = append(silent, err)
			continue
		}
		if epoch > top.Epoch {
			top = history.ReignData{Site: site, Epoch: epoch}
		}
		if topology.Site(site) == r.Name && epoch > self.Epoch {
			self = history.ReignData{Site: site, Epoch: epoch}
		}
	}
	if top.Epoch == 0 || self != top {
		return top, fmt.Errorf("nobody reigns: the youngest row that was found gives epoch %d to %q, whose own MySQL does not say so: %w", top.Epoch, top.Site, errors.Join(silent...))
	}
	return self, nil
}

func (e *Estate) epochRow(ctx context.Context, site topology.Site) (int64, string, error) {
	db, err := e.mysql(site)
	if err != nil {
		return 0, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	return db.Epoch(ctx)
}

// seeReign asks the servers who reigns, and marks a change.
func (d *Drill) seeReign(ctx context.Context) {
	now, err := d.estate.reigning(ctx)
	if err != nil {
		d.say("drill", "%v", err)
		return
	}
	if now == d.reign {
		return
	}
	d.reign = now
	d.record.Mark(history.KindReign, now.Site, now)
	d.say("drill", "epoch %d: %s reigns", now.Epoch, now.Site)
}

// authority is the region whose stores hold the truth now: the one that reigns. Where a region was lost and nobody has taken its
// place, it is the one that is left.
func (d *Drill) authority() topology.Site {
	t := d.world.Topology()
	if d.lost != "" && d.reign.Site == string(d.lost) {
		return other(t, d.lost)
	}
	return topology.Site(or(d.reign.Site, string(t.Active())))
}

// other is the region that a region is not.
func other(t topology.Topology, site topology.Site) topology.Site {
	if site == t.Active() {
		return t.Standby()
	}
	return t.Active()
}

// follower reads what the replica has received, whichever region is the replica by then.
type follower struct {
	servers []*mysql.Server

	mu  sync.Mutex
	now int // index of the server that is the replica, as far as known
}

// Received implements workload.ReceivedReader. A server that has no source any more stays the one that is read until another has
// one: what it had received before it was detached is still asked for.
func (f *follower) Received(ctx context.Context) (history.ReceivedData, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.servers[f.now].Received(ctx)
	if err == nil && d.Received != "" {
		return d, nil
	}
	for i, s := range f.servers {
		if i == f.now {
			continue
		}
		if status, no := s.Status(ctx); no == nil && status.Source != "" {
			f.now = i
			return s.Received(ctx)
		}
	}
	return d, err
}
