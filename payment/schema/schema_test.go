package schema

import (
	"strings"
	"testing"
)

func TestSeedOpensEveryAccountOnce(t *testing.T) {
	for _, n := range []int{1, 2, 999, 1000, 1001, 2500} {
		got := Seed(n, 700, 1, "tokyo")
		rows := 0
		for _, s := range got[:len(got)-1] {
			rows += strings.Count(s, ", 700, 700)")
		}
		if rows != n {
			t.Errorf("Seed(%d) opens %d accounts", n, rows)
		}
		if last := got[len(got)-1]; !strings.Contains(last, "(1, 1, 'tokyo')") {
			t.Errorf("Seed(%d) ends with %q, want the epoch row", n, last)
		}
	}
}

func TestCassandraNamesEveryDataCentre(t *testing.T) {
	got := Cassandra(map[string]int{"tokyo": 3, "osaka": 1})[0]
	if want := "'osaka': 1, 'tokyo': 3}"; !strings.Contains(got, want) {
		t.Errorf("keyspace statement %q lacks %q", got, want)
	}
}
