package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/drill/history"
)

// Names of the checks about records that a drill planted in Cassandra.
const (
	NameLocalReads  = "local reads"  // a region that is read gives what there is
	NameDeletedRows = "deleted rows" // what was deleted does not come back
	NameZombieRows  = "zombie rows"  // what a region took while it was cut off reaches nobody
)

// RegionReads judges what each region answered about planted records: LocalReads, DeletedRows and ZombieRows, those of them
// that the drill looked at. Cassandra answers all three without an error where it answers wrongly.
func RegionReads(run *history.Run) []Result {
	marks, err := history.Marked[history.ReadData](run, history.KindRead)
	if err != nil {
		return []Result{Undecided(NameLocalReads, err.Error()), Undecided(NameDeletedRows, err.Error()), Undecided(NameZombieRows, err.Error())}
	}
	emptied, held, err := emptied(run)
	if err != nil {
		return []Result{Undecided(NameLocalReads, err.Error())}
	}
	var out []Result
	for _, c := range []struct {
		name, of, right, wrong string
		all                    bool // all must be found; else none
	}{
		{NameLocalReads, history.ReadOfKept, "every region gave all records that it was read for", "%d of %d records were answered as absent in %s", true},
		{NameDeletedRows, history.ReadOfDeleted, "no deleted record came back", "%d of %d deleted records came back in %s", false},
		{NameZombieRows, history.ReadOfCutOff, "nothing that was taken behind the cut reached the region that serves", "%d of %d records that were taken behind the cut are in %s", false},
	} {
		var findings []Finding
		asked, reads := 0, 0
		for _, m := range marks {
			if m.Data.Of != c.of || len(emptied) > 0 && m.T < emptied[len(emptied)-1].T {
				continue
			}
			reads++
			asked += len(m.Data.Asked)
			wrong := 0
			for _, n := range m.Data.Asked {
				if slices.Contains(m.Data.Found, n) != c.all {
					wrong++
				}
			}
			if wrong > 0 {
				findings = append(findings, Finding{What: fmt.Sprintf(c.wrong, wrong, len(m.Data.Asked), m.Data.Site), T: int64(m.T)})
			}
		}
		evidence := []Counter{{"records read", int64(asked), minPlanted}}
		if n := int64(run.Meta.Emptied); n > 0 && c.of == history.ReadOfKept {
			evidence = append(evidence, Counter{"nodes that lost their volumes", int64(len(emptied)), n}, Counter{"records that they had held", held, n * minPlanted})
			findings = append(findings, cameBackWithout(emptied)...)
		} else if reads == 0 {
			continue
		}
		says := c.right
		if len(findings) > 0 {
			says = findings[0].What // what the region answered, before what its nodes did
		}
		slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(a.T, b.T) })
		out = append(out, Conclude(c.name, says, len(findings) > 0, evidence, findings))
	}
	return out
}

// minPlanted is how many records must have been looked for.
const minPlanted = 10

// emptied are the nodes that lost their volumes, in order, and how many planted records they had held by themselves before.
func emptied(run *history.Run) (nodes []history.At[history.EmptiedData], held int64, err error) {
	nodes, err = history.Marked[history.EmptiedData](run, history.KindEmptied)
	for _, n := range nodes {
		held += int64(len(n.Data.Held))
	}
	return nodes, held, err
}

// cameBackWithout are the nodes that take part again and lack what they had held. Cassandra reports no error of it: a quorum with one
// of them in it may still give everything, a quorum of two gives nothing.
func cameBackWithout(nodes []history.At[history.EmptiedData]) (out []Finding) {
	for _, n := range nodes {
		lacks := 0
		for _, slot := range n.Data.Held {
			if !slices.Contains(n.Data.Holds, slot) {
				lacks++
			}
		}
		if lacks > 0 {
			out = append(out, Finding{T: int64(n.T), What: fmt.Sprintf("%s lost its volume and came back without %d of the %d records that it had held", n.Data.Node, lacks, len(n.Data.Held))})
		}
	}
	return out
}
