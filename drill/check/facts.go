package check

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// EndFacts judges whether a drill left the state that its scenario names, fact by fact: two ways through a procedure, with an
// operator that died and without, must end alike.
func EndFacts(run *history.Run) Result {
	want, got := run.Meta.Facts, run.Evidence.Facts
	if run.Meta.FactsAsStart {
		return asStart(run)
	}
	if want == nil {
		return Undecided(NameEndFacts, "the scenario does not name the facts it must end with")
	}
	if got == nil {
		return Undecided(NameEndFacts, "the end facts were not read")
	}
	findings, same, all := compare(want, got, "it must be", nil)
	return concludeFacts(run, findings, same, all, "%d facts are as named")
}

// compare holds facts against each other, fact by fact, but for those that are left out.
func compare(want, got map[string]string, must string, leave func(key string) bool) (findings []Finding, same, all int) {
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if leave != nil && leave(k) {
			continue
		}
		all++
		w, wanted := want[k]
		g, there := got[k]
		switch {
		case wanted && there && w == g:
			same++
		case !there:
			findings = append(findings, Finding{What: fmt.Sprintf("%s is absent; %s %s", k, must, w)})
		case !wanted:
			findings = append(findings, Finding{What: fmt.Sprintf("%s is %s; %s absent", k, g, must)})
		default:
			findings = append(findings, Finding{What: fmt.Sprintf("%s is %s; %s %s", k, g, must, w)})
		}
	}
	return findings, same, all
}

func concludeFacts(run *history.Run, findings []Finding, same, all int, right string) Result {
	says := fmt.Sprintf(right, same)
	if len(findings) > 0 {
		says = fmt.Sprintf("%d of %d facts differ", len(findings), all)
	}
	evidence := []Counter{{Name: "facts", Have: int64(len(run.Evidence.Facts)), Need: 10}}
	if why := interrupted(run); why != "" && len(findings) > 0 { // it was on its way there
		return Hold(NameEndFacts, says, evidence, findings, "the drill ended early: "+why)
	}
	return Conclude(NameEndFacts, says, len(findings) > 0, evidence, findings)
}

// Facts that a way there and back changes for good: how often the writer changed, and what that left in a server's past.
const (
	factEpoch     = "epoch"
	factEpochSite = "epoch.site"
	factWrote     = ".mysql.wrote-payments-itself"
	factParam     = ".params.epoch" // of a region
)

// asStart judges whether a drill left the state that it found, but for the epoch: that must have risen by one for each promotion,
// and the region that serves must have it among its parameters.
func asStart(run *history.Run) Result {
	start, end := run.Evidence.StartFacts, run.Evidence.Facts
	switch {
	case start == nil:
		return Undecided(NameEndFacts, "the facts of the start were not read")
	case end == nil:
		return Undecided(NameEndFacts, "the end facts were not read")
	}
	findings, same, all := compare(start, end, "at the start it was", func(k string) bool {
		return k == factEpoch || strings.HasSuffix(k, factParam) || strings.HasSuffix(k, factWrote)
	})
	was, err1 := strconv.Atoi(start[factEpoch])
	is, err2 := strconv.Atoi(end[factEpoch])
	promotions := len(run.Reigns()) - 1
	all++
	switch {
	case err1 != nil || err2 != nil:
		findings = append(findings, Finding{What: fmt.Sprintf("the epoch was %q and is %q: no numbers", start[factEpoch], end[factEpoch])})
	case is != was+promotions:
		findings = append(findings, Finding{What: fmt.Sprintf("the epoch was %d and is %d, after %d promotions", was, is, promotions)})
	default:
		same++
	}
	ruler := end[factEpochSite]
	if p, there := end[ruler+factParam]; there {
		all++
		if p == end[factEpoch] {
			same++
		} else {
			findings = append(findings, Finding{What: fmt.Sprintf("the parameters of %s name the epoch %s, its database %s", ruler, p, end[factEpoch])})
		}
	}
	return concludeFacts(run, findings, same, all, fmt.Sprintf("%%d facts are those of the start, the epoch %d higher", promotions))
}
