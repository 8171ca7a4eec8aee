package check

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kirikae/kirikae/drill/history"
)

// EndFacts judges whether a drill left the state that its scenario names, fact by fact: two ways through a procedure, with an
// operator that died and without, must end alike.
func EndFacts(run *history.Run) Result {
	want, got := run.Meta.Facts, run.Evidence.Facts
	if want == nil {
		return Undecided(NameEndFacts, "the scenario does not name the facts it must end with")
	}
	if got == nil {
		return Undecided(NameEndFacts, "the end facts were not read")
	}
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	var findings []Finding
	same := int64(0)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		w, wanted := want[k]
		g, there := got[k]
		switch {
		case wanted && there && w == g:
			same++
		case !there:
			findings = append(findings, Finding{What: fmt.Sprintf("%s is absent; it must be %s", k, w)})
		case !wanted:
			findings = append(findings, Finding{What: fmt.Sprintf("%s is %s; it must be absent", k, g)})
		default:
			findings = append(findings, Finding{What: fmt.Sprintf("%s is %s; it must be %s", k, g, w)})
		}
	}
	says := fmt.Sprintf("%d facts are as named", same)
	if len(findings) > 0 {
		says = fmt.Sprintf("%d of %d facts differ", len(findings), len(keys))
	}
	evidence := []Counter{{Name: "facts", Have: int64(len(got)), Need: 10}}
	if why := interrupted(run); why != "" && len(findings) > 0 { // it was on its way there
		return Hold(NameEndFacts, says, evidence, findings, "the drill ended early: "+why)
	}
	return Conclude(NameEndFacts, says, len(findings) > 0, evidence, findings)
}
