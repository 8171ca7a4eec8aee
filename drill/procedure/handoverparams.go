package procedure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// sawBefore is the key under which params.prepare notes what stood in the store: name → value, or null.
const sawBefore = "before"

// prepare is set for a region that is not promoted yet: its application shall start in the epoch to come.
type prepare struct{ set }

// Act implements runbook.Action.
func (p prepare) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	wanted, _, values, err := p.compare(ctx)
	if err != nil {
		return nil, err
	}
	if len(notes.All(sawBefore)) == 0 { // an act that is repeated finds what the first one wrote
		before := map[string]any{}
		for name := range wanted {
			before[name] = nil
			if v, ok := values[name]; ok {
				before[name] = v
			}
		}
		if err := notes.Note(runbook.Seen{sawBefore: before}); err != nil {
			return nil, err
		}
	}
	return p.set.Act(ctx, notes)
}

// restore takes prepare back.
type restore struct {
	estate Estate
	region topology.Site
}

// before are the noted values, and the names that had none.
func (r restore) before(notes runbook.Notes) (values map[string]string, absent []string) {
	values = map[string]string{}
	for _, v := range notes.All(sawBefore) {
		m, _ := v.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if text, ok := m[name].(string); ok {
				values[name] = text
			} else {
				absent = append(absent, name)
			}
		}
		break // only the first note tells of a store that this run had not touched
	}
	return values, absent
}

// Check implements runbook.Action.
func (r restore) Check(ctx context.Context) (runbook.Seen, error) {
	version, _, err := readParams(ctx, r.estate, r.region)
	if err != nil {
		return nil, err
	}
	return runbook.Seen{"version": version}, nil
}

// Act implements runbook.Action.
func (r restore) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	values, absent := r.before(notes)
	if len(values) > 0 {
		if _, err := writeParams(ctx, r.estate, r.region, values); err != nil {
			return nil, err
		}
	}
	if len(absent) > 0 {
		if err := takeOut(ctx, r.estate, r.region, absent); err != nil {
			return nil, err
		}
	}
	return runbook.Seen{"wrote": values, "removed": absent}, nil
}

// takeOut removes parameters from a region's store.
func takeOut(ctx context.Context, e Estate, region topology.Site, names []string) error {
	store, err := e.Params(region)
	if err != nil {
		return err
	}
	remover, err := able[Remover](store, fmt.Sprintf("remove parameters of %s", region))
	if err != nil {
		return err
	}
	if _, err := remover.Remove(ctx, names); err != nil {
		return fmt.Errorf("remove parameters of %s: %w", region, err)
	}
	return nil
}

// Confirm: the store gives back what stood there, and has nothing that did not.
func (r restore) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	before, absent := r.before(notes)
	version, values, err := readParams(ctx, r.estate, r.region)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"version": version}
	if missing := differ(before, values); missing != "" {
		return saw, fmt.Errorf("the parameter store of %s has %s", r.region, missing)
	}
	return saw, left(values, absent, r.region)
}

// left says which of the names a store has.
func left(values map[string]string, names []string, region topology.Site) error {
	var still []error
	for _, name := range names {
		if v, ok := values[name]; ok {
			still = append(still, fmt.Errorf("the parameter store of %s still has %s=%s", region, name, v))
		}
	}
	return errors.Join(still...)
}

// remove takes out what an application would start by: a region that has stood down cannot be started by mistake on what was
// true before the handover.
type remove struct {
	estate Estate
	region topology.Site
	names  []string
}

// Writes names what the step sets.
func (r remove) Writes() []string { return writesParams(r.region, r.names...) }

// Check implements runbook.Action.
func (r remove) Check(ctx context.Context) (runbook.Seen, error) {
	return restore{r.estate, r.region}.Check(ctx)
}

// Act implements runbook.Action.
func (r remove) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	return runbook.Seen{"removed": r.names}, takeOut(ctx, r.estate, r.region, r.names)
}

// Confirm implements runbook.Action.
func (r remove) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	version, values, err := readParams(ctx, r.estate, r.region)
	if err != nil {
		return nil, err
	}
	return runbook.Seen{"version": version}, left(values, r.names, r.region)
}
