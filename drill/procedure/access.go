package procedure

import (
	"context"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// deny is article 002's row 1: the NACL denies Cassandra's traffic between the regions, so that the surviving one stands alone
// and a lost region that wakes up cannot reach it. The operators' list is theirs: the world's faults on the same links are not
// touched by it, and healing them does not undo it.
type deny struct {
	estate  Estate
	region  topology.Site
	peer    topology.Site
	service topology.Service
}

// links are the two directions; the error names one that is not there.
func (d deny) links() ([]topology.Link, error) {
	var out []topology.Link
	for _, id := range []topology.LinkID{{From: d.peer, To: d.region, Service: d.service}, {From: d.region, To: d.peer, Service: d.service}} {
		var found topology.Link
		for _, l := range d.estate.Links() {
			if l.ID() == id {
				found = l
			}
		}
		if found == nil {
			return nil, fmt.Errorf("the world has no link %s", id)
		}
		out = append(out, found)
	}
	return out, nil
}

// list reads the access list of the links.
func (d deny) list(ctx context.Context) (saw runbook.Seen, open []string, err error) {
	links, err := d.links()
	if err != nil {
		return nil, nil, err
	}
	saw = runbook.Seen{}
	for _, l := range links {
		layers, err := l.Layers(ctx)
		if err != nil {
			return saw, nil, fmt.Errorf("read the access list of %s: %w", l.ID(), err)
		}
		entry := layers.Access
		if entry == "" {
			entry = topology.Allow
		}
		saw[l.ID().String()] = string(entry)
		if entry != topology.Deny {
			open = append(open, l.ID().String())
		}
	}
	return saw, open, nil
}

func (d deny) Check(ctx context.Context) (runbook.Seen, error) {
	saw, _, err := d.list(ctx)
	return saw, err
}

func (d deny) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	denied, err := d.set(ctx, topology.Deny)
	return runbook.Seen{"denied": denied}, err
}

// set makes the access list of the links say so. One that cannot be set does not keep the other as it was.
func (d deny) set(ctx context.Context, to topology.Access) (done []string, err error) {
	links, err := d.links()
	if err != nil {
		return nil, err
	}
	var failed []error
	done = []string{}
	for _, l := range links {
		if err := l.SetAccess(ctx, to); err != nil {
			failed = append(failed, fmt.Errorf("%s %s: %w", to, l.ID(), err))
			continue
		}
		done = append(done, l.ID().String())
	}
	return done, errors.Join(failed...)
}

// Confirm: the list says deny both ways, and the region's Cassandra answers alone.
func (d deny) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	saw, open, err := d.list(ctx)
	if err != nil {
		return saw, err
	}
	if len(open) > 0 {
		return saw, fmt.Errorf("the access list does not deny %v", open)
	}
	if d.service != topology.ServiceCassandra {
		return saw, nil
	}
	if err := answers(ctx, d.estate, d.region); err != nil {
		return saw, err
	}
	saw["local_quorum"] = true
	return saw, nil
}

// answers makes one read in a region's Cassandra, at LOCAL_QUORUM.
func answers(ctx context.Context, e Estate, region topology.Site) error {
	ring, err := e.Ring(region)
	if err != nil {
		return err
	}
	if err := ring.Answers(ctx); err != nil {
		return fmt.Errorf("cassandra of %s does not answer at LOCAL_QUORUM: %w", region, err)
	}
	return nil
}
