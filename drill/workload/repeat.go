package workload

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Backoff of a customer that repeats a key until it has an answer.
const (
	firstBackoff = 200 * time.Millisecond
	lastBackoff  = 4 * time.Second
)

// How long such a customer goes on without being told: several times what a region needs to be back, a minute without an operator included. Those
// who ignore the TTL of a lost region never see it back: they would be more and more, ask it as often as all others together, and come
// back with it all at once.
const (
	patience      = 90 * time.Second
	stalePatience = 30 * time.Second
)

// repeat plays a customer who repeats a key: until it is told that the payment is done, some with a twin sent at the same
// moment; then, one to three seconds after it was told, once more until it is told again, as a page that is reloaded does; neither
// longer than his patience. Keys that are under way or were acknowledged shortly before a region is lost are so repeated in the
// other one. Every attempt has the same key and the same body, and is a record of its own. The schedule knows first attempts only: when too many later ones
// are in flight, one more waits for its turn and leaves no record until it is sent.
func (s *stream) repeat(slot int, due history.Instant) {
	k := &repeated{stream: s, slot: slot, req: s.payment(slot, s.load.plan)}
	k.random = rand.New(rand.NewPCG(s.seed^0x6261636b6f6666, uint64(slot)))
	twin, again := s.repeats(slot)

	var second sync.WaitGroup
	defer second.Wait()
	if twin && s.enter(true) {
		k.sent++
		second.Go(func() {
			defer s.leave(true)
			s.send(k.req, slot, 2, due)
		})
	}
	k.sent++
	told := k.first(due) || k.retry()
	if told && s.load.until(s.load.rec.Now().Add(again)) {
		k.again(s.load.rec.Now())
	}
}

// repeated is one key of the repeat stream.
type repeated struct {
	*stream
	slot   int
	req    request
	sent   int // attempts so far; the next one has this number plus one
	random *rand.Rand
}

// first makes the slot's own attempt, the one that the schedule knows. False: the customer was not told that it is done.
func (k *repeated) first(due history.Instant) bool {
	if !k.enter(false) {
		k.shedOne(history.Operation{Slot: k.slot, Attempt: 1, Key: k.req.key, Yen: k.req.yen, Intended: due})
		return false
	}
	defer k.leave(false)
	return k.send(k.req, k.slot, 1, due) == history.OK
}

// again sends the key once more and then until the customer is told.
func (k *repeated) again(due history.Instant) {
	if k.enter(true) {
		k.sent++
		outcome := k.send(k.req, k.slot, k.sent, due)
		k.leave(true)
		if outcome == history.OK {
			return
		}
	}
	k.retry()
}

// retry sends the key with growing pauses until the customer is told. False: the load ended before, or his patience.
func (k *repeated) retry() bool {
	wait := patience
	if k.clients[k.req.customer].cust.stale {
		wait = stalePatience
	}
	end := k.load.rec.Now().Add(wait)
	for pause := firstBackoff; ; pause = min(2*pause, lastBackoff) {
		due := k.load.rec.Now().Add(pause/2 + time.Duration(k.random.Int64N(int64(pause))))
		if due > end || !k.load.until(due) {
			return false
		}
		if !k.enter(true) {
			continue
		}
		k.sent++
		outcome := k.send(k.req, k.slot, k.sent, due)
		k.leave(true)
		if outcome == history.OK {
			return true
		}
	}
}
