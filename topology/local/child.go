package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/plan"
)

// child is the process of one node, or its absence.
type child struct {
	spec     plan.Node
	machines *machines
	log      string // file
	data     string // folder
	pidFile  string

	mu  sync.Mutex
	run *running // nil: never started
}

// running is one life of a node's process.
type running struct {
	hosted.Process
	group  *os.Process
	asked  bool          // somebody ended it on purpose
	ended  chan struct{} // closed when it is gone
	reason string        // how it ended; read after ended
}

func (r *running) gone() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

func (c *child) life() *running {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run
}

// state is read from the kernel. A node whose first process has ended runs until the rest of its group has, too.
func (c *child) state() topology.State {
	r := c.life()
	if r == nil || r.gone() {
		return topology.Stopped
	}
	if state, start, err := hosted.Stat(r.PID); err == nil && start == r.Start && state == 'T' {
		return topology.Paused
	}
	return topology.Running
}

// minimalPath is enough for the servers: none of them runs a shell.
const minimalPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// launch writes a command's files and starts it in the node's data folder. What the process prints is appended to the node's log.
func (c *child) launch(cmd topology.Command) error {
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return fmt.Errorf("make the data folder of %s: %w", c.spec.Name, err)
	}
	for path, text := range cmd.Files {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("write the configuration of %s: %w", c.spec.Name, err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the configuration of %s: %w", c.spec.Name, err)
		}
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", c.spec.Name, err)
	}
	defer log.Close()
	x := exec.Command(cmd.Path, cmd.Args...)
	x.Dir, x.Stdout, x.Stderr = c.data, log, log
	x.Env = append([]string{"PATH=" + minimalPath, "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=" + c.data, "TMPDIR=" + c.data}, cmd.Env...)
	x.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.machines.thread.Start(x); err != nil {
		return fmt.Errorf("start %s: %w", c.spec.Name, err)
	}
	r := &running{Process: hosted.Process{PID: x.Process.Pid}, group: x.Process, ended: make(chan struct{})}
	_, r.Start, err = hosted.Stat(r.PID)
	if err == nil {
		err = hosted.WriteJSON(c.pidFile, r.Process)
	}
	c.mu.Lock()
	c.run = r
	c.mu.Unlock()
	c.note(fmt.Sprintf("started, process %d", r.PID))
	go func() {
		werr := x.Wait()
		if err := reap(r.PID); err != nil {
			c.note(err.Error())
		}
		c.mu.Lock()
		asked := r.asked
		c.mu.Unlock()
		r.reason = "exit status 0"
		if werr != nil {
			r.reason = werr.Error()
		}
		if asked {
			c.note("ended as asked: " + r.reason)
		} else {
			c.note("ended by itself: " + r.reason)
		}
		_ = os.Remove(c.pidFile) // a leftover names a process that is gone
		close(r.ended)
	}()
	if err != nil { // it cannot be swept later: not leaving it alive
		_ = c.kill(context.Background())
		return fmt.Errorf("record process %d of %s: %w", r.PID, c.spec.Name, err)
	}
	return nil
}

// adopt makes this process the one that inherits what its children leave behind.
func adopt() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of processes left behind: %w", err)
	}
	return nil
}

// reap waits for what a node's first process left of its group: a guard that is killed leaves a MySQL that is dying, and until that
// is gone, also from the table of processes, the next MySQL on the same data refuses to start.
func reap(group int) error {
	for {
		switch _, err := syscall.Wait4(-group, nil, 0, nil); {
		case err == nil || errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.ECHILD):
			return nil
		default:
			return fmt.Errorf("wait for the rest of process group %d: %w", group, err)
		}
	}
}

// note adds a line of the world's own to a node's log.
func (c *child) note(what string) {
	f, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return // the log of a full disk: the state says the same
	}
	defer f.Close()
	fmt.Fprintf(f, "kirikae: %s %s: %s\n", time.Now().UTC().Format("15:04:05.000"), c.spec.Name, what)
}

// bootstrapped exists once a MySQL's data have their users. It lies beside the data and goes with them.
func (c *child) bootstrapped() string { return c.data + ".ready" }

// guarded is what a MySQL's guard says of itself, see package fence. It lies beside the data and goes with them.
func (c *child) guarded() string { return c.data + ".guard" }

// signal sends a signal to the node's process group.
func (c *child) signal(s syscall.Signal, end bool) (*running, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.run
	if r == nil || r.gone() {
		return nil, nil
	}
	if end {
		r.asked = true
	}
	if err := syscall.Kill(-r.PID, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return nil, fmt.Errorf("send %s to %s (process group %d): %w", s, c.spec.Name, r.PID, err)
	}
	return r, nil
}

// stop ends the process in an orderly way, within ctx. A paused one is thawed for it.
func (c *child) stop(ctx context.Context) error {
	r, err := c.signal(syscall.SIGTERM, true)
	if err != nil || r == nil {
		return err
	}
	if _, err := c.signal(syscall.SIGCONT, true); err != nil {
		return err
	}
	return c.wait(ctx, r, "stop")
}

func (c *child) kill(ctx context.Context) error {
	r, err := c.signal(syscall.SIGKILL, true)
	if err != nil || r == nil {
		return err
	}
	return c.wait(ctx, r, "kill")
}

func (c *child) wait(ctx context.Context, r *running, what string) error {
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %s: process %s has not ended: %w", what, c.spec.Name, strconv.Itoa(r.PID), context.Cause(ctx))
	}
}

// freeze and thaw return when the kernel shows it.
func (c *child) freeze(ctx context.Context, on bool) error {
	s, want := syscall.SIGCONT, topology.Running
	if on {
		s, want = syscall.SIGSTOP, topology.Paused
	}
	r, err := c.signal(s, false)
	if err != nil {
		return err
	}
	if r == nil {
		return fmt.Errorf("send %s to %s: it does not run", s, c.spec.Name)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		is := c.state()
		if is == want {
			return nil
		}
		select {
		case <-r.ended:
			return fmt.Errorf("send %s to %s: it ended: %s", s, c.spec.Name, r.reason)
		case <-ctx.Done():
			return fmt.Errorf("send %s to %s: still %s: %w", s, c.spec.Name, is, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// wipe empties the node's data.
func (c *child) wipe() error {
	if s := c.state(); s != topology.Stopped {
		return fmt.Errorf("wipe %s: it is %s, stop it first", c.spec.Name, s)
	}
	if err := errors.Join(os.RemoveAll(c.bootstrapped()), os.RemoveAll(c.guarded()), os.RemoveAll(c.data)); err != nil { // in this order: no data without the mark
		return fmt.Errorf("wipe %s: %w", c.spec.Name, err)
	}
	return nil
}
