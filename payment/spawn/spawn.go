// Package spawn starts processes that must not outlive the one that started them, and says how they ended.
package spawn

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
)

// Thread starts processes from one goroutine that is locked to its thread for life: the kernel sends a parent-death signal when the
// thread that forked ends, and Go ends threads as it likes.
type Thread struct {
	requests chan request
	over     chan struct{} // closed when nothing is to be started any more
	done     chan struct{}
}

type request struct {
	cmd    *exec.Cmd
	result chan error
}

// NewThread makes one, which is Patient. Close it.
func NewThread() *Thread {
	t := &Thread{requests: make(chan request), over: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		Patient()
		for {
			select {
			case r := <-t.requests:
				r.result <- r.cmd.Start()
			case <-t.over:
				return
			}
		}
	}()
	return t
}

// ErrOver says that nothing was started, because the thread has ended.
var ErrOver = errors.New("nothing is started any more")

// Start starts a process that is killed when the thread ends, at the latest with this process.
func (t *Thread) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	r := request{cmd, make(chan error, 1)}
	select {
	case t.requests <- r:
		return <-r.result
	case <-t.over:
		return ErrOver
	}
}

// Close ends the thread. Processes that still live get the parent-death signal.
func (t *Thread) Close() {
	close(t.over)
	<-t.done
}

// ExitStatus is how a process ended, as shells count: its own status, or 128 and the signal that ended it.
type ExitStatus int

// Error implements error.
func (e ExitStatus) Error() string { return "it ended with status " + strconv.Itoa(int(e)) }

// Ended is how a process ended, from what Wait returned: nil after an orderly end, an ExitStatus otherwise.
func Ended(err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return fmt.Errorf("wait for its end: %w", err)
	}
	if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return ExitStatus(128 + int(w.Signal()))
	}
	return ExitStatus(exit.ExitCode())
}
