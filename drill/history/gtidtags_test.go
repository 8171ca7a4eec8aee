package history

import "testing"

func TestByTag(t *testing.T) {
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562"
	set, err := ParseGTIDSet(a + ":1-3:pay:1-2:open:5," + b + ":7:pay:9")
	if err != nil {
		t.Fatal(err)
	}
	got := set.ByTag()
	for tag, want := range map[string]string{"": a + ":1-3," + b + ":7", "pay": a + ":pay:1-2," + b + ":pay:9", "open": a + ":open:5"} {
		if got[tag].String() != want {
			t.Errorf("tag %q: %s, want %s", tag, got[tag], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("%d tags, want 3", len(got))
	}
	if n := len(GTIDSet{}.ByTag()); n != 0 {
		t.Errorf("an empty set has %d tags", n)
	}
}
