package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// TestMemory: a person who does a step knows what the operators journalled about it, and keeps his own notes as a journal would.
func TestMemory(t *testing.T) {
	folder := t.TempDir()
	writeJournal(t, folder,
		history.Entry{T: 1, Kind: history.EntryBegin, Procedure: "p", Digest: "0123456789abcdef"},
		history.Entry{T: 2, Kind: history.EntryWait, Procedure: "p", Step: "1", Manual: true, Saw: map[string]any{"led": []string{"a"}}},
		history.Entry{T: 3, Kind: history.EntryWait, Procedure: "q", Step: "1", Manual: true, Saw: map[string]any{"led": "of another procedure"}},
	)
	m := &memory{folder: folder, procedure: "p", step: "1"}
	if !strings.HasPrefix(m.Run(), "0123456789ab-") {
		t.Errorf("run %q", m.Run())
	}
	if err := m.Note(runbook.Seen{"led": []int{7}}); err != nil {
		t.Fatal(err)
	}
	all := m.All("led")
	if len(all) != 2 || !slices.Equal(all[0].([]any), []any{"a"}) || !slices.Equal(all[1].([]any), []any{7.0}) {
		t.Errorf("notes %v", all)
	}
	if err := m.Note(runbook.Seen{"f": func() {}}); err == nil {
		t.Error("a note that no journal could hold was taken")
	}
	path, err := m.Keep("rows.csv", []byte("x"))
	if err != nil || !filepath.IsLocal(path) {
		t.Fatal(path, err)
	}
	if b, err := os.ReadFile(filepath.Join(folder, path)); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := m.Keep("../x", nil); err == nil {
		t.Error("a file outside the run folder was kept")
	}
}

func TestRelation(t *testing.T) {
	const a, b = "aaaaaaaa-0000-0000-0000-000000000000", "bbbbbbbb-0000-0000-0000-000000000000"
	for _, c := range []struct{ before, there, after, want string }{
		{a + ":pay:1-3", a + ":pay:1-3", a + ":pay:1-3", "equal"},
		{a + ":pay:1-3", a + ":pay:1-4", a + ":pay:1-5", "equal"}, // the source goes on while it is compared
		{a + ":pay:1-3", a + ":pay:1-2", a + ":pay:1-3", "s has some that r lacks"},
		{a + ":pay:1-3", a + ":pay:1-3," + b + ":pay:1", a + ":pay:1-3", "r has some that s lacks"},
		{a + ":pay:1-3", b + ":pay:1", a + ":pay:1-3", "each region has some that the other lacks"},
		{a + ":canary:1-9:pay:1", a + ":canary:1-2:pay:1", a + ":canary:1-9:pay:1", "equal"}, // payments only
	} {
		if got, err := relation("s", "r", c.before, c.there, c.after); err != nil || got != c.want {
			t.Errorf("%s %s %s: %q, %v; want %q", c.before, c.there, c.after, got, err, c.want)
		}
	}
	if _, err := relation("s", "r", "x", "", ""); err == nil {
		t.Error("a set that is none was taken")
	}
}

func TestInNames(t *testing.T) {
	known := map[string]string{"127.4.16.21:3306": "tokyo-mysql-1", "127.4.16.21": "tokyo-mysql-1", "127.4.33.11": "outside-acquirer-1"}
	for text, want := range map[string]string{
		"127.4.16.21:3306":                  "tokyo-mysql-1",
		"127.4.16.21:9042,127.4.16.21:3306": "tokyo-mysql-1,tokyo-mysql-1",
		"http://127.4.33.11:8080/x":         "http://outside-acquirer-1/x",
		"127.4.99.1:1":                      "127.4.99.1:1",
		"true":                              "true",
	} {
		if got := inNames(text, known); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// console is a program in the place of kirikae that fails some times, and counts how often it was called.
func console(t *testing.T, failures int) (program string, calls func() int) {
	t.Helper()
	dir := t.TempDir()
	program, count := filepath.Join(dir, "kirikae"), filepath.Join(dir, "calls")
	script := fmt.Sprintf("#!/bin/sh\necho x >> %[1]s\n[ $(wc -l < %[1]s) -gt %[2]d ] || { echo no such key; exit 1; }\necho approved\n", count, failures)
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return program, func() int {
		b, _ := os.ReadFile(count)
		return strings.Count(string(b), "x")
	}
}

// TestPersonTriesAgain: what a person could not do is tried again, and what he did is not.
func TestPersonTriesAgain(t *testing.T) {
	duty, over := context.WithTimeout(t.Context(), 20*time.Second)
	defer over()
	d := fakeDrill(t, &fakeWorld{}, func(m history.Mark) {
		if m.Kind == history.KindPerson {
			over() // the operator goes on, and has nothing more to ask
		}
	})
	var calls func() int
	d.options.Kirikae, calls = console(t, personTries-1)
	d.approver = time.Millisecond
	writeJournal(t, d.folder, history.Entry{T: 1, Kind: history.EntryAsk, Step: "3"})
	d.attend(duty, d.ctx, "p")
	if n := calls(); n != personTries || duty.Err() != context.Canceled {
		t.Errorf("tried %d times, then %v", n, duty.Err())
	}
	if d.ctx.Err() != nil {
		t.Errorf("the drill was ended: %v", context.Cause(d.ctx))
	}
}

// TestPersonGivesUp: an operator does not wait for its whole budget for what a person cannot do; the drill ends with the cause.
func TestPersonGivesUp(t *testing.T) {
	var marks []history.Mark
	d := fakeDrill(t, &fakeWorld{}, func(m history.Mark) { marks = append(marks, m) })
	duty, over := context.WithTimeout(d.ctx, 20*time.Second) // as the operator's own: it ends with the drill
	defer over()
	var calls func() int
	d.options.Kirikae, calls = console(t, 1000)
	d.approver = time.Millisecond
	writeJournal(t, d.folder, history.Entry{T: 1, Kind: history.EntryAsk, Step: "3"})
	d.attend(duty, d.ctx, "p")
	cause := context.Cause(d.ctx)
	if cause == nil || !strings.Contains(cause.Error(), "step 3: given up after 3 tries: approve") || !strings.Contains(cause.Error(), "no such key") {
		t.Errorf("the drill ended with %v", cause)
	}
	if n := calls(); n != personTries || len(marks) != 0 {
		t.Errorf("tried %d times, marked %v", n, marks)
	}
}

// listener is called with each line of progress.
type listener func(line string)

func (l listener) Write(b []byte) (int, error) {
	l(string(b))
	return len(b), nil
}

// TestPersonIsNotMissed: what is no longer asked for after the last try ends nothing.
func TestPersonIsNotMissed(t *testing.T) {
	d := fakeDrill(t, &fakeWorld{}, nil)
	duty, over := context.WithTimeout(d.ctx, 20*time.Second)
	defer over()
	ask := history.Entry{T: 1, Kind: history.EntryAsk, Step: "3"}
	writeJournal(t, d.folder, ask)
	failures := 0
	d.options.Progress = NewProgress(listener(func(line string) {
		if !strings.Contains(line, "no such key") {
			t.Error(line)
		}
		if failures++; failures == personTries { // and somebody else has done it
			writeJournal(t, d.folder, ask, history.Entry{T: 2, Kind: history.EntryApproved, Step: "3"})
			time.AfterFunc(300*time.Millisecond, over) // some looks later
		}
	}))
	d.options.Kirikae, _ = console(t, 1000)
	d.approver = time.Millisecond
	d.attend(duty, d.ctx, "p")
	if failures != personTries || d.ctx.Err() != nil {
		t.Errorf("failed %d times, and the drill ended with %v", failures, context.Cause(d.ctx))
	}
}

// TestRecordsAreTriedAgain: a record that could not be changed is, at the next try, and the others are left alone then.
func TestRecordsAreTriedAgain(t *testing.T) {
	is, err := LoadTopology("two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	zone := &fakeZone{stuck: map[string]int{"b.": 1}, records: []topology.Record{{Name: "a.", Site: "tokyo"}, {Name: "b.", Site: "tokyo"}, {Name: "c.", Site: "osaka"}}}
	duty, over := context.WithTimeout(t.Context(), 20*time.Second)
	defer over()
	var did []history.PersonData
	d := fakeDrill(t, &fakeWorld{is: is, zone: zone}, func(m history.Mark) {
		var p history.PersonData
		if err := json.Unmarshal(m.Data, &p); err != nil {
			t.Error(err)
		}
		if did = append(did, p); len(did) == 2 {
			over()
		}
	})
	d.person = time.Millisecond
	writeJournal(t, d.folder, history.Entry{T: 1, Kind: history.EntryWait, Step: "8", Manual: true})
	d.attend(duty, d.ctx, "switchover")
	if len(did) != 2 || !slices.Equal(did[0].Records, []string{"a."}) || !slices.Equal(did[1].Records, []string{"b."}) {
		t.Errorf("changed %+v", did)
	}
	if zone.points != 3 || d.ctx.Err() != nil {
		t.Errorf("%d changes were tried; the drill ended with %v", zone.points, context.Cause(d.ctx))
	}
}

// TestApproves: keys are made with the world of a drill in which somebody approves, wherever it says so, and in no other.
func TestApproves(t *testing.T) {
	for _, x := range []struct {
		steps []string
		want  bool
	}{
		{[]string{`the platform of "two-region.yaml" is up`, "tokyo is lost"}, false},
		{[]string{`the platform of "two-region.yaml" is up`, "the person in charge decides after 1 s", "tokyo is lost"}, false},
		{[]string{`the platform of "two-region.yaml" is up`, "the person in charge approves 1 s after being asked", "tokyo is lost"}, true},
	} {
		if got := (&Drill{scenario: Scenario{Steps: x.steps}}).approves(); got != x.want {
			t.Errorf("%q: somebody approves: %t, want %t", x.steps, got, x.want)
		}
	}
}
