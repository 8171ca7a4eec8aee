package mysql

import (
	"path/filepath"
	"strconv"
	"strings"

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
	ReadOnly bool   // start super_read_only, whatever SET PERSIST has stored: what a lost server held is read, and not written
}

// Socket is the path of the server's unix socket, for Open. Root has no password and can come in by it only.
func (o NodeOptions) Socket() string { return filepath.Join(o.DataDir, socketName) }

// Config is the path of the server's option file, beside its data: wiping the data leaves it.
func (o NodeOptions) Config() string { return o.DataDir + ".cnf" }

// Command starts a server. It writes its log to standard error.
//
// The options are a file, not arguments after --no-defaults: with that, the server would also ignore mysqld-auto.cnf, and what
// an operator has stored with SET PERSIST would silently be forgotten at the next start (seen on 9.7.4).
func Command(in provision.MySQL, o NodeOptions) topology.Command {
	args := append([]string(nil), in.Mysqld[1:]...)
	args = append(args, "--defaults-file="+o.Config()) // must come first
	for _, a := range in.BaseArgs {
		if a != "--no-defaults" {
			args = append(args, a)
		}
	}
	return topology.Command{Path: in.Mysqld[0], Args: args, Files: map[string]string{o.Config(): renderConfig(o)}}
}

// renderConfig writes a server's options.
//
// Durability is full: a commit is on disk, in the engine and in the binary log, before it is acknowledged; and a replica's
// relay log is fetched again after a crash. The row events carry their statements (binlog_rows_query_log_events), by which
// Transactions tells payments. Replication never starts by itself: after a restart an operator decides.
//
// The rest makes a server small, and spends little on what a drill does not ask about. Pages are written when the redo log is
// 70 % full, as a drill is over by then: with the defaults and so small a pool, each page is written again and again, 770 a second.
// Sessions and appliers keep their tables open: with 64 for all of them, 170 a second were opened anew. A session writes the redo
// log itself, as MySQL's manual recommends for few of them. Nothing is instrumented; the tables that tell of replication are there
// all the same.
func renderConfig(o NodeOptions) string {
	var b strings.Builder
	b.WriteString("[mysqld]\n")
	if o.ReadOnly { // one that was promoted has its writability persisted, which wins over this file
		b.WriteString("persisted_globals_load = OFF\n")
	}
	for _, kv := range [][2]string{
		{"datadir", option(o.DataDir)},
		{"socket", socketName},
		{"pid_file", option(filepath.Join(o.DataDir, pidName))},
		{"bind_address", o.Address},
		{"port", strconv.Itoa(topology.ServiceMySQL.Port())},
		{"mysqlx", "OFF"},
		{"plugin_load_add", "mysql_clone.so"}, // installing it later would write, which a server that is rebuilt may not
		{"skip_name_resolve", "ON"},
		{"max_connections", "200"},

		{"server_id", strconv.FormatUint(uint64(o.ServerID), 10)},
		{"report_host", o.Address},
		{"report_port", strconv.Itoa(topology.ServiceMySQL.Port())},
		{"super_read_only", onOff(o.ReadOnly)},
		{"gtid_mode", "ON"},
		{"enforce_gtid_consistency", "ON"},
		{"log_bin", "binlog"},
		{"relay_log", "relay"},
		{"binlog_rows_query_log_events", "ON"},
		{"sync_binlog", "1"},
		{"innodb_flush_log_at_trx_commit", "1"},
		{"relay_log_recovery", "ON"},
		{"skip_replica_start", "ON"},
		{"replica_parallel_workers", "48"}, // while every worker is busy their coordinator asks again and again for a free one, and takes a CPU for it
		{"replica_net_timeout", "4"},       // a black-holed link looks healthy for so long, and STOP REPLICA may wait so long

		// Room for every page of a drill's data, and for what a recovery reads of the redo log beside them. With 32M the first start after a CLONE
		// once looked for a free page for good ("Difficult to find free blocks in the buffer pool"): in a pool that small what a recovery reads
		// leaves fewer pages than those from which any is written out.
		{"innodb_buffer_pool_size", "96M"},
		{"innodb_redo_log_capacity", "32M"},
		{"innodb_max_dirty_pages_pct_lwm", "0"},
		{"innodb_adaptive_flushing_lwm", "70"},
		{"innodb_log_writer_threads", "OFF"},
		{"table_open_cache", "1000"},
		{"table_open_cache_instances", "4"},
		{"table_definition_cache", "400"},
		{"performance_schema_instrument", "'%=OFF'"},
		{"performance_schema_consumer_global_instrumentation", "OFF"},
		{"performance_schema_max_digest_length", "0"},
		{"performance_schema_digests_size", "0"},
		{"performance_schema_events_statements_history_long_size", "0"},
		{"performance_schema_events_waits_history_long_size", "0"},
		{"performance_schema_events_stages_history_long_size", "0"},
		{"performance_schema_events_transactions_history_long_size", "0"},
		{"performance_schema_max_memory_classes", "0"},
		{"performance_schema_max_thread_instances", "256"},
		{"performance_schema_accounts_size", "0"},
		{"performance_schema_error_size", "0"},
	} {
		b.WriteString(kv[0] + " = " + kv[1] + "\n")
	}
	return b.String()
}

// option quotes a value for an option file: a # in it would otherwise begin a comment.
func option(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
}

func onOff(b bool) string {
	if b {
		return "ON"
	}
	return "OFF"
}
