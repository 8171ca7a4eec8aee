package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// interruptedSentences are the sentences about operators that die, and the world that goes on without them.
func interruptedSentences(d *Drill) []sentence {
	return []sentence{
		{"When", `the operator runs "switchover" and is killed at every step "after-act"`, re(`the operator runs "([^"]+)" and is killed at every step "([a-z-]+)"`), d.operateAndDieAtEveryStep, promiseEveryStep},
		{"When", `another operator runs "switchover" again`, re(`another operator runs "([^"]+)" again`), d.relieve, promiseProcedure},
		{"When", `the links heal`, re(`the links heal`), d.linksHeal, promiseUp},
		{"When", `osaka loses an app node`, re(`(\w+) loses an app node`), d.loseApp, promiseRegions},

		{"Then", `no act was applied twice`, re(`no act was applied twice`), d.actsOnce, nil},
	}
}

// promiseEveryStep binds the procedure, and holds the point against those that there are.
func promiseEveryStep(p *promised, args []string) error {
	if err := promiseProcedure(p, args[:1]); err != nil {
		return err
	}
	_, err := runbook.ParseCrash("1:" + args[1])
	return err
}

// operateAndDieAtEveryStep is an operator that dies at one point of every step of the bound plan, once each, and is started again
// each time; the last one comes to the end. A step that does not come to the point is passed: a manual one records no act, and one
// that holds already when its turn comes does none.
func (d *Drill) operateAndDieAtEveryStep(ctx context.Context, procedure, point string) error {
	plan, err := BindProcedure(procedure, nil, d.world.Topology(), nil)
	if err != nil {
		return err
	}
	deaths := 0
	for next := 0; next < len(plan.Steps); {
		if s := plan.Steps[next]; s.Manual && slices.Contains(notManual, runbook.Point(point)) {
			d.say("operator", "step %s is done by hand and has no point %s", s.Path, point)
			next++
			continue
		}
		err := d.runOperator(ctx, procedure, crash(plan.Steps[next].Path+"+:"+point))
		if err == nil { // no step that was left came to the point
			d.say("operator", "died %d times in %d steps, %s", deaths, len(plan.Steps), point)
			return atLeastOnce(deaths)
		}
		if !errors.Is(err, errKilled) {
			return err
		}
		at, err := d.died(plan, point)
		if err != nil {
			return err
		}
		if at < next {
			return fmt.Errorf("the operator died at step %s, before step %s", plan.Steps[at].Path, plan.Steps[next].Path)
		}
		d.record.Mark(history.KindDeath, plan.Steps[at].Path, history.DeathData{Procedure: procedure, Point: point})
		d.say("operator", "killed at step %s, %s", plan.Steps[at].Path, point)
		deaths++
		next = at + 1
	}
	d.say("operator", "died %d times in %d steps, %s", deaths, len(plan.Steps), point)
	return errors.Join(atLeastOnce(deaths), d.runOperator(ctx, procedure, ""))
}

// atLeastOnce: a drill of deaths in which nobody died is none.
func atLeastOnce(deaths int) error {
	if deaths == 0 {
		return errors.New("the operator was to die at every step, and died at none")
	}
	return nil
}

// died is the place, in the plan, of the step at which the last operator died, by what its journal tells last. Before the intent
// nothing of that step is told but that it was approved.
func (d *Drill) died(plan runbook.Runbook, point string) (int, error) {
	journal, err := history.LoadJournal(d.folder)
	if err != nil {
		return 0, err
	}
	for _, e := range slices.Backward(journal) {
		at := slices.IndexFunc(plan.Steps, func(s runbook.Step) bool { return s.Path == e.Step })
		switch {
		case e.Kind == history.EntryBegin && runbook.Point(point) == runbook.BeforeIntent:
			return 0, nil
		case at < 0:
			continue
		case runbook.Point(point) == runbook.BeforeIntent && slices.Contains([]string{history.EntryConfirm, history.EntryAlready, history.EntrySkip}, e.Kind):
			return at + 1, nil
		}
		return at, nil
	}
	return 0, fmt.Errorf("the journal tells of no step of %s", plan.Name)
}

// notManual are the points that a step without an act of the operator's own does not have.
var notManual = []runbook.Point{runbook.AfterNote, runbook.AfterRecord}

func (d *Drill) actsOnce() error { return d.passed(check.NameActsOnce) }

// relieve is another person, with another name and key, who goes on with a run.
func (d *Drill) relieve(ctx context.Context, procedure string) error {
	d.who = otherOperator
	if d.key != "" {
		d.key = d.keyOf(otherOperator)
	}
	return d.runOperator(ctx, procedure, "")
}

// linksHeal takes back all that the world had done to links. The access list of the operators stays, and what is dead stays dead.
func (d *Drill) linksHeal(ctx context.Context) error {
	healed := d.guard.Active()
	if err := d.guard.HealNamed(ctx, healed...); err != nil {
		return err
	}
	d.say("fault", "healed: %v", healed)
	return nil
}

// loseApp kills one node of a region's application.
func (d *Drill) loseApp(ctx context.Context, site string) error {
	n, err := d.estate.only(topology.Site(site), topology.App)
	if err != nil {
		return err
	}
	if state, err := n.State(ctx); err != nil || state != topology.Running {
		return errors.Join(err, fmt.Errorf("%s is %s: it cannot be lost", n.Name(), state))
	}
	if err := n.Kill(ctx); err != nil {
		return err
	}
	d.say("fault", "%s is killed", n.Name())
	return nil
}
