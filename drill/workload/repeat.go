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
	lastBackoff  = 2 * time.Second
)

// repeat plays a customer who repeats a key: until it is told that the payment is done, some with a twin sent at the same
// moment; then, one to three seconds after it was told, once more until it is told again, as a page that is reloaded does. Keys
// that are under way or were acknowledged shortly before a region is lost are so repeated in the other one. Every attempt has
// the same key and the same body, and is a record of its own.
func (s *stream) repeat(slot int, due history.Instant) {
	req := s.payment(slot, s.load.plan)
	twin, again := s.repeats(slot)
	random := rand.New(rand.NewPCG(s.seed^0x6261636b6f6666, uint64(slot)))

	number := 1
	attempt := func(n int, due history.Instant) history.Outcome {
		if !s.enter() {
			if n > 1 {
				s.mu.Lock()
				s.retries++
				s.mu.Unlock()
			}
			s.shedOne(history.Operation{Slot: slot, Attempt: n, Key: req.key, Yen: req.yen, Intended: due})
			return history.Shed
		}
		defer s.leave()
		return s.send(req, slot, n, due)
	}

	var second sync.WaitGroup
	defer second.Wait()
	first := attempt
	if twin {
		number = 2
		first = func(n int, due history.Instant) history.Outcome {
			second.Go(func() { attempt(2, due) })
			return attempt(n, due)
		}
	}
	outcome := first(1, due)
	for range 2 { // until it is told, and after a while until it is told again
		for wait := firstBackoff; outcome != history.OK; wait = min(2*wait, lastBackoff) {
			due = s.load.rec.Now().Add(wait/2 + time.Duration(random.Int64N(int64(wait))))
			if !s.load.until(due) {
				return
			}
			number++
			outcome = attempt(number, due)
		}
		if again == 0 {
			return
		}
		due = s.load.rec.Now().Add(again)
		again = 0
		if !s.load.until(due) {
			return
		}
		number++
		outcome = attempt(number, due)
	}
}
