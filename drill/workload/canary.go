package workload

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Writer writes canaries to one database node, on connections of its own.
type Writer interface {
	// Insert writes one canary row (id, site of the node, t) and says how that ended, with the class of the failure. It must
	// end when ctx does. Fail needs proof that nothing was written (no connection, read-only); everything else is Info.
	Insert(ctx context.Context, id string, site string, t history.Instant) (history.Outcome, string)
}

// Canary names one node that canaries are written to.
type Canary struct {
	Node   string
	Site   string
	Writer Writer
}

// CanaryPlan says how canaries are written. Zero fields take the defaults named beside them.
type CanaryPlan struct {
	Seed     uint64        // part of every id
	Period   time.Duration // between two canaries of a node; default 50 ms: the resolution of "dual-writable"
	Deadline time.Duration // of one canary; default 200 ms
}

// canaryGrace is how much longer than its deadline a writer may take to notice it.
const canaryGrace = 50 * time.Millisecond

// Canaries are running canaries.
type Canaries struct {
	rec    *history.Recorder
	plan   CanaryPlan
	cancel context.CancelFunc
	done   chan struct{} // closed when every goroutine has ended
	stop   chan struct{}
	once   sync.Once
	nodes  []*canaryStream
}

// canaryStream is one node's canaries.
type canaryStream struct {
	Canary
	limit int

	mu          sync.Mutex
	slots       int
	records     int
	shed        int
	sent        int
	inFlight    int // calls of Insert that have not returned, also those whose deadline has passed
	inFlightMax int
	lateness    []time.Duration
	lastSend    history.Instant
	maxGap      time.Duration
}

// StartCanaries writes to each node on a schedule of its own, so that one that hangs delays no other. A slot that finds too
// many writes of its node still running is recorded as shed. They run until Stop or the end of ctx; call Stop in either case.
func StartCanaries(ctx context.Context, nodes []Canary, p CanaryPlan, rec *history.Recorder) (*Canaries, error) {
	if p.Period == 0 {
		p.Period = 50 * time.Millisecond
	}
	if p.Deadline == 0 {
		p.Deadline = 200 * time.Millisecond
	}
	switch {
	case len(nodes) == 0:
		return nil, errors.New("start canaries: no node to write to")
	case p.Period < time.Millisecond || p.Deadline < time.Millisecond:
		return nil, fmt.Errorf("start canaries: period %v and deadline %v must be at least 1ms", p.Period, p.Deadline)
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &Canaries{rec: rec, plan: p, cancel: cancel, done: make(chan struct{}), stop: make(chan struct{})}
	var running sync.WaitGroup
	for _, n := range nodes {
		s := &canaryStream{Canary: n, limit: 2 * int(math.Ceil(float64(p.Deadline+canaryGrace)/float64(p.Period)))}
		c.nodes = append(c.nodes, s)
		running.Go(func() { c.pace(ctx, s, &running) })
	}
	go func() { running.Wait(); close(c.done) }()
	return c, nil
}

// Stop ends the canaries, waits for the writes that run, and marks each node's account. The error names a writer that did not
// return before ctx ended.
func (c *Canaries) Stop(ctx context.Context) error {
	c.once.Do(func() { close(c.stop) })
	defer c.cancel()
	select {
	case <-c.done:
	case <-ctx.Done():
		c.cancel()
		select {
		case <-c.done:
		case <-time.After(canaryGrace):
			var stuck []string
			for _, s := range c.nodes {
				s.mu.Lock()
				if s.inFlight > 0 {
					stuck = append(stuck, fmt.Sprintf("%d to %s", s.inFlight, s.Node))
				}
				s.mu.Unlock()
			}
			return fmt.Errorf("stop canaries: writes that ignore their deadline: %s: %w", strings.Join(stuck, ", "), ctx.Err())
		}
	}
	for _, s := range c.nodes {
		s.mu.Lock()
		d := history.LoadData{
			Rate: float64(time.Second) / float64(c.plan.Period), Slots: s.slots, Records: s.records, Wire: s.sent, Shed: s.shed,
			MaxGap: history.Duration(s.maxGap), InFlightMax: s.inFlightMax,
		}
		d.LatenessP99, d.LatenessMax = tail(s.lateness)
		s.mu.Unlock()
		c.rec.Mark(history.KindLoad, history.StreamCanary+":"+s.Node, d)
	}
	return nil
}

func (c *Canaries) pace(ctx context.Context, s *canaryStream, running *sync.WaitGroup) {
	t0 := c.rec.Now()
	for slot := 0; ; slot++ {
		due := t0.Add(time.Duration(slot) * c.plan.Period)
		t := time.NewTimer(due.Sub(c.rec.Now()))
		select {
		case <-t.C:
		case <-c.stop:
			t.Stop()
			return
		case <-ctx.Done():
			t.Stop()
			return
		}
		c.slot(ctx, s, slot, due, running)
	}
}

func (c *Canaries) slot(ctx context.Context, s *canaryStream, slot int, due history.Instant, running *sync.WaitGroup) {
	o := history.Operation{
		Stream: history.StreamCanary, Slot: slot, Attempt: 1, Key: fmt.Sprintf("canary-%x-%s-%06d", c.plan.Seed, s.Node, slot),
		Intended: due, Sent: c.rec.Now(), Site: s.Site, Node: s.Node,
	}
	s.mu.Lock()
	s.slots++
	s.records++
	full := s.inFlight >= s.limit
	if full {
		s.shed++
	} else {
		s.sent++
		s.inFlight++
		s.inFlightMax = max(s.inFlightMax, s.inFlight)
		s.lateness = append(s.lateness, o.Sent.Sub(due))
		if s.lastSend != 0 {
			s.maxGap = max(s.maxGap, o.Sent.Sub(s.lastSend))
		}
		s.lastSend = o.Sent
	}
	s.mu.Unlock()
	c.rec.Invoke(&o)
	if full {
		o.Finished, o.Outcome = o.Sent, history.Shed
		c.rec.Complete(o)
		return
	}
	running.Go(func() { c.write(ctx, s, o, running) })
}

// write makes one canary. What the writer says after its deadline is not heard: the record is Info by then.
func (c *Canaries) write(ctx context.Context, s *canaryStream, o history.Operation, running *sync.WaitGroup) {
	ctx, cancel := context.WithTimeout(ctx, c.plan.Deadline)
	type end struct {
		outcome history.Outcome
		class   string
	}
	ended := make(chan end, 1)
	running.Go(func() {
		defer cancel()
		outcome, class := s.Writer.Insert(ctx, o.Key, s.Site, o.Sent)
		s.mu.Lock()
		s.inFlight--
		s.mu.Unlock()
		ended <- end{outcome, class}
	})
	late := time.NewTimer(c.plan.Deadline + canaryGrace)
	defer late.Stop()
	o.Outcome, o.Error, o.Wire = history.Info, errTimeout, 1
	select {
	case e := <-ended:
		o.Outcome, o.Error = e.outcome, e.class
	case <-late.C:
	}
	o.Finished = c.rec.Now()
	c.rec.Complete(o)
}
