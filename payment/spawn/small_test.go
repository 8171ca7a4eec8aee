package spawn

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestSmall(t *testing.T) {
	procs, percent := runtime.GOMAXPROCS(0), debug.SetGCPercent(100)
	defer func() { runtime.GOMAXPROCS(procs); debug.SetGCPercent(percent) }()
	t.Setenv("GOMAXPROCS", "2") // whoever runs it knows better
	t.Setenv("GOGC", "50")
	runtime.GOMAXPROCS(2)
	Small()
	if n, p := runtime.GOMAXPROCS(0), debug.SetGCPercent(100); n != 2 || p != 100 {
		t.Errorf("the environment was overruled: %d CPUs, %d %%", n, p)
	}
	t.Setenv("GOMAXPROCS", "")
	t.Setenv("GOGC", "")
	Small()
	if n, p := runtime.GOMAXPROCS(0), debug.SetGCPercent(100); n != 1 || p != 400 {
		t.Errorf("%d CPUs, %d %%, expected 1 and 400", n, p)
	}
}
