package runbook

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// CrashVariable is the environment variable that plants a Crash into an operator process.
const CrashVariable = "KIRIKAE_CRASH"

// Point is a place inside a step at which an operator can be made to die.
type Point string

// Points, in the order in which a step passes them. A manual step has no act of its own: its wait is the intent, and
// after-act is when the confirm holds and nothing of it is recorded yet.
const (
	BeforeIntent Point = "before-intent" // checked, nothing announced
	AfterIntent  Point = "after-intent"  // announced on disk, nothing done
	AfterNote    Point = "after-note"    // inside the act, after the first note that it took
	AfterAct     Point = "after-act"     // done, not recorded
	AfterRecord  Point = "after-record"  // recorded, not confirmed
)

var points = [...]Point{BeforeIntent, AfterIntent, AfterNote, AfterAct, AfterRecord}

// Crash makes an operator die by SIGKILL at one point of one step. The zero value never does.
type Crash struct {
	Step  string // path of the step
	Point Point
}

// ParseCrash reads "2:after-act"; "" is no crash.
func ParseCrash(s string) (Crash, error) {
	if s == "" {
		return Crash{}, nil
	}
	step, point, found := strings.Cut(s, ":")
	if !found || step == "" || !slices.Contains(points[:], Point(point)) {
		return Crash{}, fmt.Errorf("%s=%q is not STEP:POINT, where POINT is one of %v", CrashVariable, s, points)
	}
	return Crash{Step: step, Point: Point(point)}, nil
}

// check refuses a crash that could never be hit: a planted fault that does nothing proves nothing.
func (c Crash) check(r Runbook) error {
	if c.Step == "" {
		return nil
	}
	var paths []string
	for _, s := range r.Steps {
		if s.Path == c.Step {
			if s.Manual && (c.Point == AfterNote || c.Point == AfterRecord) {
				return fmt.Errorf("%s: step %s is manual and has no point %s", CrashVariable, c.Step, c.Point)
			}
			return nil
		}
		paths = append(paths, s.Path)
	}
	return fmt.Errorf("%s: %s has no step %q (steps: %s)", CrashVariable, r.Name, c.Step, strings.Join(paths, ", "))
}

// kill ends this process as kill -9 does: no deferred call runs, no buffer is flushed, the kernel frees the lock.
func kill() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic("runbook: cannot kill its own process: " + err.Error())
	}
	select {} // the signal is on its way
}
