package hosted

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestYield: a node yields until it has done its first work and its region is to serve, its process has ended, or it took too long; with
// its world it is left as it is.
func TestYield(t *testing.T) {
	for name, x := range map[string]struct {
		answers, serves, ends, down time.Duration // after its start; 0: never
		raised                      time.Duration // 0: never
	}{
		"in a region that serves":           {answers: 6 * time.Second, serves: time.Second, raised: 21 * time.Second},
		"in a region that is to serve":      {answers: 6 * time.Second, serves: 70 * time.Second, raised: 70 * time.Second},
		"in a region that does not serve":   {answers: 6 * time.Second, raised: yieldLimit},
		"it dies before it answers":         {ends: 3 * time.Second, serves: time.Second, raised: 3 * time.Second},
		"it dies in its first work":         {answers: 6 * time.Second, serves: time.Second, ends: 9 * time.Second, raised: 9 * time.Second},
		"it never answers":                  {serves: time.Second, raised: yieldLimit},
		"its world goes down":               {answers: 6 * time.Second, serves: time.Second, down: 8 * time.Second},
		"its world goes down, and it waits": {answers: 6 * time.Second, down: 80 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				began, ended := time.Now(), make(chan struct{})
				if x.ends > 0 {
					time.AfterFunc(x.ends, func() { close(ended) })
				}
				if x.down > 0 {
					time.AfterFunc(x.down, cancel)
				}
				after := func(d time.Duration) bool { return d > 0 && time.Since(began) >= d }
				var raised time.Duration
				lowered := false
				err := Yield(ctx, Yielding{
					Lower: func() error { lowered = true; return nil },
					Raise: func() error { raised = time.Since(began); return nil },
					Answers: func(context.Context) error {
						if !after(x.answers) {
							return errors.New("not yet")
						}
						return nil
					},
					Serves: func(context.Context) bool { return after(x.serves) }, Ended: ended,
				})
				if err != nil || !lowered {
					t.Errorf("lowered %v: %v", lowered, err)
				}
				if raised < x.raised || raised > x.raised+2*yieldLook || x.raised == 0 && raised != 0 {
					t.Errorf("raised after %s, want %s", raised, x.raised)
				}
			})
		})
	}
	refused := errors.New("refused")
	if err := Yield(t.Context(), Yielding{Lower: func() error { return refused }}); !errors.Is(err, refused) {
		t.Errorf("%v: it cannot be lowered, so nothing is awaited", err)
	}
}
