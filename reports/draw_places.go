package reports

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/kirikae/kirikae/drill/history"
)

// Where an instant, an interval and a tick of the axis stand in the picture.

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
	for n := first + 0; ; n++ { // + 0: no tick is called -0
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
