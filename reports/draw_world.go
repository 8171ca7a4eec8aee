package reports

import (
	"fmt"
	"strconv"
)

// The lanes of what the world did: phases, events, faults and what traffic felt of them.

func (t timeline) phaseRow() row {
	if len(t.phases) == 0 {
		return row{}
	}
	r := row{Label: "phase", Height: 20, Class: "phases"}
	for i, p := range t.phases {
		b := t.box(p.interval, "phase"+strconv.Itoa(i%2), t.titled(p.name, p.interval), 1, 18)
		b.Text = p.name
		r.Boxes = append(r.Boxes, b)
	}
	return r
}

// eventRow writes the names of the flags, on as many levels as keep them apart in the first view.
func (t timeline) eventRow(view [2]int64) row {
	if len(t.events) == 0 {
		return row{}
	}
	r := row{Label: "events"}
	const plot, letter, line = 1000.0, 6.5, 15 // a guess at the drawing's width and type, only to choose levels
	perMS := plot / float64(view[1]-view[0])
	var ends []float64
	for _, f := range t.events {
		label := f.name
		left := float64(t.x(f.t)) * perMS
		level := 0
		for level < len(ends) && ends[level] > left {
			level++
		}
		if level == len(ends) {
			ends = append(ends, 0)
		}
		ends[level] = left + float64(len(label)+3)*letter
		r.Texts = append(r.Texts, text{X: t.place(f.t), Y: 12 + level*line, Text: label, Class: "flag " + slug(f.name), Title: fmt.Sprintf("%s: %s", t.since(f.t), f.title)})
	}
	r.Height = len(ends)*line + 3
	return r
}

func (t timeline) faultRows() []row {
	var out []row
	for _, f := range t.faults {
		r := row{Label: "fault", Note: f.name, Height: 20}
		b := t.box(f.interval, "fault", t.titled(f.name+" ("+f.title+")", f.interval), 3, 14)
		b.Text = f.title
		r.Boxes = append(r.Boxes, b)
		out = append(out, r)
	}
	if len(t.attests) > 0 {
		r := row{Label: "felt by traffic", Note: fmt.Sprintf("%d probes over links", len(t.attests)), Height: 14}
		for _, a := range t.attests {
			class, verb := "good", "agrees — "
			if !a.good {
				class, verb = "wrong", "DISAGREES — "
			}
			r.Marks = append(r.Marks, t.mark(a.t, "mark "+class, t.since(a.t)+": "+verb+a.title, 1, 12))
		}
		out = append(out, r)
	}
	return out
}
