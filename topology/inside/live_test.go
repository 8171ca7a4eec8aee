package inside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kirikae/kirikae/payment/spawn"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/livetest"
	"github.com/kirikae/kirikae/topology/mysql"
	"github.com/kirikae/kirikae/topology/provision"
)

// partVariable makes this test program a part of its own: what is in it is the part's options, in JSON.
const partVariable = "KIRIKAE_TEST_PART"

type partOptions struct {
	MySQL     *MySQL
	Cassandra *Cassandra
}

// part is the life of such a process.
func part(options string) int {
	os.Unsetenv(partVariable)
	var o partOptions
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	say := func(line string) { fmt.Fprintln(os.Stderr, "inside: "+line) }
	var err error
	if o.MySQL != nil {
		o.MySQL.Env = os.Environ()
		err = RunMySQL(ctx, *o.MySQL, say)
	} else {
		var p Program
		if p, err = PrepareCassandra(ctx, *o.Cassandra, os.Environ(), say); err == nil {
			err = Become(p)
		}
	}
	var status spawn.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// process is a part that runs.
type process struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func begin(t *testing.T, o partOptions) *process {
	t.Helper()
	b, err := json.Marshal(o)
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), partVariable+"="+string(b), SecretVariable+"=s3cret")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = patience // a server that outlives its supervisor holds the pipe
	must(t, p.cmd.Start())
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("it wrote:\n%s", p.out.String())
		}
	})
	return p
}

// end sends a signal and says with which status it ended.
func (p *process) end(t *testing.T, s syscall.Signal) int {
	t.Helper()
	must(t, p.cmd.Process.Signal(s))
	err := p.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		t.Error("something outlived it")
	}
	return p.cmd.ProcessState.ExitCode()
}

func live(t *testing.T) (provision.Install, string) {
	t.Helper()
	livetest.Servers(t)
	in, err := provision.Find("")
	must(t, err)
	dir := t.TempDir()
	b, err := json.Marshal(Install{Java: &in.Java, Cassandra: &in.Cassandra, MySQL: &in.MySQL})
	must(t, err)
	must(t, writeFile(filepath.Join(dir, "install.json"), string(b)))
	return in, dir
}

// TestLiveMySQL: a first start that is killed again and again at any moment, then one that is whole; an orderly stop; a kill; a
// start alone; and data that the server makes itself.
func TestLiveMySQL(t *testing.T) {
	in, dir := live(t)
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	host := hostsOf(t)
	o := MySQL{Node: mysql.NodeOptions{DataDir: filepath.Join(dir, "data"), Address: host, ServerID: 101}, Secret: "s3cret",
		Install: filepath.Join(dir, "install.json"), Alone: filepath.Join(dir, "alone")}
	ops, err := mysql.Open(host+":3306", mysql.UserOps, o.Secret, mysql.Options{})
	must(t, err)
	defer ops.Close()
	whole := func() {
		t.Helper()
		must(t, until(ctx, patience, "the server is healthy", func() error { return Healthy(ctx, "mysql", o.Node.Socket()) }))
		must(t, ops.WaitReady(ctx))
		s, err := ops.Status(ctx)
		if err != nil || s.Executed != "" {
			t.Errorf("a new server has a history: %+v, %v", s, err)
		}
	}

	kills := 0
	for after := 20 * time.Millisecond; ; after = after * 3 / 2 {
		p := begin(t, partOptions{MySQL: &o})
		if after > 100*time.Second {
			t.Fatal("no first start was ever whole")
		}
		deadline := time.Now().Add(after)
		for time.Now().Before(deadline) && !there(Marker(o.Node.DataDir)) {
			time.Sleep(time.Millisecond)
		}
		ready := there(Marker(o.Node.DataDir))
		if code := p.end(t, syscall.SIGKILL); code != -1 {
			t.Fatalf("killed, it exits %d", code)
		}
		kills++
		if ready {
			break
		}
	}
	t.Logf("whole after %d first starts, all of them killed", kills)
	p := begin(t, partOptions{MySQL: &o})
	whole()
	if code := p.end(t, syscall.SIGTERM); code != 0 || !strings.Contains(p.out.String(), "Shutdown complete") {
		t.Errorf("an orderly stop: exit %d", code)
	}

	must(t, writeFile(o.Alone, "true"))
	p = begin(t, partOptions{MySQL: &o})
	whole()
	if err := ops.ApplySchema(ctx, []string{"CREATE DATABASE x"}); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("alone, it takes writes: %v", err)
	}
	p.end(t, syscall.SIGTERM)
	must(t, os.Remove(o.Alone))

	// A server that ends by itself: its status is passed on.
	p = begin(t, partOptions{MySQL: &o})
	whole()
	b, err := os.ReadFile(filepath.Join(o.Node.DataDir, "mysqld.pid"))
	must(t, err)
	var pid int
	_, err = fmt.Sscan(string(b), &pid)
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	_ = p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != 137 {
		t.Errorf("its server was killed, it exits %d", code)
	}

	// An image without a template.
	in.MySQL.Template = ""
	j, err := json.Marshal(Install{MySQL: &in.MySQL})
	must(t, err)
	must(t, writeFile(o.Install, string(j)))
	o.Node.DataDir = filepath.Join(dir, "own")
	p = begin(t, partOptions{MySQL: &o})
	whole()
	if code := p.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestLiveLocked: until a server is whole nobody comes in, whatever was tried before; the users are locked first and unlocked last.
func TestLiveLocked(t *testing.T) {
	_, dir := live(t)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	host := hostsOf(t)
	o := MySQL{Node: mysql.NodeOptions{DataDir: filepath.Join(dir, "data"), Address: host, ServerID: 101}, Secret: "s3cret", Install: filepath.Join(dir, "install.json")}
	p := begin(t, partOptions{MySQL: &o})
	ops, err := mysql.Open(host+":3306", mysql.UserOps, o.Secret, mysql.Options{})
	must(t, err)
	defer ops.Close()
	// A client that writes the moment it may: what it writes must be in the history, from which a replica takes it.
	var wrote error
	for ctx.Err() == nil {
		if wrote = ops.ApplySchema(ctx, []string{"CREATE DATABASE early"}); wrote == nil {
			break
		}
		if strings.Contains(wrote.Error(), "exists") {
			break
		}
	}
	must(t, wrote)
	s, err := ops.Status(ctx)
	if err != nil || s.Executed == "" {
		t.Errorf("what was written as early as possible is in no history: %+v, %v", s, err)
	}
	must(t, until(ctx, patience, "the server is healthy", func() error { return Healthy(ctx, "mysql", o.Node.Socket()) }))
	p.end(t, syscall.SIGTERM)
}

// TestLiveCassandra: the process becomes Java, which answers, and ends on SIGTERM.
func TestLiveCassandra(t *testing.T) {
	_, dir := live(t)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	host := hostsOf(t)
	o := Cassandra{Node: cassandra.NodeOptions{DataDir: filepath.Join(dir, "data"), Cluster: "inside", Listen: host, Broadcast: host, DC: "tokyo", Token: "0", Seeds: []string{host}},
		Install: filepath.Join(dir, "install.json"), Alone: filepath.Join(dir, "alone")}
	must(t, writeFile(o.Alone, "true"))
	p := begin(t, partOptions{Cassandra: &o})
	must(t, until(ctx, 2*time.Minute, "Cassandra is healthy", func() error {
		ctx, stop := context.WithTimeout(ctx, 4*time.Second)
		defer stop()
		return Healthy(ctx, "cql", host+":"+fmt.Sprint(topology.ServiceCQL.Port()))
	}))
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.cmd.Process.Pid))
	if err != nil || strings.TrimSpace(string(comm)) != "java" {
		t.Errorf("the process is %q, %v", comm, err)
	}
	if code := p.end(t, syscall.SIGTERM); code != 143 {
		t.Errorf("told to stop, it exits %d", code)
	}
}
