package procedure

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kirikae/kirikae/drill/runbook"
)

const good = `name: small
title: {ja: 小, en: Small}
inputs:
  lost: the region that is lost
  survivor: the one that goes on
steps:
  - number: 1
    title: {ja: 分離, en: Detach}
    resource: MySQL
    verb: mysql.detach
    inputs: {region: $survivor, drain: true}
    budget: 10s
  - number: 2
    title: Set
    resource: parameters
    call: lower.yaml
    inputs:
      where: $survivor
      values: {a: 1, b: true, c: text}
`

const lower = `name: lower
title: Lower
inputs: {where: a region, values: what}
steps:
  - number: 1
    title: Write
    resource: store
    verb: params.set
    inputs: {region: $where, from_region: [], values: $values, seen_by: nobody}
    budget: 1m30s
`

func small(file string) (runbook.Runbook, error) {
	l := newLand()
	return Load(fstest.MapFS{"p/small.yaml": {Data: []byte(file)}, "p/lower.yaml": {Data: []byte(lower)},
		"p/circle.yaml": {Data: []byte("name: circle\ntitle: Circle\nsteps:\n  - number: 1\n    title: Again\n    resource: x\n    call: circle.yaml\n")},
		"p/broken.yaml": {Data: []byte("name: broken\ntitle: Broken\nsteps:\n  - nummer: 1\n")},
	}, "p/small.yaml", roles, Standard(l.topology, l))
}

func TestLoad(t *testing.T) {
	rb, err := small(good)
	if err != nil {
		t.Fatal(err)
	}
	want := `小 / Small
procedure small · 2 steps · plan ` + rb.Digest()[:12] + `
inputs    lost=tokyo survivor=osaka

1     分離 / Detach
      MySQL · mysql.detach drain=true region=osaka · within 10s

2     Set
      parameters · calls lower.yaml
2.1   Write
      store · params.set from_region=[] region=osaka seen_by=nobody values={a=1 b=true c=text} · within 1m30s
`
	if got := runbook.Plan(rb); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Every mistake is one error, with its place, what was expected and, where there is one, the nearest name.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		what     string
		old, new string // what is changed in the good file
		want     string
	}{
		{"empty", good, "", "p/small.yaml:1:1: the file is empty, expected a procedure"},
		{"no procedure", good, "[1, 2]\n", "p/small.yaml:1:1: a procedure is a list, expected a mapping"},
		{"broken YAML", "inputs: {region: $survivor, drain: true}", "inputs: {region: $survivor", "p/small.yaml:12:5: ',' or '}' must be specified"},
		{"two documents", "name: small", "name: x\n---\nname: small", "a second document, expected one procedure in a file"},
		{"unknown key", "steps:", "stepps:", `p/small.yaml:6:1: a procedure has no key "stepps": did you mean "steps"? (expected: inputs, kind, name, steps, title)`},
		{"key twice", "name: small", "name: small\nname: again", "p/small.yaml:2:1:"},
		{"no title", "title: {ja: 小, en: Small}\n", "", "p/small.yaml:1:5: a procedure has no title"},
		{"title in one of two languages", "{ja: 小, en: Small}", "{ja: 小}", "title has no en"},
		{"no steps", good[strings.Index(good, "  - number: 1"):], "", "steps is empty, expected a list of steps"},
		{"unknown step key", "resource: MySQL", "ressource: MySQL", `p/small.yaml:9:5: a step has no key "ressource": did you mean "resource"?`},
		{"no number", "number: 1\n    title: {ja", "title: {ja", "a step has no number"},
		{"a number of text", "number: 1", "number: one", "p/small.yaml:7:13: number is one, expected a number from 1"},
		{"number zero", "number: 1", "number: 0", "p/small.yaml:7:13: number is 0, expected a number from 1"},
		{"a negative number", "number: 1", "number: -1", "p/small.yaml:7:13: number is -1, expected a number from 1"},
		{"number twice", "number: 2", "number: 1", "p/small.yaml:13:13: a second step has the number 1"},
		{"out of order", "number: 1", "number: 3", "p/small.yaml:13:13: step 2 stands after step 3, expected the order in which they are done"},
		{"unknown verb", "mysql.detach", "mysql.deatch", `p/small.yaml:10:11: there is no verb "mysql.deatch": did you mean "mysql.detach"? (expected: access.`},
		{"verb and call", "verb: mysql.detach", "verb: mysql.detach\n    call: lower.yaml", "p/small.yaml:11:11: step 1 has a verb and a call, expected one of them"},
		{"neither", "    call: lower.yaml\n", "", "p/small.yaml:13:13: step 2 has no verb and no call, expected one of them"},
		{"no budget", "    budget: 10s\n", "", `p/small.yaml:7:13: step 1 has no budget, expected one like "budget: 30s"`},
		{"bad budget", "10s", "10", "p/small.yaml:12:13: budget is 10, expected a time like 30s or 5m"},
		{"worse budget", "10s", "soon", `p/small.yaml:12:13: budget is "soon", expected a time like 30s or 5m`},
		{"no time", "10s", "0s", `budget is "0s", expected a time like 30s or 5m`},
		{"budget of a call", "call: lower.yaml", "call: lower.yaml\n    budget: 1s", "p/small.yaml:17:13: step 2 calls a procedure and has a budget, expected it in the called file"},
		{"manual call", "call: lower.yaml", "call: lower.yaml\n    manual: true", "step 2 calls a procedure and says manual"},
		{"manual of text", "budget: 10s", "budget: 10s\n    manual: maybe", "p/small.yaml:13:13: manual is maybe, expected true or false"},
		{"unknown input of a verb", "drain:", "drian:", `p/small.yaml:11:33: mysql.detach has no input "drian": did you mean "drain"? (expected: drain, region)`},
		{"missing input of a verb", ", drain: true", "", "p/small.yaml:10:11: mysql.detach needs the input drain"},
		{"input of the wrong kind", "drain: true", "drain: 1", "p/small.yaml:11:40: drain is 1, expected true or false"},
		{"undeclared input", "region: $survivor", "region: $survivour", `p/small.yaml:11:22: "$survivour" is no declared input: did you mean "survivor"? (expected: lost, survivor)`},
		{"expression", "region: $survivor", "region: the-$survivor", "expected a plain value or the name of one input as a whole"},
		{"unknown region", "region: $survivor", "region: osakka", `p/small.yaml:11:22: there is no region "osakka": did you mean "osaka"? (expected: osaka, tokyo)`},
		{"anchor", "region: $survivor", "region: &r osaka", "an anchor, alias, tag or merge key"},
		{"a number with a point", "a: 1", "a: 1.5", "the number 1.5, expected a text, a number, true or false, a list or a mapping"},
		{"nothing as a value", "a: 1", "a:", "empty, expected a text"},
		{"a table in a table", "a: 1", "a: {b: c}", "p/lower.yaml:9:55: a of values is map[b:c], expected a text"},
		{"no such file", "call: lower.yaml", "call: lover.yaml", "p/small.yaml:16:11: there is no file p/lover.yaml"},
		{"call in a circle", "call: lower.yaml", "call: small.yaml", "p/small.yaml:16:11: the call goes in a circle: p/small.yaml → p/small.yaml"},
		{"a longer circle", "call: lower.yaml\n    inputs:\n      where: $survivor\n      values: {a: 1, b: true, c: text}", "call: circle.yaml",
			"p/circle.yaml:7:11: the call goes in a circle: p/small.yaml → p/circle.yaml → p/circle.yaml"},
		{"mistake in a called file", "call: lower.yaml", "call: broken.yaml", `p/broken.yaml:4:5: a step has no key "nummer": did you mean "number"?`},
		{"unknown input of a call", "where:", "were:", `p/small.yaml:18:7: p/lower.yaml has no input "were": did you mean "where"? (expected: values, where)`},
		{"missing input of a call", "      where: $survivor\n", "", "p/small.yaml:16:11: the call of p/lower.yaml does not give its input where"},
		{"same region", "verb: mysql.detach\n    inputs: {region: $survivor, drain: true}", "verb: dns.point\n    inputs: {from: tokyo, to: $lost}", "p/small.yaml:11:31: dns.point: to is tokyo as well"},
		{"same peer", "verb: mysql.detach\n    inputs: {region: $survivor, drain: true}", "verb: access.deny\n    inputs: {region: tokyo, peer: tokyo, service: cassandra}", "p/small.yaml:11:35: access.deny: peer is tokyo itself"},
		{"unknown service", "verb: mysql.detach\n    inputs: {region: $survivor, drain: true}", "verb: app.start\n    inputs: {region: tokyo, service: onlin}", `service cannot be "onlin": did you mean "online"? (expected: batch, online)`},
		{"nothing to set", "verb: mysql.detach\n    inputs: {region: $survivor, drain: true}", "verb: params.set\n    inputs: {region: tokyo, from_region: [], values: {}, seen_by: nobody}", "p/small.yaml:11:54: params.set: no parameter is set"},
		{"set from both", "verb: mysql.detach\n    inputs: {region: $survivor, drain: true}", "verb: params.set\n    inputs: {region: tokyo, from_region: [epoch], values: {epoch: 4}, seen_by: nobody}", "epoch stands in values and in from_region"},
		{"unknown from_region", "verb: mysql.detach\n    inputs: {region: $survivor, drain: true}", "verb: params.set\n    inputs: {region: tokyo, from_region: [epoc], values: {}, seen_by: nobody}", `from_region cannot be "epoc": did you mean "epoch"?`},
	} {
		t.Run(c.what, func(t *testing.T) {
			file := strings.Replace(good, c.old, c.new, 1)
			if file == good {
				t.Fatal("nothing was changed")
			}
			_, err := small(file)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v\n want %s", err, c.want)
			}
			if place := (*PlaceError)(nil); !errors.As(err, &place) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line with a place", err)
			}
		})
	}
}

func TestGivenInputs(t *testing.T) {
	fsys, l := fstest.MapFS{"small.yaml": {Data: []byte(good)}, "lower.yaml": {Data: []byte(lower)}}, newLand()
	for name, c := range map[string]struct {
		change func(map[string]any)
		want   string
	}{
		"missing": {func(in map[string]any) { delete(in, "lost") }, "procedure small needs the inputs lost, survivor, and lost was not given"},
		"unknown": {func(in map[string]any) { in["survivr"] = "osaka" }, `procedure small has no input "survivr": did you mean "survivor"?`},
		"wrong":   {func(in map[string]any) { in["survivor"] = "kyoto" }, `small.yaml:11:22: there is no region "kyoto": `},
	} {
		in := maps.Clone(roles)
		c.change(in)
		if _, err := Load(fsys, "small.yaml", in, Standard(l.topology, l)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// A file of the user is loaded from where it lies, and calls what lies beside or above it.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"mine/small.yaml": strings.Replace(good, "call: lower.yaml", "call: ../lower.yaml", 1), "lower.yaml": lower} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l := newLand()
	mine := filepath.Join(dir, "mine", "small.yaml")
	for _, name := range []string{mine, "switchover", "switchover.yaml", "known_bad/switchover-no-drain"} {
		fsys, file, err := Find(name)
		if err != nil {
			t.Errorf("find %s: %v", name, err)
			continue
		}
		if _, err := Load(fsys, file, roles, Standard(l.topology, l)); err != nil {
			t.Errorf("load %s: %v", name, err)
		}
	}
	if in, err := Inputs(disk{}, mine); err != nil || !slices.Equal(in, []string{"lost", "survivor"}) {
		t.Errorf("inputs %v, %v", in, err)
	}
	// Where a plan was read from is not part of it.
	fsys, file, err := Find(mine)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Load(fsys, file, roles, Standard(l.topology, l))
	if err != nil {
		t.Fatal(err)
	}
	b, err := small(good)
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest() != b.Digest() {
		t.Error("the same plan from another folder has another digest")
	}
	if _, _, err := Find("switchovr"); err == nil || !strings.Contains(err.Error(), `did you mean "switchover"?`) {
		t.Errorf("%v", err)
	}
}
