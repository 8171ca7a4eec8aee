// Package yamlfile reads YAML that people write: strictly, and every mistake with file, line and column.
package yamlfile

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// File is a file that was read, and what is wrong with its values.
type File struct {
	name string
	tree *ast.File
	errs []error
}

// Kind is a kind of file.
type Kind struct {
	What    string                   // as errors call it: "topology"
	Unknown func(field string) error // what is said of a field that it does not have
}

// Read decodes the one document of a file; name is what errors call it.
func (k Kind) Read(name string, b []byte, into any) (*File, error) {
	tree, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, k.placed(name, err)
	}
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return nil, fmt.Errorf("%s:1:1: the file is empty, a %s was expected", name, k.What)
	}
	if len(tree.Docs) > 1 {
		return nil, fmt.Errorf("%s: one %s a file, here are %d documents", name, k.What, len(tree.Docs))
	}
	if err := yaml.NodeToValue(tree.Docs[0].Body, into, yaml.Strict()); err != nil {
		return nil, k.placed(name, err)
	}
	return &File{name: name, tree: tree}, nil
}

// placed is an error of the YAML library with its place, on one line.
func (k Kind) placed(name string, err error) error {
	var ye yaml.Error
	if !errors.As(err, &ye) || ye.GetToken() == nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	msg := ye.GetMessage()
	if m := unknownField.FindStringSubmatch(msg); m != nil {
		msg = k.Unknown(m[1]).Error()
	}
	at := ye.GetToken().Position
	return fmt.Errorf("%s:%d:%d: %s", name, at.Line, at.Column, msg)
}

var unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)

// Bad notes an error at the value that path leads to, or at its nearest parent that was written.
func (f *File) Bad(path, format string, a ...any) {
	line, column := 1, 1
	for path != "" {
		if q, err := yaml.PathString(path); err == nil {
			if n, err := q.FilterFile(f.tree); err == nil && n != nil && n.GetToken() != nil {
				tk := n.GetToken()
				// A block's own token is its first colon or dash; what people look for is its first key.
				if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
					tk = m.Values[0].Key.GetToken()
				} else if m, ok := n.(*ast.MappingValueNode); ok {
					tk = m.Key.GetToken()
				}
				line, column = tk.Position.Line, tk.Position.Column
				break
			}
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	f.errs = append(f.errs, fmt.Errorf("%s:%d:%d: %s", f.name, line, column, fmt.Sprintf(format, a...)))
}

// Mistakes is how many were noted.
func (f *File) Mistakes() int { return len(f.errs) }

// Err is everything that was noted, or nil.
func (f *File) Err() error { return errors.Join(f.errs...) }
