package reports

import (
	"slices"
	"strings"
)

// The picture is drawn here, as SVG, once: it reads without a script, prints, and is the same in ten years. Every horizontal
// place is a percentage of the whole run inside an <svg class="z">; zooming changes that element's x and width and nothing else,
// so that text and dots keep their size. What is too much for elements of its own (a dot for each operation) is one path a
// colour, in milliseconds.

// picture is the timeline, placed.
type picture struct {
	Empty  bool
	Zoom   string // x and width of the zoomed drawing that show the view
	Width  string
	Length int64  // of the whole run, ms: the width of the paths' coordinates
	Zero   string // what 0 on the axis is
	Ticks  []gridTick
	Shades []box // behind everything: faults
	Rules  []box // lines through everything: cut, decision, …
	Rows   []row
	Signs  []incidentSign // of incidents, those that there are
	Data   pictureData
}

// row is one lane of the picture.
type row struct {
	Label, Note string
	Group       string // first row of a group carries its title
	Class       string
	Height      int
	Grid        []gridLine
	Boxes       []box
	Marks       []box // instants: a line each
	Paths       []stroke
	Texts       []text
}

type box struct {
	X, W, Class, Title, Text string
	Y, H                     int
}

type stroke struct{ Class, D string }

type text struct {
	X, Text, Class, Title string
	Y                     int
}

type gridLine struct {
	Y    int
	Text string
}

type gridTick struct{ X, Text string }

// incidentSign explains a sign in the rows of procedures.
type incidentSign struct{ Glyph, What string }

func drawTimeline(t timeline, lost []Loss) picture {
	p := picture{Length: ms(t.to.Sub(t.from))}
	if p.Length <= 0 {
		return picture{Empty: true}
	}
	total := float64(p.Length)
	a, b := float64(ms(t.view.from.Sub(t.from)))/total, float64(ms(t.view.to.Sub(t.from)))/total
	p.Zoom, p.Width = percent(-a/(b-a)), percent(1/(b-a))
	p.Zero = t.zeroName
	p.Ticks = axis(t)
	p.Data = data(t, p.Length)

	for _, f := range t.faults {
		p.Shades = append(p.Shades, t.box(f.interval, "shade", f.name, 0, 0))
	}
	for _, r := range t.runs {
		if r.Planned {
			p.Shades = append(p.Shades, t.box(r.window, "shade planned", r.Name, 0, 0))
		}
		for _, i := range r.Incidents {
			if s := (incidentSign{i.glyph(), i.What}); !slices.Contains(p.Signs, s) {
				p.Signs = append(p.Signs, s)
			}
		}
	}
	for _, f := range t.events {
		p.Rules = append(p.Rules, t.mark(f.t, "rule "+slug(f.name), f.title, 0, 0))
	}

	customers := append(append(t.plannedRows(), t.outageRow()), t.countRows()...)
	customers = append(customers, t.latencyRow())
	for _, l := range t.served {
		customers = append(customers, t.tickRow("acknowledged by "+l.name, "payments", "served", l, 12))
	}
	customers = append(customers, t.lostRow(lost))
	var databases []row
	for _, l := range t.canaries {
		databases = append(databases, t.tickRow("writes accepted by "+l.name, "canaries", "canary", l, 14))
	}
	databases = append(databases, t.lagRow(), t.snapshotRow())

	p.Rows = group("", t.phaseRow(), t.eventRow(p.Data.View))
	p.Rows = append(p.Rows, group("what the world did", t.faultRows()...)...)
	for i, r := range t.runs {
		title := "what the operators did"
		if len(t.runs) > 1 {
			title += ": " + r.Name
		}
		p.Rows = append(p.Rows, group(title, append([]row{t.runRow(r)}, t.stepRows(i)...)...)...)
	}
	p.Rows = append(p.Rows, group("what customers saw", customers...)...)
	p.Rows = append(p.Rows, group("what the databases did", databases...)...)
	return p
}

// group leaves out the rows that have nothing to show and titles the first of the rest.
func group(title string, rows ...row) []row {
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.Height == 0 })
	if len(rows) > 0 {
		rows[0].Group = title
	}
	return rows
}

func slug(s string) string { return strings.ReplaceAll(s, " ", "-") }
