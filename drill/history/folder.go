package history

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
)

// Files of a run folder.
const (
	MetaFile       = "run.json"
	OperationsFile = "history/operations.ndjson"
	MarksFile      = "history/marks.ndjson"
	JournalFile    = "journal.ndjson"
	EvidenceFile   = "evidence.json"
	ResultFile     = "result.json"
	WorldFile      = "world.json"
	LogsFolder     = "logs"
)

// Run is one run folder, loaded. Judges take it and touch nothing else.
type Run struct {
	Folder     string
	Meta       Meta
	Operations []Operation // by ID
	Marks      []Mark      // by T
	Journal    []Entry     // in the order they were written
	Evidence   Evidence
	Truncated  []string // files whose last line was cut off: the run was killed while writing
}

// Load reads a run folder. Files that a killed run did not reach are absent and give zero values; a last line that was cut off
// is named in Truncated; anything else that cannot be read is an error.
func Load(folder string) (*Run, error) {
	r := &Run{Folder: folder}
	if err := readJSON(filepath.Join(folder, MetaFile), &r.Meta); err != nil {
		return nil, fmt.Errorf("load run %s: %w", folder, err)
	}
	if r.Meta.Schema > SchemaVersion {
		return nil, fmt.Errorf("load run %s: written by a newer kirikae (schema %d, this one reads up to %d)", folder, r.Meta.Schema, SchemaVersion)
	}
	if err := readJSON(filepath.Join(folder, EvidenceFile), &r.Evidence); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load run %s: %w", folder, err)
	}
	byID := map[int64]int{}
	err := r.lines(OperationsFile, func(b []byte) error {
		var o Operation
		if err := json.Unmarshal(b, &o); err != nil {
			return err
		}
		if i, known := byID[o.ID]; known {
			r.Operations[i] = o
			return nil
		}
		byID[o.ID] = len(r.Operations)
		r.Operations = append(r.Operations, o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = r.lines(MarksFile, func(b []byte) error {
		var m Mark
		err := json.Unmarshal(b, &m)
		r.Marks = append(r.Marks, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.journal(); err != nil {
		return nil, err
	}
	sort.SliceStable(r.Operations, func(i, j int) bool { return r.Operations[i].ID < r.Operations[j].ID })
	sort.SliceStable(r.Marks, func(i, j int) bool { return r.Marks[i].T < r.Marks[j].T })
	return r, nil
}

// LoadJournal reads only the operator's journal of a run folder, which may still be growing; an absent one is empty.
func LoadJournal(folder string) ([]Entry, error) {
	r := &Run{Folder: folder}
	err := r.journal()
	return r.Journal, err
}

// journal reads the operators' journal. An operator that was killed while it wrote leaves a torn line; the next one ends that
// line and begins on its own. A torn line that no begin follows is damage.
func (r *Run) journal() error {
	var torn error
	err := r.lines(JournalFile, func(b []byte) error {
		var e Entry
		if err := json.Unmarshal(b, &e); err != nil {
			torn = cmp.Or(torn, err)
			return nil
		}
		if torn != nil && e.Kind != EntryBegin && e.Kind != EntryTakeover {
			return fmt.Errorf("what stands before it cannot be read, and no operator began here: %w", torn)
		}
		torn = nil
		r.Journal = append(r.Journal, e)
		return nil
	})
	if err == nil && torn != nil && !slices.Contains(r.Truncated, JournalFile) {
		r.Truncated = append(r.Truncated, JournalFile) // ended by an operator that was killed before it could begin
	}
	return err
}

// lines calls f for each line of an NDJSON file of the folder; an absent file has none.
func (r *Run) lines(name string, f func([]byte) error) error {
	file, err := os.Open(filepath.Join(r.Folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load run %s: %w", r.Folder, err)
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) { // what stands behind it may be whole
			return fmt.Errorf("load run %s: %s line %d: %w", r.Folder, name, n, err)
		}
		if err != nil { // what follows the last newline was cut off in the middle of a write
			if len(line) > 0 {
				r.Truncated = append(r.Truncated, name)
			}
			return nil
		}
		if err := f(line); err != nil {
			return fmt.Errorf("load run %s: %s line %d: %w", r.Folder, name, n, err)
		}
	}
}

// Marked returns the marks of one kind, decoded into T, in order of time.
func Marked[T any](r *Run, kind string) ([]At[T], error) {
	var out []At[T]
	for _, m := range r.Marks {
		if m.Kind != kind {
			continue
		}
		a := At[T]{T: m.T, Name: m.Name}
		if len(m.Data) > 0 {
			if err := json.Unmarshal(m.Data, &a.Data); err != nil {
				return nil, fmt.Errorf("read mark %s %q: %w", kind, m.Name, err)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// At is a decoded mark.
type At[T any] struct {
	T    Instant
	Name string
	Data T
}

// Phase returns when a phase began, and whether it did.
func (r *Run) Phase(name string) (Instant, bool) {
	for _, m := range r.Marks {
		if m.Kind == KindPhase && m.Name == name {
			return m.T, true
		}
	}
	return 0, false
}

// Cut returns the instant after which the lost site could acknowledge nothing to customers and send nothing to the other
// site: the end of the last cut of the first injected fault. False: no fault was injected.
func (r *Run) Cut() (Instant, bool) {
	faults, err := Marked[FaultData](r, KindFault)
	if err != nil {
		return 0, false
	}
	for _, f := range faults {
		if f.Data.Action == "inject" && f.Data.Cut != 0 {
			return f.Data.Cut, true
		}
	}
	return 0, false
}

// WriteJSON writes v into a file of the folder, whole or not at all.
func WriteJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
