package wan

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"

	"github.com/kirikae/kirikae/topology"
)

// shapeType is the name under which toxiproxy knows the toxic.
const shapeType = "link"

// queue is how many chunks may wait in one direction of one connection, as in toxiproxy's own latency toxic. It bounds what
// a delayed or black-holed direction takes from its sender (a chunk is at most 32 KiB).
const queue = 1024

// attributes are a link's layers as toxiproxy's API shows them, readable with curl. Unknown ones are refused.
type attributes struct {
	Delay      string `json:"delay"`       // one way, "4ms"
	Fault      string `json:"fault"`       // topology.FaultKind
	FaultDelay string `json:"fault_delay"` // of slow, one way
	Rate       int64  `json:"rate"`        // of narrow, KiB/s
	Access     string `json:"access"`      // allow, deny
}

func toAttributes(l topology.Layers) attributes {
	a := attributes{Delay: l.Delay.String(), Fault: string(l.Fault.Kind), FaultDelay: l.Fault.Delay.String(), Rate: l.Fault.Rate, Access: string(topology.Allow)}
	if l.Access == topology.Deny {
		a.Access = string(topology.Deny)
	}
	return a
}

func (a attributes) layers() (topology.Layers, error) {
	delay, err := time.ParseDuration(a.Delay)
	if err != nil {
		return topology.Layers{}, fmt.Errorf("read base delay: %w", err)
	}
	faultDelay, err := time.ParseDuration(a.FaultDelay)
	if err != nil {
		return topology.Layers{}, fmt.Errorf("read delay of fault %q: %w", a.Fault, err)
	}
	l := topology.Layers{Delay: delay, Fault: topology.Fault{Kind: topology.FaultKind(a.Fault), Delay: faultDelay, Rate: a.Rate}, Access: topology.Access(a.Access)}
	return l, Validate(l)
}

// Validate says what is wrong with a link's layers, or nil.
func Validate(l topology.Layers) error {
	switch l.Fault.Kind {
	case topology.NoFault, topology.Cut, topology.BlackHole:
	case topology.Slow:
		if l.Fault.Delay <= 0 {
			return fmt.Errorf("fault %s needs a delay above 0, has %s", topology.Slow, l.Fault.Delay)
		}
	case topology.Narrow:
		if l.Fault.Rate <= 0 {
			return fmt.Errorf("fault %s needs a rate above 0 KiB/s, has %d", topology.Narrow, l.Fault.Rate)
		}
	default:
		return fmt.Errorf("unknown fault %q (known: cut, black-hole, slow, narrow)", l.Fault.Kind)
	}
	switch l.Access {
	case "", topology.Allow, topology.Deny:
	default:
		return fmt.Errorf("unknown access %q (known: allow, deny)", l.Access)
	}
	if l.Delay < 0 || l.Fault.Delay < 0 {
		return fmt.Errorf("a delay below 0 cannot be made")
	}
	return nil
}

// behaviour is what the toxic does to bytes: the layers without what disabling the proxy does.
type behaviour struct {
	delay time.Duration
	rate  int64 // bytes a second; 0: no limit
	hole  bool
}

func behave(l topology.Layers) behaviour {
	b := behaviour{delay: l.Delay}
	switch l.Fault.Kind {
	case topology.Slow:
		b.delay = l.Fault.Delay
	case topology.Narrow:
		b.rate = l.Fault.Rate * 1024
	case topology.BlackHole:
		b.hole = true
	}
	return b
}

// shape is the toxic of one direction of one door. toxiproxy makes one for each toxic that is added and runs Pipe for each
// connection. It is safe to update while connections run, whatever their receivers do.
type shape struct{ now atomic.Pointer[attributes] }

// carried is what one direction of one connection has taken and not yet handed on. It outlives an update of the toxic.
type carried struct {
	chunks []*stream.StreamChunk
	free   time.Time // when a narrow link has sent what it was given before
}

// GetBufferSize implements toxics.BufferedToxic.
func (s *shape) GetBufferSize() int { return queue }

// NewState implements toxics.StatefulToxic.
func (s *shape) NewState() any { return &carried{} }

// MarshalJSON writes the attributes.
func (s *shape) MarshalJSON() ([]byte, error) {
	a := s.now.Load()
	if a == nil {
		empty := toAttributes(topology.Layers{})
		a = &empty
	}
	return json.Marshal(a)
}

// UnmarshalJSON takes the attributes that are named and keeps the others: an update of one layer cannot touch another.
func (s *shape) UnmarshalJSON(b []byte) error {
	a := toAttributes(topology.Layers{})
	if old := s.now.Load(); old != nil {
		a = *old
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return err
	}
	if _, err := a.layers(); err != nil {
		return err
	}
	s.now.Store(&a)
	return nil
}

// Pipe carries bytes until the connection ends or the toxic is updated. Every wait ends on an interruption, and nothing that
// was taken is lost by one. A black hole holds what it takes, as a network does whose packets are sent again: the bytes arrive
// once it is healed, unless their sender gave up before. The end of a connection follows its last bytes at once, without a delay
// of its own.
func (s *shape) Pipe(stub *toxics.ToxicStub) {
	c, ok := stub.State.(*carried)
	if !ok { // toxiproxy sets it for every stateful toxic
		stub.Close()
		return
	}
	l, err := s.now.Load().layers()
	if err != nil { // UnmarshalJSON let it in: cannot be
		stub.Close()
		return
	}
	b := behave(l)
	for {
		if b.hole || len(c.chunks) == 0 {
			input := stub.Input
			if len(c.chunks) >= queue {
				input = nil // full: the sender's own buffers fill up next
			}
			select {
			case <-stub.Interrupt:
				return
			case chunk := <-input:
				if chunk == nil {
					stub.Close()
					return
				}
				c.chunks = append(c.chunks, chunk)
			}
			continue
		}
		chunk := c.chunks[0]
		due := chunk.Timestamp.Add(b.delay)
		if b.rate > 0 {
			// A chunk leaves in pieces of a tenth of a second, each after the time that sending it takes.
			if size := int(max(1, b.rate/10)); len(chunk.Data) > size {
				first := &stream.StreamChunk{Data: chunk.Data[:size:size], Timestamp: chunk.Timestamp}
				rest := &stream.StreamChunk{Data: chunk.Data[size:], Timestamp: chunk.Timestamp}
				c.chunks = append([]*stream.StreamChunk{first, rest}, c.chunks[1:]...)
				continue
			}
			if c.free.After(due) {
				due = c.free
			}
			due = due.Add(time.Duration(len(chunk.Data)) * time.Second / time.Duration(b.rate))
		}
		if wait := time.Until(due); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-stub.Interrupt:
				timer.Stop()
				return
			case <-timer.C:
			}
		}
		select {
		case <-stub.Interrupt:
			return
		case stub.Output <- chunk:
			c.chunks = c.chunks[1:]
			c.free = time.Now()
		}
	}
}
