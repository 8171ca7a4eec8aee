package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kirikae/kirikae/steps"
)

// The runbooks that people read say what the procedures that operators run do, all of them and nothing else.
func TestRunbooksAreUpToDate(t *testing.T) {
	platform, err := steps.LoadTopology("two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := runbooks(platform)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join("..", "..", "docs", "runbooks")
	const mend = "go generate ./cmd/kirikae"
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(folder, name)); err != nil {
			t.Errorf("%v: %s", err, mend)
		} else if string(got) != text {
			t.Errorf("docs/runbooks/%s differs from its procedure: %s", name, mend)
		}
	}
	there, err := filepath.Glob(filepath.Join(folder, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range there {
		if _, ok := want[filepath.Base(file)]; !ok && filepath.Base(file) != "README.md" {
			t.Errorf("docs/runbooks/%s is of no procedure: remove it", filepath.Base(file))
		}
	}
}
