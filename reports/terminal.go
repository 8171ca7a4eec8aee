package reports

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

// Colours of a terminal: Jepsen's three (ok blue, info orange, fail pink), from the 256-colour cube.
const (
	ansiBlue   = "\x1b[1;38;5;75m"
	ansiOrange = "\x1b[1;38;5;214m"
	ansiPink   = "\x1b[1;38;5;205m"
	ansiDim    = "\x1b[2m"
	ansiOff    = "\x1b[0m"
)

// Color says whether colours may be written to f: it is a terminal, it is not a dumb one, and nobody set NO_COLOR.
func Color(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// Terminal writes the verdict for people: one line that says it all, then what failed and why, what was measured, how to play
// it again, and where the report is. Colour is never the only sign.
func Terminal(w io.Writer, r Report, color bool) error {
	t := &terminal{color: color}
	t.verdict(r)
	if r.Interrupted != "" {
		t.line("stopped", r.Interrupted)
	}
	t.failures(r)
	for _, h := range r.Headlines {
		t.line(h.Label, h.Text)
	}
	if len(r.Gate) > 0 {
		t.line("gate", readings(r.Gate))
	}
	if len(r.Procedures) > 1 || r.incidents() > 0 {
		label := "time"
		for _, p := range r.Procedures {
			t.line(label, p.String())
			label = ""
		}
	}
	if r.Expectation.Stated {
		t.line("expect", r.Expectation.String())
	}
	if r.Verdict != check.Pass || r.Exit != 0 {
		t.line("repeat", r.Repeat.Run)
		t.line("judge", r.Repeat.Check)
	}
	if r.folder() != "" {
		t.line("report", filepath.Join(shown(r.folder()), HTMLFile))
	}
	_, err := io.WriteString(w, t.out.String())
	return err
}

// String is "FAIL by dropped: met", or why it was not met.
func (e Expectation) String() string {
	if !e.Met {
		return "NOT met: " + e.Why
	}
	s := e.Verdict
	if e.Check != "" {
		s += " by " + e.Check
	}
	return s + ": met"
}

type terminal struct {
	out   strings.Builder
	color bool
}

func (t *terminal) paint(code, s string) string {
	if !t.color {
		return s
	}
	return code + s + ansiOff
}

func (t *terminal) verdict(r Report) {
	code := map[check.Verdict]string{check.Pass: ansiBlue, check.Fail: ansiPink, check.Inconclusive: ansiOrange}[r.Verdict]
	about := append([]string{r.World.Place()}, r.World.engines()...)
	about = append(about, fmt.Sprintf("seed %d", r.Seed))
	if r.World.Runtime == "" {
		about = about[1:]
	}
	fmt.Fprintf(&t.out, "%s  %s    %s\n", t.paint(code, "VERDICT "+r.Verdict.String()), oneLine(r.Scenario.Name), oneLine(strings.Join(about, " · ")))
}

// line writes one labelled line; label "" continues the one before.
func (t *terminal) line(label, text string) {
	fmt.Fprintf(&t.out, "  %s%s\n", t.paint(ansiDim, fmt.Sprintf("%-8s", label)), oneLine(text))
}

// mostUnknown is how many checks without a verdict are told one by one above the details: when a drill was killed early, none
// of them has one, and the reason has been told already.
const mostUnknown = 4

// failures say what failed: each failed check in one line, and of the first one its first finding and payments. What could
// not be decided follows, with what was missing.
func (t *terminal) failures(r Report) {
	for i, c := range r.bad(check.Fail) {
		t.line("failed", c.Check+": "+c.Says)
		if i == 0 {
			t.first(r, c)
		}
	}
	for i, c := range r.bad(check.Inconclusive) {
		if i == mostUnknown {
			t.line("", fmt.Sprintf("… and %d more, see the report", len(r.bad(check.Inconclusive))-i))
			break
		}
		t.line("unknown", c.Check+": "+why(c))
		if i == 0 && r.Verdict == check.Inconclusive {
			t.first(r, c)
		}
	}
	if r.Verdict == check.Inconclusive && len(r.Checks) == 0 {
		t.line("unknown", "no check was made")
	}
}

// first tells a check's first finding: what, where on the timeline, and which payments.
func (t *terminal) first(r Report, c check.Result) {
	if len(c.Findings) == 0 {
		return
	}
	f := c.Findings[0]
	if where := r.where(f); f.What != c.Says || where != "" {
		t.line("first", f.What+where)
	}
	if len(f.Keys) > 0 {
		t.line("keys", some(f.Keys, 3))
	}
}

// why says what an inconclusive check lacked.
func why(c check.Result) string {
	if len(c.Missing) == 0 {
		return c.Says
	}
	s := strings.Join(c.Missing[:min(2, len(c.Missing))], "; ")
	if n := len(c.Missing) - 2; n > 0 {
		s += fmt.Sprintf("; and %d more", n)
	}
	if c.Says != "" && c.Says != s {
		return c.Says + " (" + s + ")"
	}
	return s
}

// where places a finding on the timeline: " (0.41 s after the cut, during step 3 …)".
func (r Report) where(f check.Finding) string {
	if f.T == 0 {
		return ""
	}
	t := history.Instant(f.T)
	s := r.moment(t)
	if step := r.during(t); step != "" {
		s += ", during " + step
	}
	return " (" + s + ")"
}

// moment is an instant in words, from the cut where there is one.
func (r Report) moment(t history.Instant) string {
	if cut, ok := r.run.Cut(); ok {
		d := t.Sub(cut).Seconds()
		if d < 0 {
			return fmt.Sprintf("%.2f s before the cut", -d)
		}
		return fmt.Sprintf("%.2f s after the cut", d)
	}
	return fmt.Sprintf("%.2f s after the start", t.Sub(r.run.Meta.Origin).Seconds())
}

// some names up to n of the keys and counts the rest.
func some(keys []string, n int) string {
	if len(keys) <= n {
		return strings.Join(keys, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(keys[:n], ", "), len(keys)-n)
}

func (r Report) folder() string {
	if r.run == nil {
		return ""
	}
	return r.run.Folder
}

// shown is the shortest good name of a run folder: through the link `latest` when that leads to it, and relative to where the
// reader stands when it is below.
func shown(folder string) string {
	latest := filepath.Join(filepath.Dir(folder), "latest")
	if a, err := os.Stat(latest); err == nil {
		if b, err := os.Stat(folder); err == nil && os.SameFile(a, b) {
			folder = latest
		}
	}
	if here, err := os.Getwd(); err == nil && filepath.IsAbs(folder) {
		if rel, err := filepath.Rel(here, folder); err == nil && filepath.IsLocal(rel) {
			return rel
		}
	}
	return folder
}
