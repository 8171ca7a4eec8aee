package procedure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// set is article 002's rows 4 and 7: parameters that the application reads before it starts, and those that it works by
// afterwards. Addresses and the epoch are not written in procedures, where they would go stale: from_region names them, and
// the region gives their values.
type set struct {
	estate Estate
	region topology.Site
	from   []string
	values map[string]string
	seenBy string
	next   bool // the epoch is the one that follows the region's promotion
}

// regionGives says how a region gives the value of a parameter. Applications use the stores of their own region only.
var regionGives = map[string]func(ctx context.Context, e Estate, region topology.Site) (string, error){
	"mysql.endpoint": func(_ context.Context, e Estate, region topology.Site) (string, error) {
		return endpoints(e, region, topology.MySQL, topology.ServiceMySQL)
	},
	"cassandra.endpoints": func(_ context.Context, e Estate, region topology.Site) (string, error) {
		return endpoints(e, region, topology.Cassandra, topology.ServiceCQL)
	},
	// The seeds of a region's Cassandra nodes are those of the other region: a node that is its own seed takes no data from others.
	"cassandra.seeds": seeds,
	"cassandra.dc":    func(_ context.Context, _ Estate, region topology.Site) (string, error) { return string(region), nil },
	"epoch": func(ctx context.Context, e Estate, region topology.Site) (string, error) {
		epoch, _, err := epochOf(ctx, e, region)
		if err != nil {
			return "", err
		}
		return strconv.FormatInt(epoch, 10), nil
	},
}

// seeds are the addresses, as the ring names them, of the nodes of the other region that are up.
func seeds(ctx context.Context, e Estate, region topology.Site) (string, error) {
	for _, r := range e.Topology().Regions {
		if r.Name == region {
			continue
		}
		views, err := viewsOf(ctx, e, r.Name)
		if err != nil {
			return "", err
		}
		var out []string
		for _, m := range views[0].of(r.Name) {
			if m.State == memberUp {
				out = append(out, m.Address)
			}
		}
		if len(out) == 0 {
			return "", fmt.Errorf("%s sees no node of %s up", views[0].Node, r.Name)
		}
		return strings.Join(out, ","), nil
	}
	return "", fmt.Errorf("there is no region beside %s", region)
}

func fromRegion() []string { return slices.Sorted(maps.Keys(regionGives)) }

func endpoints(e Estate, region topology.Site, kind topology.Kind, service topology.Service) (string, error) {
	nodes, err := declared(e, region, kind)
	if err != nil {
		return "", err
	}
	var out []string
	for _, n := range nodes {
		at, err := n.Endpoint(service)
		if err != nil {
			return "", fmt.Errorf("find %s of %s: %w", service, n.Name(), err)
		}
		out = append(out, at)
	}
	return strings.Join(out, ","), nil
}

// readParams reads a region's parameter store.
func readParams(ctx context.Context, e Estate, region topology.Site) (version int64, values map[string]string, err error) {
	store, err := e.Params(region)
	if err != nil {
		return 0, nil, err
	}
	if version, values, err = store.Read(ctx); err != nil {
		return 0, nil, fmt.Errorf("read parameters of %s: %w", region, err)
	}
	return version, values, nil
}

// writeParams merges values into a region's parameter store.
func writeParams(ctx context.Context, e Estate, region topology.Site, values map[string]string) (version int64, err error) {
	store, err := e.Params(region)
	if err != nil {
		return 0, err
	}
	if version, err = store.Write(ctx, values); err != nil {
		return 0, fmt.Errorf("write parameters of %s: %w", region, err)
	}
	return version, nil
}

// writesParams names parameters of a region, for runbook.Writer.
func writesParams(region topology.Site, names ...string) []string {
	var out []string
	for _, name := range names {
		out = append(out, string(region)+"/params/"+name)
	}
	return out
}

func bindSet(e Estate, in Values) (runbook.Action, error) {
	s := set{estate: e, region: in.site("region"), from: in.texts("from_region"), values: in.table("values"), seenBy: in.text("seen_by")}
	for _, name := range s.from {
		if _, twice := s.values[name]; twice {
			return nil, &InputError{"values", fmt.Errorf("%s stands in values and in from_region, expected one of them", name)}
		}
	}
	if len(s.from)+len(s.values) == 0 {
		return nil, &InputError{"values", errors.New("no parameter is set")}
	}
	return s, nil
}

// Writes names what the step sets: row 7 sets again what row 4 had set.
func (s set) Writes() []string {
	return writesParams(s.region, append(slices.Collect(maps.Keys(s.values)), s.from...)...)
}

// wanted are the values that must stand in the store.
func (s set) wanted(ctx context.Context) (map[string]string, error) {
	out := maps.Clone(s.values)
	for _, name := range s.from {
		v, err := regionGives[name](ctx, s.estate, s.region)
		if s.next && name == "epoch" {
			var epoch int64
			epoch, err = nextEpoch(ctx, s.estate, s.region)
			v = strconv.FormatInt(epoch, 10)
		}
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		out[name] = v
	}
	return out, nil
}

// compare reads what the parameters shall be and what they are.
func (s set) compare(ctx context.Context) (wanted map[string]string, version int64, values map[string]string, err error) {
	if wanted, err = s.wanted(ctx); err != nil {
		return nil, 0, nil, err
	}
	version, values, err = readParams(ctx, s.estate, s.region)
	return wanted, version, values, err
}

func (s set) Check(ctx context.Context) (runbook.Seen, error) {
	wanted, version, _, err := s.compare(ctx)
	if err != nil {
		return nil, err
	}
	return runbook.Seen{"version": version, "wanted": wanted}, nil
}

func (s set) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	if slices.Contains(s.from, "epoch") && !s.next {
		if err := s.owns(ctx); err != nil {
			return nil, err
		}
	}
	wanted, err := s.wanted(ctx)
	if err != nil {
		return nil, err
	}
	version, err := writeParams(ctx, s.estate, s.region, wanted)
	if err != nil {
		return nil, err
	}
	return runbook.Seen{"version": version, "wrote": wanted}, nil
}

// owns refuses to hand out an epoch that belongs to another region.
func (s set) owns(ctx context.Context) error {
	epoch, owner, err := epochOf(ctx, s.estate, s.region)
	if err != nil {
		return err
	}
	if owner != s.region {
		return fmt.Errorf("epoch %d belongs to %s: promote the database of %s first", epoch, owner, s.region)
	}
	return nil
}

// Confirm: the store gives the values back, and the nodes that must work by them say that they do.
func (s set) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	wanted, version, values, err := s.compare(ctx)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"version": version}
	if missing := differ(wanted, values); missing != "" {
		return saw, fmt.Errorf("the parameter store of %s has %s", s.region, missing)
	}
	if s.seenBy != online {
		return saw, nil
	}
	nodes, err := declared(s.estate, s.region, topology.App)
	if err != nil {
		return saw, err
	}
	if err := running(ctx, nodes); err != nil {
		return saw, err
	}
	for _, n := range nodes {
		status, err := s.estate.Status(ctx, n)
		if err != nil {
			return saw, fmt.Errorf("ask %s for its status: %w", n.Name(), err)
		}
		if missing := differ(wanted, status.Values); missing != "" {
			return saw, fmt.Errorf("%s works by %s", n.Name(), missing)
		}
	}
	saw["seen_by"] = names(nodes)
	return saw, nil
}

// differ says which wanted values are not there, "" for none.
func differ(wanted, got map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if v, ok := got[name]; !ok {
			out = append(out, "no "+name)
		} else if v != wanted[name] {
			out = append(out, fmt.Sprintf("%s=%s, expected %s", name, v, wanted[name]))
		}
	}
	return strings.Join(out, ", ")
}
