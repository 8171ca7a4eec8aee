package cassandra

import (
	"context"

	"github.com/gocql/gocql"
)

// PutRecords writes records that a drill plants, at EACH_QUORUM (both regions) or at LOCAL_QUORUM. They lie where probes lie, in
// slots that no probe has.
func (s *Session) PutRecords(ctx context.Context, slots []int, everywhere bool) error {
	level := gocql.LocalQuorum
	if everywhere {
		level = gocql.EachQuorum
	}
	for _, slot := range slots {
		if err := s.cql.Query("INSERT INTO pay.probes (slot, n) VALUES (?, 1)", slot).Consistency(level).WithContext(ctx).Exec(); err != nil {
			return s.wrap("plant a record", err)
		}
	}
	return nil
}

// DeleteRecords deletes planted records at LOCAL_QUORUM, after having set that deletions need not be remembered; Compact forgets
// them.
func (s *Session) DeleteRecords(ctx context.Context, slots []int) error {
	if err := s.cql.Query("ALTER TABLE pay.probes WITH gc_grace_seconds = 0").WithContext(ctx).Exec(); err != nil {
		return s.wrap("let deletions be forgotten", err)
	}
	for _, slot := range slots {
		if err := s.cql.Query("DELETE FROM pay.probes WHERE slot = ?", slot).WithContext(ctx).Exec(); err != nil {
			return s.wrap("delete a record", err)
		}
	}
	return nil
}

// Records reads which of some planted records the region gives at LOCAL_QUORUM.
func (s *Session) Records(ctx context.Context, slots []int) ([]int, error) {
	return s.recordsAt(ctx, slots, gocql.LocalQuorum)
}

// NodeRecords reads which of some planted records one node gives by itself: its own copy, where its region has as many replicas as
// nodes. Nothing is repaired by it.
func NodeRecords(ctx context.Context, n NodeAt, slots []int) ([]int, error) {
	s, err := openNode(ctx, n.CQL)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	s.name = n.Name
	return s.recordsAt(ctx, slots, gocql.LocalOne)
}

func (s *Session) recordsAt(ctx context.Context, slots []int, level gocql.Consistency) ([]int, error) {
	found := []int{}
	for _, slot := range slots {
		var n int64
		switch err := s.cql.Query("SELECT n FROM pay.probes WHERE slot = ?", slot).Consistency(level).WithContext(ctx).Scan(&n); err {
		case nil:
			found = append(found, slot)
		case gocql.ErrNotFound:
		default:
			return nil, s.wrap("read a record", err)
		}
	}
	return found, nil
}
