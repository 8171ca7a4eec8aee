package steps

import (
	"errors"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/provision"
)

// TestDoctorsVerdict: what auto would take, for all that a machine can have and lack.
func TestDoctorsVerdict(t *testing.T) {
	found := func(every, docker, local bool) []Examined {
		need := func(ok bool) []provision.Need { return []provision.Need{{OK: true}, {OK: ok}} }
		return []Examined{{"every world", need(every)}, {"docker", need(docker)}, {"local", need(local)}}
	}
	for _, c := range []struct {
		every, docker, local bool
		want                 string // "": none can be made
	}{
		{true, true, true, "takes docker; local"},
		{true, true, false, "takes docker"},
		{true, false, true, "takes local"},
		{true, false, false, ""},
		{false, true, true, ""},
	} {
		got, err := Verdict(found(c.every, c.docker, c.local))
		if c.want == "" {
			if !errors.Is(err, topology.ErrEnvironment) || got != "" {
				t.Errorf("%+v: %q, %v", c, got, err)
			}
			continue
		}
		if err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}
