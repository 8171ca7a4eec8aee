package procedure

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// point is article 002's row 8. Records are added to the zone all the time, so the zone itself says which ones there are.
type point struct {
	estate Estate
	from   topology.Site
	to     topology.Site
}

// sawLed is the key under which the names that led to the old region are journalled, before anybody changes them.
const sawLed = "led"

// led returns the names that lead to the old region, and where every name leads.
func (p point) led(ctx context.Context) (led []string, sites map[string]topology.Site, err error) {
	records, err := p.estate.Zone().Records(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read the zone: %w", err)
	}
	if len(records) == 0 {
		return nil, nil, errors.New("the zone has no record")
	}
	sites = map[string]topology.Site{}
	led = []string{}
	for _, r := range records {
		sites[r.Name] = r.Site
		if r.Site == p.from {
			led = append(led, r.Name)
		}
	}
	slices.Sort(led)
	return led, sites, nil
}

// Check sees which records lead to the old region; the engine journals it when it begins to wait.
func (p point) Check(ctx context.Context) (runbook.Seen, error) {
	led, sites, err := p.led(ctx)
	if err != nil {
		return nil, err
	}
	return runbook.Seen{sawLed: led, "records": len(sites)}, nil
}

// Act does what the person would do, where a procedure does not make the step manual.
func (p point) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	led, _, err := p.led(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range led {
		if err := p.estate.Zone().Point(ctx, name, p.to); err != nil {
			return nil, fmt.Errorf("point %s at %s: %w", name, p.to, err)
		}
	}
	return runbook.Seen{"pointed": led}, nil
}

// Confirm: no record of the zone as it is now leads to the old region, and every one that did when this run first looked leads
// to the new one: a deleted record is no record that was pointed elsewhere.
func (p point) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	led, sites, err := p.led(ctx)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"records": len(sites)}
	if len(led) > 0 {
		return saw, fmt.Errorf("%d of %d records still lead to %s: %v", len(led), len(sites), p.from, led)
	}
	there := 0
	for _, site := range sites {
		if site == p.to {
			there++
		}
	}
	saw["lead_to_"+string(p.to)] = there
	if there == 0 {
		return saw, fmt.Errorf("no record leads to %s", p.to)
	}
	for _, v := range notes.All(sawLed) {
		names, _ := v.([]any)
		for _, n := range names {
			name, _ := n.(string)
			if site := sites[name]; site == "" {
				return saw, fmt.Errorf("%s, which led to %s, is gone from the zone", name, p.from)
			} else if site != p.to {
				return saw, fmt.Errorf("%s, which led to %s, leads to %s", name, p.from, site)
			}
		}
	}
	return saw, nil
}

// startOnPremises is article 002's row 9: the client on premises starts last, when the public entry leads to the new region.
type startOnPremises struct {
	estate Estate
	region topology.Site
}

func (s startOnPremises) Check(context.Context) (runbook.Seen, error) {
	nodes, err := declared(s.estate, topology.Outside, topology.OnPremises)
	if err != nil {
		return nil, err
	}
	return runbook.Seen{"nodes": names(nodes)}, nil
}

func (s startOnPremises) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	nodes, err := declared(s.estate, topology.Outside, topology.OnPremises)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if err := n.Start(ctx); err != nil {
			return nil, fmt.Errorf("start %s: %w", n.Name(), err)
		}
	}
	return runbook.Seen{"nodes": names(nodes)}, nil
}

// Confirm: every client runs, has paid since it was started, and it was the new region that answered last.
func (s startOnPremises) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	nodes, err := declared(s.estate, topology.Outside, topology.OnPremises)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"nodes": names(nodes)}
	if err := running(ctx, nodes); err != nil {
		return saw, err
	}
	for _, n := range nodes {
		status, err := s.estate.Status(ctx, n)
		if err != nil {
			return saw, fmt.Errorf("ask %s for its status: %w", n.Name(), err)
		}
		saw["paid"], saw["answered_by"] = status.Paid, string(status.Site)
		if status.Paid < 1 {
			return saw, fmt.Errorf("%s has not paid since it was started", n.Name())
		}
		if status.Site != s.region {
			return saw, fmt.Errorf("%s was last answered by %s, expected %s", n.Name(), status.Site, s.region)
		}
	}
	return saw, nil
}
