package runbook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/drill/history"
)

// TakeOver takes the journal from an operator process that is stopped (SIGSTOP, a frozen container) and cannot be ended. That one
// keeps the lock of a file that is no longer the journal: when it wakes it finds another file in its place and does not act.
//
// An act that it had begun ends with the step's budget, so TakeOver refuses (ErrCannot) until that has passed, and always while
// the holder runs. Where the holder can be killed, kill it: then nothing has to be taken over.
func TakeOver(path, who, why string, clock history.Clock) (*Journal, error) {
	if clock == nil {
		clock = history.Monotonic{}
	}
	old, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("take over journal: %w", err)
	}
	defer old.Close()
	pid := lockOwner(old)
	if pid == 0 {
		return nil, fmt.Errorf("%w: nobody holds %s, there is nothing to take over", ErrCannot, path)
	}
	if !stopped(pid) {
		return nil, fmt.Errorf("%w: %s is held by %s, and that one runs: end it, or wait", ErrCannot, path, holder(old, path))
	}
	b, err := io.ReadAll(old)
	if err != nil {
		return nil, fmt.Errorf("take over journal %s: %w", path, err)
	}
	entries, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("take over journal %s: %w", path, err)
	}
	if left := acting(entries, clock.Now()); left > 0 {
		return nil, fmt.Errorf("%w: %s may have been stopped in the middle of an act, whose budget ends in %v: wait for it, or kill that process",
			ErrCannot, holder(old, path), left.Round(time.Millisecond))
	}
	from := holder(old, path)
	j, err := replace(path, old, b)
	if err != nil {
		return nil, fmt.Errorf("take over journal %s: %w", path, err)
	}
	entry := history.Entry{T: clock.Now(), Kind: history.EntryTakeover, Who: who, PID: os.Getpid(), Why: why, By: from}
	if n := len(j.entries); n > 0 {
		entry.Procedure = j.entries[n-1].Procedure
	}
	if err := j.Append(entry); err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

// acting is how much longer an act that is announced and not recorded may go on.
func acting(entries []history.Entry, now history.Instant) time.Duration {
	if len(entries) == 0 {
		return 0
	}
	last := entries[len(entries)-1]
	for i := len(entries) - 1; i > 0 && (last.Kind == history.EntryNote || last.Kind == history.UndoPrefix+history.EntryNote); i-- {
		last = entries[i-1] // notes of the act
	}
	if kind, _ := last.Undoes(); kind != history.EntryIntent {
		return 0
	}
	return last.T.Add(last.Budget.D()).Sub(now)
}

// replace puts a copy of the journal, locked by this process, in the place of the one that old is.
func replace(path string, old *os.File, b []byte) (_ *Journal, err error) {
	temporary := path + "." + strconv.Itoa(os.Getpid()) // two who take over at the same moment are two processes
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(temporary)
		}
	}()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, err
	}
	if _, err := file.Write(b); err != nil {
		return nil, err
	}
	if err := file.Sync(); err != nil {
		return nil, err
	}
	if err := sameAs(path, old); err != nil {
		return nil, err
	}
	if err := os.Rename(temporary, path); err != nil {
		return nil, err
	}
	if err := syncFolder(filepath.Dir(path), (*os.File).Sync); err != nil {
		return nil, err
	}
	late, err := io.ReadAll(old) // it may have woken between our copy and the rename: what it wrote until then counts
	if err != nil {
		return nil, err
	}
	if _, err := file.Write(late); err != nil {
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	j := &Journal{path: path, file: file, sync: (*os.File).Sync}
	if err := j.load(); err != nil {
		return nil, err
	}
	return j, j.Mine()
}

// sameAs says whether a path still leads to an open file.
func sameAs(path string, f *os.File) error {
	a, err1 := os.Stat(path)
	b, err2 := f.Stat()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !os.SameFile(a, b) {
		return errors.New("somebody else has just taken it over")
	}
	return nil
}

// stopped says whether a process is stopped by a signal or a debugger.
func stopped(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(b, []byte(") ")) // the command's name ends with the last parenthesis; its state follows
	return len(after) > 0 && (after[0] == 'T' || after[0] == 't')
}
