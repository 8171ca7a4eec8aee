package steps

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	gherkin "github.com/cucumber/gherkin/go/v42"
	messages "github.com/cucumber/messages/go/v34"
	tagexpressions "github.com/cucumber/tag-expressions/go/v6"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/features"
)

// Scenario is one drill of a feature file, selected and checked before anything starts.
type Scenario struct {
	Feature string // path as the user gave it, or the embedded name
	Line    int    // of the scenario
	Name    string
	Tags    []string
	Steps   []string // its sentences

	content []byte // of the feature file
	fsys    fs.FS  // where godog finds it again …
	path    string // … under this name
}

// Place is "features/region_loss.feature:12", what repeats the scenario.
func (s Scenario) Place() string { return fmt.Sprintf("%s:%d", s.Feature, s.Line) }

// ErrNothingSelected is returned when no scenario is left to run (exit code 5).
var ErrNothingSelected = errors.New("no scenario selected")

// UsageError is bad input: it names its place and how to mend it (exit code 2). Nothing was started.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

func usagef(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Select reads the named features (files, folders, "file:line"; none: all embedded ones), keeps the scenarios that the tag
// expression accepts ("@a and not @b"; "" accepts all), and checks every sentence of them. Paths that do not exist on disk
// are looked up among the embedded features.
func Select(paths []string, tags string) ([]Scenario, error) {
	accept, err := parseTags(tags)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		paths = []string{"features"}
	}
	var all []Scenario
	for _, p := range paths {
		path, line := splitLine(p)
		files, err := featureFiles(path)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			scenarios, err := parse(f)
			if err != nil {
				return nil, err
			}
			found := line == 0
			for _, s := range scenarios {
				if line != 0 && s.Line != line {
					continue
				}
				found = true
				if accept(s.Tags) {
					all = append(all, s)
				}
			}
			if !found {
				return nil, usagef("%s:%d: no scenario starts at this line; they start at %s", path, line, startLines(scenarios))
			}
		}
	}
	for _, s := range all {
		if err := lint(s); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: paths %q, tags %q", ErrNothingSelected, paths, tags)
	}
	return all, nil
}

func parseTags(expression string) (func([]string) bool, error) {
	if strings.TrimSpace(expression) == "" {
		return func([]string) bool { return true }, nil
	}
	if strings.ContainsAny(expression, "&~,|") {
		return nil, usagef("tags %q: write a tag expression, like %q", expression, "@region_loss and not @slow")
	}
	for _, word := range strings.FieldsFunc(expression, func(r rune) bool { return strings.ContainsRune(" ()", r) }) {
		if !strings.HasPrefix(word, "@") && word != "and" && word != "or" && word != "not" {
			return nil, usagef("tags %q: %q is neither a tag (@%s) nor one of and, or, not", expression, word, word)
		}
	}
	e, err := tagexpressions.Parse(expression)
	if err != nil {
		return nil, usagef("tags %q: %v", expression, err)
	}
	return e.Evaluate, nil
}

func splitLine(p string) (string, int) {
	i := strings.LastIndexByte(p, ':')
	if i < 0 {
		return p, 0
	}
	n, err := strconv.Atoi(p[i+1:])
	if err != nil || n < 1 {
		return p, 0
	}
	return p[:i], n
}

type featureFile struct {
	name    string // as the user named it
	content []byte
	fsys    fs.FS
	path    string // in fsys
}

func onDisk(path string, content []byte) featureFile {
	return featureFile{path, content, os.DirFS(filepath.Dir(path)), filepath.Base(path)}
}

// featureFiles reads a file or folder of features, from disk or else from the embedded ones.
func featureFiles(path string) ([]featureFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return embeddedFiles(path)
	}
	if !info.IsDir() {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, usagef("read feature: %v", err)
		}
		return []featureFile{onDisk(path, b)}, nil
	}
	var out []featureFile
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ".feature" {
			return err
		}
		b, err := os.ReadFile(p)
		out = append(out, onDisk(p, b))
		return err
	})
	if err != nil {
		return nil, usagef("read features: %v", err)
	}
	return out, nil
}

func embeddedFiles(path string) ([]featureFile, error) {
	names, err := fs.Glob(features.FS, "*.feature")
	if err != nil {
		return nil, fmt.Errorf("list embedded features: %w", err)
	}
	sort.Strings(names)
	want := strings.TrimPrefix(filepath.ToSlash(path), "features/")
	var out []featureFile
	for _, n := range names {
		if want != "features" && want != n && want != strings.TrimSuffix(n, ".feature") {
			continue
		}
		b, err := fs.ReadFile(features.FS, n)
		if err != nil {
			return nil, fmt.Errorf("read embedded feature %s: %w", n, err)
		}
		out = append(out, featureFile{"features/" + n, b, features.FS, n})
	}
	if len(out) == 0 {
		return nil, usagef("feature %q: no such file, nor an embedded one; embedded: %s%s", path, strings.Join(names, ", "), suggest(strings.TrimSuffix(want, ".feature")+".feature", names))
	}
	return out, nil
}

// parse reads one feature file into its scenarios (outlines expanded).
func parse(f featureFile) ([]Scenario, error) {
	n := 0
	id := func() string { n++; return strconv.Itoa(n) }
	doc, err := gherkin.ParseGherkinDocument(bytes.NewReader(f.content), id)
	if err != nil {
		return nil, usagef("%s: %s", f.name, strings.TrimSpace(strings.TrimPrefix(err.Error(), "Parser errors:")))
	}
	var out []Scenario
	for _, p := range gherkin.Pickles(*doc, f.name, id) {
		s := Scenario{Feature: f.name, Name: p.Name, Line: pickleLine(doc, p), content: f.content, fsys: f.fsys, path: f.path}
		for _, t := range p.Tags {
			s.Tags = append(s.Tags, t.Name)
		}
		for _, st := range p.Steps {
			s.Steps = append(s.Steps, st.Text)
		}
		out = append(out, s)
	}
	return out, nil
}

// pickleLine is the line of the scenario, or of the examples' row, that a pickle came from.
func pickleLine(doc *messages.GherkinDocument, p *messages.Pickle) int {
	if p.Location != nil {
		return int(p.Location.Line)
	}
	for _, c := range doc.Feature.Children {
		if c.Scenario != nil && len(p.AstNodeIds) > 0 && c.Scenario.Id == p.AstNodeIds[0] {
			return int(c.Scenario.Location.Line)
		}
	}
	return 0
}

func startLines(s []Scenario) string {
	var out []string
	for _, x := range s {
		out = append(out, strconv.Itoa(x.Line))
	}
	return strings.Join(out, ", ")
}

// lint checks that each sentence of a scenario is known, and that what it names exists: regions, topologies, procedures, steps.
func lint(s Scenario) error {
	lines := strings.Split(string(s.content), "\n")
	for _, text := range s.Steps {
		if match(text) == nil {
			line, column := locate(lines, s.Line, text)
			return usagef("%s:%d:%d: no sentence %q%s\nAll sentences: kirikae run --sentences", s.Feature, line, column, text, suggest(text, examples()))
		}
	}
	return promises(s, &history.Meta{})
}

// locate finds a sentence in the feature's lines, from the scenario on, or else in the background before it.
func locate(lines []string, from int, text string) (line, column int) {
	for i := from; i <= len(lines); i++ {
		if at := strings.Index(lines[i-1], text); i > 0 && at >= 0 {
			return i, at + 1
		}
	}
	for i, l := range lines {
		if at := strings.Index(l, text); at >= 0 {
			return i + 1, at + 1
		}
	}
	return from, 1
}
