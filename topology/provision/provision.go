// Package provision finds the servers that a world in the runtime local is made of — MySQL 9.7, a Java 17 runtime and
// Cassandra 5.0 — or fetches them with the machine's ordinary package clients (apt, Maven) into the user's cache. Everything is
// unpacked there: no root is needed, and nothing on the system changes. It also prepares once what every world would otherwise
// pay for at each start: an empty MySQL data folder, and an archive of Cassandra's loaded classes (AppCDS).
//
// No registry is named here: which mirror serves Debian's packages is read from the machine's apt sources, and Maven reads its
// own settings.
package provision

import (
	"context"
	"errors"
)

// Versions that a world runs.
const (
	MySQLSeries      = "9.7"   // LTS; any patch level
	JavaSeries       = "17"    // the newest that Cassandra 5.0 supports
	CassandraVersion = "5.0.9" // 5.0.8 can leave a peer unseen after one lost gossip echo
	JolokiaVersion   = "2.2.9" // JMX over HTTP
)

// ErrDrift says that something fetched or present is not what the lock file records. Only Options.Locked asks.
var ErrDrift = errors.New("differs from the lock file")

// Install is everything that a world's servers are started from. Paths are absolute.
type Install struct {
	Cache     string // the folder that all of it lives in
	MySQL     MySQL
	Java      Java
	Cassandra Cassandra
}

// MySQL is an unpacked MySQL server. Start it as Mysqld + BaseArgs + your own options, in this order.
type MySQL struct {
	Version  string   // "9.7.4"
	Root     string   // the unpacked root: ROOT/usr/sbin/mysqld
	Mysqld   []string // how to start the program: its own loader, --library-path, folders, mysqld
	BaseArgs []string // --no-defaults first, then where its files are; --user=root where root runs it
	Template string   // an initialised data folder without server identity (auto.cnf) and without binary logs: copy it
}

// Java is a Java runtime.
type Java struct {
	Version string // "17.0.15"
	Path    string // the program java
}

// Cassandra is Cassandra's class path and what its JVM wants. An archive holds only for exactly this class path, in this
// order, on this Java.
type Cassandra struct {
	Version    string
	ClassPath  []string // jars, in a fixed order
	Jamm       string   // the jar for -javaagent; also on the class path
	Jolokia    string   // the jar of a second -javaagent, which serves JMX over HTTP; not on the class path; "": there is none
	Archive    string   // for -XX:SharedArchiveFile; "" where this Java cannot make one
	JVMOptions []string // --add-exports, --add-opens and -D that Cassandra needs on Java 17
}

// Options of Ensure. The zero value is the user's own cache, unlocked and silent.
type Options struct {
	Cache  string            // "": $XDG_CACHE_HOME/kirikae or ~/.cache/kirikae
	Locked bool              // refuse what differs from the lock file (ErrDrift)
	Log    func(line string) // a line per step with the time since the start, and a heartbeat while one is long; nil: silent
}

// RunFlags are the JVM's options that Cassandra nodes run with: a small node of a drill, quick to start. The archive is dumped
// with the same. A heap that begins at 64 MiB starts no sooner, and is collected as a whole whenever it grows: pauses of 100 to 160 ms that
// customers of a drill feel. One that begins at 256 MiB takes 10 MiB more in all, and none of these was seen;
// nor of those that come of room for classes, which begins at 21 MiB otherwise.
func RunFlags() []string {
	return []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms256m", "-Xmx400m", "-XX:MetaspaceSize=96m", "-Xss256k"}
}

// Ensure returns the install of a cache and first fetches and prepares what it lacks. A second call fetches nothing. Two at
// once are safe: the second waits for the first. An interrupted one goes on where the last whole step ended.
func Ensure(ctx context.Context, o Options) (Install, error) {
	cache, err := CacheDir(o.Cache)
	if err != nil {
		return Install{}, err
	}
	return ensure(ctx, cache, o)
}
