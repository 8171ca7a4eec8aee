package spawn

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestEnded(t *testing.T) {
	thread := NewThread()
	defer thread.Close()
	for _, c := range []struct {
		script string
		want   ExitStatus
	}{{"exit 0", 0}, {"exit 3", 3}, {"kill -9 $$", 137}, {"kill -15 $$", 143}} {
		x := exec.Command("/bin/sh", "-c", c.script)
		if err := thread.Start(x); err != nil {
			t.Fatal(err)
		}
		var got ExitStatus
		err := Ended(x.Wait())
		if errors.As(err, &got); got != c.want || (err == nil) != (c.want == 0) {
			t.Errorf("%s: %v, expected %d", c.script, err, c.want)
		}
	}
	if err := Ended(exec.ErrNotFound); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("what is no end of a process: %v", err)
	}
}

// What lives when the thread ends is killed, and nothing is started afterwards.
func TestClose(t *testing.T) {
	thread := NewThread()
	x := exec.Command("/bin/sleep", "600")
	if err := thread.Start(x); err != nil {
		t.Fatal(err)
	}
	thread.Close()
	var got ExitStatus
	if errors.As(Ended(x.Wait()), &got); got != 137 {
		t.Errorf("it ended with %d, expected that it was killed", got)
	}
	if err := thread.Start(exec.Command("/bin/true")); !errors.Is(err, ErrOver) {
		t.Errorf("started after the end: %v", err)
	}
}

// What a thread starts may sleep a millisecond longer; what others start sleeps as it did before.
func TestPatience(t *testing.T) {
	slack := func(start func(*exec.Cmd) error) string {
		t.Helper()
		x := exec.Command("/bin/cat", "/proc/self/timerslack_ns")
		var out strings.Builder
		x.Stdout = &out
		if err := start(x); err != nil {
			t.Fatal(err)
		}
		if err := x.Wait(); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out.String())
	}
	before := slack((*exec.Cmd).Start)
	thread := NewThread()
	defer thread.Close()
	if got := slack(thread.Start); got != "1000000" {
		t.Errorf("the timer slack of what a thread starts is %s ns", got)
	}
	if got := slack((*exec.Cmd).Start); got != before {
		t.Errorf("that of what others start is %s ns, and was %s", got, before)
	}
}
