package hosted

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestSweepWhileAWorldGoesDown: whoever looks while a world removes its own folder finds a living owner, or nothing.
func TestSweepWhileAWorldGoesDown(t *testing.T) {
	worlds := t.TempDir()
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		dir, err := makeState(worlds, fmt.Sprintf("w%d", i), self)
		if err != nil {
			t.Fatal(err)
		}
		for j := range 100 { // names on both sides of the owner's
			for _, name := range []string{"a", "z"} {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s%d", name, j)), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		gone := make(chan error, 1)
		go func() { gone <- removeState(dir) }()
		for down := false; !down; {
			select {
			case err := <-gone:
				if err != nil {
					t.Fatal(err)
				}
				down = true
			default:
			}
			if swept, err := Sweep(t.Context(), worlds, nil); err != nil || len(swept) > 0 {
				t.Fatalf("swept %v, %v", swept, err)
			}
		}
	}
}
