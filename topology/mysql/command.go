package mysql

import (
	"path/filepath"
	"strconv"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/provision"
)

// Names of a server's files inside its data folder. The server is given them as they are and stands in its data folder, so that
// the socket's path stays below the kernel's 108 bytes however deep the folder is.
const (
	socketName = "mysqld.sock"
	pidName    = "mysqld.pid"
)

// NodeOptions is one server of a world. Paths are those of the place where the server runs.
type NodeOptions struct {
	DataDir  string // absolute
	Address  string // IP address that it listens on; port 3306
	ServerID uint32 // unique in the world
	ReadOnly bool   // start super_read_only. What SET PERSIST stored in the data folder wins over it
}

// Socket is the path of the server's unix socket, for Open. Root has no password and can come in by it only.
func (o NodeOptions) Socket() string { return filepath.Join(o.DataDir, socketName) }

// Command starts a server. It writes its log to standard error.
//
// Durability is full: a commit is on disk, in the engine and in the binary log, before it is acknowledged; and a replica's
// relay log is fetched again after a crash. The row events carry their statements (binlog_rows_query_log_events), by which
// Transactions tells payments. Replication never starts by itself: after a restart an operator decides. The rest makes a server
// small: 290 MiB instead of 500.
func Command(in provision.MySQL, o NodeOptions) topology.Command {
	args := append([]string(nil), in.Mysqld[1:]...)
	args = append(args, in.BaseArgs...)
	args = append(args,
		"--datadir="+o.DataDir,
		"--socket="+socketName,
		"--pid-file="+filepath.Join(o.DataDir, pidName),
		"--bind-address="+o.Address,
		"--port="+strconv.Itoa(topology.ServiceMySQL.Port()),
		"--mysqlx=OFF",
		"--skip-name-resolve=ON",

		"--server-id="+strconv.FormatUint(uint64(o.ServerID), 10),
		"--gtid-mode=ON",
		"--enforce-gtid-consistency=ON",
		"--log-bin=binlog",
		"--relay-log=relay",
		"--binlog-rows-query-log-events=ON",
		"--sync-binlog=1",
		"--innodb-flush-log-at-trx-commit=1",
		"--relay-log-recovery=ON",
		"--skip-replica-start=ON",
		"--replica-net-timeout=4", // a black-holed link looks healthy for so long, and STOP REPLICA may wait so long
		"--report-host="+o.Address,
		"--report-port="+strconv.Itoa(topology.ServiceMySQL.Port()),
		"--super-read-only="+onOff(o.ReadOnly),

		"--max-connections=200",
		"--innodb-buffer-pool-size=32M",
		"--innodb-redo-log-capacity=16M",
		"--table-open-cache=64",
		"--table-definition-cache=400",
		"--performance-schema-max-digest-length=0",
		"--performance-schema-digests-size=0",
		"--performance-schema-events-statements-history-long-size=0",
		"--performance-schema-events-waits-history-long-size=0",
		"--performance-schema-events-stages-history-long-size=0",
		"--performance-schema-events-transactions-history-long-size=0",
		"--performance-schema-max-memory-classes=0",
		"--performance-schema-max-thread-instances=256",
		"--performance-schema-accounts-size=0",
		"--performance-schema-error-size=0",
	)
	return topology.Command{Path: in.Mysqld[0], Args: args}
}

func onOff(b bool) string {
	if b {
		return "ON"
	}
	return "OFF"
}
