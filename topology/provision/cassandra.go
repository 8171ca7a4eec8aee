package provision

import (
	"archive/zip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// pom names the one artifact; Maven resolves the rest.
//
//go:embed pom.xml
var pom string

// jvm17 is what Cassandra wants of Java 17, from its own conf/jvm17-server.options and conf/jvm17-clients.options, less what is
// about collectors.
//
//go:embed jvm17.options
var jvm17 string

const daemonClass = "org.apache.cassandra.service.CassandraDaemon"

// cassandraAt is the class path of a part.
func cassandraAt(cache string, p part) (Cassandra, error) {
	c, err := classPath(filepath.Join(cache, p.Path))
	c.Version = p.Version
	return c, err
}

// classPath reads a folder of jars, in the order of their names.
func classPath(folder string) (Cassandra, error) {
	jars, err := filepath.Glob(filepath.Join(folder, "*.jar"))
	if err != nil {
		return Cassandra{}, fmt.Errorf("read class path of Cassandra: %w", err)
	}
	slices.Sort(jars)
	c := Cassandra{ClassPath: jars, JVMOptions: JVMOptions()}
	for _, j := range jars {
		if strings.HasPrefix(filepath.Base(j), "jamm-") {
			c.Jamm = j
		}
	}
	if c.Jamm == "" {
		return Cassandra{}, fmt.Errorf("read class path of Cassandra: no jamm among %d jars in %s", len(jars), folder)
	}
	return c, nil
}

// hasDaemon says whether a jar of the class path holds the server.
func hasDaemon(jars []string) (bool, error) {
	want := strings.ReplaceAll(daemonClass, ".", "/") + ".class"
	for _, j := range jars {
		if !strings.HasPrefix(filepath.Base(j), "cassandra-all-") {
			continue
		}
		z, err := zip.OpenReader(j)
		if err != nil {
			return false, fmt.Errorf("read %s: %w", filepath.Base(j), err)
		}
		found := slices.ContainsFunc(z.File, func(f *zip.File) bool { return f.Name == want })
		if err := z.Close(); err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// jars makes Cassandra's class path be there, by Maven with the user's and the machine's own settings.
func (s *session) jars(ctx context.Context) error {
	folder, err := s.temp("cassandra")
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "pom.xml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(pom, "CASSANDRA_VERSION", CassandraVersion)), 0o644); err != nil {
		return fmt.Errorf("fetch cassandra: %w", err)
	}
	lib := filepath.Join(folder, "lib")
	if _, err := s.p.run(ctx, "cassandra "+CassandraVersion+": fetch jars by Maven", folder, mavenHome(),
		"mvn", "-B", "-Dstyle.color=never", "-f", file, "dependency:copy-dependencies", "-DoutputDirectory="+lib, "-DincludeScope=runtime"); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return missing("Maven cannot fetch Cassandra (is the repository in Maven's settings reachable?)", err)
	}
	c, err := classPath(lib)
	if err != nil {
		return err
	}
	if ok, err := hasDaemon(c.ClassPath); err != nil || !ok {
		return errors.Join(missing("fetch Cassandra", fmt.Errorf("no %s in %d jars", daemonClass, len(c.ClassPath))), err)
	}
	return s.install(partCassandra, part{Version: CassandraVersion, Origin: fetched, Path: filepath.Join("cassandra", CassandraVersion, "lib")}, lib, c.ClassPath)
}

// mavenHome makes Maven use this environment's home. Java takes the one of the password file, which in a container may be
// another, or nowhere.
func mavenHome() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil && u.HomeDir == home {
		return nil
	}
	return []string{strings.TrimSpace("MAVEN_OPTS=" + os.Getenv("MAVEN_OPTS") + " -Duser.home=" + home)}
}
