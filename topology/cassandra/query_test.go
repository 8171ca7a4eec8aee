package cassandra

import (
	"errors"
	"testing"

	"github.com/kirikae/kirikae/topology"
)

func TestQueryRefusesWrites(t *testing.T) {
	for _, bad := range []string{"", "DELETE FROM t", "truncate t", "SELECTED"} {
		if _, err := (&Session{name: "nobody"}).Query(t.Context(), bad); !errors.Is(err, topology.ErrUnsupported) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
