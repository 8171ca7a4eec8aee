package workload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Load is a running load. New makes it, Start starts it, Stop ends it; each is called once.
type Load struct {
	plan      Plan
	rec       *history.Recorder
	customers []*customer
	streams   []*stream // payment, probe, repeat: those with a rate
	wall      wallWatch

	ctx    context.Context // of everything that is in flight
	cancel context.CancelFunc
	stop   chan struct{}   // closed by Stop, after end was set
	end    history.Instant // no slot that is due later is sent
	ending sync.Once
	pacers sync.WaitGroup
	work   sync.WaitGroup // attempts, and keys of the repeat stream
	dials  dialGate
}

// stream is one stream of the load.
type stream struct {
	schedule
	load    *Load
	limit   int
	clients []*client // one a customer
	wire    atomic.Int64
	live    counters

	mu          sync.Mutex
	slots       int
	records     int
	shed        int
	retries     int
	resolved    int
	inFlight    int
	inFlightMax int
	repeating   int // of inFlight, those that are not the first attempt of their key
	lateness    []time.Duration
	lastSend    history.Instant
	maxGap      time.Duration
}

// New decides a load. Nothing is sent before Start.
func New(plan Plan, rec *history.Recorder) (*Load, error) {
	p, err := plan.filled()
	if err != nil {
		return nil, err
	}
	l := &Load{plan: p, rec: rec, stop: make(chan struct{})}
	stale := staleCustomers(p)
	for i := range p.Customers {
		l.customers = append(l.customers, &customer{
			name: p.Names[i%len(p.Names)], stale: stale[i], lookup: p.Lookup, clock: clockOf{rec},
		})
	}
	for _, name := range []string{history.StreamPayment, history.StreamProbe, history.StreamRepeat} {
		rate := p.rate(name)
		if rate == 0 {
			continue
		}
		s := &stream{schedule: schedule{p.Seed, name, rate}, load: l, limit: p.limit(rate)}
		for _, c := range l.customers {
			s.clients = append(s.clients, newClient(c, &s.wire, l.dials.through(p.Dial)))
		}
		l.streams = append(l.streams, s)
	}
	return l, nil
}

// clockOf is a recorder's clock.
type clockOf struct{ rec *history.Recorder }

func (c clockOf) Now() history.Instant { return c.rec.Now() }

// staleCustomers chooses which customers ignore the TTL. A share above 0 is at least one of them.
func staleCustomers(p Plan) map[int]bool {
	n := int(math.Round(p.StaleShare * float64(p.Customers)))
	if n == 0 && p.StaleShare > 0 {
		n = 1
	}
	stale := map[int]bool{}
	for _, i := range rand.New(rand.NewPCG(p.Seed, 0x7374616c65)).Perm(p.Customers)[:n] {
		stale[i] = true
	}
	return stale
}

// Start begins every stream now. When ctx ends, what is in flight is given up (recorded as info) and nothing more is sent;
// Stop must be called all the same.
func (l *Load) Start(ctx context.Context) {
	l.ctx, l.cancel = context.WithCancel(ctx)
	t0 := l.rec.Now()
	for _, s := range l.streams {
		l.pacers.Go(func() { s.pace(t0) })
	}
	l.pacers.Go(func() { l.wall.watch(l.ctx, l.stop, clockOf{l.rec}, wallNow) })
}

// Stop sends every slot that is due by now, waits for the answers, and marks each stream's account (history.LoadData). A
// request has the plan's Timeout, so this is short; when ctx ends earlier, what is in flight is given up and the error says
// how much that was.
func (l *Load) Stop(ctx context.Context) error {
	l.halt()
	l.pacers.Wait()
	done := make(chan struct{})
	go func() { l.work.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		n := 0
		for _, s := range l.Stats() {
			n += s.InFlight
		}
		err = fmt.Errorf("stop load: gave up %d requests in flight: %w", n, ctx.Err())
	}
	l.cancel()
	<-done
	for _, s := range l.streams {
		for _, c := range s.clients {
			c.close()
		}
	}
	l.dials.close()
	for _, s := range l.streams {
		l.rec.Mark(history.KindLoad, s.stream, s.account(l.wall.jump()))
	}
	return err
}

// halt fixes the last instant at which a slot may be due.
func (l *Load) halt() {
	l.ending.Do(func() {
		l.end = l.rec.Now()
		close(l.stop)
	})
}

// pace sends each slot when it is due, until the load is stopped. It never waits for an answer.
func (s *stream) pace(t0 history.Instant) {
	for slot := 0; ; slot++ {
		due := t0.Add(s.due(slot))
		if !s.load.until(due) {
			return
		}
		s.slot(slot, due)
	}
}

// until waits for an instant. False: the load ended before it.
func (l *Load) until(due history.Instant) bool {
	for {
		wait := due.Sub(l.rec.Now())
		if wait <= 0 {
			select {
			case <-l.stop:
				return due <= l.end
			default:
				return l.ctx.Err() == nil
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-l.ctx.Done():
			t.Stop()
			return false
		case <-l.stop:
			t.Stop()
			return due <= l.end
		}
	}
}

// slot sends one slot.
func (s *stream) slot(slot int, due history.Instant) {
	s.mu.Lock()
	s.slots++
	s.mu.Unlock()
	if s.stream == history.StreamRepeat {
		s.load.work.Go(func() { s.repeat(slot, due) })
		return
	}
	r := s.payment
	if s.stream == history.StreamProbe {
		r = s.probe
	}
	req := r(slot, s.load.plan)
	if !s.enter(false) {
		s.shedOne(history.Operation{Slot: slot, Attempt: 1, Key: req.key, Yen: req.yen, Intended: due})
		return
	}
	s.load.work.Go(func() {
		defer s.leave(false)
		s.send(req, slot, 1, due)
	})
}

// maxRepeating is how many attempts after the first of their keys may be in flight. Keys without an answer pile up while the
// platform hangs; without this, their retries would be a load of their own, and take the places of the schedule's slots.
const maxRepeating = 32

// enter takes a place among the requests in flight, if there is one. First attempts and later ones have places of their own.
func (s *stream) enter(again bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if again {
		if s.repeating >= maxRepeating {
			return false
		}
		s.repeating++
	} else if s.inFlight-s.repeating >= s.limit {
		return false
	}
	s.inFlight++
	s.inFlightMax = max(s.inFlightMax, s.inFlight)
	return true
}

func (s *stream) leave(again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	if again {
		s.repeating--
	}
}

// shedOne records a slot that the harness could not send.
func (s *stream) shedOne(o history.Operation) {
	now := s.load.rec.Now()
	o.Stream, o.Sent = s.stream, now
	s.load.rec.Invoke(&o)
	o.Finished, o.Outcome = now, history.Shed
	s.load.rec.Complete(o)
	s.mu.Lock()
	s.records++
	s.shed++
	s.mu.Unlock()
	s.live.add(now, o)
}

// send makes one wire attempt and its record. Sent is when the customer sets about it: look-up and dial belong to what it
// waits for.
func (s *stream) send(req request, slot, number int, due history.Instant) history.Outcome {
	l, k := s.load, s.clients[req.customer]
	o := history.Operation{
		Stream: s.stream, Slot: slot, Attempt: number, Key: req.key, Yen: req.yen,
		Intended: due, Sent: l.rec.Now(), Stale: k.cust.stale,
	}
	s.sending(o)
	ctx, cancel := context.WithTimeout(l.ctx, l.plan.Timeout)
	defer cancel()
	address, asked, err := k.cust.where(ctx)
	o.Site = l.plan.Sites[address]
	l.rec.Invoke(&o)

	var r reply
	var header http.Header
	if err != nil {
		r.err = errNoAddress{err}
	} else {
		r, header = k.do(ctx, net.JoinHostPort(address, strconv.Itoa(l.plan.Port)), req)
	}
	o.Outcome, o.Error = classify(r, want{key: req.key, number: req.number})
	o.Wire, o.Status = r.wire, r.status
	o.Node = header.Get("X-Node")
	o.Epoch, _ = strconv.ParseInt(header.Get("X-Epoch"), 10, 64)
	if o.Site == "" {
		o.Site = header.Get("X-Site")
	}
	o.Finished = l.rec.Now()
	l.rec.Complete(o)

	s.mu.Lock()
	s.records++
	if asked {
		s.resolved++
	}
	s.mu.Unlock()
	s.live.add(o.Finished, o)
	return o.Outcome
}

// do sends one request and reads the whole answer.
func (k *client) do(ctx context.Context, address string, r request) (reply, http.Header) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+r.path, bytes.NewReader(r.body))
	if err != nil {
		return reply{err: err}, nil
	}
	req.Host = k.cust.name
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "kirikae-customer")
	if r.key != "" {
		req.Header.Set("X-Payment-Key", r.key)
	}
	a := &attempt{}
	resp, err := k.roundTrip(req, a)
	if err != nil {
		r := reply{wire: a.seal(), err: err}
		if r.wire == 0 && timedOut(err) {
			k.cust.dialled(address, err)
		}
		return r, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return reply{
		wire: a.seal(), status: resp.StatusCode, none: resp.Header.Get(HeaderExecuted) == "none", body: body, err: err,
	}, resp.Header
}

// sending notes how late a send is, and how long after the one before.
func (s *stream) sending(o history.Operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lateness = append(s.lateness, o.Sent.Sub(o.Intended))
	if s.lastSend != 0 {
		s.maxGap = max(s.maxGap, o.Sent.Sub(s.lastSend))
	}
	s.lastSend = max(s.lastSend, o.Sent)
	if o.Attempt > 1 {
		s.retries++
	}
}

// account is what the stream has to say about itself, when it has ended.
func (s *stream) account(jump time.Duration) history.LoadData {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := history.LoadData{
		Rate: s.rate, Slots: s.slots, Records: s.records, Wire: int(s.wire.Load()), Shed: s.shed,
		MaxGap: history.Duration(s.maxGap), ClockJump: history.Duration(jump),
		Resolved: s.resolved, Retries: s.retries, InFlightMax: s.inFlightMax,
	}
	d.LatenessP99, d.LatenessMax = tail(s.lateness)
	return d
}

// dialGate knows every dial that is under way. net/http dials on goroutines of its own, which may outlive the request; the gate
// lets the load end only when they have ended.
type dialGate struct {
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	busy   sync.WaitGroup
}

var errEnded = errors.New("the load has ended")

func (g *dialGate) through(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		g.mu.Lock()
		if g.closed {
			g.mu.Unlock()
			return nil, errEnded
		}
		g.busy.Add(1)
		g.mu.Unlock()
		defer g.busy.Done()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.closed {
			conn.Close()
			return nil, errEnded
		}
		if g.conns == nil {
			g.conns = map[net.Conn]struct{}{}
		}
		c := &gatedConn{Conn: conn, gate: g}
		g.conns[c] = struct{}{}
		return c, nil
	}
}

// close closes every connection and waits for the dials under way.
func (g *dialGate) close() {
	g.mu.Lock()
	g.closed = true
	open := g.conns
	g.conns = nil
	g.mu.Unlock()
	for c := range open {
		c.Close()
	}
	g.busy.Wait()
}

// gatedConn leaves the gate when it is closed.
type gatedConn struct {
	net.Conn
	gate *dialGate
}

// Close closes the connection.
func (c *gatedConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
