package procedure

import (
	"context"
	"fmt"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// errant: what the replica has and its source lacks is never replicated, and MySQL follows all the same. The other way round, what
// the source has the replica must have or be able to get, which the next two conditions read.
func (g Gate) errant(ctx context.Context, p pair) (string, error) {
	target, source, errant, err := p.read(ctx)
	if err != nil {
		return "", err
	}
	if !errant.Empty() {
		return "", fmt.Errorf("%s has executed what %s has not: %s", g.To, g.From, errant)
	}
	if target.UUID == source.UUID {
		return "", fmt.Errorf("%s and %s are one server", g.To, g.From)
	}
	return fmt.Sprintf("%s has nothing that %s lacks", g.To, g.From), nil
}

func (g Gate) binlog(ctx context.Context, p pair) (string, error) {
	target, source, _, err := p.read(ctx)
	if err != nil {
		return "", err
	}
	purged, err := history.ParseGTIDSet(source.Purged)
	if err != nil {
		return "", err
	}
	has, err := history.ParseGTIDSet(target.Executed)
	if err != nil {
		return "", err
	}
	if lost := purged.Subtract(has); !lost.Empty() {
		return "", fmt.Errorf("%s still needs what the binary logs of %s no longer have: %s", g.To, g.From, lost)
	}
	return fmt.Sprintf("nothing that %s lacks is purged in %s", g.To, g.From), nil
}

// lag is measured, not asked for: Seconds_Behind_Source says 0 behind a link that is black-holed.
func (g Gate) lag(ctx context.Context, p pair) (string, error) {
	target, source, _, err := p.read(ctx)
	if err != nil {
		return "", err
	}
	if target.Source == "" || !target.Receiving || !target.Applying || target.Error != "" {
		return "", fmt.Errorf("replication of %s does not run: it follows %q, receiving %t, applying %t %s", g.To, target.Source, target.Receiving, target.Applying, target.Error)
	}
	db, err := p.restorer(g.To)
	if err != nil {
		return "", err
	}
	began := time.Now()
	there, err := db.WaitExecuted(ctx, source.Executed, g.Lag)
	if err != nil {
		return "", fmt.Errorf("wait for %s to have what %s has: %w", g.To, g.From, err)
	}
	if !there {
		return "", fmt.Errorf("after %s %s has not executed what %s had", g.Lag, g.To, g.From)
	}
	return fmt.Sprintf("%s had what %s had after %s", g.To, g.From, time.Since(began).Round(time.Millisecond)), nil
}
