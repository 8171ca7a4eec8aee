package runbook

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

// shape is a runbook of lamps: what is the same for all operators of one walk.
type shape struct {
	planned  bool
	commits  int      // index; -1: none
	socket   []int    // lamp → socket; lamps may share one: the one that was lit last is lit
	manual   []bool   // by lamp
	approval []bool   // by lamp
	undo     []string // by lamp: "", "nothing", "by machine", "by hand"
}

// trouble is what goes wrong with one lamp, in one direction, while one operator is at work.
type trouble struct {
	check   bool // the check fails
	fails   bool // the act returns an error
	nothing bool // the act changes nothing
	note    bool // the act notes something first
	late    int  // confirms that do not hold though the lamp is as it should be
	never   bool // no confirm holds
	absent  bool // manual: no person comes
}

// shift is one operator process: what goes wrong, what its persons do, and where it dies.
type shift struct {
	on, off    []trouble // by lamp: lighting it, taking it back
	presents   [][]paper // by lamp: what is presented when its step asks for an approval
	pauseAfter int       // a pause is asked for once this lamp is confirmed; -1: never
	resumes    bool      // somebody continues a pause
	skip       int       // decision to skip this lamp; -1: none
	retry      int       // decision to take a skip back; -1: none
	abort      bool
	crash      Crash
}

// paper is an approval as somebody presents it.
type paper string

const (
	lasting  paper = "lasting"  // valid, and for the next operators too
	brief    paper = "brief"    // valid, but no longer when the next operator comes
	expired  paper = "expired"  // when it is presented
	own      paper = "own"      // by the operator himself
	forged   paper = "forged"   // signed by another key
	stranger paper = "stranger" // by nobody who is listed
	foreign  paper = "foreign"  // for another plan
	repeated paper = "repeated" // the last valid one once more; where there was none: like foreign
)

// house is a world of lamps.
type house struct {
	shape
	lit   map[int]int // socket → lamp
	shift *shift
	here  map[string]bool // manual: the person came, to "on 1" or "off 1"
	file  *file
}

// file is a journal as it stands on disk. What was read once, and has not changed, is not parsed again.
type file struct {
	path    string
	b       []byte
	entries []history.Entry
}

func (f *file) read(rt *rapid.T) []history.Entry {
	b, err := os.ReadFile(f.path)
	if err != nil && !os.IsNotExist(err) {
		rt.Fatal(err)
	}
	if len(f.b) == 0 || f.b[len(f.b)-1] != '\n' || !bytes.HasPrefix(b, f.b) {
		f.b, f.entries = nil, nil
	}
	more, err := parse(b[len(f.b):])
	if err != nil {
		rt.Fatal(err)
	}
	f.b, f.entries = b, append(f.entries, more...)
	return f.entries
}

type bulb struct {
	house *house
	i     int
	off   bool // the undo
	act   func()
}

func (b bulb) trouble() *trouble {
	if b.off {
		return &b.house.shift.off[b.i]
	}
	return &b.house.shift.on[b.i]
}

func (b bulb) word() string {
	return fmt.Sprint(map[bool]string{false: "on ", true: "off "}[b.off], b.i+1)
}

func (b bulb) is() bool {
	lamp, ok := b.house.lit[b.house.socket[b.i]]
	return (ok && lamp == b.i) != b.off
}

func (b bulb) set() {
	if !b.off {
		b.house.lit[b.house.socket[b.i]] = b.i
	} else if !b.is() {
		delete(b.house.lit, b.house.socket[b.i])
	}
}

func (b bulb) Writes() []string {
	if b.off {
		return nil
	}
	return []string{fmt.Sprint(b.house.socket[b.i])}
}

func (b bulb) Check(context.Context) (Seen, error) {
	if b.trouble().check {
		return nil, errors.New("check")
	}
	return nil, nil
}

func (b bulb) Act(_ context.Context, n Notes) (Seen, error) {
	b.act()
	tr := b.trouble()
	if tr.note {
		if err := n.Note(Seen{"k": 1}); err != nil {
			return nil, err
		}
	}
	if !tr.nothing {
		b.set()
	}
	if tr.fails {
		return nil, errors.New("act")
	}
	return nil, nil
}

func (b bulb) Confirm(context.Context, Notes) (Seen, error) {
	tr := b.trouble()
	if b.house.here[b.word()] {
		b.set()
	}
	if !b.is() || tr.never {
		return nil, errors.New("not so")
	}
	if tr.late > 0 {
		tr.late--
		return nil, errors.New("late")
	}
	return nil, nil
}

// model is the reference: it knows which entries an operator must leave, given what goes wrong and what persons do. It mirrors
// the house in its own words and shares no code with the engine.
type model struct {
	shape
	lit      map[int]int
	journal  []string
	approved []paper // by lamp: under which it may act
	any      bool    // an approval was accepted once
	pending  int     // pauses asked for and not yet answered
	paused   bool
	skips    map[string]bool // "1" and "undo-1"
}

func (m *model) add(words ...string) { m.journal = append(m.journal, words...) }

func (m *model) has(words ...string) bool {
	return slices.ContainsFunc(m.journal, func(e string) bool { return slices.Contains(words, e) })
}

func (m *model) announced(i int) bool {
	return m.has(fmt.Sprintf("intent %d", i+1), fmt.Sprintf("wait %d", i+1))
}

// replaced says whether a later lamp in the same socket was begun.
func (m *model) replaced(i int) bool {
	for k := i + 1; k < len(m.socket); k++ {
		if m.socket[k] == m.socket[i] && m.announced(k) {
			return true
		}
	}
	return false
}

// back says whether the run is being taken back.
func (m *model) back() bool {
	if m.has("abort") {
		return true
	}
	failed := slices.ContainsFunc(m.journal, func(e string) bool { return strings.HasPrefix(e, "failed ") })
	return m.planned && failed && !m.announced(m.commits)
}

// operator appends what one operator process leaves, and says how it ends.
func (m *model) operator(s shift) string {
	begun := false
	for i := range m.socket {
		begun = begun || m.announced(i)
		if m.approved[i] == brief {
			m.approved[i] = ""
		}
	}
	back := m.back()
	prefix := map[bool]string{true: "undo-"}[back || s.abort]
	switch {
	case s.skip >= 0 && prefix == "" && (s.skip == m.commits || m.approval[s.skip]):
		return "cannot"
	case s.retry >= 0 && !m.skips[fmt.Sprint(prefix, s.retry+1)], s.retry >= 0 && prefix == "" && m.replaced(s.retry):
		return "cannot"
	case s.abort && (!m.planned || !begun || m.announced(m.commits)):
		return "cannot"
	}
	m.add("begin")
	if s.abort && !back {
		m.add("abort")
	}
	if n := fmt.Sprint(prefix, s.skip+1); s.skip >= 0 && !m.skips[n] {
		m.skips[n] = true
		m.add(fmt.Sprint(prefix, "skip ", s.skip+1))
	}
	if n := fmt.Sprint(prefix, s.retry+1); s.retry >= 0 {
		m.skips[n] = false
		m.add(fmt.Sprint(prefix, "retry ", s.retry+1))
	}
	if m.back() {
		return m.takeBack(s)
	}
	if !begun {
		for i := range m.socket {
			n := fmt.Sprint(i + 1)
			undoes := m.undo[i] != "" && m.undo[i] != "nothing"
			if s.on[i].check && !m.skips[n] || undoes && s.off[i].check && !m.skips["undo-"+n] {
				m.add("refused")
				return "refused"
			}
		}
		m.add("note")
	}
	for i := range m.socket {
		n := fmt.Sprint(i + 1)
		if m.skips[n] {
			continue
		}
		if m.replaced(i) {
			continue
		}
		if !m.pause(s) {
			return "failed"
		}
		if how := m.task(i, false, &s.on[i], s); how == "failed" && m.back() {
			return m.takeBack(s)
		} else if how != "" {
			return how
		}
		if s.pauseAfter == i {
			m.pending++
		}
	}
	m.add("end")
	return "done"
}

// pause stands before each task; false: nobody continued.
func (m *model) pause(s shift) bool {
	for ; m.pending > 0; m.pending-- {
		if m.paused {
			m.add("rejected")
		} else {
			m.add("pause")
		}
		m.paused = true
	}
	if m.paused && !s.resumes {
		return false
	}
	if m.paused {
		m.add("continue")
	}
	m.paused = false
	return true
}

func (m *model) takeBack(s shift) string {
	if !m.has("abort") {
		m.add("abort")
	}
	for i := len(m.socket) - 1; i >= 0; i-- {
		if m.undo[i] == "" || m.undo[i] == "nothing" || !m.announced(i) || m.skips[fmt.Sprint("undo-", i+1)] {
			continue
		}
		if !m.pause(s) {
			return "failed"
		}
		if how := m.task(i, true, &s.off[i], s); how != "" {
			return how
		}
	}
	m.add("undone")
	return "aborted"
}

// task is one step, or one undo: "" when it came to its end.
func (m *model) task(i int, off bool, tr *trouble, s shift) string {
	n, prefix, manual := fmt.Sprint(i+1), "", m.manual[i]
	if off {
		prefix, manual = "undo-", m.undo[i] == "by hand"
	}
	say := func(kind string) { m.add(prefix + kind + " " + n) }
	at := func(p Point) bool { return s.crash.Step == n && string(s.crash.Point) == prefix+string(p) }
	is := func() bool {
		lamp, ok := m.lit[m.socket[i]]
		return (ok && lamp == i) != off
	}
	set := func() {
		if off && !is() {
			delete(m.lit, m.socket[i])
		} else if !off {
			m.lit[m.socket[i]] = i
		}
	}
	holds := func() bool { // one confirming read
		if !is() || tr.never {
			return false
		}
		tr.late--
		return tr.late < 0
	}
	if holds() {
		say("already")
		return ""
	}
	for k := len(m.journal) - 1; k >= 0; k-- {
		kind, step, _ := strings.Cut(m.journal[k], " ")
		kind, ours := strings.CutPrefix(kind, prefix)
		if step != n || !ours || !slices.Contains([]string{"failed", "intent", "wait", "confirm", "already", "retry"}, kind) {
			continue
		}
		if kind == "failed" {
			say("retry")
		}
		break
	}
	if tr.check {
		say("failed")
		return "failed"
	}
	if !off && m.approval[i] && m.approved[i] == "" {
		say("ask")
		if at(AfterAsk) {
			return "killed"
		}
		for _, p := range s.presents[i] {
			if p == lasting || p == brief {
				if m.approved[i] != lasting {
					m.approved[i] = p
				}
				m.any = true
				say("approved")
			} else {
				say("rejected")
			}
		}
		if m.approved[i] == "" {
			say("failed")
			return "failed"
		}
		if holds() {
			say("already")
			return ""
		}
	}
	if at(BeforeIntent) {
		return "killed"
	}
	if manual {
		say("wait")
		if at(AfterIntent) {
			return "killed"
		}
		if !tr.absent {
			set()
		}
		if !is() || tr.never {
			say("failed")
			return "failed"
		}
		if at(AfterAct) {
			return "killed"
		}
		say("confirm")
		return ""
	}
	say("intent")
	if at(AfterIntent) {
		return "killed"
	}
	if tr.note {
		say("note")
		if at(AfterNote) {
			return "killed"
		}
	}
	if !tr.nothing {
		set()
	}
	if at(AfterAct) {
		return "killed"
	}
	say("act")
	if at(AfterRecord) {
		return "killed"
	}
	confirmed := holds()
	for k := 0; !tr.fails && !confirmed && k < 3; k++ { // asked again and again, where the act gave no error
		confirmed = holds()
	}
	if !confirmed {
		say("failed")
		return "failed"
	}
	say("confirm")
	return ""
}

// A random walk over operators that fail, are killed at random points, leave torn lines, are paused, skip steps, wait for approvals,
// are taken back and are resumed, held against the model.
func TestRandomWalk(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if old := checks.Value.String(); old == checks.DefValue {
		if err := checks.Value.Set("10000"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = checks.Value.Set(old) }()
	}
	path, people, walks, ends := filepath.Join(memory(t), history.JournalFile), newPersons(), 0, map[string]int{}
	// In a bubble time passes only when everybody waits: a budget costs nothing, and ends never by chance.
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubbled{t}, func(rt *rapid.T) {
			walks++
			walk(rt, path, people, ends)
		})
	})
	want, _ := strconv.Atoi(checks.Value.String())
	if testing.Short() {
		want /= 5 // as rapid does
	}
	if walks < want { // rapid gives up in silence when a day has passed: a bubble's day is short
		t.Errorf("%d walks, expected %d", walks, want)
	}
	for _, how := range []string{"done", "failed", "refused", "killed", "cannot", "aborted"} {
		if ends[how] == 0 {
			t.Errorf("no operator ended %s: %v", how, ends)
		}
	}
	t.Logf("%d walks of operators that ended %v", walks, ends)
}

// Times of a walk, small so that a day of the bubble holds all of them.
const (
	patience = 60 * time.Millisecond  // every budget
	between  = 200 * time.Millisecond // two operators
)

// bubbled is a test whose deadline, in real time, is hidden: inside a bubble it may not be asked for.
type bubbled struct{ testing.TB }

// memory is a folder in memory, if there is one: forty thousand operators write there.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "kirikae-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// persons are the keys of a walk's people.
type persons map[string]ed25519.PrivateKey

func newPersons() persons {
	p := persons{}
	for i, name := range []string{"operator", "chief", "thief"} {
		p[name] = ed25519.NewKeyFromSeed([]byte(strings.Repeat(fmt.Sprint(i), ed25519.SeedSize)))
	}
	return p
}

func (p persons) public(name string) ed25519.PublicKey { return p[name].Public().(ed25519.PublicKey) }

// tray is an inbox in memory.
type tray struct{ all []Request }

func (t *tray) Requests() ([]Request, error) { return t.all, nil }

func (t *tray) put(r Request) {
	r.Name = fmt.Sprint(len(t.all))
	t.all = append(t.all, r)
}

// bubbleTime is the time of the bubble, which passes only when everybody waits.
type bubbleTime struct{}

func (bubbleTime) Now() history.Instant { return history.Instant(time.Now().UnixNano()) }

func walk(rt *rapid.T, path string, people persons, ends map[string]int) {
	if err := os.RemoveAll(path); err != nil {
		rt.Fatal(err)
	}
	sh := drawShape(rt)
	steps := len(sh.socket)
	h := &house{shape: sh, lit: map[int]int{}, file: &file{path: path}}
	m := &model{shape: sh, lit: map[int]int{}, approved: make([]paper, steps), skips: map[string]bool{}}
	in := &tray{}
	for p := 0; ; p++ {
		last := p == 3 // the last operator meets no trouble: every run can be brought to its end
		s := calm(sh)
		if !last {
			s = drawShift(rt, sh, len(m.skips) > 0)
		}
		if p > 0 && rapid.IntRange(0, 4).Draw(rt, "undone") == 0 { // the world changes while no operator is at work
			n := rapid.IntRange(0, steps-1).Draw(rt, "socket undone")
			delete(h.lit, n)
			delete(m.lit, n)
		}
		time.Sleep(between)
		mine := s
		mine.on, mine.off = slices.Clone(s.on), slices.Clone(s.off)
		want := m.operator(mine)
		got := one(rt, path, h, &s, in, people)
		ends[got]++
		if got != want {
			rt.Fatalf("operator %d: %s, expected %s; expected journal %v", p, got, want, m.journal)
		}
		if point := Point(strings.TrimPrefix(string(s.crash.Point), history.UndoPrefix)); want == "killed" && (point == AfterIntent || point == AfterRecord || point == AfterAsk) && rapid.Bool().Draw(rt, "torn") {
			tear(rt, path) // killed in the middle of the write, and so before what the write announces
			m.journal = m.journal[:len(m.journal)-1]
		}
		if got := words(h.file.read(rt)); got != strings.Join(m.journal, ", ") {
			rt.Fatalf("operator %d: journal\n got %s\nwant %s", p, got, strings.Join(m.journal, ", "))
		}
		if want == "aborted" {
			for i := range steps { // everything is as it was: dark
				if lamp, ok := h.lit[i]; ok && h.undo[lamp] != "nothing" && !m.skips[fmt.Sprint("undo-", lamp+1)] {
					rt.Fatalf("taken back, and lamp %d is lit: %v", lamp+1, m.journal)
				}
			}
		}
		if want == "done" || want == "aborted" {
			judged(rt, h.file.read(rt))
			break
		}
		if last {
			rt.Fatalf("the last operator, who met no trouble, ended %s: %v", want, m.journal)
		}
	}
}

// judged sees that the judge of journals agrees with the engine: what it leaves is right, but for a failure that led it back.
func judged(rt *rapid.T, entries []history.Entry) {
	failed := false
	for _, e := range entries {
		failed = e.Kind == history.EntryFailed || failed && e.Kind != history.EntryEnd
	}
	want := []check.Verdict{check.Pass, check.Inconclusive} // nothing is confirmed where everything was skipped
	if failed {
		want = []check.Verdict{check.Fail}
	}
	if r := check.Procedure(&history.Run{Journal: entries, Meta: history.Meta{Ended: 1}}); !slices.Contains(want, r.Verdict()) {
		rt.Fatalf("judged %s, expected %s: %s %v\n%s", r.Verdict(), want, r.Says, r.Findings, words(entries))
	}
}

func drawShape(rt *rapid.T) shape {
	sh := shape{commits: -1}
	steps := rapid.IntRange(1, 4).Draw(rt, "steps")
	if sh.planned = rapid.Bool().Draw(rt, "planned"); sh.planned {
		sh.commits = rapid.IntRange(0, steps-1).Draw(rt, "commits")
	}
	for i := range steps {
		socket := i
		if i > 0 && rapid.IntRange(0, 3).Draw(rt, "shares") == 0 {
			socket = sh.socket[rapid.IntRange(0, i-1).Draw(rt, "socket")]
		}
		undo := ""
		if i < sh.commits {
			undo = rapid.SampledFrom([]string{"by machine", "by machine", "by machine", "by hand", "nothing"}).Draw(rt, "undo")
		}
		sh.socket = append(sh.socket, socket)
		sh.undo = append(sh.undo, undo)
		sh.manual = append(sh.manual, rapid.IntRange(0, 4).Draw(rt, "manual") == 0)
		sh.approval = append(sh.approval, rapid.IntRange(0, 4).Draw(rt, "approval") == 0)
	}
	return sh
}

// calm is a shift in which everything goes well.
func calm(sh shape) shift {
	s := shift{pauseAfter: -1, resumes: true, skip: -1, retry: -1}
	for range sh.socket {
		s.on, s.off, s.presents = append(s.on, trouble{}), append(s.off, trouble{}), append(s.presents, []paper{lasting})
	}
	return s
}

func drawShift(rt *rapid.T, sh shape, skipped bool) shift {
	s := calm(sh)
	one := func(what string, rare int) int { // a step, or -1 mostly
		if rapid.IntRange(0, rare).Draw(rt, what) > 0 {
			return -1
		}
		return rapid.IntRange(0, len(sh.socket)-1).Draw(rt, what+" step")
	}
	for i := range sh.socket {
		s.on[i] = draw(rt)
		if sh.undo[i] != "" && sh.undo[i] != "nothing" {
			s.off[i] = draw(rt)
		}
		if sh.approval[i] {
			s.presents[i] = rapid.SliceOfN(rapid.SampledFrom([]paper{lasting, lasting, brief, brief, expired, own, forged, stranger, foreign, repeated}), 0, 3).Draw(rt, "presents")
		}
	}
	s.pauseAfter, s.resumes = one("pause", 6), rapid.IntRange(0, 3).Draw(rt, "resumes") > 0
	s.skip, s.abort = one("skip", 9), rapid.IntRange(0, 24).Draw(rt, "abort") == 0
	if skipped {
		s.retry = one("retry", 2)
	}
	if rapid.Bool().Draw(rt, "killed") {
		s.crash = drawCrash(rt, sh)
	}
	return s
}

func draw(rt *rapid.T) trouble {
	rare := func(what string) bool { return rapid.IntRange(0, 9).Draw(rt, what) == 0 }
	return trouble{check: rapid.IntRange(0, 24).Draw(rt, "check fails") == 0, fails: rare("act fails"), nothing: rare("act does nothing"), note: rapid.Bool().Draw(rt, "notes"),
		late: rapid.IntRange(0, 2).Draw(rt, "late"), never: rare("never confirmed"), absent: rare("no person")}
}

func drawCrash(rt *rapid.T, sh shape) Crash {
	i := rapid.IntRange(0, len(sh.socket)-1).Draw(rt, "at step")
	c := Crash{fmt.Sprint(i + 1), rapid.SampledFrom(points[:]).Draw(rt, "at")}
	manual := sh.manual[i]
	undo := sh.undo[i] != "" && sh.undo[i] != "nothing" && rapid.Bool().Draw(rt, "at undo")
	if undo {
		manual = sh.undo[i] == "by hand"
	}
	if manual && (c.Point == AfterNote || c.Point == AfterRecord) || c.Point == AfterAsk && (undo || !sh.approval[i]) {
		c.Point = AfterAct
	}
	if undo {
		c.Point = history.UndoPrefix + c.Point
	}
	return c
}

// build makes the runbook of a house. Each act sees that its intent is on disk, and that every earlier step is done.
func build(rt *rapid.T, h *house) Runbook {
	rb := Runbook{Name: "house"}
	if h.planned {
		rb.Kind = Planned
	}
	for i := range h.socket {
		act := func(kind string) func() {
			return func() {
				entries := h.file.read(rt)
				if last := entries[len(entries)-1]; last.Kind != kind || last.Step != fmt.Sprint(i+1) {
					rt.Fatalf("step %d acts (%s), and the journal ends with %s %s", i+1, kind, last.Kind, last.Step)
				}
				p := past{entries: entries}
				for k := range i {
					if kind == history.EntryIntent && !p.did(fmt.Sprint(k+1), history.EntryConfirm, history.EntryAlready, history.EntrySkip) {
						rt.Fatalf("step %d acts before step %d is done", i+1, k+1)
					}
				}
				if kind == history.EntryIntent && h.approval[i] && p.approval(fmt.Sprint(i+1), bubbleTime{}.Now(), func(history.Approval) bool { return true }) == nil {
					rt.Fatalf("step %d acts without an approval", i+1)
				}
			}
		}
		s := Step{Path: fmt.Sprint(i + 1), Verb: "light", Budget: patience, Manual: h.manual[i], Commits: i == h.commits, Action: bulb{h, i, false, act(history.EntryIntent)}}
		if h.approval[i] {
			s.Approval = patience
		}
		switch h.undo[i] {
		case "nothing":
			s.Undo = &Undo{Nothing: true}
		case "by machine", "by hand":
			s.Undo = &Undo{Verb: "darken", Budget: patience, Manual: h.undo[i] == "by hand", Action: bulb{h, i, true, act(history.UndoPrefix + history.EntryIntent)}}
		}
		rb.Steps = append(rb.Steps, s)
	}
	return rb
}

// one runs one operator process, with the persons around it.
func one(rt *rapid.T, path string, h *house, s *shift, in *tray, people persons) string {
	h.shift, h.here = s, map[string]bool{}
	rb := build(rt, h)
	var begun history.Entry // of this run
	o := Options{Crash: s.crash, Clock: bubbleTime{}, Poll: patience / 6, Pause: patience, Who: "operator", Inbox: in, Key: people.public("operator"),
		Approvers: map[string]ed25519.PublicKey{"operator": people.public("operator"), "chief": people.public("chief")}}
	for _, d := range []struct {
		step int
		to   *[]Decision
	}{{s.skip, &o.Skip}, {s.retry, &o.Retry}} {
		if d.step >= 0 {
			*d.to = []Decision{{fmt.Sprint(d.step + 1), "because"}}
		}
	}
	if s.abort {
		o.Abort = "because"
	}
	run := func() string { return (&past{digest: rb.Digest(), entries: []history.Entry{begun}}).name() }
	o.Progress = func(e Event) {
		if begun.Kind == "" {
			begun = h.file.read(rt)[0]
		}
		i := 0
		_, _ = fmt.Sscan(e.Step.Path, &i)
		i--
		kind, off := strings.CutPrefix(e.Kind, history.UndoPrefix)
		switch {
		case kind == history.EntryWait && !(bulb{house: h, i: i, off: off}).trouble().absent:
			h.here[bulb{i: i, off: off}.word()] = true
		case !off && (kind == history.EntryConfirm || kind == history.EntryAlready) && s.pauseAfter == i:
			in.put(Request{Kind: history.EntryPause, Run: run(), Who: "chief"})
		case kind == EventWaiting && strings.HasPrefix(e.Says, "paused by") && s.resumes:
			in.put(Request{Kind: history.EntryContinue, Run: run(), Who: "chief"})
		case kind == history.EntryAsk && !(s.crash.Step == e.Step.Path && s.crash.Point == AfterAsk):
			for _, p := range s.presents[i] {
				in.put(Request{Kind: history.EntryApproved, Run: run(), Who: "chief", Approval: present(p, rb, run(), e.Step.Path, people, in)})
			}
		}
	}
	switch err := operate(path, rb, o); {
	case err == nil:
		return "done"
	case err == errDied:
		return "killed"
	case errors.Is(err, ErrPreflight):
		return "refused"
	case errors.Is(err, ErrCannot):
		return "cannot"
	case errors.As(err, new(*AbortedError)):
		return "aborted"
	case errors.As(err, new(*StepError)):
		return "failed"
	default:
		rt.Fatal(err)
		return ""
	}
}

// present makes an approval as somebody presents it.
func present(p paper, rb Runbook, run, step string, people persons, in *tray) *history.Approval {
	a := history.Approval{Digest: rb.Digest(), Run: run, Step: step, By: "chief", Boot: history.BootID(), Expires: bubbleTime{}.Now().Add(100*between + time.Duration(len(in.all)))}
	key := people["chief"]
	switch p {
	case brief:
		a.Expires = bubbleTime{}.Now().Add(between/2 + time.Duration(len(in.all)))
	case expired:
		a.Expires = bubbleTime{}.Now()
	case own:
		a.By, key = "operator", people["operator"]
	case forged:
		key = people["thief"]
	case stranger:
		a.By, key = "thief", people["thief"]
	case foreign:
		a.Digest = "another"
	case repeated:
		a.Digest = "another"
		for _, r := range slices.Backward(in.all) {
			if x := r.Approval; x != nil && x.By == "chief" && x.Step == step && x.Digest == rb.Digest() && x.Expires > (bubbleTime{}).Now() {
				return x // accepted before, or forged: not accepted now
			}
		}
	}
	a.Sign(key)
	return &a
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
