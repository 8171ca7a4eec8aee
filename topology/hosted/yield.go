package hosted

import (
	"context"
	"time"
)

// A Cassandra node takes 5 to 8 seconds of a CPU before it answers, and about as many for its first work: its keyspaces, the rebuild
// of its data, the first queries of whoever compares them. In another region nobody would feel that: here it would take them from the
// nodes that serve. One that is started again yields to those until its own region serves, too; at the start of a world nobody
// serves yet, and beside one that is started alone nobody does any more.
const (
	yieldLimit = 5 * time.Minute  // after its start
	yieldFirst = 15 * time.Second // at least so long after its first answer, its first work in a region that serves already
	yieldLook  = 250 * time.Millisecond
)

// YieldShare is what a node that yields gets of a CPU for which others wait, of 1024 that each of them gets. A nice value of 10 means the same.
const YieldShare = 110

// Yielding is a node that yields.
type Yielding struct {
	Lower   func() error                    // lets it have little of the CPU
	Raise   func() error                    // lets it have as much as the others
	Answers func(ctx context.Context) error // whether it serves clients: nil, or why not
	Serves  func(ctx context.Context) bool  // whether its region's application serves customers
	Ended   <-chan struct{}                 // closed when its process has ended
}

// Yield lowers a node that was just started, and raises it once it has answered for a while and its region serves, its process
// has ended, or it took too long. It returns then, or when ctx ends, which is the end of its world.
func Yield(ctx context.Context, y Yielding) error {
	if err := y.Lower(); err != nil {
		return err
	}
	over := time.NewTimer(yieldLimit)
	defer over.Stop()
	tick := time.NewTicker(yieldLook)
	defer tick.Stop()
	var answered time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-y.Ended:
			return y.Raise()
		case <-over.C:
			return y.Raise()
		case <-tick.C:
			switch {
			case answered.IsZero():
				if y.Answers(ctx) == nil {
					answered = time.Now()
				}
			case time.Since(answered) >= yieldFirst && y.Serves(ctx):
				return y.Raise()
			}
		}
	}
}
