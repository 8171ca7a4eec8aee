package runbook

import "testing"

// TestCrashOnward: with a plus, a later step counts too; without, no other does.
func TestCrashOnward(t *testing.T) {
	rb := Runbook{Steps: []Step{{Path: "1"}, {Path: "2.9"}, {Path: "2.10"}}}
	for _, c := range []struct {
		crash, path string
		want        bool
	}{
		{"2.9", "2.9", true}, {"2.9", "2.10", false}, {"2.9", "1", false},
		{"2.9+", "2.9", true}, {"2.9+", "2.10", true}, {"2.9+", "1", false},
	} {
		parsed, err := ParseCrash(c.crash + ":after-act")
		if err != nil || parsed.check(rb) != nil {
			t.Fatal(c.crash, err, parsed.check(rb))
		}
		if got := parsed.at(rb, c.path); got != c.want {
			t.Errorf("%s at step %s: %v", c.crash, c.path, got)
		}
	}
	if c, _ := ParseCrash("3+:after-act"); c.check(rb) == nil {
		t.Error("a crash from a step on that is not there")
	}
}
