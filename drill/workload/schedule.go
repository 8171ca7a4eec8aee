package workload

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// schedule says when each slot of a stream is due and what it sends. It is a pure function of seed, stream and slot.
type schedule struct {
	seed   uint64
	stream string
	rate   float64
}

// random is the slot's own source: what one slot draws never shifts another's.
func (s schedule) random(slot int) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(s.stream))
	return rand.New(rand.NewPCG(s.seed^h.Sum64(), uint64(slot)))
}

// due is when a slot is due, after the stream's start. Half an interval of jitter keeps the stream out of step with anything
// periodic and bounds the gap between two slots at 1.5 intervals.
func (s schedule) due(slot int) time.Duration {
	return time.Duration((float64(slot) + 0.5*s.random(slot).Float64()) / s.rate * float64(time.Second))
}

// request is what one slot sends.
type request struct {
	customer int
	key      string // payment key; "" for a probe
	path     string
	body     []byte
	yen      int64
	number   int64 // probe: the value written
}

// probeRows is how many rows the probes write to in turn, so that two in flight at once do not wait for each other's lock.
const probeRows = 64

func (s schedule) payment(slot int, p Plan) request {
	r := s.random(slot)
	r.Float64() // the jitter's
	from := 1 + r.IntN(p.Accounts)
	to := 1 + r.IntN(p.Accounts-1)
	if to >= from {
		to++
	}
	yen := 1 + r.Int64N(p.MaxYen)
	body, _ := json.Marshal(struct { // ints only: cannot fail
		From int   `json:"from"`
		To   int   `json:"to"`
		Yen  int64 `json:"yen"`
	}{from, to, yen})
	key := fmt.Sprintf("%s-%x-%06d", s.stream, s.seed, slot)
	return request{customer: r.IntN(p.Customers), key: key, path: "/payments", body: body, yen: yen}
}

func (s schedule) probe(slot int, p Plan) request {
	body, _ := json.Marshal(struct {
		Slot int   `json:"slot"`
		N    int64 `json:"n"`
	}{slot % probeRows, int64(slot)})
	return request{customer: s.turn(slot, p.Customers), path: "/probe", body: body, number: int64(slot)}
}

// turn says whose probe a slot is. Customers take turns, in another order each round: as many of any stretch's probes as of its
// customers ignore the TTL. Drawn anew for each probe, their number would vary from stretch to stretch by as much as the level of
// service that is measured with the others.
func (s schedule) turn(slot, customers int) int {
	round := rand.New(rand.NewPCG(s.seed^0x7475726e, uint64(slot/customers)))
	return round.Perm(customers)[slot%customers]
}

// repeats says how a key of the repeat stream is repeated: whether a twin is sent at once, and how long after its first
// success the customer sends it again.
func (s schedule) repeats(slot int) (twin bool, again time.Duration) {
	r := rand.New(rand.NewPCG(s.seed^0x7265706561740000, uint64(slot)))
	return r.Float64() < 0.3, time.Second + time.Duration(r.Int64N(int64(2*time.Second)))
}
