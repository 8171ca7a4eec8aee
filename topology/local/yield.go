package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/hosted"
)

// yielding is the nice value of a node that yields: of both CPUs it has what others leave, and little more.
const yielding = 10

// yields lets a Cassandra node that was started again yield to those that serve, see hosted.Yield. Only root may raise a priority
// again, so nobody else's is lowered.
func yields(ctx context.Context, r *running, address string, serves func(context.Context) bool) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return hosted.Yield(ctx, hosted.Yielding{
		Lower: func() error { return lower(r.PID) }, Raise: func() error { return restore(r.PID) },
		Answers: func(ctx context.Context) error { return cassandra.Answers(ctx, address) }, Serves: serves, Ended: r.ended,
	})
}

func lower(pid int) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, yielding); err != nil {
		return fmt.Errorf("lower the priority of process %d: %w", pid, err)
	}
	return nil
}

// restore gives every thread of a process the usual priority. A thread inherits that of the one that made it: it looks again until
// there is none left. Of a process that has ended there is none.
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
