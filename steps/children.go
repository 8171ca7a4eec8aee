package steps

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// WorldLine is one line that `kirikae world` prints: progress, then either Ready or Error.
type WorldLine struct {
	Progress string `json:"progress,omitempty"`
	Ready    bool   `json:"ready,omitempty"`
	Error    string `json:"error,omitempty"`
	Code     int    `json:"code,omitempty"` // exit code that goes with Error
}

// WorldSpec says which world `kirikae world` shall make.
type WorldSpec struct {
	Folder   string              // run folder
	Topology string              // file
	Runtime  string              // local, docker, compose
	Images   string              // docker: auto, official, built
	Seed     uint64              // of the drill
	Defects  map[string][]string // planted
	Detached bool                // outlive the process that starts it (`kirikae up`)
	Volumes  string              // disk, memory; "": disk
}

// Arguments of `kirikae world` that make this world.
func (s WorldSpec) Arguments() []string {
	args := []string{"world", "--folder", s.Folder, "--topology", s.Topology, "--runtime", s.Runtime, "--seed", strconv.FormatUint(s.Seed, 10)}
	if s.Images != "" {
		args = append(args, "--images", s.Images)
	}
	if s.Volumes != "" {
		args = append(args, "--volumes", s.Volumes)
	}
	for kind, extra := range s.Defects {
		for _, x := range extra {
			args = append(args, "--defect", kind+"="+x)
		}
	}
	if s.Detached {
		args = append(args, "--detached")
	}
	return args
}

// childWorld is the world process of a drill. It ends when the drill closes its standard input, however the drill ends.
type childWorld struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{} // closed when the process is gone
	err   error         // how it ended; read after ended

	stopping atomic.Bool // Stop was called: its end is no surprise
}

// StartWorld starts `kirikae world` and returns when the world is ready. A world that cannot be made gives an error that wraps
// topology.ErrEnvironment or is a *UsageError, as the world process said. The process ends when stdin is closed by stop, or
// with the calling process.
func StartWorld(ctx context.Context, kirikae string, spec WorldSpec, say func(string)) (*childWorld, error) {
	w := &childWorld{cmd: exec.Command(kirikae, spec.Arguments()...), ended: make(chan struct{})}
	// A session of its own: a Ctrl-C at the terminal is the drill's to handle, in order. And where more CPU is asked for than there is, Linux
	// shares it out by sessions (sched_autogroup): the drill sends its probes on time, however many servers start.
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !spec.Detached {
		stdin, err := w.cmd.StdinPipe()
		if err != nil {
			return nil, fmt.Errorf("start world: %w", err)
		}
		w.stdin = stdin
	}
	logs := filepath.Join(spec.Folder, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, fmt.Errorf("start world: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(logs, "world.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start world: %w", err)
	}
	defer log.Close()
	w.cmd.Stderr = log
	stdout, stdoutChild, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start world: %w", err)
	}
	w.cmd.Stdout = stdoutChild
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start world: %w", err)
	}
	stdoutChild.Close()
	go func() {
		w.err = w.cmd.Wait()
		close(w.ended)
	}()
	result := make(chan error, 1)
	go func() {
		defer stdout.Close()
		result <- readWorld(stdout, filepath.Join(logs, "world.log"), say)
	}()
	select {
	case err = <-result:
	case <-ctx.Done():
		err = fmt.Errorf("start world: %w", context.Cause(ctx))
	}
	if err != nil {
		w.Stop(20 * time.Second)
		return nil, err
	}
	return w, nil
}

// readWorld relays progress until the world says that it is ready, or that it cannot be.
func readWorld(out io.Reader, log string, say func(string)) error {
	in := bufio.NewScanner(out)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var l WorldLine
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			say(in.Text())
			continue
		}
		switch {
		case l.Ready:
			return nil
		case l.Error != "" && l.Code == ExitUsage:
			return &UsageError{l.Error}
		case l.Error != "" && l.Code == ExitEnvironment:
			return fmt.Errorf("%s: %w", strings.TrimSuffix(l.Error, ": "+topology.ErrEnvironment.Error()), topology.ErrEnvironment)
		case l.Error != "":
			return errors.New(l.Error)
		default:
			say(l.Progress)
		}
	}
	return fmt.Errorf("start world: its process ended before it was ready; its log is %s", log)
}

// Watch calls gone once if the process ends although nobody stopped it.
func (w *childWorld) Watch(gone func(error)) {
	go func() {
		<-w.ended
		if !w.stopping.Load() {
			gone(fmt.Errorf("%w: %v", errWorldGone, w.err))
		}
	}()
}

// errWorldGone says that the world process died under a drill: what the platform did from then on says nothing about it.
var errWorldGone = errors.New("the world process ended")

// Stop ends the world process and waits for it: first by closing its standard input, which lets it clean up, then by SIGKILL.
func (w *childWorld) Stop(d time.Duration) {
	w.stopping.Store(true)
	if w.stdin != nil {
		w.stdin.Close()
	} else {
		_ = w.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-w.ended:
	case <-time.After(d):
		_ = w.cmd.Process.Kill() // what it leaves is swept by the next start
		<-w.ended
	}
}

// operator runs `kirikae operate` as a child process, as an SRE would type it, and relays what it prints.
type operator struct {
	kirikae string
	folder  string
	key     string // file of the operator's own private key; "": none
	say     func(string)
}

// crash is where an operator is to die, "step:point"; "" nowhere.
type crash string

// errKilled says that the operator died by SIGKILL.
var errKilled = errors.New("the operator was killed")

// Run runs a procedure to its end, with more arguments if any are given. A failed one gives an error with the operator's last line.
//
// The operator dies with the drill. Parent-death signals follow the thread that forked, hence the lock.
func (o operator) Run(ctx context.Context, procedure, who string, at crash, more ...string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	args := []string{"operate", o.folder, procedure, "--who", who}
	if o.key != "" {
		args = append(args, "--key", o.key)
	}
	cmd := exec.CommandContext(ctx, o.kirikae, append(args, more...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Env = os.Environ()
	if at != "" {
		cmd.Env = append(cmd.Env, CrashVariable+"="+string(at))
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start operator: %w", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start operator: %w", err)
	}
	last := ""
	in := bufio.NewScanner(out)
	for in.Scan() {
		last = in.Text()
		o.say(last)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
			return errKilled
		}
		return fmt.Errorf("procedure %s: the operator stopped with exit code %d: %s", procedure, exit.ExitCode(), last)
	}
	if err != nil {
		return fmt.Errorf("procedure %s: %w", procedure, err)
	}
	return nil
}

// CrashVariable is the environment variable that names the step and point ("2:after-act") at which an operator kills itself.
const CrashVariable = "KIRIKAE_CRASH"
