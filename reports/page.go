package reports

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/check"
)

//go:embed assets
var assets embed.FS

// pageLosses is how many lost payments the page lists; result.json has them all.
const pageLosses = 500

// page writes report.html: one file, no network, readable without its script.
func page(w *bytes.Buffer, r Report) error {
	read := func(name string) string {
		b, err := assets.ReadFile("assets/" + name)
		if err != nil {
			panic("reports: " + err.Error()) // embedded: cannot be absent
		}
		return string(b)
	}
	t, err := template.New("report").Funcs(template.FuncMap{
		"yen": yen, "seconds": seconds, "sign": sign, "some": some, "why": why,
		"slug":   slug,
		"number": number, "short": short,
	}).Parse(read("report.html.tmpl"))
	if err != nil {
		return err
	}
	v := pageView{
		Report: r, Picture: drawTimeline(readTimeline(r.run, r.Steps, r.Procedures), r.Lost),
		CSS: template.CSS(read("report.css")), JS: template.JS(read("report.js")),
		Failed: r.bad(check.Fail), Unknown: r.bad(check.Inconclusive), Lost: r.Lost, Folder: shown(r.folder()),
	}
	if len(v.Unknown) > mostUnknown {
		v.UnknownMore = len(v.Unknown) - mostUnknown
		v.Unknown = v.Unknown[:mostUnknown]
	}
	for _, l := range r.Lost {
		v.LostYen += l.Yen
	}
	if len(v.Lost) > pageLosses {
		v.LostMore = len(v.Lost) - pageLosses
		v.Lost = v.Lost[:pageLosses]
	}
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return err
	}
	w.WriteString(strings.Map(func(c rune) rune { // no name may turn the text behind it around
		if control(c) && c != '\n' {
			return -1
		}
		return c
	}, b.String()))
	return nil
}

// pageView is what the template reads.
type pageView struct {
	Report
	Picture  picture
	CSS      template.CSS
	JS       template.JS
	Failed   []check.Result
	Unknown  []check.Result
	Lost     []Loss
	LostMore int
	LostYen  int64
	Folder   string

	UnknownMore int
}

// Engines lists products and versions.
func (v pageView) Engines() []string { return v.World.engines() }

// Class is the verdict as the style sheet names it.
func (v pageView) Class(x check.Verdict) string { return strings.ToLower(x.String()) }

// Where places a finding on the timeline.
func (v pageView) Where(f check.Finding) string { return strings.Trim(v.where(f), " ()") }

// StepsOf lists the steps of one of the run's procedures.
func (r Report) StepsOf(run int) []Step {
	return slices.DeleteFunc(slices.Clone(r.Steps), func(s Step) bool { return s.run != run })
}

// incidents counts what befell operators in all procedures.
func (r Report) incidents() (n int) {
	for _, p := range r.Procedures {
		n += len(p.Incidents)
	}
	return n
}

// MomentOf places a reading of the gate on the timeline.
func (v pageView) MomentOf(g GateReading) string { return v.moment(g.t) }

// number prints an interval: one value where both ends print alike.
func number(i check.Interval) string {
	a, b := fmt.Sprintf("%.4g", i.Lower), fmt.Sprintf("%.4g", i.Upper)
	if a == b {
		return a + " " + i.Unit
	}
	return a + " – " + b + " " + i.Unit
}
