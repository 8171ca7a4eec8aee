package runbook

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/kirikae/kirikae/drill/history"
)

// CrashVariable is the environment variable that plants a Crash into an operator process.
const CrashVariable = "KIRIKAE_CRASH"

// Point is a place inside a step at which an operator can be made to die.
type Point string

// Points, in the order in which a step passes them. A manual step has no act of its own: its wait is the intent, and
// after-act is when the confirm holds and nothing of it is recorded yet. When a step is taken back it passes the same points,
// with the prefix "undo-".
const (
	BeforeIntent Point = "before-intent" // checked, nothing announced
	AfterIntent  Point = "after-intent"  // announced on disk, nothing done
	AfterNote    Point = "after-note"    // inside the act, after the first note that it took
	AfterAct     Point = "after-act"     // done, not recorded
	AfterRecord  Point = "after-record"  // recorded, not confirmed
	AfterAsk     Point = "after-ask"     // asked for an approval, before the wait
)

var points = [...]Point{BeforeIntent, AfterIntent, AfterNote, AfterAct, AfterRecord, AfterAsk}

// Crash makes an operator die by SIGKILL at one point of one step. The zero value never does.
type Crash struct {
	Step  string // path of the step; with a "+" behind it, that step or the first later one that comes to the point
	Point Point
}

// at says whether a step is where the operator dies.
func (c Crash) at(r Runbook, path string) bool {
	from, onward := strings.CutSuffix(c.Step, "+")
	if !onward {
		return path == from
	}
	index := func(path string) int { return slices.IndexFunc(r.Steps, func(s Step) bool { return s.Path == path }) }
	return index(path) >= index(from)
}

// ParseCrash reads "2:after-act", or "2+:after-act" for step 2 or the first later one; "" is no crash.
func ParseCrash(s string) (Crash, error) {
	if s == "" {
		return Crash{}, nil
	}
	step, point, found := strings.Cut(s, ":")
	forward := Point(strings.TrimPrefix(point, history.UndoPrefix))
	if !found || step == "" || !slices.Contains(points[:], forward) || forward == AfterAsk && string(forward) != point {
		return Crash{}, fmt.Errorf("%s=%q is not STEP:POINT, where POINT is one of %v, or %s with one of the first five", CrashVariable, s, points, history.UndoPrefix)
	}
	return Crash{Step: step, Point: Point(point)}, nil
}

// check refuses a crash that could never be hit: a planted fault that does nothing proves nothing.
func (c Crash) check(r Runbook) error {
	if c.Step == "" {
		return nil
	}
	path, onward := strings.CutSuffix(c.Step, "+")
	step, ok := r.step(path)
	if onward && ok {
		return nil // a later step may have the point
	}
	if !ok {
		return fmt.Errorf("%s: %s has no step %q (steps: %s)", CrashVariable, r.Name, c.Step, r.paths())
	}
	point, manual := c.Point, step.Manual
	if p, undo := strings.CutPrefix(string(c.Point), history.UndoPrefix); undo {
		if step.Undo == nil || step.Undo.Nothing {
			return fmt.Errorf("%s: step %s has no undo", CrashVariable, c.Step)
		}
		point, manual = Point(p), step.Undo.Manual
	}
	if manual && (point == AfterNote || point == AfterRecord) {
		return fmt.Errorf("%s: step %s is manual and has no point %s", CrashVariable, c.Step, c.Point)
	}
	if point == AfterAsk && step.Approval == 0 {
		return fmt.Errorf("%s: step %s needs no approval and has no point %s", CrashVariable, c.Step, c.Point)
	}
	return nil
}

// kill ends this process as kill -9 does: no deferred call runs, no buffer is flushed, the kernel frees the lock.
func kill() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic("runbook: cannot kill its own process: " + err.Error())
	}
	select {} // the signal is on its way
}
