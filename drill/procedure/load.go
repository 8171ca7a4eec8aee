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
	l := &loader{fsys: fsys, verbs: verbs, places: map[string]place{}}
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
	l.kind = s.kind
	rb := runbook.Runbook{Name: s.name, Title: s.title, Kind: s.kind, Inputs: inputs}
	if rb.Steps, err = l.steps(s, inputs, "", nil, []string{file}); err != nil {
		return rb, err
	}
	for _, step := range rb.Steps {
		if at := l.places[step.Path]; verbs[step.Verb].Approved && step.Approval == 0 {
			return rb, at.source.at(at.node, "step %s uses %s, which another person must approve: expected an approval", step.Path, step.Verb)
		}
		if u := step.Undo; u != nil && verbs[u.Verb].Approved {
			at := l.places[step.Path]
			return rb, at.source.at(at.node, "step %s is undone by %s, which another person must approve, and nobody is asked while a run is taken back", step.Path, u.Verb)
		}
	}
	var fault *runbook.FaultError
	if err := rb.Validate(); errors.As(err, &fault) {
		if at, ok := l.places[fault.Step]; ok {
			return rb, at.source.at(at.node, "%s", fault.Says)
		}
		return rb, s.at(s.node, "%s", fault.Says)
	}
	return rb, nil
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
	fsys   fs.FS
	verbs  Verbs
	kind   runbook.Kind     // of the outermost procedure
	places map[string]place // of steps, by their paths
}

// place is where something stands in the files.
type place struct {
	source *source
	node   ast.Node
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
			l.places[number] = place{s, r.node}
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
		if err := l.given(s, r, bound, steps); err != nil {
			return nil, err
		}
		out = append(out, steps...)
	}
	return out, nil
}

// given puts what a row says of the procedure that it calls onto its step, if that is one step: how it is approved, that it
// commits, and how it is taken back depend on who calls it.
func (l *loader) given(s *source, r row, bound map[string]any, steps []runbook.Step) error {
	for _, key := range []string{"approval", "commits", "undo"} {
		if at := r.places[key]; at != nil && len(steps) != 1 {
			return s.at(at, "step %d calls %d steps and says %s, expected it in the called file", r.number, len(steps), key)
		}
	}
	if len(steps) != 1 {
		return nil
	}
	step := &steps[0]
	l.places[step.Path] = place{s, r.node}
	undo, err := l.undo(s, r, bound)
	if undo != nil {
		step.Undo = undo
	}
	if r.approval > 0 {
		step.Approval = r.approval
	}
	step.Commits = step.Commits || r.commits
	return err
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
	d, err := l.bind(s, r.work, bound)
	if err != nil {
		return runbook.Step{}, err
	}
	undo, err := l.undo(s, r, bound)
	if err != nil {
		return runbook.Step{}, err
	}
	return runbook.Step{Title: r.title, Resource: r.resource, Verb: d.verb, Inputs: d.inputs, Check: d.check, Confirm: d.confirm, Budget: r.budget,
		Manual: r.manual, Approval: r.approval, Commits: r.commits, Undo: undo, Action: d.action}, nil
}

// undo binds how a row is taken back; nil if it does not say.
func (l *loader) undo(s *source, r row, bound map[string]any) (*runbook.Undo, error) {
	at := r.places["undo"]
	if at == nil {
		return nil, nil
	}
	if l.kind != runbook.Planned {
		return nil, s.at(at, "step %d has an undo, and the procedure that was asked for is no %s: it goes only forward", r.number, runbook.Planned)
	}
	if r.nothing {
		return &runbook.Undo{Nothing: true}, nil
	}
	d, err := l.bind(s, *r.undo, bound)
	if err != nil {
		return nil, err
	}
	return &runbook.Undo{Verb: d.verb, Inputs: d.inputs, Check: d.check, Confirm: d.confirm, Budget: r.undo.budget, Manual: r.undo.manual, Action: d.action}, nil
}

// deed is bound work.
type deed struct {
	verb           string
	inputs         Values
	check, confirm *runbook.Read
	action         runbook.Action
}

// bind binds a verb with its inputs and the reads that stand beside it.
func (l *loader) bind(s *source, w work, bound map[string]any) (d deed, err error) {
	verb, places, err := l.verb(s, w, bound, &d)
	if err != nil {
		return d, err
	}
	if verb.Bind == nil {
		return d, s.at(w.verb, "%s only reads, expected it as the verb of a check or a confirm", d.verb)
	}
	if verb.Unproved && w.confirm == nil {
		return d, s.at(w.verb, "%s does not show by itself that it was done, expected a confirm", d.verb)
	}
	if d.action, err = verb.Bind(d.inputs); err != nil {
		return d, s.misfit(w, d.verb, places, err)
	}
	if w.check == nil && w.confirm == nil {
		return d, nil
	}
	c := attended{Action: d.action}
	if d.check, c.check, err = l.read(s, w.check, bound); err != nil {
		return d, err
	}
	if d.confirm, c.confirm, err = l.read(s, w.confirm, bound); err != nil {
		return d, err
	}
	d.action = c
	return d, nil
}

// read binds a read; none gives none.
func (l *loader) read(s *source, w *work, bound map[string]any) (*runbook.Read, Reader, error) {
	if w == nil {
		return nil, nil, nil
	}
	var d deed
	verb, places, err := l.verb(s, *w, bound, &d)
	if err != nil {
		return nil, nil, err
	}
	if verb.Read == nil {
		var reads []string
		for name, v := range l.verbs {
			if v.Read != nil {
				reads = append(reads, name)
			}
		}
		return nil, nil, s.at(w.verb, "%s is no read: %s", d.verb, expected(d.verb, reads))
	}
	r, err := verb.Read(d.inputs)
	if err != nil {
		return nil, nil, s.misfit(*w, d.verb, places, err)
	}
	return &runbook.Read{Verb: d.verb, Inputs: d.inputs}, r, nil
}

// verb finds a verb and takes its inputs.
func (l *loader) verb(s *source, w work, bound map[string]any, d *deed) (Verb, map[string]ast.Node, error) {
	d.verb = w.verb.(*ast.StringNode).Value
	verb, ok := l.verbs[d.verb]
	if !ok {
		return verb, nil, s.at(w.verb, "there is no verb %q: %s", d.verb, expected(d.verb, slices.Collect(maps.Keys(l.verbs))))
	}
	known := []string{}
	d.inputs = Values{}
	for _, in := range verb.Inputs {
		known = append(known, in.Name)
		if in.Default != nil {
			d.inputs[in.Name] = in.Default
		}
	}
	places := map[string]ast.Node{}
	for _, f := range w.inputs {
		i := slices.Index(known, f.name)
		if i < 0 {
			return verb, nil, s.at(f.key, "%s has no input %q: %s", d.verb, f.name, expected(f.name, known))
		}
		v, err := s.value(f.value, bound)
		if err != nil {
			return verb, nil, err
		}
		if d.inputs[f.name], err = verb.Inputs[i].accept(v); err != nil {
			return verb, nil, s.at(f.value, "%v", err)
		}
		places[f.name] = f.value
	}
	if missing := without(known, slices.Collect(maps.Keys(d.inputs))); len(missing) > 0 {
		return verb, nil, s.at(w.verb, "%s needs the input %s", d.verb, strings.Join(missing, ", "))
	}
	return verb, places, nil
}

// misfit shows what a verb says of its inputs at the place of the one that it is about.
func (s *source) misfit(w work, verb string, places map[string]ast.Node, err error) error {
	at := w.verb
	if in := (*InputError)(nil); errors.As(err, &in) && places[in.Input] != nil {
		at = places[in.Input]
	}
	return s.at(at, "%s: %v", verb, err)
}

// beside is the path of a called file: it is written relative to the file that calls it.
func beside(file string, call ast.Node) string {
	return path.Join(path.Dir(file), call.(*ast.StringNode).Value)
}

// without returns the names that are not among the given ones, in their order.
func without(names, given []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(given, n) })
}
