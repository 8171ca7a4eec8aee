package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/drill/fault"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

// roundTripSentences are the sentences about a region that returns, and the way back.
func roundTripSentences(d *Drill) []sentence {
	return []sentence{
		{"When", `tokyo returns on its old data`, re(`(\w+) returns on its old data`), d.regionReturns, promiseReturn},
		{"When", `customers could reach tokyo again`, re(`customers could reach (\w+) again`), d.customersReach, promiseReturn},
	}
}

// promiseReturn: the world in which a region returns needs a region that is lost, which is the active one.
func promiseReturn(p *promised, args []string) error {
	if err := errors.Join(promiseRegions(p, args), promiseLoad(p, nil)); err != nil {
		return err
	}
	if topology.Site(args[0]) != p.topology.Active() {
		return fmt.Errorf("%s is not the region that is lost", args[0])
	}
	return nil
}

// startingOrder is how a region's nodes come back when its power does: what the others read first.
var startingOrder = [][]topology.Kind{
	{topology.Params},
	{topology.MySQL, topology.Cassandra},
	{topology.App, topology.Gateway, topology.Batch, topology.Reconciler},
}

// regionReturns is what happens to the people who prepare the failback (002): the lost region's power is back, and its old
// processes start again on their old data, with their old parameters, batch and all. What the world had done to the links between
// the sites heals; the operators' access list stays, and customers stay cut from the region. What its stores kept is read at once,
// before anything of it can change.
func (d *Drill) regionReturns(ctx context.Context, name string) error {
	site := topology.Site(name)
	if d.lost != site {
		return fmt.Errorf("%s was not lost", site)
	}
	healed := d.guard.Active()
	if _, err := d.guard.Inject(ctx, d.customersCut(site)); err != nil {
		return err
	}
	d.record.Mark(history.KindReturn, name, nil)
	d.say("world", "%s returns: its old processes start on their old data", site)
	for i, kinds := range startingOrder {
		if err := d.startNodes(ctx, site, kinds); err != nil {
			return err
		}
		if i == 1 {
			if err := d.keptBy(ctx, site); err != nil {
				return err
			}
		}
	}
	if err := d.guard.HealNamed(ctx, healed...); err != nil {
		return err
	}
	d.lost = ""
	d.say("world", "%s is back: it kept %d payments and %d events; customers stay cut from it", site, len(d.evidence.OldLedger.Payments), len(d.evidence.OldJournal.Events))
	return nil
}

// startNodes starts, together, those nodes of some kinds at a site that ran when it was lost.
func (d *Drill) startNodes(ctx context.Context, site topology.Site, kinds []topology.Kind) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, n := range d.world.Nodes(site, "") {
		if slices.Contains(kinds, n.Kind()) && slices.Contains(d.killed, n.Name()) {
			all.Go(func() error { return n.Start(ctx) })
		}
	}
	return all.Wait()
}

// keptBy reads what the stores of a region that just started hold.
func (d *Drill) keptBy(ctx context.Context, site topology.Site) error {
	ctx, cancel := context.WithTimeout(ctx, aloneLimit)
	defer cancel()
	stop := d.options.Progress.Beat("evidence", func() string { return "waiting for " + string(site) + "'s stores, on their old data" })
	defer stop()
	stores, ctx := errgroup.WithContext(ctx)
	stores.Go(func() error { return d.keptLedger(ctx, site) })
	stores.Go(func() error { return d.keptJournal(ctx, site) })
	return stores.Wait()
}

// customersCut keeps customers from a region whose links heal otherwise.
func (d *Drill) customersCut(site topology.Site) fault.Fault {
	f := fault.LinkFault{Fault: topology.Fault{Kind: topology.Cut}}
	for _, l := range d.world.Links() {
		if id := l.ID(); id.Service == topology.ServiceHTTP && (id.From == site || id.To == site) {
			f.Links = append(f.Links, id)
		}
	}
	return f
}

// customersReach heals the links between customers and the region: whoever dials it gets through, and DNS leads whom it leads.
func (d *Drill) customersReach(ctx context.Context, name string) error {
	if err := d.guard.Heal(ctx, d.customersCut(topology.Site(name))); err != nil {
		return err
	}
	d.say("world", "customers could reach %s again", name)
	return nil
}
