package steps

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/fixtures"
	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/topology"
)

// promised is what the sentences of a scenario state before anything starts: promises for the judges, and names that must exist.
type promised struct {
	meta      *history.Meta
	topology  *topology.Topology // nil before the sentence that names it
	load      bool               // customers, canaries and samplers are at work
	reconcile bool               // interrupted payments are reconciled
}

func promiseTopology(p *promised, args []string) error {
	name, content, err := readTopology(args[0])
	if err != nil {
		return err
	}
	t, err := topology.Parse(name, content)
	if err != nil {
		return err
	}
	p.topology = &t
	return nil
}

// promiseDefect holds a planted defect against those that the app has, before a world is made for it.
func promiseDefect(p *promised, args []string) error {
	var known []string
	for _, d := range payment.Defects() {
		known = append(known, string(d))
	}
	switch {
	case !slices.Contains(known, args[0]):
		return topology.Unknown("defect of the app", args[0], known)
	case p.topology != nil:
		return errors.New("a defect is planted before the platform is up")
	}
	return nil
}

// promiseUp is for sentences that need the platform, promiseLoad for those that need customers too.
func promiseUp(p *promised, _ []string) error { return promiseRegions(p, nil) }

func promiseLoad(p *promised, _ []string) error {
	if !p.load {
		return errors.New(`the sentence 'the steady state has held for …' comes first`)
	}
	return nil
}

// promiseRegions holds every region that a sentence names against the platform.
func promiseRegions(p *promised, args []string) error {
	if p.topology == nil {
		return errors.New(`the sentence 'the platform of "…" is up' comes first`)
	}
	var known []string
	for _, r := range p.topology.Regions {
		known = append(known, string(r.Name))
	}
	for _, name := range args {
		if !slices.Contains(known, name) {
			return topology.Unknown("region", name, known)
		}
	}
	return nil
}

func promiseFirstRegion(p *promised, args []string) error {
	return errors.Join(promiseRegions(p, args[:1]), promiseLoad(p, nil))
}

// promiseProcedure binds a procedure to the platform, as the operator will.
func promiseProcedure(p *promised, args []string) error {
	if p.topology == nil {
		return errors.New(`the sentence 'the platform of "…" is up' comes first`)
	}
	rb, err := BindProcedure(args[0], nil, *p.topology, nil)
	if err != nil {
		return err
	}
	if len(args) < 3 {
		return nil
	}
	var paths []string
	for _, s := range rb.Steps {
		paths = append(paths, s.Path)
	}
	if !slices.Contains(paths, args[1]) {
		return topology.Unknown("step of "+args[0], args[1], paths)
	}
	_, err = runbook.ParseCrash(args[1] + ":" + args[2])
	return err
}

// BindProcedure finds a procedure, binds it to a platform and to what it acts on. Inputs of these names need not be given where a
// procedure declares them: lost, active, home and target are the platform's active region, survivor, standby, away and source its
// standby, whichever of the two serves at the moment: a resumed run has the plan that it was begun with. Without an estate the
// runbook can be printed, not run.
func BindProcedure(name string, given map[string]any, t topology.Topology, estate procedure.Estate) (runbook.Runbook, error) {
	fsys, file, err := procedure.Find(name)
	if err != nil {
		return runbook.Runbook{}, &UsageError{err.Error()}
	}
	declared, err := procedure.Inputs(fsys, file)
	if err != nil {
		return runbook.Runbook{}, &UsageError{err.Error()}
	}
	inputs := maps.Clone(given)
	if inputs == nil {
		inputs = map[string]any{}
	}
	for name, otherwise := range map[string]topology.Site{
		"lost": t.Active(), "survivor": t.Standby(), "source": t.Standby(), "target": t.Active(),
		"active": t.Active(), "standby": t.Standby(), "home": t.Active(), "away": t.Standby(),
	} {
		if _, ok := inputs[name]; !ok && slices.Contains(declared, name) {
			inputs[name] = string(otherwise)
		}
	}
	rb, err := procedure.Load(fsys, file, inputs, procedure.Standard(t, estate))
	if err != nil {
		return runbook.Runbook{}, &UsageError{err.Error()}
	}
	return rb, nil
}

func promiseBaseline(p *promised, args []string) error {
	d, err := duration(args[0])
	p.meta.Objectives.Recovery.Baseline = history.Duration(d)
	p.load = true
	return errors.Join(err, promiseUp(p, nil))
}

func promiseLag(p *promised, args []string) error {
	d, err := duration(args[2])
	p.meta.Objectives.LagMin = history.Duration(d)
	return errors.Join(err, promiseRegions(p, args[:2]), promiseLoad(p, nil))
}

func promiseEventsLate(p *promised, args []string) error {
	_, err := duration(args[2])
	return errors.Join(err, promiseRegions(p, args[:2]), promiseLoad(p, nil))
}

func promiseRecovery(p *promised, args []string) error {
	d, err := duration(args[0])
	p.meta.Objectives.Recovery.Target = stated(history.Duration(d))
	return err
}

func promiseLoss(p *promised, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("%q is not a number of payments", args[0])
	}
	d, err := duration(args[1])
	p.meta.Objectives.Loss.MaxCount, p.meta.Objectives.Loss.MaxAge = stated(n), stated(history.Duration(d))
	return err
}

func promiseOneWriter(p *promised, args []string) error {
	d, err := duration(args[0])
	p.meta.Objectives.DualMax = stated(history.Duration(d))
	return err
}

// stated is a limit as objectives hold it: 0 is "not stated" there and takes a default, so that a limit of 0 is a negative number.
func stated[N int | history.Duration](limit N) N {
	if limit == 0 {
		return -1
	}
	return limit
}

func promiseVerdict(p *promised, args []string) error {
	if p.meta.Expectation != nil {
		return fmt.Errorf("a scenario states one verdict, this one states two")
	}
	p.meta.Expectation = &history.Expectation{Verdict: args[0]}
	if len(args) > 1 {
		p.meta.Expectation.Check = args[1]
	}
	return nil
}

// promiseFacts reads fixtures/facts/NAME.json: the state that a drill must leave, as one canonical document.
func promiseFacts(p *promised, args []string) error {
	if p.meta.FactsAsStart {
		return errors.New("a scenario states one end, this one states two")
	}
	b, err := fixtures.FS.ReadFile("facts/" + args[0] + ".json")
	if err != nil {
		known, _ := fs.Glob(fixtures.FS, "facts/*.json")
		return fmt.Errorf("no end facts %q; there are %s", args[0], strings.Join(known, ", "))
	}
	return json.Unmarshal(b, &p.meta.Facts)
}
