package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/provision"
	"github.com/kirikae/kirikae/topology/topologytest"
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

// halfWorld is a world with its plumbing and without its servers.
func halfWorld(t *testing.T) *owned {
	t.Helper()
	r, err := New(Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return halfWorldOf(t, r)
}

func halfWorldOf(t *testing.T, r *Runtime) *owned {
	t.Helper()
	w := &owned{config: r.c, say: func(string) {}, children: map[string]*child{}, gone: make(chan struct{}), served: make(chan error, 1)}
	w.life, w.end = context.WithCancelCause(context.Background())
	t.Cleanup(func() {
		if err := errors.Join(w.down(), w.hangUp()); err != nil {
			t.Error(err)
		}
	})
	if err := w.claimPlace(r, twoRegion(t), t.TempDir(), false); err != nil {
		t.Fatal(err)
	}
	if err := w.openPlumbing(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(worldFile(w.folder), w.file); err != nil {
		t.Fatal(err)
	}
	return w
}

func playing(part string) topology.Command {
	return topology.Command{Path: os.Args[0], Env: []string{playVariable + "=" + part}}
}

func (w *owned) play(t *testing.T, node, part string) *child {
	t.Helper()
	c := w.children[node]
	if err := w.launch(c, playing(part)); err != nil {
		t.Fatal(err)
	}
	within(t, node+" plays its part", func() bool {
		lines, err := tailFile(c.log(), 100)
		return err == nil && strings.Contains(strings.Join(lines, "\n"), "playing "+part)
	})
	return c
}

func within(t *testing.T, what string, f func() bool) {
	t.Helper()
	err := until(timeout(t, 5*time.Second), what, func(context.Context) error {
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
	w := halfWorld(t)
	c := w.play(t, "tokyo-gateway-1", "sleep")
	if s := c.state(); s != topology.Running {
		t.Fatalf("started: %s", s)
	}
	pid := c.life().PID
	if pgid, err := syscall.Getpgid(pid); err != nil || pgid != pid {
		t.Errorf("it is in group %d, %v; want its own, %d", pgid, err, pid)
	}
	var p process
	if err := readJSON(c.pidFile(), &p); err != nil || p != c.life().process {
		t.Errorf("recorded as %+v, %v", p, err)
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || strings.Contains(string(env), "GOCACHE") || !strings.Contains(string(env), "LC_ALL=C.UTF-8") {
		t.Errorf("its environment is %q, %v", env, err)
	}
	ctx := timeout(t, 5*time.Second)
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
	if _, err := os.Stat(c.pidFile()); !absent(err) {
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
	w := halfWorld(t)
	c := w.play(t, "tokyo-gateway-1", "sleep")
	ctx := timeout(t, 5*time.Second)
	if err := errors.Join(c.freeze(ctx, true), c.stop(ctx)); err != nil || c.state() != topology.Stopped {
		t.Errorf("%v, %s", err, c.state())
	}
}

func TestStubbornChild(t *testing.T) {
	w := halfWorld(t)
	c := w.play(t, "tokyo-gateway-1", "stubborn")
	err := c.stop(timeout(t, 200*time.Millisecond))
	if !errors.Is(err, context.DeadlineExceeded) || c.state() != topology.Running {
		t.Errorf("stop: %v, %s", err, c.state())
	}
	if err := c.kill(timeout(t, 5*time.Second)); err != nil || c.state() != topology.Stopped {
		t.Errorf("kill: %v, %s", err, c.state())
	}
}

// TestDeath: a node that dies by itself is stopped, and its log says how; a start that waits for it shows its last lines.
func TestDeath(t *testing.T) {
	w := halfWorld(t)
	c := w.children["tokyo-mysql-1"]
	if err := w.launch(c, playing("die")); err != nil {
		t.Fatal(err)
	}
	err := w.watch(timeout(t, 10*time.Second), c, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if !errors.Is(err, topology.ErrEnvironment) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"tokyo-mysql-1 died: exit status 3", "cannot open the disk", "ended by itself", "line 19"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "line 2\n") {
		t.Errorf("the whole log was shown: %v", err)
	}
	c = w.play(t, "osaka-mysql-1", "sleep")
	if err := syscall.Kill(c.life().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, "it is seen stopped", func() bool { return c.state() == topology.Stopped })
	<-c.life().ended
	if lines, err := tailFile(c.log(), 1); err != nil || len(lines) != 1 || !strings.Contains(lines[0], "ended by itself: signal: killed") {
		t.Errorf("%q, %v", lines, err)
	}
	if err := w.watch(t.Context(), c, func(context.Context) error { return nil }); err != nil {
		t.Errorf("a wait that succeeded: %v", err)
	}
}

func TestCannotStart(t *testing.T) {
	w := halfWorld(t)
	c := w.children["tokyo-gateway-1"]
	if err := w.launch(c, topology.Command{Path: "/nowhere/paymentd"}); err == nil || !strings.Contains(err.Error(), "start tokyo-gateway-1") {
		t.Errorf("%v", err)
	}
	if c.state() != topology.Stopped {
		t.Error("it is not stopped")
	}
}

// TestAttached: another process's view of a world, over the socket and toxiproxy's API.
func TestAttached(t *testing.T) {
	w := halfWorld(t)
	r, err := New(Config{CacheDir: t.TempDir()}) // attaching needs no more than the run folder
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Attach(t.Context(), w.folder)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	n, err := a.Node("tokyo-gateway-1")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := n.State(t.Context()); err != nil || s != topology.Stopped {
		t.Errorf("%s, %v", s, err)
	}
	c := w.play(t, "tokyo-gateway-1", "sleep")
	if err := n.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := n.State(t.Context()); err != nil || s != topology.Paused {
		t.Errorf("%s, %v", s, err)
	}
	if lines, err := n.Logs(t.Context(), 1); err != nil || len(lines) != 1 || lines[0] != "playing sleep" {
		t.Errorf("%q, %v", lines, err)
	}
	if err := n.Wipe(t.Context()); err == nil || !strings.Contains(err.Error(), "it is paused, stop it first") {
		t.Errorf("%v", err)
	}
	if err := n.Kill(t.Context()); err != nil || c.state() != topology.Stopped {
		t.Errorf("%v, %s", err, c.state())
	}
	if err := n.(topology.LoneStarter).StartAlone(t.Context()); !errors.Is(err, topology.ErrUnsupported) {
		t.Errorf("a gateway alone: %v", err)
	}
	db, err := a.Node("tokyo-mysql-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.(topology.LoneStarter).StartAlone(t.Context()); err == nil || !strings.Contains(err.Error(), "no data of its own") {
		t.Errorf("a server without data, alone: %v", err)
	}

	l, err := a.Link(topology.LinkID{From: "tokyo", To: "osaka", Service: topology.ServiceMySQL})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetAccess(t.Context(), topology.Deny); err != nil {
		t.Fatal(err)
	}
	if x, err := w.links.Link(l.ID()).Layers(t.Context()); err != nil || x.Access != topology.Deny || x.Delay != 4*time.Millisecond {
		t.Errorf("%+v, %v", x, err)
	}

	if err := a.Zone().Point(t.Context(), "pay", "osaka"); err != nil {
		t.Fatal(err)
	}
	records, err := a.Zone().Records(t.Context())
	if err != nil || len(records) != 5 || records[3].Name != "pay.kirikae.test." && records[4].Name != "pay.kirikae.test." {
		t.Errorf("%+v, %v", records, err)
	}
	q := new(dns.Msg)
	q.SetQuestion("pay.kirikae.test.", dns.TypeA)
	answer, err := dns.Exchange(q, a.Zone().Server())
	if err != nil || len(answer.Answer) != 1 || !strings.Contains(answer.Answer[0].String(), ".102.51") {
		t.Errorf("%v, %v", answer, err)
	}

	if err := a.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.hangUp(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(w.state); !absent(err) {
		t.Errorf("the state folder is still there: %v", err)
	}
	if _, err := r.Attach(t.Context(), w.folder); err == nil {
		t.Error("attached to a world that is down")
	}
	if _, err := n.State(t.Context()); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("a node of it: %v", err)
	}
	// A world of this very process that is down: nothing is left of it, although its owner lives.
	if err := a.Down(t.Context()); err != nil {
		t.Errorf("down again: %v", err)
	}
	again := halfWorld(t)
	if again.plan.octet == 0 {
		t.Error("no octet")
	}
}

func TestAttachRefuses(t *testing.T) {
	r, err := New(Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := r.Attach(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "no world was made there") {
		t.Errorf("an empty folder: %v", err)
	}
	for text, want := range map[string]string{
		`{`:                                   "unexpected end",
		`{"version": 1, "runtime": "docker"}`: `runtime "docker"`,
		`{"version": 9, "runtime": "local"}`:  "version 9",
	} {
		if err := os.WriteFile(worldFile(dir), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Attach(t.Context(), dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestServe: the world ends with its owner's pipe, and leaves nothing.
func TestServe(t *testing.T) {
	w := halfWorld(t)
	c := w.play(t, "tokyo-gateway-1", "stubborn")
	pid := c.life().process
	a, err := attach(w.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), a, nil); !errors.Is(err, topology.ErrUnsupported) {
		t.Errorf("a world of another process was served: %v", err)
	}
	a.owned = w
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	done := make(chan error, 1)
	go func() { done <- Serve(context.Background(), a, read) }()
	select {
	case err := <-done:
		t.Fatalf("it ended before its owner: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	write.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it goes on without its owner")
	}
	if pid.alive() {
		t.Error("a node lives on")
	}
	if _, err := os.Stat(w.state); !absent(err) {
		t.Errorf("the state folder: %v", err)
	}
	if err := bindable(w.plan.addresses()); err != nil {
		t.Errorf("an address is still taken: %v", err)
	}
	if err := w.startNode(t.Context(), c, false); err == nil {
		t.Error("a node was started in a world that is down")
	}
}

// TestSideBySide: two worlds of one cache never share an address; a fixed one that is taken is refused, naming its holder.
func TestSideBySide(t *testing.T) {
	r, err := New(Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	a, b := halfWorldOf(t, r), halfWorldOf(t, r)
	if a.plan.octet == b.plan.octet || a.file.ID == b.file.ID {
		t.Errorf("octets %d and %d, ids %s and %s", a.plan.octet, b.plan.octet, a.file.ID, b.file.ID)
	}
	_, err = claimOctet(r.octets(), a.plan.octet, holder{}, func(int) []string { return nil })
	if !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), a.file.ID) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a taken octet: %v", err)
	}
	if err := b.claimPlace(r, twoRegion(t), a.folder, false); !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "of another world already") {
		t.Errorf("a second world in one run folder: %v", err)
	}
}

// TestAddressTaken: somebody else listens on an address of an octet: it is left out, or named when there is no other.
func TestAddressTaken(t *testing.T) {
	r, err := New(Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	addresses := func(x int) []string { p := layout(twoRegion(t), x, false); return p.addresses() }
	free, err := claimOctet(r.octets(), 0, holder{}, addresses)
	if err != nil {
		t.Fatal(err)
	}
	x := free.octet
	free.release()
	p := layout(twoRegion(t), x, false)
	l, err := net.Listen("tcp", p.of("osaka", topology.MySQL)[0].Endpoints[topology.ServiceMySQL])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = claimOctet(r.octets(), x, holder{}, addresses)
	if !errors.Is(err, topology.ErrEnvironment) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{l.Addr().String(), fmt.Sprintf("process %d (", os.Getpid())} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	next, err := claimOctet(r.octets(), 0, holder{}, addresses)
	if err != nil || next.octet == x {
		t.Fatalf("%+v, %v", next, err)
	}
	next.release()
}

// TestSweep: what a killed world process left, with processes that outlived it; and what must never be touched.
func TestSweep(t *testing.T) {
	r, err := New(Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if swept, err := r.Sweep(t.Context()); err != nil || swept != nil {
		t.Fatalf("nothing was ever there: %v, %v", swept, err)
	}
	living := halfWorldOf(t, r)
	node := living.play(t, "tokyo-gateway-1", "sleep")

	owner, err := self()
	if err != nil {
		t.Fatal(err)
	}
	leave := func(id string, o topology.Owner) (dir string, left []process) {
		dir, err := makeState(r.worlds(), id, o)
		if err != nil {
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
			_, start, err := stat(x.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			p := process{x.Process.Pid, start}
			left = append(left, p)
			if err := writeJSON(filepath.Join(dir, "pids", fmt.Sprintf("n%d.json", i)), p); err != nil {
				t.Fatal(err)
			}
		}
		return dir, left
	}
	gone := owner
	gone.StartTime-- // this PID, but a process before us
	dead, left := leave("wdead", gone)
	old := owner
	old.BootID = "another boot"
	rebooted, alsoLeft := leave("wboot", old)
	// A PID that was recorded and is another's now must not be killed.
	innocent := left[1]
	innocent.Start++
	if err := writeJSON(filepath.Join(dead, "pids", "n1.json"), innocent); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.worlds(), ".new-young"), 0o700); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(r.worlds(), ".new-old")
	if err := os.Mkdir(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(stale, before, before); err != nil {
		t.Fatal(err)
	}

	swept, err := r.Sweep(t.Context())
	if err != nil || len(swept) != 2 || !strings.Contains(strings.Join(swept, ";"), "wdead") || !strings.Contains(strings.Join(swept, ";"), "wboot") {
		t.Errorf("swept %v, %v", swept, err)
	}
	for _, p := range append(alsoLeft, left[0]) {
		if p.alive() {
			t.Errorf("process %d of a dead world lives", p.PID)
		}
	}
	if !left[1].alive() {
		t.Error("an innocent process was killed")
	}
	for _, dir := range []string{dead, rebooted, stale} {
		if _, err := os.Stat(dir); !absent(err) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := os.Stat(filepath.Join(r.worlds(), ".new-young")); err != nil {
		t.Errorf("a world that is being made was touched: %v", err)
	}
	if node.state() != topology.Running {
		t.Error("a living world's node was killed")
	}
	if _, err := os.Stat(living.state); err != nil {
		t.Error(err)
	}
}

func TestSocketPath(t *testing.T) {
	short := t.TempDir()
	if got, err := socketPath(short, "w1"); err != nil || got != filepath.Join(short, "control.sock") {
		t.Errorf("%s, %v", got, err)
	}
	t.Setenv("TMPDIR", short)
	deep := "/" + strings.Repeat("deep/", 30)
	got, err := socketPath(deep, "w1")
	if err != nil || len(got) > maxSocketPath || !strings.HasSuffix(got, "/w1.sock") {
		t.Errorf("%s, %v", got, err)
	}
	info, err := os.Stat(filepath.Dir(got))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Chmod(filepath.Dir(got), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := socketPath(deep, "w1"); !errors.Is(err, topology.ErrEnvironment) {
		t.Errorf("a folder that others can write: %v", err)
	}
}

func TestProcess(t *testing.T) {
	o, err := self()
	if err != nil || !lives(o) {
		t.Fatalf("this process does not live: %+v, %v", o, err)
	}
	for _, dead := range []topology.Owner{
		{BootID: o.BootID, PID: o.PID, StartTime: o.StartTime + 1},
		{BootID: "x", PID: o.PID, StartTime: o.StartTime},
		{BootID: o.BootID, PID: 1 << 30, StartTime: 1},
	} {
		if lives(dead) {
			t.Errorf("%+v lives", dead)
		}
	}
	x := exec.Command("true")
	if err := x.Start(); err != nil {
		t.Fatal(err)
	}
	_, start, err := stat(x.Process.Pid)
	if err == nil {
		zombie := process{x.Process.Pid, start}
		within(t, "a zombie does not live", func() bool { return !zombie.alive() })
	}
	_ = x.Wait()
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

func TestForward(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	p := layout(twoRegion(t), 249, true)
	r := p.routes[:1]
	r[0].Target = l.Addr().String()
	f, err := forward(r)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", r[0].Door)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("around")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "around" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := forward(r); !errors.Is(err, topology.ErrEnvironment) {
		t.Errorf("a taken door: %v", err)
	}
	f.close()
	if _, err := c.Read(got); err == nil {
		t.Error("a connection lives on")
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
		Cassandra: provision.Cassandra{Version: "0", Jamm: "/bin/false", ClassPath: []string{"x"}},
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
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to say so", took)
	}
	if left, err := os.ReadDir(r.worlds()); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if _, err := os.Stat(worldFile(folder)); !absent(err) {
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
