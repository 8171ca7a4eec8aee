package mysql

import (
	"context"
	"database/sql"
	"net"
	"strconv"
	"strings"
	"time"
)

// Status is what a server says about itself in one read. A confirm looks at these fields, never at the absence of an error.
type Status struct {
	UUID     string
	Version  string
	ReadOnly bool // read_only, or more
	// SuperReadOnly stops every user, also those with all privileges.
	SuperReadOnly bool
	// PersistedReadOnly says that read_only or super_read_only is persisted ON, PersistedSuperReadOnly that the latter is: a
	// killed server comes back writable unless they are.
	PersistedReadOnly      bool
	PersistedSuperReadOnly bool
	Executed               string // gtid_executed
	// Received is what the receiver fetched since it was last pointed at a source, or lost its relay log in a crash: what came
	// before is in Executed only. "" once detached.
	Received string
	Source   string // host:port; "" when it follows nobody
	// ReceiverOn says that it fetches or tries to: connected or connecting.
	ReceiverOn        bool
	ReceiverConnected bool
	ApplierOn         bool
	ApplierDelay      time.Duration
	ReceiverError     string // last error, "" when none
	ApplierError      string
}

const statusQuery = `SELECT @@global.server_uuid, @@version, @@global.read_only, @@global.super_read_only,
  EXISTS (SELECT 1 FROM performance_schema.persisted_variables WHERE variable_name IN ('read_only', 'super_read_only') AND variable_value IN ('ON', '1')),
  EXISTS (SELECT 1 FROM performance_schema.persisted_variables WHERE variable_name = 'super_read_only' AND variable_value IN ('ON', '1')),
  @@global.gtid_executed,
  COALESCE(cc.host, ''), COALESCE(cc.port, 0),
  COALESCE(cs.service_state, 'OFF'), COALESCE(cs.received_transaction_set, ''),
  COALESCE(cs.last_error_number, 0), COALESCE(cs.last_error_message, ''),
  COALESCE(ac.desired_delay, 0), COALESCE(ap.service_state, 'OFF'),
  COALESCE((SELECT last_error_message FROM performance_schema.replication_applier_status_by_coordinator
    WHERE channel_name = '' AND last_error_number <> 0 LIMIT 1), ''),
  COALESCE((SELECT last_error_message FROM performance_schema.replication_applier_status_by_worker
    WHERE channel_name = '' AND last_error_number <> 0 LIMIT 1), '')
FROM (SELECT '' AS channel_name) AS ch
LEFT JOIN performance_schema.replication_connection_configuration cc ON cc.channel_name = ch.channel_name
LEFT JOIN performance_schema.replication_connection_status cs ON cs.channel_name = ch.channel_name
LEFT JOIN performance_schema.replication_applier_configuration ac ON ac.channel_name = ch.channel_name
LEFT JOIN performance_schema.replication_applier_status ap ON ap.channel_name = ch.channel_name`

// Status reads the server's state.
func (s *Server) Status(ctx context.Context) (Status, error) {
	var st Status
	err := s.do(ctx, "read status", func(ctx context.Context, c *sql.Conn) error {
		var host, receiver, applier, coordinator, worker string
		var port, errno, delay int64
		err := c.QueryRowContext(ctx, statusQuery).Scan(&st.UUID, &st.Version, &st.ReadOnly, &st.SuperReadOnly,
			&st.PersistedReadOnly, &st.PersistedSuperReadOnly, &st.Executed, &host, &port, &receiver, &st.Received, &errno, &st.ReceiverError,
			&delay, &applier, &coordinator, &worker)
		if err != nil {
			return err
		}
		st.Executed, st.Received = oneLine(st.Executed), oneLine(st.Received)
		if host != "" {
			st.Source = net.JoinHostPort(host, strconv.FormatInt(port, 10))
		}
		st.ReceiverOn, st.ReceiverConnected = receiver != "OFF", receiver == "ON"
		if errno == 0 {
			st.ReceiverError = ""
		}
		st.ApplierOn = applier == "ON"
		st.ApplierDelay = time.Duration(delay) * time.Second
		st.ApplierError = worker // the coordinator's only points at the worker's
		if worker == "" {
			st.ApplierError = coordinator
		}
		return nil
	})
	return st, err
}

// oneLine removes the line breaks that MySQL puts into GTID sets.
func oneLine(set string) string { return strings.ReplaceAll(set, "\n", "") }
