package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// StopReceiver stops the input: nothing more is fetched from the source. While the link is black-holed the server may take
// replica_net_timeout (4 s) to notice.
func (s *Server) StopReceiver(ctx context.Context) error {
	return s.replica(ctx, "stop receiver", "STOP REPLICA IO_THREAD")
}

// StopApplier stops applying what was received; receiving goes on.
func (s *Server) StopApplier(ctx context.Context) error {
	return s.replica(ctx, "stop applier", "STOP REPLICA SQL_THREAD")
}

// StartApplier applies again.
func (s *Server) StartApplier(ctx context.Context) error {
	return s.do(ctx, "start applier", func(ctx context.Context, c *sql.Conn) error {
		return run(ctx, c, "START REPLICA SQL_THREAD")
	})
}

// Detach leaves the replication: both threads stop, and the source is forgotten. It throws the relay log away, also what was
// not applied yet: drain first (WaitExecuted), or acknowledged payments that were received are lost.
func (s *Server) Detach(ctx context.Context) error {
	return s.replica(ctx, "leave replication", "STOP REPLICA", "RESET REPLICA ALL")
}

// replica runs statements about replication. A server that replicates from nobody has nothing to stop.
func (s *Server) replica(ctx context.Context, what string, statements ...string) error {
	const notAReplica = 1200
	return s.do(ctx, what, func(ctx context.Context, c *sql.Conn) error {
		for _, q := range statements {
			if err := run(ctx, c, q); err != nil && number(err) != notAReplica {
				return err
			}
		}
		return nil
	})
}

// SetApplierDelay makes the replica apply each transaction so much later than its source committed it: apply lag, in whole
// seconds. What was received stays.
func (s *Server) SetApplierDelay(ctx context.Context, d time.Duration) error {
	return s.do(ctx, fmt.Sprintf("set applier delay %s", d), func(ctx context.Context, c *sql.Conn) error {
		var receiver string
		err := c.QueryRowContext(ctx, "SELECT service_state FROM performance_schema.replication_connection_status WHERE channel_name = ''").Scan(&receiver)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if receiver == "OFF" {
			return statef("its receiver is stopped: changing the delay would throw away what it received and has not applied")
		}
		return run(ctx, c,
			"STOP REPLICA SQL_THREAD",
			fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = %d", seconds(d)),
			"START REPLICA SQL_THREAD")
	})
}

// WaitExecuted waits up to d until the server has executed a GTID set, and says whether it has. The waiting is the server's.
func (s *Server) WaitExecuted(ctx context.Context, set string, d time.Duration) (bool, error) {
	var missed int
	ctx, cancel := context.WithTimeout(ctx, d+s.timeout)
	defer cancel()
	err := s.do(ctx, "wait for GTID set", func(ctx context.Context, c *sql.Conn) error {
		// 0: executed, 1: not within the time. 0 seconds would mean for ever.
		return c.QueryRowContext(ctx, "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)", set, max(d.Seconds(), 0.001)).Scan(&missed)
	})
	return err == nil && missed == 0, err
}

// SetWritable lets everybody write, or nobody, and persists that: a restart keeps it. Stopping waits for commits in flight; when
// it cannot have the lock the server refuses in time, and nothing is left behind that could still fire later.
func (s *Server) SetWritable(ctx context.Context, on bool) error {
	if on {
		return s.protect(ctx, "make writable", "SET PERSIST super_read_only = OFF", "SET PERSIST read_only = OFF")
	}
	return s.protect(ctx, "make read-only", "SET PERSIST super_read_only = ON", "SET PERSIST read_only = ON")
}

// AllowOperators lets operators write and nobody else, and persists that: between leaving the replication and serving, the epoch
// is raised in peace.
func (s *Server) AllowOperators(ctx context.Context) error {
	return s.protect(ctx, "let operators write", "SET PERSIST read_only = ON", "SET PERSIST super_read_only = OFF")
}

// protect changes the write protection. The lock it needs is waited for by the server, for less than ctx allows: an abandoned
// statement would still fire once the lock is free.
func (s *Server) protect(ctx context.Context, what string, statements ...string) error {
	return s.do(ctx, what, func(ctx context.Context, c *sql.Conn) error {
		wait := int64(1)
		if deadline, ok := ctx.Deadline(); ok {
			wait = max(wait, int64(time.Until(deadline)/time.Second)-1)
		}
		defer discard(c) // its lock_wait_timeout is for this verb only
		return run(ctx, c, append([]string{fmt.Sprintf("SET SESSION lock_wait_timeout = %d", wait)}, statements...)...)
	})
}

// Epoch reads the epoch row: which epoch the ledger is in, and which site raised it.
func (s *Server) Epoch(ctx context.Context) (epoch int64, site string, err error) {
	err = s.do(ctx, "read epoch", func(ctx context.Context, c *sql.Conn) error {
		return c.QueryRowContext(ctx, "SELECT epoch, site FROM pay.epoch WHERE id = 1").Scan(&epoch, &site)
	})
	return epoch, site, err
}

// ErrNewerEpoch says that the ledger is in another epoch than the one asked for, and stays there: epochs only rise, and each has
// one site.
var ErrNewerEpoch = errors.New("the ledger's epoch is not below")

// RaiseEpoch raises the ledger's epoch: writers of older ones are refused from then on. The same epoch of the same site again is
// no error; any other epoch that is not below is ErrNewerEpoch.
func (s *Server) RaiseEpoch(ctx context.Context, to int64, site string) error {
	return s.do(ctx, fmt.Sprintf("raise epoch to %d", to), func(ctx context.Context, c *sql.Conn) error {
		if _, err := c.ExecContext(ctx, "UPDATE pay.epoch SET epoch = ?, site = ? WHERE id = 1 AND epoch < ?", to, site, to); err != nil {
			return err
		}
		var epoch int64
		var by string
		if err := c.QueryRowContext(ctx, "SELECT epoch, site FROM pay.epoch WHERE id = 1").Scan(&epoch, &by); err != nil {
			return err
		}
		if epoch != to || by != site {
			return &newerEpoch{epoch, by}
		}
		return nil
	})
}

type newerEpoch struct {
	epoch int64
	site  string
}

func (e *newerEpoch) Error() string {
	return fmt.Sprintf("%s: it is %d of %s", ErrNewerEpoch, e.epoch, e.site)
}
func (e *newerEpoch) Unwrap() []error {
	return []error{ErrNewerEpoch, &stateError{e.Error()}}
}
