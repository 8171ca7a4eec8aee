package runbook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// fake is an action over a switch. Its fields say what goes wrong.
type fake struct {
	on         bool
	acts       int
	checkErr   error
	checkAfter int   // so many checks hold before checkErr
	actErr     error // returned by Act
	broken     bool  // Act changes nothing
	late       int   // so many confirms do not hold though the switch is on
	stuck      bool  // confirm never holds
	notes      bool  // Act notes before it changes anything
	writes     []string
	person     bool // the switch turns on by itself when it is asked for the second time
	asked      int
}

func (f *fake) Check(context.Context) (Seen, error) {
	if f.checkAfter > 0 {
		f.checkAfter--
		return Seen{"on": f.on}, nil
	}
	return Seen{"on": f.on}, f.checkErr
}

func (f *fake) Act(_ context.Context, n Notes) (Seen, error) {
	f.acts++
	if f.notes {
		if err := n.Note(Seen{"was": f.on}); err != nil {
			return nil, err
		}
	}
	if !f.broken {
		f.on = true
	}
	return Seen{"acts": f.acts}, f.actErr
}

func (f *fake) Confirm(context.Context, Notes) (Seen, error) {
	f.asked++
	if f.person && f.asked > 1 {
		f.on = true
	}
	switch {
	case !f.on:
		return Seen{"on": false}, errors.New("the switch is off")
	case f.stuck:
		return nil, errors.New("the lamp stays dark")
	case f.late > 0:
		f.late--
		return nil, errors.New("the lamp is not lit yet")
	}
	return Seen{"on": true}, nil
}

func (f *fake) Writes() []string { return f.writes }

// book is a runbook of fakes, numbered from 1.
func book(fakes ...*fake) Runbook {
	rb := Runbook{Name: "lamps", Title: Title{"点灯", "Light the lamps"}, Inputs: map[string]any{"floor": "1"}}
	for i, f := range fakes {
		rb.Steps = append(rb.Steps, Step{Path: fmt.Sprint(i + 1), Title: Title{EN: fmt.Sprintf("Light lamp %d", i+1)}, Resource: "lamp",
			Verb: "lamp.light", Inputs: map[string]any{"lamp": i + 1}, Budget: time.Minute, Action: f})
	}
	return rb
}

// ticking is a clock that moves by one at each look.
type ticking struct{ t history.Instant }

func (c *ticking) Now() history.Instant { c.t++; return c.t }

var errDied = errors.New("killed")

// operate runs an operator process to its end, or to its planted death.
func operate(path string, rb Runbook, o Options) (err error) {
	j, err := openWith(path, unsynced)
	if err != nil {
		return err
	}
	defer j.Close()
	defer func() {
		if r := recover(); r == errDied {
			err = errDied
		} else if r != nil {
			panic(r)
		}
	}()
	if o.Clock == nil {
		o.Clock = &ticking{history.Instant(j.size)}
	}
	if o.Who == "" {
		o.Who = "tester"
	}
	if o.Poll == 0 {
		o.Poll = 10 * time.Microsecond
	}
	o.Kill = func() { panic(errDied) }
	return Run(context.Background(), rb, j, o)
}

// bubble is a test in whose bubble time passes only when everybody waits: no budget ends because the machine is busy.
func bubble(f func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

func unsynced(*os.File) error { return nil }

// told prints a journal as "kind step" words.
func told(t testing.TB, path string) string {
	t.Helper()
	j, err := openWith(path, unsynced)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	return words(j.entries)
}

func words(entries []history.Entry) string {
	var w []string
	for _, e := range entries {
		w = append(w, strings.TrimSpace(e.Kind+" "+e.Step))
	}
	return strings.Join(w, ", ")
}

func journal(t testing.TB) string { return filepath.Join(t.TempDir(), history.JournalFile) }
