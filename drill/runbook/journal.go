package runbook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/drill/history"
)

// Journal is the operators' journal of a run folder: append-only NDJSON of history.Entry, held by one operator at a time.
// It is used from one goroutine.
type Journal struct {
	path    string
	file    *os.File
	size    int64                // bytes that this operator has read or written: more than that is somebody else's
	entries []history.Entry      // all that the file holds
	sync    func(*os.File) error // flushes to disk
	err     error                // first failure; nothing is written after it
}

// Open opens the journal at path, or makes it, and locks it until Close or the death of this process. The error is ErrHeld,
// and names the holder, while another operator has it: also while that one is stopped (SIGSTOP), because it might wake up.
func Open(path string) (*Journal, error) { return openWith(path, (*os.File).Sync) }

// openWith opens with another way to flush to disk: tests that write ten thousand journals need none.
func openWith(path string, sync func(*os.File) error) (*Journal, error) {
	for range 3 {
		j, err := open(path, sync)
		if errors.Is(err, errReplaced) { // between our open and our lock; the file that is there now is another one
			continue
		}
		return j, err
	}
	return nil, fmt.Errorf("open journal %s: it is being replaced again and again", path)
}

var errReplaced = errors.New("replaced")

func open(path string, sync func(*os.File) error) (_ *Journal, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is locked by %s", ErrHeld, path, holder(file, path))
		}
		return nil, fmt.Errorf("lock journal %s: %w", path, err)
	}
	j := &Journal{path: path, file: file, sync: sync}
	if same, err := j.sameFile(); err != nil || !same {
		return nil, errReplaced
	}
	if err := syncFolder(filepath.Dir(path), sync); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := j.load(); err != nil {
		return nil, err
	}
	return j, nil
}

// load reads the whole file, from where it stands.
func (j *Journal) load() error {
	b, err := io.ReadAll(j.file)
	if err != nil {
		return fmt.Errorf("read journal %s: %w", j.path, err)
	}
	if j.entries, err = parse(b); err != nil {
		return fmt.Errorf("read journal %s: %w", j.path, err)
	}
	j.size = int64(len(b))
	if len(b) > 0 && b[len(b)-1] != '\n' { // end the line of a killed writer, so that ours begins on its own
		return j.write([]byte{'\n'})
	}
	return nil
}

// parse reads whole entries. A line that cannot be read is the torn last line of a killed writer, when it is the last one or
// when a new operator began after it; anywhere else the file was damaged.
func parse(b []byte) (entries []history.Entry, err error) {
	n, torn := 0, false
	for line := range bytes.Lines(b) {
		n++
		var e history.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			torn = true
			continue
		}
		if torn && e.Kind != history.EntryBegin && e.Kind != history.EntryTakeover {
			return nil, fmt.Errorf("line %d: what stands before it cannot be read, and no operator began here", n)
		}
		torn = false
		entries = append(entries, e)
	}
	return entries, nil
}

// Entries returns what the journal holds.
func (j *Journal) Entries() []history.Entry { return slices.Clone(j.entries) }

// Append writes one entry and returns when it is on disk. It refuses when the journal is no longer this operator's.
func (j *Journal) Append(e history.Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write journal %s: %w", j.path, err)
	}
	var read history.Entry // as a resumed operator will read it: the two must not differ
	if err := json.Unmarshal(line, &read); err != nil {
		return fmt.Errorf("write journal %s: %w", j.path, err)
	}
	if err := j.Mine(); err != nil {
		return err
	}
	if err := j.write(append(line, '\n')); err != nil {
		return err
	}
	j.entries = append(j.entries, read)
	return nil
}

// Mine re-reads whether the journal is still this operator's: the lock is held, the path leads to the locked file, and nobody
// else appended to it. An operator that was stopped for an hour asks before it acts. The error is ErrJournalLost.
func (j *Journal) Mine() error {
	if j.err != nil {
		return j.err
	}
	if err := unix.Flock(int(j.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return j.lost("its lock is held by %s", holder(j.file, j.path))
	}
	same, err := j.sameFile()
	if err != nil {
		return j.lost("%v", err)
	}
	if !same {
		return j.lost("another file has taken its place")
	}
	info, err := j.file.Stat()
	if err != nil {
		return j.lost("%v", err)
	}
	if info.Size() != j.size {
		return j.lost("it has %d bytes where this operator left %d: somebody else wrote to it", info.Size(), j.size)
	}
	return nil
}

// Close releases the journal.
func (j *Journal) Close() error {
	if err := j.file.Close(); err != nil {
		return fmt.Errorf("close journal %s: %w", j.path, err)
	}
	return nil
}

func (j *Journal) write(b []byte) error {
	n, err := j.file.Write(b)
	j.size += int64(n)
	if err == nil {
		err = j.sync(j.file)
	}
	if err != nil {
		j.err = fmt.Errorf("write journal %s: %w", j.path, err)
	}
	return j.err
}

func (j *Journal) lost(format string, a ...any) error {
	j.err = fmt.Errorf("%w: %s: %s", ErrJournalLost, j.path, fmt.Sprintf(format, a...))
	return j.err
}

func (j *Journal) sameFile() (bool, error) {
	held, err := j.file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(j.path)
	if err != nil {
		return false, err
	}
	return os.SameFile(held, named), nil
}

// syncFolder makes a new file's name durable.
func syncFolder(path string, sync func(*os.File) error) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return sync(d)
}
