package runbook

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/kirikae/kirikae/drill/history"
)

// house is a world of lamps. Lamps may share a socket: the one that was lit last is lit. What goes wrong is drawn anew for
// each operator process.
type house struct {
	socket []int       // lamp → socket
	lit    map[int]int // socket → lamp
	goes   []trouble   // by lamp
}

// trouble is what goes wrong with one lamp while one operator is at work.
type trouble struct {
	check   bool // the check fails
	fails   bool // the act returns an error
	nothing bool // the act changes nothing
	note    bool // the act notes something first
	late    int  // confirms that do not hold though the lamp is lit
	never   bool // no confirm holds
	absent  bool // manual: no person comes
}

type bulb struct {
	house  *house
	i      int
	manual bool
	asked  *int // confirms since the operator began
	act    func()
}

func (b bulb) Writes() []string { return []string{fmt.Sprint(b.house.socket[b.i])} }

func (b bulb) on() bool {
	lamp, ok := b.house.lit[b.house.socket[b.i]]
	return ok && lamp == b.i
}

func (b bulb) Check(context.Context) (Seen, error) {
	if b.house.goes[b.i].check {
		return nil, errors.New("check")
	}
	return nil, nil
}

func (b bulb) Act(_ context.Context, n Notes) (Seen, error) {
	b.act()
	tr := b.house.goes[b.i]
	if tr.note {
		if err := n.Note(Seen{"k": 1}); err != nil {
			return nil, err
		}
	}
	if !tr.nothing {
		b.house.lit[b.house.socket[b.i]] = b.i
	}
	if tr.fails {
		return nil, errors.New("act")
	}
	return nil, nil
}

func (b bulb) Confirm(context.Context, Notes) (Seen, error) {
	tr := &b.house.goes[b.i]
	if *b.asked++; b.manual && *b.asked > 1 && !tr.absent {
		b.house.lit[b.house.socket[b.i]] = b.i
	}
	if !b.on() || tr.never {
		return nil, errors.New("dark")
	}
	if tr.late > 0 {
		tr.late--
		return nil, errors.New("late")
	}
	return nil, nil
}

// model is the reference: it knows in a few lines which entries an operator must leave, given what goes wrong. It mirrors the
// house in its own words and shares no code with the engine.
type model struct {
	socket  []int
	lit     map[int]int
	manual  []bool
	journal []string
}

func (m *model) has(words ...string) bool {
	for _, e := range m.journal {
		for _, w := range words {
			if e == w {
				return true
			}
		}
	}
	return false
}

// operator appends what one operator process leaves, and says how it ends: "done", "failed", "refused" or "killed".
func (m *model) operator(goes []trouble, c Crash) string {
	add := func(words ...string) { m.journal = append(m.journal, words...) }
	begun := false
	for i := range goes {
		begun = begun || m.has(fmt.Sprintf("intent %d", i+1), fmt.Sprintf("wait %d", i+1))
	}
	add("begin")
	if !begun {
		for _, tr := range goes {
			if tr.check {
				add("refused")
				return "refused"
			}
		}
		add("note")
	}
	for i, tr := range goes {
		n := fmt.Sprint(i + 1)
		at := func(p Point) bool { return c.Step == n && c.Point == p }
		holds := func() bool { // one confirming read
			lamp, ok := m.lit[m.socket[i]]
			if !ok || lamp != i || tr.never {
				return false
			}
			tr.late--
			return tr.late < 0
		}
		if m.has("confirm "+n, "already "+n) {
			replaced := false
			for k := i + 1; k < len(goes); k++ {
				replaced = replaced || m.socket[k] == m.socket[i] && m.has(fmt.Sprintf("intent %d", k+1), fmt.Sprintf("wait %d", k+1))
			}
			if replaced {
				continue
			}
		}
		if holds() {
			add("already " + n)
			continue
		}
		if tr.check {
			add("failed " + n)
			return "failed"
		}
		if at(BeforeIntent) {
			return "killed"
		}
		if m.manual[i] {
			add("wait " + n)
			if at(AfterIntent) {
				return "killed"
			}
			if !tr.absent {
				m.lit[m.socket[i]] = i
			}
			if lamp, ok := m.lit[m.socket[i]]; !ok || lamp != i || tr.never {
				add("failed " + n)
				return "failed"
			}
			if at(AfterAct) {
				return "killed"
			}
			add("confirm " + n)
			continue
		}
		add("intent " + n)
		if at(AfterIntent) {
			return "killed"
		}
		if tr.note {
			add("note " + n)
			if at(AfterNote) {
				return "killed"
			}
		}
		if !tr.nothing {
			m.lit[m.socket[i]] = i
		}
		if at(AfterAct) {
			return "killed"
		}
		add("act " + n)
		if at(AfterRecord) {
			return "killed"
		}
		confirmed := holds()
		for k := 0; !tr.fails && !confirmed && k < 3; k++ { // asked again and again, where the act gave no error
			confirmed = holds()
		}
		if !confirmed {
			add("failed " + n)
			return "failed"
		}
		add("confirm " + n)
	}
	add("end")
	return "done"
}

// A random walk over operators that fail, are killed at random points, leave torn lines and are resumed, held against the model.
func TestRandomWalk(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if old := checks.Value.String(); old == checks.DefValue {
		sequences := "10000"
		if testing.Short() {
			sequences = "1000"
		}
		if err := checks.Value.Set(sequences); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = checks.Value.Set(old) }()
	}
	path := journal(t)
	// In a bubble time passes only when everybody waits: a budget of a minute costs nothing, and ends never by chance.
	synctest.Test(t, func(t *testing.T) { rapid.Check(bubbled{t}, func(rt *rapid.T) { walk(t, rt, path) }) })
}

// bubbled is a test whose deadline, in real time, is hidden: inside a bubble it may not be asked for.
type bubbled struct{ testing.TB }

func walk(t *testing.T, rt *rapid.T, path string) {
	if err := os.RemoveAll(path); err != nil {
		rt.Fatal(err)
	}
	steps := rapid.IntRange(1, 4).Draw(rt, "steps")
	h := &house{lit: map[int]int{}}
	m := &model{lit: map[int]int{}}
	for i := range steps {
		socket := i
		if i > 0 && rapid.IntRange(0, 3).Draw(rt, "shares") == 0 {
			socket = h.socket[rapid.IntRange(0, i-1).Draw(rt, "socket")]
		}
		h.socket = append(h.socket, socket)
		m.manual = append(m.manual, rapid.IntRange(0, 4).Draw(rt, "manual") == 0)
	}
	m.socket = h.socket
	for p := 0; ; p++ {
		last := p == 4 // the last operator meets no trouble: every run can be brought to its end
		h.goes = make([]trouble, steps)
		var c Crash
		if !last {
			for i := range h.goes {
				h.goes[i] = draw(rt)
			}
			c = drawCrash(rt, m.manual)
		}
		if p > 0 && rapid.IntRange(0, 4).Draw(rt, "undone") == 0 { // the world changes while no operator is at work
			s := rapid.IntRange(0, steps-1).Draw(rt, "socket undone")
			delete(h.lit, s)
			delete(m.lit, s)
		}
		want := m.operator(append([]trouble(nil), h.goes...), c)
		got := one(rt, path, h, m.manual, c)
		if got != want {
			rt.Fatalf("operator %d: %s, expected %s; expected journal %v", p, got, want, m.journal)
		}
		if want == "killed" && (c.Point == AfterIntent || c.Point == AfterRecord) && rapid.Bool().Draw(rt, "torn") {
			tear(rt, path) // killed in the middle of the write, and so before what the write announces
			m.journal = m.journal[:len(m.journal)-1]
		}
		if got := told(t, path); got != strings.Join(m.journal, ", ") {
			rt.Fatalf("operator %d: journal\n got %s\nwant %s", p, got, strings.Join(m.journal, ", "))
		}
		if want == "done" {
			break
		}
		if last {
			rt.Fatalf("the last operator, who met no trouble, ended %s: %v", want, m.journal)
		}
	}
}

func draw(rt *rapid.T) trouble {
	rare := func(what string) bool { return rapid.IntRange(0, 9).Draw(rt, what) == 0 }
	return trouble{check: rare("check fails"), fails: rare("act fails"), nothing: rare("act does nothing"), note: rapid.Bool().Draw(rt, "notes"),
		late: rapid.IntRange(0, 2).Draw(rt, "late"), never: rare("never confirmed"), absent: rare("no person")}
}

func drawCrash(rt *rapid.T, manual []bool) Crash {
	if !rapid.Bool().Draw(rt, "killed") {
		return Crash{}
	}
	i := rapid.IntRange(0, len(manual)-1).Draw(rt, "at step")
	c := Crash{fmt.Sprint(i + 1), rapid.SampledFrom(points[:]).Draw(rt, "at")}
	if manual[i] && (c.Point == AfterNote || c.Point == AfterRecord) {
		c.Point = AfterAct
	}
	return c
}

// one runs one operator process and watches each act: its intent is on disk, and every earlier step is done.
func one(rt *rapid.T, path string, h *house, manual []bool, c Crash) string {
	rb := Runbook{Name: "house"}
	for i := range h.socket {
		act := func() {
			b, err := os.ReadFile(path)
			if err != nil {
				rt.Fatal(err)
			}
			entries, err := parse(b)
			if err != nil {
				rt.Fatal(err)
			}
			if last := entries[len(entries)-1]; last.Kind != history.EntryIntent || last.Step != fmt.Sprint(i+1) {
				rt.Fatalf("step %d acts, and the journal ends with %s %s", i+1, last.Kind, last.Step)
			}
			p := past{entries: entries}
			for k := range i {
				if !p.did(fmt.Sprint(k+1), history.EntryConfirm, history.EntryAlready) {
					rt.Fatalf("step %d acts before step %d is confirmed", i+1, k+1)
				}
			}
		}
		asked := 0
		rb.Steps = append(rb.Steps, Step{Path: fmt.Sprint(i + 1), Verb: "light", Budget: time.Minute, Manual: manual[i], Action: bulb{h, i, manual[i], &asked, act}})
	}
	switch err := operate(path, rb, Options{Crash: c, Poll: 10 * time.Second}); {
	case err == nil:
		return "done"
	case err == errDied:
		return "killed"
	case errors.Is(err, ErrPreflight):
		return "refused"
	case errors.As(err, new(*StepError)):
		return "failed"
	default:
		rt.Fatal(err)
		return ""
	}
}

// tear cuts the last line off in the middle, as a writer does that is killed while it writes.
func tear(rt *rapid.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		rt.Fatal(err)
	}
	line := strings.LastIndexByte(strings.TrimSuffix(string(b), "\n"), '\n') + 1
	cut := rapid.IntRange(line, len(b)-2).Draw(rt, "torn at")
	if err := os.Truncate(path, int64(cut)); err != nil {
		rt.Fatal(err)
	}
}
