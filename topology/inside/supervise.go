package inside

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/kirikae/kirikae/payment/spawn"
	"github.com/kirikae/kirikae/topology"
)

// Supervise runs a program to its end. When ctx ends the program gets SIGTERM, and as long as it wants: killing it is the engine's
// business. first runs beside it; if it fails, the program is stopped in order and first's error is the result. nil: nothing does.
func Supervise(ctx context.Context, x *exec.Cmd, first func(context.Context) error) error {
	// Whoever kills the supervisor kills the program: the kernel sends this when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	spawn.Patient()
	if x.SysProcAttr == nil {
		x.SysProcAttr = &syscall.SysProcAttr{}
	}
	x.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if ctx.Err() != nil {
		return nil // stopped before it was started
	}
	if err := x.Start(); err != nil {
		return fmt.Errorf("start %s: %w: %w", x.Path, topology.ErrEnvironment, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- x.Wait() }()

	work, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		if first == nil {
			done <- nil
			return
		}
		done <- first(work)
	}()

	var failed error
	stopping, working := ctx.Done(), done
	for {
		select {
		case err := <-ended:
			stop()
			end := spawn.Ended(err)
			if working != nil {
				if err := <-done; err != nil && end == nil && ctx.Err() == nil {
					failed = err // it ended in order, but nobody had asked it to
				}
			}
			return errors.Join(failed, end)
		case err := <-working:
			working = nil
			if err != nil && ctx.Err() == nil {
				failed = err
				terminate(x.Process)
			}
		case <-stopping:
			stopping = nil
			terminate(x.Process)
		}
	}
}

// terminate asks a process to end. One that has ended needs no asking.
func terminate(p *os.Process) { _ = p.Signal(syscall.SIGTERM) }
