package local

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A Cassandra node takes 5 to 8 seconds of a CPU before it answers. In another region nobody would feel that: here it would take them from the
// nodes that serve. While it starts it has a lower priority than those.
const (
	yielding   = 15              // nice
	yieldLimit = 2 * time.Minute // of a start; then it has waited long enough
	yieldLook  = 250 * time.Millisecond
)

// yields lowers a process's priority until its server takes connections at an address, the process has ended, or it took too long. Only root may
// raise a priority again, so nobody else's is lowered.
func yields(pid int, address string, ended <-chan struct{}) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, yielding); err != nil {
		return fmt.Errorf("lower the priority of process %d: %w", pid, err)
	}
	tick := time.NewTicker(yieldLook)
	defer tick.Stop()
	for over := time.After(yieldLimit); ; {
		select {
		case <-ended:
			return nil
		case <-over:
			return restore(pid)
		case <-tick.C:
			if c, err := net.DialTimeout("tcp", address, yieldLook); err == nil {
				c.Close()
				return restore(pid)
			}
		}
	}
}

// restore gives every thread of a process the usual priority. A thread inherits that of the one that made it: it looks again until
// there is none left.
func restore(pid int) error {
	for left := true; left; {
		left = false
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil {
			return err
		}
		for _, t := range tasks {
			id, err := strconv.Atoi(filepath.Base(t))
			if err != nil {
				continue
			}
			switch nice, err := unix.Getpriority(unix.PRIO_PROCESS, id); {
			case err != nil: // it has ended
			case 20-nice == yielding: // the system call gives 20 - nice
				left = true
				if err := unix.Setpriority(unix.PRIO_PROCESS, id, 0); err != nil && err != unix.ESRCH {
					return fmt.Errorf("raise the priority of thread %d: %w", id, err)
				}
			}
		}
	}
	return nil
}
