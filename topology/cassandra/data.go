package cassandra

import (
	"context"
	"fmt"
	"time"

	"github.com/gocql/gocql"

	"github.com/kirikae/kirikae/drill/history"
)

// checkSlot is the probe slot that Ping and Quorums write to; the probes of a drill use slots from 0.
const checkSlot = -1

// ApplySchema executes statements in turn.
func (s *Session) ApplySchema(ctx context.Context, statements []string) error {
	for _, q := range statements {
		if err := s.cql.Query(q).WithContext(ctx).Exec(); err != nil {
			return s.wrap("apply schema", err)
		}
	}
	return nil
}

// Ping writes a row at LOCAL_QUORUM and reads it back: the region's journal takes writes and gives them back.
func (s *Session) Ping(ctx context.Context) error {
	return s.writeAndRead(ctx, "ping", gocql.LocalQuorum, gocql.LocalQuorum)
}

// Quorums writes a row at EACH_QUORUM and reads it back at ALL: every region and every node answer the one that is asked.
func (s *Session) Quorums(ctx context.Context) error {
	return s.writeAndRead(ctx, "prove quorums", gocql.EachQuorum, gocql.All)
}

func (s *Session) writeAndRead(ctx context.Context, what string, write, read gocql.Consistency) error {
	n := time.Now().UnixNano()
	if err := s.cql.Query("INSERT INTO pay.probes (slot, n) VALUES (?, ?)", checkSlot, n).Consistency(write).WithContext(ctx).Exec(); err != nil {
		return s.wrap(what+": write at "+write.String(), err)
	}
	var got int64
	if err := s.cql.Query("SELECT n FROM pay.probes WHERE slot = ?", checkSlot).Consistency(read).WithContext(ctx).Scan(&got); err != nil {
		return s.wrap(what+": read at "+read.String(), err)
	}
	if got < n { // a later one is another caller's
		return fmt.Errorf("%s at Cassandra %s: wrote %d, read %d", what, s.name, n, got)
	}
	return nil
}

// JournalRows reads all events at LOCAL_QUORUM, page by page.
func (s *Session) JournalRows(ctx context.Context) (history.JournalRows, error) {
	j := history.JournalRows{Node: s.name, T: history.Monotonic{}.Now(), Events: []history.EventRow{}}
	it := s.cql.Query("SELECT pay_key, yen, epoch FROM pay.events").Consistency(gocql.LocalQuorum).WithContext(ctx).Iter()
	var e history.EventRow
	for it.Scan(&e.Key, &e.Yen, &e.Epoch) {
		j.Events = append(j.Events, e)
	}
	return j, s.wrap("read journal", it.Close())
}
