package history_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/history/historytest"
)

func TestReigns(t *testing.T) {
	mark := func(t history.Instant, site string, epoch string) history.Mark {
		return history.Mark{T: t, Kind: history.KindReign, Name: site, Data: []byte(`{"site":"` + site + `","epoch":` + epoch + `}`)}
	}
	confirm := func(t history.Instant, site string, epoch any) history.Entry {
		return history.Entry{T: t, Kind: history.EntryConfirm, Step: "3", Saw: map[string]any{history.SawEpochSite: site, history.SawEpoch: epoch}}
	}
	type reign struct {
		site  string
		epoch int64
		from  history.Instant
	}
	for _, c := range []struct {
		name    string
		marks   []history.Mark
		journal []history.Entry
		want    []reign
	}{
		{"nothing is told", nil, nil, []reign{{"tokyo", 0, 5}}},
		{"the first is marked", []history.Mark{mark(10, "tokyo", "1")}, nil, []reign{{"tokyo", 1, 5}}},
		{"a promotion, from the journal", nil, []history.Entry{confirm(30, "osaka", 2.0)}, []reign{{"tokyo", 0, 5}, {"osaka", 2, 30}}},
		{"told by both, the earlier counts", []history.Mark{mark(10, "tokyo", "1"), mark(33, "osaka", "2")}, []history.Entry{confirm(30, "osaka", int64(2))}, []reign{{"tokyo", 1, 5}, {"osaka", 2, 30}}},
		{"there and back", []history.Mark{mark(10, "tokyo", "1"), mark(70, "tokyo", "3")}, []history.Entry{confirm(30, "osaka", 2.0), confirm(40, "osaka", 2.0)}, []reign{{"tokyo", 1, 5}, {"osaka", 2, 30}, {"tokyo", 3, 70}}},
		{"an epoch without its site tells nothing", nil, []history.Entry{{T: 9, Kind: history.EntryConfirm, Saw: map[string]any{history.SawEpoch: 2.0}}}, []reign{{"tokyo", 0, 5}}},
	} {
		r := &history.Run{Meta: history.Meta{Active: "tokyo", Origin: 5}, Marks: c.marks, Journal: c.journal}
		var got []reign
		all := r.Reigns()
		for i, x := range all {
			got = append(got, reign{x.Site, x.Epoch, x.From})
			if i+1 < len(all) && x.Until != all[i+1].From {
				t.Errorf("%s: reign %d ends at %d", c.name, i, x.Until)
			}
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, expected %v", c.name, got, c.want)
		}
		if r.Ruler() != c.want[len(c.want)-1].site {
			t.Errorf("%s: %s rules", c.name, r.Ruler())
		}
	}
}

func TestWindows(t *testing.T) {
	names := func(r *history.Run) (out []string) {
		for _, w := range r.Windows() {
			if w.Until <= w.From {
				t.Errorf("%s is empty", w.Name)
			}
			out = append(out, w.Name)
		}
		return out
	}
	r := historytest.RoundTrip(1)
	if got, want := names(r), []string{"switchover", "return", "failback-preparation", "failback"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
	if w := r.Windows()[1]; w.Until != r.Meta.Origin.Add(historytest.PreparationBegin) || !w.Holds(w.From) || w.Holds(w.Until.Add(time.Nanosecond)) {
		t.Errorf("the return lasts until %v", w.Until.Sub(r.Meta.Origin))
	}
	if got := names(historytest.Good(1)); !reflect.DeepEqual(got, []string{"switchover"}) {
		t.Errorf("%v", got)
	}
	p := historytest.TakenBack(1).Procedures()
	if len(p) != 1 || !p[0].Undone || !p[0].Planned || p[0].Ended || !p[0].Began {
		t.Errorf("%+v", p)
	}
	if got := (&history.Run{}).Windows(); got != nil {
		t.Errorf("windows of nothing: %v", got)
	}
}
