package check

import (
	"fmt"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// FaultReal judges whether traffic felt the faults as declared: probes over every link that was acted on, on old and new
// connections, before the fault, while it held, and after it was healed. A fault's own "done" is no evidence. Disagreement makes
// the drill inconclusive, never failed: it says nothing about the platform.
func FaultReal(run *history.Run) Result {
	faults, err := history.Marked[history.FaultData](run, history.KindFault)
	if err != nil {
		return Undecided(NameFaultReal, err.Error())
	}
	attests, err := history.Marked[history.AttestData](run, history.KindAttest)
	if err != nil {
		return Undecided(NameFaultReal, err.Error())
	}

	if run.Meta.Calm && !run.Meta.Faulted {
		return calm(run, faults, attests)
	}

	var wrong []Finding
	before, during := map[string]bool{}, map[string]bool{}
	var nBefore, nDuring, nAfter int64
	for _, a := range attests {
		switch a.Data.When {
		case "before":
			before[a.Data.Link] = true
			nBefore++
		case "during":
			during[a.Data.Link] = true
			nDuring++
		case "after":
			nAfter++
		}
		if !a.Data.Agrees || disagrees(a.Data) {
			wrong = append(wrong, Finding{T: int64(a.T), What: fmt.Sprintf("link %s was declared %s (%s the fault); an old connection found it %s, a new one %s",
				a.Data.Link, a.Data.Declared, a.Data.When, a.Data.Old, a.Data.New)})
		}
	}

	var injected, healed int64
	acted := map[string]bool{} // links
	var lost history.Instant   // when the active site's nodes were all dead
	var killer string          // the fault that killed them
	until := endOfLoad(run)    // when its end let them live again
	for _, f := range faults {
		switch f.Data.Action {
		case "heal":
			if lost != 0 && f.Name == killer {
				until = min(until, f.Data.Began)
			}
			if end, ok := run.Phase(history.PhaseLoadEnd); !ok || f.T < end { // later it is clean-up
				healed++
			}
			continue
		case "inject":
			injected++
		}
		for _, target := range f.Data.Targets {
			if strings.Contains(target, ">") {
				acted[target] = true
			} else if strings.HasPrefix(target, run.Meta.Active+"-") {
				lost, killer = f.Data.Done, f.Name
			}
		}
	}
	var felt, probed int64 // a link that could not be probed before, because nothing listened there, need not be after
	var silent []string
	for link := range acted {
		if !before[link] {
			continue
		}
		probed++
		if during[link] {
			felt++
		} else {
			silent = append(silent, link)
		}
	}
	if lost != 0 {
		if back, ok := run.Return(); ok {
			until = min(until, back)
		}
		for _, o := range run.Operations {
			if o.Outcome == history.OK && o.Site == run.Meta.Active && o.Sent > lost && o.Sent < until {
				wrong = append(wrong, Finding{T: int64(o.Sent), Keys: []string{o.Key},
					What: fmt.Sprintf("%s answered a %s although all its nodes had been killed", run.Meta.Active, o.Stream)})
				break
			}
		}
	}

	if run.Meta.Calm && lost != 0 {
		wrong = append([]Finding{{T: int64(lost), What: fmt.Sprintf("%s killed nodes although the scenario declares that no region is lost", killer)}}, wrong...)
	}
	evidence := []Counter{
		{"faults injected", injected, 1},
		{"attestations before", nBefore, 1},
		{"attestations while it held", nDuring, 1},
		{"links acted on that were attested", felt, max(1, probed)},
		{"attestations after healing", nAfter, min(1, healed)},
	}
	switch {
	case injected == 0:
		return Hold(NameFaultReal, "no fault was injected", evidence, wrong)
	case len(wrong) > 0:
		return Hold(NameFaultReal, wrong[0].What, evidence, wrong, fmt.Sprintf("a fault that traffic felt as declared (%d disagreements)", len(wrong)))
	case len(silent) > 0:
		return Hold(NameFaultReal, fmt.Sprintf("nobody felt the fault on %s", strings.Join(sorted(silent), ", ")), evidence, nil)
	}
	return Conclude(NameFaultReal, fmt.Sprintf("%d links felt the fault as declared, on old and new connections", felt), false, evidence, nil)
}

// calm judges that nothing was broken in a drill that declares so: no fault was injected, and traffic found every link open before
// the first procedure and at the end.
func calm(run *history.Run, faults []history.At[history.FaultData], attests []history.At[history.AttestData]) Result {
	var wrong []Finding
	for _, f := range faults {
		if f.Data.Action == "inject" {
			wrong = append(wrong, Finding{T: int64(f.T), What: fmt.Sprintf("a fault was injected although the scenario declares none: %s", f.Name)})
		}
	}
	looked := map[string]int64{}
	for _, a := range attests {
		looked[a.Data.When]++
		if !a.Data.Agrees || a.Data.Declared == "cut" || a.Data.New == "cut" || a.Data.Old == "cut" {
			wrong = append(wrong, Finding{T: int64(a.T), What: fmt.Sprintf("link %s was not open: declared %s, an old connection found it %s, a new one %s",
				a.Data.Link, a.Data.Declared, a.Data.Old, a.Data.New)})
		}
	}
	evidence := []Counter{
		{"attestations before", looked["before"], 1},
		{"attestations at the end", looked["after"], 1},
	}
	says := fmt.Sprintf("no fault was injected, and traffic found every link open, %d times", len(attests))
	if n := int64(run.Meta.Emptied); n > 0 {
		emptied, held, err := emptied(run)
		if err != nil {
			return Undecided(NameFaultReal, err.Error())
		}
		evidence = append(evidence, Counter{"nodes that lost their volumes", int64(len(emptied)), n}, Counter{"records that they had held", held, n * minPlanted})
		says = fmt.Sprintf("%d nodes lost their volumes; traffic found every link open, %d times", len(emptied), len(attests))
	}
	if len(wrong) > 0 {
		return Hold(NameFaultReal, wrong[0].What, evidence, wrong, fmt.Sprintf("a world in which nothing was broken (%d disagreements)", len(wrong)))
	}
	return Conclude(NameFaultReal, says, false, evidence, nil)
}

// disagrees holds what the probes saw against the declaration once more: the harness's own word for it is not taken.
func disagrees(a history.AttestData) bool {
	if a.Declared == "cut" {
		return a.New != "cut" || a.Old == "open"
	}
	return a.New == "cut"
}

// endOfLoad is when the load ended; the end of time where it did not.
func endOfLoad(run *history.Run) history.Instant {
	if t, ok := run.Phase(history.PhaseLoadEnd); ok {
		return t
	}
	return 1<<63 - 1
}
