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
	links, err := d.links()
	if err != nil {
		return nil, err
	}
	var failed []error
	denied := []string{}
	for _, l := range links { // one that cannot be set does not keep the other open
		if err := l.SetAccess(ctx, topology.Deny); err != nil {
			failed = append(failed, fmt.Errorf("deny %s: %w", l.ID(), err))
			continue
		}
		denied = append(denied, l.ID().String())
	}
	return runbook.Seen{"denied": denied}, errors.Join(failed...)
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
	ring, err := d.estate.Ring(d.region)
	if err != nil {
		return saw, err
	}
	if err := ring.Answers(ctx); err != nil {
		return saw, fmt.Errorf("cassandra of %s does not answer at LOCAL_QUORUM: %w", d.region, err)
	}
	saw["local_quorum"] = true
	return saw, nil
}
