package check

import (
	"encoding/json"
	"testing"

	"github.com/kirikae/kirikae/drill/history"
)

func TestRegionReads(t *testing.T) {
	asked := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, c := range []struct {
		name, of string
		asked    []int
		found    []int
		check    string
		want     Verdict
	}{
		{"all are there", history.ReadOfKept, asked, asked, NameLocalReads, Pass},
		{"an empty answer", history.ReadOfKept, asked, nil, NameLocalReads, Fail},
		{"one is missing", history.ReadOfKept, asked, asked[1:], NameLocalReads, Fail},
		{"too few were read", history.ReadOfKept, asked[:3], asked[:3], NameLocalReads, Inconclusive},
		{"deleted, and gone", history.ReadOfDeleted, asked, nil, NameDeletedRows, Pass},
		{"deleted, and back", history.ReadOfDeleted, asked, asked[:1], NameDeletedRows, Fail},
		{"nothing from behind the cut", history.ReadOfCutOff, asked, nil, NameZombieRows, Pass},
		{"one from behind the cut", history.ReadOfCutOff, asked, asked[9:], NameZombieRows, Fail},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := json.Marshal(history.ReadData{Site: "tokyo", Of: c.of, Asked: c.asked, Found: c.found})
			if err != nil {
				t.Fatal(err)
			}
			got := RegionReads(&history.Run{Marks: []history.Mark{{T: 5, Kind: history.KindRead, Name: "tokyo", Data: b}}})
			if len(got) != 1 || got[0].Check != c.check || got[0].Verdict() != c.want {
				t.Errorf("%+v, want %s %s", got, c.check, c.want)
			}
		})
	}
	if got := RegionReads(&history.Run{}); got != nil {
		t.Errorf("nobody read, and it is judged: %v", got)
	}
	broken := &history.Run{Marks: []history.Mark{{Kind: history.KindRead, Data: json.RawMessage(`7`)}}}
	if got := RegionReads(broken); len(got) != 3 || got[0].Verdict() != Inconclusive {
		t.Errorf("a broken mark: %v", got)
	}
}
