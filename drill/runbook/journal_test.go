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

// child lights one lamp, which is a file beside the journal.
func child(path string) int {
	crash, err := ParseCrash(os.Getenv(CrashVariable))
	if err == nil {
		var j *Journal
		if j, err = Open(path); err == nil {
			rb := book(&fake{on: false})
			rb.Steps[0].Action = lamp{path + ".lamp"}
			rb.Steps[0].Budget = time.Minute
			err = Run(context.Background(), rb, j, Options{Who: "child", Crash: crash, Progress: func(ev Event) { fmt.Println(ev.Kind) }})
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
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
