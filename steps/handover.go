package steps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/drill/fault"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/payment/schema"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
)

var (
	_ procedure.Follower = (*Estate)(nil)
	_ procedure.Comparer = (*Estate)(nil)
	_ procedure.Writing  = database{}
	_ procedure.Remover  = params{}
)

// handoverSentences are those about the planned switchover and the failback.
func handoverSentences(d *Drill) []sentence {
	return []sentence{
		{"When", `MySQL traffic between tokyo and osaka is cut`, re(`MySQL traffic between (\w+) and (\w+) is cut`), d.cutReplication, promiseRegions},
		{"When", `MySQL traffic between tokyo and osaka flows again`, re(`MySQL traffic between (\w+) and (\w+) flows again`), d.healReplication, promiseRegions},
		{"When", `the operator runs "switchover-planned", and everything is taken back`, re(`the operator runs "([^"]+)", and everything is taken back`), d.operateTakenBack, promiseProcedure},
		{"When", `the person in charge has "switchover-planned" taken back`, re(`the person in charge has "([^"]+)" taken back`), d.abort, promiseProcedure},
	}
}

// cutReplication is a fault that loses no region: a handover cannot be drained while it holds.
func (d *Drill) cutReplication(ctx context.Context, a, b string) error {
	f := replicationCut(a, b)
	done, err := d.guard.Inject(ctx, f)
	if err != nil {
		return err
	}
	felt := "felt by traffic"
	if !done.Felt() {
		felt = "NOT felt by traffic as declared"
	}
	d.say("fault", "MySQL traffic between %s and %s is cut, %s", a, b, felt)
	return nil
}

func (d *Drill) healReplication(ctx context.Context, a, b string) error {
	if err := d.guard.Heal(ctx, replicationCut(a, b)); err != nil {
		return err
	}
	d.say("fault", "MySQL traffic between %s and %s flows again", a, b)
	return nil
}

// replicationCut cuts MySQL's traffic between two regions, both ways.
func replicationCut(a, b string) fault.Fault {
	link := func(from, to string) topology.LinkID {
		return topology.LinkID{From: topology.Site(from), To: topology.Site(to), Service: topology.ServiceMySQL}
	}
	return fault.LinkFault{Links: []topology.LinkID{link(a, b), link(b, a)}, Fault: topology.Fault{Kind: topology.Cut}}
}

// operateTakenBack runs a procedure that has to fail before its point of commitment and to be taken back whole.
func (d *Drill) operateTakenBack(ctx context.Context, procedure string) error {
	if err := d.runOperator(ctx, procedure, ""); err == nil {
		return fmt.Errorf("%s was to be taken back, and went to its end", procedure)
	} else if err := d.undone(procedure); err != nil {
		return err
	}
	d.phase(history.PhaseAfter)
	return nil
}

// abort is what a person in charge asks for who has thought better of it: an operator takes back what was done.
func (d *Drill) abort(ctx context.Context, procedure string) error {
	o := operator{d.options.Kirikae, relative(d.folder), d.key, func(line string) { d.say("operator", "%s", line) }}
	duty, cancel := context.WithCancel(ctx)
	defer cancel()
	var persons sync.WaitGroup
	persons.Go(func() { d.attend(duty, ctx, procedure) })
	err := o.Run(ctx, procedure, or(d.who, dutyPerson), "", "--abort", "--why", personInCharge+" has called it off")
	cancel()
	persons.Wait()
	d.seeReign(ctx)
	if err := errors.Join(err, d.undone(procedure)); err != nil {
		return err
	}
	d.phase(history.PhaseAfter)
	return nil
}

// undone says whether the journal's last word on a procedure is that all of it was undone.
func (d *Drill) undone(procedure string) error {
	journal, err := history.LoadJournal(d.folder)
	if err != nil {
		return err
	}
	if len(journal) == 0 {
		return errors.New("the journal is empty")
	}
	if last := journal[len(journal)-1]; last.Kind != history.EntryUndone {
		return fmt.Errorf("%s was to be taken back; its last entry is %s of step %s: %s", procedure, last.Kind, last.Step, last.Error)
	}
	return nil
}

// Source implements procedure.Follower: the address of the door of the link through which a region dials another one's MySQL.
func (e *Estate) Source(region, source topology.Site) (string, error) {
	for _, l := range e.Links() {
		if l.ID() != (topology.LinkID{From: source, To: region, Service: topology.ServiceMySQL}) {
			continue
		}
		for _, door := range l.Doors() {
			if !door.Upstream { // the link's bytes come back to the one who dials
				return door.Address, nil
			}
		}
	}
	return "", fmt.Errorf("%s has no door to mysql of %s", region, source)
}

// Follow implements procedure.Follower.
func (e *Estate) Follow(ctx context.Context, region, source topology.Site) error {
	address, err := e.Source(region, source)
	if err != nil {
		return err
	}
	door, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("read the door of mysql of %s: %w", source, err)
	}
	db, err := e.mysql(region)
	if err != nil {
		return err
	}
	return db.Follow(ctx, door.Addr().String(), int(door.Port()), e.About().Secret, mysql.FollowOptions{})
}

// journalRows is how many rows a comparison of journals may read in each region.
const journalRows = 1_000_000

// CompareJournals implements procedure.Comparer.
func (e *Estate) CompareJournals(ctx context.Context, a, b topology.Site) (procedure.JournalsCompared, error) {
	var contents [2]cassandra.Content
	both, ctx := errgroup.WithContext(ctx)
	for i, site := range []topology.Site{a, b} {
		both.Go(func() (err error) {
			s, err := e.cassandra(ctx, site)
			if err != nil {
				return err
			}
			contents[i], err = s.Content(ctx, schema.Keyspace, journalRows)
			return err
		})
	}
	if err := both.Wait(); err != nil {
		return procedure.JournalsCompared{}, err
	}
	out := procedure.JournalsCompared{RowsA: contents[0].Rows(), RowsB: contents[1].Rows()}
	if d := contents[0].Diff(contents[1]); !d.Empty() {
		out.Differ = d.String()
	}
	return out, nil
}

// Remove implements procedure.Remover.
func (p params) Remove(ctx context.Context, names []string) (int64, error) {
	var doc paramsDocument
	err := p.e.call(ctx, http.MethodPut, p.url, nil, map[string]any{"remove": names}, &doc)
	return doc.Version, err
}
