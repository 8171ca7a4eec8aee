package steps

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
)

// ringSentences are the sentences about Cassandra leaving and joining regions.
func ringSentences(d *Drill) []sentence {
	return []sentence{
		{"Given", `20 records are kept in both regions, and 20 more that will be deleted`, re(`(\d+) records are kept in both regions, and (\d+) more that will be deleted`), d.plantRecords, promiseUp},
		{"When", `the operators deny cassandra's traffic between tokyo and osaka`, re(`the operators deny cassandra's traffic between (\w+) and (\w+)`), d.denyCassandra, promiseRegions},
		{"When", `tokyo takes 20 records behind the cut`, re(`(\w+) takes (\d+) records behind the cut`), d.takeRecords, promiseRecords},
		{"When", `osaka deletes the records that were to be deleted, and forgets that it did`, re(`(\w+) deletes the records that were to be deleted, and forgets that it did`), d.deleteRecords, promiseRegions},
		{"When", `the planted records are read in tokyo and in osaka`, re(`the planted records are read in (\w+) and in (\w+)`), d.readRecords, promiseRegions},
	}
}

func promiseRecords(p *promised, args []string) error { return promiseRegions(p, args[:1]) }

// Slots of planted records: no probe has them.
const (
	keptSlot    = 910_000_000
	deletedSlot = 920_000_000
	cutOffSlot  = 930_000_000
)

// planted are the records that a drill planted, by what they are for (history.ReadOf…).
type planted map[string][]int

func slotsFrom(first int, n string) ([]int, error) {
	count, err := strconv.Atoi(n)
	if err != nil {
		return nil, usagef("%q is no number of records", n)
	}
	var out []int
	for i := range count {
		out = append(out, first+i)
	}
	return out, nil
}

// plantRecords writes records at EACH_QUORUM: both regions have acknowledged them.
func (d *Drill) plantRecords(ctx context.Context, kept, deleted string) error {
	d.records = planted{}
	s, err := d.estate.cassandra(ctx, d.world.Topology().Active())
	if err != nil {
		return err
	}
	for of, from := range map[string]struct {
		first int
		n     string
	}{history.ReadOfKept: {keptSlot, kept}, history.ReadOfDeleted: {deletedSlot, deleted}} {
		slots, err := slotsFrom(from.first, from.n)
		if err != nil {
			return err
		}
		if err := s.PutRecords(ctx, slots, true); err != nil {
			return err
		}
		d.records[of] = slots
	}
	d.say("records", "%s are kept in both regions, %s more will be deleted", kept, deleted)
	return nil
}

func (d *Drill) denyCassandra(ctx context.Context, a, b string) error {
	return d.accessCassandra(ctx, a, b, topology.Deny, "denied")
}

func (d *Drill) allowCassandra(ctx context.Context, a, b string) error {
	return d.accessCassandra(ctx, a, b, topology.Allow, "allowed")
}

// accessCassandra is what the operators' access list says of Cassandra's traffic, both ways.
func (d *Drill) accessCassandra(ctx context.Context, a, b string, access topology.Access, says string) error {
	for _, id := range []topology.LinkID{{From: topology.Site(a), To: topology.Site(b), Service: topology.ServiceCassandra}, {From: topology.Site(b), To: topology.Site(a), Service: topology.ServiceCassandra}} {
		l, err := d.world.Link(id)
		if err != nil {
			return err
		}
		if err := l.SetAccess(ctx, access); err != nil {
			return err
		}
	}
	d.say("operator", "cassandra's traffic between %s and %s is %s", a, b, says)
	return nil
}

// takeRecords lets a region that is cut off take writes, as it does for whoever still reaches it.
func (d *Drill) takeRecords(ctx context.Context, site, n string) error {
	s, err := d.estate.cassandra(ctx, topology.Site(site))
	if err != nil {
		return err
	}
	slots, err := slotsFrom(cutOffSlot, n)
	if err != nil {
		return err
	}
	if err := s.PutRecords(ctx, slots, false); err != nil {
		return err
	}
	if d.records == nil {
		d.records = planted{}
	}
	d.records[history.ReadOfCutOff] = slots
	d.say("records", "%s took %s behind the cut", site, n)
	return nil
}

func (d *Drill) deleteRecords(ctx context.Context, site string) error {
	slots := d.records[history.ReadOfDeleted]
	if len(slots) == 0 {
		return usagef("no records were planted that could be deleted")
	}
	s, err := d.estate.cassandra(ctx, topology.Site(site))
	if err != nil {
		return err
	}
	if err := s.DeleteRecords(ctx, slots); err != nil {
		return err
	}
	if err := pass(ctx, 2*time.Second); err != nil { // a deletion's age counts in whole seconds
		return err
	}
	nodes, err := d.estate.nodesAt(topology.Site(site))
	if err != nil {
		return err
	}
	for _, n := range nodes {
		j := cassandra.OpenJMX(n.Name, n.JMX)
		err := j.Compact(ctx, "pay", "probes")
		j.Close()
		if err != nil {
			return err
		}
	}
	d.say("records", "%s deleted %d and forgot it", site, len(slots))
	return nil
}

// hintsLimit is how long the hints of a region that can be reached again are waited for: its dispatcher looks every 10 s.
const hintsLimit = 25 * time.Second

// readRecords reads what was planted: what is kept and what was deleted in the region that came back, what was taken behind the
// cut in the one that serves.
func (d *Drill) readRecords(ctx context.Context, returned, serving string) error {
	back, err := d.freshSession(ctx, topology.Site(returned))
	if err != nil {
		return err
	}
	defer back.Close()
	for _, of := range []string{history.ReadOfKept, history.ReadOfDeleted} {
		if err := d.look(ctx, back, returned, of); err != nil {
			return err
		}
	}
	slots := d.records[history.ReadOfCutOff]
	if len(slots) == 0 {
		return nil
	}
	s, err := d.freshSession(ctx, topology.Site(serving))
	if err != nil {
		return err
	}
	defer s.Close()
	bounded, cancel := context.WithTimeout(ctx, hintsLimit)
	defer cancel()
	for {
		found, err := s.Records(ctx, slots)
		if err != nil {
			return err
		}
		if len(found) == len(slots) || pass(bounded, time.Second) != nil {
			return d.look(ctx, s, serving, history.ReadOfCutOff)
		}
	}
}

// freshSession is a session of its own: one from before believes what it has seen then.
func (d *Drill) freshSession(ctx context.Context, site topology.Site) (*cassandra.Session, error) {
	where, err := d.estate.ring(site)
	if err != nil {
		return nil, err
	}
	return cassandra.Open(ctx, where)
}

func (d *Drill) look(ctx context.Context, s *cassandra.Session, site, of string) error {
	slots := d.records[of]
	if len(slots) == 0 {
		return nil
	}
	found, err := s.Records(ctx, slots)
	if err != nil {
		return fmt.Errorf("look for records (%s) in %s: %w", of, site, err)
	}
	d.record.Mark(history.KindRead, site+" "+of, history.ReadData{Site: site, Of: of, Asked: slots, Found: found})
	d.say("records", "%s gives %d of %d records (%s)", site, len(found), len(slots), of)
	return nil
}
