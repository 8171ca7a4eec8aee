package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/engine"
)

// maxMemory is what the containers of a world with one Cassandra node a region may take together.
const maxMemory = 2560 << 20

// takesAndLogs: what a world takes, and what its log files hold.
func takesAndLogs(t *testing.T, e *engine.Engine, w topology.World, folder string) {
	x, err := list(t.Context(), e.Client, containers.LabelWorld+"="+w.About().ID)
	if err != nil {
		t.Fatal(err)
	}
	var sum uint64
	for _, c := range x.containers {
		used, err := memory(t.Context(), e.Client, c.name)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%4d MiB  %s", used>>20, c.labels[containers.LabelNode])
		sum += used
	}
	t.Logf("%4d MiB  all %d containers", sum>>20, len(x.containers))
	if sum == 0 || sum > maxMemory {
		t.Errorf("its containers take %d MiB, at most %d were wanted", sum>>20, maxMemory>>20)
	}
	for _, n := range w.Nodes("", "") {
		b, err := os.ReadFile(filepath.Join(folder, "logs", n.Name()+".log"))
		if s, serr := n.State(t.Context()); serr != nil || (s == topology.Running) != (err == nil && strings.Contains(string(b), "started")) {
			t.Errorf("%s is %s (%v), its log: %v", n.Name(), s, serr, err)
		}
	}
	a := w.About()
	if len(a.Images) != 4 || a.Engines["docker"] != e.Version || a.Engines["mysql"] == "" || a.Engines["cassandra"] == "" {
		t.Errorf("%+v", a)
	}
}
