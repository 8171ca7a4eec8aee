package procedure

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/fixtures"
)

// Load reads a procedure file and everything that it calls, binds the inputs and gives the runbook. Every mistake in the files
// is one *PlaceError, found before anything runs.
func Load(fsys fs.FS, file string, inputs map[string]any, verbs Verbs) (runbook.Runbook, error) {
	l := &loader{fsys: fsys, verbs: verbs}
	s, err := read(fsys, file)
	if err != nil {
		return runbook.Runbook{}, err
	}
	given := slices.Collect(maps.Keys(inputs))
	for _, name := range given {
		if !slices.Contains(s.inputs, name) {
			return runbook.Runbook{}, fmt.Errorf("%s: procedure %s has no input %q: %s", file, s.name, name, expected(name, s.inputs))
		}
	}
	if missing := without(s.inputs, given); len(missing) > 0 {
		return runbook.Runbook{}, fmt.Errorf("%s: procedure %s needs the inputs %s, and %s was not given", file, s.name,
			strings.Join(s.inputs, ", "), strings.Join(missing, ", "))
	}
	rb := runbook.Runbook{Name: s.name, Title: s.title, Inputs: inputs}
	rb.Steps, err = l.steps(s, inputs, "", nil, []string{file})
	return rb, err
}

// Inputs lists the inputs that a procedure file declares, in its order.
func Inputs(fsys fs.FS, file string) ([]string, error) {
	s, err := read(fsys, file)
	if err != nil {
		return nil, err
	}
	return s.inputs, nil
}

// Find says where a procedure is: a file on disk if there is one of this name, else a procedure of the program by its name
// ("switchover", "known_bad/switchover-no-drain").
func Find(name string) (fsys fs.FS, file string, err error) {
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return disk{}, name, nil
	}
	own := path.Join("procedures", strings.TrimSuffix(name, ".yaml")+".yaml")
	if _, err := fs.Stat(fixtures.FS, own); err == nil {
		return fixtures.FS, own, nil
	}
	return nil, "", fmt.Errorf("there is no file %s and no procedure of that name: %s", name, expected(name, Names()))
}

// Names lists the procedures of the program that can be run by themselves: those that no other one calls.
func Names() []string {
	var names []string
	called := map[string]bool{}
	_ = fs.WalkDir(fixtures.FS, "procedures", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(file) != ".yaml" {
			return err
		}
		s, err := read(fixtures.FS, file)
		if err != nil {
			return err // the program's own files are read by its tests
		}
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(file, "procedures/"), ".yaml"))
		for _, r := range s.rows {
			if r.call != nil {
				called[strings.TrimSuffix(strings.TrimPrefix(beside(file, r.call), "procedures/"), ".yaml")] = true
			}
		}
		return nil
	})
	return slices.DeleteFunc(names, func(n string) bool { return called[n] })
}

// disk is the user's files, by the paths that the user writes; fs.FS alone would refuse ".." and "/".
type disk struct{}

func (disk) Open(name string) (fs.File, error) { return os.Open(name) }

type loader struct {
	fsys  fs.FS
	verbs Verbs
}

// steps flattens one procedure. prefix is the path of the row that called it, stack the files that are being read.
func (l *loader) steps(s *source, bound map[string]any, prefix string, under []runbook.Call, stack []string) ([]runbook.Step, error) {
	var out []runbook.Step
	for _, r := range s.rows {
		number := prefix + strconv.Itoa(r.number)
		if r.call == nil {
			step, err := l.step(s, r, bound)
			if err != nil {
				return nil, err
			}
			step.Path, step.Under = number, under
			out = append(out, step)
			continue
		}
		file := beside(s.file, r.call)
		if slices.Contains(stack, file) {
			return nil, s.at(r.call, "the call goes in a circle: %s", strings.Join(append(slices.Clone(stack), file), " → "))
		}
		called, err := read(l.fsys, file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, s.at(r.call, "there is no file %s", file)
		}
		if err != nil {
			return nil, err
		}
		inputs, err := l.arguments(s, r, called, bound)
		if err != nil {
			return nil, err
		}
		call := runbook.Call{Path: number, Title: r.title, Resource: r.resource, File: r.call.(*ast.StringNode).Value}
		steps, err := l.steps(called, inputs, number+".", append(slices.Clone(under), call), append(slices.Clone(stack), file))
		if err != nil {
			return nil, err
		}
		out = append(out, steps...)
	}
	return out, nil
}

// arguments are the inputs that a call gives to the procedure it calls.
func (l *loader) arguments(s *source, r row, called *source, bound map[string]any) (map[string]any, error) {
	inputs := map[string]any{}
	for _, f := range r.inputs {
		if !slices.Contains(called.inputs, f.name) {
			return nil, s.at(f.key, "%s has no input %q: %s", called.file, f.name, expected(f.name, called.inputs))
		}
		v, err := s.value(f.value, bound)
		if err != nil {
			return nil, err
		}
		inputs[f.name] = v
	}
	if missing := without(called.inputs, slices.Collect(maps.Keys(inputs))); len(missing) > 0 {
		return nil, s.at(r.call, "the call of %s does not give its input %s", called.file, strings.Join(missing, ", "))
	}
	return inputs, nil
}

// step binds one row that has a verb.
func (l *loader) step(s *source, r row, bound map[string]any) (runbook.Step, error) {
	name := r.verb.(*ast.StringNode).Value
	verb, ok := l.verbs[name]
	if !ok {
		return runbook.Step{}, s.at(r.verb, "there is no verb %q: %s", name, expected(name, slices.Collect(maps.Keys(l.verbs))))
	}
	known := []string{}
	for _, in := range verb.Inputs {
		known = append(known, in.Name)
	}
	values := Values{}
	places := map[string]ast.Node{}
	for _, f := range r.inputs {
		i := slices.Index(known, f.name)
		if i < 0 {
			return runbook.Step{}, s.at(f.key, "%s has no input %q: %s", name, f.name, expected(f.name, known))
		}
		v, err := s.value(f.value, bound)
		if err != nil {
			return runbook.Step{}, err
		}
		if values[f.name], err = verb.Inputs[i].accept(v); err != nil {
			return runbook.Step{}, s.at(f.value, "%v", err)
		}
		places[f.name] = f.value
	}
	if missing := without(known, slices.Collect(maps.Keys(values))); len(missing) > 0 {
		return runbook.Step{}, s.at(r.verb, "%s needs the input %s", name, strings.Join(missing, ", "))
	}
	action, err := verb.Bind(values)
	if err != nil {
		at := r.verb
		if in := (*InputError)(nil); errors.As(err, &in) && places[in.Input] != nil {
			at = places[in.Input]
		}
		return runbook.Step{}, s.at(at, "%s: %v", name, err)
	}
	return runbook.Step{Title: r.title, Resource: r.resource, Verb: name, Inputs: values, Budget: r.budget, Manual: r.manual, Action: action}, nil
}

// beside is the path of a called file: it is written relative to the file that calls it.
func beside(file string, call ast.Node) string {
	return path.Join(path.Dir(file), call.(*ast.StringNode).Value)
}

// without returns the names that are not among the given ones, in their order.
func without(names, given []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(given, n) })
}
