package check

import (
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/drill/history"
)

// NameActsOnce is the check that no operator did again what one before him had done. It is judged where operators were killed.
const NameActsOnce = "acts once"

// repeatable are verbs whose act is over before what they confirm is reached, and shows nothing when it is done again: a process
// that runs is not started a second time, a value that stands is not changed. A replica connects and catches up after it was told whom
// to follow, a ring agrees after its keyspaces were altered, late writes arrive after a region was filled, a transaction ends after
// new ones were forbidden, and a guard renews the lease that was taken for it.
var repeatable = []string{
	"app.start", "app.await", "app.stop", "batch.disable", "onprem.start", "cassandra.start",
	"params.set", "params.prepare", "params.remove", "lease.take", "lease.override", "lease.release", "lease.pass", "wait",
	"mysql.follow", "mysql.fence", "ring.exclude", "ring.include", "cassandra.rebuild",
}

// ActsOnce judges that no act was applied twice where that shows. An operator that was killed after its act, or after the record of
// it, leaves the next one a step that is confirmed: announcing it anew would be doing it twice. Each such step must have been come to
// again, or nobody could have done it twice. Beside the journal the world tells: each epoch is one promotion, and persons change each
// DNS record once a procedure.
func ActsOnce(run *history.Run) Result {
	deaths, err := history.Marked[history.DeathData](run, history.KindDeath)
	if err != nil {
		return Undecided(NameActsOnce, err.Error())
	}
	var findings []Finding
	acted, looked := int64(0), int64(0)
	for _, d := range deaths {
		if d.Data.Point != "after-act" && d.Data.Point != "after-record" {
			continue
		}
		died, _ := last(run.Journal, d.Name, d.T)
		if slices.Contains(repeatable, died.Verb) {
			continue
		}
		e, ok := next(run.Journal, died.Procedure, d.Name, d.T)
		if ok && e.Kind == history.EntrySkip {
			continue // a person decided that nobody does it
		}
		acted++
		if !ok {
			continue
		}
		looked++
		if e.Kind == history.EntryIntent || e.Kind == history.EntryWait {
			findings = append(findings, Finding{T: int64(e.T), What: fmt.Sprintf("step %s (%s) was acted on, its operator was killed %s, and the next one acted again", e.Step, e.Verb, d.Data.Point)})
		}
	}
	findings = append(findings, promotions(run)...)
	findings = append(findings, pointings(run)...)
	says := fmt.Sprintf("no act was applied twice (%d operators killed, %d of them with an act behind them)", len(deaths), looked)
	if len(findings) > 0 {
		says = fmt.Sprintf("%d acts were applied twice", len(findings))
	}
	return Conclude(NameActsOnce, says, len(findings) > 0, []Counter{
		{"operators killed", int64(len(deaths)), 1},
		{"steps with an act behind them that another operator came to", looked, acted},
	}, findings)
}

// last is what an operator did last about a step before an instant.
func last(journal []history.Entry, step string, before history.Instant) (history.Entry, bool) {
	for _, e := range slices.Backward(journal) {
		if e.T <= before && e.Step == step {
			return e, true
		}
	}
	return history.Entry{}, false
}

// next is what came of a procedure's step after an instant: it was announced anew, found to be done, or passed over. What an operator
// writes before that (a retry, an approval that it asks for) says neither.
func next(journal []history.Entry, procedure, step string, after history.Instant) (history.Entry, bool) {
	decided := []string{history.EntryIntent, history.EntryWait, history.EntryAlready, history.EntryConfirm, history.EntrySkip}
	for _, e := range journal {
		if e.T > after && e.Procedure == procedure && e.Step == step && slices.Contains(decided, e.Kind) {
			return e, true
		}
	}
	return history.Entry{}, false
}

// promotions are epochs that a site was given although it reigned already: a promotion that was made twice.
func promotions(run *history.Run) (out []Finding) {
	reigns := run.Reigns()
	for i, r := range reigns[1:] {
		if r.Site == reigns[i].Site {
			out = append(out, Finding{T: int64(r.From), What: fmt.Sprintf("%s was promoted twice: epoch %d after its own epoch %d", r.Site, r.Epoch, reigns[i].Epoch)})
		}
	}
	return out
}

// pointings are DNS records that persons changed more than once in one run of a procedure.
func pointings(run *history.Run) (out []Finding) {
	acts, err := history.Marked[history.PersonData](run, history.KindPerson)
	if err != nil {
		return []Finding{{What: err.Error()}}
	}
	for _, p := range run.Procedures() {
		times := map[string]int{}
		for _, a := range acts {
			if !p.Holds(a.T) {
				continue
			}
			for _, name := range a.Data.Records {
				if times[name]++; times[name] == 2 {
					out = append(out, Finding{T: int64(a.T), What: fmt.Sprintf("the record %s was changed twice in %s", name, p.Name)})
				}
			}
		}
	}
	return out
}
