package procedure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// sawReady is the key under which handover.ready notes that both regions were fit; sawEqual and sawRows that of cassandra.equal.
const (
	sawReady = "ready"
	sawRows  = "rows"
)

// closely is how many transactions the next region may be behind, where nobody says otherwise.
const closely int64 = 200

// dear is the pause between two reads that ask much of the servers.
const dear = 100 * time.Millisecond

// ready is what a planned handover begins with. What it saw is noted and counts for this run: its later steps change what it
// looked at, and each of them proves for itself what it needs.
type ready struct {
	estate        Estate
	serving, next topology.Site
	lag           int64
}

// Check sees that everything answers that the handover will use.
func (r ready) Check(ctx context.Context) (runbook.Seen, error) {
	saw := runbook.Seen{}
	for _, site := range []topology.Site{r.serving, r.next} {
		epoch, owner, err := epochOf(ctx, r.estate, site)
		if err != nil {
			return saw, err
		}
		saw[string(site)] = fmt.Sprintf("epoch %d of %s", epoch, owner)
	}
	return saw, nil
}

// look is the predicate.
func (r ready) look(ctx context.Context) (saw runbook.Seen, missing []error, err error) {
	_, a, err := replicationOf(ctx, r.estate, r.serving)
	if err != nil {
		return nil, nil, err
	}
	_, b, err := replicationOf(ctx, r.estate, r.next)
	if err != nil {
		return nil, nil, err
	}
	from, err := history.ParseGTIDSet(a.Executed)
	if err != nil {
		return nil, nil, err
	}
	to, err := history.ParseGTIDSet(b.Executed)
	if err != nil {
		return nil, nil, err
	}
	lack, own := from.Subtract(to), to.Subtract(from)
	_, c, err := replicationOf(ctx, r.estate, r.serving) // what the replica is ahead of, it had from here by now
	if err != nil {
		return nil, nil, err
	}
	later, err := history.ParseGTIDSet(c.Executed)
	if err != nil {
		return nil, nil, err
	}
	own = own.Subtract(later)
	var behind int64
	for tag := range lack.ByTag() {
		behind += lack.Count(tag)
	}
	saw = runbook.Seen{"source": b.Source, "connected": b.Connected, "applying": b.Applying, "behind": behind}
	add := func(bad bool, format string, args ...any) {
		if bad {
			missing = append(missing, fmt.Errorf(format, args...))
		}
	}
	for _, at := range []topology.Site{r.serving, r.next} {
		epoch, owner, err := epochOf(ctx, r.estate, at)
		if err != nil {
			return saw, nil, err
		}
		add(owner != r.serving, "epoch %d belongs to %s, as %s says", epoch, owner, at)
	}
	add(a.ReadOnly || !a.PersistedWritable || a.Source != "", "mysql of %s is not the writer", r.serving)
	follower, err := able[Follower](r.estate, "replication between regions")
	if err != nil {
		return saw, nil, err
	}
	wanted, err := follower.Source(r.next, r.serving)
	if err != nil {
		return saw, nil, err
	}
	add(b.Source != wanted, "mysql of %s follows %q, expected %s", r.next, b.Source, wanted)
	add(!b.Connected || !b.Applying, "mysql of %s does not replicate (connected %t, applying %t) %s", r.next, b.Connected, b.Applying, b.ApplyError)
	add(!b.SuperReadOnly || !b.PersistedSuperReadOnly, "mysql of %s can be written to, now or after a restart", r.next)
	add(behind > r.lag, "mysql of %s is %d transactions behind, at most %d are allowed", r.next, behind, r.lag)
	add(!own.Empty(), "mysql of %s has executed %s, which %s never had", r.next, own, r.serving)
	if len(missing) > 0 {
		return saw, missing, nil
	}
	for _, site := range []topology.Site{r.serving, r.next} {
		ring, err := r.estate.Ring(site)
		if err != nil {
			return saw, nil, err
		}
		if err := ring.Answers(ctx); err != nil {
			missing = append(missing, fmt.Errorf("cassandra of %s does not answer at LOCAL_QUORUM: %w", site, err))
		}
	}
	return saw, missing, nil
}

// Act looks until both regions are fit, and notes it.
func (r ready) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	var saw runbook.Seen
	err := untilEvery(ctx, dear, func() (string, error) {
		now, missing, err := r.look(ctx)
		if err != nil {
			return "", err
		}
		saw = now
		if err := errors.Join(missing...); err != nil {
			return err.Error(), nil
		}
		return "", nil
	})
	if err != nil {
		return saw, fmt.Errorf("hand over from %s to %s: %w", r.serving, r.next, err)
	}
	saw[sawReady] = true
	return saw, notes.Note(saw)
}

// Confirm: this run has seen both regions fit.
func (r ready) Confirm(_ context.Context, notes runbook.Notes) (runbook.Seen, error) {
	if len(notes.All(sawReady)) == 0 {
		return nil, errors.New("this run has not seen both regions fit yet")
	}
	return runbook.Seen{"noted": true}, nil
}

// Would implements runbook.Foreteller.
func (r ready) Would(ctx context.Context) (string, error) {
	_, missing, err := r.look(ctx)
	if err != nil {
		return "", err
	}
	if err := errors.Join(missing...); err != nil {
		return "wait, and do nothing: " + err.Error(), nil
	}
	return "nothing: both regions are fit", nil
}

// equal compares the journals of both regions, row by row, while nobody pays.
type equal struct {
	estate        Estate
	serving, next topology.Site
}

// Check sees that both regions' Cassandra answer.
func (q equal) Check(ctx context.Context) (runbook.Seen, error) {
	if _, err := able[Comparer](q.estate, "comparing journals"); err != nil {
		return nil, err
	}
	for _, site := range []topology.Site{q.serving, q.next} {
		if err := answers(ctx, q.estate, site); err != nil {
			return nil, err
		}
	}
	return runbook.Seen{"local_quorum": true}, nil
}

// compare reads both.
func (q equal) compare(ctx context.Context) (runbook.Seen, string, error) {
	comparer, err := able[Comparer](q.estate, "comparing journals")
	if err != nil {
		return nil, "", err
	}
	c, err := comparer.CompareJournals(ctx, q.serving, q.next)
	if err != nil {
		return nil, "", fmt.Errorf("compare the journals of %s and %s: %w", q.serving, q.next, err)
	}
	return runbook.Seen{string(q.serving): c.RowsA, string(q.next): c.RowsB}, c.Differ, nil
}

// Act waits until nothing is on its way any more, hints included, and notes how many rows there are.
func (q equal) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	var saw runbook.Seen
	err := untilEvery(ctx, dear, func() (differ string, err error) {
		saw, differ, err = q.compare(ctx)
		return differ, err
	})
	if err != nil {
		return saw, fmt.Errorf("%s has not what %s has: %w", q.next, q.serving, err)
	}
	saw[sawRows] = saw[string(q.next)]
	return saw, notes.Note(saw)
}

// Confirm: before the flip the journals are equal now; after it they grow by themselves, and nothing takes rows out of them: the
// new region has at least what was equal then.
func (q equal) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	noted := notes.All(sawRows)
	if len(noted) == 0 {
		return nil, errors.New("this run has not compared the journals yet")
	}
	over, err := flipped(ctx, q.estate, q.next)
	if err != nil {
		return nil, err
	}
	saw, differ, err := q.compare(ctx)
	if err != nil {
		return saw, err
	}
	if !over && differ != "" {
		return saw, fmt.Errorf("the journals of %s and %s differ: %s", q.serving, q.next, differ)
	}
	then, _ := number(noted[len(noted)-1])
	if now, _ := saw[string(q.next)].(int); int64(now) < then {
		return saw, fmt.Errorf("the journal of %s has %d rows, and had %d at the flip", q.next, now, then)
	}
	return saw, nil
}

// Would implements runbook.Foreteller.
func (q equal) Would(ctx context.Context) (string, error) {
	_, differ, err := q.compare(ctx)
	if differ == "" {
		differ = "they do not differ"
	}
	return "wait until the journals are equal: " + differ, err
}
