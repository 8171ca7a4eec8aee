package procedure

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// PlaceError is an error in a procedure file, with its place.
type PlaceError struct {
	File   string
	Line   int // from 1
	Column int // from 1
	Says   string
}

// Error is "file:line:column: what".
func (e *PlaceError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Says)
}

// at makes an error at a node of a file.
func (s *source) at(n ast.Node, format string, a ...any) error {
	e := &PlaceError{File: s.file, Line: 1, Column: 1, Says: fmt.Sprintf(format, a...)}
	if t := n.GetToken(); t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	return e
}

// expected says which names there are, and which of them was probably meant.
func expected(got string, names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	list := strings.Join(names, ", ")
	if list == "" {
		list = "none"
	}
	if n := nearest(got, names); n != "" {
		return fmt.Sprintf("did you mean %q? (expected: %s)", n, list)
	}
	return "expected: " + list
}

// nearest returns the name with the fewest edits from got, if they are at most a third of its letters; else "".
func nearest(got string, names []string) string {
	best, name := max(2, len(got)/3)+1, ""
	for _, n := range names {
		if d := edits(strings.ToLower(got), strings.ToLower(n)); d < best && d < len(n) {
			best, name = d, n
		}
	}
	return name
}

// edits counts the insertions, deletions and substitutions between two words (Levenshtein).
func edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		before := row[0] // of the row above, one to the left
		row[0] = i + 1
		for j := range y {
			above := row[j+1]
			change := before
			if x[i] != y[j] {
				change++
			}
			row[j+1] = min(change, above+1, row[j]+1)
			before = above
		}
	}
	return row[len(y)]
}
