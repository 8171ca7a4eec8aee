package spawn

import (
	"os"
	"runtime"
	"runtime/debug"
)

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
