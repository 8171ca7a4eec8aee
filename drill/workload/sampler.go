package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Every calls f now and then at each multiple of period, until ctx ends. Calls do not overlap: one that takes longer than the
// period makes the next multiples pass. Each call gets a context that ends after limit. The error of ctx is not returned: an
// end is what a sampler is for.
func Every(ctx context.Context, period, limit time.Duration, f func(ctx context.Context)) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, limit)
		f(call)
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if ctx.Err() != nil { // both were ready
				return
			}
		}
	}
}

// Sampler is a periodic reading that runs until Stop.
type Sampler struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	good int
	bad  int
	last error
}

// Sample calls read every period, each call bounded by limit, until Stop or the end of ctx. An error is counted, kept as the
// last one, and does not end the sampling: a store that is down cannot be read, and may come back.
func Sample(ctx context.Context, period, limit time.Duration, read func(ctx context.Context) error) *Sampler {
	ctx, cancel := context.WithCancel(ctx)
	s := &Sampler{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		Every(ctx, period, limit, func(call context.Context) {
			err := read(call)
			if err != nil && ctx.Err() != nil {
				return // stopped in the middle of a reading
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.last = err
			if err != nil {
				s.bad++
			} else {
				s.good++
			}
		})
	}()
	return s
}

// Stop ends the sampling and waits for the reading that runs.
func (s *Sampler) Stop() {
	s.cancel()
	<-s.done
}

// Counts says how many readings succeeded and failed, and the error of the last one if it failed.
func (s *Sampler) Counts() (good, bad int, last error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.good, s.bad, s.last
}

// ReceivedReader reads what a replica has received from its source and executed of it.
type ReceivedReader interface {
	Received(ctx context.Context) (history.ReceivedData, error)
}

// SampleReceived marks what a replica has received, every period. A mark is stamped after its reading: all that it names had
// been received by then.
func SampleReceived(ctx context.Context, rec *history.Recorder, r ReceivedReader, period, limit time.Duration) *Sampler {
	return Sample(ctx, period, limit, func(ctx context.Context) error {
		d, err := r.Received(ctx)
		if err != nil {
			return fmt.Errorf("read received transactions: %w", err)
		}
		rec.Mark(history.KindReceived, d.Node, d)
		return nil
	})
}

// Snapshotter reads all balances and statements of a ledger in one consistent read.
type Snapshotter interface {
	Snapshot(ctx context.Context) (history.SnapshotData, error)
}

// SampleSnapshots marks one snapshot every period.
func SampleSnapshots(ctx context.Context, rec *history.Recorder, r Snapshotter, period, limit time.Duration) *Sampler {
	return Sample(ctx, period, limit, func(ctx context.Context) error {
		d, err := r.Snapshot(ctx)
		if err != nil {
			return fmt.Errorf("read snapshot: %w", err)
		}
		rec.Mark(history.KindSnapshot, d.Node, d)
		return nil
	})
}

// CanaryReader reads, at a replica, the t of the newest canary row that came from its source; zero when it shows none.
type CanaryReader interface {
	NewestCanary(ctx context.Context) (history.Instant, error)
}

// LagSampler measures replication lag by canary rows: by what a reader of the replica could see, not by what it says of itself.
type LagSampler struct {
	*Sampler
	node string

	mu     sync.Mutex
	recent []time.Duration // the last lagAgree readings
	seen   chan struct{}   // closed and replaced at each reading
}

// lagAgree is how many consecutive readings must show a lag: the age of the newest canary also rises between two canaries.
const lagAgree = 3

// SampleLag marks the age of the newest canary that a replica shows, every period. The age counts from the instant before the
// reading, so that a slow reading does not look like lag.
func SampleLag(ctx context.Context, rec *history.Recorder, node string, r CanaryReader, period, limit time.Duration) *LagSampler {
	l := &LagSampler{node: node, seen: make(chan struct{})}
	l.Sampler = Sample(ctx, period, limit, func(ctx context.Context) error {
		before := rec.Now()
		newest, err := r.NewestCanary(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("read newest canary of %s: %w", node, err)
		case newest == 0:
			return fmt.Errorf("read newest canary of %s: it shows none", node)
		}
		lag := max(0, before.Sub(newest))
		rec.Mark(history.KindLag, node, history.LagData{Node: node, Lag: history.Duration(lag)})
		l.mu.Lock()
		defer l.mu.Unlock()
		l.recent = append(l.recent, lag)
		if len(l.recent) > lagAgree {
			l.recent = l.recent[1:]
		}
		close(l.seen)
		l.seen = make(chan struct{})
		return nil
	})
	return l
}

// WaitLag waits until three readings in a row show a lag of at least least. ctx bounds it; the error says what was last seen.
func (l *LagSampler) WaitLag(ctx context.Context, least time.Duration) error {
	for {
		l.mu.Lock()
		recent, seen := append([]time.Duration(nil), l.recent...), l.seen
		l.mu.Unlock()
		reached := len(recent) == lagAgree
		for _, d := range recent {
			reached = reached && d >= least
		}
		if reached {
			return nil
		}
		var ended error
		select {
		case <-seen:
			continue
		case <-l.done:
			ended = errors.New("sampling was stopped")
		case <-ctx.Done():
			ended = ctx.Err()
		}
		_, _, last := l.Counts()
		if last != nil {
			return fmt.Errorf("wait for a lag of %v at %s: %w; last readings %v, then %w", least, l.node, ended, recent, last)
		}
		return fmt.Errorf("wait for a lag of %v at %s: %w; last readings %v", least, l.node, ended, recent)
	}
}
