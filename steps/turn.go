package steps

import (
	"context"
	"sync"
)

// turn is a drill's place in a row of drills. No two of them have customers at once, and what a drill measures must be its own: the next one
// may make its world as soon as this one measures nothing any more in which time counts, while it is still read and judged, or while the
// planted defect that it is about has long done what it does.
type turn struct {
	before <-chan struct{} // closed when every drill before has ended; nil: there was none
	idle   chan struct{}   // closed once this drill measures nothing any more
	once   sync.Once
}

func newTurn(before <-chan struct{}) *turn { return &turn{before: before, idle: make(chan struct{})} }

// await returns when every drill before has ended. That has bounds of its own for everything that it does. A drill of its own never waits.
func (t *turn) await(ctx context.Context, waits func()) error {
	if t == nil || t.before == nil {
		return nil
	}
	select {
	case <-t.before:
		return nil
	default:
	}
	waits()
	select {
	case <-t.before:
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

// inTurn plays n drills in order. Each is given its turn; when it passes that, the next one begins; it returns when all have ended, or those
// that had begun when ctx ended.
func inTurn(ctx context.Context, n int, play func(i int, t *turn)) (begun int) {
	var before, idle chan struct{}
	var all sync.WaitGroup
	defer all.Wait()
	for i := range n {
		if idle != nil {
			<-idle // a drill that ends, for whatever reason, passes its turn
		}
		if ctx.Err() != nil {
			return i
		}
		t, ended := newTurn(before), make(chan struct{})
		all.Go(func() {
			defer close(ended)
			defer func() { // one that fails early may end before the one before it
				if t.before != nil {
					<-t.before
				}
			}()
			defer t.pass()
			play(i, t)
		})
		before, idle = ended, t.idle
	}
	return n
}
