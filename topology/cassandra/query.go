package cassandra

import (
	"context"
	"fmt"
	"strings"

	"github.com/gocql/gocql"

	"github.com/kirikae/kirikae/topology"
)

// Query makes one SELECT at LOCAL_QUORUM and returns its rows as texts, in the order of its columns; what is not there is "NULL".
// Any other statement is refused before it is sent: confirming a step changes nothing.
func (s *Session) Query(ctx context.Context, statement string) ([][]string, error) {
	if word, _, _ := strings.Cut(strings.TrimSpace(statement), " "); !strings.EqualFold(word, "SELECT") {
		return nil, fmt.Errorf("query %s: %w: %q is no read, expected SELECT", s.name, topology.ErrUnsupported, word)
	}
	it := s.cql.Query(statement).Consistency(gocql.LocalQuorum).WithContext(ctx).Iter()
	var all [][]string
	for {
		cells := map[string]any{}
		if !it.MapScan(cells) {
			break
		}
		row := make([]string, 0, len(it.Columns()))
		for _, c := range it.Columns() {
			v, ok := cells[c.Name]
			if !ok || v == nil {
				row = append(row, "NULL")
				continue
			}
			row = append(row, fmt.Sprint(v))
		}
		all = append(all, row)
	}
	return all, s.wrap("query", it.Close())
}
