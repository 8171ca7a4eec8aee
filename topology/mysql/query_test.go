package mysql

import (
	"errors"
	"testing"

	"github.com/kirikae/kirikae/topology"
)

// TestQueryRefusesWrites: nothing that could write is sent, not even to a server that is not there.
func TestQueryRefusesWrites(t *testing.T) {
	s, err := Open("127.251.250.249:3306", UserOps, "x", Options{Name: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, bad := range []string{"", "DELETE FROM t", "drop table t", "SET GLOBAL read_only = 0", "(SELECT 1)", "SELECTED"} {
		if _, err := s.Query(t.Context(), bad); !errors.Is(err, topology.ErrUnsupported) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"SELECT 1", " show replica status", "with x as (select 1) select * from x"} {
		if _, err := s.Query(t.Context(), good); !errors.Is(err, topology.ErrUnreachable) {
			t.Errorf("%q: %v", good, err)
		}
	}
}
