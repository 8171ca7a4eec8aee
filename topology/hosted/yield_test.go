package hosted

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestYield: a node yields until it has answered for a while, its process has ended, or it took too long; with its world it is left as it is.
func TestYield(t *testing.T) {
	const first = 10 * time.Second
	for name, x := range map[string]struct {
		answers, ends, down time.Duration // after its start; 0: never
		raised              time.Duration // 0: never
	}{
		"it answers, and does its first work": {answers: 6 * time.Second, raised: 16 * time.Second},
		"it dies before it answers":           {ends: 3 * time.Second, raised: 3 * time.Second},
		"it dies in its first work":           {answers: 6 * time.Second, ends: 9 * time.Second, raised: 9 * time.Second},
		"it never answers":                    {raised: yieldLimit},
		"its world goes down":                 {answers: 6 * time.Second, down: 8 * time.Second},
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
				var mu sync.Mutex
				var raised time.Duration
				lowered := false
				err := yield(ctx, func() error { lowered = true; return nil }, func() error {
					mu.Lock()
					defer mu.Unlock()
					raised = time.Since(began)
					return nil
				}, func(context.Context) error {
					if x.answers == 0 || time.Since(began) < x.answers {
						return errors.New("not yet")
					}
					return nil
				}, ended, first)
				if err != nil || !lowered {
					t.Errorf("lowered %v: %v", lowered, err)
				}
				if raised < x.raised || raised > x.raised+yieldLook || x.raised == 0 && raised != 0 {
					t.Errorf("raised after %s, want %s", raised, x.raised)
				}
			})
		})
	}
	refused := errors.New("refused")
	if err := Yield(t.Context(), func() error { return refused }, nil, nil, nil); !errors.Is(err, refused) {
		t.Errorf("%v: it cannot be lowered, so nothing is awaited", err)
	}
}
