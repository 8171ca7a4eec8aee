// Package fault makes faults that count: each is a value that can be injected and healed, and each is attested by traffic. An
// answer "done" of a fault's own interface proves nothing; probes over the link, on connections old and new, must feel what was
// declared, after the injection and after the healing. A Guard remembers what was injected and heals it.
//
// Faults act on links and nodes of a topology.World and know nothing else.
package fault

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// Fault is a disturbance of a world, as a value. What it will do is known, and printed, before it is done.
type Fault interface {
	// Name is what marks and reports call it.
	Name() string
	// plan says what is done to which target, in order.
	plan(w topology.World) (plan, error)
}

// plan is what a fault does: first to links, in order, then to nodes, in order.
type plan struct {
	links []linkAct
	kill  []topology.Node
	// cuts is how many of the links, from the first, must be cut until the lost site can acknowledge nothing to customers and
	// send nothing to the other region; 0 for a fault that loses no site.
	cuts int
	// region is set when the fault loses a site for good (see Options.KeepLost).
	region bool
}

type linkAct struct {
	link  topology.Link
	fault topology.Fault
}

// RegionLoss is the loss of a region. Every link of the site is cut and then its nodes are killed: first the links to the other
// region, then those of customers, then the acquirer's, each in the order of their names, then all nodes at once.
// Links are cut before nodes die, so that no peer is told by a closing socket what a lost region could not have told it (and
// because toxiproxy can hang for long on a proxy whose target is dead).
//
// Healing it heals the links. The nodes stay dead: when a lost region's servers may run again is the operators' decision.
type RegionLoss struct{ Site topology.Site }

// Name is "loss of tokyo".
func (f RegionLoss) Name() string { return "loss of " + string(f.Site) }

func (f RegionLoss) plan(w topology.World) (plan, error) {
	p := plan{region: true}
	if err := knownSite(w, f.Site); err != nil {
		return p, fmt.Errorf("plan %s: %w", f.Name(), err)
	}
	const toRegion, toCustomers, toAcquirer = 0, 1, 2
	rank := func(id topology.LinkID) int {
		switch {
		case id.From != topology.Outside && id.To != topology.Outside:
			return toRegion
		case id.Service == topology.ServiceAcquirer, id.Service == topology.ServiceWitness: // nothing that is written passes them
			return toAcquirer
		}
		return toCustomers
	}
	links := linksOf(w, func(id topology.LinkID) bool { return id.From == f.Site || id.To == f.Site })
	sort.SliceStable(links, func(i, j int) bool { return rank(links[i].ID()) < rank(links[j].ID()) })
	for i, l := range links {
		p.links = append(p.links, linkAct{l, topology.Fault{Kind: topology.Cut}})
		if rank(l.ID()) != toAcquirer {
			p.cuts = i + 1
		}
	}
	if p.cuts == 0 {
		return p, fmt.Errorf("plan %s: no link joins %s to customers or to another region", f.Name(), f.Site)
	}
	inwards := []topology.Kind{topology.Gateway, topology.App, topology.Batch, topology.MySQL, topology.Cassandra, topology.Params}
	p.kill = slices.Clone(w.Nodes(f.Site, ""))
	sort.SliceStable(p.kill, func(i, j int) bool {
		return slices.Index(inwards, p.kill[i].Kind()) < slices.Index(inwards, p.kill[j].Kind())
	})
	if len(p.kill) == 0 {
		return p, fmt.Errorf("plan %s: it has no nodes", f.Name())
	}
	return p, nil
}

// Isolation cuts two regions off from each other; both stay alive and reachable for customers. Its cut (history.FaultData) is
// the instant after which Site can send nothing to From; unlike after a RegionLoss, Site may go on acknowledging.
type Isolation struct {
	Site, From topology.Site
	// Witness: Site cannot reach the witness either. Without it the witness sees both, and decides for nobody.
	Witness bool
	// OneWay: only what Site sends is lost, without a word; what is sent to it arrives.
	OneWay bool
}

// Name is "isolation of tokyo from osaka".
func (f Isolation) Name() string {
	name := "isolation of " + string(f.Site) + " from " + string(f.From)
	if f.Witness {
		name += " and the witness"
	}
	if f.OneWay {
		name += ", one way"
	}
	return name
}

func (f Isolation) plan(w topology.World) (plan, error) {
	var p plan
	for _, s := range []topology.Site{f.Site, f.From} {
		if err := knownSite(w, s); err != nil {
			return p, fmt.Errorf("plan %s: %w", f.Name(), err)
		}
	}
	kind := topology.Cut
	if f.OneWay {
		kind = topology.BlackHole
	}
	add := func(wanted func(topology.LinkID) bool) {
		for _, l := range linksOf(w, wanted) {
			p.links = append(p.links, linkAct{l, topology.Fault{Kind: kind}})
		}
	}
	add(func(id topology.LinkID) bool {
		return id.From == f.Site && id.To == f.From || !f.OneWay && id.From == f.From && id.To == f.Site
	})
	if len(p.links) == 0 {
		return p, fmt.Errorf("plan %s: no link joins them", f.Name())
	}
	p.cuts = len(p.links)
	if f.Witness {
		add(func(id topology.LinkID) bool {
			return id.Service == topology.ServiceWitness && (id.From == f.Site || !f.OneWay && id.To == f.Site)
		})
		if len(p.links) == p.cuts {
			return p, fmt.Errorf("plan %s: no link joins %s and a witness", f.Name(), f.Site)
		}
	}
	return p, nil
}

// Lag makes the bytes of one link late: with the link that carries a database's data to its replica, replication lag.
type Lag struct {
	Link  topology.LinkID
	Delay time.Duration // one way, instead of the base delay
}

// Name is "lag of 400ms on tokyo>osaka/mysql".
func (f Lag) Name() string { return fmt.Sprintf("lag of %v on %s", f.Delay, f.Link) }

func (f Lag) plan(w topology.World) (plan, error) {
	if f.Delay <= 0 {
		return plan{}, fmt.Errorf("plan %s: the delay must be positive", f.Name())
	}
	p, err := LinkFault{[]topology.LinkID{f.Link}, topology.Fault{Kind: topology.Slow, Delay: f.Delay}}.plan(w)
	if err != nil {
		return p, fmt.Errorf("plan %s: %w", f.Name(), err)
	}
	return p, nil
}

// LinkFault does one thing to some links, in their order.
type LinkFault struct {
	Links []topology.LinkID
	Fault topology.Fault
}

// Name is "cut of tokyo>osaka/mysql and 1 more".
func (f LinkFault) Name() string {
	name := string(f.Fault.Kind)
	if len(f.Links) > 0 {
		name += " of " + f.Links[0].String()
	}
	if n := len(f.Links); n > 1 {
		name += fmt.Sprintf(" and %d more", n-1)
	}
	return name
}

func (f LinkFault) plan(w topology.World) (plan, error) {
	var p plan
	if len(f.Links) == 0 || f.Fault.Kind == topology.NoFault {
		return p, fmt.Errorf("plan link fault: it names %d links and the fault %q", len(f.Links), f.Fault.Kind)
	}
	for _, id := range f.Links {
		l, err := w.Link(id)
		if err != nil {
			return p, fmt.Errorf("plan %s: %w", f.Name(), err)
		}
		p.links = append(p.links, linkAct{l, f.Fault})
	}
	return p, nil
}

// linksOf returns the links that are wanted, in the order of their names.
func linksOf(w topology.World, wanted func(topology.LinkID) bool) []topology.Link {
	var out []topology.Link
	for _, l := range w.Links() {
		if wanted(l.ID()) {
			out = append(out, l)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].ID().String() < out[j].ID().String() })
	return out
}

func knownSite(w topology.World, s topology.Site) error {
	var known []topology.Site
	for _, r := range w.Topology().Regions {
		if r.Name == s {
			return nil
		}
		known = append(known, r.Name)
	}
	return fmt.Errorf("%q is not a region of %q (%v)", s, w.Topology().Name, known)
}
