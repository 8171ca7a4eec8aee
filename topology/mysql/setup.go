package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Bootstrap gives a new server its users, and then an empty history: both servers of a pair must start without GTIDs of their
// own, or the replica carries transactions that its source never had. New users can log in once all of it is done. Call it on the
// unix socket as root. A server that holds data already keeps its history, and its users can log in all the time.
func (s *Server) Bootstrap(ctx context.Context, secret string) error {
	return s.do(ctx, "bootstrap", func(ctx context.Context, c *sql.Conn) error {
		var readOnly, superReadOnly bool
		var used int
		err := c.QueryRowContext(ctx, `SELECT @@global.read_only, @@global.super_read_only,
  (SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema'))
  + (SELECT COUNT(*) FROM performance_schema.replication_connection_configuration WHERE host <> '')`).Scan(&readOnly, &superReadOnly, &used)
		if err != nil {
			return err
		}
		statements := []string{"SET SESSION sql_log_bin = 0"}
		if readOnly {
			statements = append(statements, "SET GLOBAL read_only = OFF") // super_read_only goes with it
		}
		var unlock []string
		for _, u := range []string{UserOps, UserPay, UserDrill, UserReplication} {
			// Locked until the end: whoever came in before the history is emptied would write what no replica ever sees.
			statements = append(statements,
				fmt.Sprintf("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY %s ACCOUNT LOCK", quote(u), quote(secret)),
				fmt.Sprintf("ALTER USER %s@'%%' IDENTIFIED BY %s", quote(u), quote(secret)))
			unlock = append(unlock, quote(u)+"@'%'")
		}
		statements = append(statements, "GRANT ALL ON *.* TO 'ops'@'%' WITH GRANT OPTION")
		for _, u := range []string{UserPay, UserDrill} {
			// gtid_next='AUTOMATIC:tag' needs these two; neither passes read_only.
			statements = append(statements,
				fmt.Sprintf("GRANT SESSION_VARIABLES_ADMIN, TRANSACTION_GTID_TAG ON *.* TO %s@'%%'", quote(u)),
				fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON pay.* TO %s@'%%'", quote(u)))
		}
		statements = append(statements, "GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%'")
		if used == 0 {
			statements = append(statements, "RESET BINARY LOGS AND GTIDS")
		}
		statements = append(statements, "ALTER USER "+strings.Join(unlock, ", ")+" ACCOUNT UNLOCK")
		if superReadOnly {
			statements = append(statements, "SET GLOBAL super_read_only = ON")
		} else if readOnly {
			statements = append(statements, "SET GLOBAL read_only = ON")
		}
		defer discard(c) // without binary log it must never serve another verb
		return run(ctx, c, statements...)
	})
}

// ApplySchema executes statements in turn, on the primary; they replicate.
func (s *Server) ApplySchema(ctx context.Context, statements []string) error {
	return s.do(ctx, "apply schema", func(ctx context.Context, c *sql.Conn) error {
		return run(ctx, c, statements...)
	})
}

// FollowOptions of a replica.
type FollowOptions struct {
	Delay time.Duration // applied so much later than committed at the source; whole seconds
}

// Follow makes the server a read-only replica of a source, by GTID, and starts it. Read-only is persisted: a restart keeps it.
// The source's address is where the replica dials, the link's door. It retries every second, for a day. A server that follows
// this source already keeps its relay log.
func (s *Server) Follow(ctx context.Context, host string, port int, secret string, o FollowOptions) error {
	return s.do(ctx, "follow "+net.JoinHostPort(host, strconv.Itoa(port))+" by replication", func(ctx context.Context, c *sql.Conn) error {
		var already bool
		err := c.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM performance_schema.replication_connection_configuration c
  JOIN performance_schema.replication_applier_configuration a USING (channel_name)
  WHERE channel_name = '' AND c.host = ? AND c.port = ? AND a.desired_delay = ?)`, host, port, seconds(o.Delay)).Scan(&already)
		if err != nil {
			return err
		}
		statements := []string{"SET PERSIST super_read_only = ON"}
		if !already {
			statements = append(statements, "STOP REPLICA",
				fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %d, SOURCE_USER = '%s', SOURCE_PASSWORD = %s, "+
					"SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400, "+
					"SOURCE_HEARTBEAT_PERIOD = 1, SOURCE_DELAY = %d",
					quote(host), port, UserReplication, quote(secret), seconds(o.Delay)))
		}
		return run(ctx, c, append(statements, "START REPLICA")...)
	})
}

// seconds rounds a delay up to MySQL's whole seconds.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
