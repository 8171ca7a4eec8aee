package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPriority: a process has a lower priority and the usual one again, in all its threads.
func TestPriority(t *testing.T) {
	x := exec.Command("sleep", "60")
	if err := x.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { x.Process.Kill(); x.Wait() }()
	nices := func() (all []int) {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", x.Process.Pid))
		for _, task := range tasks {
			id, _ := strconv.Atoi(filepath.Base(task))
			if n, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil {
				all = append(all, 20-n)
			}
		}
		return all
	}
	if os.Geteuid() != 0 { // nobody could raise it again, so it is not lowered
		usual := fmt.Sprint(nices())
		r := &running{ended: make(chan struct{})}
		r.PID = x.Process.Pid
		if err := yields(t.Context(), r, "127.0.0.1:1", func(context.Context) bool { return true }); err != nil || fmt.Sprint(nices()) != usual {
			t.Errorf("without the right to raise it again: %v, %v", nices(), err)
		}
		return
	}
	if err := lower(x.Process.Pid); err != nil || fmt.Sprint(nices()) != fmt.Sprint([]int{yielding}) {
		t.Errorf("lowered: %v, %v", nices(), err)
	}
	if err := restore(x.Process.Pid); err != nil || fmt.Sprint(nices()) != "[0]" {
		t.Errorf("restored: %v, %v", nices(), err)
	}
	x.Process.Kill()
	x.Wait()
	if err := restore(x.Process.Pid); err != nil {
		t.Errorf("of a process that has ended: %v", err)
	}
}
