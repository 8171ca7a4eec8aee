package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/topology"
)

// epochs are two regions whose databases say who serves.
type epochs struct {
	procedure.Estate // whatever else is asked for panics
	says             map[topology.Site]epochDB
}

type epochDB struct {
	procedure.Database
	epoch int64
	owner string
	err   error
}

func (d epochDB) Epoch(context.Context) (int64, string, error) { return d.epoch, d.owner, d.err }

func (e epochs) Database(site topology.Site) (procedure.Database, error) { return e.says[site], nil }
func (e epochs) Topology() topology.Topology {
	return topology.Topology{Regions: []topology.Region{{Name: "tokyo"}, {Name: "osaka"}}}
}

func TestDirectionOfTheGate(t *testing.T) {
	tokyo, osaka, dead := epochDB{epoch: 1, owner: "tokyo"}, epochDB{epoch: 2, owner: "osaka"}, epochDB{err: errors.New("dead")}
	for _, x := range []struct {
		name         string
		tokyo, osaka epochDB
		from, to     string
		want         string // from>to, or part of the error
	}{
		{"before any switch", tokyo, tokyo, "", "", "tokyo>osaka"},
		{"tokyo returned on its old data", tokyo, osaka, "", "", "osaka>tokyo"},
		{"tokyo is down", dead, osaka, "", "", "osaka>tokyo"},
		{"nobody says", dead, dead, "", "", "nobody says which region serves"},
		{"said", tokyo, osaka, "tokyo", "osaka", "tokyo>osaka"},
		{"only who serves", dead, dead, "osaka", "", "osaka>tokyo"},
		{"only who takes over", dead, dead, "", "osaka", "tokyo>osaka"},
		{"no such region", tokyo, osaka, "kyoto", "", `"kyoto" is no region; there are tokyo, osaka`},
		{"from itself", tokyo, osaka, "osaka", "osaka", "osaka cannot take over from itself"},
	} {
		t.Run(x.name, func(t *testing.T) {
			from, to, err := direction(t.Context(), epochs{says: map[topology.Site]epochDB{"tokyo": x.tokyo, "osaka": x.osaka}}, x.from, x.to)
			got := string(from + ">" + to)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, x.want) {
				t.Errorf("%s, want %s", got, x.want)
			}
		})
	}
}

func TestGateTable(t *testing.T) {
	r := procedure.Readiness{From: "osaka", To: "tokyo", Conditions: []procedure.Condition{
		{Name: procedure.ReadyErrant, Holds: true, Saw: "nothing"}, {Name: procedure.ReadyHints, Saw: "one\ntwo"},
	}}
	want := "holds     errant transactions  nothing\nVIOLATED  hints pending        one; two\ntokyo is not ready to take over from osaka: hints pending\n"
	if got := gateTable(r); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	r.Conditions = r.Conditions[:1]
	if got := gateTable(r); !strings.HasSuffix(got, "\ntokyo is ready to take over from osaka\n") {
		t.Error(got)
	}
}
