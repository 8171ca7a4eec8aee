package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/provision"
	"github.com/kirikae/kirikae/topology/topologytest"
	"github.com/kirikae/kirikae/topology/wan"
	"github.com/kirikae/kirikae/topology/wire"
)

// playVariable makes this test program play a server's part, so that supervision is tested without servers.
const playVariable = "KIRIKAE_LOCAL_PLAY"

func TestMain(m *testing.M) {
	if part, ok := os.LookupEnv(playVariable); ok {
		play(part)
	}
	topologytest.Main(m, host())
}

func play(part string) {
	fmt.Println("playing", part)
	switch part {
	case "die":
		for i := range 20 {
			fmt.Println("line", i)
		}
		fmt.Println("cannot open the disk")
		os.Exit(3)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	}
	time.Sleep(time.Hour)
}

// half is the machines of a world that nobody else could have the addresses of, with its plumbing and without its servers.
func half(t *testing.T, bypass bool) *machines {
	t.Helper()
	host := hosted.Host{Runtime: Name, Cache: t.TempDir()}
	top := twoRegion(t)
	lay := func(x int) plan.Plan { return plan.Layout(top, x, plan.Loopback, bypass) }
	claim, err := host.Claim(t.Context(), 0, "test", "", func(x int) error { p := lay(x); return hosted.Bindable(p.Listens()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(claim.Release)
	dir := t.TempDir()
	p := lay(claim.Octet)
	file := hosted.File{ID: "wtest", Plan: p, Toxiproxy: p.Toxiproxy(), Names: p.Names(false), LinkLock: filepath.Join(dir, "links.lock"),
		State: dir, Logs: dir, Acquirer: filepath.Join(dir, hosted.AcquirerFile), Secret: "secret"}
	m := newMachines(Config{Paymentd: "/nowhere/paymentd"}, hosted.Ground{File: file, Bypass: bypass})
	t.Cleanup(func() {
		if err := m.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	zone, err := m.Open(t.Context(), &file)
	if err != nil {
		t.Fatal(err)
	}
	records, err := zone.Records(t.Context())
	if err != nil || len(records) != len(top.Zone.Records) {
		t.Fatalf("%v, %v", records, err)
	}
	return m
}

func twoRegion(t *testing.T) topology.Topology {
	t.Helper()
	top, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func playing(part string) topology.Command {
	return topology.Command{Path: os.Args[0], Env: []string{playVariable + "=" + part}}
}

func (m *machines) play(t *testing.T, node, part string) *child {
	t.Helper()
	c := m.children[node]
	if err := c.launch(playing(part)); err != nil {
		t.Fatal(err)
	}
	within(t, node+" plays its part", func() bool {
		lines, err := tailFile(c.log, 100)
		return err == nil && strings.Contains(strings.Join(lines, "\n"), "playing "+part)
	})
	return c
}

func within(t *testing.T, what string, f func() bool) {
	t.Helper()
	err := wire.Until(timeout(t, 30*time.Second), what, func(context.Context) error {
		if !f() {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestChild(t *testing.T) {
	m := half(t, false)
	c := m.play(t, "tokyo-gateway-1", "sleep")
	if s := c.state(); s != topology.Running {
		t.Fatalf("started: %s", s)
	}
	pid := c.life().PID
	if pgid, err := syscall.Getpgid(pid); err != nil || pgid != pid {
		t.Errorf("it is in group %d, %v; want its own, %d", pgid, err, pid)
	}
	var p hosted.Process
	if err := hosted.ReadJSON(c.pidFile, &p); err != nil || p != c.life().Process {
		t.Errorf("recorded as %+v, %v", p, err)
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || strings.Contains(string(env), "GOCACHE") || !strings.Contains(string(env), "LC_ALL=C.UTF-8") {
		t.Errorf("its environment is %q, %v", env, err)
	}
	ctx := timeout(t, 30*time.Second)
	for _, on := range []bool{true, true, false, false} {
		if err := c.freeze(ctx, on); err != nil {
			t.Fatal(err)
		}
		want := topology.Running
		if on {
			want = topology.Paused
		}
		if s := c.state(); s != want {
			t.Errorf("freeze(%v): %s", on, s)
		}
	}
	if err := c.wipe(); err == nil {
		t.Error("a running node was wiped")
	}
	if err := c.stop(ctx); err != nil || c.state() != topology.Stopped {
		t.Errorf("stop: %v, %s", err, c.state())
	}
	if _, err := os.Stat(c.pidFile); !absent(err) {
		t.Errorf("its record stays: %v", err)
	}
	if err := errors.Join(c.stop(ctx), c.kill(ctx), c.wipe(), c.wipe()); err != nil {
		t.Errorf("repeated: %v", err)
	}
	if err := c.freeze(ctx, true); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("a stopped node was paused: %v", err)
	}
}

func TestPausedChildStops(t *testing.T) {
	m := half(t, false)
	c := m.play(t, "tokyo-gateway-1", "sleep")
	ctx := timeout(t, 30*time.Second)
	if err := errors.Join(c.freeze(ctx, true), c.stop(ctx)); err != nil || c.state() != topology.Stopped {
		t.Errorf("%v, %s", err, c.state())
	}
}

func TestStubbornChild(t *testing.T) {
	m := half(t, false)
	c := m.play(t, "tokyo-gateway-1", "stubborn")
	err := c.stop(timeout(t, 200*time.Millisecond))
	if !errors.Is(err, context.DeadlineExceeded) || c.state() != topology.Running {
		t.Errorf("stop: %v, %s", err, c.state())
	}
	if err := c.kill(timeout(t, 30*time.Second)); err != nil || c.state() != topology.Stopped {
		t.Errorf("kill: %v, %s", err, c.state())
	}
}

// TestDeath: a node that dies by itself is stopped, and its log says how; a start that waits for it shows its last lines.
func TestDeath(t *testing.T) {
	m := half(t, false)
	c := m.children["tokyo-mysql-1"]
	if err := c.launch(playing("die")); err != nil {
		t.Fatal(err)
	}
	err := hosted.Watch(timeout(t, 30*time.Second), m, []plan.Node{c.spec}, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if !errors.Is(err, topology.ErrEnvironment) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"tokyo-mysql-1 died: exit status 3", "cannot open the disk", "ended by itself", "line 19"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "line 0\n") {
		t.Errorf("the whole log was shown: %v", err)
	}
	c = m.play(t, "osaka-mysql-1", "sleep")
	if err := syscall.Kill(c.life().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, "it is seen stopped", func() bool { return c.state() == topology.Stopped })
	<-c.life().ended
	if lines, err := tailFile(c.log, 1); err != nil || len(lines) != 1 || !strings.Contains(lines[0], "ended by itself: signal: killed") {
		t.Errorf("%q, %v", lines, err)
	}
	if err := hosted.Watch(t.Context(), m, []plan.Node{c.spec}, func(context.Context) error { return nil }); err != nil {
		t.Errorf("a wait that succeeded: %v", err)
	}
}

// TestEndedWithItsGroup: a node has ended when what its first process left behind has, too, and nothing of it is in the table of
// processes: a MySQL takes even a dead one that nobody has waited for as the owner of its socket.
func TestEndedWithItsGroup(t *testing.T) {
	if err := adopt(); err != nil {
		t.Fatal(err)
	}
	m := half(t, false)
	c := m.children["tokyo-gateway-1"]
	pidOf := filepath.Join(t.TempDir(), "left")
	if err := c.launch(topology.Command{Path: "/bin/sh", Args: []string{"-c", "sleep 0.3 & echo $! >" + pidOf + "; exit 3"}}); err != nil {
		t.Fatal(err)
	}
	if c.state() != topology.Running {
		t.Error("it is taken for stopped while a process of its group runs")
	}
	<-c.life().ended
	text, err := os.ReadFile(pidOf)
	if err != nil {
		t.Fatal(err)
	}
	left, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(left, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still in the table: %v", left, err)
	}
	if c.state() != topology.Stopped || c.life().reason != "exit status 3" {
		t.Errorf("%s, %s", c.state(), c.life().reason)
	}
}

func TestCannotStart(t *testing.T) {
	m := half(t, false)
	c := m.children["tokyo-gateway-1"]
	if err := c.launch(topology.Command{Path: "/nowhere/paymentd"}); err == nil || !strings.Contains(err.Error(), "start tokyo-gateway-1") {
		t.Errorf("%v", err)
	}
	if c.state() != topology.Stopped {
		t.Error("it is not stopped")
	}
}

// TestSweep: processes that outlived a killed world process; and those that must never be touched.
func TestSweep(t *testing.T) {
	r, err := New(Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	owner, err := hosted.Self()
	if err != nil {
		t.Fatal(err)
	}
	leave := func(id string, o topology.Owner) (dir string, left []hosted.Process) {
		dir = filepath.Join(r.host.Worlds(), id)
		if err := os.MkdirAll(filepath.Join(dir, pidsFolder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := hosted.WriteJSON(filepath.Join(dir, "owner.json"), o); err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			x := exec.Command(os.Args[0])
			x.Env = []string{playVariable + "=stubborn"}
			x.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := x.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { _ = x.Wait(); close(ended) }()
			t.Cleanup(func() { _ = x.Process.Kill(); <-ended })
			_, start, err := hosted.Stat(x.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			p := hosted.Process{PID: x.Process.Pid, Start: start}
			left = append(left, p)
			if err := hosted.WriteJSON(filepath.Join(dir, pidsFolder, fmt.Sprintf("n%d.json", i)), p); err != nil {
				t.Fatal(err)
			}
		}
		return dir, left
	}
	living, theirs := leave("wlive", owner)
	gone := owner
	gone.StartTime-- // this PID, but a process before us
	dead, left := leave("wdead", gone)
	old := owner
	old.BootID = "another boot" // its processes ended with that boot: those of these numbers are others
	rebooted, others := leave("wboot", old)
	// A PID that was recorded and is another's now must not be killed.
	innocent := left[1]
	innocent.Start++
	if err := hosted.WriteJSON(filepath.Join(dead, pidsFolder, "n1.json"), innocent); err != nil {
		t.Fatal(err)
	}

	swept, err := r.Sweep(t.Context())
	if err != nil || len(swept) != 2 || !strings.Contains(strings.Join(swept, ";"), "wdead") || !strings.Contains(strings.Join(swept, ";"), "wboot") {
		t.Errorf("swept %v, %v", swept, err)
	}
	if left[0].Alive() {
		t.Errorf("process %d of a dead world lives", left[0].PID)
	}
	for _, p := range append(append(theirs, others...), left[1]) {
		if !p.Alive() {
			t.Errorf("process %d was killed, which is no dead world's", p.PID)
		}
	}
	for _, dir := range []string{dead, rebooted} {
		if _, err := os.Stat(dir); !absent(err) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := os.Stat(living); err != nil {
		t.Error(err)
	}
}

// TestOpen: every door has its proxy with the declared delay, and names lead to the doors of the gateways. Planted, the proxies
// listen elsewhere and the doors are served around them.
func TestOpen(t *testing.T) {
	for _, bypass := range []bool{false, true} {
		m := half(t, bypass)
		f := m.ground.File
		links, err := wan.New(f.Toxiproxy, f.LinkLock, f.Plan.Topology.Links, f.Plan.Routes)
		if err != nil {
			t.Fatal(err)
		}
		defer links.Close()
		if err := links.Healthy(t.Context()); err != nil {
			t.Error(err)
		}
		l := links.Link(topology.LinkID{From: topology.Outside, To: "tokyo", Service: topology.ServiceHTTP})
		if err := l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}); err != nil {
			t.Fatal(err)
		}
		door := f.Plan.Door(topology.Outside, "tokyo-gateway-1")
		c, err := net.DialTimeout("tcp", door, 30*time.Second)
		if err == nil {
			c.Close()
		}
		if (err == nil) != bypass {
			t.Errorf("bypass %v: a cut door: %v", bypass, err)
		}
		host, _, _ := net.SplitHostPort(door)
		for _, r := range m.names.Records() {
			if r.Address != host {
				t.Errorf("%+v leads elsewhere than to %s", r, door)
			}
		}
		z := zone{m.names}
		if err := z.Point(t.Context(), "pay", "osaka"); err != nil {
			t.Error(err)
		}
		if err := z.Point(t.Context(), "pay", "nara"); err == nil {
			t.Error("a name leads to a site that is not there")
		}
	}
}

func TestTailFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if lines, err := tailFile(path, 3); err != nil || lines != nil {
		t.Errorf("no file: %v, %v", lines, err)
	}
	if err := os.WriteFile(path, []byte("a\nb\n\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{0: "", 1: "c", 2: "|c", 9: "a|b||c"} {
		if lines, err := tailFile(path, n); err != nil || strings.Join(lines, "|") != want {
			t.Errorf("%d: %q, %v", n, lines, err)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x", tailLimit)+"\nend\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if lines, err := tailFile(path, 1); err != nil || len(lines) != 1 || lines[0] != "end" {
		t.Errorf("%d lines, %v", len(lines), err)
	}
}

// TestServerDiesAtStart: the error says which and what it said last, and nothing is left.
func TestServerDiesAtStart(t *testing.T) {
	template := t.TempDir()
	if err := os.WriteFile(filepath.Join(template, "mysql.ibd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{CacheDir: t.TempDir(), Paymentd: "/bin/true", Install: provision.Install{
		MySQL:     provision.MySQL{Version: "0", Mysqld: []string{"/bin/false"}, Template: template},
		Java:      provision.Java{Version: "0", Path: "/bin/false"},
		Cassandra: provision.Cassandra{Version: "0", Jamm: "/bin/false", Jolokia: "/bin/false", ClassPath: []string{"x"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	began := time.Now()
	_, err = r.Create(t.Context(), twoRegion(t), topology.Options{Folder: folder})
	if !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "-1 died: exit status") || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s to say so", took)
	}
	if left, err := os.ReadDir(r.host.Worlds()); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := os.Stat(hosted.WorldFile(folder)); !absent(err) {
		t.Errorf("a world that never was has a file: %v", err)
	}
}

func TestCheck(t *testing.T) {
	r, err := New(Config{CacheDir: t.TempDir(), Paymentd: "/nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	err = r.Check(t.Context())
	if !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "MySQL is not provisioned") || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("%v", err)
	}
	if _, err := r.Create(t.Context(), twoRegion(t), topology.Options{Folder: t.TempDir()}); !errors.Is(err, topology.ErrEnvironment) {
		t.Errorf("a world from nothing: %v", err)
	}
}
