package reports

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
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

// pictureData is what the script needs to zoom and to read values under the cursor; times in milliseconds from the left edge.
type pictureData struct {
	Length int64            `json:"length"`
	Zero   int64            `json:"zero"`
	View   [2]int64         `json:"view"`
	Fault  [2]int64         `json:"fault"` // window around the fault and the procedure, for the button; 0, 0: none
	Bin    int64            `json:"bin"`
	Counts map[string][]any `json:"counts"` // stream → per bin [ok, info, fail, stale, shed, slowest ms], or 0 for an empty one
	Lag    [][2]int64       `json:"lag"`
	Steps  []stepData       `json:"steps"`
}

type stepData struct {
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Name string `json:"name"`
}

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
	for _, f := range t.events {
		p.Rules = append(p.Rules, t.mark(f.t, "rule "+slug(f.name), f.title, 0, 0))
	}

	customers := append([]row{t.outageRow()}, t.countRows()...)
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
	p.Rows = append(p.Rows, group("what the operators did", t.stepRows()...)...)
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

// --- places ---

func ms(d time.Duration) int64 { return d.Milliseconds() }

// x is the place of an instant, in milliseconds from the left edge.
func (t timeline) x(at history.Instant) int64 { return ms(at.Sub(t.from)) }

func percent(share float64) string { return strconv.FormatFloat(share*100, 'f', 4, 64) + "%" }

func (t timeline) place(at history.Instant) string {
	return percent(float64(at.Sub(t.from)) / float64(t.to.Sub(t.from)))
}

// box places an interval.
func (t timeline) box(i interval, class, title string, y, h int) box {
	return box{
		X: t.place(i.from), W: percent(float64(max(0, i.d())) / float64(t.to.Sub(t.from))),
		Class: class, Title: title, Y: y, H: h,
	}
}

// mark places an instant.
func (t timeline) mark(at history.Instant, class, title string, y, h int) box {
	return box{X: t.place(at), Class: class, Title: title, Y: y, H: y + h}
}

// since prints an instant as the axis does: "+3.21 s".
func (t timeline) since(at history.Instant) string {
	return fmt.Sprintf("%+.2f s", at.Sub(t.zero).Seconds())
}

func (t timeline) titled(what string, i interval) string {
	if i.d() <= 0 {
		return fmt.Sprintf("%s: at %s", what, t.since(i.from))
	}
	return fmt.Sprintf("%s: %s, from %s to %s", what, seconds(i.d().Seconds()), t.since(i.from), t.since(i.to))
}

// axis gives about twelve round ticks over the view.
func axis(t timeline) []gridTick {
	span := t.view.d().Seconds()
	step := roundStep(span / 12)
	var out []gridTick
	first := math.Ceil(t.view.from.Sub(t.zero).Seconds() / step)
	for n := first; ; n++ {
		at := t.zero.Add(time.Duration(n * step * float64(time.Second)))
		if at > t.view.to {
			return out
		}
		tick := gridTick{X: t.place(at), Text: strconv.FormatFloat(n*step, 'f', -1, 64)}
		if edge := t.view.d() / 60; at.Sub(t.view.from) < edge || t.view.to.Sub(at) < edge {
			tick.Text = "" // half of it would be outside
		}
		out = append(out, tick)
	}
}

// roundStep is the least of 1, 2, 5 × a power of ten that is not below s.
func roundStep(s float64) float64 {
	if s <= 0 {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(s)))
	for _, m := range []float64{1, 2, 5} {
		if p*m >= s*0.999 {
			return p * m
		}
	}
	return p * 10
}

// --- lanes ---

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

func (t timeline) stepRows() []row {
	var out []row
	for _, s := range t.steps {
		r := row{Label: s.Number + "  " + s.Title, Height: 18, Class: "step"}
		whole := interval{s.began, s.ended}
		r.Boxes = append(r.Boxes, t.box(whole, "work "+slug(s.State), t.titled(s.Number+" "+s.Title+", "+s.State, whole), 3, 12))
		for _, w := range s.waits {
			r.Boxes = append(r.Boxes, t.box(w, "wait", t.titled(s.Number+" "+s.Title+", waiting for a person", w), 3, 12))
		}
		label := seconds(whole.d().Seconds())
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
		r.Boxes = append(r.Boxes, t.box(o.possible, "maybe", says+", at most "+t.titled("", o.possible), 3, 14))
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

func (t timeline) lagRow() row {
	if len(t.lags) == 0 {
		return row{}
	}
	const h, top = 56, 12
	var peak time.Duration = time.Millisecond
	for _, s := range t.lags {
		peak = max(peak, s.d)
	}
	y := func(d time.Duration) float64 { return h - 1 - float64(d)/float64(peak)*(h-1-top) }
	var d strings.Builder
	var last history.Instant
	for _, s := range t.lags {
		op := "L"
		if last == 0 || s.t.Sub(last) > 2*time.Second { // a hole in the samples is a hole in the line
			op = "M"
		}
		fmt.Fprintf(&d, "%s%d %.1f", op, t.x(s.t), y(s.d))
		last = s.t
	}
	return row{
		Label: "replication lag", Note: "at the standby", Height: h,
		Grid:  []gridLine{{top, seconds(peak.Seconds())}, {h - 1, ""}},
		Paths: []stroke{{"line", d.String()}},
	}
}

func (t timeline) snapshotRow() row {
	if len(t.snapshots) == 0 {
		return row{}
	}
	r := row{Label: "money conserved", Note: fmt.Sprintf("%d snapshots", len(t.snapshots)), Height: 16}
	for _, s := range t.snapshots {
		class, says := "good", "balances = statements = constant"
		if !s.good {
			class, says = "wrong", "balances and statements DISAGREE"
		}
		r.Marks = append(r.Marks, t.mark(s.t, "mark "+class, t.since(s.t)+": "+s.title+": "+says, 2, 12))
	}
	return r
}

// --- data for the script ---

func data(t timeline, length int64) pictureData {
	d := pictureData{
		Length: length, Zero: t.x(t.zero), View: [2]int64{t.x(t.view.from), t.x(t.view.to)},
		Bin: ms(binWidth), Counts: map[string][]any{}, Lag: [][2]int64{}, Steps: []stepData{},
	}
	if len(t.faults) > 0 {
		from, to := t.faults[0].from, t.faults[0].from
		for _, s := range t.steps {
			to = max(to, s.ended)
		}
		if to == from {
			to = from.Add(15 * time.Second)
		}
		d.Fault = [2]int64{max(0, t.x(from)-2000), min(length, t.x(to)+2000)}
	}
	for _, s := range t.streams {
		slow := make([]int64, len(s.bins))
		for _, dot := range s.dots {
			i := dot.t.Sub(t.from) / binWidth
			slow[i] = max(slow[i], ms(dot.d))
		}
		counts := make([]any, len(s.bins))
		for i, b := range s.bins {
			counts[i] = 0
			if b != (bin{}) {
				counts[i] = [6]int64{int64(b.ok), int64(b.info), int64(b.fail), int64(b.stale), int64(b.shed), slow[i]}
			}
		}
		d.Counts[streamLabel(s.name)] = counts
	}
	for _, l := range t.lags {
		d.Lag = append(d.Lag, [2]int64{t.x(l.t), ms(l.d)})
	}
	for _, s := range t.steps {
		d.Steps = append(d.Steps, stepData{t.x(s.began), t.x(s.ended), s.Number + " " + s.Title})
	}
	return d
}
