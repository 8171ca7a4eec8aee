package topologytest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

const processVariable = "KIRIKAE_TOPOLOGYTEST_WORLD"

// order is what a world process is told.
type order struct {
	Folder   string
	Topology string
	Paymentd string
	Defects  map[string][]string
}

// Main runs the tests, or is the world process that one of them started.
func Main(m *testing.M, h Host) {
	text, ok := os.LookupEnv(processVariable)
	if !ok {
		os.Exit(m.Run())
	}
	if err := worldProcess(h, text); err != nil {
		fmt.Printf("ERROR %s\n", strings.ReplaceAll(err.Error(), "\n", " | "))
		os.Exit(1)
	}
}

func worldProcess(h Host, text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := h.Runtime(o.Paymentd)
	if err != nil {
		return err
	}
	t, err := topology.Load(o.Topology)
	if err != nil {
		return err
	}
	w, err := r.Create(ctx, t, topology.Options{Folder: o.Folder, Defects: o.Defects, Progress: func(s string) { fmt.Println(s) }})
	if err != nil {
		return err
	}
	fmt.Println("READY")
	return h.Serve(ctx, w, os.Stdin)
}

// Owner is a world process.
type Owner struct {
	Folder string
	cmd    *exec.Cmd
	stdin  io.Closer
	up     chan struct{} // closed when its world is up
	ended  chan struct{} // closed when it has ended; then err says how
	err    error
	once   sync.Once
}

// Start makes a world in a process of its own and returns when it is up. The process dies with the test.
func Start(t *testing.T, h Host, paymentd string, defects map[string][]string) *Owner {
	t.Helper()
	o := launch(t, h, order{Topology: h.Topology, Paymentd: paymentd, Defects: defects})
	must(t, o.wait(t.Context(), h.Limits.withDefaults().Up))
	return o
}

// launch starts a world process; o's folder is made here.
func launch(t *testing.T, h Host, what order) *Owner {
	t.Helper()
	what.Folder = t.TempDir()
	o := &Owner{Folder: what.Folder, up: make(chan struct{}), ended: make(chan struct{})}
	var err error
	what.Topology, err = filepath.Abs(what.Topology)
	must(t, err)
	text, err := json.Marshal(what)
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	o.cmd = exec.Command(self)
	o.cmd.Env = append(os.Environ(), processVariable+"="+string(text))
	o.cmd.Stderr = os.Stderr
	o.stdin, err = o.cmd.StdinPipe()
	must(t, err)
	out, err := o.cmd.StdoutPipe()
	must(t, err)
	must(t, o.cmd.Start())
	go o.follow(out)
	t.Cleanup(func() {
		if t.Failed() {
			logs(t, o.Folder)
		}
		o.Close(t, h)
	})
	return o
}

// follow reads what the process says until it ends.
func (o *Owner) follow(out io.Reader) {
	var said error
	in := bufio.NewScanner(out)
	for in.Scan() {
		line := in.Text()
		if text, bad := strings.CutPrefix(line, "ERROR "); bad {
			said = errors.New(text)
		} else if line == "READY" {
			close(o.up)
		} else {
			fmt.Printf("      world %d: %s\n", o.PID(), line)
		}
	}
	if o.err = o.cmd.Wait(); said != nil {
		o.err = said
	}
	close(o.ended)
}

// wait returns when the world is up, or with the reason why it is not.
func (o *Owner) wait(ctx context.Context, limit time.Duration) error {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-o.up:
		return nil
	case <-o.ended:
		return fmt.Errorf("the world process ended before its world was up: %w", o.err)
	case <-late.C:
		return fmt.Errorf("the world was not up after %s", limit)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PID of the world process.
func (o *Owner) PID() int { return o.cmd.Process.Pid }

// over waits until the process has ended by itself, and says how.
func (o *Owner) over(limit time.Duration) error {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-o.ended:
		return o.err
	case <-late.C:
		return fmt.Errorf("the world process was still there after %s", limit)
	}
}

// Close closes the owner's pipe and waits until the world process has ended, in good order.
func (o *Owner) Close(t *testing.T, h Host) {
	o.once.Do(func() {
		o.stdin.Close()
		limit := 2 * h.Limits.withDefaults().Down
		if err := o.over(limit); err != nil {
			t.Errorf("its owner's pipe closed: %v", err)
			_ = o.cmd.Process.Kill() // it may have ended
			<-o.ended
		}
	})
}

// Kill is kill -9 of the world process.
func (o *Owner) Kill() {
	o.once.Do(func() {
		_ = o.cmd.Process.Kill() // it may have ended
		<-o.ended
		o.stdin.Close()
	})
}

// Paymentd builds the platform's program.
func Paymentd(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "paymentd")
	out, err := exec.Command("go", "build", "-o", path, "github.com/kirikae/kirikae/cmd/paymentd").CombinedOutput()
	if err != nil {
		t.Fatalf("build paymentd: %v\n%s", err, out)
	}
	return path
}

// Processes names the processes of this machine whose command line, environment or working folder contain a text: a Left for
// worlds of processes.
func Processes(text string) ([]string, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, p := range folders {
		line, err := os.ReadFile(p + "/cmdline")
		if err != nil || len(line) == 0 {
			continue // it has just ended, or is the kernel's
		}
		env, _ := os.ReadFile(p + "/environ") // another user's cannot be read: then it is no process of ours
		cwd, _ := os.Readlink(p + "/cwd")
		if strings.Contains(string(line), text) || strings.Contains(string(env), text) || strings.Contains(cwd, text) {
			all = append(all, fmt.Sprintf("process %s (%s)", filepath.Base(p), strings.SplitN(string(line), "\x00", 2)[0]))
		}
	}
	return all, nil
}

func logs(t *testing.T, folder string) {
	files, _ := filepath.Glob(filepath.Join(folder, "logs", "*.log"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		t.Logf("%s:\n  %s", filepath.Base(f), strings.Join(lines[max(0, len(lines)-6):], "\n  "))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
