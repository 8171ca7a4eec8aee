package workload

import (
	"context"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// wallWatch sees the wall clock step against the monotonic one (NTP, a resumed machine). Nothing in a drill reads wall time,
// but databases stamp rows with it, so a step is a disturbance that the record must name.
type wallWatch struct {
	mu    sync.Mutex
	worst time.Duration
}

// wallEvery is how often the two clocks are compared.
const wallEvery = 200 * time.Millisecond

func wallNow() int64 { return time.Now().UnixNano() }

// watch compares the clocks until ctx ends or stop is closed.
func (w *wallWatch) watch(ctx context.Context, stop <-chan struct{}, clock history.Clock, wall func() int64) {
	tick := time.NewTicker(wallEvery)
	defer tick.Stop()
	first := apart(clock, wall)
	for {
		select {
		case <-tick.C:
		case <-stop:
			return
		case <-ctx.Done():
			return
		}
		d := (apart(clock, wall) - first).Abs()
		w.mu.Lock()
		w.worst = max(w.worst, d)
		w.mu.Unlock()
	}
}

// apart is wall − monotonic. The wall is read between two readings of the other clock, and the closest of three triples is
// taken, so that being scheduled away in between does not look like a step.
func apart(clock history.Clock, wall func() int64) time.Duration {
	var best time.Duration
	closest := time.Duration(1<<63 - 1)
	for range 3 {
		a := clock.Now()
		w := wall()
		b := clock.Now()
		if d := b.Sub(a); d < closest {
			closest = d
			best = time.Duration(w - (int64(a) + int64(d)/2))
		}
	}
	return best
}

// jump is the largest drift seen.
func (w *wallWatch) jump() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.worst
}
