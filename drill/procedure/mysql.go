package procedure

import (
	"context"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// Keys of what the database verbs journal.
const (
	sawReceived = "received"  // GTID set that the replica had received when its input was stopped
	sawPromoted = "promoted"  // GTID set that it had executed when it was detached: the point that it is promoted at
	sawOldEpoch = "old_epoch" // number of the epoch before the promotion
)

// detach is article 002's row 2. The order is: stop the input, apply what was received, note both sets, forget the source.
// Forgetting drops the relay log, and with it every transaction that was received and not applied; those were safe in this
// region, and the customers had been told so.
//
// The act destroys its own evidence: a detached server no longer knows what it had received. So the received set is on disk
// in the journal before the source is forgotten, and an operator that finds the source gone holds the noted set against what
// is executed. Killed at any point, what is left to do is what is left in the database.
type detach struct {
	estate Estate
	region topology.Site
	drain  bool
}

func (d detach) Check(ctx context.Context) (runbook.Seen, error) {
	_, r, err := replicationOf(ctx, d.estate, d.region)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"source": r.Source, sawReceived: r.Received, "executed": r.Executed, "read_only": r.ReadOnly}
	if d.drain && r.Source != "" && r.ApplyError != "" {
		return saw, fmt.Errorf("the applier of %s has stopped: %s", d.region, r.ApplyError)
	}
	return saw, nil
}

func (d detach) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	db, r, err := replicationOf(ctx, d.estate, d.region)
	if err != nil {
		return nil, err
	}
	if r.Source == "" { // an earlier operator got that far
		return d.Confirm(ctx, notes)
	}
	if err := db.StopReceiver(ctx); err != nil {
		return nil, fmt.Errorf("stop the receiver of %s: %w", d.region, err)
	}
	received := ""
	err = until(ctx, func() (string, error) {
		r, err = db.Replication(ctx)
		if err != nil {
			return "", fmt.Errorf("read replication of %s: %w", d.region, err)
		}
		if r.Receiving {
			return "the receiver still runs", nil
		}
		received = r.Received
		return "", nil
	})
	if err != nil {
		return nil, fmt.Errorf("stop the receiver of %s: %w", d.region, err)
	}
	if err := notes.Note(runbook.Seen{sawReceived: received, "executed": r.Executed, "source": r.Source}); err != nil {
		return nil, err
	}
	if d.drain {
		if r.Executed, err = d.apply(ctx, db, notes); err != nil {
			return nil, err
		}
	}
	// Nothing else writes here: the server is read-only and its input is stopped. What is executed now is what is promoted.
	promoted := runbook.Seen{sawPromoted: r.Executed}
	if err := notes.Note(promoted); err != nil {
		return nil, err
	}
	if err := db.Detach(ctx); err != nil {
		return promoted, fmt.Errorf("detach %s: %w", d.region, err)
	}
	return promoted, nil
}

// apply waits until everything that was received is executed, and returns what is executed then.
func (d detach) apply(ctx context.Context, db Database, notes runbook.Notes) (executed string, err error) {
	missing := func() (string, error) {
		r, err := db.Replication(ctx)
		if err != nil {
			return "", fmt.Errorf("read replication of %s: %w", d.region, err)
		}
		executed = r.Executed
		left, err := dropped(notes, r.Executed)
		if err != nil || left.Empty() {
			return "", err
		}
		if r.ApplyError != "" {
			return "", fmt.Errorf("the applier of %s has stopped before %s: %s", d.region, left, r.ApplyError)
		}
		return "not yet executed: " + left.String(), nil
	}
	first, err := missing()
	if err != nil || first == "" {
		return executed, err
	}
	if err := db.StartApplier(ctx); err != nil { // it may have been stopped by an earlier operator who was killed
		return "", fmt.Errorf("start the applier of %s: %w", d.region, err)
	}
	if err := until(ctx, missing); err != nil {
		return "", fmt.Errorf("apply what %s has received: %w", d.region, err)
	}
	return executed, nil
}

// dropped returns what this step noted as received and the server has not executed. Every note counts: a server that was
// restarted half-way may have thrown away its relay log and say that it received nothing.
func dropped(notes runbook.Notes, executed string) (history.GTIDSet, error) {
	done, err := history.ParseGTIDSet(executed)
	if err != nil {
		return history.GTIDSet{}, err
	}
	var all history.GTIDSet
	for _, v := range notes.All(sawReceived) {
		text, _ := v.(string)
		set, err := history.ParseGTIDSet(text)
		if err != nil {
			return history.GTIDSet{}, err
		}
		all = all.Union(set)
	}
	return all.Subtract(done), nil
}

// Confirm: there is no source, this run noted what had been received, and all of it is executed.
func (d detach) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	_, r, err := replicationOf(ctx, d.estate, d.region)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"source": r.Source, "executed": r.Executed}
	if r.Source != "" {
		return saw, fmt.Errorf("%s still replicates from %s", d.region, r.Source)
	}
	promoted := notes.All(sawPromoted)
	if len(promoted) == 0 {
		return saw, fmt.Errorf("%s has no source, and this run has no record of what it had received: somebody else detached it, "+
			"and nothing proves that it was drained", d.region)
	}
	saw[sawPromoted] = promoted[len(promoted)-1]
	if !d.drain {
		return saw, nil
	}
	left, err := dropped(notes, r.Executed)
	if err != nil {
		return saw, err
	}
	if !left.Empty() {
		return saw, fmt.Errorf("%s had received %s and has not executed it: it is lost here", d.region, left)
	}
	return saw, nil
}

// promote is article 002's row 3: the detached database becomes the writer. The epoch is raised while only operators can write,
// so that there is no moment in which this database accepts the writes of an application that was started in the old epoch.
type promote struct {
	estate Estate
	region topology.Site
}

func (p promote) Check(ctx context.Context) (runbook.Seen, error) {
	saw, _, _, _, err := p.look(ctx)
	return saw, err
}

// look reads the server and its epoch.
func (p promote) look(ctx context.Context) (saw runbook.Seen, r Replication, epoch int64, site topology.Site, err error) {
	if _, r, err = replicationOf(ctx, p.estate, p.region); err != nil {
		return nil, r, 0, "", err
	}
	if epoch, site, err = epochOf(ctx, p.estate, p.region); err != nil {
		return nil, r, 0, "", err
	}
	saw = runbook.Seen{"source": r.Source, "read_only": r.ReadOnly, "persisted_writable": r.PersistedWritable, "epoch": epoch, "epoch_site": string(site)}
	return saw, r, epoch, site, nil
}

func (p promote) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw, r, epoch, _, err := p.look(ctx)
	if err != nil {
		return saw, err
	}
	if r.Source != "" {
		return saw, fmt.Errorf("%s still replicates from %s: two writers would be one decision away; detach it first", p.region, r.Source)
	}
	if held, err := leased(ctx, p.estate, p.region); err != nil {
		return held, err
	}
	old, noted := oldEpoch(notes)
	if !noted {
		old = epoch
		if err := notes.Note(runbook.Seen{sawOldEpoch: old}); err != nil {
			return saw, err
		}
	}
	db, err := p.estate.Database(p.region)
	if err != nil {
		return saw, err
	}
	if epoch == old { // once only, however often this act is done
		if err := p.raise(ctx, db, old+1); err != nil {
			return saw, err
		}
	}
	if err := allowWrites(ctx, db, p.region); err != nil {
		return saw, err
	}
	return runbook.Seen{sawOldEpoch: old, "epoch": old + 1}, nil
}

// raise raises the epoch. The guard of a server that was given the lease, or people's word, a moment ago may not know it yet and forbid the
// writes once more in between: that is tried again, and nothing else is.
func (p promote) raise(ctx context.Context, db Database, epoch int64) error {
	err := until(ctx, func() (string, error) {
		if err := db.AllowOperators(ctx); err != nil {
			return "", fmt.Errorf("allow the operators' writes: %w", err)
		}
		err := db.RaiseEpoch(ctx, epoch, string(p.region))
		if errors.Is(err, ErrReadOnly) {
			return err.Error(), nil
		}
		return "", err
	})
	if err != nil {
		return fmt.Errorf("raise the epoch of %s to %d: %w", p.region, epoch, err)
	}
	return nil
}

// allowWrites makes a server writable, and sees it writable: its guard, which has the lease since a moment, may just have finished what it
// did without it.
func allowWrites(ctx context.Context, db Database, region topology.Site) error {
	err := until(ctx, func() (string, error) {
		if err := db.SetWritable(ctx, true); err != nil {
			return "", err
		}
		r, err := db.Replication(ctx)
		if err != nil {
			return "", err
		}
		if r.ReadOnly || r.SuperReadOnly {
			return "it is read-only again", nil
		}
		return "", nil
	})
	if err != nil {
		return fmt.Errorf("allow writes in %s: %w", region, err)
	}
	return nil
}

// ErrReadOnly says that a server refused to write, and has not written: it is read-only.
var ErrReadOnly = errors.New("the server is read-only")

// oldEpoch is the epoch that this run found before it raised it.
func oldEpoch(notes runbook.Notes) (int64, bool) {
	for _, v := range notes.All(sawOldEpoch) {
		return number(v)
	}
	return 0, false
}

// Confirm: the server is up, writable now and after a restart, follows nobody, and the epoch row names its region: in the very
// next epoch, where this run raised it.
func (p promote) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw, r, epoch, site, err := p.look(ctx)
	if err != nil {
		return saw, err
	}
	var missing []error
	if r.Source != "" {
		missing = append(missing, fmt.Errorf("it replicates from %s", r.Source))
	}
	if r.ReadOnly {
		missing = append(missing, errors.New("it is read-only"))
	}
	if !r.PersistedWritable {
		missing = append(missing, errors.New("a restart would make it read-only"))
	}
	if site != p.region {
		missing = append(missing, fmt.Errorf("epoch %d belongs to %s", epoch, site))
	}
	if old, noted := oldEpoch(notes); noted && epoch != old+1 {
		missing = append(missing, fmt.Errorf("the epoch is %d, expected %d", epoch, old+1))
	}
	if len(missing) > 0 {
		return saw, fmt.Errorf("mysql of %s is not the writer: %w", p.region, errors.Join(missing...))
	}
	return saw, nil
}
