package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/fault"
	"github.com/kirikae/kirikae/drill/history"
)

// judgeSentences are the promises of drills without a fault, and of drills with several procedures.
func judgeSentences(d *Drill) []sentence {
	return []sentence{
		{"Then", `no fault was injected and the harness sane`, re(`no fault was injected and the harness sane`), d.faultReal, promiseCalm},
		{"Then", `the fault was real, no region was lost, and the harness sane`, re(`the fault was real, no region was lost, and the harness sane`), d.faultReal, promiseNoneLost},
		{"Then", `customers are out for at most 5 s during the handover`, re(`customers are out for at most (DURATION) during the (handover|planned switchover|failback)`), d.outDuring, promisePlanned},
		{"Then", `nothing acknowledged is lost`, re(`nothing acknowledged is lost`), d.nothingLost, nil},
		{"Then", `customers notice nothing of the preparation`, re(`customers notice nothing of the preparation`), d.levelHeld, promiseLevel("failback-preparation")},
		{"Then", `customers notice nothing of tokyo's return`, re(`customers notice nothing of (\w+)'s return`), d.levelHeldBy, promiseLevelOf},
		{"Then", `answers within 250 ms are no nuisance`, re(`answers within (DURATION) are no nuisance`), d.levelHeldBy, promiseFloor},
		{"Then", `the end facts are those of the start`, re(`the end facts are those of the start`), d.factsAsStart, promiseStartFacts},
		{"Then", `the procedure was taken back, and everything is as it was`, re(`the procedure was taken back, and everything is as it was`), d.takenBack, promiseTakenBack},
		{"Then", `no acknowledgement comes from tokyo after osaka's first`, re(`no acknowledgement comes from (\w+) after (\w+)'s first`), d.noZombies, promiseNoZombies},
	}
}

func promiseCalm(p *promised, _ []string) error {
	p.meta.Calm = true
	return nil
}

// promiseNoneLost: something is broken, and both regions live.
func promiseNoneLost(p *promised, args []string) error {
	p.meta.Faulted = true
	return promiseCalm(p, args)
}

func promisePlanned(p *promised, args []string) error {
	d, err := duration(args[0])
	if args[1] != "failback" {
		p.meta.Objectives.PlannedMax = stated(history.Duration(d))
	}
	if args[1] != "planned switchover" {
		p.meta.Objectives.FailbackMax = stated(history.Duration(d))
	}
	return err
}

func promiseLevel(window string) func(*promised, []string) error {
	return func(p *promised, _ []string) error {
		p.meta.Level = append(p.meta.Level, window)
		return nil
	}
}

func promiseLevelOf(p *promised, args []string) error {
	p.meta.Level = append(p.meta.Level, history.WindowReturn)
	return promiseRegions(p, args)
}

func promiseFloor(p *promised, args []string) error {
	d, err := duration(args[0])
	p.meta.Objectives.LevelFloor = stated(history.Duration(d))
	return err
}

func promiseStartFacts(p *promised, _ []string) error {
	if p.meta.Facts != nil {
		return errors.New("a scenario states one end, this one states two")
	}
	p.meta.FactsAsStart = true
	return nil
}

func promiseTakenBack(p *promised, args []string) error {
	p.meta.TakenBack = true
	return promiseStartFacts(p, args)
}

func promiseNoZombies(p *promised, args []string) error {
	p.meta.Objectives.NoZombies = true
	return promiseRegions(p, args)
}

func (d *Drill) outDuring(_, _ string) error { return d.passed(check.NamePlanned) }

func (d *Drill) nothingLost() error { return d.passed(check.NameNothingLost) }

func (d *Drill) levelHeld() error { return d.passed(check.NameLevelHeld) }

func (d *Drill) levelHeldBy(string) error { return d.levelHeld() }

func (d *Drill) factsAsStart() error { return d.passed(check.NameEndFacts) }

func (d *Drill) takenBack() error { return d.passed(check.NameProcedure, check.NameEndFacts) }

func (d *Drill) noZombies(_, _ string) error { return d.passed(check.NameOneWriter) }

// attestCalm looks at the links once more before the load of a drill without a fault ends: a link that something cut must not pass
// for calm.
func (d *Drill) attestCalm(ctx context.Context) error {
	if !d.meta.Calm || d.guard == nil {
		return nil
	}
	if _, err := d.guard.Attest(ctx, fault.After); err != nil {
		return fmt.Errorf("look at the links at the end: %w", err)
	}
	return nil
}
