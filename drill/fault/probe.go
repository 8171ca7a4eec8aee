package fault

import (
	"context"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

// Words of history.AttestData.
const (
	sawOpen   = "open"
	sawCut    = "cut"
	sawSlow   = "slow"
	sawNone   = "none"
	sawSilent = "silent" // no answer, no closing: neither open nor cut
)

// Timing of probes.
const (
	// holdFor is how old a held connection gets before it is replaced. MySQL closes one that has not logged in after
	// connect_timeout (10 s), and Cassandra one without a handshake after 30 s.
	holdFor = 3 * time.Second
	// holdWithin bounds the making of a held connection.
	holdWithin = 2 * time.Second
	// openWithin is how much slower than the declared delays a link may answer and still be open.
	openWithin = 150 * time.Millisecond
	// openTries is how often a new connection is tried over a link declared open: a busy machine is not a fault.
	openTries = 8
	// evidenceWithin is how many patiences a probe waits where an answer or a refusal is due: either comes at once, but for a
	// busy machine, and ends the probe. Only an expected silence is waited for in full, and lasts one patience.
	evidenceWithin = 8
)

// prober holds one connection through every door of a world, made before any fault, and probes with them and with new ones.
type prober struct {
	world    topology.World
	rec      *history.Recorder
	patience time.Duration
	doors    []*door
	cancel   context.CancelFunc
	holders  sync.WaitGroup
}

// door is one proxied address, and the links whose bytes pass it.
type door struct {
	topology.Door
	protocol protocol
	up, down topology.LinkID // the link of the bytes to the target, and of those back

	mu     sync.Mutex
	held   *line
	frozen bool
	renew  chan struct{} // asks the holder for a new line
}

func newProber(w topology.World, rec *history.Recorder, patience time.Duration) *prober {
	ctx, cancel := context.WithCancel(context.Background()) // its life is close's, not a step's
	p := &prober{world: w, rec: rec, patience: patience, cancel: cancel}
	known := map[string]*door{}
	for _, l := range w.Links() {
		for _, td := range l.Doors() {
			d := known[td.Reach]
			if d == nil {
				d = &door{Door: td, protocol: protocolOf(l.ID().Service), renew: make(chan struct{}, 1)}
				known[td.Reach] = d
				p.doors = append(p.doors, d)
			}
			if td.Upstream {
				d.up = l.ID()
			} else {
				d.down = l.ID()
			}
		}
	}
	var first sync.WaitGroup
	for _, d := range p.doors {
		first.Add(1)
		p.holders.Go(func() { d.hold(ctx, first.Done) })
	}
	first.Wait() // each within holdWithin
	return p
}

// hold keeps a line through the door that is younger than holdFor. ready is called after the first try.
func (d *door) hold(ctx context.Context, ready func()) {
	defer func() { d.swap(nil, true) }()
	tick := time.NewTicker(holdFor)
	defer tick.Stop()
	for {
		if !d.isFrozen() {
			d.swap(d.fresh(ctx), false)
		}
		if ready != nil {
			ready()
			ready = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-d.renew:
		}
	}
}

// fresh opens a line, or nil where that cannot be.
func (d *door) fresh(ctx context.Context) *line {
	ctx, cancel := context.WithTimeout(ctx, holdWithin)
	defer cancel()
	l, _ := dialLine(ctx, d.Reach)
	if l == nil {
		return nil
	}
	if err := d.protocol.greet(ctx, l); err != nil {
		l.close()
		return nil
	}
	return l
}

// swap puts a line in the place of the held one. Once frozen, the door keeps what it has, unless forced.
func (d *door) swap(l *line, forced bool) {
	d.mu.Lock()
	if d.frozen && !forced {
		l, d.held = d.held, l // keep the old one, let go of the new one
	}
	old := d.held
	d.held = l
	d.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// take gives the held line to a probe; the holder will make another.
func (d *door) take() *line {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.held
	d.held = nil
	return l
}

// dropEnded forgets a held line that its target has closed by now: that was no fault.
func (d *door) dropEnded() {
	d.mu.Lock()
	l := d.held
	if l == nil || l.open() {
		d.mu.Unlock()
		return
	}
	d.held = nil
	d.mu.Unlock()
	l.close()
}

func (d *door) isFrozen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frozen
}

// freeze keeps the held lines as they are: what closes them from now on is the fault.
func (p *prober) freeze() {
	for _, d := range p.doors {
		d.dropEnded()
		d.mu.Lock()
		d.frozen = true
		d.mu.Unlock()
	}
}

// thaw lets lines be made again.
func (p *prober) thaw() {
	for _, d := range p.doors {
		d.mu.Lock()
		d.frozen = false
		d.mu.Unlock()
		d.wake()
	}
}

func (d *door) wake() {
	select {
	case d.renew <- struct{}{}:
	default: // it is asked already
	}
}

// close lets go of every line.
func (p *prober) close() {
	p.cancel()
	p.holders.Wait()
}

// joined returns the links whose values the doors of some links feel: a connection has two directions.
func (p *prober) joined(ids []topology.LinkID) map[topology.LinkID]bool {
	out := map[topology.LinkID]bool{}
	for _, id := range ids {
		for _, d := range p.doors {
			if d.up == id || d.down == id {
				out[d.up], out[d.down] = true, true
			}
		}
	}
	return out
}

// finding is what the probes of one door felt, held against what was declared for it.
type finding struct {
	declared string
	old, new string
	rtt      time.Duration
	agrees   bool
	made     bool // false: the target does not run, so nothing could be felt
}

// attest probes the doors of some links, all at once.
func (p *prober) attest(ctx context.Context, when string, ids []topology.LinkID, declared map[topology.LinkID]topology.Layers) (found []history.AttestData, skipped []topology.LinkID) {
	wanted := map[topology.LinkID]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	findings := map[*door]finding{}
	var mu sync.Mutex
	var probes sync.WaitGroup
	for _, d := range p.doors {
		if !wanted[d.up] && !wanted[d.down] {
			continue
		}
		probes.Go(func() {
			f := p.probe(ctx, when, d, declared[d.up], declared[d.down])
			mu.Lock()
			defer mu.Unlock()
			findings[d] = f
		})
	}
	probes.Wait()
	for _, id := range ids {
		var all []finding
		for _, d := range p.doors {
			if f := findings[d]; f.made && (d.up == id || d.down == id) {
				all = append(all, f)
			}
		}
		if len(all) == 0 {
			skipped = append(skipped, id)
			continue
		}
		f := worst(all)
		found = append(found, history.AttestData{
			Link: id.String(), When: when, Declared: f.declared, Old: f.old, New: f.new, RTT: history.Duration(f.rtt), Agrees: f.agrees,
		})
	}
	return found, skipped
}

// worst is the first finding that disagrees, else the first that was felt on an old connection too, else the first.
func worst(all []finding) finding {
	for _, f := range all {
		if !f.agrees {
			return f
		}
	}
	for _, f := range all {
		if f.old != sawNone {
			return f
		}
	}
	return all[0]
}

// probe feels one door: with the held line, and with new ones.
func (p *prober) probe(ctx context.Context, when string, d *door, up, down topology.Layers) finding {
	e := expect(up, down)
	running := p.running(ctx, d.Node)
	if when != During {
		d.dropEnded()
	}
	patience := p.patience
	switch {
	case !e.vanish:
		patience *= evidenceWithin
	case when != During:
		patience *= 4 // nothing waits for it
	}
	ctx, cancel := context.WithTimeout(ctx, patience+3*e.delay)
	defer cancel()

	var old, fresh felt
	var oldRTT, rtt time.Duration
	var both sync.WaitGroup
	if l := d.take(); l != nil {
		both.Go(func() {
			old, oldRTT = ask(ctx, d.protocol, l)
			l.close()
			d.wake()
		})
	}
	both.Go(func() {
		for range openTries {
			fresh, rtt = call(ctx, d.protocol, d.Reach)
			if e.declared != sawOpen || fresh == answered && rtt <= e.delay+openWithin || ctx.Err() != nil {
				return
			}
		}
	})
	both.Wait()
	return e.judge(old, oldRTT, fresh, rtt, running)
}

func (p *prober) running(ctx context.Context, name string) bool {
	n, err := p.world.Node(name)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	state, err := n.State(ctx)
	return err == nil && state == topology.Running
}

// expectation is what a door's traffic must feel.
type expectation struct {
	declared string
	vanish   bool          // cut by a black hole: silence is what is declared
	delay    time.Duration // both ways, with base delays
	least    time.Duration // a round trip cannot be shorter: the slow direction's delay
}

// expect joins the two directions of a door: when one of them is cut, so is the other.
func expect(up, down topology.Layers) expectation {
	e := expectation{declared: sawOpen}
	for _, l := range []topology.Layers{up, down} {
		switch {
		case l.Access == topology.Deny || l.Fault.Kind == topology.Cut:
			e.declared, e.vanish = sawCut, false
		case l.Fault.Kind == topology.BlackHole && e.declared != sawCut:
			e.declared, e.vanish = sawCut, true
		case (l.Fault.Kind == topology.Slow || l.Fault.Kind == topology.Narrow) && e.declared == sawOpen:
			e.declared = sawSlow
		}
		if l.Fault.Kind == topology.Slow {
			e.delay += l.Fault.Delay
			e.least = max(e.least, l.Fault.Delay)
		} else {
			e.delay += l.Delay
		}
	}
	return e
}

// judge holds what was felt against the expectation. Closing and refusal are positive evidence of a cut; silence is only for a
// black hole. What a target that does not run leaves unanswered says nothing of the link.
func (e expectation) judge(old felt, oldRTT time.Duration, fresh felt, rtt time.Duration, running bool) finding {
	f := finding{declared: e.declared, rtt: rtt, old: e.word(old), new: e.word(fresh), made: running || fresh == refused && e.declared == sawCut}
	switch e.declared {
	case sawCut:
		f.agrees = f.new == sawCut && (f.old == sawCut || f.old == sawNone)
	case sawSlow:
		f.agrees = fresh == answered && e.slow(rtt) && (old == nothing || old == answered && e.slow(oldRTT))
	default:
		f.agrees = fresh == answered && rtt <= e.delay+openWithin && (old == nothing || old == answered)
	}
	return f
}

// slow says whether a round trip took as long as declared. A timer may be a little early.
func (e expectation) slow(rtt time.Duration) bool { return rtt >= e.least*9/10 }

func (e expectation) word(f felt) string {
	switch f {
	case nothing:
		return sawNone
	case answered:
		return sawOpen
	case silent:
		if e.vanish {
			return sawCut
		}
		return sawSilent
	}
	return sawCut
}
