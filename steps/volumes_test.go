package steps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/history"
)

// TestPromiseVolumes: what a scenario says of its nodes is held against its platform before anything starts.
func TestPromiseVolumes(t *testing.T) {
	const good = `Feature: volumes
  Scenario: two of three
    Given the platform of "six-nodes.yaml" is up
    And 60 records are kept in both regions
    When 2 of 3 Cassandra nodes of tokyo fail one after another, lose their volumes and start again
    And the planted records are read in tokyo and in osaka
    And the drill ends
    Then the volumes were lost, no link was cut, and the harness sane
    And every record that was kept is there
`
	for _, c := range []struct{ what, old, new, want string }{
		{"good", "", "", ""},
		{"another platform", "six-nodes.yaml", "two-region.yaml", "tokyo has 1 Cassandra nodes, the sentence says 2 of 3"},
		{"more than there are", "2 of 3", "4 of 3", "the sentence says 4 of 3"},
		{"none", "2 of 3", "0 of 3", "the sentence says 0 of 3"},
		{"a region that is not there", "of tokyo fail", "of kyoto fail", "kyoto"},
		{"no platform yet", "the platform of \"six-nodes.yaml\" is up\n    And ", "", "comes first"},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.feature")
			if err := os.WriteFile(path, []byte(strings.Replace(good, c.old, c.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			all, err := Select([]string{path}, "")
			var m history.Meta
			if err == nil {
				err = promises(all[0], &m)
			}
			if c.want == "" && (err != nil || m.Emptied != 2 || !m.Calm) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, %+v, want %q", err, m, c.want)
			}
		})
	}
}

// TestTwinsOfTheRing: both drills are the same but for the parameters that the operator leaves.
func TestTwinsOfTheRing(t *testing.T) {
	all, err := Select([]string{"features/kept_whole.feature"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("%d scenarios", len(all))
	}
	until := func(s Scenario) string {
		before, _, _ := strings.Cut(strings.Join(s.Steps, "\n"), "\nthe drill ends\n")
		return before
	}
	keeps, leaves := until(all[0]), until(all[1])
	if keeps == leaves || strings.Replace(keeps, `"examples/ring-parameters"`, `"known_bad/ring-parameters-left"`, 1) != leaves {
		t.Errorf("the first:\n%s\nthe second:\n%s", keeps, leaves)
	}
}
