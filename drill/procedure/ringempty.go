package procedure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/drill/salvage"
	"github.com/kirikae/kirikae/topology"
)

// empty is row 8 (※7): who was taken out of the cluster comes back with empty volumes or not at all. Its ring ignores whoever
// comes under a removed node's address within twice the ring's delay.
type empty struct {
	estate     Estate
	region, by topology.Site
	unsalvaged bool // people know that what only these nodes have cannot be read any more
}

// saved refuses while a salvage of the region says that the events which only its nodes have were not read.
func (x empty) saved() error {
	placed, ok := x.estate.(Placed)
	if !ok || x.unsalvaged {
		return nil
	}
	m, err := salvage.Read(SalvageFolder(placed.Folder(), x.region))
	switch {
	case errors.Is(err, fs.ErrNotExist): // no database of it was thrown away either
		return nil
	case err != nil:
		return err
	case m.Events != eventsRead:
		return fmt.Errorf("the journal events that only %s has were not saved (%s): start its nodes and run mysql.salvage again, or say unsalvaged: true where they are beyond repair", x.region, m.Events)
	}
	return nil
}

// Writes names what the step sets.
func (x empty) Writes() []string { return []string{dataOf(x.region)} }

func (x empty) Check(ctx context.Context) (runbook.Seen, error) {
	return nodesAndRing(ctx, x.estate, x.region, x.by)
}

func (x empty) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	if _, err := stoppedAll(ctx, x.estate, x.region); err != nil {
		return nil, fmt.Errorf("stop the nodes of %s first: %w", x.region, err)
	}
	if err := x.saved(); err != nil {
		return nil, err
	}
	views, err := viewsOf(ctx, x.estate, x.by)
	if err != nil {
		return nil, err
	}
	for _, v := range views {
		if in := v.of(x.region); len(in) > 0 {
			return nil, fmt.Errorf("%s still shows %s of %s in its ring: take the region out first", v.Node, in[0].Address, x.region)
		}
	}
	var wiped []string
	for _, n := range x.estate.Nodes(x.region, topology.Cassandra) {
		if err := n.Wipe(ctx); err != nil {
			return nil, fmt.Errorf("empty the volume of %s: %w", n.Name(), err)
		}
		if err := notes.Note(runbook.Seen{wipedNote: n.Name()}); err != nil {
			return nil, err
		}
		wiped = append(wiped, n.Name())
	}
	// Waited for here and not in the confirm: an operator who comes back must not find undone what another one has done.
	if err := until(ctx, func() (string, error) { return x.ignored(ctx, runbook.Seen{}) }); err != nil {
		return runbook.Seen{"emptied": wiped}, fmt.Errorf("wait until the ring of %s forgets the nodes of %s: %w", x.by, x.region, err)
	}
	return runbook.Seen{"emptied": wiped}, nil
}

const wipedNote = "wiped"

// Confirm: every node was emptied in this run and is stopped, and the quarantine is over, by the time at which the ring
// itself says that the region's nodes were removed.
func (x empty) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw, err := stoppedAll(ctx, x.estate, x.region)
	if err != nil {
		return saw, err
	}
	done := notes.All(wipedNote)
	for _, n := range x.estate.Nodes(x.region, topology.Cassandra) {
		if !slices.Contains(done, any(n.Name())) {
			return saw, fmt.Errorf("%s has not been given an empty volume", n.Name())
		}
	}
	left, err := x.ignored(ctx, saw)
	if err == nil && left != "" {
		err = errors.New(left)
	}
	return saw, err
}

// ignored says which address the ring still ignores, and for how long; "": none.
func (x empty) ignored(ctx context.Context, saw runbook.Seen) (string, error) {
	views, err := viewsOf(ctx, x.estate, x.by)
	if err != nil {
		return "", err
	}
	for _, v := range views {
		for _, r := range v.Removed {
			if r.Region != x.region && r.Region != "" {
				continue
			}
			over := r.At.Add(2*v.RingDelay + quarantineSlack)
			saw["removed"] = r.At.Format(time.RFC3339)
			if left := time.Until(over); left > 0 {
				return fmt.Sprintf("%s removed %s at %s: its address is ignored for another %v", v.Node, r.Host, r.At.Format("15:04:05"), left.Round(100*time.Millisecond)), nil
			}
		}
	}
	return "", nil
}

// quarantineSlack is by how much the nodes' own timers may be late.
const quarantineSlack = time.Second

// Would implements runbook.Foreteller.
func (x empty) Would(context.Context) (string, error) {
	return "give empty volumes to " + list(names(x.estate.Nodes(x.region, topology.Cassandra))), nil
}
