package hosted

import (
	"context"
	"errors"
	"time"
)

// A Cassandra node takes 5 to 8 seconds of a CPU before it answers, and about as many for its first work: its keyspaces, the rebuild
// of its data. In another region nobody would feel that: here it would take them from the nodes that serve. One that is started again
// yields to those for so long; at the start of a world nobody serves yet, and beside one that is started alone nobody does any more.
const (
	yieldLimit = 2 * time.Minute  // of a start; then it has waited long enough
	yieldFirst = 15 * time.Second // from its first answer on, its first work; customers may be led to it soon after
	yieldLook  = 250 * time.Millisecond
)

// YieldShare is what a node that yields gets of a CPU for which others wait, of 1024 that each of them gets. A nice value of 15 means the same.
const YieldShare = 36

// Yield lets a node that was just started yield to the others until it has answered for a while, its process has ended, or it took too
// long: lower and raise change what it gets of the CPU, answers reads whether it serves.
func Yield(ctx context.Context, lower, raise func() error, answers func(ctx context.Context) error, ended <-chan struct{}) error {
	return yield(ctx, lower, raise, answers, ended, yieldFirst)
}

func yield(ctx context.Context, lower, raise func() error, answers func(ctx context.Context) error, ended <-chan struct{}, first time.Duration) error {
	if err := lower(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, yieldLimit)
	defer cancel()
	tick := time.NewTicker(yieldLook)
	defer tick.Stop()
	var served <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil // with its world
			}
			return raise()
		case <-ended:
			return raise()
		case <-served:
			return raise()
		case <-tick.C:
			if served == nil && answers(ctx) == nil {
				served = time.After(first)
			}
		}
	}
}
