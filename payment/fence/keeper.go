package fence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// guard keeps one server within its lease. It is run by one goroutine; another one asks the Witness.
type guard struct {
	config  GuardConfig
	witness renewer
	server  server
	dog     watchdog
	process killer

	known  bool // the server's own state was learnt
	state  State
	since  time.Time
	why    string
	term   int64         // of the lease held; 0: none
	ttl    time.Duration // as last granted
	until  time.Time     // end of the lease held
	killed bool
	unseen string // last trouble with the Witness that was logged
}

func newGuard(c GuardConfig, w renewer, s server, d watchdog, p killer) *guard {
	g := &guard{config: c, witness: w, server: s, dog: d, process: p, ttl: DefaultTTL}
	g.become(Starting, "")
	return g
}

// Shares of a TTL. A renewal is asked for ten times within it. Fencing begins a fifth before its end; the server has most of that
// fifth to become read-only, and is killed within the rest.
func (g *guard) beat() time.Duration   { return g.ttl / 10 }
func (g *guard) budget() time.Duration { return g.ttl / 5 }
func (g *guard) polite() time.Duration { return g.ttl * 3 / 20 }

// holds says whether the lease is held, with time left to fence before it ends.
func (g *guard) holds(now time.Time) bool { return g.term != 0 && now.Before(g.until.Add(-g.budget())) }

// request is one renewal to ask for.
type request struct {
	term  int64
	limit time.Duration
}

// reply is what came of one renewal.
type reply struct {
	sent  time.Time
	term  int64 // that was asked for
	lease Lease
	err   error
}

// run guards until the server has exited.
func (g *guard) run(ctx context.Context, exited <-chan struct{}) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx)) // a server that is stopping is still guarded
	asks, replies, done := make(chan request), make(chan reply), make(chan struct{})
	go func() {
		defer close(done)
		g.ask(work, asks, replies)
	}()
	defer func() { stop(); <-done }()

	beat := time.NewTimer(0)
	defer beat.Stop()
	asking := false
	stopping := ctx.Done()
	for {
		var end <-chan time.Time
		var deadline *time.Timer
		if g.state == Holding {
			deadline = time.NewTimer(time.Until(g.until.Add(-g.budget())))
			end = deadline.C
		}
		select {
		case <-exited:
			return
		case <-stopping:
			stopping = nil
			_ = g.process.Signal(syscall.SIGTERM) // one that is gone needs no asking
		case r := <-replies:
			asking = false
			g.heard(work, r)
		case <-end:
		case <-beat.C:
			beat.Reset(g.beat())
			if !asking {
				asking = true
				asks <- request{g.term, g.budget()} // the asker is idle
			}
		}
		if deadline != nil {
			deadline.Stop()
		}
		g.settle(work)
	}
}

// ask renews when told to. Each request is bounded; the Guard goes on meanwhile.
func (g *guard) ask(ctx context.Context, asks <-chan request, replies chan<- reply) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-asks:
			r := reply{sent: time.Now(), term: q.term} // before it is sent: the lease is never thought longer than it is
			one, cancel := context.WithTimeout(ctx, q.limit)
			r.lease, r.err = g.witness.Renew(one, g.config.Site, g.config.Node, q.term)
			cancel()
			select {
			case replies <- r:
			case <-ctx.Done():
				return
			}
		}
	}
}

// heard takes in what the Witness said.
func (g *guard) heard(ctx context.Context, r reply) {
	if !errors.Is(r.err, ErrHeld) && r.err != nil {
		if text := r.err.Error(); g.unseen != text {
			g.unseen = text
			g.config.Log.Warn("the witness does not answer", "error", r.err)
		}
		return // nothing is known; the lease runs on to its end
	}
	g.unseen = ""
	if r.err != nil {
		if g.term == 0 {
			return
		}
		lease, term, before := r.lease, g.term, g.until
		if now := time.Now().Add(g.budget()); now.Before(before) {
			before = now
		}
		g.term, g.until = 0, time.Time{}
		if g.state == Holding {
			g.fence(ctx, before, r.err.Error())
		}
		if g.state == Fenced && lease.Released && lease.Holder == g.config.Site && lease.Term == term {
			one, cancel := context.WithTimeout(ctx, g.budget())
			defer cancel()
			if _, err := g.witness.Fenced(one, g.config.Site, g.config.Node, term); err != nil {
				g.config.Log.Warn("the witness was not told that this site writes no more", "error", err)
			}
		}
		return
	}
	if g.term != 0 && r.term != g.term {
		return // asked before this term was held
	}
	g.term, g.ttl = r.lease.Term, r.lease.TTL.Duration()
	if until := r.sent.Add(g.ttl); until.After(g.until) {
		g.until = until
	}
	if g.state == Holding {
		if err := g.arm(); err != nil {
			g.fence(ctx, g.until, err.Error())
		}
	}
	g.tell()
}

// arm names the end of the lease to the watchdog, with a moment for the Guard to say that it fenced.
func (g *guard) arm() error { return g.dog.Arm(g.until.Add(g.ttl / 20)) }

// settle makes the server what the lease says it is.
func (g *guard) settle(ctx context.Context) {
	if g.killed || !g.learn(ctx) {
		return
	}
	switch holds := g.holds(time.Now()); {
	case g.state == Holding && !holds:
		g.fence(ctx, g.until, "the lease ran out")
		g.term, g.until = 0, time.Time{}
	case g.state != Holding && holds:
		if time.Until(g.until) > g.ttl/2 { // else the next renewal's: there must be time to see it through
			g.open(ctx)
		}
	case g.state == Starting:
		g.protect(ctx)
	case g.state == Fenced:
		one, cancel := context.WithTimeout(ctx, g.polite())
		writable, err := g.server.Writable(one)
		cancel()
		if err == nil && writable {
			g.fence(ctx, time.Now().Add(g.budget()), "somebody made it writable without the lease")
		}
	}
}

// learn reads the server's own state, once.
func (g *guard) learn(ctx context.Context) bool {
	if g.known {
		return true
	}
	if f := g.config.ReadyFile; f != "" {
		if _, err := os.Stat(f); err != nil {
			return false // its data are being made; it is offline
		}
	}
	one, cancel := context.WithTimeout(ctx, g.polite())
	defer cancel()
	g.known = g.server.Learn(one) == nil // it is starting
	return g.known
}

// open lets the server write as far as it wants to. The watchdog knows first. A statement whose outcome is not known might still
// make the server writable later: then it is killed.
func (g *guard) open(ctx context.Context) {
	if err := g.arm(); err != nil {
		g.config.Log.Error("not writable", "error", err)
		return
	}
	one, cancel := context.WithDeadline(ctx, g.until.Add(-g.budget()))
	defer cancel()
	err := g.server.Restore(one)
	if err == nil {
		err = g.server.Offline(one, false)
	}
	if err != nil {
		g.kill(fmt.Sprintf("it did not become writable in time: %v", err))
		return
	}
	g.become(Holding, "")
}

// protect proves a server without the lease read-only, and then lets customers read. Until it is proved it stays offline.
func (g *guard) protect(ctx context.Context) {
	one, cancel := context.WithTimeout(ctx, g.polite())
	defer cancel()
	err := g.server.Protect(one)
	if err == nil {
		err = g.server.Offline(one, false)
	}
	if err != nil {
		g.config.Log.Warn("not yet proved read-only", "error", err)
		return
	}
	g.become(Fenced, "the lease is not held")
}

// fence stops all writes before an instant: politely, or by killing the server. A commit that waits for a replica that is cut off
// would hold super_read_only up for as long.
func (g *guard) fence(ctx context.Context, before time.Time, why string) {
	g.become(Fencing, why)
	one, cancel := context.WithDeadline(ctx, before.Add(g.polite()-g.budget()))
	defer cancel()
	err := g.server.Offline(one, true)
	if err == nil {
		err = g.server.Protect(one)
	}
	if err != nil {
		g.kill(fmt.Sprintf("%s, and it did not become read-only in time: %v", why, err))
		return
	}
	if err := g.dog.Off(); err != nil {
		g.config.Log.Warn("fenced", "error", err) // the watchdog will kill a server that is read-only: no harm but to readers
	}
	if err := g.server.Offline(one, false); err != nil {
		g.config.Log.Warn("read-only, and not yet readable", "error", err)
		g.become(Starting, why) // protect tries again
		return
	}
	g.become(Fenced, why)
}

func (g *guard) kill(why string) {
	if err := g.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		g.config.Log.Error("mysqld could not be killed", "error", err)
	}
	g.killed = true
	g.become(Fencing, "killed: "+why)
}

func (g *guard) become(s State, why string) {
	if g.state != s || g.why != why {
		g.state, g.why, g.since = s, why, time.Now()
		g.config.Log.Info("guard", "state", s, "why", why, "term", g.term)
	}
	g.tell()
}

func (g *guard) tell() {
	if g.config.Status == "" {
		return
	}
	s := Status{Site: g.config.Site, Node: g.config.Node, State: g.state, Since: monotonic(g.since), Why: g.why, Term: g.term, Until: monotonic(g.until), Guard: os.Getpid()}
	if p, ok := g.process.(*os.Process); ok {
		s.Mysqld = p.Pid
	}
	if err := writeStatus(g.config.Status, s); err != nil {
		g.config.Log.Warn("status", "error", err)
	}
}
