package steps

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestArticles holds docs/articles.md against what it names: a page that says where everything is must not go out of date.
func TestArticles(t *testing.T) {
	b, err := os.ReadFile("../docs/articles.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, path := range regexp.MustCompile(`(?:fixtures|features|payment|steps)/[a-zA-Z0-9_./-]*[a-z]`).FindAllString(page, -1) {
		if _, err := os.Stat(filepath.Join("..", path)); err != nil {
			t.Errorf("the page names %s: %v", path, err)
		}
	}
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, dir := range strings.Fields(string(out)) {
		files, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(b)
		}
	}
	for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(page, -1) {
		if !strings.Contains(tests.String(), "func "+name+"(") {
			t.Errorf("the page names %s, and there is no such test", name)
		}
	}
	for file, rows := range map[string]int{"switchover": 9, "failback-preparation": 10} {
		b, err := os.ReadFile("../fixtures/procedures/" + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var p struct {
			Steps []struct {
				Number int
				Title  struct{ JA string }
				Verb   string
				Call   string
			}
		}
		if err := yaml.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		if len(p.Steps) != rows {
			t.Errorf("%s has %d rows, the article's table %d", file, len(p.Steps), rows)
		}
		for i, s := range p.Steps {
			if s.Number != i+1 {
				t.Errorf("%s: row %d is numbered %d", file, i+1, s.Number)
			}
			title, _, _ := strings.Cut(s.Title.JA, " (アプリケーション") // the second table's words stand behind the title
			line := regexp.MustCompile(`(?m)^\| ` + strconv.Itoa(s.Number) + ` \| ` + regexp.QuoteMeta(title) + `.*fixtures/procedures/` + file + `\.yaml`)
			row := line.FindString(page)
			if row == "" {
				t.Errorf("the page has no row %d %q of %s.yaml", s.Number, title, file)
				continue
			}
			rest := page[strings.Index(page, row):]
			rest, _, _ = strings.Cut(rest, "\n")
			for _, named := range []string{s.Verb, s.Call} {
				if !strings.Contains(rest, named) {
					t.Errorf("row %d of %s is %s, which the page does not name: %s", s.Number, file, named, rest)
				}
			}
		}
	}
}
