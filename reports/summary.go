package reports

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/kirikae/kirikae/drill/check"
)

// summaryLosses is how many lost payments the summary lists: CI pages drop a summary whole when it is too long, and
// result.json and report.html have them all.
const summaryLosses = 20

// summary writes the page that CI shows beside a job: the verdict, what failed, what was measured, how to repeat.
func summary(w *bytes.Buffer, r Report) error {
	fmt.Fprintf(w, "## %s %s — %s\n\n", sign(r.Verdict), r.Verdict, md(r.Scenario.Name))
	about := append([]string{r.World.Place()}, r.World.engines()...)
	about = append(about, fmt.Sprintf("seed %d", r.Seed))
	if r.World.Topology != "" {
		about = append(about, "topology "+r.World.Topology)
	}
	if r.Seconds > 0 {
		about = append(about, fmt.Sprintf("%.0f s", r.Seconds))
	}
	fmt.Fprintf(w, "%s\n\n", md(strings.TrimPrefix(strings.Join(about, " · "), " · ")))
	if r.Interrupted != "" {
		fmt.Fprintf(w, "**Stopped early:** %s\n\n", md(r.Interrupted))
	}
	if r.Expectation.Stated {
		fmt.Fprintf(w, "**Expected:** %s\n\n", md(r.Expectation.String()))
	}
	for _, c := range r.bad(check.Fail) {
		fmt.Fprintf(w, "**Failed — %s:** %s\n\n", md(c.Check), md(c.Says))
		for i, f := range c.Findings {
			if i == 3 {
				fmt.Fprintf(w, "- … and %d more in the report\n", len(c.Findings)-i)
				break
			}
			fmt.Fprintf(w, "- %s", md(f.What))
			if where := r.where(f); where != "" {
				fmt.Fprintf(w, " %s", md(where))
			}
			if len(f.Keys) > 0 {
				fmt.Fprintf(w, ": %s", md(some(f.Keys, 5)))
			}
			w.WriteByte('\n')
		}
		if len(c.Findings) > 0 {
			w.WriteByte('\n')
		}
	}
	for i, c := range r.bad(check.Inconclusive) {
		if i == mostUnknown {
			fmt.Fprintf(w, "**Unknown:** %d more, see the checks\n\n", len(r.bad(check.Inconclusive))-i)
			break
		}
		fmt.Fprintf(w, "**Unknown — %s:** %s\n\n", md(c.Check), md(why(c)))
	}
	if len(r.Headlines) > 0 {
		w.WriteString("| | |\n| --- | --- |\n")
		for _, h := range r.Headlines {
			fmt.Fprintf(w, "| %s | %s |\n", md(h.Label), md(h.Text))
		}
		w.WriteByte('\n')
	}
	if len(r.Checks) > 0 {
		w.WriteString("| check | verdict | says |\n| --- | --- | --- |\n")
		for _, c := range r.Checks {
			fmt.Fprintf(w, "| %s | %s %s | %s |\n", md(c.Check), sign(c.Verdict()), c.Verdict(), md(c.Says))
		}
		w.WriteByte('\n')
	}
	if len(r.Lost) > 0 {
		fmt.Fprintf(w, "<details><summary>Lost payments: %d</summary>\n\n| payment | amount | mysql | cassandra | acknowledged before the cut |\n| --- | ---: | --- | --- | ---: |\n", len(r.Lost))
		for i, l := range r.Lost {
			if i == summaryLosses {
				fmt.Fprintf(w, "| … and %d more | | | | |\n", len(r.Lost)-i)
				break
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s | %.3f s |\n", md(l.Key), yen(l.Yen), l.MySQL, l.Cassandra, l.Age)
		}
		w.WriteString("\n</details>\n\n")
	}
	r.mdStages(w)
	r.mdGate(w)
	r.mdTimes(w)
	if len(r.Steps) > 0 {
		w.WriteString("<details><summary>Procedure</summary>\n\n| no. | step | state | machine | waiting for a person |\n| --- | --- | --- | ---: | ---: |\n")
		for i, p := range r.Procedures {
			if len(r.Procedures) > 1 {
				fmt.Fprintf(w, "| | **%s** | | | |\n", md(p.Name))
			}
			for _, s := range r.StepsOf(i) {
				fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", md(s.Number), md(s.Title), s.State, seconds(s.Machine), seconds(s.Waiting))
			}
		}
		w.WriteString("\n</details>\n\n")
	}
	if len(r.World.Images) > 0 {
		w.WriteString("<details><summary>Images</summary>\n\n| image | reference | source | id |\n| --- | --- | --- | --- |\n")
		for _, i := range r.World.Images {
			fmt.Fprintf(w, "| %s | %s | %s | %s |\n", md(i.Name), md(i.Reference), md(i.Source), md(short(i.ID)))
		}
		w.WriteString("\n</details>\n\n")
	}
	fmt.Fprintf(w, "Repeat: %s — judge again: %s\n", code(r.Repeat.Run), code(r.Repeat.Check))
	return nil
}

// mdStages is the loss ledger at each stage, where the drill looked at more than one.
func (r Report) mdStages(w *bytes.Buffer) {
	if len(r.Stages) == 0 {
		return
	}
	w.WriteString("| loss by stage | store | lost | amount | unreplicated | dropped | never durable | not classified |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, s := range r.Stages {
		if !s.Known {
			fmt.Fprintf(w, "| %s | %s | not read | | | | | |\n", s.Stage, s.Store)
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %d | %s | %d | %d | %d | %d |\n", s.Stage, s.Store, s.Lost, yen(s.Yen), s.Unreplicated, s.Dropped, s.NeverDurable, s.Unclassified)
	}
	w.WriteByte('\n')
}

// mdGate is what each reading of the readiness gate saw.
func (r Report) mdGate(w *bytes.Buffer) {
	if len(r.Gate) == 0 {
		return
	}
	fmt.Fprintf(w, "<details><summary>Readiness gate: %s</summary>\n\n", readings(r.Gate))
	for _, g := range r.Gate {
		fmt.Fprintf(w, "%s (%s)\n\n", md(g.Says()), md(r.moment(g.t)))
		if len(g.Predicates) == 0 {
			fmt.Fprintf(w, "%s\n\n", md(g.Why))
			continue
		}
		w.WriteString("| predicate | seen | |\n| --- | --- | --- |\n")
		for _, p := range g.Predicates {
			fmt.Fprintf(w, "| %s | %s | %s |\n", md(p.Name), md(p.Saw), map[bool]string{true: "✔ pass", false: "✘ refused"}[p.Pass])
		}
		w.WriteByte('\n')
	}
	w.WriteString("</details>\n\n")
}

// mdTimes is where the time of each procedure went, and what befell it.
func (r Report) mdTimes(w *bytes.Buffer) {
	if len(r.Procedures) == 0 {
		return
	}
	w.WriteString("| procedure | state | took | machine | by hand | waiting for approval | paused | nobody at work | customers out, as planned | what befell it |\n")
	w.WriteString("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |\n")
	for _, p := range r.Procedures {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", md(p.Name), p.State, seconds(p.Took), seconds(p.Machine), seconds(p.Manual),
			seconds(p.Approval), seconds(p.Paused), seconds(p.Idle), md(p.Outage), md(p.Interruptions()))
	}
	w.WriteByte('\n')
}

// readings counts readings of the gate: "9 readings, 1 passed, 8 refused".
func readings(all []GateReading) string {
	passed := 0
	for _, g := range all {
		if g.Passed {
			passed++
		}
	}
	word := "readings"
	if len(all) == 1 {
		word = "reading"
	}
	return fmt.Sprintf("%d %s, %d passed, %d refused", len(all), word, passed, len(all)-passed)
}

// short is an image's id as engines print it for people; result.json has it whole.
func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}

// sign is the verdict's shape; the word always stands beside it.
func sign(v check.Verdict) string {
	return map[check.Verdict]string{check.Pass: "✔", check.Fail: "✘", check.Inconclusive: "?"}[v]
}

// md escapes what Markdown and the HTML inside it would read as their own.
func md(s string) string {
	var b strings.Builder
	for _, c := range oneLine(s) {
		switch {
		case c == '&':
			b.WriteString("&amp;")
		case c == '<':
			b.WriteString("&lt;")
		case strings.ContainsRune("\\`*_[]|#~", c):
			b.WriteString("\\" + string(c))
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// code quotes s as code, whatever back quotes it holds.
func code(s string) string {
	s = oneLine(s)
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if len(fence) > 1 {
		return fence + " " + s + " " + fence
	}
	return fence + s + fence
}

// yen is an amount with its thousands parted by thin spaces, as the rest of the report prints it: "¥ 61 400".
func yen(n int64) string {
	digits := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		digits, sign = digits[1:], "−"
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	return "¥\u202f" + sign + digits
}

// seconds prints a duration: nothing for none.
func seconds(s float64) string {
	switch {
	case s <= 0:
		return ""
	case s < 1:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 10:
		return fmt.Sprintf("%.2f s", s)
	}
	return fmt.Sprintf("%.1f s", s)
}
