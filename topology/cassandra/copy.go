package cassandra

import (
	"context"
	"slices"

	"github.com/gocql/gocql"
)

// NodeContent reads what one node itself holds of a keyspace, at most limit rows (more: ErrTooMuch): it reads its own copy
// wherever it is a replica, which it is of every row where its region has as many replicas as nodes.
func NodeContent(ctx context.Context, n NodeAt, keyspace string, limit int) (Content, error) {
	s, err := openNode(ctx, n.CQL)
	if err != nil {
		return Content{}, err
	}
	defer s.Close()
	s.name = n.Name
	return s.contentAt(ctx, keyspace, limit, gocql.LocalOne)
}

// Against holds a copy against an authority that goes on being written to. The authority was read before the copy and after it,
// and only what it says both times counts: a row is missing if the authority had it both times, extra if it had it neither
// time, and different if it had another value that did not change meanwhile.
func (c Content) Against(before, after Content) Difference {
	was, is := before.Diff(c), after.Diff(c)
	var d Difference
	both := func(a, b []string) []string {
		return slices.DeleteFunc(slices.Clone(a), func(key string) bool {
			_, found := slices.BinarySearch(b, key)
			return !found
		})
	}
	d.Missing, d.Extra = both(was.Missing, is.Missing), both(was.Extra, is.Extra)
	moved := before.Diff(after).Different
	d.Different = slices.DeleteFunc(both(was.Different, is.Different), func(key string) bool {
		_, changed := slices.BinarySearch(moved, key)
		return changed
	})
	return d
}
