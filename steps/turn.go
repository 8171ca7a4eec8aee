package steps

import (
	"context"
	"sync"
)

// turn is a drill's place in a row of drills. What a drill measures must be its own: the next one may make its world as soon as this one
// measures nothing any more in which time counts, and has customers when it has ended. Only a drill in which no time counts at all, as its
// planted defect does what it does however busy the machine, has customers beside one neighbour of its kind. There are never more than two worlds.
type turn struct {
	before *turn         // of the drill before; nil: there was none
	idle   chan struct{} // closed once the next one may begin
	over   chan struct{} // closed when this drill has ended
	ended  chan struct{} // closed when this drill, and every one before, has ended
	shares bool          // the machine, with a neighbour that shares it, too; set before idle is closed
	once   sync.Once
}

func newTurn(before *turn) *turn {
	return &turn{before: before, idle: make(chan struct{}), over: make(chan struct{}), ended: make(chan struct{})}
}

// await returns when a drill may have customers: when every drill before has ended, or, where it shares the machine and the one before does,
// every one before that. Each has bounds of its own for everything that it does. A drill of its own never waits.
func (t *turn) await(ctx context.Context, shares bool, waits func()) error {
	if t == nil {
		return nil
	}
	t.shares = shares
	before := t.before
	if before != nil && shares && before.shares {
		before = before.before
	}
	if before == nil {
		return nil
	}
	select {
	case <-before.ended:
		return nil
	default:
	}
	waits()
	select {
	case <-before.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pass lets the next drill begin. Passing again changes nothing.
func (t *turn) pass() {
	if t != nil {
		t.once.Do(func() { close(t.idle) })
	}
}

// inTurn plays n drills in order. Each is given its turn; when it passes that, and no more than one world is left, the next one begins. It
// returns when all have ended, or those that had begun when ctx ended.
func inTurn(ctx context.Context, n int, play func(i int, t *turn)) (begun int) {
	var last *turn
	var all sync.WaitGroup
	defer all.Wait()
	for i := range n {
		if last != nil {
			<-last.idle // a drill that ends, for whatever reason, passes its turn
			if last.before != nil {
				select {
				case <-last.before.ended:
				case <-last.over:
				}
			}
		}
		if ctx.Err() != nil {
			return i
		}
		t := newTurn(last)
		all.Go(func() {
			defer close(t.ended)
			defer func() { // one that fails early may end before the one before it
				if t.before != nil {
					<-t.before.ended
				}
			}()
			defer close(t.over)
			defer t.pass()
			play(i, t)
		})
		last = t
	}
	return n
}
