package cassandra

import (
	"reflect"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	content := func(rows ...string) Content {
		c := Content{Tables: map[string]map[string]string{"events": {}, "probes": {}}}
		for _, r := range rows {
			f := strings.Split(r, " ")
			c.Tables[f[0]][f[1]] = f[2]
		}
		return c
	}
	for _, x := range []struct {
		name string
		a, b Content
		want Difference
		says string
	}{
		{"equal", content("events k1 yen=1", "probes 3 n=9"), content("probes 3 n=9", "events k1 yen=1"), Difference{}, "none"},
		{"one is missing", content("events k1 yen=1", "events k2 yen=2"), content("events k1 yen=1"), Difference{Missing: []string{"events/k2"}}, "1 missing: events/k2"},
		{"one came back", content("events k1 yen=1"), content("events k1 yen=1", "events k0 yen=7"), Difference{Extra: []string{"events/k0"}}, "1 extra: events/k0"},
		{"other values", content("events k1 yen=1"), content("events k1 yen=2"), Difference{Different: []string{"events/k1"}}, "1 different: events/k1"},
		{"the same key of another table", content("events 1 n=1"), content("probes 1 n=1"), Difference{Missing: []string{"events/1"}, Extra: []string{"probes/1"}},
			"1 missing: events/1; 1 extra: probes/1"},
		{"a whole table", Content{Tables: map[string]map[string]string{"events": {"a": "", "b": ""}}}, Content{}, Difference{Missing: []string{"events/a", "events/b"}}, "2 missing: events/a events/b"},
	} {
		t.Run(x.name, func(t *testing.T) {
			got := x.a.Diff(x.b)
			if !reflect.DeepEqual(got, x.want) || got.Empty() != (x.says == "none") || got.String() != x.says {
				t.Errorf("differ by %+v (%s), want %+v (%s)", got, got, x.want, x.says)
			}
		})
	}
}

func TestContentTexts(t *testing.T) {
	cells := map[string]any{"a": "x", "b": int64(7), "c": nil}
	if got := texts([]string{"a", "b"}, cells, "/"); got != "x/7" {
		t.Errorf("key is %q", got)
	}
	if got := texts([]string{"b", "c", "d"}, cells, ", "); got != "b=7, c=null, d=null" {
		t.Errorf("values are %q", got)
	}
	if got := quoted(`a"B`); got != `"a""B"` {
		t.Errorf("quoted is %s", got)
	}
}
