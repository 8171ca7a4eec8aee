package procedure

import (
	"context"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// fence keeps everybody from writing in the old writer, while it is up. "Nobody writes" would also be true of a server that is
// down, and that one comes back writable: what is confirmed is the setting, now and in what the next restart reads.
type fence struct {
	estate Estate
	region topology.Site
}

// Check implements runbook.Action.
func (f fence) Check(ctx context.Context) (runbook.Seen, error) {
	_, r, err := replicationOf(ctx, f.estate, f.region)
	if err != nil {
		return nil, err
	}
	return runbook.Seen{"super_read_only": r.SuperReadOnly, "persisted": r.PersistedSuperReadOnly, "source": r.Source}, nil
}

// Act implements runbook.Action.
func (f fence) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	db, err := f.estate.Database(f.region)
	if err != nil {
		return nil, err
	}
	if err := db.SetWritable(ctx, false); err != nil {
		return nil, fmt.Errorf("forbid writes in %s: %w", f.region, err)
	}
	return nil, nil
}

// Confirm: the server is up and refuses writes, of operators too, and so it will after a restart; no transaction that has
// changed anything is still open.
func (f fence) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	db, r, err := replicationOf(ctx, f.estate, f.region)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"super_read_only": r.SuperReadOnly, "persisted": r.PersistedSuperReadOnly, "executed": r.Executed}
	var missing []error
	if !r.SuperReadOnly {
		missing = append(missing, errors.New("super_read_only is off"))
	}
	if !r.PersistedSuperReadOnly {
		missing = append(missing, errors.New("a restart would make it writable"))
	}
	counter, err := able[Writing](db, "count the open transactions of "+string(f.region))
	if err != nil {
		return saw, err
	}
	open, err := counter.Writing(ctx)
	if err != nil {
		return saw, fmt.Errorf("count the open transactions of %s: %w", f.region, err)
	}
	saw["in_flight"] = open
	if open > 0 {
		missing = append(missing, fmt.Errorf("%d transactions that write are still open", open))
	}
	if len(missing) > 0 {
		return saw, fmt.Errorf("mysql of %s is not fenced: %w", f.region, errors.Join(missing...))
	}
	return saw, nil
}

// Would implements runbook.Foreteller.
func (f fence) Would(ctx context.Context) (string, error) {
	_, r, err := replicationOf(ctx, f.estate, f.region)
	if err != nil {
		return "", err
	}
	if r.SuperReadOnly && r.PersistedSuperReadOnly {
		return "nothing: nobody can write there", nil
	}
	return fmt.Sprintf("let nobody write in mysql of %s, after a restart too", f.region), nil
}

// unfence takes the fence back, as long as the epoch is the region's own everywhere.
type unfence struct {
	estate        Estate
	serving, next topology.Site
}

// Check implements runbook.Action.
func (u unfence) Check(ctx context.Context) (runbook.Seen, error) {
	return fence{u.estate, u.serving}.Check(ctx)
}

// owns refuses where another region has become the writer. One that cannot be asked may be the reason why all is taken back, and must
// not keep the only region that can serve from serving: this run has promoted nobody, or it could not be taken back. With a witness,
// the lease says so too.
func (u unfence) owns(ctx context.Context, saw runbook.Seen) error {
	for _, at := range []topology.Site{u.serving, u.next} {
		epoch, owner, err := epochOf(ctx, u.estate, at)
		if err != nil && at == u.next && errors.Is(err, topology.ErrUnreachable) {
			saw[string(at)] = err.Error()
			continue
		}
		if err != nil {
			return err
		}
		if owner != u.serving {
			return fmt.Errorf("epoch %d belongs to %s, as %s says: two writers would be one statement away", epoch, owner, at)
		}
	}
	_, r, err := replicationOf(ctx, u.estate, u.serving)
	if err == nil && r.Source != "" {
		err = fmt.Errorf("%s replicates from %s", u.serving, r.Source)
	}
	if err == nil {
		_, err = leased(ctx, u.estate, u.serving)
	}
	return err
}

// Act implements runbook.Action.
func (u unfence) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	saw := runbook.Seen{}
	if err := u.owns(ctx, saw); err != nil {
		return saw, err
	}
	db, err := u.estate.Database(u.serving)
	if err != nil {
		return saw, err
	}
	return saw, allowWrites(ctx, db, u.serving)
}

// Confirm implements runbook.Action.
func (u unfence) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	_, r, err := replicationOf(ctx, u.estate, u.serving)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"read_only": r.ReadOnly, "persisted_writable": r.PersistedWritable}
	if r.ReadOnly || !r.PersistedWritable {
		return saw, fmt.Errorf("mysql of %s is not writable, now and after a restart", u.serving)
	}
	return saw, u.owns(ctx, saw)
}

// Keys of what mysql.drained journals.
const (
	sawFenced  = "fenced"   // GTID set of the fenced server
	sawDrained = "executed" // and of the one that takes over
	sawByTag   = "by_tag"   // both, by the kind of transaction
)

// drained waits until the replica has executed everything. From the fence on the old writer's set does not grow, so that the two
// sets that are equal once stay so until the flip: payments (pay), opened ones (open), canaries, untagged, each by itself.
type drained struct {
	estate        Estate
	serving, next topology.Site
}

// Check implements runbook.Action.
func (d drained) Check(ctx context.Context) (runbook.Seen, error) {
	_, a, err := replicationOf(ctx, d.estate, d.serving)
	if err != nil {
		return nil, err
	}
	_, b, err := replicationOf(ctx, d.estate, d.next)
	return runbook.Seen{string(d.serving): a.Executed, string(d.next): b.Executed}, err
}

// compare reads both sets, and says what one of them lacks. The old writer's is read first: what it grows by after that would be
// a fence that does not hold, and is found by the next read.
func (d drained) compare(ctx context.Context) (saw runbook.Seen, missing string, err error) {
	_, a, err := replicationOf(ctx, d.estate, d.serving)
	if err != nil {
		return nil, "", err
	}
	_, b, err := replicationOf(ctx, d.estate, d.next)
	if err != nil {
		return nil, "", err
	}
	from, err := history.ParseGTIDSet(a.Executed)
	if err != nil {
		return nil, "", err
	}
	to, err := history.ParseGTIDSet(b.Executed)
	if err != nil {
		return nil, "", err
	}
	tags := map[string]any{}
	left, right := from.ByTag(), to.ByTag()
	for tag := range to.Union(from).ByTag() {
		name := tag
		if name == "" {
			name = "untagged"
		}
		tags[name] = map[string]any{
			string(d.serving): left[tag].String(), string(d.next): right[tag].String(),
			"transactions": left[tag].Count(tag), "equal": left[tag].String() == right[tag].String(),
		}
	}
	saw = runbook.Seen{sawFenced: from.String(), sawDrained: to.String(), sawByTag: tags}
	switch lack, own := from.Subtract(to), to.Subtract(from); {
	case !a.SuperReadOnly:
		missing = fmt.Sprintf("%s is not fenced, its set may grow", d.serving)
	case !lack.Empty():
		missing = fmt.Sprintf("%s has not executed %s", d.next, lack)
		if b.ApplyError != "" {
			missing += ": its applier stopped: " + b.ApplyError
		}
	case !own.Empty():
		missing = fmt.Sprintf("%s has executed %s, which %s never had", d.next, own, d.serving)
	}
	return saw, missing, nil
}

// Act waits, and notes what proves that nothing is lost.
func (d drained) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	var saw runbook.Seen
	err := until(ctx, func() (missing string, err error) {
		saw, missing, err = d.compare(ctx)
		return missing, err
	})
	if err != nil {
		return saw, fmt.Errorf("drain %s into %s: %w", d.serving, d.next, err)
	}
	return saw, notes.Note(saw)
}

// Confirm: before the flip both sets are equal now; after it, all that the old writer had then is executed in the new one.
func (d drained) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	noted := notes.All(sawFenced)
	if len(noted) == 0 {
		return nil, errors.New("this run has not compared the two sets yet")
	}
	over, err := flipped(ctx, d.estate, d.next)
	if err != nil {
		return nil, err
	}
	if !over {
		saw, missing, err := d.compare(ctx)
		if err == nil && missing != "" {
			err = errors.New(missing)
		}
		return saw, err
	}
	text, _ := noted[len(noted)-1].(string)
	then, err := history.ParseGTIDSet(text)
	if err != nil {
		return nil, err
	}
	_, r, err := replicationOf(ctx, d.estate, d.next)
	if err != nil {
		return nil, err
	}
	now, err := history.ParseGTIDSet(r.Executed)
	if err != nil {
		return nil, err
	}
	if left := then.Subtract(now); !left.Empty() {
		return nil, fmt.Errorf("%s has not executed %s", d.next, left)
	}
	return runbook.Seen{"executed_all_of": text}, nil
}

// Would implements runbook.Foreteller.
func (d drained) Would(ctx context.Context) (string, error) {
	_, missing, err := d.compare(ctx)
	if missing == "" {
		missing = "nothing is missing"
	}
	return "wait, and do nothing: " + missing, err
}

// follow gives the old writer its new place: the redundancy of the ledger is back.
type follow struct {
	estate         Estate
	region, source topology.Site
}

// Check implements runbook.Action.
func (f follow) Check(ctx context.Context) (runbook.Seen, error) {
	follower, err := able[Follower](f.estate, "replication between regions")
	if err != nil {
		return nil, err
	}
	source, err := follower.Source(f.region, f.source)
	if err != nil {
		return nil, err
	}
	_, r, err := replicationOf(ctx, f.estate, f.region)
	return runbook.Seen{"source": r.Source, "wanted": source}, err
}

// Act refuses a server that could still be written to, and one whose transactions the source does not have: they would stay on
// its disk for ever, errant.
func (f follow) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	follower, err := able[Follower](f.estate, "replication between regions")
	if err != nil {
		return nil, err
	}
	_, r, err := replicationOf(ctx, f.estate, f.region)
	if err != nil {
		return nil, err
	}
	_, s, err := replicationOf(ctx, f.estate, f.source)
	if err != nil {
		return nil, err
	}
	own, err := history.ParseGTIDSet(r.Executed)
	if err != nil {
		return nil, err
	}
	there, err := history.ParseGTIDSet(s.Executed)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"executed": r.Executed, "source_executed": s.Executed}
	switch errant := own.Subtract(there); {
	case !r.SuperReadOnly:
		return saw, fmt.Errorf("mysql of %s can still be written to: fence it first", f.region)
	case s.ReadOnly:
		return saw, fmt.Errorf("mysql of %s is read-only: promote it first", f.source)
	case r.Source == "" && !errant.Empty(): // a replica that receives already is ahead of an older read of its source
		return saw, fmt.Errorf("mysql of %s has executed %s, which %s never had", f.region, errant, f.source)
	}
	if err := notes.Note(saw); err != nil {
		return saw, err
	}
	if err := follower.Follow(ctx, f.region, f.source); err != nil {
		return saw, fmt.Errorf("let %s follow %s: %w", f.region, f.source, err)
	}
	return saw, nil
}

// Confirm: the source is the wanted one, the server is connected to it and applies, refuses writes also after a restart, and has
// executed what the source had when it began to follow.
func (f follow) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	follower, err := able[Follower](f.estate, "replication between regions")
	if err != nil {
		return nil, err
	}
	wanted, err := follower.Source(f.region, f.source)
	if err != nil {
		return nil, err
	}
	_, r, err := replicationOf(ctx, f.estate, f.region)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"source": r.Source, "connected": r.Connected, "applying": r.Applying, "persisted": r.PersistedSuperReadOnly}
	switch {
	case r.Source != wanted:
		return saw, fmt.Errorf("mysql of %s follows %q, expected %s", f.region, r.Source, wanted)
	case !r.SuperReadOnly, !r.PersistedSuperReadOnly:
		return saw, fmt.Errorf("mysql of %s is not read-only for everybody, now and after a restart", f.region)
	case !r.Connected:
		return saw, fmt.Errorf("mysql of %s is not connected to %s", f.region, r.Source)
	case !r.Applying:
		return saw, fmt.Errorf("mysql of %s does not apply what it receives: %s", f.region, r.ApplyError)
	}
	for _, v := range notes.All("source_executed") {
		text, _ := v.(string)
		then, err := history.ParseGTIDSet(text)
		if err != nil {
			return saw, err
		}
		now, err := history.ParseGTIDSet(r.Executed)
		if err != nil {
			return saw, err
		}
		if left := then.Subtract(now); !left.Empty() {
			return saw, fmt.Errorf("mysql of %s has not executed %s", f.region, left)
		}
	}
	return saw, nil
}

// Would implements runbook.Foreteller.
func (f follow) Would(context.Context) (string, error) {
	return fmt.Sprintf("let mysql of %s follow %s", f.region, f.source), nil
}
