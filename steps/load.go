package steps

import (
	"context"
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/workload"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/mysql"
)

// Periods of what the drill watches beside the customers.
const (
	canaryPeriod   = 50 * time.Millisecond
	canaryDeadline = 200 * time.Millisecond
	receivedPeriod = 100 * time.Millisecond
	snapshotPeriod = time.Second
	watchLimit     = time.Second // of one reading of a store
)

// startLoad puts customers, canaries and samplers on the world.
func (d *Drill) startLoad(ctx context.Context) error {
	d.phase(history.PhaseLoad)
	t := d.world.Topology()
	d.plan.Accounts = t.Accounts
	d.plan.Resolver = d.world.Zone().Server()
	d.plan.Port = topology.ServiceHTTP.Port()
	d.plan.Sites = workload.Entries(d.world)
	for _, r := range t.Zone.Records {
		d.plan.Names = append(d.plan.Names, r+"."+t.Zone.Name)
	}
	load, err := workload.New(d.plan, d.record)
	if err != nil {
		return err
	}
	nodes, err := d.estate.Writers()
	if err != nil {
		return err
	}
	d.canaries, err = workload.StartCanaries(d.ctx, nodes, workload.CanaryPlan{Seed: d.options.Seed, Period: canaryPeriod, Deadline: canaryDeadline}, d.record)
	if err != nil {
		return err
	}
	if err := d.startSamplers(t); err != nil {
		return err
	}
	d.load = load
	d.load.Start(d.ctx)
	d.say("load", "%g payments/s, %g probes/s, %g repeated keys/s", d.plan.PaymentRate, d.plan.ProbeRate, d.plan.RepeatRate)
	return nil
}

// startSamplers watches what the replica received, and takes snapshots of the money in every region.
func (d *Drill) startSamplers(t topology.Topology) error {
	replica := &follower{}
	for _, site := range []topology.Site{t.Standby(), t.Active()} {
		db, err := d.estate.mysql(site)
		if err != nil {
			return err
		}
		replica.servers = append(replica.servers, db)
	}
	d.samplers = append(d.samplers, workload.SampleReceived(d.ctx, d.record, replica, receivedPeriod, watchLimit))
	for _, region := range t.Regions {
		db, err := d.estate.mysql(region.Name)
		if err != nil {
			return err
		}
		d.samplers = append(d.samplers, workload.SampleSnapshots(d.ctx, d.record, db, snapshotPeriod, watchLimit))
	}
	return nil
}

// waitLag measures how old the newest canary row is that a region shows, until it is as old as wanted. The measuring goes on
// until a region is lost: from then on nothing is replicated, and an age is no lag.
func (d *Drill) waitLag(ctx context.Context, site topology.Site, least time.Duration) error {
	db, err := d.estate.mysql(site)
	if err != nil {
		return err
	}
	from := newestFrom{db, string(d.world.Topology().Active())}
	sampler := workload.SampleLag(d.ctx, d.record, db.Name(), from, receivedPeriod, watchLimit)
	d.samplers, d.lag = append(d.samplers, sampler.Sampler), sampler
	return sampler.WaitLag(ctx, least)
}

// newestFrom reads, at a replica, the newest canary row that one site wrote.
type newestFrom struct {
	db   *mysql.Server
	site string
}

// NewestCanary implements workload.CanaryReader.
func (n newestFrom) NewestCanary(ctx context.Context) (history.Instant, error) {
	_, t, err := n.db.NewestCanary(ctx, n.site)
	return t, err
}

// loadLine is the load so far, for progress.
func (d *Drill) loadLine() string {
	s := d.load.Stat(history.StreamPayment)
	p := d.load.Stat(history.StreamProbe)
	return fmt.Sprintf("payments %d ok %d failed %d unknown · probes %d ok %d failed %d unknown", s.OK, s.Fail, s.Info, p.OK, p.Fail, p.Info)
}
