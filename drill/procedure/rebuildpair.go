package procedure

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// pair is a region whose MySQL is rebuilt, and the one that serves.
type pair struct {
	estate Estate
	region topology.Site
	from   topology.Site
}

func (p pair) restorer(site topology.Site) (Restorer, error) {
	db, err := p.estate.Database(site)
	if err != nil {
		return nil, err
	}
	return able[Restorer](db, fmt.Sprintf("rebuild mysql of %s", site))
}

// both are the database to be rebuilt, and the one that serves.
func (p pair) both() (target, source Restorer, err error) {
	if target, err = p.restorer(p.region); err == nil {
		source, err = p.restorer(p.from)
	}
	return target, source, err
}

// read is one read of both servers. The target first: what it has and the source lacks after that, the source never had.
func (p pair) read(ctx context.Context) (target, source Identity, errant history.GTIDSet, err error) {
	t, s, err := p.both()
	if err != nil {
		return target, source, errant, err
	}
	if target, err = t.Identity(ctx); err != nil {
		return target, source, errant, fmt.Errorf("read mysql of %s: %w", p.region, err)
	}
	if source, err = s.Identity(ctx); err != nil {
		return target, source, errant, fmt.Errorf("read mysql of %s: %w", p.from, err)
	}
	errant, err = minus(target.Executed, source.Executed)
	return target, source, errant, err
}

// replaced says whether the region's MySQL is another server than one that was salvaged, with nothing to save: what a rebuild leaves at
// any of its points. A server's UUID stays with its data. One that was rebuilt, served, and came back after a second loss is another
// server as well, and has a past of its own.
func (p pair) replaced(ctx context.Context, salvaged string) (bool, error) {
	target, _, errant, err := p.read(ctx)
	if err != nil {
		return false, err
	}
	fresh := target.Executed == "" || errant.Empty() && target.ReadOnly && target.StaysReadOnly
	return target.UUID != salvaged && fresh, nil
}

func minus(a, b string) (history.GTIDSet, error) {
	x, err := history.ParseGTIDSet(a)
	if err != nil {
		return x, err
	}
	y, err := history.ParseGTIDSet(b)
	return x.Subtract(y), err
}

// Check: the serving MySQL answers, the other one's node is declared, and there is a door between them. That one need not run.
func (p pair) Check(ctx context.Context) (runbook.Seen, error) {
	_, source, err := p.both()
	if err != nil {
		return nil, err
	}
	nodes, err := declared(p.estate, p.region, topology.MySQL)
	if err != nil {
		return nil, err
	}
	host, port, err := p.door()
	if err != nil {
		return nil, err
	}
	s, err := source.Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("read mysql of %s: %w", p.from, err)
	}
	return runbook.Seen{"node": nodes[0].Name(), "door": net.JoinHostPort(host, strconv.Itoa(port)), sawServing: s.Executed}, nil
}

// fillable is Check for a way to fill the region's MySQL. A database that is held to a lease takes no statements without it, not even
// those of a logical copy; a clone is none.
func (p pair) fillable(ctx context.Context, variant string) (runbook.Seen, error) {
	if variant == byDump && p.estate.Topology().Fence == topology.WitnessFence {
		return nil, fmt.Errorf("fill mysql of %s by a logical copy: its guard lets nobody write without the lease: use variant %q", p.region, byClone)
	}
	return p.Check(ctx)
}

// door is where the region's MySQL dials the serving one.
func (p pair) door() (host string, port int, err error) {
	for _, l := range p.estate.Links() {
		if l.ID() != (topology.LinkID{From: p.from, To: p.region, Service: topology.ServiceMySQL}) {
			continue
		}
		for _, d := range l.Doors() {
			if d.Upstream { // the bytes of this link come back to who dials
				continue
			}
			h, n, err := net.SplitHostPort(d.Address)
			if err != nil {
				return "", 0, fmt.Errorf("read the door of %s: %w", d.Node, err)
			}
			port, err := strconv.Atoi(n)
			return h, port, err
		}
	}
	return "", 0, fmt.Errorf("%s has no door to the mysql of %s", p.region, p.from)
}

// folder is where the region's salvage is.
func (p pair) folder() (string, error) {
	placed, err := able[Placed](p.estate, fmt.Sprintf("salvage mysql of %s: no run folder", p.region))
	if err != nil {
		return "", err
	}
	return SalvageFolder(placed.Folder(), p.region), nil
}

// up starts the region's MySQL where it does not run, and waits until it answers.
func (p pair) up(ctx context.Context) (Identity, error) {
	var s Identity
	nodes, err := declared(p.estate, p.region, topology.MySQL)
	if err != nil {
		return s, err
	}
	db, err := p.restorer(p.region)
	if err != nil {
		return s, err
	}
	err = until(ctx, func() (string, error) {
		state, err := nodes[0].State(ctx)
		if err != nil {
			return "", fmt.Errorf("read the state of %s: %w", nodes[0].Name(), err)
		}
		if state == topology.Stopped {
			if err := nodes[0].Start(ctx); err != nil {
				return "", fmt.Errorf("start %s: %w", nodes[0].Name(), err)
			}
		}
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if s, err = db.Identity(short); err != nil {
			return err.Error(), nil
		}
		return "", nil
	})
	if err != nil {
		return s, fmt.Errorf("bring %s up: %w", nodes[0].Name(), err)
	}
	return s, nil
}
