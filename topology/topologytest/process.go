package topologytest

import (
	"bufio"
	"context"
	"encoding/json"
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

// LiveVariable must be 1 for tests that start real servers.
const LiveVariable = "KIRIKAE_LIVE"

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
	ended  chan struct{}
	once   sync.Once
}

// Start makes a world in a process of its own and returns when it is up. The process dies with the test.
func Start(t *testing.T, h Host, paymentd string, defects map[string][]string) *Owner {
	t.Helper()
	o := &Owner{Folder: t.TempDir(), ended: make(chan struct{})}
	topo, err := filepath.Abs(h.Topology)
	must(t, err)
	text, err := json.Marshal(order{o.Folder, topo, paymentd, defects})
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
	t.Cleanup(func() {
		if t.Failed() {
			logs(t, o.Folder)
		}
		o.Close(t)
	})
	up := make(chan string, 1)
	go func() {
		in := bufio.NewScanner(out)
		for in.Scan() {
			switch line := in.Text(); {
			case line == "READY":
				up <- ""
			case strings.HasPrefix(line, "ERROR "):
				up <- line
			default:
				fmt.Println("      world:", line)
			}
		}
		_ = o.cmd.Wait() // how it ended is for those who ended it
		close(o.ended)
	}()
	select {
	case e := <-up:
		if e != "" {
			t.Fatal(e)
		}
	case <-o.ended:
		t.Fatal("the world process ended before its world was up")
	case <-time.After(3 * time.Minute):
		t.Fatal("the world was not up after 3 minutes")
	}
	return o
}

// PID of the world process.
func (o *Owner) PID() int { return o.cmd.Process.Pid }

// Close closes the owner's pipe and waits until the world process has ended.
func (o *Owner) Close(t *testing.T) {
	o.once.Do(func() {
		o.stdin.Close()
		select {
		case <-o.ended:
		case <-time.After(30 * time.Second):
			t.Error("the world process did not end when its owner's pipe closed")
			_ = o.cmd.Process.Kill()
			<-o.ended
		}
	})
}

// Kill is kill -9 of the world process.
func (o *Owner) Kill() {
	_ = o.cmd.Process.Kill() // it may have ended
	<-o.ended
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
