package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	uuidA = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	uuidB = "4e11fa47-71ca-11e1-9e33-c80aa9429562"
)

func TestParseGTIDSet(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"", ""},
		{" \n", ""},
		{uuidA + ":1", uuidA + ":1"},
		{uuidA + ":1-3:5", uuidA + ":1-3:5"},
		{uuidA + ":5:1-3:4", uuidA + ":1-5"},
		{uuidA + ":1-3:2-7", uuidA + ":1-7"},
		{strings.ToUpper(uuidA) + ":1", uuidA + ":1"},
		{uuidA + ":1-3:canary:1-2:pay:1", uuidA + ":1-3:canary:1-2:pay:1"},
		{uuidA + ":pay:4:pay:5", uuidA + ":pay:4-5"},
		{uuidB + ":1,\n" + uuidA + ":2", uuidA + ":2," + uuidB + ":1"},
		{uuidA + ":1," + uuidA + ":2", uuidA + ":1-2"},
		{"," + uuidA + ":1,", uuidA + ":1"},
	} {
		g, err := ParseGTIDSet(c.in)
		if err != nil || g.String() != c.out {
			t.Errorf("%q: %q, %v; expected %q", c.in, g, err, c.out)
		}
	}
	for _, in := range []string{
		"nonsense", uuidA, uuidA + ":", uuidA + ":0", uuidA + ":3-1", uuidA + ":1-", uuidA + ":1-x", "3e11fa47:1", uuidA + ":1::2",
		uuidA + ":99999999999999999999", uuidA + ":pay", uuidA + ":1:pay", uuidA + ":pay:canary:1", uuidA + ":pa y:1", uuidA + ":-3",
	} {
		if g, err := ParseGTIDSet(in); err == nil {
			t.Errorf("%q was read as %q", in, g)
		}
	}
}

// brute is a GTID set as what it means.
type brute map[string]bool

func draw(t *rapid.T, name string) (brute, string) {
	b, texts := brute{}, []string{}
	for range rapid.IntRange(0, 8).Draw(t, name+" parts") {
		uuid := rapid.SampledFrom([]string{uuidA, uuidB}).Draw(t, "uuid")
		tag := rapid.SampledFrom([]string{"", "pay:", "canary:"}).Draw(t, "tag")
		lo := rapid.IntRange(1, 12).Draw(t, "lo")
		hi := rapid.IntRange(lo, 14).Draw(t, "hi")
		for n := lo; n <= hi; n++ {
			b[fmt.Sprintf("%s:%s%d", uuid, tag, n)] = true
		}
		text := fmt.Sprintf("%s:%s%d-%d", uuid, tag, lo, hi)
		if lo == hi {
			text = fmt.Sprintf("%s:%s%d", uuid, tag, lo)
		}
		texts = append(texts, text)
	}
	return b, strings.Join(texts, ", ")
}

// same holds a set against its meaning, through its text too.
func same(t *rapid.T, what string, g GTIDSet, b brute) {
	back, err := ParseGTIDSet(g.String())
	if err != nil || back.String() != g.String() {
		t.Fatalf("%s: %q is read back as %q, %v", what, g, back, err)
	}
	if g.Empty() != (len(b) == 0) {
		t.Fatalf("%s: %q empty %v", what, g, g.Empty())
	}
	for _, uuid := range []string{uuidA, uuidB} {
		for _, tag := range []string{"", "pay:", "canary:"} {
			for n := range 16 {
				if id := fmt.Sprintf("%s:%s%d", uuid, tag, n); g.Contains(id) != b[id] {
					t.Fatalf("%s: %q contains %s: %v", what, g, id, g.Contains(id))
				}
			}
		}
	}
	for _, tag := range []string{"", "pay", "canary"} {
		want := int64(0)
		for id := range b {
			if strings.Count(id, ":")-1 == len(strings.Fields(tag)) && (tag == "" || strings.Contains(id, ":"+tag+":")) {
				want++
			}
		}
		if g.Count(tag) != want {
			t.Fatalf("%s: %q counts %d of tag %q, not %d", what, g, g.Count(tag), tag, want)
		}
	}
}

func TestGTIDAlgebra(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, ta := draw(t, "a")
		b, tb := draw(t, "b")
		x, err1 := ParseGTIDSet(ta)
		y, err2 := ParseGTIDSet(tb)
		if err1 != nil || err2 != nil {
			t.Fatalf("%q, %q: %v, %v", ta, tb, err1, err2)
		}
		same(t, "a", x, a)
		minus, union := maps.Clone(a), maps.Clone(a)
		for id := range b {
			delete(minus, id)
		}
		maps.Copy(union, b)
		same(t, "a − b", x.Subtract(y), minus)
		same(t, "a ∪ b", x.Union(y), union)
		same(t, "a after both", x, a) // neither changed its operands
	})
}

func TestZeroGTIDSet(t *testing.T) {
	var zero GTIDSet
	one, _ := ParseGTIDSet(uuidA + ":1")
	if !zero.Empty() || zero.String() != "" || zero.Count("") != 0 || zero.Contains(uuidA+":1") {
		t.Error("the zero set is not empty")
	}
	if zero.Union(one).String() != one.String() || one.Subtract(zero).String() != one.String() || !zero.Subtract(one).Empty() {
		t.Error("the zero set is not neutral")
	}
	if one.Contains("nonsense") || one.Contains("") || one.Contains(uuidA+":1,"+uuidB+":1") {
		t.Error("what is not one GTID was found")
	}
	if got := slices.Collect(maps.Keys(one.sets)); len(got) != 1 {
		t.Errorf("sets %v", got)
	}
}
