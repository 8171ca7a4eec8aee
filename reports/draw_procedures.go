package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/drill/history"
)

// The lanes of what the operators did: runs of procedures, their steps, and what befell them.

// runRow shows one run of a procedure: its whole time, its pauses, and what befell its operators.
func (t timeline) runRow(p Procedure) row {
	r := row{Label: p.Name, Note: p.Interruptions(), Height: 20, Class: "run"}
	r.Boxes = append(r.Boxes, t.box(p.window, "run", t.titled(p.Name+", "+p.State, p.window), 4, 12))
	for _, w := range p.pauses {
		r.Boxes = append(r.Boxes, t.box(w, "wait", t.titled(p.Name+", paused", w), 4, 12))
	}
	r.incidents(t, p.Incidents, 16)
	r.glyphs(t, p.Incidents)
	label := seconds(p.window.d().Seconds())
	if p.State != StepDone {
		label = strings.TrimSpace(label + " " + p.State)
	}
	r.Texts = append(r.Texts, text{X: t.place(p.window.to), Y: 14, Text: label, Class: "after " + slug(p.State)})
	return r
}

// incidents marks what befell operators.
func (r *row) incidents(t timeline, all []Incident, h int) {
	for _, i := range all {
		r.Marks = append(r.Marks, t.mark(i.t, "mark incident "+slug(i.What), t.since(i.t)+": "+i.says(), 2, h))
	}
}

// glyphs writes the signs of incidents beside their marks, those that do not cover each other in the first view.
func (r *row) glyphs(t timeline, all []Incident) {
	apart := t.view.d() / 80
	var last history.Instant
	for _, i := range all {
		if last == 0 || i.t.Sub(last) >= apart {
			r.Texts = append(r.Texts, text{X: t.place(i.t), Y: 14, Text: i.glyph(), Class: "glyph " + slug(i.What), Title: t.since(i.t) + ": " + i.says()})
			last = i.t
		}
	}
}

// signs are the signs of incidents, each once: "✕↻".
func signs(all []Incident) string {
	s := ""
	for _, i := range all {
		if g := i.glyph(); !strings.Contains(s, g) {
			s += g
		}
	}
	return s
}

// stepRows shows the steps of one run of a procedure.
func (t timeline) stepRows(run int) []row {
	var out []row
	for _, s := range t.steps {
		if s.run != run {
			continue
		}
		r := row{Label: s.Number + "  " + s.Title, Height: 18, Class: "step"}
		whole := interval{s.began, s.ended}
		r.Boxes = append(r.Boxes, t.box(whole, "work "+slug(s.State), t.titled(s.Number+" "+s.Title+", "+s.State, whole), 3, 12))
		for _, w := range s.waits {
			r.Boxes = append(r.Boxes, t.box(w, "wait", t.titled(s.Number+" "+s.Title+", waiting for a person", w), 3, 12))
		}
		about := slices.DeleteFunc(slices.Clone(t.runs[run].Incidents), func(i Incident) bool { return i.Step != s.Number })
		r.incidents(t, about, 14)
		label := strings.TrimSpace(signs(about) + " " + seconds(whole.d().Seconds()))
		if s.State != StepDone {
			label += " " + s.State
		}
		if s.Attempts > 1 {
			label += fmt.Sprintf(" (attempt %d)", s.Attempts)
		}
		r.Texts = append(r.Texts, text{X: t.place(s.ended), Y: 13, Text: strings.TrimSpace(label), Class: "after " + slug(s.State)})
		out = append(out, r)
	}
	return out
}
