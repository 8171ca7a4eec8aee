package procedure

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// askable is a land whose servers can be asked, with a run folder.
type askable struct {
	*land
	folder  string
	answers map[string][][]string // statement → rows
	pages   map[string]string     // path → body
}

func (a *askable) Folder() string { return a.folder }

func (a *askable) Database(site topology.Site) (Database, error) {
	return struct {
		Database
		Querier
	}{a.db, a}, a.at(site)
}

func (a *askable) Ring(site topology.Site) (Ring, error) {
	return struct {
		Ring
		Querier
	}{ring{a.land, site}, a}, a.at(site)
}

func (a *askable) Query(_ context.Context, statement string) ([][]string, error) {
	rows, ok := a.answers[statement]
	if !ok {
		return nil, errors.New("no such table")
	}
	return rows, nil
}

func (a *askable) Get(_ context.Context, n topology.Node, path string) (int, []byte, error) {
	body, ok := a.pages[path]
	switch {
	case body == "hang up":
		return 0, nil, errors.New("connection reset")
	case !ok:
		return 404, []byte("no " + path + "\n"), nil
	}
	return 200, []byte(body), nil
}

func newAskable(t testing.TB) *askable {
	return &askable{newLand(), t.TempDir(), map[string][][]string{
		"SELECT @@global.super_read_only":      {{"0"}},
		"SELECT data_center FROM system.local": {{"osaka"}},
		"SELECT two":                           {{"1", "2"}},
		"SELECT none":                          {},
		"SELECT many":                          {{"1"}, {"2"}},
	}, map[string]string{"/healthz": "ok", "/broken": "hang up"}}
}

func ask(t *testing.T, e Estate, l *land, verb string, in Values) (runbook.Seen, error) {
	t.Helper()
	v := Standard(l.topology, e)[verb]
	values := Values{}
	for _, i := range v.Inputs {
		if i.Default != nil {
			values[i.Name] = i.Default
		}
	}
	for name, x := range in {
		values[name] = x
	}
	r, err := v.Read(values)
	if err != nil {
		return nil, err
	}
	return r.Read(t.Context())
}

// Each read is seen to hold, and not to hold for each reason that there is.
func TestReads(t *testing.T) {
	a := newAskable(t)
	if err := os.WriteFile(filepath.Join(a.folder, "here"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, verb string
		in         Values
		want       string // "" holds
	}{
		{"sql", "sql", Values{"region": "osaka", "query": "SELECT @@global.super_read_only", "expect": "0"}, ""},
		{"another value", "sql", Values{"region": "osaka", "query": "SELECT @@global.super_read_only", "expect": "1"}, `mysql of osaka says "0", expected "1"`},
		{"sql fails", "sql", Values{"region": "osaka", "query": "SELECT x", "expect": "1"}, "query mysql of osaka: no such table"},
		{"unreachable", "sql", Values{"region": "tokyo", "query": "SELECT x", "expect": "1"}, "tokyo"},
		{"two columns", "sql", Values{"region": "osaka", "query": "SELECT two", "expect": "1"}, "gives 1 rows of 2 columns, expected one value"},
		{"no row", "sql", Values{"region": "osaka", "query": "SELECT none", "expect": ""}, "gives 0 rows of 0 columns"},
		{"two rows", "sql", Values{"region": "osaka", "query": "SELECT many", "expect": "1"}, "gives 2 rows of 1 columns"},
		{"no read", "sql", Values{"region": "osaka", "query": "DELETE FROM payments", "expect": "1"}, "begins with SELECT or SHOW or WITH"},
		{"two statements", "sql", Values{"region": "osaka", "query": "SELECT 1; DROP TABLE payments", "expect": "1"}, "without a semicolon"},
		{"cql", "cql", Values{"region": "osaka", "query": "select  data_center FROM system.local", "expect": "osaka"}, "no such table"},
		{"cql holds", "cql", Values{"region": "osaka", "query": "SELECT data_center FROM system.local", "expect": "osaka"}, ""},
		{"no read in cql", "cql", Values{"region": "osaka", "query": "TRUNCATE events", "expect": ""}, "begins with SELECT"},
		{"http", "http", Values{"region": "osaka", "nodes": "app", "path": "/healthz", "contains": "ok"}, ""},
		{"another status", "http", Values{"region": "osaka", "nodes": "gateway", "path": "/nothing"}, "osaka-gateway-1 answers /nothing with 404, expected 200: no /nothing"},
		{"expected status", "http", Values{"region": "osaka", "nodes": "gateway", "path": "/nothing", "status": int64(404)}, ""},
		{"another body", "http", Values{"region": "osaka", "nodes": "gateway", "path": "/healthz", "contains": "ko"}, `answers /healthz without "ko": ok`},
		{"no answer", "http", Values{"region": "osaka", "nodes": "gateway", "path": "/broken"}, "get /broken from osaka-gateway-1: connection reset"},
		{"no node", "http", Values{"region": "tokyo", "nodes": "batch", "path": "/healthz"}, "tokyo has no batch node"},
		{"no path", "http", Values{"region": "osaka", "nodes": "gateway", "path": "healthz"}, "a path begins with /"},
		{"no status", "http", Values{"region": "osaka", "nodes": "gateway", "path": "/healthz", "status": int64(7)}, "there is no HTTP status 7"},
		{"script holds", "exec", Values{"script": "test -e \"$F\"", "env": map[string]any{"F": "here"}}, ""},
		{"script does not hold", "exec", Values{"script": "echo not yet; test -e there"}, "the script ended with exit code 1: not yet"},
		{"script is too slow", "exec", Values{"script": "sleep 60", "limit": "50ms"}, "its limit of 50ms ended"},
		{"nothing to run", "exec", Values{"script": " "}, "there is nothing to run"},
		{"a name that is none", "exec", Values{"script": "true", "env": map[string]any{"a-b": "1"}}, `"a-b" is no name of an environment variable`},
		{"a name that is taken", "exec", Values{"script": "true", "env": map[string]any{"PATH": "/"}}, "PATH is set by kirikae"},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := ask(t, a, a.land, c.verb, c.in)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	// A world that offers none of it says so.
	for verb, in := range map[string]Values{
		"sql":  {"region": "osaka", "query": "SELECT 1", "expect": "1"},
		"cql":  {"region": "osaka", "query": "SELECT 1", "expect": "1"},
		"http": {"region": "osaka", "nodes": "app", "path": "/"},
		"exec": {"script": "true"},
	} {
		if _, err := ask(t, a.land, a.land, verb, in); !errors.Is(err, errCannotBeAsked) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// keeping is a stub that keeps files, too.
type keeping struct {
	stub
	kept map[string]string
}

func (k *keeping) Keep(name string, b []byte) (string, error) {
	k.kept[name] = string(b)
	return "kept/" + name, nil
}

func TestExec(t *testing.T) {
	a := newAskable(t)
	act := func(in Values) (runbook.Seen, *keeping, error) {
		t.Helper()
		if in["limit"] == nil {
			in["limit"] = "30s"
		}
		action := bind(t, a.land, "wait", nil) // of another estate
		action, err := Standard(a.topology, a)["exec"].Bind(in)
		if err != nil {
			t.Fatal(err)
		}
		k := &keeping{kept: map[string]string{}}
		saw, err := action.Act(t.Context(), k)
		return saw, k, err
	}
	saw, k, err := act(Values{"script": "echo \"$GREETING from $KIRIKAE_RUN in ${PWD##*/}\"; echo seen >&2", "env": map[string]any{"GREETING": "hello $HOME"}})
	if err != nil {
		t.Fatal(err)
	}
	want := "hello $HOME from run in " + filepath.Base(a.folder) + "\nseen\n"
	if saw["output"] != want || k.kept["output.txt"] != want || saw["exit"] != 0 || saw["kept"] != "kept/output.txt" {
		t.Errorf("%v %v", saw, k.kept)
	}
	saw, _, err = act(Values{"script": "echo broken; exit 7"})
	if err == nil || err.Error() != "the script ended with exit code 7: broken" || saw["exit"] != 7 {
		t.Errorf("%v %v", saw, err)
	}
	saw, k, err = act(Values{"script": "i=0; while [ $i -lt 400 ]; do echo 0123456789; i=$((i+1)); done"})
	if err != nil || len(saw["output"].(string)) > outputInLine+3 || len(k.kept["output.txt"]) != 4400 || saw["bytes"] != int64(4400) {
		t.Errorf("%v, %d bytes kept, %v", saw, len(k.kept["output.txt"]), err)
	}
	// What it started dies with it, when its time ends.
	began := time.Now()
	_, _, err = act(Values{"script": "sleep 300 & echo $! > child; wait", "limit": "3s"})
	if err == nil || !strings.Contains(err.Error(), "its limit of 3s ended") || time.Since(began) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	pid, err := os.ReadFile(filepath.Join(a.folder, "child"))
	if err != nil {
		t.Fatalf("the script did not start its child: %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "stat"))
		if err != nil || strings.Contains(string(b), ") Z ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the script's child is alive: %s", b)
		}
	}
	// A script that the shell cannot read is found before anything runs.
	action, err := Standard(a.topology, a)["exec"].Bind(Values{"script": "if true", "limit": "30s"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := action.Check(t.Context()); err == nil {
		t.Error("a broken script passes the check")
	}
}

// A procedure of a team's own, from its file to its end, without Go.
func TestAnnounce(t *testing.T) {
	a := newAskable(t)
	fsys, file, err := Find("examples/announce")
	if err != nil {
		t.Fatal(err)
	}
	rb, err := Load(fsys, file, map[string]any{"survivor": "osaka"}, Standard(a.topology, a))
	if err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(a.folder, "journal.ndjson")
	a.pages["/healthz"] = "hang up"
	if err := operate(t, journal, rb, a.land); !errors.Is(err, runbook.ErrPreflight) {
		t.Fatalf("its check does not hold, and it runs: %v", err)
	}
	a.pages["/healthz"] = "ok"
	if err := operate(t, journal, rb, a.land); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(a.folder, "notice.txt")); err != nil || string(b) != "payments are taken by osaka\n" {
		t.Errorf("notice %q, %v", b, err)
	}
	if err := operate(t, journal, rb, a.land); err != nil { // again: nothing is left to do
		t.Fatal(err)
	}
}

const own = `name: own
title: Own
kind: planned switchover
steps:
  - number: 1
    title: Do
    resource: x
    verb: exec
    inputs:
      script: |
        touch "$F"
      env: {F: done}
    confirm: {verb: exec, inputs: {script: test -e done}}
    budget: 10s
    undo: {verb: exec, inputs: {script: rm -f done}, confirm: {verb: exec, inputs: {script: test ! -e done}}, budget: 10s}
  - number: 2
    title: Called
    resource: x
    call: lower.yaml
    undo: nothing
  - number: 3
    title: Flip
    resource: x
    verb: wait
    confirm: {verb: exec, inputs: {script: test -e flipped}}
    budget: 30ms
    approval: 1m
    commits: true
`

const ownLower = `name: lower
title: Lower
steps:
  - number: 1
    title: Look
    resource: x
    verb: wait
    confirm: {verb: exec, inputs: {script: "true"}}
    budget: 10s
`

func TestPlannedPlan(t *testing.T) {
	a := newAskable(t)
	fsys := fstest.MapFS{"own.yaml": {Data: []byte(own)}, "lower.yaml": {Data: []byte(ownLower)}}
	rb, err := Load(fsys, "own.yaml", nil, Standard(a.topology, a))
	if err != nil {
		t.Fatal(err)
	}
	want := `Own
procedure own · 3 steps · plan ` + rb.Digest()[:12] + `
kind      planned switchover

1     Do
      x · exec env={F=done} limit=5s script="touch \"$F\"\n" · within 10s
      confirm: exec env={} limit=5s script=test -e done
      undo: exec env={} limit=5s script=rm -f done · within 10s
      confirm: exec env={} limit=5s script=test ! -e done

2     Called
      x · calls lower.yaml
2.1   Look
      x · wait · within 10s
      confirm: exec env={} limit=5s script=true
      undo: it leaves nothing to take back

3     Flip
      x · wait · within 30ms
      confirm: exec env={} limit=5s script=test -e flipped
      approval: waits up to 1m0s for another person to approve it
      point of commitment: from here on only forward
`
	if got := runbook.Plan(rb); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMistakesOfPlanned(t *testing.T) {
	for _, c := range []struct{ what, old, new, want string }{
		{"no such kind", "kind: planned switchover", "kind: planned", `own.yaml:3:7: kind is planned, expected "planned switchover"`},
		{"undo of what only goes forward", "kind: planned switchover\n", "", `own.yaml:14:11: step 1 has an undo, expected "kind: planned switchover" above`},
		{"no undo", "    undo: nothing\n", "", "own.yaml:16:13: step 2.1 stands before the point of commitment and does not say how it is undone"},
		{"nothing that commits", "    commits: true\n", "", "own.yaml:21:13: step 3 stands before the point of commitment"},
		{"undo after it", "commits: true", "commits: true\n    undo: nothing", "own.yaml:21:13: step 3 has an undo, and from the point of commitment on the run goes only forward"},
		{"two that commit", "undo: nothing", "commits: true", "own.yaml:21:13: steps 2.1 and 3 both commit, expected one point of commitment"},
		{"undo of a word", "undo: nothing", "undo: noting", `own.yaml:20:11: undo is "noting", expected a mapping`},
		{"undo without a budget", ", budget: 10s}", "}", "undo has no budget"},
		{"undo of no verb", "undo: {verb: exec,", "undo: {verb: exek,", `there is no verb "exek": did you mean "exec"?`},
		{"an unproved verb", "    confirm: {verb: exec, inputs: {script: test -e done}}\n", "", "own.yaml:8:11: exec does not show by itself that it was done, expected a confirm"},
		{"a confirm that is no read", "confirm: {verb: exec, inputs: {script: test -e done}}", "confirm: {verb: wait}", "own.yaml:13:21: wait is no read: expected: "},
		{"a read as an act", "verb: wait", "verb: sql\n    inputs: {region: osaka, query: SELECT 1, expect: 1}", "own.yaml:24:11: sql only reads, expected it as the verb of a check or a confirm"},
		{"an approval that is no time", "approval: 1m", "approval: true", "own.yaml:27:15: approval is true, expected a time like 30s or 5m"},
		{"commits of a text", "commits: true", "commits: maybe", "own.yaml:28:14: commits is maybe, expected true or false"},
		{"confirm of a call", "undo: nothing", "undo: nothing\n    confirm: {verb: exec, inputs: {script: true}}", "own.yaml:21:14: step 2 calls a procedure and says confirm, expected it in the called file"},
		{"no statement", "script: test -e flipped", "script: test -e flipped, x: 1", `exec has no input "x": expected: env, limit, script`},
		{"a read that does not fit", "confirm: {verb: exec, inputs: {script: test -e flipped}}", "confirm: {verb: sql, inputs: {region: osaka, query: UPDATE x, expect: 1}}", "own.yaml:25:57: sql: a read in mysql is one statement"},
		{"a limit that is no time", "script: test -e flipped", "script: test -e flipped, limit: 5", "limit is 5, expected a time like 30s or 5m"},
		{"a script that refers", "script: test -e flipped", "script: test -e $F", "has a $ inside"},
	} {
		t.Run(c.what, func(t *testing.T) {
			file := strings.Replace(own, c.old, c.new, 1)
			if file == own {
				t.Fatal("nothing was changed")
			}
			a := newAskable(t)
			fsys := fstest.MapFS{"own.yaml": {Data: []byte(file)}, "lower.yaml": {Data: []byte(ownLower)}}
			_, err := Load(fsys, "own.yaml", nil, Standard(a.topology, a))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v\n want %s", err, c.want)
			}
			if place := (*PlaceError)(nil); !errors.As(err, &place) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line with a place", err)
			}
		})
	}
	// Several steps are undone where they stand, not by the row that calls them; and not in a run that only goes forward.
	two := ownLower + strings.Replace(ownLower[strings.Index(ownLower, "  - number: 1"):], "number: 1", "number: 2", 1)
	forward := "name: f\ntitle: F\nsteps:\n  - number: 1\n    title: C\n    resource: x\n    call: own.yaml\n"
	a := newAskable(t)
	for file, want := range map[string]string{
		"own.yaml":     "own.yaml:20:11: step 2 calls 2 steps and says undo, expected it in the called file",
		"forward.yaml": "own.yaml:15:11: step 1 has an undo, and the procedure that was asked for is no planned switchover",
	} {
		fsys := fstest.MapFS{"own.yaml": {Data: []byte(own)}, "lower.yaml": {Data: []byte(two)}, "forward.yaml": {Data: []byte(forward)}}
		if _, err := Load(fsys, file, nil, Standard(a.topology, a)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// What a dry run says is what the acts then do; it calls nothing that changes anything.
func TestDryRun(t *testing.T) {
	l := newLand()
	l.db.received, l.db.executed, l.db.receiving, l.db.applying = 100, 94, false, false
	before := factsOf(l)
	rb := load(t, "switchover", l)
	var said []string
	err := runbook.DryRun(t.Context(), rb, nil, runbook.Options{Progress: func(e runbook.Event) {
		said = append(said, e.Kind+" "+e.Step.Path+" "+e.Says)
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(said, "\n")
	for _, want := range []string{
		"would 1 deny tokyo>osaka/cassandra, osaka>tokyo/cassandra",
		"would 2 stop receiving from tokyo-mysql-1, apply what was received (received " + gtids(100) + ", executed " + gtids(94) + "), and forget the source",
		"would 3 raise the epoch from 1 of tokyo to 2 of osaka, and let everybody write in mysql of osaka, after a restart too; refused as long as it replicates from tokyo-mysql-1",
		"would 4.1 write cassandra.dc=osaka (new), ",
		"mysql.endpoint=osaka-mysql-1:3306 (now old)",
		"would 5.1 start osaka-app-1 (stopped), osaka-app-2 (stopped), then pay once through the entry",
		"would 6.1 set batch.enabled=true, start osaka-batch-1 (running)",
		"waits 8 up to 30m0s for a person, until this is so: 5 of 5 records still lead to tokyo",
		"would 9 start outside-onprem-1 (stopped)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
	if after := factsOf(l); len(l.paid) > 0 || after.Starts != before.Starts || after.Epoch != before.Epoch || after.Source != before.Source || after.Denied != nil {
		t.Errorf("a dry run changed the world: %+v", after)
	}
	// After the switchover it says that there is nothing to do, and pays nothing.
	done := switched(t)
	paid := len(done.paid)
	said = nil
	if err := runbook.DryRun(t.Context(), load(t, "switchover", done), nil, runbook.Options{Progress: func(e runbook.Event) { said = append(said, e.Kind+" "+e.Step.Path) }}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(said, ", "); !strings.Contains(got, "holds 1, ") || !strings.Contains(got, "holds 5.1") || len(done.paid) != paid {
		t.Errorf("%s; %d payments", got, len(done.paid))
	}
}
