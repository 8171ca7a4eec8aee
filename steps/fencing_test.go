package steps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/history"
)

// TestPromisesOfFencing: what a scenario about a fence cannot mean is refused before anything is started.
func TestPromisesOfFencing(t *testing.T) {
	const good = `Feature: x
  Scenario: y
    Given the platform of "two-region-witness.yaml" is up
    And customers make 50 payments a second, 20 % of them ignore the DNS TTL
    And 100 write probes a second measure the outage
    And 20 payment keys a second are repeated on purpose
    And the steady state has held for 5 s
    When tokyo's links to osaka and the witness flap 2 times, 2 s down and 3 s up
    And osaka has caught up, and the steady state holds again for 5 s
    And tokyo is isolated from osaka and the witness but stays alive
    And the fencing agent of tokyo is killed
    And the person in charge decides after 1 s
    And the operator runs "switchover-witness"
    And the load goes on for 12 s
    And the drill ends
    Then two regions accepted writes for at most 0 ms
`
	for _, c := range []struct{ what, old, new, want string }{
		{"good", "", "", ""},
		{"a platform without a witness", "two-region-witness.yaml", "two-region.yaml", "the platform has no witness"},
		{"a region that is not there", "agent of tokyo", "agent of kyoto", "kyoto"},
		{"a shorter steady state than the baseline", "holds again for 5 s", "holds again for 4 s", "the baseline is of 5s, and the steady state need hold again for 4s only"},
		{"a region that cannot catch up", "osaka has caught up", "kyoto has caught up", "kyoto"},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.feature")
			if err := os.WriteFile(path, []byte(strings.Replace(good, c.old, c.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			all, err := Select([]string{path}, "")
			if err == nil {
				err = promises(all[0], new(history.Meta))
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
