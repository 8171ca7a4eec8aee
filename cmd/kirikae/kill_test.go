package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
	"github.com/kirikae/kirikae/topology/livetest"
)

// TestKilledAtAnyMoment kills the drill, the world or the operator by SIGKILL at random moments of a real drill, or interrupts
// it as Ctrl-C does. Whatever was killed: the drill ends (or is dead), the run can still be judged and is no PASS before its
// end, the next start sweeps, and no process, container, network, volume and no state of the world is left; an interrupted one has
// cleaned up by itself and exits with 130. KIRIKAE_KILLS says how often in each runtime, each kind of victim in its turn; without it there is one in
// one of the runtimes. KIRIKAE_SEED repeats a series; KIRIKAE_RUNTIME plays it in one runtime only.
func TestKilledAtAnyMoment(t *testing.T) {
	livetest.Servers(t)
	kills := number(t, "KIRIKAE_KILLS", 0)
	seed := number(t, "KIRIKAE_SEED", int(time.Now().Unix()%100_000))
	t.Logf("KIRIKAE_SEED=%d", seed)
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+"/", "github.com/kirikae/kirikae/cmd/kirikae", "github.com/kirikae/kirikae/cmd/paymentd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	kirikae := filepath.Join(bin, "kirikae")
	runtimes := []string{"local", "docker"}
	if only := os.Getenv("KIRIKAE_RUNTIME"); only != "" {
		runtimes = []string{only}
	} else if kills == 0 && livetest.EngineAsked() {
		runtimes = runtimes[seed%2:][:1]
	}
	kills = max(1, kills)
	for _, runtime := range runtimes {
		t.Run(runtime, func(t *testing.T) {
			if runtime == "docker" {
				livetest.Engine(t)
				if err := images.BuildBinaries(t.Context(), filepath.Join("..", ".."), filepath.Join(bin, "linux")); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command(kirikae, "images").CombinedOutput(); err != nil {
					t.Fatalf("images: %v\n%s", err, out)
				}
			}
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			victims := []string{"drill", "world", "operator", "interrupt"}
			first := rng.IntN(len(victims))
			for i := range kills {
				victim := victims[(first+i)%len(victims)]
				after := time.Duration(rng.IntN(60_000)) * time.Millisecond
				t.Run(fmt.Sprintf("%d-%s-%s", i+1, victim, after.Round(100*time.Millisecond)), func(t *testing.T) {
					killOnce(t, kirikae, runtime, victim, after, rng)
				})
			}
		})
	}
}

func number(t *testing.T, name string, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, s)
	}
	return n
}

func killOnce(t *testing.T, kirikae, runtime, victim string, after time.Duration, rng *rand.Rand) {
	out := t.TempDir()
	volumes := []string{"disk", "memory"}[rng.IntN(2)]
	if s := (unix.Statfs_t{}); unix.Statfs("/dev/shm", &s) != nil || s.Type != unix.TMPFS_MAGIC || s.Bavail*uint64(s.Bsize) < 4<<30 {
		volumes = "disk" // this machine has no room in memory
	}
	drill := exec.Command(kirikae, "run", "--runtime", runtime, "--volumes", volumes, "--out", out, "--seed", "3", "features/region_loss_light.feature")
	var said bytes.Buffer
	drill.Stdout, drill.Stderr = &said, &said
	if err := drill.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- drill.Wait() }()

	time.Sleep(after) // the moment is the test's input
	pid := drill.Process.Pid
	if victim == "world" || victim == "operator" {
		pid = childOf(t, pid, map[string]string{"world": "world", "operator": "operate"}[victim], ended)
	}
	signal := syscall.SIGKILL
	if victim == "interrupt" {
		signal = syscall.SIGINT
	}
	if pid == 0 {
		t.Logf("the drill ended before there was a %s to kill", victim)
	} else if err := syscall.Kill(pid, signal); err != nil {
		t.Logf("kill %s: %v", victim, err)
	}
	select {
	case <-ended:
		if code := drill.ProcessState.ExitCode(); victim == "interrupt" && code != 130 && code != 0 { // 0: it had ended by then
			t.Errorf("an interrupted drill exits with %d:\n%s", code, tail(said.String()))
		}
		if victim == "interrupt" {
			for _, left := range leftovers(t, out, runtime) {
				t.Errorf("left behind by an interrupted drill: %s", left)
			}
		}
	case <-time.After(4 * time.Minute):
		_ = drill.Process.Kill()
		t.Fatalf("the drill did not end after its %s was killed:\n%s", victim, tail(said.String()))
	}

	// The world of a dead drill is taking itself down now; the sweep never touches one that lives.
	var left []string
	for deadline := time.Now().Add(takesItselfDown); ; time.Sleep(50 * time.Millisecond) {
		if swept, err := exec.Command(kirikae, "down").CombinedOutput(); err != nil {
			t.Errorf("sweep: %v\n%s", err, swept)
		}
		if left = leftovers(t, out, runtime); len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, l := range left {
		t.Errorf("left behind after %s: %s", takesItselfDown, l)
	}
	runs, err := filepath.Glob(filepath.Join(out, "2*"))
	if err != nil || len(runs) > 1 {
		t.Fatalf("run folders %v, %v", runs, err)
	}
	if len(runs) == 0 {
		return // killed before it began
	}
	judged, err := exec.Command(kirikae, "check", runs[0]).CombinedOutput()
	verdict := strings.Fields(string(judged))
	if len(verdict) < 2 || verdict[0] != "VERDICT" {
		t.Errorf("the run cannot be judged: %v\n%s", err, judged)
		return
	}
	if victim != "operator" && pid != 0 && verdict[1] == "PASS" && !strings.Contains(said.String(), "VERDICT") {
		t.Errorf("an interrupted drill passed:\n%s", judged)
	}
	t.Logf("%s killed after %s, volumes in %s: %s", victim, after, volumes, verdict[1])
}

// takesItselfDown is how long a world may need to see that its drill is dead, and to go down: some ten seconds in containers.
const takesItselfDown = time.Minute

// childOf waits for a child process of the drill whose first argument is word, as long as the drill runs.
func childOf(t *testing.T, parent int, word string, ended chan error) int {
	t.Helper()
	for {
		for _, p := range processes(t) {
			if p.parent == parent && len(p.args) > 1 && p.args[1] == word {
				return p.pid
			}
		}
		select {
		case err := <-ended:
			ended <- err
			return 0
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type process struct {
	pid, parent int
	args        []string
}

func processes(t *testing.T) (all []process) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err1 := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		cmdline, err2 := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err1 != nil || err2 != nil {
			continue // it ended meanwhile
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		parent, _ := strconv.Atoi(fields[1])
		all = append(all, process{pid, parent, strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")})
	}
	return all
}

// leftovers names processes, containers, networks and volumes that still speak of a run folder's world, and state folders of worlds
// that nobody owns.
func leftovers(t *testing.T, out, runtime string) (left []string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	worlds := filepath.Join(cache, "kirikae", "worlds-"+runtime)
	states, _ := filepath.Glob(filepath.Join(worlds, "w*"))
	var lives []string // worlds of tests beside this one
	for _, s := range states {
		var o topology.Owner
		if err := hosted.ReadJSON(filepath.Join(s, "owner.json"), &o); err == nil && hosted.Lives(o) {
			lives = append(lives, filepath.Base(s))
		} else {
			left = append(left, s)
		}
	}
	another := func(text string) bool {
		return slices.ContainsFunc(lives, func(id string) bool { return strings.Contains(text, id) })
	}
	for _, p := range processes(t) {
		line := strings.Join(p.args, " ")
		if p.pid != os.Getpid() && (strings.Contains(line, out) || strings.Contains(line, worlds) && !another(line)) {
			left = append(left, fmt.Sprintf("process %d: %.120s", p.pid, line))
		}
	}
	memory, _ := filepath.Glob("/dev/shm/kirikae-*")
	for _, m := range memory {
		if runtime == "local" && !another(m) {
			left = append(left, m)
		}
	}
	if runtime != "docker" {
		return left
	}
	const format = `{{.Label "kirikae.folder"}}`
	for what, list := range map[string][]string{
		"container": {"ps", "-a", "--format", "{{.Names}} " + format},
		"network":   {"network", "ls", "--format", "{{.Name}} " + format},
		"volume":    {"volume", "ls", "--format", "{{.Name}} " + format},
	} {
		all, err := exec.Command("docker", list...).Output()
		if err != nil {
			t.Fatalf("list what the engine has: %v", err)
		}
		for line := range strings.Lines(string(all)) {
			if strings.Contains(line, out) {
				left = append(left, what+" "+strings.TrimSpace(line))
			}
		}
	}
	return left
}

func tail(s string) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
