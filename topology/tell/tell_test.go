package tell

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTeller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		l := New(func(line string) { lines = append(lines, line) })
		failed, newest := errors.New("no"), ""
		for _, step := range []func(string, func() string, func() error) error{l.Step, l.During} {
			err := step("build", func() string { return newest }, func() error {
				time.Sleep(25 * time.Second)
				newest = " layer 3\n"
				return failed
			})
			if err != failed {
				t.Error(err)
			}
		}
		l.Plain("done")
		want := []string{"  0.0 s  build", " 10.0 s  build … 10 s", " 20.0 s  build … 20 s", " 35.0 s  build … 10 s: layer 3", " 45.0 s  build … 20 s: layer 3", "done"}
		if !slices.Equal(lines, want) {
			t.Errorf("said %q\nexpected %q", lines, want)
		}
		New(nil).Say("to nobody")
	})
}
