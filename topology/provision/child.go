package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a program that provisioning starts and waits for. It dies with this process, in whatever way that dies.
type child struct {
	cmd  *exec.Cmd
	out  *tail
	done chan struct{} // closed when it has ended and err is set
	err  error
}

// start starts a program with its output kept (the last lines). When ctx ends it gets SIGTERM, with everything it started,
// and SIGKILL a little later.
func start(ctx context.Context, dir string, env []string, argv ...string) (*child, error) {
	c := newChild(ctx, dir, env, argv...)
	return c, c.start(ctx)
}

// output runs a short program and returns what it wrote to its standard output; the error quotes the rest.
func output(ctx context.Context, argv ...string) (string, error) {
	c := newChild(ctx, "", nil, argv...)
	var out strings.Builder
	c.cmd.Stdout = &out
	if err := c.start(ctx); err != nil {
		return "", err
	}
	err := c.wait(filepath.Base(argv[0]))
	return out.String(), err
}

func newChild(ctx context.Context, dir string, env []string, argv ...string) *child {
	c := &child{out: &tail{}, done: make(chan struct{})}
	c.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.cmd.Dir = dir
	c.cmd.Env = append(os.Environ(), append([]string{"LC_ALL=C"}, env...)...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	c.cmd.SysProcAttr = ownGroup()
	c.cmd.Cancel = func() error { return signalGroup(c.cmd.Process, syscall.SIGTERM) }
	c.cmd.WaitDelay = 5 * time.Second
	return c
}

func (c *child) start(ctx context.Context) error {
	started := make(chan error, 1)
	go func() {
		// The kernel kills the child when the *thread* that started it ends, so this thread must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.err = c.cmd.Wait()
		if ctx.Err() != nil {
			_ = signalGroup(c.cmd.Process, syscall.SIGKILL) // what SIGTERM left of its group
		}
		close(c.done)
	}()
	if err := <-started; err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return missing("start "+c.cmd.Args[0], err)
		}
		return fmt.Errorf("start %s: %w", c.cmd.Args[0], err)
	}
	return nil
}

// wait waits for its end. The error carries its last lines.
func (c *child) wait(what string) error {
	<-c.done
	if c.err != nil {
		return fmt.Errorf("%s: %w%s", what, c.err, c.out.quote())
	}
	return nil
}

// stop asks it to end in order and waits for that, at most so long.
func (c *child) stop(what string, limit time.Duration) error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", what, err)
	}
	select {
	case <-c.done:
		return nil
	case <-time.After(limit):
		c.kill()
		return fmt.Errorf("stop %s: still running %v after SIGTERM%s", what, limit, c.out.quote())
	}
}

// kill ends it at once; harmless when it has ended.
func (c *child) kill() {
	select {
	case <-c.done:
	default:
		_ = signalGroup(c.cmd.Process, syscall.SIGKILL)
		<-c.done
	}
}

// run starts a program and waits for it: a line when it starts, then a heartbeat.
func (p *progress) run(ctx context.Context, what, dir string, env []string, argv ...string) (string, error) {
	c, err := start(ctx, dir, env, argv...)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	err = p.Step(what, c.out.last, func() error { return c.wait(what) })
	if ctx.Err() != nil {
		err = fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	return c.out.String(), err
}

// tail keeps the last part of what a program writes.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const (
	tailBytes = 64 << 10
	tailLines = 12 // quoted in an error
)

var _ io.Writer = (*tail)(nil)

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*tailBytes {
		t.buf = append([]byte(nil), t.buf[len(t.buf)-tailBytes:]...)
	}
	return len(b), nil
}

// String is what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

var colour = regexp.MustCompile("\x1b\\[[0-9;]*m") // some of Maven's output has it whatever one asks

func (t *tail) lines(n int) []string {
	lines := strings.Split(strings.TrimSpace(colour.ReplaceAllString(t.String(), "")), "\n")
	return lines[max(0, len(lines)-n):]
}

func (t *tail) last() string {
	l := t.lines(1)[0]
	if i := strings.LastIndexByte(l, '\r'); i >= 0 {
		l = l[i+1:]
	}
	if len(l) > 100 {
		l = l[:100] + "…"
	}
	return l
}

func (t *tail) quote() string {
	l := t.lines(tailLines)
	if len(l) == 1 && l[0] == "" {
		return " (it wrote nothing)"
	}
	return "; it wrote last:\n    " + strings.Join(l, "\n    ")
}
