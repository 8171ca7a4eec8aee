package steps

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/fault"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/docker"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/local"
)

// TestPromisesOfFencing: what a scenario about a fence cannot mean is refused before anything is started.
func TestPromisesOfFencing(t *testing.T) {
	const good = `Feature: x
  Scenario: y
    Given the platform of "two-region-witness.yaml" is up
    And customers make 50 payments a second, 20 % of them ignore the DNS TTL
    And 100 write probes a second measure the outage
    And 20 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    When tokyo's links to osaka and the witness flap 2 times, 2 s down and 3 s up
    And osaka has caught up, and the steady state holds again for 5 s
    And tokyo is isolated from osaka and the witness but stays alive
    And the fencing agent of tokyo is killed
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness"
    And the load goes on for 12 s
    And the drill ends
    Then two regions accepted writes for at most 0 ms
`
	for _, c := range []struct{ what, old, new, want string }{
		{"good", "", "", ""},
		{"a platform without a witness", "two-region-witness.yaml", "two-region.yaml", "the platform has no witness"},
		{"a region that is not there", "agent of tokyo", "agent of kyoto", "kyoto"},
		{"a shorter steady state than the baseline", "holds again for 5 s", "holds again for 4 s", "the baseline is of 5s, and the steady state need hold again for 4s only"},
		{"a region that cannot catch up", "osaka has caught up", "kyoto has caught up", "kyoto"},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.feature")
			if err := os.WriteFile(path, []byte(strings.Replace(good, c.old, c.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			all, err := Select([]string{path}, "")
			if err == nil {
				err = promises(all[0], new(history.Meta))
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// process starts one that ends with the test, and calls gone once it has ended.
func process(t *testing.T, gone func(), command ...string) int {
	t.Helper()
	x := exec.CommandContext(t.Context(), command[0], command[1:]...)
	if err := x.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = x.Wait() // killed, as it should be
		gone()
	}()
	t.Cleanup(func() { <-ended })
	return x.Process.Pid
}

// TestAgentKilled: in runtime local the agent alone is killed, as the world's own file says where it is; a container is killed whole.
func TestAgentKilled(t *testing.T) {
	drill := func(runtime string) (*Drill, *fakeNode) {
		n := &fakeNode{name: "tokyo-mysql-1", site: "tokyo", kind: topology.MySQL, state: topology.Running}
		d := fakeDrill(t, &fakeWorld{nodes: []*fakeNode{n}}, nil)
		d.runtime = lacking{name: runtime}
		return d, n
	}
	world := func(d *Drill, status string) {
		state := t.TempDir() // never below the run folder
		if err := os.Mkdir(filepath.Join(state, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(state, "data", "tokyo-mysql-1.guard"), []byte(status), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := hosted.WriteJSON(hosted.WorldFile(d.folder), hosted.File{Version: hosted.FileVersion, Runtime: local.Name, State: state}); err != nil {
			t.Fatal(err)
		}
	}

	d, n := drill(local.Name)
	gone := make(chan struct{})
	mysqld := process(t, func() { close(gone) }, "true") // it is over before its guard is: both die together, and somebody waits for both
	<-gone
	guard := process(t, func() { n.put(topology.Stopped) }, "sleep", "60")
	world(d, fmt.Sprintf(`{"site":"tokyo","node":"tokyo-mysql-1","state":"holding","since":1,"guard":%d,"mysqld":%d}`, guard, mysqld))
	if err := d.agentKilled(t.Context(), "tokyo"); err != nil || n.kills != 0 {
		t.Errorf("%v; the node was killed %d times", err, n.kills)
	}

	for what, prepare := range map[string]func(d *Drill){
		"no world":   func(*Drill) {},
		"no status":  func(d *Drill) { world(d, "") },
		"no process": func(d *Drill) { world(d, fmt.Sprintf(`{"guard":%d,"mysqld":0}`, mysqld)) }, // all that a signal to 0 reaches would be alive
	} {
		d, n := drill(local.Name)
		prepare(d)
		if err := d.agentKilled(t.Context(), "tokyo"); err == nil || !strings.Contains(err.Error(), "find the fencing agent of tokyo-mysql-1") || n.kills != 0 {
			t.Errorf("%s: %v; the node was killed %d times", what, err, n.kills)
		}
	}

	d, n = drill(docker.Name)
	if err := d.agentKilled(t.Context(), "tokyo"); err != nil || n.kills != 1 {
		t.Errorf("%v; the container was killed %d times", err, n.kills)
	}
}

// TestFlapRestartsKilled: a MySQL that its guard had to kill while the links were down is started again, once, and that is noted.
func TestFlapRestartsKilled(t *testing.T) {
	n := &fakeNode{name: "tokyo-mysql-1", site: "tokyo", kind: topology.MySQL, state: topology.Running}
	cuts := 0
	link := &fakeLink{id: topology.LinkID{From: "tokyo", To: "osaka", Service: topology.ServiceMySQL}, set: func(f topology.Fault) {
		if f.Kind != topology.Cut {
			return
		}
		if cuts++; cuts == 2 {
			n.put(topology.Stopped)
		}
	}}
	w := &fakeWorld{nodes: []*fakeNode{n}, links: []*fakeLink{link}}
	var notes []string
	d := fakeDrill(t, w, func(m history.Mark) {
		if m.Kind == history.KindNote && !strings.Contains(m.Name, ">") { // not those of links that cannot be attested
			notes = append(notes, m.Name)
		}
	})
	d.guard = fault.NewGuard(w, d.record, fault.Options{})
	defer func() {
		if err := d.guard.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := d.flap(t.Context(), "tokyo", "osaka", "3", "1 ms", "1 ms"); err != nil {
		t.Fatal(err)
	}
	if cuts != 3 || n.starts != 1 || n.state != topology.Running {
		t.Errorf("%d cuts; it was started %d times and is %s", cuts, n.starts, n.state)
	}
	if len(notes) != 1 || notes[0] != "tokyo-mysql-1 was found stopped after flap 2, and was started again" {
		t.Errorf("noted %q", notes)
	}
}
