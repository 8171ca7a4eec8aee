package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// mysqlPackage is Debian's server without its system integration.
const mysqlPackage = "mysql-server-core"

// mysqlSuites are the Debian suites that may have the series, newest first: Debian's releases have MariaDB.
func mysqlSuites() []string { return []string{"sid", "testing"} }

// MySQLBootOptions are what the template was initialised with. A server that runs on a copy of it should say the same, or InnoDB
// resizes its log at the first start.
func MySQLBootOptions() []string { return []string{"--innodb-redo-log-capacity=8M"} }

// mysqlLayout finds a server's files below a prefix ("/usr").
func mysqlLayout(prefix string) (args []string, err error) {
	find := func(what, file string, places ...string) string {
		for _, p := range places {
			if _, e := os.Stat(filepath.Join(prefix, p, file)); e == nil {
				return filepath.Join(prefix, p)
			}
		}
		err = errors.Join(err, fmt.Errorf("find %s of MySQL below %s: no %s in %s", what, prefix, file, strings.Join(places, ", ")))
		return ""
	}
	share := find("messages", "english/errmsg.sys", "share/mysql", "share")
	charsets := find("character sets", "charsets/Index.xml", "share/mysql", "share")
	plugins := find("plugins", "semisync_source.so", "lib/mysql/plugin", "lib64/mysql/plugin", "lib/plugin")
	if err != nil {
		return nil, err
	}
	args = []string{
		"--no-defaults", // must be first
		"--basedir=" + prefix,
		"--lc-messages-dir=" + share,
		"--character-sets-dir=" + filepath.Join(charsets, "charsets"),
		"--plugin-dir=" + plugins,
		"--secure-file-priv=NULL",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root") // mysqld refuses to run as root unless told
	}
	return args, nil
}

// mysqlAt is how the server of a part is started.
func mysqlAt(cache string, p part) (MySQL, error) {
	m := MySQL{Version: p.Version}
	if p.Origin == machine {
		m.Root, m.Mysqld = "/", []string{p.Path}
		args, err := mysqlLayout(filepath.Dir(filepath.Dir(p.Path)))
		m.BaseArgs = args
		return m, err
	}
	m.Root = filepath.Join(cache, p.Path)
	return unpackedMySQL(m.Root, p.Version)
}

func unpackedMySQL(root, version string) (MySQL, error) {
	m := MySQL{Version: version, Root: root}
	var err error
	if m.Mysqld, err = loader(root, filepath.Join(root, "usr/sbin/mysqld")); err != nil {
		return MySQL{}, err
	}
	if m.BaseArgs, err = mysqlLayout(filepath.Join(root, "usr")); err != nil {
		return MySQL{}, err
	}
	return m, nil
}

// mysqlVersion asks a server program; ok is false when it is not of the series.
func mysqlVersion(ctx context.Context, argv []string) (version string, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := output(ctx, append(argv[:len(argv):len(argv)], "--no-defaults", "--version")...)
	if err != nil {
		return "", false, fmt.Errorf("ask %s for its version: %w", argv[len(argv)-1], err)
	}
	m := versionWord.FindStringSubmatch(out)
	if m == nil {
		return "", false, fmt.Errorf("ask %s for its version: it says %q", argv[len(argv)-1], strings.TrimSpace(out))
	}
	return m[1], strings.HasPrefix(m[1], MySQLSeries+".") && !strings.Contains(out, "MariaDB"), nil
}

var versionWord = regexp.MustCompile(`Ver (\d+\.\d+\.\d+)`)

// machineMySQL is the machine's own server, when it is of the series and whole.
func machineMySQL(ctx context.Context) (part, bool) {
	// an ordinary user's PATH lacks sbin
	for _, name := range []string{"mysqld", "/usr/sbin/mysqld", "/usr/local/mysql/bin/mysqld"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			continue
		}
		version, ok, err := mysqlVersion(ctx, []string{path})
		if err != nil || !ok {
			continue
		}
		if _, err := mysqlLayout(filepath.Dir(filepath.Dir(path))); err != nil {
			continue
		}
		t, err := measure(path, true)
		if err != nil {
			continue
		}
		return part{Version: version, Origin: machine, Path: path, Tree: t}, true
	}
	return part{}, false
}

// mysql makes the server be there.
func (s *session) mysql(ctx context.Context) error {
	if p, ok := machineMySQL(ctx); ok {
		s.p.Say("mysql %s: found at %s", p.Version, p.Path)
		return s.record(partMySQL, p)
	}
	debs, err := s.packages(ctx, partMySQL, mysqlPackage, s.mysqlSources)
	if err != nil {
		return err
	}
	// perl is for helper scripts that no world runs
	root, err := s.unpacked(ctx, "mysql", debs, "perl", "libperl")
	if err != nil {
		return err
	}
	if err := keepOnly(filepath.Join(root, "usr/bin"), "mysqlbinlog"); err != nil {
		return err
	}
	m, err := unpackedMySQL(root, "")
	if err != nil {
		return err
	}
	version, ok, err := mysqlVersion(ctx, m.Mysqld)
	if err != nil {
		return missing("fetched MySQL does not run", err)
	}
	if !ok {
		return missing("fetch MySQL", fmt.Errorf("the package is MySQL %s, a world runs %s", version, MySQLSeries))
	}
	return s.install(partMySQL, part{Version: version, Origin: fetched, Path: filepath.Join("mysql", version, "root")}, root, debs)
}

// mysqlSources are the suites to try, each with the test whether it has the series.
func (s *session) mysqlSources(all []source) ([]candidate, error) {
	var tries []candidate
	for _, suite := range mysqlSuites() {
		if src, ok := debianSuite(all, suite); ok {
			tries = append(tries, candidate{suite, []source{src}, func(version string) bool { return strings.HasPrefix(upstream(version), MySQLSeries+".") }})
		}
	}
	if len(tries) == 0 {
		return nil, missing("fetch MySQL "+MySQLSeries, errors.New("apt's sources on this machine name no Debian mirror (an address that ends in /debian): "+
			"add one, or install MySQL "+MySQLSeries+" so that mysqld is on the PATH"))
	}
	return tries, nil
}

// upstream is a Debian version without epoch: "1:9.7.4-2" is "9.7.4-2".
func upstream(version string) string {
	if _, v, ok := strings.Cut(version, ":"); ok {
		return v
	}
	return version
}

// template makes the initialised data folder: what mysqld --initialize-insecure makes, started once so that keys and system
// tables are there, stopped in order, and without the server's identity, which each copy makes for itself.
func (s *session) template(ctx context.Context) error {
	server := s.part(partMySQL)
	m, err := mysqlAt(s.cache, server)
	if err != nil {
		return err
	}
	data, err := s.temp("template")
	if err != nil {
		return err
	}
	argv := append(append(append([]string{}, m.Mysqld...), m.BaseArgs...), MySQLBootOptions()...)
	argv = append(argv, "--datadir="+data, "--innodb-buffer-pool-size=32M", "--skip-log-bin")
	if _, err := s.p.run(ctx, "mysql "+m.Version+": prepare an empty data folder", s.cache, nil, append(argv, "--initialize-insecure")...); err != nil {
		return missingUnlessStopped(ctx, err)
	}
	c, err := start(ctx, s.cache, nil, append(argv, "--skip-networking", "--mysqlx=OFF", "--socket=s", "--pid-file=p")...)
	if err != nil {
		return err
	}
	defer c.kill()
	if err := s.p.Step("mysql "+m.Version+": start it once", c.out.last, func() error { return ready(ctx, c, "ready for connections", time.Minute) }); err != nil {
		return fmt.Errorf("start mysql once: %w", err)
	}
	if err := c.stop("mysql", time.Minute); err != nil {
		return err
	}
	if c.err != nil {
		return fmt.Errorf("stop mysql in order: %w%s", c.err, c.out.quote())
	}
	for _, g := range []string{"auto.cnf", "binlog.*", "s", "s.lock", "p", "ib_buffer_pool", "*.err"} {
		files, _ := filepath.Glob(filepath.Join(data, g))
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				return fmt.Errorf("prepare mysql template: %w", err)
			}
		}
	}
	// Its files are mostly zeroes; with holes instead, a copy for a node costs a third.
	sparse := data + "-sparse"
	if _, err := output(ctx, "cp", "-a", "--sparse=always", data, sparse); err != nil {
		return fmt.Errorf("prepare mysql template: %w", err)
	}
	p := part{Version: m.Version, Origin: prepared, Path: filepath.Join("mysql", m.Version, "template"), Key: templateKey(server)}
	return s.install(partTemplate, p, sparse, nil)
}

// templateKey is the server that a template was made by.
func templateKey(server part) string { return server.Version + " " + server.Tree.SHA256 }

// ready waits until a program writes a text, bounded. The error says what it wrote last.
func ready(ctx context.Context, c *child, text string, limit time.Duration) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if strings.Contains(c.out.String(), text) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.done:
			return fmt.Errorf("it ended (%v) before it said %q%s", c.err, text, c.out.quote())
		case <-deadline.C:
			return fmt.Errorf("it did not say %q within %v%s", text, limit, c.out.quote())
		case <-tick.C:
		}
	}
}

// keepOnly empties a folder but for some files.
func keepOnly(folder string, names ...string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("prune %s: %w", folder, err)
	}
	for _, e := range entries {
		keep := false
		for _, n := range names {
			keep = keep || e.Name() == n
		}
		if !keep {
			if err := os.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
				return fmt.Errorf("prune %s: %w", folder, err)
			}
		}
	}
	return nil
}
