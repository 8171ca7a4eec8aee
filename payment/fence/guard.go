package fence

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/kirikae/kirikae/payment/internal/web"
	"github.com/kirikae/kirikae/payment/params"
	"github.com/kirikae/kirikae/payment/spawn"
)

// GuardConfig of a Guard.
type GuardConfig struct {
	Site, Node string
	Witness    string // base URL
	Params     string // base URL of the region's parameter store, asked while the Witness does not answer (OverrideKey); "": none
	Socket     string // the MySQL's unix socket, absolute
	// ReadyFile exists once the MySQL's data have their users; "": they always have. Until then the server is left alone, offline.
	ReadyFile string
	Status    string // file that says how things are; "": none
	// Command starts the MySQL. --offline-mode=ON is added to it. Its output must be set by the caller.
	Command *exec.Cmd
	// Watchdog is the command line of a process that calls Watch on its standard input; nil: none.
	Watchdog []string
	Log      *slog.Logger
}

// RunGuard starts a MySQL as its child and guards it to its end: nil after an orderly stop, a spawn.ExitStatus otherwise. When ctx ends
// the MySQL is told to stop, and is guarded until it has. If this process is killed, the MySQL is.
func RunGuard(ctx context.Context, c GuardConfig) error {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if ctx.Err() != nil {
		return nil // stopped before it was started
	}
	var dogs sync.WaitGroup
	defer dogs.Wait()
	thread := spawn.NewThread()
	defer thread.Close()
	x := c.Command
	x.Args = append(x.Args, "--offline-mode=ON")
	if err := thread.Start(x); err != nil {
		return fmt.Errorf("start %s: %w", x.Path, err)
	}
	exited := make(chan struct{})
	var ended error
	go func() {
		ended = x.Wait()
		close(exited)
	}()

	var dog watchdog = noWatchdog{}
	if len(c.Watchdog) > 0 {
		p := &pipeline{start: func() (*os.File, error) { return startWatchdog(c, x.Process.Pid, &dogs) }}
		defer p.close()
		dog = p
	}
	db, err := openMysqld(c.Socket)
	if err != nil {
		_ = x.Process.Kill()
		<-exited
		return err
	}
	defer db.db.Close()
	witness := NewClient(c.Witness, nil)
	defer witness.Close()
	var ask renewer = witness
	if c.Params != "" {
		transport := web.Transport(decidedWithin, 1)
		defer transport.CloseIdleConnections()
		ask = &decided{renewer: witness, site: c.Site, params: params.NewClient(c.Params, transport, decidedWithin)}
	}
	g := newGuard(c, ask, db, dog, x.Process)
	g.run(ctx, exited)
	return spawn.Ended(ended)
}

// startWatchdog starts one and names the MySQL to it. It is not killed with its parent, for it has a MySQL to kill then; and it is in a
// process group of its own, so that whoever stops or ends the Guard's group does not stop the watchdog.
func startWatchdog(c GuardConfig, pid int, running *sync.WaitGroup) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	x := exec.Command(c.Watchdog[0], c.Watchdog[1:]...)
	x.Stdin, x.Stdout, x.Stderr = r, c.Command.Stdout, c.Command.Stderr
	x.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := x.Start(); err != nil {
		w.Close()
		return nil, err
	}
	running.Add(1)
	go func() {
		defer running.Done()
		if err := x.Wait(); err != nil {
			c.Log.Warn("the watchdog ended", "error", err)
		}
	}()
	if _, err := io.WriteString(w, fmt.Sprintf("pid %d\n", pid)); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// killer ends a MySQL at once.
type killer interface {
	Kill() error
	Signal(os.Signal) error
}

// renewer is the Witness as a Guard needs it.
type renewer interface {
	Renew(ctx context.Context, site, node string, term int64) (Lease, error)
	Fenced(ctx context.Context, site, node string, term int64) (Lease, error)
}
