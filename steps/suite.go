// Package steps binds the sentences of the features to a drill, one sentence one method one call, and runs them.
// suite.go runs scenarios, sentences.go is the experiment as one table, drill.go and its neighbours do what the sentences say.
package steps

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cucumber/godog"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/reports"
	"github.com/kirikae/kirikae/topology/compose"
)

// DefaultOut is where run folders go.
const DefaultOut = "reports/out"

// Options of a run of drills.
type Options struct {
	Kirikae  string    // path of the kirikae program, for the world and the operator; beside it are paymentd and linux/
	Runtime  string    // auto, docker, local, compose
	Images   string    // docker: auto, official, built
	Volumes  string    // where the stores keep their data: disk, memory; "": disk
	Paths    []string  // features; none: all embedded ones
	Tags     string    // tag expression; "" selects all
	Tier     string    // which drills of those selected: test, nightly; "": all
	Day      time.Time // by which the test tier rotates
	Seed     uint64    // of everything random
	Out      string    // folder of run folders
	Stdout   io.Writer // verdicts
	Color    bool      // of the verdicts
	Progress *Progress // a line per state change; nil: silent
	Log      *slog.Logger

	TestingT *testing.T // scenarios become subtests of it; nil outside `go test`
}

// Run selects scenarios, drills them in turn and judges each from its run folder. While one is judged the next one's world is made; two
// have customers at once only where neither measures time. It returns the worst exit code.
// The error is about what kept drills from running at all.
func Run(ctx context.Context, o Options) (int, error) {
	scenarios, err := Select(o.Paths, o.Tags)
	if err != nil {
		return 0, err
	}
	if o.Runtime == compose.World && len(scenarios) > 1 {
		return 0, usagef("%d scenarios are selected, and a composed world is drilled once: name one, like %s", len(scenarios), scenarios[0].Place())
	}
	rt, why, err := chooseRuntime(ctx, RuntimeSpec{Name: o.Runtime, Images: o.Images, Programs: filepath.Dir(o.Kirikae), Say: func(line string) { o.Progress.Say("images", "%s", line) }})
	if err != nil {
		return 0, err
	}
	defer closeRuntime(rt)
	scenarios, left, err := inTier(o.Tier, rt.Name(), o.Day, scenarios)
	if err != nil {
		return 0, err
	}
	if len(scenarios) == 0 {
		return 0, fmt.Errorf("%w: tier %s has none of them in %s", ErrNothingSelected, o.Tier, rt.Name())
	}
	o.Progress.Say("drill", "%d of %d selected · runtime %s (%s) · seed %d", len(scenarios), len(scenarios), rt.Name(), why, o.Seed)
	swept, err := Sweep(ctx)
	for _, s := range swept {
		o.Progress.Say("sweep", "%s", s)
	}
	if err != nil {
		return 0, err
	}
	scenarios = timedFirst(scenarios)
	drills, codes := make([]*Drill, len(scenarios)), make([]int, len(scenarios))
	begun := inTurn(ctx, len(scenarios), func(i int, t *turn) {
		o := o
		if len(scenarios) > 1 {
			o.Progress = o.Progress.Of(fmt.Sprintf("%d/%d", i+1, len(scenarios)))
		}
		drills[i] = &Drill{options: o, scenario: scenarios[i], runtime: rt, turn: t}
		codes[i] = drills[i].run(ctx)
	})
	code, ran := ExitPassed, 0
	var tally tally
	for i, d := range drills[:begun] {
		if d.ran {
			ran++
		}
		tally.add(scenarios[i], d, codes[i])
		code = worse(code, codes[i])
	}
	if o.Tier != "" {
		fmt.Fprint(o.Stdout, leftOut(o.Tier, rt.Name(), left))
	}
	if len(scenarios) > 1 || o.Tier != "" { // a tier of one is looked for in the tally as well (.ci/run)
		fmt.Fprint(o.Stdout, tally.table())
	}
	if ran == 0 && ctx.Err() == nil && o.TestingT == nil {
		return ExitNothing, fmt.Errorf("%w: none of %d scenarios was executed", ErrNothingSelected, len(scenarios))
	}
	if ran == 0 && o.TestingT != nil {
		o.TestingT.Errorf("no drill was executed: -run selected none of %d scenarios", len(scenarios))
	}
	if err := context.Cause(ctx); err != nil && ctx.Err() != nil {
		return code, err
	}
	return code, nil
}

// run drills one scenario and returns its exit code.
func (d *Drill) run(ctx context.Context) int {
	var said strings.Builder // godog's own words, kept for the case that it refuses the scenario
	suite := godog.TestSuite{
		Name: "kirikae",
		ScenarioInitializer: func(sc *godog.ScenarioContext) {
			register(sc, d)
			sc.Before(func(context.Context, *godog.Scenario) (context.Context, error) { return d.open(ctx) })
			sc.After(func(sctx context.Context, _ *godog.Scenario, err error) (context.Context, error) {
				return sctx, d.close(err)
			})
		},
		Options: &godog.Options{
			Format:         "pretty",
			NoColors:       true,
			Strict:         true,
			Concurrency:    1,
			Output:         &said,
			DefaultContext: ctx,
			TestingT:       d.options.TestingT,
			FS:             d.scenario.fsys,
			Paths:          []string{fmt.Sprintf("%s:%d", d.scenario.path, d.scenario.Line)},
		},
	}
	suite.Run() // its exit code says less than the run folder does; d.code is what counts
	if !d.ran {
		if d.options.TestingT != nil {
			return ExitPassed // -run left this scenario out
		}
		fmt.Fprintf(os.Stderr, "kirikae: %s was not executed:\n%s\n", d.scenario.Place(), said.String())
		return ExitHarness
	}
	return d.code
}

// finishReport renders the run folder and prints the verdict. Everything is read back from the folder.
func (d *Drill) finishReport(judged check.Drill) error {
	run, err := history.Load(relative(d.folder)) // reports name the folder, and may leave this machine
	if err != nil {
		return err
	}
	r := reports.Build(run, judged)
	if err := reports.Write(d.folder, r); err != nil {
		return err
	}
	if err := pointLatest(d.options.Out, d.folder); err != nil {
		return err
	}
	return reports.Terminal(d.options.Stdout, r, d.options.Color)
}

// relative is a path as seen from the working folder, where it lies below that; else the path as it is.
func relative(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if r, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(r) {
		return r
	}
	return path
}

// makeFolder makes the run folder reports/out/<time>-<name>/.
func makeFolder(out, name string, now time.Time) (string, error) {
	base := now.Format("20060102-150405") + "-" + slug(name)
	for n := 1; ; n++ {
		folder := filepath.Join(out, base)
		if n > 1 {
			folder = fmt.Sprintf("%s-%d", folder, n)
		}
		if err := os.MkdirAll(out, 0o755); err != nil {
			return "", fmt.Errorf("make run folder: %w", err)
		}
		err := os.Mkdir(folder, 0o755)
		if os.IsExist(err) && n < 100 {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("make run folder: %w", err)
		}
		abs, err := filepath.Abs(folder)
		if err != nil {
			return "", fmt.Errorf("make run folder: %w", err)
		}
		return abs, nil
	}
}

// slug makes a name fit for a folder.
func slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := strings.Trim(b.String(), "-")
	if len(s) > 48 {
		s = strings.TrimRight(s[:48], "-")
	}
	if s == "" {
		return "drill"
	}
	return s
}
