package cassandra

import (
	"fmt"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/provision"
)

// NodeOptions is one node of a cluster. Paths are those of the place where the node runs, addresses are IP addresses.
type NodeOptions struct {
	DataDir   string // absolute; its configuration goes to DataDir/conf, before each start
	Cluster   string // name of the cluster, the same on all nodes: nodes of different worlds never join
	Listen    string // address for other nodes of its region, and for clients
	Broadcast string // its name in the ring: the door at which the other region dials it
	DC        string
	Rack      string   // "": r1
	Token     string   // of Token
	Seeds     []string // broadcast addresses; all nodes are seeds, so that none waits for another
	Bootstrap bool     // a node without data takes them from the others when it joins; seeds never do
	Replace   bool     // it takes the place of the node that had its address, at its first start
	JMXPort   int      // on 127.0.0.1; 0: no JMX port, so that nodes of one machine do not clash
	Heap      string   // maximal heap, "400m"; "": that
	// ListenOnBroadcast makes the node listen on its broadcast address too, and dial its region's nodes there: where each node
	// has a network of its own that carries that address. Where one loopback carries all (false), a door stands there.
	ListenOnBroadcast bool
	// Alone starts the node for its data's sake, while its peers cannot be reached: it waits for nobody, sends nobody hints,
	// and answers for its own region.
	Alone bool
	// Setpriv is the path of setpriv, put before java; "": look it up when this process is root and has CAP_IPC_LOCK to give away.
	// With it, Cassandra would lock its whole heap in memory.
	Setpriv string
}

// Token is the token of node i, from 1, of n in region dc, from 1: the ring cut into equal parts, and no token twice.
func Token(i, n, dc int) string {
	t := new(big.Int).Lsh(big.NewInt(1), 64)
	t.Div(t, big.NewInt(int64(n)))
	t.Mul(t, big.NewInt(int64(i-1)))
	t.Sub(t, new(big.Int).Lsh(big.NewInt(1), 63))
	return t.Add(t, big.NewInt(int64(100*dc))).String()
}

// Command starts a node. It writes its log to standard output.
func Command(java provision.Java, in provision.Cassandra, o NodeOptions) topology.Command {
	conf := filepath.Join(o.DataDir, "conf")
	yaml, rackdc, logback := filepath.Join(conf, "cassandra.yaml"), filepath.Join(conf, "cassandra-rackdc.properties"), filepath.Join(conf, "logback.xml")
	heap := o.Heap
	if heap == "" {
		heap = "400m"
	}

	var args []string
	path := java.Path
	if p := setpriv(o); p != "" {
		path = p
		args = append(args, "--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock", java.Path)
	}
	args = append(args, in.JVMOptions...)
	args = append(args, provision.RunFlags()...)
	args = append(args,
		"-Xmx"+heap, // the last one counts
		"-javaagent:"+in.Jamm,
		"-XX:+ExitOnOutOfMemoryError",
		"-XX:+PerfDisableSharedMem",
	)
	if in.Jolokia != "" {
		args = append(args, fmt.Sprintf("-javaagent:%s=host=%s,port=%d,discoveryEnabled=false", in.Jolokia, o.Listen, topology.ServiceJMX.Port()))
	}
	if in.Archive != "" {
		args = append(args, "-XX:SharedArchiveFile="+in.Archive)
	}
	args = append(args,
		"-Dlogback.configurationFile="+fileURL(logback),
		"-Dcassandra.config="+fileURL(yaml),
		"-Dcassandra-rackdc.properties="+fileURL(rackdc),
		"-Dcassandra.storagedir="+o.DataDir,
		"-Dcassandra.logdir="+o.DataDir,
		"-Dcassandra-foreground=yes",
		"-Dcassandra.superuser_setup_delay_ms=0",
		"-Dcassandra.shutdown_announce_in_ms=0",
		// What Cassandra would measure at each start with 100 000 rows: half of all CPU time until it answers.
		"-Dcassandra.memtable.row_overhead_size=180",
		// How exactly it knows the time for its time-outs, all of them seconds: it wakes up that often for it, every 2 ms otherwise.
		"-Dcassandra.approximate_time_precision_ms=20",
	)
	if o.JMXPort != 0 {
		args = append(args, "-Dcassandra.jmx.local.port="+strconv.Itoa(o.JMXPort), "-Dcom.sun.management.jmxremote.authenticate=false")
	}
	if o.Replace {
		args = append(args, "-Dcassandra.replace_address_first_boot="+o.Broadcast)
		if !o.Bootstrap || slices.Contains(o.Seeds, o.Broadcast) {
			args = append(args, "-Dcassandra.allow_unsafe_replace=true") // it comes back without data
		}
	}
	if o.Alone {
		args = append(args, aloneFlags...)
	} else {
		args = append(args, clusterFlags...)
	}
	args = append(args, "-cp", strings.Join(in.ClassPath, ":"), "org.apache.cassandra.service.CassandraDaemon")
	return topology.Command{Path: path, Args: args, Files: map[string]string{
		yaml:    renderYAML(o),
		rackdc:  renderRackDC(o),
		logback: logbackXML,
	}}
}

// clusterFlags are the waits that never failed when all nodes of both regions start at once.
var clusterFlags = []string{
	"-Dcassandra.ring_delay_ms=5000",
	"-Dcassandra.gossip_settle_min_wait_ms=500",
	"-Dcassandra.gossip_settle_interval_ms=250",
	"-Dcassandra.gossip_settle_poll_success_required=2",
}

// aloneFlags wait for nobody: no shadow round, in which a node asks its peers whether its address is taken (2 s without an
// answer), no settling of gossip. skip_sync leaves writing to the kernel: what is read here was synced before it was lost, and
// replaying it flushes a dozen tables.
var aloneFlags = []string{
	"-Dcassandra.ring_delay_ms=500",
	"-Dcassandra.allow_unsafe_join=true",
	"-Dcassandra.skip_wait_for_gossip_to_settle=0",
	"-Dcassandra.skip_sync=true",
}

// fileURL is a path as Cassandra wants it; a # in it would otherwise cut it off.
func fileURL(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }

func setpriv(o NodeOptions) string {
	if o.Setpriv != "" || os.Geteuid() != 0 {
		return o.Setpriv
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || !mayLockMemory(string(status)) {
		return "" // as in a container: there is nothing to take away
	}
	path, err := exec.LookPath("setpriv")
	if err != nil {
		return ""
	}
	return path
}

// mayLockMemory says whether a process with this status (proc(5)) could give a child CAP_IPC_LOCK.
func mayLockMemory(status string) bool {
	for line := range strings.Lines(status) {
		if set, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			return err != nil || caps&(1<<unix.CAP_IPC_LOCK) != 0
		}
	}
	return true
}

func renderRackDC(o NodeOptions) string {
	rack := o.Rack
	if rack == "" {
		rack = "r1"
	}
	// prefer_local: nodes of one region dial each other's listen address, not the door of the broadcast address. Where every node
	// listens on both, the broadcast address will do, and nothing has to be learnt first.
	return fmt.Sprintf("dc=%s\nrack=%s\nprefer_local=%t\n", o.DC, rack, !o.ListenOnBroadcast)
}
