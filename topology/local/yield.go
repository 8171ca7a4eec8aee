package local

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A Cassandra node takes 5 to 8 seconds of a CPU before it answers, and about as many for its first work: its keyspaces, the rebuild of its data. In
// another region nobody would feel that: here it would take them from the nodes that serve. One that is started again has a
// lower priority than those for so long; at the start of a world nobody serves yet, and beside one that is started alone nobody does any more.
const (
	yielding   = 15               // nice: of both CPUs what others leave, and little more
	yieldLimit = 2 * time.Minute  // of a start; then it has waited long enough
	yieldFirst = 30 * time.Second // from its first answer on, its first work
	yieldLook  = 250 * time.Millisecond
)

// yields lowers a process's priority until its server has taken connections at an address for some time, the process has ended, or it took too
// long. Only root may raise a priority again, so nobody else's is lowered.
func yields(pid int, address string, first time.Duration, ended <-chan struct{}) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, yielding); err != nil {
		return fmt.Errorf("lower the priority of process %d: %w", pid, err)
	}
	if !answers(address, ended) {
		first = 0
	}
	select {
	case <-ended:
		return nil
	case <-time.After(first):
		return restore(pid)
	}
}

// answers waits until a server takes connections. False: its process has ended, or it took too long.
func answers(address string, ended <-chan struct{}) bool {
	tick := time.NewTicker(yieldLook)
	defer tick.Stop()
	over := time.After(yieldLimit)
	for {
		select {
		case <-ended:
			return false
		case <-over:
			return false
		case <-tick.C:
			if c, err := net.DialTimeout("tcp", address, yieldLook); err == nil {
				c.Close()
				return true
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
				if err := unix.Setpriority(unix.PRIO_PROCESS, id, 0); err != nil && !errors.Is(err, unix.ESRCH) {
					return fmt.Errorf("raise the priority of thread %d: %w", id, err)
				}
			}
		}
	}
	return nil
}
