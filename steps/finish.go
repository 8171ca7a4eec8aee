package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

// Bounds of a drill's end.
const (
	apart        = 2 * time.Second  // least time between two final reads that must agree
	quietLimit   = 30 * time.Second // for two reads to agree
	aloneLimit   = 60 * time.Second // for a lost region's store to answer on its own
	cleanUpLimit = 30 * time.Second // its own: what ended the drill does not end its clean-up
)

// end stops the load, reads what is left, wakes the lost region's stores alone, takes the world down and has the folder judged.
func (d *Drill) end(ctx context.Context) error {
	if d.ended {
		return errors.New("the drill has ended already")
	}
	d.ended = true
	if err := d.attestCalm(ctx); err != nil {
		return err
	}
	if err := d.stopLoad(ctx); err != nil {
		return err
	}
	if err := d.reconcile(ctx); err != nil {
		return err
	}
	if err := d.lastReads(ctx); err != nil {
		return err
	}
	d.worldDown()
	return d.judge("")
}

func (d *Drill) stopLoad(ctx context.Context) error {
	if d.load == nil {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, cleanUpLimit)
	defer cancel()
	err := d.load.Stop(bounded)
	d.phase(history.PhaseLoadEnd)
	err = errors.Join(err, d.canaries.Stop(bounded))
	for _, s := range d.samplers {
		s.Stop()
	}
	d.say("load", "ended: %s", d.loadLine())
	d.load, d.samplers = nil, nil
	d.turn.pass() // what is read from here on does not depend on how fast
	return err
}

// lastReads reads what is left: the facts first, as a store that is started for its data changes them, then the new authority's stores and,
// meanwhile, the lost region's. Nothing connects these two any more, and reading either is waiting more than work.
func (d *Drill) lastReads(ctx context.Context) error {
	if d.world == nil {
		return nil
	}
	d.phase(history.PhaseFinal)
	d.seeReign(ctx)
	d.evidence.Facts = d.readFacts(ctx)
	for _, n := range d.world.Nodes("", topology.OnPremises) { // it would pay on and on
		if err := n.Stop(ctx); err != nil {
			return err
		}
	}
	var both errgroup.Group
	both.Go(func() error { return d.finalReads(ctx) })
	both.Go(func() error { return d.lostRegion(ctx) })
	return both.Wait()
}

// finalReads reads both stores of the new authority until two reads agree, and once more through the API.
func (d *Drill) finalReads(ctx context.Context) error {
	site := d.authority()
	read := func(ctx context.Context) (*history.Stores, error) { return d.stores(ctx, site) }
	if err := d.readQuiet(ctx, read); err != nil {
		return err
	}
	if q := d.evidence.Quiescence; !q.Agreed {
		d.say("final", "not quiescent: %s", q.Why)
	}
	api, err := d.estate.Payments(site)
	if err != nil {
		return err
	}
	d.evidence.API, err = api.(payments).all(ctx)
	if err != nil {
		d.say("final", "through the API: %v", err) // not read: the judges say so
	}
	d.evidence.Charges, err = d.estate.Charges(ctx)
	if err != nil {
		d.say("final", "acquirer's log: %v", err)
	}
	if d.evidence.Ledger != nil && d.evidence.Journal != nil {
		d.say("final", "%s holds %d payments and %d events; the acquirer made %d charges",
			site, len(d.evidence.Ledger.Payments), len(d.evidence.Journal.Events), len(d.evidence.Charges))
	}
	return nil
}

// readQuiet reads until two reads that are at least `apart` apart agree, and keeps the last one. A store that cannot be read leaves that
// as the evidence, and the judges find that nothing is known: the drill did what it came for.
func (d *Drill) readQuiet(ctx context.Context, read func(context.Context) (*history.Stores, error)) error {
	bounded, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	q := &history.Quiescence{}
	d.evidence.Quiescence = q
	for {
		now, err := read(bounded)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			q.Why = err.Error()
			return nil
		}
		q.Reads++
		before, events := d.evidence.Ledger, d.evidence.Journal
		ledger, journal := *now.Ledger, *now.Journal
		d.evidence.Ledger, d.evidence.Journal = now.Ledger, now.Journal
		if before != nil {
			q.Apart = history.Duration(ledger.T.Sub(before.T))
			if q.Agreed = sameRows(*before, ledger) && sameEvents(*events, journal); q.Agreed {
				return nil
			}
			q.Why = fmt.Sprintf("payments %d, then %d; events %d, then %d", len(before.Payments), len(ledger.Payments), len(events.Events), len(journal.Events))
		}
		if pass(bounded, apart) != nil {
			return nil // bounded: the judges find that the reads did not agree
		}
	}
}

func sameRows(a, b history.LedgerRows) bool {
	return slices.Equal(a.Payments, b.Payments) && a.Snapshot.Balance == b.Snapshot.Balance && a.Snapshot.Entries == b.Snapshot.Entries
}

func sameEvents(a, b history.JournalRows) bool {
	if len(a.Events) != len(b.Events) {
		return false
	}
	seen := make(map[string]history.EventRow, len(a.Events))
	for _, e := range a.Events {
		seen[e.Key] = e
	}
	for _, e := range b.Events {
		if seen[e.Key] != e {
			return false
		}
	}
	return true
}

// lostRegion reads the lost region's stores: started alone on their own data if they are dead, with every link still cut.
// Nothing has wiped or healed anything before.
func (d *Drill) lostRegion(ctx context.Context) error {
	if d.lost == "" || d.evidence.OldLedger != nil && d.evidence.OldJournal != nil {
		return nil // nothing was lost, or it was read before
	}
	d.phase(history.PhaseEvidence)
	ctx, cancel := context.WithTimeout(ctx, aloneLimit)
	defer cancel()
	stop := d.options.Progress.Beat("evidence", func() string { return "waiting for " + string(d.lost) + "'s stores, alone on their own data" })
	defer stop()
	stores, ctx := errgroup.WithContext(ctx)
	stores.Go(func() error {
		for _, n := range d.world.Nodes(d.lost, topology.MySQL) {
			if err := startAlone(ctx, n); err != nil {
				return err
			}
		}
		return d.keptLedger(ctx, d.lost)
	})
	stores.Go(func() error {
		for _, n := range d.world.Nodes(d.lost, topology.Cassandra) {
			if err := startAlone(ctx, n); err != nil {
				return err
			}
		}
		return d.keptJournal(ctx, d.lost)
	})
	if err := stores.Wait(); err != nil {
		d.say("evidence", "%v", err) // what was not read is missing for the judges: no reason to throw away the rest
		return nil
	}
	d.say("evidence", "%s kept %d payments and %d events", d.lost, len(d.evidence.OldLedger.Payments), len(d.evidence.OldJournal.Events))
	return nil
}

// keptLedger reads what a lost region's MySQL holds, and the database's own account of it.
func (d *Drill) keptLedger(ctx context.Context, site topology.Site) error {
	db, err := d.estate.mysql(site)
	if err != nil {
		return err
	}
	if err := db.WaitReady(ctx); err != nil {
		return err
	}
	rows, err := db.Rows(ctx)
	if err != nil {
		return err
	}
	if rows.Transactions, err = db.Transactions(ctx); err != nil {
		return err
	}
	d.evidence.OldLedger = &rows
	return nil
}

// keptJournal reads what a lost region's Cassandra holds, once it answers.
func (d *Drill) keptJournal(ctx context.Context, site topology.Site) error {
	rows, err := d.estate.lostJournal(ctx, site)
	if err != nil {
		return err
	}
	d.evidence.OldJournal = &rows
	return nil
}

// startAlone starts a dead store of the lost region on its own data, without its peers; a living one is left as it is.
func startAlone(ctx context.Context, n topology.Node) error {
	state, err := n.State(ctx)
	if err != nil {
		return err
	}
	if state == topology.Running {
		return nil
	}
	lone, ok := n.(topology.LoneStarter)
	if !ok {
		return fmt.Errorf("start %s alone: %w", n.Name(), topology.ErrUnsupported)
	}
	return lone.StartAlone(ctx)
}

// worldDown ends the world and everything in it. Harmless when repeated.
func (d *Drill) worldDown() {
	d.interrupted.told.stop() // it asks by what is closed here
	if d.process == nil {
		return
	}
	d.phase(history.PhaseDown)
	began := time.Now()
	if err := os.RemoveAll(filepath.Join(d.folder, keysFolder)); err != nil {
		d.say("drill", "%v", err)
	}
	if d.guard != nil {
		if err := d.guard.Close(); err != nil {
			d.say("fault", "%v", err)
		}
	}
	if d.estate != nil {
		d.estate.Close()
	}
	if d.world != nil {
		d.world.Close()
	}
	d.process.Stop(cleanUpLimit)
	d.process, d.world, d.estate, d.guard = nil, nil, nil, nil
	d.say("world", "down after %.1f s", time.Since(began).Seconds())
}

// judge closes the record and has the run folder judged, as `kirikae check` will again. why says what ended the drill early.
func (d *Drill) judge(why string) error {
	d.phase(history.PhaseEnd)
	d.meta.Ended, d.meta.Interrupt = d.record.Now(), why
	if err := d.record.Close(); err != nil {
		d.meta.Interrupt = err.Error() // a history with a hole cannot be judged as whole
	}
	if err := history.WriteJSON(filepath.Join(d.folder, history.EvidenceFile), d.evidence); err != nil {
		return err
	}
	if err := d.saveMeta(); err != nil {
		return err
	}
	run, err := history.Load(d.folder)
	if err != nil {
		return err
	}
	judged := check.Judge(run)
	d.judged = &judged
	d.say("drill", "split: %s", split(run))
	return nil
}

// split is how long each phase of a run took: where a drill's time goes.
func split(run *history.Run) string {
	var parts []string
	var phases []history.Mark
	for _, m := range run.Marks {
		if m.Kind == history.KindPhase {
			phases = append(phases, m)
		}
	}
	for i, p := range phases[:max(0, len(phases)-1)] {
		parts = append(parts, fmt.Sprintf("%s %.1f", p.Name, phases[i+1].T.Sub(p.T).Seconds()))
	}
	if len(phases) > 0 {
		parts = append(parts, fmt.Sprintf("in all %.1f s", phases[len(phases)-1].T.Sub(phases[0].T).Seconds()))
	}
	return strings.Join(parts, " · ")
}

// close ends what is still open, however the scenario ended, and reports. stepErr is what stopped the scenario.
func (d *Drill) close(stepErr error) error {
	defer func() {
		if d.cancel != nil {
			d.cancel(nil)
		}
	}()
	if d.folder == "" { // nothing was begun
		d.code = ExitOf(stepErr)
		return nil
	}
	interrupted := d.ctx.Err() != nil
	if d.judged == nil {
		if err := d.breakOff(stepErr, interrupted); err != nil {
			d.say("drill", "cannot judge: %v", err)
			d.code = ExitOf(err)
			return nil
		}
	}
	d.code = check.ExitCode(*d.judged, d.meta.Expectation)
	switch {
	case errors.Is(stepErr, topology.ErrEnvironment), isUsage(stepErr):
		d.code = ExitOf(stepErr)
	case stepErr != nil && d.code == ExitPassed:
		// A sentence failed that no judge stands behind: the drill may not exit as if nothing had been wrong.
		d.say("drill", "a sentence failed although every check passed: %v", stepErr)
		d.code = ExitHarness
	}
	return d.finishReport(*d.judged)
}

// breakOff closes a drill that did not come to its end: whatever can still be read is read, the world is taken down within its
// own budget, and the folder is judged as an interrupted run.
func (d *Drill) breakOff(stepErr error, interrupted bool) error {
	why := "the drill ended before it was judged"
	if stepErr != nil {
		why = stepErr.Error()
		if interrupted {
			why = context.Cause(d.ctx).Error()
		}
		d.say("drill", "stopped: %v", stepErr)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), 2*cleanUpLimit)
	defer cancel()
	if d.load != nil {
		if err := d.stopLoad(ctx); err != nil {
			d.say("drill", "%v", err)
		}
	}
	// A drill that broke off on its own still owes its evidence; a person who pressed Ctrl-C wants it to end.
	if d.world != nil && (d.lost != "" || d.procedure != "") && !interrupted && !d.ended {
		d.ended = true
		if err := d.lastReads(ctx); err != nil {
			d.say("drill", "%v", err)
		}
	}
	d.worldDown()
	return d.judge(why)
}

func isUsage(err error) bool {
	var u *UsageError
	return errors.As(err, &u)
}
