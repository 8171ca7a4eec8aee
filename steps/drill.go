package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/fault"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
	"github.com/kirikae/kirikae/drill/workload"
	"github.com/kirikae/kirikae/topology"
)

// Drill is one scenario being played. Its methods are the sentences.
type Drill struct {
	options  Options
	scenario Scenario
	runtime  topology.Runtime
	turn     *turn // among the drills of a run; nil: it is played alone

	ctx    context.Context // of the run; a scenario's own context ends with its last sentence
	cancel context.CancelCauseFunc
	ran    bool // the scenario was opened: it counts
	code   int  // exit code, once closed

	folder   string
	meta     history.Meta
	record   *history.Recorder
	defects  map[string][]string
	plan     workload.Plan
	person   time.Duration // after which the person on duty acts; 0: nobody is on duty
	approver time.Duration // after which the person in charge approves; 0: nobody does
	who      string        // who runs procedures, and on whose decision, for the journal
	key      string        // file of that person's key; "": none

	process  *childWorld
	world    topology.World
	estate   *Estate
	load     *workload.Load
	canaries *workload.Canaries
	guard    *fault.Guard
	lost     topology.Site     // set by the fault, until the region returns
	killed   []string          // nodes that ran when the region was lost
	reign    history.ReignData // as last seen
	samplers []*workload.Sampler
	records  planted
	lag      *workload.LagSampler // one of the samplers; nil: nobody asked

	interrupted interruptedPayments // how payments that were interrupted are looked at

	evidence history.Evidence
	ended    bool // end was begun
	judged   *check.Drill

	procedure string // that was run last
}

// open makes the run folder and writes down what this drill is, before anything starts.
//
// The context of every sentence is the drill's own, which ends when the world process dies under it.
func (d *Drill) open(ctx context.Context) (context.Context, error) {
	d.ran = true
	d.ctx, d.cancel = context.WithCancelCause(ctx)
	d.defects = map[string][]string{}
	clock := history.Monotonic{}
	d.meta = history.Meta{
		Schema: history.SchemaVersion, Name: d.scenario.Name, Feature: d.scenario.Feature, Line: d.scenario.Line,
		Tags: d.scenario.Tags, Steps: d.scenario.Steps, Seed: d.options.Seed, Runtime: d.runtime.Name(),
		BootID: history.BootID(), PID: os.Getpid(), Origin: clock.Now(), Started: time.Now().Format(time.RFC3339),
		Engines: map[string]string{},
	}
	if err := promises(d.scenario, &d.meta); err != nil {
		return d.ctx, err
	}
	d.meta.Objectives = objective.WithDefaults(d.meta.Objectives)
	folder, err := makeFolder(d.options.Out, d.scenario.Name, time.Now())
	if err != nil {
		return d.ctx, fmt.Errorf("%w: %w", err, topology.ErrEnvironment)
	}
	d.folder = folder
	if err := d.saveMeta(); err != nil {
		return d.ctx, err
	}
	d.record, err = history.NewRecorder(folder, clock)
	if err != nil {
		return d.ctx, err
	}
	d.plan = workload.Plan{Seed: d.options.Seed}
	d.say("drill", "%s  (%s)", d.scenario.Name, d.scenario.Place())
	return d.ctx, nil
}

func (d *Drill) say(who, format string, args ...any) { d.options.Progress.Say(who, format, args...) }

func (d *Drill) saveMeta() error {
	return history.WriteJSON(filepath.Join(d.folder, history.MetaFile), d.meta)
}

func (d *Drill) phase(name string) { d.record.Mark(history.KindPhase, name, nil) }

// Given

func (d *Drill) plantDefect(defect string) error {
	d.defects[string(topology.App)] = append(d.defects[string(topology.App)], "--defect", defect)
	d.meta.Planted = append(d.meta.Planted, "app: "+defect)
	return d.saveMeta()
}

func (d *Drill) plantBypass() error {
	d.defects["wan"] = append(d.defects["wan"], "bypass")
	d.meta.Planted = append(d.meta.Planted, "wan: traffic goes around the proxies")
	return d.saveMeta()
}

// worldUp starts the world process and attaches to what it made, as any other process would.
func (d *Drill) worldUp(ctx context.Context, file string) error {
	d.phase(history.PhaseWorldUp)
	path, err := keepTopology(file, d.folder)
	if err != nil {
		return err
	}
	if d.approves() {
		if err := d.makeKeys(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	d.process, err = StartWorld(ctx, d.options.Kirikae, WorldSpec{
		Folder: d.folder, Topology: path, Runtime: d.runtime.Name(), Images: d.options.Images, Volumes: d.options.Volumes, Seed: d.options.Seed, Defects: d.defects,
	}, func(line string) { d.say("world", "%s", line) })
	if err != nil {
		return err
	}
	d.process.Watch(func(err error) { d.cancel(err) })
	d.world, err = d.runtime.Attach(ctx, d.folder)
	if err != nil {
		return err
	}
	d.estate, err = NewEstate(d.world)
	if err != nil {
		return err
	}
	t := d.world.Topology()
	d.meta.Topology, d.meta.Active, d.meta.Standby = t.Name, string(t.Active()), string(t.Standby())
	d.meta.Engines, err = d.estate.Engines(ctx)
	if err != nil {
		return err
	}
	d.meta.Volumes = string(d.world.About().Volumes)
	for _, i := range d.world.About().Images {
		d.meta.Images = append(d.meta.Images, history.Image(i))
	}
	d.say("world", "up after %.1f s · mysql %s · cassandra %s", time.Since(began).Seconds(), d.meta.Engines["mysql"], d.meta.Engines["cassandra"])
	if err := d.turn.await(ctx, d.untimed(), func() { d.say("world", "waits for the drill before to end") }); err != nil {
		return err
	}
	if d.untimed() && !d.hasCustomers() {
		d.turn.pass()
	}
	d.seeReign(ctx)
	d.guard = fault.NewGuard(d.world, d.record, fault.Options{KeepLost: true, Planted: strings.Join(d.meta.Planted, ", ")})
	return d.saveMeta()
}

func (d *Drill) payments(rate, stale string) error {
	share, err := strconv.ParseFloat(stale, 64)
	d.plan.PaymentRate, d.plan.StaleShare = number(rate), share/100
	return err
}

func (d *Drill) probes(rate string) error {
	d.plan.ProbeRate = number(rate)
	return nil
}

func (d *Drill) repeats(rate string) error {
	d.plan.RepeatRate = number(rate)
	return nil
}

// number reads what \d+ matched.
func number(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}

// steadyLimit is for a platform that was just started to serve well: caches are cold, and code is compiled while it runs.
const steadyLimit = 2 * time.Minute

// steadyState starts load, canaries and samplers, and returns when the platform has served well for so long.
func (d *Drill) steadyState(ctx context.Context, held string) error {
	hold, err := duration(held)
	if err != nil {
		return err
	}
	if err := d.startLoad(ctx); err != nil {
		return err
	}
	began := d.record.Now()
	stop := d.options.Progress.Beat("load", d.loadLine)
	defer stop()
	d.evidence.StartFacts = d.readFacts(ctx) // seconds of a CPU: while the platform warms up, not in the steady state that a fault is measured by
	bounded, cancel := context.WithTimeout(ctx, hold+steadyLimit)
	defer cancel()
	if err := d.load.Steady(bounded, hold); err != nil {
		return err
	}
	d.record.MarkAt(max(began, d.record.Now().Add(-hold)), history.KindPhase, history.PhaseSteady, nil)
	d.say("load", "steady for %s: %s", hold, d.loadLine())
	if _, err = d.guard.Attest(ctx, fault.Before); err != nil {
		return err
	}
	if d.untimed() {
		d.turn.pass()
	}
	return nil
}

func (d *Drill) addRecord(ctx context.Context, name string) error {
	fqdn := name + "." + d.world.Topology().Zone.Name
	if err := d.world.Zone().Point(ctx, fqdn, d.world.Topology().Active()); err != nil {
		return err
	}
	d.record.Mark(history.KindNote, "DNS record "+fqdn+" was added", nil)
	d.say("dns", "%s was added: no procedure file knows it", fqdn)
	return nil
}

func (d *Drill) replicationLag(ctx context.Context, from, to, atLeast string) error {
	least, err := duration(atLeast)
	if err != nil {
		return err
	}
	link := topology.LinkID{From: topology.Site(from), To: topology.Site(to), Service: topology.ServiceMySQL}
	if _, err := d.guard.Inject(ctx, fault.Lag{Link: link, Delay: least + least/6}); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := d.waitLag(bounded, topology.Site(to), least); err != nil {
		return err
	}
	d.say("lag", "%s shows what %s wrote at least %s ago", to, from, least)
	return nil
}

// eventsLate slows what Cassandra sends to the other region: what customers were told last is then in one store there and not in the
// other, whatever the moment of a loss.
func (d *Drill) eventsLate(ctx context.Context, from, to, late string) error {
	delay, err := duration(late)
	if err != nil {
		return err
	}
	link := topology.LinkID{From: topology.Site(from), To: topology.Site(to), Service: topology.ServiceCassandra}
	if _, err := d.guard.Inject(ctx, fault.Lag{Link: link, Delay: delay}); err != nil {
		return err
	}
	d.say("lag", "%s's journal events reach %s %s late", from, to, delay)
	return nil
}

func (d *Drill) applyLate(ctx context.Context, site, late string) error {
	delay, err := duration(late)
	if err != nil {
		return err
	}
	db, err := d.estate.mysql(topology.Site(site))
	if err != nil {
		return err
	}
	if err := db.SetApplierDelay(ctx, delay); err != nil {
		return err
	}
	d.meta.Planted = append(d.meta.Planted, fmt.Sprintf("%s applies %s late", site, delay))
	d.say("lag", "%s applies %s late", site, delay)
	bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := d.waitLag(bounded, topology.Site(site), delay*9/10); err != nil {
		return err
	}
	return d.saveMeta()
}

func (d *Drill) personOnDuty(after string) error {
	delay, err := duration(after)
	d.person = delay
	return err
}

// approvesSentence is how the sentence begins by which somebody approves.
const approvesSentence = "the person in charge approves "

// approves says whether anybody will approve anything. Keys are made by programs, and programs take from the CPU: that is done before there
// is anybody who could feel it.
func (d *Drill) approves() bool {
	return d.has(approvesSentence)
}

func (d *Drill) approvals(after string) (err error) {
	d.key = d.keyOf(dutyPerson)
	d.approver, err = duration(after)
	return err
}

// When

func (d *Drill) regionLost(ctx context.Context, site string) error {
	return d.inject(ctx, topology.Site(site), fault.RegionLoss{Site: topology.Site(site)})
}

func (d *Drill) regionIsolated(ctx context.Context, site, from string) error {
	return d.inject(ctx, topology.Site(site), fault.Isolation{Site: topology.Site(site), From: topology.Site(from)})
}

// inject breaks the world. Whether traffic felt it is recorded, for the judges.
func (d *Drill) inject(ctx context.Context, site topology.Site, f fault.Fault) error {
	d.phase(history.PhaseFault)
	d.lost = site
	done, err := d.guard.Inject(ctx, f)
	if d.lag != nil {
		d.lag.Stop()
	}
	if err != nil {
		return err
	}
	d.killed = done.Targets
	felt := "felt by traffic on every link"
	if !done.Felt() {
		felt = "NOT felt by traffic as declared"
	}
	d.say("fault", "%s: %d links and nodes in %s, %s", f.Name(), len(done.Targets), done.Done.Sub(done.Began).Round(time.Millisecond), felt)
	return nil
}

func (d *Drill) decide(ctx context.Context, after string) error {
	delay, err := duration(after)
	if err != nil {
		return err
	}
	if err := pass(ctx, delay); err != nil {
		return err
	}
	d.record.Mark(history.KindDecision, "switchover", history.PersonData{Who: personInCharge, Did: "decided to switch over"})
	d.who = dutyPerson + ", as " + personInCharge + " decided"
	d.say("person", "%s decides to switch over", personInCharge)
	return nil
}

func (d *Drill) operate(ctx context.Context, procedure string) error {
	return d.runOperator(ctx, procedure, "")
}

func (d *Drill) operateAndDie(ctx context.Context, procedure, step, point string) error {
	err := d.runOperator(ctx, procedure, crash(step+":"+point))
	if errors.Is(err, errKilled) {
		d.record.Mark(history.KindDeath, step, history.DeathData{Procedure: procedure, Point: point})
		d.say("operator", "killed at step %s, %s", step, point)
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("the operator was to die at step %s, %s, and did not", step, point)
}

// runOperator is one operator process, with the persons that it may ask. However it ends, the servers are asked who reigns by then.
func (d *Drill) runOperator(ctx context.Context, procedure string, at crash) error {
	if procedure != d.procedure {
		d.phase(history.PhaseProcedure)
	}
	d.procedure = procedure
	if d.meta.Procedure == "" {
		d.meta.Procedure = procedure
		if err := d.saveMeta(); err != nil {
			return err
		}
	}
	duty, cancel := context.WithCancel(ctx)
	defer cancel()
	var persons sync.WaitGroup
	persons.Go(func() { d.attend(duty, ctx, procedure) })
	o := operator{d.options.Kirikae, relative(d.folder), d.key, func(line string) { d.say("operator", "%s", line) }}
	err := o.Run(ctx, procedure, or(d.who, dutyPerson), at)
	cancel()
	persons.Wait()
	d.seeReign(ctx)
	if err == nil {
		d.phase(history.PhaseAfter)
	}
	return err
}

func (d *Drill) loadGoesOn(ctx context.Context, long string) error {
	length, err := duration(long)
	if err != nil {
		return err
	}
	stop := d.options.Progress.Beat("load", d.loadLine)
	defer stop()
	return pass(ctx, length)
}

// customersMake is how the sentence begins that gives a drill its customers.
const customersMake = "customers make "

// hasCustomers says whether a drill will have any.
func (d *Drill) hasCustomers() bool { return d.has(customersMake) }

// has says whether a sentence of the scenario begins so.
func (d *Drill) has(beginning string) bool {
	return slices.ContainsFunc(d.scenario.Steps, func(s string) bool { return strings.HasPrefix(s, beginning) })
}

// Tags by which a scenario says whether its drill bears a neighbour, where the verdict that it expects does not say so.
const (
	tagAlone  = "@alone"  // its planted defect shows only while the platform is quick
	tagShares = "@shares" // none of its limits is near what a busy machine takes, and no level of service is judged
)

// untimed says whether a drill bears a neighbour.
func (d *Drill) untimed() bool { return untimed(d.scenario, d.meta.Expectation) }

// untimed says whether a scenario's verdict is the same however busy the machine: its tag says so, or it expects a failure that is none of time,
// as what a planted defect has done stays done, or a fault that traffic did not feel.
func untimed(s Scenario, e *history.Expectation) bool {
	switch {
	case slices.Contains(s.Tags, tagAlone):
		return false
	case slices.Contains(s.Tags, tagShares):
		return true
	case e == nil:
		return false
	}
	timed := []string{check.NameRecovery, check.NamePlanned, check.NameLevelHeld}
	return e.Verdict == check.Fail.String() && e.Check != "" && !slices.Contains(timed, e.Check) || e.Check == check.NameFaultReal
}

// timedFirst puts the drills that bear a neighbour after the others, in order otherwise: each has one then. Those that do so
// by tag begin first: the readiness gate, which takes longest, is one of them, and would end alone.
func timedFirst(all []Scenario) []Scenario {
	var timed, tagged, others []Scenario
	for _, s := range all {
		var meta history.Meta
		err := promises(s, &meta) // what is wrong with it its own drill says
		switch {
		case err != nil || !untimed(s, meta.Expectation):
			timed = append(timed, s)
		case slices.Contains(s.Tags, tagShares):
			tagged = append(tagged, s)
		default:
			others = append(others, s)
		}
	}
	return slices.Concat(timed, tagged, others)
}

// pass lets time pass: the drill's own schedule, not a wait for a state.
func pass(ctx context.Context, long time.Duration) error {
	t := time.NewTimer(long)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
