package procedure

import (
	"context"
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// listed points the records that a procedure lists.
type listed struct {
	estate  Estate
	records []string
	to      topology.Site
}

// names of the records, whole.
func (l listed) names() []string {
	var out []string
	for _, r := range l.records {
		out = append(out, r+"."+l.estate.Topology().Zone.Name)
	}
	slices.Sort(out)
	return out
}

// Check implements runbook.Action.
func (l listed) Check(ctx context.Context) (runbook.Seen, error) {
	_, err := l.elsewhere(ctx)
	return runbook.Seen{"records": l.names()}, err
}

// elsewhere are the listed records that do not lead to the region.
func (l listed) elsewhere(ctx context.Context) ([]string, error) {
	records, err := l.estate.Zone().Records(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the zone: %w", err)
	}
	there := map[string]bool{}
	for _, r := range records {
		there[r.Name] = r.Site == l.to
	}
	var out []string
	for _, name := range l.names() {
		if there, known := there[name]; !known {
			return nil, fmt.Errorf("the zone has no record %s", name)
		} else if !there {
			out = append(out, name)
		}
	}
	return out, nil
}

// Act implements runbook.Action.
func (l listed) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	for _, name := range l.names() {
		if err := l.estate.Zone().Point(ctx, name, l.to); err != nil {
			return nil, fmt.Errorf("point %s at %s: %w", name, l.to, err)
		}
	}
	return runbook.Seen{"pointed": l.names()}, nil
}

// Confirm implements runbook.Action.
func (l listed) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	left, err := l.elsewhere(ctx)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%v do not lead to %s", left, l.to)
	}
	return runbook.Seen{"records": l.names()}, err
}
