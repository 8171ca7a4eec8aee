package procedure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// Standard gives the verbs of the article's procedures, for one topology. Without an estate (nil) procedures can be loaded,
// checked and printed, and each step says that no world is attached.
func Standard(t topology.Topology, e Estate) Verbs {
	var regions []string
	for _, r := range t.Regions {
		regions = append(regions, string(r.Name))
	}
	region := func(name, says string) Input { return Input{Name: name, Kind: Region, Of: regions, Says: says} }
	verbs := Verbs{
		"access.deny": {
			Says: "Denies the traffic of one service between two regions, both ways, in the operators' access list.",
			Inputs: []Input{
				region("region", "The one that goes on alone"),
				region("peer", "The one it is cut from"),
				{Name: "service", Kind: Text, Of: []string{string(topology.ServiceCassandra), string(topology.ServiceMySQL)}, Says: "What the links carry"},
			},
			Bind: func(in Values) (runbook.Action, error) {
				if in.site("region") == in.site("peer") {
					return nil, &InputError{"peer", fmt.Errorf("peer is %s itself", in.site("region"))}
				}
				return deny{e, in.site("region"), in.site("peer"), topology.Service(in.text("service"))}, nil
			},
		},
		"mysql.detach": {
			Says: "Takes a region's MySQL out of the replication: stops its input, applies what it has received, forgets its source.",
			Inputs: []Input{
				region("region", "Whose database"),
				{Name: "drain", Kind: Truth, Says: "Apply what was received before the source is forgotten. Without it, acknowledged payments are dropped: only drills that plant this say false"},
			},
			Bind: func(in Values) (runbook.Action, error) { return detach{e, in.site("region"), in.truth("drain")}, nil },
		},
		"mysql.promote": {
			Says:   "Makes a region's detached MySQL the writer, for every restart too, and raises the epoch.",
			Inputs: []Input{region("region", "Whose database")},
			Bind:   func(in Values) (runbook.Action, error) { return promote{e, in.site("region")}, nil },
		},
		"params.set": {
			Says: "Writes parameters into a region's parameter store.",
			Inputs: []Input{
				region("region", "Whose parameter store"),
				{Name: "from_region", Kind: Texts, Of: fromRegion(), Says: "Parameters whose values are read from the region at that moment"},
				{Name: "values", Kind: Table, Says: "Parameters with their values"},
				{Name: "seen_by", Kind: Text, Of: []string{nobody, online}, Says: "Whose running nodes must show the values before the step is confirmed"},
			},
			Bind: func(in Values) (runbook.Action, error) { return bindSet(e, in) },
		},
		"app.start": {
			Says: "Brings a service of a region into operation, and sees it work: online by one synthetic payment, batch by its status.",
			Inputs: []Input{
				region("region", "Where"),
				{Name: "service", Kind: Text, Of: []string{online, batch}, Says: "Which nodes"},
			},
			Bind: func(in Values) (runbook.Action, error) {
				if in.text("service") == batch {
					return startBatch{e, in.site("region")}, nil
				}
				return startOnline{e, in.site("region")}, nil
			},
		},
		"dns.point": {
			Says:   "Points every record of the public zone that leads to one region at another, whatever records there are by then.",
			Inputs: []Input{region("from", "Where no record may lead any more"), region("to", "Where they lead instead")},
			Bind: func(in Values) (runbook.Action, error) {
				if in.site("from") == in.site("to") {
					return nil, &InputError{"to", fmt.Errorf("to is %s as well", in.site("from"))}
				}
				return point{e, in.site("from"), in.site("to")}, nil
			},
		},
		"onprem.start": {
			Says:   "Starts the application on premises, and sees it pay through the public entry.",
			Inputs: []Input{region("region", "The region that must answer it")},
			Bind:   func(in Values) (runbook.Action, error) { return startOnPremises{e, in.site("region")}, nil },
		},
	}
	for _, more := range []Verbs{generic(e, region), leaseVerbs(e, region), handoverVerbs(e, region), ringVerbs(e, region), rebuildVerbs(e, region), readinessVerbs(e, region)} {
		maps.Copy(verbs, more)
	}
	if e == nil {
		for name, v := range verbs {
			verbs[name] = v.unattached()
		}
	}
	return verbs
}

// unattached is the verb without a world: it still refuses inputs that do not fit.
func (v Verb) unattached() Verb {
	if bind := v.Bind; bind != nil {
		v.Bind = func(in Values) (runbook.Action, error) {
			_, err := bind(in)
			return unattached{}, err
		}
	}
	if read := v.Read; read != nil {
		v.Read = func(in Values) (Reader, error) {
			_, err := read(in)
			return unattached{}, err
		}
	}
	return v
}

// Services of app.start.
const (
	online = "online"
	batch  = "batch"
	nobody = "nobody"
)

// unattached is the action of a plan that is only printed.
type unattached struct{}

var errUnattached = errors.New("no world is attached")

func (unattached) Check(context.Context) (runbook.Seen, error) { return nil, errUnattached }
func (unattached) Act(context.Context, runbook.Notes) (runbook.Seen, error) {
	return nil, errUnattached
}
func (unattached) Confirm(context.Context, runbook.Notes) (runbook.Seen, error) {
	return nil, errUnattached
}

// pause between two reads of a state that an act waits for.
const pause = 20 * time.Millisecond

// until reads a state until it is reached or ctx ends. The error of a read ends the wait; missing says what is not reached yet.
func until(ctx context.Context, read func() (missing string, err error)) error {
	return untilEvery(ctx, pause, read)
}

// untilEvery is until for reads that cost the servers something.
func untilEvery(ctx context.Context, pause time.Duration, read func() (missing string, err error)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	missing := "nothing yet"
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last saw: %s", context.Cause(ctx), missing)
		case <-timer.C:
		}
		now, err := read()
		if err != nil && ctx.Err() != nil { // an attempt that was cut short has seen nothing
			return fmt.Errorf("%w; last saw: %s", context.Cause(ctx), missing)
		}
		if err != nil {
			return err
		}
		if now == "" {
			return nil
		}
		missing = now
		timer.Reset(pause)
	}
}

// running says which of the nodes do not run, in an error, or nil if all of them do.
func running(ctx context.Context, nodes []topology.Node) error {
	return allIn(ctx, nodes, topology.Running)
}

// allIn says which of the nodes are not in a state, in an error, or nil if all of them are.
func allIn(ctx context.Context, nodes []topology.Node, wanted topology.State) error {
	var missing []error
	for _, n := range nodes {
		switch state, err := n.State(ctx); {
		case err != nil:
			missing = append(missing, fmt.Errorf("read the state of %s: %w", n.Name(), err))
		case state != wanted:
			missing = append(missing, fmt.Errorf("%s is %s", n.Name(), state))
		}
	}
	return errors.Join(missing...)
}

// declared says that a site has nodes of a kind.
func declared(e Estate, site topology.Site, kind topology.Kind) ([]topology.Node, error) {
	nodes := e.Nodes(site, kind)
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%s has no %s node", site, kind)
	}
	return nodes, nil
}

func names(nodes []topology.Node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name())
	}
	slices.Sort(out)
	return out
}

// number reads back a number that was journalled.
func number(v any) (int64, bool) {
	switch n := v.(type) {
	case float64: // as JSON decodes it
		return int64(n), true
	case int64:
		return n, true
	case int:
		return int64(n), true
	default:
		return 0, false
	}
}
