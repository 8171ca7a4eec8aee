package steps

import (
	"reflect"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// TestSentences holds every sentence: its example is matched by it alone, and its method takes what its pattern captures.
func TestSentences(t *testing.T) {
	all := experiment(nil)
	for _, s := range all {
		var by []string
		for _, o := range all {
			if o.pattern.MatchString(s.example) {
				by = append(by, o.example)
			}
		}
		if len(by) != 1 {
			t.Errorf("%q is matched by %q", s.example, by)
		}
		f := reflect.TypeOf(s.do)
		takes := f.NumIn()
		if takes > 0 && f.In(0).Name() == "Context" {
			takes--
		}
		if takes != s.pattern.NumSubexp() {
			t.Errorf("%q: its method takes %d texts, its pattern captures %d", s.example, takes, s.pattern.NumSubexp())
		}
		if f.NumOut() != 1 {
			t.Errorf("%q: its method returns %d values", s.example, f.NumOut())
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"300 ms": 300 * time.Millisecond, "10 s": 10 * time.Second, "1.5 s": 1500 * time.Millisecond, "5 min": 5 * time.Minute} {
		if got, err := duration(text); err != nil || got != want {
			t.Errorf("duration(%q) = %v, %v", text, got, err)
		}
	}
	if _, err := duration("5 h"); err == nil {
		if !re("DURATION").MatchString("5 h") {
			return
		}
		t.Error("5 h is taken")
	}
}

// TestEmbeddedFeatures holds the features that ship: each is played as it stands, and the planted ones say what they expect.
func TestEmbeddedFeatures(t *testing.T) {
	all, err := Select(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 8 {
		t.Errorf("%d scenarios", len(all))
	}
	planted, err := Select([]string{"features/known_bad.feature"}, "@known_bad and not @operator_killed")
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]string{}
	for _, s := range planted {
		var m history.Meta
		if err := promises(s, &m); err != nil {
			t.Fatal(err)
		}
		if m.Expectation == nil {
			t.Errorf("%s states no verdict", s.Place())
			continue
		}
		by[m.Expectation.Check] = m.Expectation.Verdict
	}
	want := map[string]string{
		"dropped": "FAIL", "never durable": "FAIL", "double charge": "FAIL", "one writer": "FAIL",
		"fault real": "INCONCLUSIVE", "recovery time": "INCONCLUSIVE",
	}
	if !reflect.DeepEqual(by, want) {
		t.Errorf("planted verdicts %v, not %v", by, want)
	}
}

// TestPromises: what a scenario states is what the judges will hold it to.
func TestPromises(t *testing.T) {
	all, err := Select([]string{"features/region_loss.feature:7"}, "")
	if err != nil {
		t.Fatal(err)
	}
	var m history.Meta
	if err := promises(all[0], &m); err != nil {
		t.Fatal(err)
	}
	o := m.Objectives
	if o.Recovery.Target.D() != time.Minute || o.Recovery.Baseline.D() != 10*time.Second || o.Loss.MaxCount != 200 ||
		o.Loss.MaxAge.D() != 2*time.Second || o.DualMax.D() != 50*time.Millisecond || o.LagMin.D() != 300*time.Millisecond {
		t.Errorf("%+v", o)
	}
	if m.Facts["osaka.mysql.role"] != "primary" {
		t.Errorf("end facts %v", m.Facts)
	}
}

func TestSelectByTag(t *testing.T) {
	for expression, want := range map[string]int{
		"@thin": 1, "@known_bad and not @thin": 7, "@region_loss or @thin": 2, "not @known_bad": 1, "": 9,
	} {
		got, err := Select([]string{"features/region_loss.feature", "features/known_bad.feature"}, expression)
		if err != nil || len(got) != want {
			t.Errorf("%q selects %d, %v; not %d", expression, len(got), err, want)
		}
	}
}
