package check_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/history/historytest"
)

// What a run calls its sites, payments and instants is nothing to the judges.
func TestNamesAndInstantsDoNotMatter(t *testing.T) {
	instant := regexp.MustCompile(`\b10\d{11}\b`) // nanoseconds of the model's boot
	rename := map[string]func(string) string{
		"sites": strings.NewReplacer("tokyo", "sapporo", "osaka", "fukuoka").Replace,
		"keys":  strings.NewReplacer(`"p-`, `"payment-`, `"r-`, `"again-`).Replace,
		"instants": func(s string) string {
			return instant.ReplaceAllStringFunc(s, func(n string) string {
				v, err := strconv.ParseInt(n, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				return strconv.FormatInt(v+777_000_000_000_123, 10)
			})
		},
	}
	run := bent(func(r *history.Run) { r.Meta.Objectives.Loss.MaxCount = 1; r.Evidence.Charges = nil }) // one FAIL, one INCONCLUSIVE
	want := check.Judge(run)
	written := t.TempDir()
	if err := historytest.Write(run, written); err != nil {
		t.Fatal(err)
	}
	for name, change := range rename {
		folder := t.TempDir()
		if err := os.CopyFS(folder, os.DirFS(written)); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{history.MetaFile, history.OperationsFile, history.MarksFile, history.JournalFile, history.EvidenceFile} {
			path := filepath.Join(folder, file)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(change(string(b))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		back, err := history.Load(folder)
		if err != nil {
			t.Fatal(err)
		}
		got := check.Judge(back)
		if got.Verdict != want.Verdict {
			t.Errorf("other %s: %s, was %s", name, got.Verdict, want.Verdict)
		}
		for i, r := range got.Results {
			if w := want.Results[i]; r.Verdict() != w.Verdict() || len(r.Findings) != len(w.Findings) {
				t.Errorf("other %s: %s is %s, was %s: %s", name, r.Check, r.Verdict(), w.Verdict(), r.Says)
			}
		}
	}
}
