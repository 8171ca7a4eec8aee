package images

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// exact are inputs that are known: every image has the digest 1.
func exact(t Table) inputs {
	in := inputs{plans: map[string]plan{}, why: map[string]error{}}
	for _, e := range t.Entries {
		in.plans[e.Name] = plan{entry: e, tag: repository(e.Name) + ":1"}
	}
	return in
}

func builtLabels(name string) map[string]string {
	return map[string]string{LabelImage: name, LabelInputs: "x", LabelVersion: "9.7.4"}
}

func TestResolve(t *testing.T) {
	table, err := DefaultTable()
	if err != nil {
		t.Fatal(err)
	}
	silent := func(context.Context, string) error { return errors.New("dial tcp: no such host") }
	hangs := func(ctx context.Context, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	}
	ours := []string{"kirikae/wan:1", "kirikae/payment:1"}
	all := append([]string{"kirikae/cassandra:1", "kirikae/mysql:1"}, ours...)
	for _, c := range []struct {
		name   string
		policy Policy
		have   []string
		pulls  map[string]error
		ask    func(context.Context, string) error
		want   map[string]string // image → reference
		error  []string          // parts of the error
		asked  int
		pulled int
	}{
		{name: "built, all there", policy: Built, have: append([]string{"mysql:9.7"}, all...),
			want: map[string]string{"mysql": "kirikae/mysql:1", "cassandra": "kirikae/cassandra:1", "wan": "kirikae/wan:1"}},
		{name: "built, none there", policy: Built, have: []string{"mysql:9.7", "cassandra:5.0"},
			error: []string{"cassandra (none was built here)", "mysql (none was built here)", "wan (none was built here)", "payment (none was built here)", "make images"}},
		{name: "built from other inputs", policy: Built, have: []string{"kirikae/cassandra:0", "kirikae/mysql:1", "kirikae/wan:1", "kirikae/payment:1"},
			error: []string{"cassandra (kirikae/cassandra:0 was built from other inputs than this program's, kirikae/cassandra:1 is wanted)"}},
		{name: "auto, official there", policy: Auto, have: append([]string{"mysql:9.7", "cassandra:5.0.9", "cassandra:5.0"}, all...),
			want: map[string]string{"mysql": "mysql:9.7", "cassandra": "cassandra:5.0.9", "payment": "kirikae/payment:1"}},
		{name: "auto, registry out of reach", policy: Auto, have: all, ask: silent, asked: 1,
			want: map[string]string{"mysql": "kirikae/mysql:1", "cassandra": "kirikae/cassandra:1"}},
		{name: "auto, registry hangs", policy: Auto, have: all, ask: hangs, asked: 1,
			want: map[string]string{"mysql": "kirikae/mysql:1", "cassandra": "kirikae/cassandra:1"}},
		{name: "auto, pullable", policy: Auto, have: all, pulls: map[string]error{"cassandra:5.0": nil, "mysql:9.7.4": nil}, asked: 3, pulled: 2,
			want: map[string]string{"mysql": "mysql:9.7.4", "cassandra": "cassandra:5.0"}},
		{name: "auto, pull fails", policy: Auto, have: all, pulls: map[string]error{"mysql:9.7.4": errors.New("disk is full")}, asked: 4, pulled: 1,
			want: map[string]string{"mysql": "kirikae/mysql:1"}},
		{name: "auto, nothing at all", policy: Auto, ask: silent, asked: 1,
			error: []string{"cassandra (cassandra:5.0.9 is not here: docker.io gives no answer; cassandra:5.0 is not here: docker.io gives no answer; none was built here)", "(docker.io: dial tcp: no such host)", "make images"}},
		{name: "official, there", policy: Official, have: append([]string{"mysql:9.7.4", "cassandra:5.0"}, ours...),
			want: map[string]string{"mysql": "mysql:9.7.4", "cassandra": "cassandra:5.0", "wan": "kirikae/wan:1"}},
		{name: "official, out of reach", policy: Official, have: all, ask: silent, asked: 1,
			error: []string{"mysql (mysql:9.7.4 is not here: docker.io gives no answer", "pull it where a registry can be reached"}},
		{name: "official, not published", policy: Official, have: all, asked: 4, error: []string{"mysql:9.7 is not here: manifest unknown"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			f.ask = c.ask
			if c.pulls != nil {
				f.pulls = c.pulls
			}
			for _, ref := range c.have {
				if name, ours := strings.CutPrefix(ref, "kirikae/"); ours {
					f.have(ref, builtLabels(strings.Split(name, ":")[0]))
				} else {
					f.have(ref, nil)
				}
			}
			var said []string
			r := NewResolver(f, Options{Answer: 50 * time.Millisecond, Say: func(l string) { said = append(said, l) }})
			set, err := r.resolve(t.Context(), c.policy, table, exact(table))
			if c.error == nil && err != nil {
				t.Fatal(err)
			}
			if c.error != nil {
				if !errors.Is(err, topology.ErrEnvironment) {
					t.Fatalf("error %v", err)
				}
				for _, part := range c.error {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error %v\nhas no %q", err, part)
					}
				}
			}
			for name, ref := range c.want {
				im, err := set.Get(name)
				if err != nil {
					t.Fatal(err)
				}
				official := !strings.HasPrefix(ref, "kirikae/")
				if im.Reference != ref || im.ID != "sha256:of-"+ref || (im.Source == SourceOfficial) != official || (im.Install != nil) != official || im.User == "" || (im.Version == "") != official {
					t.Errorf("%s: %+v, want %s", name, im, ref)
				}
				if !slices.ContainsFunc(said, func(l string) bool { return strings.Contains(l, ref) }) {
					t.Errorf("%s was not said: %v", ref, said)
				}
			}
			if n := f.count("ask"); n != c.asked {
				t.Errorf("a registry was asked %d times, want %d: %v", n, c.asked, f.calls)
			}
			if n := f.count("pull"); n != c.pulled {
				t.Errorf("%d pulls, want %d: %v", n, c.pulled, f.calls)
			}
			// What failed once is not tried again.
			if _, again := r.resolve(t.Context(), c.policy, table, exact(table)); (again == nil) != (err == nil) {
				t.Errorf("again: %v", again)
			}
			if n := f.count(""); n != c.asked+c.pulled {
				t.Errorf("it was tried again: %v", f.calls)
			}
		})
	}
}

// Where nobody can tell what an image should hold, the newest is taken, and it is said.
func TestResolveWithoutInputs(t *testing.T) {
	table, err := DefaultTable()
	if err != nil {
		t.Fatal(err)
	}
	in := exact(table)
	f := newFake()
	for _, e := range table.Entries {
		in.why[e.Name] = errors.New("not provisioned")
		f.have(repository(e.Name)+":older", builtLabels(e.Name))
		f.have(repository(e.Name)+":the-newest", builtLabels(e.Name)) // the fake's longest name is the newest
	}
	var said []string
	set, err := NewResolver(f, Options{Say: func(l string) { said = append(said, l) }}).resolve(t.Context(), Built, table, in)
	if err != nil {
		t.Fatal(err)
	}
	if got := set["mysql"].Reference; got != "kirikae/mysql:the-newest" {
		t.Error(got)
	}
	if !slices.ContainsFunc(said, func(l string) bool { return strings.Contains(l, "not provisioned") }) {
		t.Error(said)
	}
	images := set.Images()
	if len(images) != 4 || images[0].Name != "cassandra" || images[3].Name != "wan" {
		t.Error(images)
	}
	if _, err := set.Get("mysq"); err == nil || !strings.Contains(err.Error(), `did you mean "mysql"`) {
		t.Error(err)
	}
}

func TestResolveStopsWhenToldTo(t *testing.T) {
	table, err := DefaultTable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	f := newFake()
	why := fmt.Errorf("the user wants to go home")
	f.ask = func(ctx context.Context, _ string) error {
		stop(why)
		<-ctx.Done()
		return ctx.Err()
	}
	if _, err := NewResolver(f, Options{}).resolve(ctx, Auto, table, exact(table)); !errors.Is(err, why) || errors.Is(err, topology.ErrEnvironment) {
		t.Error(err)
	}
}
