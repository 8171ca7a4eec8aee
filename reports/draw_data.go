package reports

import "time"

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
