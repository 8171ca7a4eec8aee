package acquirer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kirikae/kirikae/payment/internal/web"
)

// Latency is how slow the acquirer is. Payments that wait Before are not charged yet, those that wait After are; so a drill can
// have both in flight at one moment.
type Latency struct {
	Before time.Duration // before a charge is recorded; whoever hangs up in this time is not charged
	After  time.Duration // after it, before the answer
	Every  int           // Before holds for each request whose number is a multiple of this; 0 and 1: for all
}

type latencyJSON struct {
	Before string `json:"before"`
	After  string `json:"after"`
	Every  int    `json:"every,omitempty"`
}

// MarshalJSON writes {"before":"1s","after":"500ms","every":2}.
func (l Latency) MarshalJSON() ([]byte, error) {
	return json.Marshal(latencyJSON{l.Before.String(), l.After.String(), l.Every})
}

// String is what MarshalJSON writes.
func (l Latency) String() string {
	b, _ := l.MarshalJSON() // strings and a number
	return string(b)
}

// slowness is a latency that can be changed while requests wait: each keeps the one that it came under.
type slowness struct {
	mu      sync.Mutex
	latency Latency
	number  int

	uncharged atomic.Int64 // requests that wait now
	charged   atomic.Int64
}

func (s *slowness) get() Latency {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latency
}

func (s *slowness) set(l Latency) error {
	if l.Before < 0 || l.After < 0 || l.Every < 0 {
		return fmt.Errorf("latency is %s, want 0 or more", l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency, s.number = l, 0
	return nil
}

func (s *slowness) waiting() (uncharged, charged int64) { return s.uncharged.Load(), s.charged.Load() }

// before waits, and says whether who asked is still there.
func (s *slowness) before(ctx context.Context) bool {
	s.mu.Lock()
	d := s.latency.Before
	s.number++
	if s.latency.Every > 1 && s.number%s.latency.Every != 0 {
		d = 0
	}
	s.mu.Unlock()
	s.uncharged.Add(1)
	defer s.uncharged.Add(-1)
	wait(ctx, d)
	return ctx.Err() == nil
}

func (s *slowness) after(ctx context.Context) {
	d := s.get().After
	s.charged.Add(1)
	defer s.charged.Add(-1)
	wait(ctx, d)
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Server) setLatency(w http.ResponseWriter, r *http.Request) {
	var b latencyJSON
	if !web.Decode(w, r, &b) {
		return
	}
	l := Latency{Every: b.Every}
	for _, x := range []struct {
		name, text string
		d          *time.Duration
	}{{"before", b.Before, &l.Before}, {"after", b.After, &l.After}} {
		if x.text == "" {
			continue
		}
		d, err := time.ParseDuration(x.text)
		if err != nil {
			web.Refuse(w, http.StatusBadRequest, x.name+": "+err.Error())
			return
		}
		*x.d = d
	}
	if err := s.slow.set(l); err != nil {
		web.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	s.log.Info("latency changed", "latency", l)
	web.Answer(w, http.StatusOK, l)
}
