package topologytest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// far is a delay that no machine takes for its own.
const far = 120 * time.Millisecond

// links: every one of them, at each of its doors, open, cut, slow and silent. The two directions of one pair of sites share
// their doors and take turns; pairs are tried at the same time.
func (c *contract) links(t *testing.T) {
	pairs := map[string][]topology.Link{}
	for _, l := range c.Links() {
		id := l.ID()
		name := fmt.Sprintf("%s %s %s", id.Service, min(id.From, id.To), max(id.From, id.To))
		pairs[name] = append(pairs[name], l)
	}
	for name, both := range pairs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, l := range both {
				t.Run(strings.ReplaceAll(l.ID().String(), "/", " "), func(t *testing.T) { oneLink(t, l) })
			}
		})
	}
}

func oneLink(t *testing.T, l topology.Link) {
	if len(l.Doors()) == 0 {
		t.Fatal("it has no door")
	}
	service := l.ID().Service
	before, err := l.Layers(t.Context())
	must(t, err)
	defer func() {
		if after, err := l.Layers(t.Context()); err != nil || after != before {
			t.Errorf("layers %+v before, %+v after, %v", before, after, err)
		}
	}()
	set := func(f topology.Fault) {
		t.Helper()
		must(t, l.SetFault(t.Context(), f))
	}
	all := func(when string, want func(service topology.Service, d topology.Door) error) {
		t.Helper()
		for _, d := range l.Doors() {
			if err := want(service, d); err != nil {
				t.Errorf("%s, door %s to %s: %v", when, d.Reach, d.Node, err)
			}
		}
	}
	all("open", answered)
	old := open(t, service, l.Doors())

	set(topology.Fault{Kind: topology.Cut})
	all("cut", refused)
	for _, k := range old {
		if err := k.over(patience); err != nil {
			t.Errorf("cut: an old connection to %s goes on: %v", k.RemoteAddr(), err)
		}
	}
	set(topology.Fault{})
	all("healed from the cut", answered)

	set(topology.Fault{Kind: topology.Slow, Delay: far})
	all("slow", late(far))

	set(topology.Fault{})
	if old = nil; service == topology.ServiceHTTP || service == topology.ServiceAcquirer { // the others hang up after one question
		old = open(t, service, l.Doors())
	}
	set(topology.Fault{Kind: topology.BlackHole})
	all("black hole", oneWay)
	for _, k := range old {
		if err := k.ask(silence); !timedOut(err) {
			t.Errorf("black hole: an old connection to %s: %v", k.RemoteAddr(), err)
		}
	}
	set(topology.Fault{})
	all("healed from the black hole", answered)
	for _, k := range old { // what vanished is sent again, as a network does, unless its sender gave up
		if err := k.answer(patience); err != nil {
			t.Errorf("after the black hole: an old connection to %s: %v", k.RemoteAddr(), err)
		}
	}
}

// open opens a connection to each door, through to the far end.
func open(t *testing.T, service topology.Service, doors []topology.Door) []*talk {
	t.Helper()
	var all []*talk
	for _, d := range doors {
		k, err := dial(service, d.Reach)
		must(t, err)
		t.Cleanup(func() { k.Close() })
		must(t, k.greet(patience))
		if service == topology.ServiceHTTP || service == topology.ServiceAcquirer { // one that was used is kept, one that never was is not
			must(t, k.ask(patience))
		}
		all = append(all, k)
	}
	return all
}

func answered(service topology.Service, d topology.Door) error {
	_, err := ping(service, d.Reach, patience)
	return err
}

func refused(service topology.Service, d topology.Door) error {
	if _, err := ping(service, d.Reach, patience); !closed(err) {
		return fmt.Errorf("want it refused or closed at once, got %v", err)
	}
	return nil
}

// late: an answer takes the delay, and not much more. A loaded machine is slow, too: one good try will do.
func late(delay time.Duration) func(topology.Service, topology.Door) error {
	return func(service topology.Service, d topology.Door) error {
		var rtt time.Duration
		for range 20 {
			var err error
			if rtt, err = ping(service, d.Reach, patience); err != nil {
				return err
			}
			if rtt < delay {
				return fmt.Errorf("an answer after %s, sooner than %s", rtt, delay)
			}
			if rtt < delay+time.Second {
				return nil
			}
		}
		return fmt.Errorf("delayed by %s, no answer of 20 came within %s, the last after %s", delay, delay+time.Second, rtt)
	}
}

// oneWay: bytes of this link's direction vanish, those of the other arrive. A connection still succeeds, as a proxy cannot drop
// the packet that opens one (DropSYN can), and its end is heard through the hole, for the same reason.
func oneWay(service topology.Service, d topology.Door) error {
	limit := patience
	if d.Upstream {
		limit = silence
	}
	heard, ended, err := feel(service, d.Reach, limit)
	if err != nil {
		return err
	}
	greeted := d.Upstream && service == topology.ServiceMySQL // it speaks first
	if heard != greeted {
		return fmt.Errorf("bytes came back: %t", heard)
	}
	if ended == d.Upstream {
		return fmt.Errorf("the far end heard the question: %t", ended)
	}
	return nil
}

// neighbours: a fault on a link is felt at its own doors and nowhere else.
func (c *contract) neighbours(t *testing.T) {
	for _, l := range c.Links() {
		mine := map[string]bool{}
		for _, d := range l.Doors() {
			mine[d.Reach] = true
		}
		must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
		for _, other := range c.Links() {
			for _, d := range other.Doors() {
				want := answered
				if mine[d.Reach] {
					want = refused
				}
				if err := want(other.ID().Service, d); err != nil {
					t.Errorf("%s is cut; door %s of %s: %v", l.ID(), d.Reach, other.ID(), err)
				}
			}
		}
		must(t, l.SetFault(t.Context(), topology.Fault{}))
	}
}

// layers: geography, the world's fault and the operators' denial do not undo one another, in every combination, whichever is
// taken back first; and what one process sets, another sees.
func (c *contract) layers(t *testing.T) {
	w, err := c.runtime.Attach(t.Context(), c.owner.Folder)
	must(t, err)
	defer w.Close()
	l := c.link(t, topology.Outside, c.active, topology.ServiceHTTP)
	other, err := w.Link(l.ID())
	must(t, err)
	base, err := l.Layers(t.Context())
	must(t, err)
	door := l.Doors()[0]

	is := func(when string, want topology.Layers) {
		t.Helper()
		for _, x := range []topology.Link{l, other} {
			if got, err := x.Layers(t.Context()); err != nil || got != want {
				t.Fatalf("%s: layers %+v, %v, want %+v", when, got, err, want)
			}
		}
		var err error
		switch {
		case want.Access == topology.Deny || want.Fault.Kind == topology.Cut:
			err = refused(l.ID().Service, door)
		case want.Fault.Kind == topology.BlackHole:
			err = oneWay(l.ID().Service, door)
		case want.Fault.Kind == topology.Slow:
			err = late(want.Fault.Delay)(l.ID().Service, door)
		case want.Delay == base.Delay:
			err = answered(l.ID().Service, door)
		default:
			err = late(want.Delay)(l.ID().Service, door)
		}
		if err != nil {
			t.Errorf("%s, layers %+v: %v", when, want, err)
		}
	}
	// From each combination everything is taken back in both orders of fault and access.
	const away = far / 2
	for _, fault := range []topology.FaultKind{topology.NoFault, topology.Cut, topology.BlackHole} {
		for _, access := range []topology.Access{topology.Allow, topology.Deny} {
			for _, delay := range []time.Duration{base.Delay, away} {
				for _, faultFirst := range []bool{true, false} {
					when := fmt.Sprintf("%q %s %s, fault healed first: %t", fault, access, delay, faultFirst)
					want := topology.Layers{Delay: delay, Fault: topology.Fault{Kind: fault}, Access: access}
					must(t, errors.Join(l.SetDelay(t.Context(), delay), other.SetFault(t.Context(), want.Fault), l.SetAccess(t.Context(), access)))
					is(when, want)
					heal := func() { must(t, l.SetFault(t.Context(), topology.Fault{})); want.Fault = topology.Fault{} }
					allow := func() { must(t, other.SetAccess(t.Context(), topology.Allow)); want.Access = topology.Allow }
					first, second := heal, allow
					if !faultFirst {
						first, second = allow, heal
					}
					first()
					is(when+", once", want)
					second()
					is(when+", twice", want)
					must(t, l.SetDelay(t.Context(), base.Delay))
					is(when+", the base again", base)
				}
			}
		}
	}
	// A slow link's delay stands in for geography and gives it back.
	must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Slow, Delay: far}))
	must(t, other.SetDelay(t.Context(), away))
	is("slow", topology.Layers{Delay: away, Fault: topology.Fault{Kind: topology.Slow, Delay: far}, Access: topology.Allow})
	must(t, l.SetFault(t.Context(), topology.Fault{}))
	is("slow no more", topology.Layers{Delay: away, Access: topology.Allow})
	must(t, l.SetDelay(t.Context(), base.Delay))
	is("the base again", base)
}
