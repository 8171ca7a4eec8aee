package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/kirikae/kirikae/topology"
)

// CloneState is where the last CLONE into a server got.
type CloneState struct {
	State string // "" when there never was one, "In Progress", "Completed", "Failed"
	Error string // "" when none
}

// cannotRestart is how a server ends a CLONE that worked and that nobody restarts it after: it exits.
const cannotRestart = 3707

// enableClone loads the clone plugin where the server was not started with it, as renderConfig's are. It stays loaded after a restart.
// first is what has to be said before, for it to be allowed.
func enableClone(ctx context.Context, c *sql.Conn, first ...string) error {
	const alreadyThere = 1125
	var active int
	if err := c.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name = 'clone' AND plugin_status = 'ACTIVE'").Scan(&active); err != nil {
		return err
	}
	if active > 0 {
		return nil
	}
	if err := run(ctx, c, first...); err != nil {
		return err
	}
	if _, err := c.ExecContext(ctx, "INSTALL PLUGIN clone SONAME 'mysql_clone.so'"); err != nil && number(err) != alreadyThere {
		return err
	}
	return nil
}

// OfferClone lets others clone this server. Nothing stops it from working on.
func (s *Server) OfferClone(ctx context.Context) error {
	return s.do(ctx, "offer a clone", func(ctx context.Context, c *sql.Conn) error {
		return enableClone(ctx, c)
	})
}

// CloneFrom replaces all data of this server by those of a donor, as they are at the end, with their GTID position. The donor's
// address is where this server dials, the link's door. Before anything is replaced, read-only is stored for the next start: a clone
// does not bring the donor's options, and a server that comes back from one would otherwise take writes.
//
// When the data are there the server restarts, which without somebody above it means that it exits: nil then, and the caller starts
// it again and reads CloneState. A server that fails keeps nothing of what it had.
func (s *Server) CloneFrom(ctx context.Context, host string, port int, secret string) error {
	err := s.do(ctx, fmt.Sprintf("clone %s", net.JoinHostPort(host, fmt.Sprint(port))), func(ctx context.Context, c *sql.Conn) error {
		defer discard(c)
		// Where the plugin is there, nothing that follows writes a row, or is refused by a server that is read-only: nothing races with a
		// guard that keeps it so.
		if err := enableClone(ctx, c, "SET SESSION sql_log_bin = 0", "SET GLOBAL super_read_only = OFF"); err != nil { // read_only stays: operators only
			return err
		}
		return run(ctx, c,
			"SET PERSIST_ONLY super_read_only = ON", "SET PERSIST_ONLY read_only = ON",
			"SET GLOBAL clone_valid_donor_list = "+quote(fmt.Sprintf("%s:%d", host, port)),
			fmt.Sprintf("CLONE INSTANCE FROM '%s'@%s:%d IDENTIFIED BY %s", UserOps, quote(host), port, quote(secret)))
	})
	switch {
	case err == nil, number(err) == cannotRestart:
		return nil
	case errors.Is(err, topology.ErrUnknown) && ctx.Err() == nil: // it went away under us: CloneState tells how far it got
		return nil
	}
	return err
}

// CloneState reads how the last CLONE into this server ended.
func (s *Server) CloneState(ctx context.Context) (CloneState, error) {
	var st CloneState
	err := s.do(ctx, "read the state of the clone", func(ctx context.Context, c *sql.Conn) error {
		var n int
		// The table is the plugin's.
		if err := c.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name = 'clone' AND plugin_status = 'ACTIVE'").Scan(&n); err != nil || n == 0 {
			return err
		}
		err := c.QueryRowContext(ctx, "SELECT state, CASE WHEN error_no = 0 THEN '' ELSE error_message END FROM performance_schema.clone_status LIMIT 1").Scan(&st.State, &st.Error)
		if errors.Is(err, sql.ErrNoRows) || err == nil && strings.EqualFold(st.State, "Not Started") {
			st.State = ""
			return nil
		}
		return err
	})
	return st, err
}
