package hosted

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wire"
)

// TestCreateFails: whatever goes wrong while a world is made is the error, and nothing is left.
func TestCreateFails(t *testing.T) {
	refusal := errors.New("no room for networks")
	for _, c := range []struct {
		name  string
		spec  func(s *Spec)
		make  func(f *fake)
		want  []string
		is    error
		downs int
	}{
		{name: "the plumbing", make: func(f *fake) { f.broken = refusal }, is: refusal, downs: 1},
		{name: "a start", make: func(f *fake) {
			f.starts = func(_ context.Context, n plan.Node) error {
				if n.Name == "osaka-params-1" {
					return refusal
				}
				return nil
			}
		}, is: refusal, downs: 1},
		{name: "a death", make: func(f *fake) {
			f.then = func(n plan.Node) {
				if n.Name == "osaka-mysql-1" {
					f.mu.Lock()
					f.log[n.Name] = []string{"cannot open the disk"}
					f.mu.Unlock()
					f.die(n, "exit status 3")
				}
			}
		}, want: []string{"osaka-mysql-1 died: exit status 3", "cannot open the disk"}, is: topology.ErrEnvironment, downs: 1},
		{name: "the addresses", spec: func(s *Spec) { s.Free = func(context.Context, plan.Plan) error { return refusal } }, is: refusal},
		{name: "the sweep", spec: func(s *Spec) { s.Sweep = func(context.Context) ([]string, error) { return nil, refusal } }, is: refusal},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := testHost(t)
			var f *fake
			s := Spec{Prefix: plan.Loopback, Octet: 0, Make: func(g Ground) Machines {
				f = newFake(g)
				if c.make != nil {
					c.make(f)
				}
				return f
			}}
			if c.spec != nil {
				c.spec(&s)
			}
			folder := t.TempDir()
			_, err := h.Create(t.Context(), twoRegion(t), topology.Options{Folder: folder}, s)
			if !errors.Is(err, c.is) {
				t.Errorf("%v", err)
			}
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
			if f != nil && f.downs != c.downs || f == nil && c.downs != 0 {
				t.Errorf("machines %+v, wanted them down %d times", f, c.downs)
			}
			if left, err := filepath.Glob(filepath.Join(h.Worlds(), "*")); err != nil || len(left) != 0 {
				t.Errorf("left %v, %v", left, err)
			}
			if _, err := os.Stat(WorldFile(folder)); !absent(err) {
				t.Errorf("a world that never was has a file: %v", err)
			}
		})
	}
}

// TestGiven: a world that somebody else made has its name, secret and wiring; only the addresses are taken as always.
func TestGiven(t *testing.T) {
	h := testHost(t)
	raised, asked := 0, 0
	given := func(octet int, complete error) Spec {
		return Spec{
			Prefix: plan.Loopback, Octet: octet, ID: "given", Make: func(g Ground) Machines { return newFake(g) },
			Complete: func(_ context.Context, s *Spec) error {
				asked++
				s.Secret, s.Images = "known", []topology.Image{{Name: "mysql"}}
				return complete
			},
			Raise: func(_ context.Context, c *wire.Console) error {
				raised++
				if c.Secret != "known" {
					t.Errorf("it is raised with %q", c.Secret)
				}
				return c.Confirm("mysql", "9.7.4")
			},
		}
	}
	refusal := errors.New("it is not as it was")
	if _, err := h.Create(t.Context(), twoRegion(t), topology.Options{Folder: t.TempDir()}, given(0, refusal)); !errors.Is(err, refusal) || raised != 0 {
		t.Errorf("%v, raised %d times", err, raised)
	}
	w, err := h.Create(t.Context(), twoRegion(t), topology.Options{Folder: t.TempDir()}, given(0, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Down(t.Context())
	a := w.About()
	if a.ID != "given" || a.Secret != "known" || len(a.Images) != 1 || a.Engines["mysql"] != "9.7.4" || raised != 1 || asked != 2 {
		t.Errorf("%+v, raised %d times, completed %d times", a, raised, asked)
	}
	for _, n := range w.Nodes("", "") {
		if s, err := n.State(t.Context()); err != nil || s != topology.Stopped {
			t.Errorf("%s is %s, %v: nobody asked to start it", n.Name(), s, err)
		}
	}
	octet := w.(*world).file.Plan.Octet
	_, err = h.Create(t.Context(), twoRegion(t), topology.Options{Folder: t.TempDir()}, given(octet, nil))
	if err == nil || !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "belongs to world given of process") || asked != 2 {
		t.Errorf("taken twice: %v, completed %d times", err, asked)
	}
	again, err := h.Attach(t.Context(), filepath.Dir(w.(*world).file.Logs))
	if err != nil {
		t.Fatalf("after somebody else wanted it: %v", err)
	}
	again.Close()
}

func TestPlanted(t *testing.T) {
	for _, c := range []struct {
		in     map[string][]string
		bypass bool
		bad    string
	}{
		{nil, false, ""},
		{map[string][]string{"app": {"--defect", "ack-before-commit"}}, false, ""},
		{map[string][]string{"wan": {"bypass"}}, true, ""},
		{map[string][]string{"wan": {"bypas"}}, false, `did you mean "bypass"?`},
		{map[string][]string{"ap": {"x"}}, false, `did you mean "app"?`},
		{map[string][]string{"mysql": {"--x"}}, false, `unknown kind of node "mysql"`},
	} {
		got, err := planted(c.in)
		if got != c.bypass || (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%v: %v, %v", c.in, got, err)
		}
	}
}

func TestConfirm(t *testing.T) {
	w := newOwned(testHost(t), Spec{}, func(string) {})
	w.file.Engines = map[string]string{"mysql": "9.7.4"}
	for _, c := range []struct {
		engine, got string
		ok          bool
	}{
		{"mysql", "9.7.4", true},
		{"mysql", "9.7.4-1", true},
		{"mysql", "9.7.40", false},
		{"mysql", "8.4.0", false},
		{"cassandra", "5.0.9", true}, // not known before: taken
		{"cassandra", "5.0.8", false},
	} {
		if err := w.confirm(c.engine, c.got); (err == nil) != c.ok || err != nil && !errors.Is(err, topology.ErrEnvironment) {
			t.Errorf("%s %s: %v", c.engine, c.got, err)
		}
	}
}
