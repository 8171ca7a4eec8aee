package runbook

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

func TestOneOperatorAtATime(t *testing.T) {
	path := journal(t)
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(history.Entry{Kind: history.EntryBegin, Who: "Aiko", PID: os.Getpid()}); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path)
	if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), fmt.Sprintf("Aiko, process %d", os.Getpid())) {
		t.Errorf("%v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// A killed writer leaves the last line cut off at any byte; the next operator reads everything before it and writes on.
func TestTornLastLine(t *testing.T) {
	whole := journal(t)
	if err := operate(whole, book(&fake{}), Options{Crash: Crash{"1", AfterRecord}}); err != errDied {
		t.Fatal(err)
	}
	b, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	const before = "begin, note, intent 1"
	last := strings.LastIndexByte(strings.TrimSuffix(string(b), "\n"), '\n') + 1
	for cut := last; cut <= len(b); cut++ {
		folder := t.TempDir()
		path := filepath.Join(folder, history.JournalFile)
		if err := os.WriteFile(path, b[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		want := before
		if cut >= len(b)-1 { // only the newline is missing, or nothing
			want += ", act 1"
		}
		if got := told(t, path); got != want {
			t.Fatalf("cut at %d: %s", cut, got)
		}
		if err := operate(path, book(&fake{on: true}), Options{}); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		want += ", begin, already 1, end"
		if got := told(t, path); got != want {
			t.Fatalf("cut at %d, resumed: %s", cut, got)
		}
		if err := history.WriteJSON(filepath.Join(folder, history.MetaFile), history.Meta{}); err != nil {
			t.Fatal(err)
		}
		run, err := history.Load(folder)
		if err != nil || words(run.Journal) != want {
			t.Fatalf("cut at %d, loaded: %v", cut, err)
		}
	}
}

func TestDamagedJournal(t *testing.T) {
	path := journal(t)
	if err := os.WriteFile(path, []byte(`{"kind":"begin"}`+"\n"+`{"kind":"int`+"\n"+`{"kind":"act"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("%v", err)
	}
}

func TestFailedWriteEndsTheOperator(t *testing.T) {
	path, f := journal(t), &fake{}
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	writes := 0
	j.sync = func(*os.File) error {
		if writes++; writes == 3 { // the intent
			return errors.New("disk full")
		}
		return nil
	}
	err = Run(t.Context(), book(f), j, Options{})
	if err == nil || !strings.Contains(err.Error(), "disk full") || f.acts > 0 {
		t.Errorf("acted %d times, %v", f.acts, err)
	}
}

// TestMain lets this test binary be an operator process of its own.
func TestMain(m *testing.M) {
	if path := os.Getenv("RUNBOOK_TEST_OPERATOR"); path != "" {
		os.Exit(child(path))
	}
	os.Exit(m.Run())
}

// child lights one lamp, which is a file beside the journal. Told so, it stops itself between its intent and its act.
func child(path string) int {
	crash, err := ParseCrash(os.Getenv(CrashVariable))
	if err == nil {
		var j *Journal
		if j, err = Open(path); err == nil {
			rb := lamps(path)
			err = Run(context.Background(), rb, j, Options{Who: "child", Crash: crash, Progress: func(ev Event) {
				fmt.Println(ev.Kind)
				if _, told := os.LookupEnv("RUNBOOK_TEST_STOP"); told && ev.Kind == history.EntryIntent {
					stopHere(path + ".awake")
				}
			}})
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// lamps is the runbook of a child.
func lamps(path string) Runbook {
	rb := book(&fake{})
	rb.Steps[0].Action = lamp{path + ".lamp"}
	rb.Steps[0].Budget = time.Hour
	return rb
}

// stopHere stops this process, and returns once it goes on and may: a signal to oneself takes a moment to arrive.
func stopHere(awake string) {
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		panic(err)
	}
	for {
		if _, err := os.Stat(awake); err == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func operator(t *testing.T, path, crash string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RUNBOOK_TEST_OPERATOR="+path, CrashVariable+"="+crash)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

// A real process dies by a real SIGKILL; the kernel frees its lock, and another process resumes.
func TestKilledProcess(t *testing.T) {
	path := journal(t)
	cmd, out := operator(t, path, "1:after-act")
	for out.Scan() {
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it ended by %v", err)
	}
	if got := told(t, path); got != "begin, note, intent 1" {
		t.Fatal(got)
	}
	cmd, out = operator(t, path, "")
	for out.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := told(t, path); got != "begin, note, intent 1, begin, already 1, end" {
		t.Error(got)
	}
}

// A stopped process keeps the journal; nobody else may act until it is dead.
func TestStoppedProcessKeepsTheJournal(t *testing.T) {
	path := journal(t)
	if err := os.WriteFile(path+".lamp.stuck", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, out := operator(t, path, "")
	for out.Scan() && out.Text() != history.EntryAct { // it holds the journal and waits for the lamp now
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("child, process %d, which is stopped", cmd.Process.Pid)
	var err error
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err = Open(path); !errors.Is(err, ErrHeld) || strings.Contains(err.Error(), want) {
			break // the signal takes a moment to arrive
		}
	}
	if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), want) {
		t.Fatalf("%v, want %s", err, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
}

// later is a clock that is ahead.
type later struct{ by time.Duration }

func (l later) Now() history.Instant { return history.Monotonic{}.Now().Add(l.by) }

// waitStopped waits until a process is stopped.
func waitStopped(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !stopped(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d has not stopped", pid)
		}
	}
}

// An operator is stopped between its intent and its act. Another one takes the journal, finishes, and the world changes; then
// the first one wakes. Its budget is not over, its lock is held, and it must not act.
func TestStoppedProcessDoesNotActWhenItWakes(t *testing.T) {
	path := journal(t)
	t.Setenv("RUNBOOK_TEST_STOP", "1")
	cmd, out := operator(t, path, "")
	for out.Scan() && out.Text() != history.EntryIntent {
	}
	waitStopped(t, cmd.Process.Pid)
	if _, err := Open(path); !errors.Is(err, ErrHeld) {
		t.Fatalf("a second operator: %v", err)
	}
	_, err := TakeOver(path, "second", "it hangs", nil)
	if !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), "in the middle of an act, whose budget ends in") {
		t.Fatalf("its act may still be going on: %v", err)
	}
	j, err := TakeOver(path, "second", "it hangs", later{2 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrHeld) {
		t.Errorf("a third operator: %v", err)
	}
	if err := Run(t.Context(), lamps(path), j, Options{Who: "second"}); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if err := os.Remove(path + ".lamp"); err != nil { // whoever lights it again is seen
		t.Fatal(err)
	}
	before := told(t, path)

	if err := os.WriteFile(path+".awake", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	last := ""
	for out.Scan() {
		last = out.Text()
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(last, ErrJournalLost.Error()) {
		t.Errorf("%v: %s", err, last)
	}
	if _, err := os.Stat(path + ".lamp"); err == nil {
		t.Error("it acted")
	}
	if after := told(t, path); after != before || !strings.HasPrefix(after, "begin, note, intent 1, takeover, begin, ") || !strings.HasSuffix(after, "end") {
		t.Errorf("%s", after)
	}
}

// An operator that was stopped for longer than its step may take does not act either, though nobody has taken its place.
func TestSleptPastItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, f := journal(t), &fake{}
		rb := book(f)
		rb.Steps[0].Budget = 20 * time.Millisecond
		err := operate(path, rb, Options{Progress: func(ev Event) {
			if ev.Kind == history.EntryIntent {
				time.Sleep(25 * time.Millisecond)
			}
		}})
		if err == nil || !strings.Contains(err.Error(), "it has not acted: its budget of 20ms ended") || f.acts > 0 {
			t.Errorf("%v; %d acts", err, f.acts)
		}
	})
}

func TestTakeOverIsForStoppedOperators(t *testing.T) {
	path := journal(t)
	if _, err := TakeOver(path, "second", "why not", nil); err == nil {
		t.Error("there is no journal")
	}
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TakeOver(path, "second", "why not", nil); !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), "and that one runs") {
		t.Errorf("its holder runs: %v", err)
	}
	j.Close()
	if _, err := TakeOver(path, "second", "why not", nil); !errors.Is(err, ErrCannot) || !strings.Contains(err.Error(), "nothing to take over") {
		t.Errorf("nobody holds it: %v", err)
	}
}
