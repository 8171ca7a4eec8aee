package hosted

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

// TestAttached: another process's view of a world, over the socket and toxiproxy's API.
func TestAttached(t *testing.T) {
	h := testHost(t)
	w := halfWorld(t, h)
	a, err := h.Attach(t.Context(), w.folder)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if about := a.About(); about.Runtime != "fake" || about.ID != w.file.ID || about.Owner.PID != os.Getpid() || len(about.Secret) < 16 {
		t.Errorf("%+v", about)
	}
	if got, err := ReadFile(w.folder); err != nil || got.Details["made"] != "of words" || got.Plan.Octet != w.file.Plan.Octet {
		t.Errorf("%+v, %v", got, err)
	}
	if len(a.Nodes("", "")) != len(w.file.Plan.Nodes) || len(a.Nodes("tokyo", topology.App)) != 2 {
		t.Errorf("%d nodes, %d apps of tokyo", len(a.Nodes("", "")), len(a.Nodes("tokyo", topology.App)))
	}
	n, err := a.Node("tokyo-gateway-1")
	if err != nil {
		t.Fatal(err)
	}
	state := func(want topology.State) {
		t.Helper()
		if s, err := n.State(t.Context()); err != nil || s != want {
			t.Errorf("%s, %v, want %s", s, err, want)
		}
	}
	state(topology.Stopped)
	for _, step := range []struct {
		do   func(context.Context) error
		want topology.State
	}{
		{n.Start, topology.Running}, {n.Pause, topology.Paused}, {n.Resume, topology.Running}, {n.Stop, topology.Stopped},
		{n.Start, topology.Running}, {n.Kill, topology.Stopped}, {n.Wipe, topology.Stopped}, {n.Start, topology.Running},
	} {
		if err := step.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		state(step.want)
	}
	if lines, err := n.Logs(t.Context(), 1); err != nil || len(lines) != 1 || lines[0] != "it runs" {
		t.Errorf("%q, %v", lines, err)
	}
	if err := n.Wipe(t.Context()); err == nil || !strings.Contains(err.Error(), "wipe tokyo-gateway-1: it is running, stop it first") {
		t.Errorf("%v", err)
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
	if at, err := db.Reach(topology.ServiceMySQL); err != nil || at != w.node(t, "tokyo-mysql-1").Reach[topology.ServiceMySQL] {
		t.Errorf("%s, %v", at, err)
	}
	if _, err := db.Endpoint(topology.ServiceHTTP); err == nil || !strings.Contains(err.Error(), "known: mysql") {
		t.Errorf("%v", err)
	}
	if _, err := a.Node("tokyo-mysq-1"); err == nil || !strings.Contains(err.Error(), `did you mean "tokyo-mysql-1"?`) {
		t.Errorf("%v", err)
	}

	l, err := a.Link(topology.LinkID{From: "tokyo", To: "osaka", Service: topology.ServiceMySQL})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetAccess(t.Context(), topology.Deny); err != nil {
		t.Fatal(err)
	}
	other, err := h.Attach(t.Context(), w.folder)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	same, err := other.Link(l.ID())
	if err != nil {
		t.Fatal(err)
	}
	if x, err := same.Layers(t.Context()); err != nil || x.Access != topology.Deny || x.Delay != 4*time.Millisecond {
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
	answer, _, err := (&dns.Client{Timeout: 20 * time.Second}).Exchange(q, a.Zone().Server())
	door, _, _ := strings.Cut(w.file.Plan.Door(topology.Outside, "osaka-gateway-1"), ":")
	if err != nil || len(answer.Answer) != 1 || !strings.HasSuffix(answer.Answer[0].String(), door) {
		t.Errorf("%v, %v, want %s", answer, err, door)
	}

	if err := a.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.hangUp(); err != nil {
		t.Fatal(err)
	}
	if w.fake.downs != 1 {
		t.Errorf("the machines went down %d times", w.fake.downs)
	}
	if _, err := os.Stat(w.file.State); !absent(err) {
		t.Errorf("the state folder is still there: %v", err)
	}
	if _, err := h.Attach(t.Context(), w.folder); err == nil {
		t.Error("attached to a world that is down")
	}
	if _, err := n.State(t.Context()); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("a node of it: %v", err)
	}
	// A world of this very process that is down: nothing is left of it, although its owner lives.
	if err := a.Down(t.Context()); err != nil {
		t.Errorf("down again: %v", err)
	}
}

func TestAttachRefuses(t *testing.T) {
	h := testHost(t)
	dir := t.TempDir()
	if _, err := h.Attach(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "no world was made there") {
		t.Errorf("an empty folder: %v", err)
	}
	for text, want := range map[string]string{
		`{`:                                   "unexpected end",
		`{"version": 2, "runtime": "docker"}`: `runtime "docker"`,
		`{"version": 1, "runtime": "fake"}`:   "version 1",
	} {
		if err := os.WriteFile(WorldFile(dir), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Attach(t.Context(), dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestServe: the world ends with its owner's pipe, and leaves nothing.
func TestServe(t *testing.T) {
	h := testHost(t)
	w := halfWorld(t, h)
	n := w.node(t, "tokyo-gateway-1")
	if err := w.guard.Start(t.Context(), n, false); err != nil {
		t.Fatal(err)
	}
	a, err := h.attach(w.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), a, nil); !errors.Is(err, topology.ErrUnsupported) {
		t.Errorf("a world of another process was served: %v", err)
	}
	a.owned = w.owned
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
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on without its owner")
	}
	if s, _ := w.fake.State(t.Context(), n); s != topology.Stopped {
		t.Errorf("a node is %s", s)
	}
	if _, err := os.Stat(w.file.State); !absent(err) {
		t.Errorf("the state folder: %v", err)
	}
	if err := w.guard.Start(t.Context(), n, false); !errors.Is(err, errDown) {
		t.Errorf("a node was started in a world that is down: %v", err)
	}
}

// TestSideBySide: two worlds never share an address, whatever their cache; a fixed one that is taken is refused, naming its
// holder.
func TestSideBySide(t *testing.T) {
	h := testHost(t)
	a, b := halfWorld(t, h), halfWorld(t, h)
	if a.file.Plan.Octet == b.file.Plan.Octet || a.file.ID == b.file.ID {
		t.Errorf("octets %d and %d, ids %s and %s", a.file.Plan.Octet, b.file.Plan.Octet, a.file.ID, b.file.ID)
	}
	free := func(int) error { return nil }
	_, err := h.Claim(t.Context(), a.file.Plan.Octet, "w0", "", free)
	if !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), a.file.ID) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a taken octet: %v", err)
	}
	_, err = testHost(t).Claim(t.Context(), a.file.Plan.Octet, "w0", "", free)
	if !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), fmt.Sprintf("process %d (", os.Getpid())) {
		t.Errorf("an octet that is taken in another cache: %v", err)
	}
	second := newOwned(h, b.spec, func(string) {})
	if err := second.claimPlace(t.Context(), twoRegion(t), topology.Options{Folder: a.folder}); !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "of another world already") {
		t.Errorf("a second world in one run folder: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Claim(ctx, 0, "w0", "", free); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits for it: %v", err)
	}
}

// TestAddressTaken: somebody else listens on an address of an octet: it is left out, or named when there is no other.
func TestAddressTaken(t *testing.T) {
	h := testHost(t)
	top := twoRegion(t)
	w := newOwned(h, Spec{Prefix: plan.Loopback}, func(string) {})
	free := func(x int) error { return w.free(t.Context(), top, x) }
	c, err := h.Claim(t.Context(), 0, "w0", "", free)
	if err != nil {
		t.Fatal(err)
	}
	x := c.Octet
	p := w.layout(top, x)
	l, err := net.Listen("tcp", p.Of("osaka", topology.MySQL)[0].Reach[topology.ServiceMySQL]) // while the octet is ours
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = free(x)
	if err == nil {
		t.Fatal("it is free")
	}
	for _, want := range []string{l.Addr().String(), fmt.Sprintf("process %d (", os.Getpid())} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	c.Release()
	if _, err = h.Claim(t.Context(), x, "w0", "", free); !errors.Is(err, topology.ErrEnvironment) {
		t.Fatalf("%v", err)
	}
	next, err := h.Claim(t.Context(), 0, "w0", "", free)
	if err != nil || next.Octet == x {
		t.Fatalf("%+v, %v", next, err)
	}
	next.Release()

	asked := 0
	w.spec.Free = func(_ context.Context, p plan.Plan) error {
		asked++
		if asked < 3 {
			return errors.New("the runtime says no")
		}
		return nil
	}
	again, err := h.Claim(t.Context(), 0, "w0", "", free)
	if err != nil || asked != 3 {
		t.Fatalf("asked %d times, %v", asked, err)
	}
	again.Release()
}

// TestSweep: what a killed world process left; and what must never be touched.
func TestSweep(t *testing.T) {
	var removed []string
	h := testHost(t)
	h.Remove = func(_ context.Context, dir string, o topology.Owner) error {
		if _, err := os.Stat(filepath.Join(dir, ownerFile)); err != nil || o.PID != os.Getpid() {
			t.Errorf("called with %s of %+v: %v", dir, o, err)
		}
		removed = append(removed, filepath.Base(dir))
		if filepath.Base(dir) == "wstuck" {
			return errors.New("it cannot be removed")
		}
		return nil
	}
	if swept, err := h.Sweep(t.Context()); err != nil || swept != nil {
		t.Fatalf("nothing was ever there: %v, %v", swept, err)
	}
	living := halfWorld(t, h)
	owner, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	leave := func(id string, o topology.Owner) string {
		dir, err := makeState(h.Worlds(), id, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "leftover"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	gone := owner
	gone.StartTime-- // this PID, but a process before us
	dead := leave("wdead", gone)
	old := owner
	old.BootID = "another boot"
	rebooted := leave("wboot", old)
	if err := os.Mkdir(filepath.Join(h.Worlds(), ".new-young"), 0o700); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(h.Worlds(), ".new-old")
	if err := os.Mkdir(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(stale, before, before); err != nil {
		t.Fatal(err)
	}

	swept, err := h.Sweep(t.Context())
	if err != nil || len(swept) != 2 || !strings.Contains(strings.Join(swept, ";"), "wdead") || !strings.Contains(strings.Join(swept, ";"), "wboot") {
		t.Errorf("swept %v, %v", swept, err)
	}
	if strings.Join(removed, " ") != "wboot wdead" {
		t.Errorf("the runtime removed %v", removed)
	}
	for _, dir := range []string{dead, rebooted, stale} {
		if _, err := os.Stat(dir); !absent(err) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := os.Stat(filepath.Join(h.Worlds(), ".new-young")); err != nil {
		t.Errorf("a world that is being made was touched: %v", err)
	}
	if _, err := os.Stat(living.file.State); err != nil {
		t.Error(err)
	}

	empty, foreign := filepath.Join(h.Worlds(), "wempty"), filepath.Join(h.Worlds(), "foreign", "data")
	if err := errors.Join(os.Mkdir(empty, 0o700), os.MkdirAll(foreign, 0o700)); err != nil {
		t.Fatal(err)
	}
	if swept, err := h.Sweep(t.Context()); !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "foreign: whose is it?") || len(swept) != 0 {
		t.Errorf("a folder without an owner: %v, %v", swept, err)
	}
	if _, err := os.Stat(empty); !absent(err) {
		t.Errorf("an empty one: %v", err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("it was touched: %v", err)
	}
	if err := os.RemoveAll(filepath.Dir(foreign)); err != nil {
		t.Fatal(err)
	}

	stuck := leave("wstuck", gone)
	if swept, err := h.Sweep(t.Context()); !errors.Is(err, topology.ErrEnvironment) || len(swept) != 0 || !strings.Contains(err.Error(), "cannot be removed") {
		t.Errorf("swept %v, %v", swept, err)
	}
	if _, err := os.Stat(filepath.Join(stuck, "leftover")); err != nil {
		t.Errorf("its files went before what they name: %v", err)
	}
}

// TestDownWithoutOwner: somebody asks for the end of a world whose process was killed.
func TestDownWithoutOwner(t *testing.T) {
	removed := 0
	h := testHost(t)
	h.Remove = func(context.Context, string, topology.Owner) error { removed++; return nil }
	owner, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	owner.StartTime--
	dir, err := makeState(h.Worlds(), "wdead", owner)
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Layout(twoRegion(t), 9, plan.Loopback, false)
	w, err := h.attach(File{ID: "wdead", Owner: owner, State: dir, Control: filepath.Join(dir, "control.sock"), Toxiproxy: p.Toxiproxy(), Plan: p})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 2 {
		if err := w.Down(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !absent(err) || removed != 1 {
			t.Errorf("%v, removed %d times", err, removed)
		}
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
	o, err := Self()
	if err != nil || !Lives(o) {
		t.Fatalf("this process does not live: %+v, %v", o, err)
	}
	for _, dead := range []topology.Owner{
		{BootID: o.BootID, PID: o.PID, StartTime: o.StartTime + 1},
		{BootID: "x", PID: o.PID, StartTime: o.StartTime},
		{BootID: o.BootID, PID: 1 << 30, StartTime: 1},
	} {
		if Lives(dead) {
			t.Errorf("%+v lives", dead)
		}
	}
	x := exec.Command("true")
	if err := x.Start(); err != nil {
		t.Fatal(err)
	}
	_, start, err := Stat(x.Process.Pid)
	if err == nil {
		zombie := Process{x.Process.Pid, start}
		within(t, "a zombie does not live", func() bool { return !zombie.Alive() })
	}
	_ = x.Wait()
}

// leaderVariable makes this program one whose first thread ends at once, and the others when its input does.
const leaderVariable = "KIRIKAE_TEST_FIRST_THREAD_ENDS"

func init() { // runs on the first thread
	if os.Getenv(leaderVariable) == "" {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
}

// TestFirstThreadEnds: a process lives until its last thread has ended, whatever became of the first.
func TestFirstThreadEnds(t *testing.T) {
	x := exec.Command(os.Args[0])
	x.Env = append(os.Environ(), leaderVariable+"=1")
	in, err := x.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = x.Wait()
	}()
	first := func() string { b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.Process.Pid)); return string(b) }
	within(t, "its first thread ends", func() bool { return strings.Contains(first(), ") Z ") })
	_, start, err := Stat(x.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p := Process{x.Process.Pid, start}
	if !p.Alive() {
		t.Errorf("it does not live, and the kernel says %q", first())
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, "it does not live once all of it has ended", func() bool { return !p.Alive() })
}
