package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// The lanes of what customers saw: outages, counts, latencies, and payments that were lost.

// plannedRows show the windows in which an outage is planned, and how long customers were out.
func (t timeline) plannedRows() []row {
	var out []row
	for _, p := range t.runs {
		if !p.Planned {
			continue
		}
		r := row{Label: "planned outage", Note: p.Name, Height: 20}
		b := t.box(p.window, "planned", t.titled(p.Name+", customers out "+p.Outage, p.window), 3, 14)
		b.Text = "out " + p.Outage
		r.Boxes = append(r.Boxes, b)
		out = append(out, r)
	}
	return out
}

// outageRow shows when customers were out: solid where that is certain, pale where the measurement cannot tell.
func (t timeline) outageRow() row {
	if len(t.outages) == 0 {
		return row{}
	}
	r := row{Label: "out of service", Note: "measured with probes", Height: 20}
	for _, o := range t.outages {
		least, most := max(0, o.certain.d()), o.possible.d()
		says := fmt.Sprintf("out %.2f – %.2f s", least.Seconds(), most.Seconds())
		if o.open {
			says = "out, not back before the load ended"
		}
		r.Boxes = append(r.Boxes, t.box(o.possible, "maybe", t.titled(says+", at most", o.possible), 3, 14))
		sure := t.box(o.certain, "out", t.titled(says+", certainly", o.certain), 3, 14)
		sure.Text = says
		r.Boxes = append(r.Boxes, sure)
	}
	return r
}

func (t timeline) countRows() []row {
	var out []row
	for _, s := range t.streams {
		h := 48
		switch s.name {
		case history.StreamPayment:
			h = 72
		case history.StreamRepeat:
			h = 36
		}
		out = append(out, t.countRow(s, h))
	}
	return out
}

func (t timeline) countRow(s stream, h int) row {
	const top = 12
	peak := 1
	for _, b := range s.bins {
		peak = max(peak, b.sum())
	}
	perSecond := float64(time.Second) / float64(binWidth)
	r := row{
		Label: streamLabel(s.name), Note: "a second", Height: h,
		Grid: []gridLine{{top, strconv.FormatFloat(float64(peak)*perSecond, 'f', 0, 64)}, {h - 1, ""}},
	}
	var d [5]strings.Builder
	w := ms(binWidth)
	for i, b := range s.bins {
		y := float64(h - 1)
		for k, n := range [5]int{b.ok, b.info, b.fail, b.stale, b.shed} {
			if n == 0 {
				continue
			}
			height := float64(n) / float64(peak) * float64(h-1-top)
			fmt.Fprintf(&d[k], "M%d %.1fv%.1fh%dv%.1fz", int64(i)*w, y, -height, w, height)
			y -= height
		}
	}
	for k, class := range [5]string{"fill ok", "fill info", "fill fail", "fill stale", "fill shed"} {
		if d[k].Len() > 0 {
			r.Paths = append(r.Paths, stroke{class, d[k].String()})
		}
	}
	return r
}

func streamLabel(name string) string {
	switch name {
	case history.StreamPayment:
		return "payments"
	case history.StreamProbe:
		return "probes"
	case history.StreamRepeat:
		return "repeated keys"
	}
	return name
}

// latencyRow draws every operation as a dot (Jepsen's raw latency plot): what an average hides is what customers felt.
func (t timeline) latencyRow() row {
	const h = 150
	const least, most = 1.0, 10_000.0 // ms, on a logarithmic scale
	height := func(d time.Duration) int64 {
		v := math.Min(most, math.Max(least, float64(d)/float64(time.Millisecond)))
		return int64(math.Round(h - 4 - math.Log10(v/least)/math.Log10(most/least)*(h-16)))
	}
	r := row{Label: "latency", Note: "each payment and probe", Height: h}
	for _, g := range []struct {
		d    time.Duration
		text string
	}{{time.Millisecond, "1 ms"}, {10 * time.Millisecond, "10 ms"}, {100 * time.Millisecond, "100 ms"}, {time.Second, "1 s"}, {10 * time.Second, "10 s"}} {
		r.Grid = append(r.Grid, gridLine{int(height(g.d)), g.text})
	}
	order := []history.Outcome{history.OK, history.Shed, history.Info, history.Fail}
	pens := map[history.Outcome]*pen{}
	for _, o := range order {
		pens[o] = &pen{}
	}
	for _, s := range t.streams {
		if s.name == history.StreamRepeat {
			continue
		}
		for _, d := range s.dots {
			y := int64(2)
			if d.d > 0 {
				y = height(d.d)
			}
			p := pens[d.outcome]
			if p == nil {
				p = pens[history.Info]
			}
			p.dot(t.x(d.t), y)
		}
	}
	for _, o := range order {
		if d := pens[o].String(); d != "" {
			r.Paths = append(r.Paths, stroke{"dots " + string(o), d})
		}
	}
	if len(r.Paths) == 0 {
		return row{}
	}
	return r
}

// pen writes dots as a path of empty lines with round ends, each relative to the one before: eight bytes a dot.
type pen struct {
	strings.Builder
	x, y    int64
	started bool
}

func (p *pen) dot(x, y int64) {
	if p.started && x == p.x && y == p.y {
		return
	}
	if !p.started {
		fmt.Fprintf(p, "M%d %dh0", x, y)
	} else {
		fmt.Fprintf(p, "m%d %dh0", x-p.x, y-p.y)
	}
	p.x, p.y, p.started = x, y, true
}

func (t timeline) tickRow(label, note, class string, l lane, h int) row {
	r := row{Label: label, Note: note, Height: h + 4, Class: "ticks"}
	for _, o := range []history.Outcome{history.Shed, history.Fail, history.Info, history.OK} {
		var d strings.Builder
		size := h // what was accepted stands tall, what was refused stays low
		if o != history.OK {
			size = h / 2
		}
		var last int64 = -1
		for _, at := range l.ticks[o] {
			if x := t.x(at); x != last {
				fmt.Fprintf(&d, "M%d %dv%d", x, h+2-size, size)
				last = x
			}
		}
		if d.Len() > 0 {
			r.Paths = append(r.Paths, stroke{"tick " + class + " " + string(o), d.String()})
		}
	}
	return r
}

func (t timeline) lostRow(lost []Loss) row {
	if len(lost) == 0 {
		return row{}
	}
	r := row{Label: "lost payments", Note: fmt.Sprintf("%d, at their acknowledgement", len(lost)), Height: 18}
	for i, l := range lost {
		if i == pageLosses {
			break
		}
		title := fmt.Sprintf("%s: %s %s, %s", t.since(l.acked), l.Key, yen(l.Yen), l.Worst())
		r.Marks = append(r.Marks, t.mark(l.acked, "mark lost "+slug(string(l.Worst())), title, 2, 14))
	}
	return r
}
