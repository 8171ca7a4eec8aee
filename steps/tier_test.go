package steps

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"
)

// TestEveryDrillHasATier: a drill without a tier would be played by nobody but those who name it.
func TestEveryDrillHasATier(t *testing.T) {
	all, err := Select(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if !slices.ContainsFunc(s.Tags, func(tag string) bool {
			return slices.Contains([]string{tagTest, tagTestDocker, tagInterrupted, tagNightly}, tag)
		}) {
			t.Errorf("%s (%s) has none of the tags %s, %s, %s, %s", s.Place(), s.Name, tagTest, tagTestDocker, tagInterrupted, tagNightly)
		}
		if slices.Contains(s.Tags, tagNightly) && (slices.Contains(s.Tags, tagTest) || slices.Contains(s.Tags, tagTestDocker)) {
			t.Errorf("%s (%s) is both nightly only and not", s.Place(), s.Name)
		}
	}
}

func TestTiers(t *testing.T) {
	scenario := func(name string, tags ...string) Scenario { return Scenario{Name: name, Tags: tags} }
	all := []Scenario{
		scenario("a", tagTest, tagTestDocker), scenario("b", tagTest), scenario("c", tagNightly),
		scenario("i0", tagInterrupted), scenario("i1", tagInterrupted), scenario("i2", tagInterrupted), scenario("i3", tagInterrupted), scenario("i4", tagInterrupted),
		scenario("i5", tagInterrupted), scenario("n", tagNightly),
	}
	names := func(list []Scenario) (out string) {
		for _, s := range list {
			out += s.Name + " "
		}
		return out
	}
	day := time.Unix(0, 0)
	for _, c := range []struct {
		tier, runtime string
		days          int
		play, left    string
	}{
		{"", "local", 0, "a b c i0 i1 i2 i3 i4 i5 n ", ""},
		{TierNightly, "docker", 0, "a b c i0 i1 i2 i3 i4 i5 n ", ""},
		{TierTest, "local", 0, "a b i0 i2 i4 ", "c i1 i3 i5 n "}, // one of each procedure, of which each has two here
		{TierTest, "local", 1, "a b i1 i3 i5 ", "c i0 i2 i4 n "},
		{TierTest, "local", 2, "a b i0 i2 i4 ", "c i1 i3 i5 n "},
		{TierTest, "docker", 0, "a ", "b c i0 i1 i2 i3 i4 i5 n "},
	} {
		play, left, err := inTier(c.tier, c.runtime, day.AddDate(0, 0, c.days), all)
		if err != nil || names(play) != c.play || names(left) != c.left {
			t.Errorf("tier %q in %s on day %d: %s, left out %s, %v", c.tier, c.runtime, c.days, names(play), names(left), err)
		}
	}
	var usage *UsageError
	if _, _, err := inTier("tests", "local", day, all); !errors.As(err, &usage) {
		t.Errorf("an unknown tier: %v", err)
	}
	played := map[string]bool{}
	for d := range 2 {
		play, _, _ := inTier(TierTest, "local", day.AddDate(0, 0, d), all)
		for _, s := range play {
			played[s.Name] = true
		}
	}
	for _, s := range all {
		if !played[s.Name] && s.Name != "c" && s.Name != "n" {
			t.Errorf("%s is never played", s.Name)
		}
	}
}

// TestEachProcedureEachDay: on every day the test tier kills the operator of each of the three procedures, and each point of each has its day.
func TestEachProcedureEachDay(t *testing.T) {
	all, err := Select(nil, "@interrupted")
	if err != nil {
		t.Fatal(err)
	}
	points := map[string]bool{}
	for d := range 4 {
		play, _, err := inTier(TierTest, "local", time.Unix(0, 0).AddDate(0, 0, d), all)
		if err != nil {
			t.Fatal(err)
		}
		procedures := map[string]int{}
		for _, s := range play {
			points[s.Place()] = true
			for _, tag := range []string{"@switchover", "@failback_preparation", "@failback"} {
				if slices.Contains(s.Tags, tag) {
					procedures[tag]++
				}
			}
		}
		if want := map[string]int{"@switchover": 1, "@failback_preparation": 1, "@failback": 1}; !maps.Equal(procedures, want) {
			t.Errorf("day %d: %v, want %v", d, procedures, want)
		}
	}
	if len(points) != 12 {
		t.Errorf("%d interrupted drills in four days, want all 12", len(points))
	}
}
