package steps_test

import (
	"cmp"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology/livetest"
)

// TestFeatures runs the drills under `go test`, each scenario a subtest:
//
//	go test ./steps -run 'TestFeatures/Tokyo_is_lost_while_customers_are_paying$' -v -timeout 30m
//
// It is a drill on real servers, so it runs only where it is asked for: by -run TestFeatures, or by KIRIKAE_LIVE=1. It fails
// when -run leaves no scenario over. KIRIKAE_SEED repeats one, KIRIKAE_RUNTIME=docker plays them in containers.
func TestFeatures(t *testing.T) {
	if !strings.Contains(flag.Lookup("test.run").Value.String(), "TestFeatures") {
		livetest.Servers(t)
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./cmd/kirikae", "./cmd/paymentd")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the programs of a drill: %v\n%s", err, out)
	}
	seed, err := strconv.ParseUint(os.Getenv("KIRIKAE_SEED"), 10, 64)
	if err != nil {
		seed = 1
	}
	code, err := steps.Run(context.Background(), steps.Options{
		Kirikae: filepath.Join(bin, "kirikae"), Runtime: cmp.Or(os.Getenv("KIRIKAE_RUNTIME"), "local"), Seed: seed, Out: filepath.Join("..", steps.DefaultOut),
		Stdout: os.Stdout, Progress: steps.NewProgress(os.Stderr), TestingT: t,
	})
	if err != nil {
		t.Fatal(err)
	}
	if code != steps.ExitPassed {
		t.Errorf("exit code %d", code)
	}
}
