package local

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestYields: a server has a lower priority until it has taken connections for a while, in all its threads, and never where nobody could raise it again.
func TestYields(t *testing.T) {
	x := exec.Command("sleep", "60")
	if err := x.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
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
	usual := nices()
	l, err := net.Listen("tcp", "127.0.0.1:0") // an address where nobody listens yet
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	done := make(chan error, 1)
	go func() { done <- yields(x.Process.Pid, address, 400*time.Millisecond, ended) }()
	if os.Geteuid() != 0 {
		if err := <-done; err != nil || fmt.Sprint(nices()) != fmt.Sprint(usual) {
			t.Errorf("without the right to raise it again: %v, %v", nices(), err)
		}
		return
	}
	for deadline := time.Now().Add(5 * time.Second); fmt.Sprint(nices()) != fmt.Sprint([]int{yielding}); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it has not yielded: %v", nices())
		}
	}
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := l.Accept(); err != nil {
		t.Fatal(err)
	} else {
		c.Close()
	}
	if fmt.Sprint(nices()) != fmt.Sprint([]int{yielding}) {
		t.Errorf("as soon as it takes connections: %v", nices())
	}
	if err := <-done; err != nil || fmt.Sprint(nices()) != "[0]" {
		t.Errorf("once it has taken connections for a while: %v, %v", nices(), err)
	}

	l.Close()
	go func() { done <- yields(x.Process.Pid, address, 400*time.Millisecond, ended) }()
	close(ended)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
