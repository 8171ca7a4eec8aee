package rest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const variable = "KIRIKAE_TEST_MARKER"

// TestMain is Start itself, in the process that the test starts.
func TestMain(m *testing.M) {
	if marker := os.Getenv(variable); marker != "" {
		if err := Start(marker, os.Args[1:]); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestStart(t *testing.T) {
	folder := t.TempDir()
	start := func(marker string, argv ...string) (string, int) {
		c := exec.Command(os.Args[0], argv...)
		c.Env = append(os.Environ(), variable+"="+marker)
		out, _ := c.CombinedOutput()
		return string(out), c.ProcessState.ExitCode()
	}
	marker := filepath.Join(folder, "rested")
	for i, want := range []string{"", "it runs\n", "it runs\n"} {
		if out, code := start(marker, "echo", "it runs"); out != want || code != 0 {
			t.Errorf("start %d: %q, exit status %d", i+1, out, code)
		}
	}
	if _, code := start(marker, "sh", "-c", "exit 7"); code != 7 {
		t.Errorf("the program's exit status became %d", code)
	}
	if out, code := start(marker, "no-such-program"); code != 3 || !strings.Contains(out, "find the program") {
		t.Errorf("%q, exit status %d", out, code)
	}
	if out, code := start(filepath.Join(folder, "missing", "rested"), "echo"); code != 3 || !strings.Contains(out, "note the first start") {
		t.Errorf("%q, exit status %d", out, code)
	}
}
