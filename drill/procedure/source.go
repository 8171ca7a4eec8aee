package procedure

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/kirikae/kirikae/drill/runbook"
)

// source is one procedure file, read strictly: names, kinds and numbers are right, what they lead to is not yet looked at.
type source struct {
	file   string
	name   string
	title  runbook.Title
	kind   runbook.Kind
	node   ast.Node // its name, for errors about the procedure as a whole
	inputs []string // declared, in the file's order
	rows   []row
}

// row is one row of a procedure's table.
type row struct {
	work
	number   int
	title    runbook.Title
	resource string
	call     ast.Node // instead of a verb
	approval time.Duration
	commits  bool
	undo     *work
	nothing  bool                // the undo is "nothing"
	places   map[string]ast.Node // of the keys that only some rows may have
}

// work is what a row does, or how it is taken back.
type work struct {
	node    ast.Node // for errors about it as a whole
	verb    ast.Node
	inputs  []field
	check   *work // verb and inputs
	confirm *work // verb and inputs
	budget  time.Duration
	manual  bool
}

// field is one key of a mapping.
type field struct {
	name  string
	key   ast.Node
	value ast.Node
}

func read(fsys fs.FS, file string) (*source, error) {
	s, root, err := document(fsys, file)
	if err != nil {
		return nil, err
	}
	return s, s.procedure(root)
}

// document reads a file that holds one YAML document.
func document(fsys fs.FS, file string) (*source, ast.Node, error) {
	b, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file, err)
	}
	s := &source{file: file}
	parsed, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, nil, s.syntax(err)
	}
	var docs []ast.Node
	for _, d := range parsed.Docs {
		if d.Body != nil {
			docs = append(docs, d.Body)
		}
	}
	switch {
	case len(docs) == 0:
		return nil, nil, &PlaceError{File: file, Line: 1, Column: 1, Says: "the file is empty, expected a procedure"}
	case len(docs) > 1:
		return nil, nil, s.at(docs[1], "a second document, expected one procedure in a file")
	}
	return s, docs[0], nil
}

// syntax gives what the YAML parser says with its place in the usual form.
func (s *source) syntax(err error) error {
	e := &PlaceError{File: s.file, Line: 1, Column: 1, Says: err.Error()}
	var y yaml.Error
	if errors.As(err, &y) {
		e.Says = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			e.Line, e.Column = t.Position.Line, t.Position.Column
		}
	}
	return e
}

func (s *source) procedure(n ast.Node) error {
	fields, err := s.mapping(n, "a procedure", []string{"name", "title", "kind", "inputs", "steps"}, "name", "title", "steps")
	if err != nil {
		return err
	}
	for _, f := range fields {
		switch f.name {
		case "name":
			s.node = f.value
			s.name, err = s.text(f)
		case "kind":
			if s.kind = runbook.Planned; f.value.String() != string(runbook.Planned) {
				err = s.at(f.value, "kind is %s, expected %q, or no kind for a procedure that goes only forward", f.value, runbook.Planned)
			}
		case "title":
			s.title, err = s.bilingual(f)
		case "inputs":
			err = s.declarations(f)
		case "steps":
			err = s.steps(f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// declarations reads the declared inputs: name → what it is, for the person who gives it.
func (s *source) declarations(f field) error {
	fields, err := s.mapping(f.value, "inputs", nil)
	if err != nil {
		return err
	}
	for _, d := range fields {
		if _, err := s.text(d); err != nil {
			return err
		}
		s.inputs = append(s.inputs, d.name)
	}
	return nil
}

func (s *source) steps(f field) error {
	list, ok := f.value.(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		return s.at(f.value, "steps is %s, expected a list of steps", kind(f.value))
	}
	for _, n := range list.Values {
		r, err := s.row(n)
		if err != nil {
			return err
		}
		if len(s.rows) > 0 {
			switch last := s.rows[len(s.rows)-1].number; {
			case slices.ContainsFunc(s.rows, func(o row) bool { return o.number == r.number }):
				return s.at(r.node, "a second step has the number %d", r.number)
			case r.number < last:
				return s.at(r.node, "step %d stands after step %d, expected the order in which they are done", r.number, last)
			}
		}
		s.rows = append(s.rows, r)
	}
	return nil
}

func (s *source) row(n ast.Node) (row, error) {
	r := row{work: work{node: n}, places: map[string]ast.Node{}}
	fields, err := s.mapping(n, "a step", []string{"number", "title", "resource", "verb", "call", "inputs", "check", "confirm", "budget", "manual",
		"approval", "commits", "undo"}, "number", "title", "resource")
	if err != nil {
		return r, err
	}
	for _, f := range fields {
		r.places[f.name] = f.value
		switch f.name {
		case "number":
			r.node = f.value
			r.number, err = s.number(f)
		case "title":
			r.title, err = s.bilingual(f)
		case "resource":
			r.resource, err = s.text(f)
		case "call":
			r.call = f.value
			_, err = s.text(f)
		case "approval":
			r.approval, err = s.duration(f)
		case "commits":
			r.commits, err = s.truth(f)
		case "undo":
			r.undo, err = s.undo(f)
			r.nothing = r.undo == nil
		default:
			err = s.part(&r.work, f)
		}
		if err != nil {
			return r, err
		}
	}
	budget := r.places["budget"]
	switch {
	case r.verb != nil && r.call != nil:
		return r, s.at(r.call, "step %d has a verb and a call, expected one of them", r.number)
	case r.verb == nil && r.call == nil:
		return r, s.at(r.node, "step %d has no verb and no call, expected one of them", r.number)
	case r.verb != nil && budget == nil:
		return r, s.at(r.node, "step %d has no budget, expected one like \"budget: 30s\"", r.number)
	case r.call != nil && budget != nil:
		return r, s.at(budget, "step %d calls a procedure and has a budget, expected it in the called file", r.number)
	case r.places["undo"] != nil && s.kind != runbook.Planned:
		return r, s.at(r.places["undo"], "step %d has an undo, expected \"kind: %s\" above: anything else goes only forward", r.number, runbook.Planned)
	}
	for _, key := range []string{"manual", "check", "confirm"} {
		if at := r.places[key]; r.call != nil && at != nil {
			return r, s.at(at, "step %d calls a procedure and says %s, expected it in the called file", r.number, key)
		}
	}
	return r, nil
}

// undo reads how a step is taken back: a mapping, or the word nothing.
func (s *source) undo(f field) (*work, error) {
	if t, ok := f.value.(*ast.StringNode); ok {
		if t.Value != "nothing" {
			return nil, s.at(f.value, "undo is %q, expected a mapping with verb, inputs and budget, or \"nothing\" where the act leaves nothing to take back", t.Value)
		}
		return nil, nil
	}
	return s.work(f, []string{"verb", "inputs", "check", "confirm", "budget", "manual"}, "verb", "budget")
}

// work reads a part of a step that is a mapping of its own.
func (s *source) work(f field, known []string, need ...string) (*work, error) {
	w := &work{node: f.value}
	fields, err := s.mapping(f.value, f.name, known, need...)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		if err := s.part(w, f); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// part reads one key of what a step does.
func (s *source) part(w *work, f field) (err error) {
	switch f.name {
	case "verb":
		w.verb = f.value
		_, err = s.text(f)
	case "inputs":
		w.inputs, err = s.mapping(f.value, "inputs", nil)
	case "budget":
		w.budget, err = s.duration(f)
	case "manual":
		w.manual, err = s.truth(f)
	case "check":
		w.check, err = s.work(f, []string{"verb", "inputs"}, "verb")
	case "confirm":
		w.confirm, err = s.work(f, []string{"verb", "inputs"}, "verb")
	}
	return err
}

// mapping reads the fields of a mapping. known: the names it may have, nil for any; need: the ones that it must have.
func (s *source) mapping(n ast.Node, what string, known []string, need ...string) ([]field, error) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		return nil, s.at(n, "%s is %s, expected a mapping", what, kind(n))
	}
	var out []field
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			return nil, s.at(v.Key, "a key of %s is %s, expected a name", what, kind(v.Key))
		}
		if known != nil && !slices.Contains(known, key.Value) {
			return nil, s.at(key, "%s has no key %q: %s", what, key.Value, expected(key.Value, known))
		}
		if slices.ContainsFunc(out, func(f field) bool { return f.name == key.Value }) {
			return nil, s.at(key, "%s has the key %q twice", what, key.Value)
		}
		out = append(out, field{key.Value, key, v.Value})
	}
	for _, name := range need {
		if !slices.ContainsFunc(out, func(f field) bool { return f.name == name }) {
			return nil, s.at(n, "%s has no %s", what, name)
		}
	}
	return out, nil
}

// bilingual reads a title: {ja: …, en: …}, or one text.
func (s *source) bilingual(f field) (runbook.Title, error) {
	if t, ok := f.value.(*ast.StringNode); ok && t.Value != "" {
		return runbook.Title{EN: t.Value}, nil
	}
	fields, err := s.mapping(f.value, f.name, []string{"ja", "en"}, "ja", "en")
	if err != nil {
		return runbook.Title{}, err
	}
	var t runbook.Title
	for _, l := range fields {
		text, err := s.text(l)
		if err != nil {
			return t, err
		}
		if l.name == "ja" {
			t.JA = text
		} else {
			t.EN = text
		}
	}
	return t, nil
}

func (s *source) text(f field) (string, error) {
	t, ok := f.value.(*ast.StringNode)
	if !ok || strings.TrimSpace(t.Value) == "" {
		return "", s.at(f.value, "%s is %s, expected a text", f.name, kind(f.value))
	}
	return t.Value, nil
}

func (s *source) number(f field) (int, error) {
	if n, ok := f.value.(*ast.IntegerNode); ok {
		switch v := n.Value.(type) {
		case uint64:
			if v >= 1 && v < 1000 {
				return int(v), nil
			}
		case int64:
			return 0, s.at(f.value, "%s is %d, expected a number from 1", f.name, v)
		}
	}
	return 0, s.at(f.value, "%s is %s, expected a number from 1", f.name, f.value)
}

func (s *source) duration(f field) (time.Duration, error) {
	t, ok := f.value.(*ast.StringNode)
	if !ok {
		return 0, s.at(f.value, "%s is %s, expected a time like 30s or 5m", f.name, f.value)
	}
	d, err := time.ParseDuration(t.Value)
	if err != nil || d <= 0 {
		return 0, s.at(f.value, "%s is %q, expected a time like 30s or 5m", f.name, t.Value)
	}
	return d, nil
}

func (s *source) truth(f field) (bool, error) {
	b, ok := f.value.(*ast.BoolNode)
	if !ok {
		return false, s.at(f.value, "%s is %s, expected true or false", f.name, f.value)
	}
	return b.Value, nil
}

// value turns a node into plain data and puts the bound inputs into the places of their names. There is nothing else to
// compute: a value is written, or it is "$name" as a whole.
func (s *source) value(n ast.Node, bound map[string]any) (any, error) {
	switch v := n.(type) {
	case *ast.StringNode:
		name, refers := strings.CutPrefix(v.Value, "$")
		switch {
		case refers:
			given, ok := bound[name]
			if !ok {
				return nil, s.at(n, "%q is no declared input: %s", v.Value, expected(name, slices.Collect(maps.Keys(bound))))
			}
			return given, nil
		case strings.Contains(v.Value, "$"):
			return nil, s.at(n, "%q has a $ inside, expected a plain value or the name of one input as a whole, like $region", v.Value)
		}
		return v.Value, nil
	case *ast.LiteralNode: // a block of text, as scripts are written: its $ are its own
		return v.Value.Value, nil
	case *ast.IntegerNode:
		switch i := v.Value.(type) {
		case uint64:
			return int64(i), nil
		case int64:
			return i, nil
		}
	case *ast.BoolNode:
		return v.Value, nil
	case *ast.SequenceNode:
		list := []any{}
		for _, x := range v.Values {
			e, err := s.value(x, bound)
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		return list, nil
	case *ast.MappingNode, *ast.MappingValueNode:
		fields, err := s.mapping(n, "a value", nil)
		if err != nil {
			return nil, err
		}
		m := map[string]any{}
		for _, f := range fields {
			if m[f.name], err = s.value(f.value, bound); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return nil, s.at(n, "%s, expected a text, a number, true or false, a list or a mapping", kind(n))
}

// kind says what a node is, in words.
func kind(n ast.Node) string {
	switch n := n.(type) {
	case *ast.NullNode:
		return "empty"
	case *ast.StringNode:
		if strings.TrimSpace(n.Value) == "" {
			return "empty"
		}
		return fmt.Sprintf("the text %q", n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.IntegerNode, *ast.FloatNode:
		return "the number " + n.String()
	case *ast.BoolNode:
		return n.String()
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		return "an anchor, alias, tag or merge key (" + n.String() + ")"
	default:
		return n.String()
	}
}
