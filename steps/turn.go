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
	shares bool          // the machine, with a neighbour that shares it, too; set before idle is closed
	once   sync.Once
}

func newTurn(before *turn) *turn {
	return &turn{before: before, idle: make(chan struct{}), over: make(chan struct{})}
}

// await returns when a drill may have customers: when every drill before has ended, or shares the machine with it. Each has bounds of its own for
// everything that it does. A drill of its own never waits.
func (t *turn) await(ctx context.Context, shares bool, waits func()) error {
	if t == nil {
		return nil
	}
	t.shares = shares
	for b := t.before; b != nil; b = b.before { // of which one at most has not ended: there are never three worlds
		if b.isOver() || shares && b.shares {
			continue
		}
		waits()
		select {
		case <-b.over:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (t *turn) isOver() bool {
	select {
	case <-t.over:
		return true
	default:
		return false
	}
}

// pass lets the next drill begin. Passing again changes nothing.
func (t *turn) pass() {
	if t != nil {
		t.once.Do(func() { close(t.idle) })
	}
}

// mayFollow returns when another drill may begin after this one: it has passed its turn, and no more than one world is left.
func (t *turn) mayFollow() {
	<-t.idle // a drill that ends, for whatever reason, passes its turn
	for b := t.before; b != nil; b = b.before {
		select {
		case <-b.over:
		case <-t.over:
		}
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
			last.mayFollow()
		}
		if ctx.Err() != nil {
			return i
		}
		t := newTurn(last)
		all.Go(func() {
			defer close(t.over)
			defer t.pass()
			play(i, t)
		})
		last = t
	}
	return n
}
