package procedure

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/kirikae/kirikae/topology"
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
	if n := topology.Nearest(got, names); n != "" {
		return fmt.Sprintf("did you mean %q? (expected: %s)", n, list)
	}
	return "expected: " + list
}
