package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// Scripted persons of a drill, as they sign the record.
const (
	personInCharge = "責任者 (person in charge)"
	dutyPerson     = "当番 (person on duty)"
	otherOperator  = "交代 (relief operator)"
)

// asked is what the journal says an operator waits for: a person's hands, or a person's approval.
type asked struct {
	entry    int // index in the journal
	step     string
	undo     bool // the step is being taken back
	approval bool
}

// asks finds what the operator waits for now: what the newest entry about any step says.
func asks(journal []history.Entry) (asked, bool) {
	for i, e := range slices.Backward(journal) {
		if e.Step == "" || e.Kind == history.EntryRejected { // an approval that was not accepted leaves the step waiting for another
			continue
		}
		_, undo := e.Undoes()
		a := asked{entry: i, step: e.Step, undo: undo, approval: e.Kind == history.EntryAsk}
		return a, a.approval || e.Manual && strings.TrimPrefix(e.Kind, history.UndoPrefix) == history.EntryWait
	}
	return asked{}, false
}

// personTries is how often a person tries, in all, what is asked for.
const personTries = 3

// errand is one thing that was asked for, and what came of it so far.
type errand struct {
	done   bool
	failed int
	err    error   // of the last try
	notes  *memory // what the person saw himself: the next try knows of the one before
}

// attend plays the scripted persons while an operator is at work: whatever it waits for is done once the person's reaction time
// has passed. duty ends with the operator; what a person has begun by then he finishes, within ctx.
func (d *Drill) attend(duty, ctx context.Context, name string) {
	errands := map[int]*errand{} // by entry of the journal
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for duty.Err() == nil {
		if a, ok := d.askedNow(); ok {
			if errands[a.entry] == nil {
				errands[a.entry] = &errand{notes: &memory{folder: d.folder, step: a.step}}
			}
			d.try(duty, ctx, name, a, errands[a.entry])
		}
		select {
		case <-tick.C:
		case <-duty.Done():
		}
	}
}

// try tries once more what is asked for, unless that is done. If it is still asked for after the last try, the drill ends with what
// that one met: the operator would wait for its whole budget, and say only that nobody did it.
func (d *Drill) try(duty, ctx context.Context, name string, a asked, e *errand) {
	if e.done {
		return
	}
	if e.failed == personTries {
		e.done = true
		d.cancel(fmt.Errorf("step %s: given up after %d tries: %w", a.step, e.failed, e.err))
		return
	}
	e.err = d.answer(duty, ctx, name, a, e.notes)
	if e.done = e.err == nil; e.done {
		return
	}
	e.failed++
	d.say("person", "step %s, try %d of %d: %v", a.step, e.failed, personTries, e.err)
}

func (d *Drill) askedNow() (asked, bool) {
	journal, err := history.LoadJournal(d.folder)
	if err != nil {
		return asked{}, false
	}
	return asks(journal)
}

// answer does what is asked for, unless nobody asks any more when the reaction time has passed, or nobody is there to do it.
func (d *Drill) answer(duty, ctx context.Context, name string, a asked, notes *memory) error {
	reaction := d.person
	if a.approval {
		reaction = d.approver
	}
	if reaction == 0 || pass(duty, reaction) != nil {
		return nil
	}
	if now, ok := d.askedNow(); !ok || now != a {
		return nil
	}
	if a.approval {
		return d.approve(ctx, a)
	}
	return d.doByHand(ctx, name, a, notes)
}

// doByHand is the person on duty: what the step's verb would do, done by a person.
func (d *Drill) doByHand(ctx context.Context, name string, a asked, notes *memory) error {
	rb, err := BindProcedure(name, nil, d.world.Topology(), d.estate.In(d.folder))
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rb.Steps, func(s runbook.Step) bool { return s.Path == a.step })
	if i < 0 {
		return fmt.Errorf("%s has no such step", name)
	}
	s := rb.Steps[i]
	verb, inputs, action, budget := s.Verb, s.Inputs, s.Action, s.Budget
	if a.undo {
		verb, inputs, action, budget = s.Undo.Verb, s.Undo.Inputs, s.Undo.Action, s.Undo.Budget
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	if verb == "dns.point" {
		return d.pointRecords(ctx, topology.Site(fmt.Sprint(inputs["from"])), topology.Site(fmt.Sprint(inputs["to"])))
	}
	began := time.Now()
	d.say("person", "%s does step %s by hand: %s", dutyPerson, s.Path, s.Title)
	notes.procedure = rb.Name
	_, err = action.Act(ctx, notes)
	did := history.PersonData{Who: dutyPerson, Did: fmt.Sprintf("%s by hand, in %.1f s", verb, time.Since(began).Seconds())}
	if err != nil {
		did.Did = fmt.Sprintf("%s by hand, and it failed: %v", verb, err)
	}
	d.record.Mark(history.KindPerson, s.Path, did)
	return err
}

// pointRecords points every record of the zone that leads to one site at another. The list comes from the zone as it is now:
// records younger than any procedure file count too (002, row 8, why it is manual). One that cannot be changed does not keep
// the others, and is left for the next try.
func (d *Drill) pointRecords(ctx context.Context, from, to topology.Site) error {
	records, err := d.world.Zone().Records(ctx)
	if err != nil {
		return fmt.Errorf("read the zone: %w", err)
	}
	did := history.PersonData{Who: dutyPerson, Did: "pointed DNS records at " + string(to)}
	oldest := oldestRecord(records)
	var failed []error
	for _, r := range records {
		if r.Site != from {
			continue
		}
		if err := d.world.Zone().Point(ctx, r.Name, to); err != nil {
			failed = append(failed, fmt.Errorf("point %s at %s: %w", r.Name, to, err))
			continue
		}
		did.Records = append(did.Records, r.Name)
		if r.Added.After(oldest.Add(time.Second)) {
			did.Young = append(did.Young, r.Name)
		}
	}
	if len(did.Records) > 0 || len(failed) == 0 {
		d.record.Mark(history.KindPerson, "dns", did)
		d.say("person", "%s points %d records at %s: %s", dutyPerson, len(did.Records), to, strings.Join(did.Records, " "))
	}
	return errors.Join(failed...)
}

// oldestRecord is when the zone was made: what was added later is younger than the procedure.
func oldestRecord(records []topology.Record) time.Time {
	if len(records) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(records, func(a, b topology.Record) int { return a.Added.Compare(b.Added) }).Added
}

// keyOf is the file of a scripted person's private key.
func (d *Drill) keyOf(who string) string {
	return filepath.Join(d.folder, keysFolder, slug(who)+".key")
}

// keysFolder holds the scripted persons' private keys, in the run folder and for as long as the world is up.
const keysFolder = "keys"

// makeKeys gives every scripted person a key of his own, made at random for this run, and lists the one who may approve.
func (d *Drill) makeKeys(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(d.folder, keysFolder), 0o700); err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	for _, who := range []string{dutyPerson, otherOperator, personInCharge} {
		made := exec.CommandContext(ctx, d.options.Kirikae, "approve", "--new-key", d.keyOf(who), "--name", who)
		line, err := made.Output()
		if err != nil {
			return fmt.Errorf("make the key of %s: %w", who, err)
		}
		if who != personInCharge {
			continue
		}
		list := append([]byte("approvers:\n"), line...)
		if err := os.WriteFile(filepath.Join(d.folder, procedure.ApproversFile), list, 0o644); err != nil {
			return fmt.Errorf("list approvers: %w", err)
		}
	}
	return nil
}

// approve is the person in charge, at a terminal of his own.
func (d *Drill) approve(ctx context.Context, a asked) error {
	console := exec.CommandContext(ctx, d.options.Kirikae, "approve", relative(d.folder), a.step, "--key", d.keyOf(personInCharge))
	out, err := console.CombinedOutput()
	said := strings.TrimSpace(string(out))
	if err != nil {
		return fmt.Errorf("approve: %w: %s", err, said)
	}
	d.record.Mark(history.KindPerson, a.step, history.PersonData{Who: personInCharge, Did: "approved step " + a.step})
	d.say("person", "%s", said)
	return nil
}

// memory are the notes of a person who does a step: what the operators journalled about it, and what he himself saw.
type memory struct {
	folder, procedure, step string

	mu  sync.Mutex
	own []runbook.Seen
}

// Run implements runbook.Notes: the run that waits.
func (m *memory) Run() string {
	journal, err := history.LoadJournal(m.folder)
	if err != nil {
		return ""
	}
	status, _ := runbook.StatusOf(journal)
	return status.Run
}

// All implements runbook.Notes.
func (m *memory) All(key string) []any {
	journal, _ := history.LoadJournal(m.folder) // a journal that cannot be read is the operator's to complain of
	var out []any
	for _, e := range journal {
		if v, ok := e.Saw[key]; ok && e.Procedure == m.procedure && e.Step == m.step {
			out = append(out, v)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, saw := range m.own {
		if v, ok := saw[key]; ok {
			out = append(out, v)
		}
	}
	return out
}

// Note implements runbook.Notes: a person's own paper. Values are kept as a journal would give them back.
func (m *memory) Note(saw runbook.Seen) error {
	b, err := json.Marshal(saw)
	if err != nil {
		return fmt.Errorf("note: %w", err)
	}
	var read runbook.Seen
	if err := json.Unmarshal(b, &read); err != nil {
		return fmt.Errorf("note: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.own = append(m.own, maps.Clone(read))
	return nil
}

// Keep implements runbook.Keeper: files stand where the operator's own would.
func (m *memory) Keep(name string, b []byte) (string, error) {
	if name == "" || strings.ContainsAny(name, `/\`) {
		return "", fmt.Errorf("keep %q: not a file name", name)
	}
	path := filepath.Join("kept", m.Run(), "step-"+m.step+"-by-hand-"+name)
	full := filepath.Join(m.folder, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return "", fmt.Errorf("keep %s: %w", name, err)
	}
	if err := os.WriteFile(full, b, 0o644); err != nil {
		return "", fmt.Errorf("keep %s: %w", name, err)
	}
	return path, nil
}
