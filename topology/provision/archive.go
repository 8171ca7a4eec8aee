package provision

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gocql/gocql"
)

// dumpYAML is the configuration of the node that is started once to see which classes a node loads.
//
//go:embed dump.yaml
var dumpYAML string

// archiveKey is what an archive depends on: the Java, and the class path with its order, sizes and times. The JVM checks the
// same and silently ignores an archive that does not fit.
func archiveKey(java Java, build string, c Cassandra) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s\n%s\n", java.Path, build, strings.Join(append(c.JVMOptions, RunFlags()...), " "))
	for _, j := range c.ClassPath {
		st, err := os.Stat(j)
		if err != nil {
			continue // the class path is checked elsewhere
		}
		fmt.Fprintf(sum, "%s %d %d\n", j, st.Size(), st.ModTime().UnixNano())
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// archive starts one Cassandra node on loopback, uses it a little and stops it; the JVM then writes down the classes it had
// loaded (AppCDS). The dump runs without the jamm agent, because classes that an agent has touched are left out; nodes run with
// it. That the node answers also proves that what was fetched works here.
func (s *session) archive(ctx context.Context) error {
	javaPart := s.part(partJava)
	java := javaAt(s.cache, javaPart)
	c, err := cassandraAt(s.cache, s.part(partCassandra))
	if err != nil {
		return err
	}
	p := part{Version: c.Version, Origin: prepared, Key: archiveKey(java, javaPart.Key, c)}
	folder, err := s.temp("archive")
	if err != nil {
		return err
	}
	host, jmx, err := freeLoopback()
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "cassandra.jsa")
	argv, err := dumpCommand(java, c, folder, file, host, jmx)
	if err != nil {
		return err
	}
	node, err := start(ctx, folder, nil, argv...)
	if err != nil {
		return err
	}
	defer node.kill()
	if err := s.p.Step("cassandra "+c.Version+": start a node once", node.out.last, func() error { return s.awake(ctx, node, host) }); err != nil {
		return fmt.Errorf("start a cassandra node once: %w", err)
	}
	if err := s.p.Step("cassandra "+c.Version+": archive its classes", node.out.last, func() error { return node.stop("cassandra", 2*time.Minute) }); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, err := os.Stat(file); err != nil {
		p.Note = "this Java has no archive of its own to build on: " + node.out.last()
		s.p.Say("cassandra %s: no class archive (%s); nodes start slower", c.Version, p.Note)
		return s.record(partArchive, p)
	}
	p.Path = filepath.Join("cassandra", c.Version, "daemon.jsa")
	return s.install(partArchive, p, file, nil)
}

// dumpCommand renders the configuration of the node and is its command.
func dumpCommand(java Java, c Cassandra, folder, file, host string, jmx int) ([]string, error) {
	for name, text := range map[string]string{
		"cassandra.yaml":    strings.ReplaceAll(dumpYAML, "HOST", host),
		"rackdc.properties": "dc=dc1\nrack=r1\n",
		"logback.xml":       dumpLogback,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("configure a cassandra node: %w", err)
		}
	}
	url := func(name string) string { return "file://" + filepath.Join(folder, name) }
	argv := append([]string{java.Path}, c.JVMOptions...)
	argv = append(argv, RunFlags()...)
	return append(argv,
		"-XX:ArchiveClassesAtExit="+file,
		"-XX:+ExitOnOutOfMemoryError", "-XX:+PerfDisableSharedMem",
		"-Djava.io.tmpdir="+folder,
		"-Dlogback.configurationFile="+url("logback.xml"),
		"-Dcassandra.config="+url("cassandra.yaml"),
		"-Dcassandra-rackdc.properties="+url("rackdc.properties"),
		"-Dcassandra.storagedir="+filepath.Join(folder, "data"),
		"-Dcassandra.logdir="+folder,
		"-Dcassandra-foreground=yes",
		fmt.Sprintf("-Dcassandra.jmx.local.port=%d", jmx),
		"-Dcassandra.initial_token=0", "-Dcassandra.auto_bootstrap=false",
		"-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=1000",
		"-Dcassandra.superuser_setup_delay_ms=0", "-Dcassandra.shutdown_announce_in_ms=0",
		"-cp", strings.Join(c.ClassPath, ":"), daemonClass), nil
}

const dumpLogback = `<configuration><appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder>` +
	`<pattern>%-5level [%thread] %date{HH:mm:ss.SSS} %logger{0} - %msg%n</pattern></encoder></appender>` +
	`<root level="INFO"><appender-ref ref="OUT"/></root></configuration>
`

// answers waits for the node's CQL port and runs what loads the classes of ordinary use.
func answers(ctx context.Context, node *child, host string) error {
	const limit = 2 * time.Minute
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	address := net.JoinHostPort(host, "9042")
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-node.done:
			return fmt.Errorf("it ended (%v)%s", node.err, node.out.quote())
		case <-deadline.C:
			return fmt.Errorf("no CQL at %s within %v: %w%s", address, limit, err, node.out.quote())
		case <-tick.C:
		}
	}
	cluster := gocql.NewCluster(host)
	cluster.DisableInitialHostLookup = true
	cluster.ProtoVersion = 4
	cluster.NumConns = 1
	cluster.Timeout, cluster.ConnectTimeout = 20*time.Second, 20*time.Second
	cluster.MaxWaitSchemaAgreement = 2 * time.Second
	cluster.Consistency = gocql.LocalQuorum
	cluster.Logger = silent{}
	session, err := cluster.CreateSession()
	if err != nil {
		return fmt.Errorf("connect to it: %w%s", err, node.out.quote())
	}
	defer session.Close()
	for _, cql := range []string{
		`CREATE KEYSPACE warm WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}`,
		`CREATE TABLE warm.t (id text PRIMARY KEY, v bigint)`,
		`INSERT INTO warm.t (id, v) VALUES ('a', 1)`,
		`SELECT id, v FROM warm.t`,
		`INSERT INTO warm.t (id, v) VALUES ('a', 2) IF NOT EXISTS`,
		`SELECT * FROM system_views.pending_hints`,
		`ALTER KEYSPACE warm WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}`,
	} {
		if err := session.Query(cql).WithContext(ctx).Exec(); err != nil {
			return fmt.Errorf("%s: %w%s", cql, err, node.out.quote())
		}
	}
	for i := range 20 { // prepared, as a client's
		if err := session.Query(`INSERT INTO warm.t (id, v) VALUES (?, ?)`, fmt.Sprint(i), int64(i)).WithContext(ctx).Exec(); err != nil {
			return fmt.Errorf("insert: %w%s", err, node.out.quote())
		}
	}
	return nil
}

type silent struct{}

func (silent) Print(...any)          {}
func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// freeLoopback finds a loopback address on which no world's node lives (second octet 251; worlds have 2 to 250) and where
// Cassandra's ports are free, and a free port for JMX, which listens on 127.0.0.1.
func freeLoopback() (host string, jmx int, err error) {
	for range 20 {
		host = fmt.Sprintf("127.251.%d.%d", rand.IntN(256), 1+rand.IntN(254))
		if err = errors.Join(free(host, 7000), free(host, 9042)); err == nil {
			break
		}
	}
	if err != nil {
		return "", 0, missing("find a free loopback address", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", 0, missing("find a free port", err)
	}
	jmx = l.Addr().(*net.TCPAddr).Port
	return host, jmx, l.Close()
}

func free(host string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		return err
	}
	return l.Close()
}
