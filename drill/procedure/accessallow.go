package procedure

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// allow is article 002's 東阪通信の復旧: the entry that denies goes from the operators' list. What the world does to the same links is
// not touched.
type allow struct{ deny }

func (a allow) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	allowed, err := a.set(ctx, topology.Allow)
	return runbook.Seen{"allowed": allowed}, err
}

// Confirm: the list says allow, both ways.
func (a allow) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	saw, open, err := a.list(ctx)
	if err == nil && len(open) != 2 {
		err = fmt.Errorf("the access list of %s allows only %s", a.service, list(open))
	}
	return saw, err
}

// Would implements runbook.Foreteller.
func (a allow) Would(ctx context.Context) (string, error) {
	saw, _, err := a.list(ctx)
	return fmt.Sprintf("allow %s both ways between %s and %s (now %v)", a.service, a.region, a.peer, saw), err
}

// Knocker is an Estate that can prove that a door leads through.
type Knocker interface {
	// Knock says something through a door that the service behind it must answer, and hears the answer. Nothing changes.
	Knock(ctx context.Context, service topology.Service, door topology.Door) error
}

// reopen is row 7: the operators' access list lets the service through again, to nobody who must not be reached.
type reopen struct {
	allow
	besideOld bool
}

// Writes names what the step sets.
func (a reopen) Writes() []string { return []string{"access/" + string(a.service)} }

func (a reopen) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	if a.service == topology.ServiceCassandra && !a.besideOld {
		if err := a.strangers(ctx); err != nil {
			return nil, err
		}
	}
	return a.allow.Act(ctx, notes)
}

// strangers refuses to open while nodes of the peer run that the region has removed: their hints would deliver what they took
// while they were cut off.
func (a reopen) strangers(ctx context.Context) error {
	views, err := viewsOf(ctx, a.estate, a.region)
	if err != nil {
		return err
	}
	if len(views[0].of(a.peer)) > 0 {
		return nil
	}
	if saw, err := stoppedAll(ctx, a.estate, a.peer); err != nil {
		return fmt.Errorf("nodes of %s run that are not in the ring of %s, stop them first: %w (saw %v)", a.peer, a.region, err, saw)
	}
	return nil
}

// Confirm: the list allows both ways, and each door leads to its node, where that runs.
func (a reopen) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw, err := a.allow.Confirm(ctx, notes)
	if err != nil {
		return saw, err
	}
	links, err := a.links()
	if err != nil {
		return saw, err
	}
	knocker, err := able[Knocker](a.estate, fmt.Sprintf("knock at the doors of %s", a.service))
	if err != nil {
		return saw, err
	}
	seen := map[string]bool{}
	for _, l := range links {
		for _, d := range l.Doors() {
			if seen[d.Node] {
				continue
			}
			seen[d.Node] = true
			state, err := stateOf(ctx, a.estate, d.Node)
			if err != nil {
				return saw, err
			}
			if state != topology.Running {
				saw["door of "+d.Node] = string(state)
				continue
			}
			if err := bounded(ctx, knockLimit, func(ctx context.Context) error { return knocker.Knock(ctx, a.service, d) }); err == nil {
				saw["door of "+d.Node] = "answers"
			} else if starting(ctx, a.estate, a.service, d.Node) {
				saw["door of "+d.Node] = "its node is starting"
			} else {
				return saw, fmt.Errorf("the door of %s does not lead to it: %w", d.Node, err)
			}
		}
	}
	return saw, nil
}

// knockLimit is for one answer through a door.
const knockLimit = 3 * time.Second

// starting says whether a node that runs takes no part yet: nobody listens behind its door, which proves nothing against the door. An
// operator who comes back after a later row has started the node finds it so.
func starting(ctx context.Context, e Estate, service topology.Service, name string) bool {
	if service != topology.ServiceCassandra {
		return false
	}
	for _, n := range e.Nodes("", topology.Cassandra) {
		if n.Name() != name {
			continue
		}
		k, err := keeper(e, n.Site())
		if err != nil {
			return false
		}
		views, _ := k.Views(ctx) // what another node could not say decides nothing here
		// Only a node that says it takes part accuses its door; one that says nothing yet has no mode.
		return slices.ContainsFunc(views, func(v RingView) bool { return v.Node == name && v.Mode != modeNormal })
	}
	return false
}

func stateOf(ctx context.Context, e Estate, name string) (topology.State, error) {
	for _, kind := range []topology.Kind{topology.Cassandra, topology.MySQL} {
		for _, n := range e.Nodes("", kind) {
			if n.Name() == name {
				return n.State(ctx)
			}
		}
	}
	return "", fmt.Errorf("a door leads to %s, and there is no such node", name)
}
