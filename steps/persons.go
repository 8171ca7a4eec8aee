package steps

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

// Scripted persons of a drill, as they sign the record.
const (
	personInCharge = "責任者 (person in charge)"
	dutyPerson     = "当番 (person on duty)"
)

// beOnDuty plays the person on duty while an operator is at work: once the journal says that a step waits for a person, and
// the person's reaction time has passed, every record of the zone that leads to the lost site is pointed at the survivor.
// The list comes from the zone as it is now: records younger than any procedure file count too (002, row 8, why it is manual).
func (d *Drill) beOnDuty(ctx context.Context) {
	if !d.waitForManualStep(ctx) || pass(ctx, d.person) != nil {
		return
	}
	lost, survivor := d.lost, d.world.Topology().Standby()
	records, err := d.world.Zone().Records(ctx)
	if err != nil {
		d.say("person", "cannot read the zone: %v", err)
		return
	}
	did := history.PersonData{Who: dutyPerson, Did: "pointed DNS records at " + string(survivor)}
	oldest := oldestRecord(records)
	for _, r := range records {
		if r.Site != lost {
			continue
		}
		if err := d.world.Zone().Point(ctx, r.Name, survivor); err != nil {
			d.say("person", "cannot change %s: %v", r.Name, err)
			continue // the step's confirm will miss it and say so
		}
		did.Records = append(did.Records, r.Name)
		if r.Added.After(oldest.Add(time.Second)) {
			did.Young = append(did.Young, r.Name)
		}
	}
	d.record.Mark(history.KindPerson, "dns", did)
	d.say("person", "%s points %d records at %s: %s", dutyPerson, len(did.Records), survivor, strings.Join(did.Records, " "))
}

// oldestRecord is when the zone was made: what was added later is younger than the procedure.
func oldestRecord(records []topology.Record) time.Time {
	if len(records) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(records, func(a, b topology.Record) int { return a.Added.Compare(b.Added) }).Added
}

// waitForManualStep returns true once the newest journal entry of a manual step says that it waits; false when ctx ended.
func (d *Drill) waitForManualStep(ctx context.Context) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		journal, err := history.LoadJournal(d.folder)
		if err == nil && waiting(journal) {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// waiting says whether the last step that the journal speaks of is a manual one that waits for its person.
func waiting(journal []history.Entry) bool {
	for i := len(journal) - 1; i >= 0; i-- {
		if journal[i].Step != "" {
			return journal[i].Kind == history.EntryWait && journal[i].Manual
		}
	}
	return false
}
