package compose

import (
	"flag"
	"os"
	"testing"

	"github.com/kirikae/kirikae/topology"
)

var update = flag.Bool("update", false, "write docker-compose.yml anew")

const path = "../../" + File

func twoRegion(t testing.TB) topology.Topology {
	t.Helper()
	top, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// TestDrift: the file of the repository is what is rendered today.
func TestDrift(t *testing.T) {
	top := twoRegion(t)
	if *update {
		text, err := Render(top)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(top, string(text)); err != nil {
		t.Error(err)
	}
}
