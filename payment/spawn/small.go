package spawn

import (
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// slack is how much later than asked for a sleep of a patient process may end. Cassandra's idle workers look for work every 10 µs at first
// (SEPWorker.doWaitSpin), MySQL's threads and Go's schedulers do the like: 40 000 context switches a second of a loaded world, 16 000 with
// this. Nothing in a world needs to sleep more exactly: the links alone take milliseconds.
const slack = time.Millisecond

// Patient lets the processes that this thread starts sleep a little longer than they ask for (timer slack, prctl(2): inherited, kept by
// execve). The caller has locked its goroutine to the thread. Where the kernel knows no such thing, nothing is changed: it is for speed only.
func Patient() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0, 0, 0) }

// Small makes this process a small one, as long as its environment does not say otherwise (GOMAXPROCS, GOGC): a world has a dozen of them, beside
// two databases, on the CPUs of one machine. With a thread a CPU each, they wake one another for requests that one of them would have answered
// in the meantime; and a heap of a few megabytes is collected all the time.
func Small() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
