package check_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
)

// TestEmptied: nodes lost their volumes. The region's answers and each node's own are judged; too few failures, records that no node
// had held, and answers from before the last failure prove nothing.
func TestEmptied(t *testing.T) {
	asked := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	mark := func(at history.Instant, kind string, data any) history.Mark {
		b, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		return history.Mark{T: at, Kind: kind, Data: b}
	}
	lost := func(at history.Instant, node string, held, holds []int) history.Mark {
		return mark(at, history.KindEmptied, history.EmptiedData{Site: "tokyo", Node: node, Asked: asked, Held: held, Holds: holds})
	}
	read := func(at history.Instant, found []int) history.Mark {
		return mark(at, history.KindRead, history.ReadData{Site: "tokyo", Of: history.ReadOfKept, Asked: asked, Found: found})
	}
	attested := func(when string) history.Mark {
		return mark(9, history.KindAttest, history.AttestData{Link: "tokyo>osaka/cassandra", When: when, Declared: "open", Old: "open", New: "open", Agrees: true})
	}
	links := []history.Mark{attested("before"), attested("after")}
	for _, c := range []struct {
		name       string
		marks      []history.Mark
		reads      check.Verdict
		real       check.Verdict // of the failures
		says, lack string
	}{
		{"each came back filled", []history.Mark{lost(1, "a", asked, asked), lost(2, "b", asked, asked), read(3, asked)}, check.Pass, check.Pass, "every region gave all", ""},
		{"the quorum gives nothing", []history.Mark{lost(1, "a", asked, nil), lost(2, "b", asked, nil), read(3, nil)}, check.Fail, check.Pass, "10 of 10 records were answered as absent in tokyo", ""},
		{"one came back empty, and the quorum hides it", []history.Mark{lost(1, "a", asked, asked), lost(2, "b", asked, asked[4:]), read(3, asked)}, check.Fail, check.Pass, "b lost its volume and came back without 4 of the 10 records", ""},
		{"only one failed", []history.Mark{lost(1, "a", asked, asked), read(3, asked)}, check.Inconclusive, check.Inconclusive, "", "nodes that lost their volumes: 1 of at least 2"},
		{"nobody failed", []history.Mark{read(3, asked)}, check.Inconclusive, check.Inconclusive, "", "nodes that lost their volumes: 0 of at least 2"},
		{"nobody read", []history.Mark{lost(1, "a", asked, asked), lost(2, "b", asked, asked)}, check.Inconclusive, check.Pass, "", "records read: 0 of at least 10"},
		{"it was read before the second failed", []history.Mark{lost(1, "a", asked, asked), read(2, asked), lost(3, "b", asked, asked)}, check.Inconclusive, check.Pass, "", "records read: 0 of at least 10"},
		{"they had held nothing", []history.Mark{lost(1, "a", nil, nil), lost(2, "b", nil, nil), read(3, asked)}, check.Inconclusive, check.Inconclusive, "", "records that they had held: 0 of at least 20"},
		{"an unreadable mark", []history.Mark{mark(1, history.KindEmptied, 7), read(3, asked)}, check.Inconclusive, check.Inconclusive, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := &history.Run{Meta: history.Meta{Calm: true, Emptied: 2}, Marks: slices.Concat(c.marks, links)}
			all := check.RegionReads(run)
			if len(all) != 1 {
				t.Fatalf("%+v", all)
			}
			r, f := all[0], check.FaultReal(run)
			if r.Check != check.NameLocalReads || r.Verdict() != c.reads || !strings.Contains(r.Says, c.says) || !strings.Contains(strings.Join(r.Missing, "; "), c.lack) {
				t.Errorf("%s, %v: %s %v %+v", r.Check, r.Verdict(), r.Says, r.Missing, r.Findings)
			}
			if f.Verdict() != c.real {
				t.Errorf("%s, %v: %s %v", f.Check, f.Verdict(), f.Says, f.Missing)
			}
		})
	}
}

// TestOneReign: where nodes fail that their region outlives, nobody takes the work over, and no judge asks for it.
func TestOneReign(t *testing.T) {
	asked := func(emptied int) string {
		var out []string
		for _, r := range check.Judge(bent(func(r *history.Run) { r.Meta.Calm, r.Meta.Emptied = true, emptied })).Results {
			out = append(out, r.Missing...)
		}
		return strings.Join(out, "; ")
	}
	const flip = "planned switchovers that were carried out"
	if !strings.Contains(asked(0), flip) || strings.Contains(asked(2), flip) {
		t.Errorf("without failures: %s; with: %s", asked(0), asked(2))
	}
}
