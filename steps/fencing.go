package steps

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kirikae/kirikae/drill/fault"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/payment/fence"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/local"
)

// fencingSentences are the sentences about what a region that is cut off may still do, with and without a witness.
func fencingSentences(d *Drill) []sentence {
	return []sentence{
		{"When", `tokyo is isolated from osaka and the witness but stays alive`, re(`(\w+) is isolated from (\w+) and the witness but stays alive`), d.isolatedFromWitness, promiseWitness},
		{"When", `what tokyo sends to osaka and the witness is lost, one way`, re(`what (\w+) sends to (\w+) and the witness is lost, one way`), d.isolatedOneWay, promiseWitness},
		{"When", `tokyo's links to osaka and the witness flap 3 times, 2 s down and 3 s up`, re(`(\w+)'s links to (\w+) and the witness flap (\d+) times, (DURATION) down and (DURATION) up`), d.flap, promiseFlap},
		{"When", `osaka has caught up, and the steady state holds again for 5 s`, re(`(\w+) has caught up, and the steady state holds again for (DURATION)`), d.steadyAgain, promiseAgain},
		{"When", `the fencing agent of tokyo is killed`, re(`the fencing agent of (\w+) is killed`), d.agentKilled, promiseAgent},
		{"When", `the witness is killed`, re(`the witness is killed`), d.witnessKilled, promiseWitness},
		{"When", `the witness comes back after 2 s`, re(`the witness comes back after (DURATION)`), d.witnessBack, promiseBack},
		{"When", `tokyo reboots, still isolated from osaka`, re(`(\w+) reboots, still isolated from (\w+)`), d.reboots, promiseRegions},
	}
}

// promiseWitness: the platform must have one, and the regions that are named.
func promiseWitness(p *promised, args []string) error {
	if err := promiseRegions(p, args); err != nil {
		return err
	}
	if p.topology.Fence != topology.WitnessFence {
		return fmt.Errorf("the platform has no witness: its fence is %s, expected %s", p.topology.Fence, topology.WitnessFence)
	}
	return nil
}

func promiseFlap(p *promised, args []string) error { return promiseWitness(p, args[:2]) }
func promiseAgain(p *promised, args []string) error {
	d, err := duration(args[1])
	if b := p.meta.Objectives.Recovery.Baseline.D(); err == nil && d < b {
		err = fmt.Errorf("the baseline is of %s, and the steady state need hold again for %s only", b, d)
	}
	return errors.Join(err, promiseRegions(p, args[:1]), promiseLoad(p, nil))
}
func promiseAgent(p *promised, args []string) error { return promiseWitness(p, args[:1]) }
func promiseBack(p *promised, _ []string) error     { return promiseWitness(p, nil) }

func (d *Drill) isolatedFromWitness(ctx context.Context, site, from string) error {
	return d.inject(ctx, topology.Site(site), fault.Isolation{Site: topology.Site(site), From: topology.Site(from), Witness: true})
}

func (d *Drill) isolatedOneWay(ctx context.Context, site, from string) error {
	return d.inject(ctx, topology.Site(site), fault.Isolation{Site: topology.Site(site), From: topology.Site(from), Witness: true, OneWay: true})
}

// flap cuts a region's links off and heals them, some times. Each time is a fault of its own, and attested. A MySQL that its guard had
// to kill meanwhile is started again.
func (d *Drill) flap(ctx context.Context, site, from, times, down, up string) error {
	cut, err := duration(down)
	if err != nil {
		return err
	}
	healed, err := duration(up)
	if err != nil {
		return err
	}
	f := fault.LinkFault{Fault: topology.Fault{Kind: topology.Cut}} // it loses no region: the region comes back
	for _, l := range d.world.Links() {
		switch id := l.ID(); {
		case id.From != topology.Site(site) && id.To != topology.Site(site):
		case id.Service == topology.ServiceWitness, id.From == topology.Site(from), id.To == topology.Site(from):
			f.Links = append(f.Links, id)
		}
	}
	for i := range int(number(times)) {
		if _, err := d.guard.Inject(ctx, f); err != nil {
			return err
		}
		if err := pass(ctx, cut); err != nil {
			return err
		}
		if err := d.guard.Heal(ctx, f); err != nil {
			return err
		}
		d.say("fault", "flap %d: %d links were cut for %s", i+1, len(f.Links), cut)
		if err := d.restartKilled(ctx, topology.Site(site), i+1); err != nil {
			return err
		}
		if err := pass(ctx, healed); err != nil {
			return err
		}
	}
	return nil
}

// restartKilled starts a region's MySQL if it has ended: a guard kills one that does not become read-only before its lease ends, by
// design, and whoever is on duty starts it again. Nothing else does, and the region would not come back.
func (d *Drill) restartKilled(ctx context.Context, site topology.Site, flap int) error {
	n, err := d.estate.only(site, topology.MySQL)
	if err != nil {
		return err
	}
	state, err := n.State(ctx)
	if err != nil || state != topology.Stopped {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return fmt.Errorf("start %s again after flap %d: %w", n.Name(), flap, err)
	}
	d.record.Mark(history.KindNote, fmt.Sprintf("%s was found stopped after flap %d, and was started again", n.Name(), flap), nil)
	d.say("world", "%s was found stopped after flap %d, and was started again", n.Name(), flap)
	return nil
}

// steadyAgain waits until a region has what the active one has now, in both stores, and customers have been served for as long as the
// baseline is taken from: what comes next is measured against a whole world, not against what an earlier fault has left.
func (d *Drill) steadyAgain(ctx context.Context, name, held string) error {
	hold, err := duration(held)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	began, active := d.record.Now(), d.world.Topology().Active()
	var want map[string]bool
	for {
		missing, err := -1, error(nil)
		if want == nil { // sessions that a fence has ended fail once
			want, err = d.paymentsAt(bounded, active)
		}
		if err == nil {
			missing, err = d.lacks(bounded, topology.Site(name), want)
		}
		if missing == 0 {
			break
		}
		if pass(bounded, time.Second) != nil {
			return fmt.Errorf("wait until %s has the %d rows of %s: %d are missing: %w", name, len(want), active, missing, errors.Join(err, context.Cause(bounded)))
		}
	}
	d.say("world", "%s has caught up, after %s", name, d.record.Now().Sub(began).Round(time.Millisecond))
	if err := d.load.Steady(bounded, hold); err != nil {
		return err
	}
	d.say("load", "steady again for %s: %s", hold, d.loadLine())
	return nil
}

// lacks counts what a region does not hold; -1 with an error.
func (d *Drill) lacks(ctx context.Context, site topology.Site, want map[string]bool) (missing int, err error) {
	have, err := d.paymentsAt(ctx, site)
	if err != nil {
		return -1, err
	}
	for p := range want {
		if !have[p] {
			missing++
		}
	}
	return missing, nil
}

// paymentsAt is what a region holds, by store and key.
func (d *Drill) paymentsAt(ctx context.Context, site topology.Site) (map[string]bool, error) {
	held, err := d.stores(ctx, site)
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, p := range held.Ledger.Payments {
		all["mysql "+p.Key] = true
	}
	for _, e := range held.Journal.Events {
		all["cassandra "+e.Key] = true
	}
	return all, nil
}

// agentKilled kills the parent of a region's MySQL, and sees the MySQL die with it. Where the agent is the first process of a
// container its end is the container's.
func (d *Drill) agentKilled(ctx context.Context, site string) error {
	n, err := d.estate.only(topology.Site(site), topology.MySQL)
	if err != nil {
		return err
	}
	began := d.record.Now()
	status, found, err := d.guardOf(n)
	switch {
	case err != nil:
		return err
	case found:
		if err := syscall.Kill(status.Guard, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill the fencing agent of %s (process %d): %w", n.Name(), status.Guard, err)
		}
	default:
		if err := n.Kill(ctx); err != nil {
			return err
		}
	}
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		state, err := n.State(bounded)
		alive := found && syscall.Kill(status.Mysqld, 0) == nil
		if err == nil && state == topology.Stopped && !alive {
			break
		}
		if pass(bounded, 20*time.Millisecond) != nil {
			return fmt.Errorf("the fencing agent of %s was killed, and its MySQL has not died with it: %s (process %d alive: %v): %w", n.Name(), state, status.Mysqld, alive, errors.Join(err, context.Cause(bounded)))
		}
	}
	took := d.record.Now().Sub(began).Round(time.Millisecond)
	d.record.MarkAt(began, history.KindNote, "the fencing agent of "+n.Name()+" was killed", map[string]string{"mysqld died after": took.String()})
	d.say("fault", "the fencing agent of %s was killed; its MySQL died with it, within %s", n.Name(), took)
	return nil
}

// guardOf reads what the guard of a MySQL says of itself, where it is a process of its own on this machine: in runtime local, where
// not finding it is an error. Elsewhere it is the first process of a container, and is not looked for.
func (d *Drill) guardOf(n topology.Node) (s fence.Status, found bool, err error) {
	if d.runtime.Name() != local.Name {
		return s, false, nil
	}
	f, err := hosted.ReadFile(d.folder)
	if err == nil {
		s, err = fence.ReadStatus(filepath.Join(f.State, "data", n.Name()+".guard")) // beside the node's data, see topology/local
	}
	if err == nil && (s.Guard <= 1 || s.Mysqld <= 1) { // 0 would be this process and all of its group
		err = fmt.Errorf("its status names the processes %d and %d", s.Guard, s.Mysqld)
	}
	if err != nil {
		return s, false, fmt.Errorf("find the fencing agent of %s by %s: %w", n.Name(), hosted.WorldFile(relative(d.folder)), err)
	}
	return s, true, nil
}

func (d *Drill) witnessKilled(ctx context.Context) error {
	n, err := d.estate.only(topology.Outside, topology.Witness)
	if err != nil {
		return err
	}
	if err := n.Kill(ctx); err != nil {
		return err
	}
	d.record.Mark(history.KindNote, "the witness was killed", nil)
	d.say("fault", "the witness was killed")
	return nil
}

func (d *Drill) witnessBack(ctx context.Context, after string) error {
	delay, err := duration(after)
	if err != nil {
		return err
	}
	if err := pass(ctx, delay); err != nil {
		return err
	}
	n, err := d.estate.only(topology.Outside, topology.Witness)
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	d.record.Mark(history.KindNote, "the witness was started again", nil)
	d.say("world", "the witness is back, on what it had written down")
	return nil
}

// reboots is a lost region whose power comes back before anybody expects it: its processes start on their old data, customers who
// dial it get through, and only the other region cannot reach it.
func (d *Drill) reboots(ctx context.Context, name, from string) error {
	site := topology.Site(name)
	if d.lost != site {
		return fmt.Errorf("%s was not lost", site)
	}
	healed := d.guard.Active()
	isolation := fault.Isolation{Site: site, From: topology.Site(from), Witness: d.world.Topology().Fence == topology.WitnessFence}
	if _, err := d.guard.Inject(ctx, isolation); err != nil {
		return err
	}
	d.record.Mark(history.KindNote, name+" reboots", nil)
	if err := d.guard.HealNamed(ctx, healed...); err != nil {
		return err
	}
	for _, kinds := range startingOrder {
		if err := d.startNodes(ctx, site, kinds); err != nil {
			return err
		}
	}
	cut := from
	if isolation.Witness {
		cut += " and the witness"
	}
	d.say("world", "%s reboots: its old processes run on their old data, cut from %s only", site, cut)
	return nil
}

// Leases implements procedure.Leaser.
func (e *Estate) Leases() (procedure.Leases, error) {
	n, err := e.only(topology.Outside, topology.Witness)
	if err != nil {
		return nil, fmt.Errorf("reach the witness: %w: %w", topology.ErrUnsupported, err)
	}
	address, err := n.Reach(topology.ServiceHTTP)
	if err != nil {
		return nil, err
	}
	return leases{fence.NewClient("http://"+address, e.http.Transport)}, nil
}

// leases is the witness as procedures use it.
type leases struct{ client *fence.Client }

var (
	_ procedure.Leaser = (*Estate)(nil)
	_ procedure.Leases = leases{}
)

// Lease implements procedure.Leases.
func (l leases) Lease(ctx context.Context) (procedure.Lease, error) {
	return told(l.client.Lease(ctx))
}

// Take implements procedure.Leases.
func (l leases) Take(ctx context.Context, site topology.Site, by, why string) (procedure.Lease, error) {
	var o *fence.Override
	if by != "" {
		o = &fence.Override{Who: by, Why: why}
	}
	return told(l.client.Take(ctx, string(site), o))
}

// Release implements procedure.Leases.
func (l leases) Release(ctx context.Context, site topology.Site) (procedure.Lease, error) {
	return told(l.client.Release(ctx, string(site)))
}

// told translates: a refusal is an answer, and says who holds the lease.
func told(l fence.Lease, err error) (procedure.Lease, error) {
	out := procedure.Lease{Holder: topology.Site(l.Holder), Renewed: l.Node != "", Term: l.Term, Left: l.Left.Duration().Seconds(), Released: l.Released}
	switch {
	case err == nil, errors.Is(err, fence.ErrHeld):
		return out, nil
	case errors.Is(err, fence.ErrSilent):
		return out, fmt.Errorf("%w: %w", procedure.ErrWitnessSilent, err)
	}
	return out, err
}
