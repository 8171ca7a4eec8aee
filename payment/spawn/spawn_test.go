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

// What a thread starts may sleep a millisecond longer; who started it may not.
func TestPatience(t *testing.T) {
	thread := NewThread()
	defer thread.Close()
	for _, c := range []struct {
		start func(*exec.Cmd) error
		want  string
	}{{thread.Start, "1000000"}, {(*exec.Cmd).Start, "50000"}} {
		x := exec.Command("/bin/cat", "/proc/self/timerslack_ns")
		var out strings.Builder
		x.Stdout = &out
		if err := c.start(x); err != nil {
			t.Fatal(err)
		}
		if err := x.Wait(); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(out.String()); got != c.want {
			t.Errorf("its timer slack is %s ns, expected %s", got, c.want)
		}
	}
}
