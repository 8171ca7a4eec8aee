package inside

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/payment/spawn"
)

// patience is how long a test waits for what must come. Only a machine under a heavy load needs more than a moment of it.
const patience = 30 * time.Second

// fakeVariable makes this test program a server that only pretends: "serve" until SIGTERM, "deaf" to it, "exit N", "killed",
// "killed once".
const fakeVariable = "KIRIKAE_FAKE_SERVER"

// becomeVariable makes this test program become another one.
const becomeVariable = "KIRIKAE_BECOME"

func TestMain(m *testing.M) {
	if os.Getenv(becomeVariable) != "" {
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 50_000, 0, 0, 0); err != nil { // whatever the one who started it has
			panic(err)
		}
		fmt.Println(Become(Program{Path: "/bin/cat", Args: []string{"cat", "/proc/self/timerslack_ns"}}))
		os.Exit(1)
	}
	if mode := os.Getenv(fakeVariable); mode != "" {
		os.Exit(fake(mode, os.Args[1:]))
	}
	if options := os.Getenv(partVariable); options != "" {
		os.Exit(part(options))
	}
	goleak.VerifyTestMain(m)
}

// fake is a server. It leaves a trace of what happened to it in the folder of its data.
func fake(mode string, args []string) int {
	if os.Getenv(SecretVariable) != "" {
		fmt.Fprintln(os.Stderr, "the world's secret came through")
		return 99
	}
	var data, defaults string
	initialise := false
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, "--datadir="); ok {
			data = v
		}
		if v, ok := strings.CutPrefix(a, "--defaults-file="); ok {
			defaults = v
		}
		initialise = initialise || a == "--initialize-insecure"
	}
	if initialise {
		if mode == "killed" {
			_ = os.WriteFile(filepath.Join(data, "half"), nil, 0o600)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		if err := os.WriteFile(filepath.Join(data, "mysql.ibd"), []byte("made"), 0o600); err != nil {
			return 98
		}
		return 0
	}
	if _, err := os.Stat(defaults); err != nil {
		return 97
	}
	data = strings.TrimSuffix(defaults, ".cnf")
	trace := func(s string) {
		f, err := os.OpenFile(data+".trace", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(f, s)
			f.Close()
		}
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	if slices.Contains(args, "--offline-mode=ON") {
		trace("offline")
	}
	trace("start")
	switch {
	case mode == "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case strings.HasPrefix(mode, "exit "):
		n, _ := strconv.Atoi(mode[5:])
		return n
	}
	<-term
	trace("term")
	time.Sleep(50 * time.Millisecond) // an orderly end takes its time
	trace("end")
	return 0
}

// traced waits until the fake server's trace has a line.
func traced(t *testing.T, data, line string) {
	t.Helper()
	for began := time.Now(); ; {
		b, err := os.ReadFile(data + ".trace")
		if strings.Contains(string(b), line+"\n") {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("no %q in %q, %v, within %s", line, b, err, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func isStatus(err error, want int) bool {
	var s spawn.ExitStatus
	if want == 0 {
		return err == nil
	}
	return errors.As(err, &s) && int(s) == want
}
