package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/topology"
)

// TestMemory: a world's data lie in memory, and are gone once they are forgotten; what was not made by inMemory is left alone.
func TestMemory(t *testing.T) {
	link := filepath.Join(t.TempDir(), dataFolder)
	if err := forget(link); err != nil {
		t.Errorf("before there is anything: %v", err)
	}
	if err := inMemory(link, "wtest", 1<<60); !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "leave --volumes memory out") {
		t.Errorf("where there is no room: %v", err)
	}
	if err := inMemory(link, "wtest", 1<<20); err != nil {
		t.Fatal(err)
	}
	to, err := os.Readlink(link)
	if err != nil || !strings.HasPrefix(to, memoryRoot+"/"+memoryPrefix+"wtest-") {
		t.Fatalf("%q, %v", to, err)
	}
	if err := os.WriteFile(filepath.Join(link, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := forget(link); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(to); !os.IsNotExist(err) {
			t.Errorf("it is still there: %v", err)
		}
	}

	mine := t.TempDir()
	folder, other := filepath.Join(mine, "data"), filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(mine, other); err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{folder, other} {
		if err := forget(l); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("what lies on disk, or was put there by somebody else: %v", err)
	}
}
