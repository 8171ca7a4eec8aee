package procedure

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// What each act would do now, for a dry run (runbook.Foreteller). All of it is read from the world.

// Would implements runbook.Foreteller.
func (d deny) Would(ctx context.Context) (string, error) {
	_, open, err := d.list(ctx)
	if err != nil {
		return "", err
	}
	return "deny " + list(open), nil
}

// Would implements runbook.Foreteller.
func (d detach) Would(ctx context.Context) (string, error) {
	_, r, err := replicationOf(ctx, d.estate, d.region)
	if err != nil {
		return "", err
	}
	if r.Source == "" {
		return "nothing: there is no source any more", nil
	}
	drain := "drop what was received and not applied"
	if d.drain {
		drain = "apply what was received"
	}
	return fmt.Sprintf("stop receiving from %s, %s (received %s, executed %s), and forget the source", r.Source, drain, r.Received, r.Executed), nil
}

// Would implements runbook.Foreteller.
func (p promote) Would(ctx context.Context) (string, error) {
	_, r, epoch, site, err := p.look(ctx)
	if err != nil {
		return "", err
	}
	would := fmt.Sprintf("raise the epoch from %d of %s to %d of %s, and let everybody write in mysql of %s, after a restart too", epoch, site, epoch+1, p.region, p.region)
	if r.Source != "" {
		would += fmt.Sprintf("; refused as long as it replicates from %s", r.Source)
	}
	return would, nil
}

// Would implements runbook.Foreteller.
func (s set) Would(ctx context.Context) (string, error) {
	wanted, _, values, err := s.compare(ctx)
	if err != nil {
		return "", err
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		switch now, ok := values[name]; {
		case !ok:
			out = append(out, fmt.Sprintf("%s=%s (new)", name, wanted[name]))
		case now != wanted[name]:
			out = append(out, fmt.Sprintf("%s=%s (now %s)", name, wanted[name], now))
		}
	}
	return "write " + list(out) + " into the parameter store of " + string(s.region), nil
}

// Would implements runbook.Foreteller.
func (s startOnline) Would(ctx context.Context) (string, error) {
	would, err := starts(ctx, s.estate, s.region, topology.App)
	return would + ", then pay once through the entry", err
}

// Look implements runbook.Onlooker: its Confirm makes a payment.
func (s startOnline) Look(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	saw, _, err := working(ctx, s.estate, s.region, topology.App, nil)
	return saw, err
}

// Would implements runbook.Foreteller.
func (s startBatch) Would(ctx context.Context) (string, error) {
	would, err := starts(ctx, s.estate, s.region, topology.Batch)
	return "set " + batchEnabled + "=true, " + would, err
}

// Would implements runbook.Foreteller.
func (p point) Would(ctx context.Context) (string, error) {
	led, _, err := p.led(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("point %s at %s", list(led), p.to), nil
}

// Would implements runbook.Foreteller.
func (s startOnPremises) Would(ctx context.Context) (string, error) {
	return starts(ctx, s.estate, topology.Outside, topology.OnPremises)
}

// starts says which nodes of a kind are started, and in which state each is.
func starts(ctx context.Context, e Estate, site topology.Site, kind topology.Kind) (string, error) {
	out, err := byState(ctx, e, site, kind, func(n topology.Node, state topology.State) string {
		return fmt.Sprintf("%s (%s)", n.Name(), state)
	})
	if err != nil {
		return "", err
	}
	return "start " + list(out), nil
}

// byState is what is said of each node of a kind in its state; a node of which nothing is said is left out.
func byState(ctx context.Context, e Estate, site topology.Site, kind topology.Kind, says func(topology.Node, topology.State) string) ([]string, error) {
	nodes, err := declared(e, site, kind)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range nodes {
		state, err := n.State(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the state of %s: %w", n.Name(), err)
		}
		if said := says(n, state); said != "" {
			out = append(out, said)
		}
	}
	return out, nil
}

func list(words []string) string {
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}
