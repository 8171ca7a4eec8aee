package workload

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// StreamStats is what one stream did so far.
type StreamStats struct {
	Stream    string
	InFlight  int
	OK        int
	Fail      int
	Info      int
	Shed      int
	LastOK    history.Instant // when the last good answer came
	LastSite  string          // site that gave it
	LastError string          // class of the last failure
}

// bucket is how finely completions are counted for the steady state; buckets is how far back.
const (
	bucket  = 100 * time.Millisecond
	buckets = 1200
)

// counters count completions as they come.
type counters struct {
	mu    sync.Mutex
	stats StreamStats
	ring  [buckets]struct {
		at      int64 // number of the bucket, so that an old lap is told from this one
		ok, bad int
	}
}

func (c *counters) add(t history.Instant, o history.Operation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &c.ring[int64(t)/int64(bucket)%buckets]
	if n := int64(t) / int64(bucket); b.at != n {
		b.at, b.ok, b.bad = n, 0, 0
	}
	switch o.Outcome {
	case history.OK:
		c.stats.OK++
		c.stats.LastOK, c.stats.LastSite = t, o.Site
		b.ok++
		return
	case history.Fail:
		c.stats.Fail++
	case history.Shed:
		c.stats.Shed++
	default:
		c.stats.Info++
	}
	c.stats.LastError = o.Error
	b.bad++
}

// last returns the completions of the whole buckets within hold before now.
func (c *counters) last(now history.Instant, hold time.Duration) (ok, bad int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := int64(now) / int64(bucket)
	for n := end - int64(hold/bucket); n < end; n++ {
		if b := c.ring[((n%buckets)+buckets)%buckets]; b.at == n {
			ok, bad = ok+b.ok, bad+b.bad
		}
	}
	return ok, bad
}

func (c *counters) read() StreamStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Stats says what each stream did so far, in the order payment, probe, repeat.
func (l *Load) Stats() []StreamStats {
	var out []StreamStats
	for _, s := range l.streams {
		st := s.live.read()
		st.Stream = s.stream
		s.mu.Lock()
		st.InFlight = s.inFlight
		s.mu.Unlock()
		out = append(out, st)
	}
	return out
}

// Stat is one stream's Stats; the zero value where the plan has no such stream.
func (l *Load) Stat(name string) StreamStats {
	for _, s := range l.Stats() {
		if s.Stream == name {
			return s
		}
	}
	return StreamStats{Stream: name}
}

// Steady state: the share of good answers, and the share of the planned rate at which they come.
const (
	steadySuccess = 0.999
	steadyGoodput = 0.95
)

// Steady waits until, over the last hold, payments and probes were answered at their planned rate with at least 99.9 % good
// answers. ctx bounds the wait; the error says what each stream last did. hold is at most two minutes.
func (l *Load) Steady(ctx context.Context, hold time.Duration) error {
	if hold < bucket || hold > buckets*bucket {
		return fmt.Errorf("wait for steady state: it can be held for %v to %v, not %v", bucket, buckets*bucket, hold)
	}
	began := l.rec.Now()
	tick := time.NewTicker(bucket)
	defer tick.Stop()
	for {
		saw, steady := l.steady(hold)
		// What was sent before this call counts too, but the load must have run for the whole hold.
		if steady {
			return nil
		}
		select {
		case <-tick.C:
		case <-l.stop:
			return fmt.Errorf("wait for %v of steady state: the load was stopped after %v: %s", hold, l.rec.Now().Sub(began).Round(bucket), saw)
		case <-ctx.Done():
			return fmt.Errorf("wait for %v of steady state: %w after %v; last saw %s", hold, ctx.Err(), l.rec.Now().Sub(began).Round(bucket), saw)
		}
	}
}

func (l *Load) steady(hold time.Duration) (saw string, steady bool) {
	var parts []string
	steady = true
	now := l.rec.Now()
	for _, s := range l.streams {
		if s.stream == history.StreamRepeat {
			continue
		}
		ok, bad := s.live.last(now, hold)
		planned := s.rate * hold.Seconds()
		if float64(ok) < steadySuccess*float64(ok+bad) || float64(ok) < steadyGoodput*planned {
			steady = false
		}
		part := fmt.Sprintf("%s %d good and %d bad of %.0f planned", s.stream, ok, bad, planned)
		if st := s.live.read(); bad > 0 && st.LastError != "" {
			part += " (last failure: " + st.LastError + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", "), steady && len(parts) > 0
}

// tail returns the 99th percentile and the greatest of some durations.
func tail(d []time.Duration) (p99, greatest history.Duration) {
	if len(d) == 0 {
		return 0, 0
	}
	s := slices.Clone(d)
	slices.Sort(s)
	return history.Duration(s[(len(s)*99+99)/100-1]), history.Duration(s[len(s)-1])
}
