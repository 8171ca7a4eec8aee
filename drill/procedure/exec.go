package procedure

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
)

// script is a team's own act, or its own read: a text for /bin/sh, which runs in the run folder with its inputs as environment.
// As an act it may be started again after it was killed half-way, and must then do what is left. It dies with the operator.
type script struct {
	estate Estate
	text   string
	env    map[string]string
	limit  time.Duration
}

const (
	shell        = "/bin/sh"
	outputInFile = 1 << 20 // bytes of output that are kept in a file
	outputInLine = 2000    // last bytes of output that are journalled
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func bindScript(e Estate, in Values) (script, error) {
	s := script{e, in.text("script"), in.table("env"), in.time("limit")}
	if strings.TrimSpace(s.text) == "" || strings.ContainsRune(s.text, 0) {
		return s, &InputError{"script", errors.New("there is nothing to run")}
	}
	for _, name := range slices.Sorted(maps.Keys(s.env)) {
		switch {
		case !envName.MatchString(name):
			return s, &InputError{"env", fmt.Errorf("%q is no name of an environment variable", name)}
		case name == "PATH" || name == "HOME" || strings.HasPrefix(name, "KIRIKAE_"):
			return s, &InputError{"env", fmt.Errorf("%s is set by kirikae, expected another name", name)}
		case strings.ContainsRune(s.env[name], 0):
			return s, &InputError{"env", fmt.Errorf("%s has a zero byte", name)}
		}
	}
	return s, nil
}

// Check implements runbook.Action: the script is one that the shell can read.
func (s script) Check(ctx context.Context) (runbook.Seen, error) {
	saw, _, err := s.run(ctx, "", "-n")
	return saw, err
}

// Act implements runbook.Action.
func (s script) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw, output, err := s.run(ctx, notes.Run())
	if k, ok := notes.(runbook.Keeper); ok && len(output) > 0 {
		path, lost := k.Keep("output.txt", output)
		if saw["kept"] = path; lost != nil {
			saw["kept"] = lost.Error()
		}
	}
	return saw, err
}

// Confirm implements runbook.Action. That a script ended well is no proof: the procedure names what is.
func (s script) Confirm(context.Context, runbook.Notes) (runbook.Seen, error) { return nil, nil }

// Would implements runbook.Foreteller.
func (s script) Would(context.Context) (string, error) {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(s.env)) {
		env = append(env, name+"="+runbook.Value(s.env[name]))
	}
	return fmt.Sprintf("run for at most %v with %s: %s", s.limit, cmp.Or(strings.Join(env, " "), "no inputs"), runbook.Value(strings.TrimSpace(s.text))), nil
}

// Read implements Reader: it holds when the script ends with exit code 0.
func (s script) Read(ctx context.Context) (runbook.Seen, error) {
	saw, _, err := s.run(ctx, "")
	return saw, err
}

// run runs the script, or only reads it ("-n"), and returns what it wrote.
func (s script) run(ctx context.Context, name string, options ...string) (runbook.Seen, []byte, error) {
	place, ok := s.estate.(Placed)
	if !ok {
		return runbook.Seen{}, nil, fmt.Errorf("find the run folder: %w", errCannotBeAsked)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("its limit of %v ended", s.limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, append(options, "-c", s.text)...)
	cmd.Dir = place.Folder()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=C.UTF-8", "KIRIKAE_RUN=" + name}
	for k, v := range s.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out := &capped{limit: outputInFile}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with whatever it has started
	cmd.WaitDelay = time.Second                                                          // for the output of what left its group

	runtime.LockOSThread() // the kernel's signal at the parent's death follows the thread that started the child
	began := time.Now()
	err := cmd.Run()
	runtime.UnlockOSThread()

	saw := runbook.Seen{"took": time.Since(began).Round(time.Millisecond).String(), "output": tail(out.b), "bytes": out.total}
	if cmd.ProcessState != nil {
		saw["exit"] = cmd.ProcessState.ExitCode() // -1: killed
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return saw, out.b, nil
	case ctx.Err() != nil:
		return saw, out.b, fmt.Errorf("the script was ended: %w%s", context.Cause(ctx), said(out.b))
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return saw, out.b, fmt.Errorf("the script ended with exit code %d%s", exit.ExitCode(), said(out.b))
	case errors.Is(err, exec.ErrWaitDelay): // it ended well, and left something behind that still writes
		return saw, out.b, errors.New("the script ended, and something that it started goes on")
	}
	return saw, out.b, fmt.Errorf("run the script: %w", err)
}

// said is the last line of an output, for an error.
func said(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return ": " + strings.ToValidUTF8(last[:min(len(last), 300)], "?")
	}
	return ""
}

// tail is the end of an output, for the journal.
func tail(b []byte) string {
	if len(b) > outputInLine {
		b = append([]byte("…"), b[len(b)-outputInLine:]...)
	}
	return strings.ToValidUTF8(string(b), "?")
}

// capped keeps the first bytes that are written to it, and counts all. One writer at a time: os/exec gives standard output and
// standard error one pipe when they are the same.
type capped struct {
	b     []byte
	limit int
	total int64
}

// Write implements io.Writer.
func (c *capped) Write(b []byte) (int, error) {
	c.total += int64(len(b))
	c.b = append(c.b, b[:min(len(b), c.limit-len(c.b))]...)
	return len(b), nil
}

// get is a read by HTTP: every node of a kind at a site answers a path as expected.
type get struct {
	estate Estate
	site   string
	kind   string
	path   string
	status int64
	body   string // that the answer must contain
}

// Read implements Reader.
func (g get) Read(ctx context.Context) (runbook.Seen, error) {
	asked, ok := g.estate.(Getter)
	if !ok {
		return nil, fmt.Errorf("ask by HTTP: %w", errCannotBeAsked)
	}
	nodes, err := declared(g.estate, siteOf(g.site), kindOf(g.kind))
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{}
	for _, n := range nodes {
		status, body, err := asked.Get(ctx, n, g.path)
		if err != nil {
			return saw, fmt.Errorf("get %s from %s: %w", g.path, n.Name(), err)
		}
		saw[n.Name()] = status
		if int64(status) != g.status {
			return saw, fmt.Errorf("%s answers %s with %d, expected %d%s", n.Name(), g.path, status, g.status, said(body))
		}
		if !bytes.Contains(body, []byte(g.body)) {
			return saw, fmt.Errorf("%s answers %s without %q%s", n.Name(), g.path, g.body, said(body))
		}
	}
	return saw, nil
}
