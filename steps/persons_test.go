package steps

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
)

// TestMemory: a person who does a step knows what the operators journalled about it, and keeps his own notes as a journal would.
func TestMemory(t *testing.T) {
	folder := t.TempDir()
	var journal []byte
	for _, e := range []history.Entry{
		{T: 1, Kind: history.EntryBegin, Procedure: "p", Digest: "0123456789abcdef"},
		{T: 2, Kind: history.EntryWait, Procedure: "p", Step: "1", Manual: true, Saw: map[string]any{"led": []string{"a"}}},
		{T: 3, Kind: history.EntryWait, Procedure: "q", Step: "1", Manual: true, Saw: map[string]any{"led": "of another procedure"}},
	} {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		journal = append(append(journal, line...), '\n')
	}
	if err := os.WriteFile(filepath.Join(folder, history.JournalFile), journal, 0o644); err != nil {
		t.Fatal(err)
	}
	m := &memory{folder: folder, procedure: "p", step: "1"}
	if !strings.HasPrefix(m.Run(), "0123456789ab-") {
		t.Errorf("run %q", m.Run())
	}
	if err := m.Note(runbook.Seen{"led": []int{7}}); err != nil {
		t.Fatal(err)
	}
	all := m.All("led")
	if len(all) != 2 || !slices.Equal(all[0].([]any), []any{"a"}) || !slices.Equal(all[1].([]any), []any{7.0}) {
		t.Errorf("notes %v", all)
	}
	if err := m.Note(runbook.Seen{"f": func() {}}); err == nil {
		t.Error("a note that no journal could hold was taken")
	}
	path, err := m.Keep("rows.csv", []byte("x"))
	if err != nil || !filepath.IsLocal(path) {
		t.Fatal(path, err)
	}
	if b, err := os.ReadFile(filepath.Join(folder, path)); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := m.Keep("../x", nil); err == nil {
		t.Error("a file outside the run folder was kept")
	}
}

func TestRelation(t *testing.T) {
	const a, b = "aaaaaaaa-0000-0000-0000-000000000000", "bbbbbbbb-0000-0000-0000-000000000000"
	for _, c := range []struct{ before, there, after, want string }{
		{a + ":pay:1-3", a + ":pay:1-3", a + ":pay:1-3", "equal"},
		{a + ":pay:1-3", a + ":pay:1-4", a + ":pay:1-5", "equal"}, // the source goes on while it is compared
		{a + ":pay:1-3", a + ":pay:1-2", a + ":pay:1-3", "s has some that r lacks"},
		{a + ":pay:1-3", a + ":pay:1-3," + b + ":pay:1", a + ":pay:1-3", "r has some that s lacks"},
		{a + ":pay:1-3", b + ":pay:1", a + ":pay:1-3", "each region has some that the other lacks"},
		{a + ":canary:1-9:pay:1", a + ":canary:1-2:pay:1", a + ":canary:1-9:pay:1", "equal"}, // payments only
	} {
		if got, err := relation("s", "r", c.before, c.there, c.after); err != nil || got != c.want {
			t.Errorf("%s %s %s: %q, %v; want %q", c.before, c.there, c.after, got, err, c.want)
		}
	}
	if _, err := relation("s", "r", "x", "", ""); err == nil {
		t.Error("a set that is none was taken")
	}
}

func TestInNames(t *testing.T) {
	known := map[string]string{"127.4.16.21:3306": "tokyo-mysql-1", "127.4.16.21": "tokyo-mysql-1", "127.4.33.11": "outside-acquirer-1"}
	for text, want := range map[string]string{
		"127.4.16.21:3306":                  "tokyo-mysql-1",
		"127.4.16.21:9042,127.4.16.21:3306": "tokyo-mysql-1,tokyo-mysql-1",
		"http://127.4.33.11:8080/x":         "http://outside-acquirer-1/x",
		"127.4.99.1:1":                      "127.4.99.1:1",
		"true":                              "true",
	} {
		if got := inNames(text, known); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
