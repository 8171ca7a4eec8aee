package cassandra

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kirikae/kirikae/topology"
)

// renderYAML writes a node's configuration.
//
// commitlog_sync is batch: a write is synced before it is acknowledged. With periodic, a killed node forgets up to the last
// 100 ms of acknowledged writes, as its log is replayed up to the last sync marker only; batch must have no
// commitlog_sync_period. Hints are written every second, so that a killed node leaves them. The rest makes a node small.
func renderYAML(o NodeOptions) string {
	var b strings.Builder
	for _, kv := range [][2]string{
		{"cluster_name", strconv.Quote(o.Cluster)},
		{"num_tokens", "1"},
		{"initial_token", strconv.Quote(o.Token)},
		{"auto_bootstrap", strconv.FormatBool(o.Bootstrap)},
		{"partitioner", "org.apache.cassandra.dht.Murmur3Partitioner"},
		{"endpoint_snitch", "GossipingPropertyFileSnitch"},
		{"dynamic_snitch", "false"},
		{"listen_address", o.Listen},
		{"broadcast_address", o.Broadcast},
		{"listen_on_broadcast_address", strconv.FormatBool(o.ListenOnBroadcast)},
		{"rpc_address", o.Listen},
		{"broadcast_rpc_address", o.Listen},
		{"start_native_transport", "true"},
		{"native_transport_port", strconv.Itoa(topology.ServiceCQL.Port())},
		{"storage_port", strconv.Itoa(topology.ServiceCassandra.Port())},

		{"commitlog_sync", "batch"},
		{"commitlog_segment_size", "8MiB"},
		{"commitlog_total_space", "64MiB"},
		{"commitlog_disk_access_mode", "legacy"},
		{"auto_snapshot", "false"},
		{"snapshot_before_compaction", "false"},
		{"cdc_enabled", "false"},

		{"hinted_handoff_enabled", strconv.FormatBool(!o.Alone)},
		{"hinted_handoff_throttle", "10240KiB"},
		{"hints_flush_period", "1s"},
		{"max_hint_window", "3h"},
		{"phi_convict_threshold", "6"},

		{"memtable_heap_space", "64MiB"},
		{"memtable_offheap_space", "64MiB"},
		{"memtable_flush_writers", "1"},
		{"concurrent_reads", "8"},
		{"concurrent_writes", "32"}, // each waits for its sync: enough of them share one
		{"concurrent_counter_writes", "4"},
		{"concurrent_materialized_view_writes", "2"},
		{"concurrent_compactors", "1"},
		{"compaction_throughput", "0MiB/s"},
		{"file_cache_size", "32MiB"},
		{"file_cache_enabled", "false"},
		{"key_cache_size", "4MiB"},
		{"row_cache_size", "0MiB"},
		{"counter_cache_size", "0MiB"},
		{"prepared_statements_cache_size", "4MiB"},
		{"column_index_cache_size", "2KiB"},
		{"repair_session_space", "32MiB"},
		{"native_transport_max_threads", "64"},
		{"internode_compression", "none"}, // bytes on a link are what they look like
		{"read_request_timeout", "5s"},
		{"range_request_timeout", "10s"},
		{"write_request_timeout", "5s"},
		{"request_timeout", "10s"},
		{"authenticator", "AllowAllAuthenticator"},
		{"authorizer", "AllowAllAuthorizer"},
		{"materialized_views_enabled", "false"},
		{"sasi_indexes_enabled", "false"},
		{"trickle_fsync", "false"},
		{"disk_optimization_strategy", "ssd"},
		{"stream_entire_sstables", "true"},
	} {
		fmt.Fprintf(&b, "%s: %s\n", kv[0], kv[1])
	}
	fmt.Fprintf(&b, `seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: %q
`, strings.Join(o.Seeds, ","))
	return b.String()
}

const logbackXML = `<configuration scan="false">
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level [%thread] %date{HH:mm:ss.SSS} %logger{0} - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="STDOUT"/></root>
</configuration>
`
