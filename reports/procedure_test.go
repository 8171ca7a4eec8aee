package reports

import (
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

func TestSteps(t *testing.T) {
	const s = history.Instant(time.Second)
	entry := func(at history.Instant, kind, step string, attempt int, manual bool) history.Entry {
		return history.Entry{T: at * s, Kind: kind, Procedure: "p", Step: step, Attempt: attempt, Manual: manual}
	}
	cases := []struct {
		name    string
		journal []history.Entry
		want    Step // of the first step
	}{
		{"done", []history.Entry{
			entry(10, history.EntryIntent, "1", 1, false), entry(12, history.EntryAct, "1", 1, false), entry(13, history.EntryConfirm, "1", 1, false),
		}, Step{State: StepDone, Machine: 3, Attempts: 1}},
		{"a person was waited for", []history.Entry{
			entry(10, history.EntryWait, "8", 1, true), entry(10, history.EntryIntent, "8", 1, true), entry(14, history.EntryConfirm, "8", 1, true),
		}, Step{State: StepDone, Waiting: 4, Manual: true, Attempts: 1}},
		{"killed after the act, then resumed", []history.Entry{
			entry(10, history.EntryIntent, "2", 1, false), entry(15, history.EntryBegin, "", 2, false), entry(16, history.EntryAlready, "2", 2, false),
		}, Step{State: StepAlready, Machine: 6, Attempts: 2}},
		{"killed and never resumed", []history.Entry{
			entry(10, history.EntryIntent, "2", 1, false),
		}, Step{State: StepUnfinished, Machine: 20, Attempts: 1}},
		{"killed while waiting, then resumed", []history.Entry{
			entry(10, history.EntryWait, "8", 1, true), entry(15, history.EntryBegin, "", 2, false), entry(16, history.EntryWait, "8", 2, true), entry(18, history.EntryConfirm, "8", 2, true),
		}, Step{State: StepDone, Waiting: 8, Manual: true, Attempts: 2}},
		{"failed", []history.Entry{
			entry(10, history.EntryIntent, "3", 1, false), {T: 11 * s, Kind: history.EntryFailed, Procedure: "p", Step: "3", Error: "no"},
		}, Step{State: StepFailed, Machine: 1, Attempts: 1, Error: "no"}},
		{"failed, then done by the next operator", []history.Entry{
			entry(10, history.EntryIntent, "3", 1, false), {T: 11 * s, Kind: history.EntryFailed, Procedure: "p", Step: "3", Error: "no"},
			entry(12, history.EntryBegin, "", 2, false), entry(13, history.EntryIntent, "3", 2, false), entry(14, history.EntryConfirm, "3", 2, false),
		}, Step{State: StepDone, Machine: 4, Attempts: 2}},
		{"done, and read again by the next operator", []history.Entry{
			entry(10, history.EntryIntent, "1", 1, false), entry(13, history.EntryConfirm, "1", 1, false), entry(20, history.EntryBegin, "", 2, false), entry(21, history.EntryAlready, "1", 2, false),
		}, Step{State: StepDone, Machine: 3, Attempts: 1}},
		{"skipped, and tried after all", []history.Entry{
			entry(10, history.EntrySkip, "1", 0, false), entry(11, history.EntryRetry, "1", 0, false), entry(12, history.EntryIntent, "1", 1, false), entry(14, history.EntryConfirm, "1", 1, false),
		}, Step{State: StepDone, Machine: 4, Attempts: 1}},
		{"failed, tried anew and never settled", []history.Entry{
			entry(10, history.EntryIntent, "3", 1, false), {T: 11 * s, Kind: history.EntryFailed, Procedure: "p", Step: "3", Error: "no"},
			entry(12, history.EntryBegin, "", 2, false), entry(13, history.EntryIntent, "3", 2, false),
		}, Step{State: StepUnfinished, Machine: 20, Attempts: 2}},
	}
	for _, c := range cases {
		run := &history.Run{Journal: c.journal, Meta: history.Meta{Origin: 1, Ended: 30 * s}}
		got := steps(run)
		if len(got) != 1 {
			t.Errorf("%s: %d steps", c.name, len(got))
			continue
		}
		g := got[0]
		if g.State != c.want.State || g.Machine != c.want.Machine || g.Waiting != c.want.Waiting || g.Attempts != c.want.Attempts || g.Error != c.want.Error || g.Manual != c.want.Manual {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, g, c.want)
		}
	}
}

// TestRepeatSaysWhere: a drill in containers is not repeated as processes, and one in a composed world needs that world.
func TestRepeatSaysWhere(t *testing.T) {
	for runtime, want := range map[string]string{"": "", "local": " --runtime local", "docker": " --runtime docker", "compose": " --world compose"} {
		if got := runtimeFlag(runtime); got != want {
			t.Errorf("%q: %q", runtime, got)
		}
	}
}
