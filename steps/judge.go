package steps

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kirikae/kirikae/drill/check"
)

// Then: each sentence looks up what the judges said. The promises that it states were read before the drill began.

func (d *Drill) faultReal() error {
	return d.passed(check.NameSane, check.NameFaultReal, check.NameQuiescent)
}

func (d *Drill) procedureConfirmed() error { return d.passed(check.NameProcedure) }

func (d *Drill) recovered(string) error { return d.passed(check.NameRecovery) }

func (d *Drill) lossWithin(_, _ string) error { return d.passed(check.NameUnreplicated) }

func (d *Drill) nothingDropped() error { return d.passed(check.NameDropped, check.NameNeverDurable) }

func (d *Drill) chargedOnce() error { return d.passed(check.NameDoubleCharge) }

func (d *Drill) moneyConserved() error { return d.passed(check.NameConservation) }

func (d *Drill) storesAgree() error { return d.passed(check.NameStoresAgree) }

func (d *Drill) oneWriter(string) error { return d.passed(check.NameOneWriter) }

func (d *Drill) endFacts(string) error { return d.passed(check.NameEndFacts) }

func (d *Drill) verdictIs(want string) error { return d.verdict(want, "") }

func (d *Drill) verdictBy(want, name string) error { return d.verdict(want, name) }

func (d *Drill) verdict(want, name string) error {
	if d.judged == nil {
		return errNotJudged
	}
	if met, why := check.Expected(*d.judged, d.meta.Expectation); !met {
		return fmt.Errorf("the verdict is not %s: %s", want, why)
	}
	return nil
}

var errNotJudged = errors.New(`not judged yet: the sentence "the drill ends" comes first`)

// passed says whether all the named checks did, but for the one by which the scenario says that the drill must fail: its promise is
// there to be broken, and the sentence about the verdict holds it to that.
func (d *Drill) passed(names ...string) error {
	if d.judged == nil {
		return errNotJudged
	}
	var wrong []string
	for _, n := range names {
		r, ok := d.judged.Get(n)
		switch {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("%s was not judged", n))
		case d.meta.Expectation != nil && d.meta.Expectation.Check == n:
		case r.Verdict() != check.Pass:
			wrong = append(wrong, fmt.Sprintf("%s is %s: %s", n, r.Verdict(), r.Says))
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}
