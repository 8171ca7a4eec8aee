package reports

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"

	"github.com/kirikae/kirikae/drill/check"
)

// The dialect of JUnit that the common readers agree on: classname and name identify a case (GitLab drops duplicates), file and
// line lead to the source, properties stand in the suite, attachments are lines of system-out, and <testsuite> has no attribute
// that Jenkins' schema does not know.
type (
	suitesXML struct {
		XMLName  xml.Name `xml:"testsuites"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Time     string   `xml:"time,attr"`
		Suite    suiteXML `xml:"testsuite"`
	}
	suiteXML struct {
		Name       string        `xml:"name,attr"`
		Timestamp  string        `xml:"timestamp,attr,omitempty"`
		Tests      int           `xml:"tests,attr"`
		Failures   int           `xml:"failures,attr"`
		Errors     int           `xml:"errors,attr"`
		Skipped    int           `xml:"skipped,attr"`
		Time       string        `xml:"time,attr"`
		Properties []propertyXML `xml:"properties>property"`
		Cases      []caseXML     `xml:"testcase"`
		Out        *textXML      `xml:"system-out"`
	}
	propertyXML struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	caseXML struct {
		Class   string      `xml:"classname,attr"`
		Name    string      `xml:"name,attr"`
		File    string      `xml:"file,attr,omitempty"`
		Line    int         `xml:"line,attr,omitempty"`
		Time    string      `xml:"time,attr"`
		Failure *problemXML `xml:"failure"`
		Error   *problemXML `xml:"error"`
		Out     *textXML    `xml:"system-out"`
	}
	problemXML struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Body    string `xml:",cdata"`
	}
	textXML struct {
		Text string `xml:",cdata"` // readable in the file too, where character data would have its line breaks escaped
	}
)

// junit writes one suite for the drill and one case for each check: FAIL is a failure, INCONCLUSIVE an error, never a skip,
// which readers show as green. Where the scenario states an expectation, that is one more case, and it alone decides: a planted
// defect that was found as stated makes the pipeline green, as it makes the exit code 0.
func junit(w *bytes.Buffer, r Report) error {
	seconds := fmt.Sprintf("%.3f", r.Seconds)
	suite := suiteXML{Name: oneLine(r.Scenario.Name), Timestamp: r.Started, Time: seconds, Properties: properties(r)}
	add := func(name string, c caseXML) {
		c.Class, c.Name, c.File, c.Line, c.Time = r.Scenario.class(), oneLine(r.Scenario.Name)+": "+name, r.Scenario.Feature, r.Scenario.Line, "0.000"
		suite.Cases = append(suite.Cases, c)
	}
	decided := r.Expectation.Stated && r.Expectation.Met
	for _, c := range r.Checks {
		add(c.Check, checkCase(r, c, decided))
	}
	if r.Expectation.Stated {
		c := caseXML{Out: said(r.Expectation.String())}
		if !r.Expectation.Met {
			c.Failure = &problemXML{Type: "expectation", Message: clean(r.Expectation.String()), Body: clean(answer(r))}
		}
		add("expectation", c)
	}
	if !decided && (r.Interrupted != "" || len(r.Checks) == 0) {
		msg := r.Interrupted
		if msg == "" {
			msg = "no check was made"
		}
		add("drill", caseXML{Error: &problemXML{Type: r.Verdict.String(), Message: clean(msg), Body: clean(answer(r))}})
	}
	for _, c := range suite.Cases {
		suite.Tests++
		if c.Failure != nil {
			suite.Failures++
		}
		if c.Error != nil {
			suite.Errors++
		}
	}
	suite.Out = said(answer(r))
	w.WriteString(xml.Header)
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	err := enc.Encode(suitesXML{Name: "kirikae", Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Time: seconds, Suite: suite})
	w.WriteByte('\n')
	return err
}

func checkCase(r Report, c check.Result, decided bool) caseXML {
	var body strings.Builder
	fmt.Fprintf(&body, "%s\n", c.Says)
	for _, m := range c.Missing {
		fmt.Fprintf(&body, "missing: %s\n", m)
	}
	for _, f := range c.Findings {
		fmt.Fprintf(&body, "%s%s\n", f.What, r.where(f))
		if len(f.Keys) > 0 {
			fmt.Fprintf(&body, "  payments: %s\n", some(f.Keys, 20))
		}
	}
	for _, e := range c.Evidence {
		fmt.Fprintf(&body, "evidence: %s %d (needs %d)\n", e.Name, e.Have, e.Need)
	}
	p := &problemXML{Type: c.Verdict().String(), Message: clean(c.Says), Body: clean(body.String())}
	switch {
	case decided && c.Verdict() != check.Pass:
		return caseXML{Out: said(c.Verdict().String() + ", in a drill that was to be " + r.Expectation.Verdict + "\n" + body.String())}
	case c.Contradiction:
		p.Type, p.Message = "contradiction", "the evidence contradicts itself, the harness is wrong: "+p.Message
		return caseXML{Error: p}
	case c.Verdict() == check.Fail:
		return caseXML{Failure: p}
	case c.Verdict() == check.Inconclusive:
		p.Message = clean(why(c))
		return caseXML{Error: p}
	}
	return caseXML{Out: said(body.String())}
}

func properties(r Report) []propertyXML {
	var out []propertyXML
	add := func(name, value string) {
		if value != "" {
			out = append(out, propertyXML{clean(name), clean(value)})
		}
	}
	add("verdict", r.Verdict.String())
	add("exit", fmt.Sprint(r.Exit))
	add("seed", fmt.Sprint(r.Seed))
	add("runtime", r.World.Runtime)
	for _, e := range r.World.engines() {
		name, version, _ := strings.Cut(e, " ")
		add("engine."+name, version)
	}
	add("topology", r.World.Topology)
	add("procedure", r.World.Procedure)
	add("repeat", r.Repeat.Run)
	for _, h := range r.Headlines {
		add(h.Label, h.Text)
	}
	return out
}

// answer is the terminal's answer, for readers that show the text of a suite.
func answer(r Report) string {
	var b strings.Builder
	_ = Terminal(&b, r, false) // a strings.Builder takes every write
	return b.String()
}

func said(s string) *textXML { return &textXML{clean(s)} }

// clean drops what XML 1.0 cannot carry.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' || c >= ' ' && c != 0x7f && c != 0xFFFE && c != 0xFFFF {
			return c
		}
		return -1
	}, s)
}
