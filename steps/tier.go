package steps

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/docker"
)

// Tags by which a scenario says where it is played. Each has at least one of them.
const (
	tagTest        = "@ci"          // make test, in local
	tagTestDocker  = "@ci_docker"   // make test, in docker
	tagInterrupted = "@interrupted" // one of the drills in which the operator dies at every step: make test plays one of each procedure, by date
	tagNightly     = "@nightly"     // make nightly only
	tagKnownBad    = "@known_bad"   // carries a defect that a named check must find
)

// Tiers of drills.
const (
	TierTest    = "test"    // green drills once, every planted row once, some of the interrupted procedures
	TierNightly = "nightly" // everything
)

// rotating is how many of the drills in which an operator dies at every step a day's test tier plays: one of each procedure.
const rotating = 3

// inTier cuts scenarios down to those that a tier plays in a runtime on a day, and returns the others apart. The empty tier plays
// all. The interrupted procedures rotate: each at another point every day, and the same on one day wherever it is asked.
func inTier(tier, runtime string, day time.Time, all []Scenario) (play, left []Scenario, err error) {
	switch tier {
	case "", TierNightly:
		return all, nil, nil
	case TierTest:
	default:
		return nil, nil, &UsageError{topology.Unknown("tier", tier, []string{TierTest, TierNightly}).Error()}
	}
	tag := tagTest
	if runtime == docker.Name {
		tag = tagTestDocker
	}
	rotates := func(s Scenario) bool { return slices.Contains(s.Tags, tagInterrupted) }
	n := 0
	for _, s := range all {
		if rotates(s) {
			n++
		}
	}
	today := map[int]bool{} // places among the interrupted
	if n > 0 && tag == tagTest {
		// The drills of one procedure stand together: as many to a group as there are points at which an operator dies.
		points := max(1, n/rotating)
		for i := range min(rotating, n) {
			today[(int(day.Unix()/86400)%points+i*points)%n] = true
		}
	}
	interrupted := -1
	for _, s := range all {
		played := slices.Contains(s.Tags, tag)
		if rotates(s) {
			interrupted++
			played = today[interrupted]
		}
		if played {
			play = append(play, s)
		} else {
			left = append(left, s)
		}
	}
	return play, left, nil
}

// leftOut names what a tier did not play.
func leftOut(tier, runtime string, left []Scenario) string {
	if len(left) == 0 {
		return fmt.Sprintf("tier %s plays every drill in %s\n", tier, runtime)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "left out of tier %s in %s, %d drills:\n", tier, runtime, len(left))
	for _, s := range left {
		fmt.Fprintf(&b, "  %s  %s\n", s.Place(), s.Name)
	}
	return b.String()
}

// Tier selects as Select does, and keeps what a tier plays in a runtime on a day.
func Tier(paths []string, tags, tier, runtime string, day time.Time) ([]Scenario, error) {
	all, err := Select(paths, tags)
	if err != nil {
		return nil, err
	}
	play, _, err := inTier(tier, runtime, day, all)
	return play, err
}
