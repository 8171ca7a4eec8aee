package steps

import (
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/objective"
)

// TestPromisesOfNothing: a limit of 0 that a scenario states is a limit, and not one that it leaves to the default.
func TestPromisesOfNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		promise func(p *promised, args []string) error
		args    []string
		limit   func(o history.Objectives) int64
		want    int64 // what the judges hold the drill to; below 0: none at all
	}{
		{"no payment", promiseLoss, []string{"0", "2 s"}, func(o history.Objectives) int64 { return int64(o.Loss.MaxCount) }, -1},
		{"no age", promiseLoss, []string{"0", "0 s"}, func(o history.Objectives) int64 { return int64(o.Loss.MaxAge) }, -1},
		{"some payments", promiseLoss, []string{"3", "0 s"}, func(o history.Objectives) int64 { return int64(o.Loss.MaxCount) }, 3},
		{"some age", promiseLoss, []string{"0", "1 s"}, func(o history.Objectives) int64 { return int64(o.Loss.MaxAge) }, int64(time.Second)},
		{"no outage", promiseRecovery, []string{"0 s"}, func(o history.Objectives) int64 { return int64(o.Recovery.Target) }, -1},
		{"some outage", promiseRecovery, []string{"7 s"}, func(o history.Objectives) int64 { return int64(o.Recovery.Target) }, int64(7 * time.Second)},
		{"one writer", promiseOneWriter, []string{"0 ms"}, func(o history.Objectives) int64 { return int64(o.DualMax) }, -1},
		{"nearly one writer", promiseOneWriter, []string{"50 ms"}, func(o history.Objectives) int64 { return int64(o.DualMax) }, int64(50 * time.Millisecond)},
	} {
		p := &promised{meta: &history.Meta{}}
		if err := c.promise(p, c.args); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := c.limit(objective.WithDefaults(p.meta.Objectives)); got != c.want {
			t.Errorf("%s: the judges are told %d, expected %d", c.name, got, c.want)
		}
	}
}
