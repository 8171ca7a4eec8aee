package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// step is a clock that ticks one millisecond at each look.
type step struct {
	mu  sync.Mutex
	now Instant
}

func (c *step) Now() Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += Instant(time.Millisecond)
	return c.now
}

func folder(t *testing.T) (string, *Recorder) {
	t.Helper()
	dir := t.TempDir()
	if err := WriteJSON(filepath.Join(dir, MetaFile), Meta{Schema: SchemaVersion, Name: "x"}); err != nil {
		t.Fatal(err)
	}
	r, err := NewRecorder(dir, &step{})
	if err != nil {
		t.Fatal(err)
	}
	return dir, r
}

func load(t *testing.T, dir string) *Run {
	t.Helper()
	run, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestRecordAndLoad(t *testing.T) {
	dir, rec := folder(t)
	var watched []string
	rec.Watch = func(m Mark) { watched = append(watched, m.Kind) }
	done := Operation{Stream: StreamPayment, Key: "a", Yen: 5, Intended: 10, Sent: 11, Outcome: OK}
	rec.Invoke(&done)
	pending := Operation{Stream: StreamPayment, Key: "b", Outcome: OK, Finished: 99}
	rec.Invoke(&pending)
	if done.ID != 1 || pending.ID != 2 || pending.Outcome != Info || pending.Finished != 0 {
		t.Errorf("invoked as %+v and %+v", done, pending)
	}
	done.Outcome, done.Finished, done.Status, done.Site = OK, 20, 200, "tokyo"
	rec.Complete(done)
	rec.Mark(KindPhase, PhaseLoad, nil)
	rec.MarkAt(1, KindLag, "osaka-mysql-1", LagData{Node: "osaka-mysql-1", Lag: Duration(1500 * time.Millisecond)})
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}

	run := load(t, dir)
	if !reflect.DeepEqual(run.Operations, []Operation{done, pending}) {
		t.Errorf("operations %+v", run.Operations)
	}
	if len(run.Marks) != 2 || run.Marks[0].Kind != KindLag || !slices.Equal(watched, []string{KindPhase, KindLag}) {
		t.Errorf("marks are not in order of time: %+v, watched %v", run.Marks, watched)
	}
	lags, err := Marked[LagData](run, KindLag)
	if err != nil || len(lags) != 1 || lags[0].Data.Lag.D() != 1500*time.Millisecond || lags[0].T != 1 {
		t.Errorf("lag %+v, %v", lags, err)
	}
	if at, ok := run.Phase(PhaseLoad); !ok || at != Instant(time.Millisecond) {
		t.Errorf("phase at %v, %v", at, ok)
	}
	if _, ok := run.Phase(PhaseFault); ok {
		t.Error("a phase that never was is known")
	}
	if len(run.Truncated) > 0 {
		t.Errorf("truncated %v", run.Truncated)
	}
}

func TestRecorderIsSafeForConcurrentUse(t *testing.T) {
	dir, rec := folder(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				o := Operation{Stream: StreamProbe, Key: strings.Repeat("k", 40)}
				rec.Invoke(&o)
				rec.Mark(KindNote, "x", map[string]int64{"id": o.ID})
				o.Outcome = OK
				rec.Complete(o)
			}
		})
	}
	all.Wait()
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	run := load(t, dir)
	if len(run.Operations) != 1600 || len(run.Marks) != 1600 {
		t.Fatalf("%d operations, %d marks", len(run.Operations), len(run.Marks))
	}
	for i, o := range run.Operations {
		if o.ID != int64(i+1) || o.Outcome != OK {
			t.Fatalf("operation %d is %+v", i, o)
		}
	}
}

func TestRecorderKeepsItsFirstError(t *testing.T) {
	_, rec := folder(t)
	rec.Mark(KindNote, "cannot be written", func() {})
	rec.Mark(KindNote, "can", nil)
	if err := rec.Close(); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("closed with %v", err)
	}
	_, rec = folder(t)
	rec.ops.file.Close() // a full disk looks alike: writes fail
	rec.Invoke(&Operation{})
	if err := rec.Close(); err == nil {
		t.Error("a record that was not written is not an error")
	}
}

// A killed drill leaves a last line that was cut off at any byte, and nothing else is lost.
func TestTruncatedLastLine(t *testing.T) {
	dir, rec := folder(t)
	for range 3 {
		o := Operation{Stream: StreamPayment, Key: "k"}
		rec.Invoke(&o)
		rec.Mark(KindNote, "n", nil)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{OperationsFile, MarksFile} {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		last := len(strings.TrimSuffix(string(whole), "\n"))
		last = strings.LastIndexByte(string(whole[:last]), '\n') + 1
		for cut := last; cut < len(whole); cut++ {
			if err := os.WriteFile(path, whole[:cut], 0o644); err != nil {
				t.Fatal(err)
			}
			run := load(t, dir)
			n := len(run.Operations)
			if name == MarksFile {
				n = len(run.Marks)
			}
			if cutOff := slices.Contains(run.Truncated, name); n != 2 || cutOff != (cut > last) {
				t.Fatalf("%s cut at %d of %d: %d records, truncated %v", name, cut, len(whole), n, run.Truncated)
			}
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJournalTornByAKilledOperator(t *testing.T) {
	line := func(kind string) string {
		b, _ := json.Marshal(Entry{Kind: kind, Procedure: "switchover"})
		return string(b) + "\n"
	}
	for _, c := range []struct {
		name, text string
		entries    int
		truncated  bool
		fails      bool
	}{
		{"whole", line(EntryBegin) + line(EntryEnd), 2, false, false},
		{"torn, then resumed", line(EntryBegin) + `{"t":1,"ki` + "\n" + line(EntryBegin) + line(EntryEnd), 3, false, false},
		{"torn twice, then resumed", line(EntryBegin) + "{\n{\n" + line(EntryBegin), 2, false, false},
		{"torn, never resumed", line(EntryBegin) + `{"t":1,"ki`, 1, true, false},
		{"torn, and the next one killed at once", line(EntryBegin) + `{"t":1,"ki` + "\n", 1, true, false},
		{"damaged", line(EntryBegin) + "{\n" + line(EntryAct), 0, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, rec := folder(t)
			if err := rec.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, JournalFile), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			run, err := Load(dir)
			if (err != nil) != c.fails {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			if len(run.Journal) != c.entries || slices.Contains(run.Truncated, JournalFile) != c.truncated {
				t.Errorf("%d entries, truncated %v", len(run.Journal), run.Truncated)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	write := func(t *testing.T, dir, name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	meta := fmt.Sprintf(`{"schema":%d}`, SchemaVersion)
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no run", nil, MetaFile},
		{"a newer run", map[string]string{MetaFile: fmt.Sprintf(`{"schema":%d}`, SchemaVersion+1)}, "newer"},
		{"a damaged operation", map[string]string{MetaFile: meta, OperationsFile: "{\n{}\n"}, OperationsFile + " line 1"},
		{"a damaged mark", map[string]string{MetaFile: meta, MarksFile: "{}\nx\n"}, MarksFile + " line 2"},
		{"damaged evidence", map[string]string{MetaFile: meta, EvidenceFile: "{"}, EvidenceFile},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				write(t, dir, name, text)
			}
			if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, expected one about %q", err, c.want)
			}
		})
	}
	dir := t.TempDir()
	write(t, dir, MetaFile, meta)
	if run, err := Load(dir); err != nil || len(run.Operations) > 0 || run.Evidence.Ledger != nil {
		t.Errorf("a run that was killed at once: %+v, %v", run, err)
	}
}

func TestCut(t *testing.T) {
	run := &Run{}
	if _, ok := run.Cut(); ok {
		t.Error("a run without a fault has a cut")
	}
	for i, f := range []FaultData{{Action: "inject"}, {Action: "heal", Cut: 3}, {Action: "inject", Cut: 7}, {Action: "inject", Cut: 9}} {
		b, _ := json.Marshal(f)
		run.Marks = append(run.Marks, Mark{T: Instant(i), Kind: KindFault, Data: b})
	}
	if at, ok := run.Cut(); !ok || at != 7 {
		t.Errorf("cut at %v, %v", at, ok)
	}
}

func TestDuration(t *testing.T) {
	var d Duration
	for _, text := range []string{`"4ms"`, `"1.5s"`, `"0s"`, `"1h0m0s"`} {
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		if b, _ := json.Marshal(d); string(b) != text {
			t.Errorf("%s became %s", text, b)
		}
	}
	for _, text := range []string{`4`, `"4"`, `"soon"`} {
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s was read as %v", text, d)
		}
	}
}

func TestMonotonic(t *testing.T) {
	var c Monotonic
	a := c.Now()
	if b := c.Now(); b < a || a.Add(time.Second).Sub(a) != time.Second || BootID() == "unknown" {
		t.Errorf("%d, then %d, boot %s", a, b, BootID())
	}
}

// A file that cannot be read is no file that was cut off: what it holds may be whole, and a verdict without it would be another one.
func TestUnreadableIsNotCutOff(t *testing.T) {
	for _, name := range []string{OperationsFile, MarksFile, JournalFile} {
		dir, rec := folder(t)
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := errors.Join(os.RemoveAll(path), os.MkdirAll(path, 0o755)); err != nil { // a folder opens, and gives an error when it is read
			t.Fatal(err)
		}
		if run, err := Load(dir); err == nil {
			t.Errorf("%s cannot be read, and the run was loaded, cut off: %v", name, run.Truncated)
		} else if !strings.Contains(err.Error(), name+" line 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
