package main

import (
	"os"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kirikae": main})
}

// TestScripts plays what a user can get wrong, and what needs no server.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/cache")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exit": exits},
	})
}

// exits runs a command and holds its exit code: exit 2 kirikae run nosuch.feature
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = "?"
		if x, ok := err.(interface{ ExitCode() int }); ok {
			got = strconv.Itoa(x.ExitCode())
		}
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, not %s (%v)", got, args[0], err)
	}
	if _, err := os.Stat(ts.MkAbs("reports/out")); err == nil {
		ts.Fatalf("a run folder was made for bad input")
	}
}
