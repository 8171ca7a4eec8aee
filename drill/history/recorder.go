package history

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// Recorder appends to the history of a run folder. It is safe for concurrent use. Every record is handed to the kernel before
// the call returns, so that a killed drill loses none that it acted on. The first write error is kept and returned by Close:
// a history with a hole must not be judged as if it were whole.
type Recorder struct {
	clock Clock
	next  atomic.Int64
	ops   appender
	marks appender
	Watch func(Mark) // called after each mark, on the caller's goroutine; nil: nobody watches. Set before first use
}

// NewRecorder opens the history files of a run folder for appending.
func NewRecorder(folder string, clock Clock) (*Recorder, error) {
	r := &Recorder{clock: clock}
	for name, a := range map[string]*appender{OperationsFile: &r.ops, MarksFile: &r.marks} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("open history: %w", err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return nil, fmt.Errorf("open history: %w", err)
		}
		a.file = f
	}
	return r, nil
}

// Now is the recorder's clock.
func (r *Recorder) Now() Instant { return r.clock.Now() }

// Invoke records that o is about to be sent and gives it its ID. Call it before the first byte leaves.
func (r *Recorder) Invoke(o *Operation) {
	o.ID = r.next.Add(1)
	o.Outcome = Info // until it ends, anything may have happened
	o.Finished = 0
	r.ops.append(o)
}

// Complete records how o ended. Call it before the answer is used.
func (r *Recorder) Complete(o Operation) { r.ops.append(&o) }

// Mark records something the drill did or saw, now.
func (r *Recorder) Mark(kind, name string, data any) { r.MarkAt(r.clock.Now(), kind, name, data) }

// MarkAt records something with its own instant.
func (r *Recorder) MarkAt(t Instant, kind, name string, data any) {
	m := Mark{T: t, Kind: kind, Name: name}
	if data != nil {
		b, err := json.Marshal(data)
		if err != nil {
			r.marks.fail(fmt.Errorf("encode mark %s %q: %w", kind, name, err))
			return
		}
		m.Data = b
	}
	r.marks.append(&m)
	if r.Watch != nil {
		r.Watch(m)
	}
}

// Close closes the files and returns the first error that any write met.
func (r *Recorder) Close() error {
	if err := r.ops.close(); err != nil {
		return err
	}
	return r.marks.close()
}

// appender writes one JSON value a line, each in one write call.
type appender struct {
	mu   sync.Mutex
	file *os.File
	err  error
}

func (a *appender) append(v any) {
	b, err := json.Marshal(v)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		_, err = a.file.Write(append(b, '\n'))
	}
	if err != nil && a.err == nil {
		a.err = err
	}
}

func (a *appender) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
	}
}

func (a *appender) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.file.Close(); err != nil && a.err == nil {
		a.err = err
	}
	if a.err != nil {
		return fmt.Errorf("record history: %w", a.err)
	}
	return nil
}
