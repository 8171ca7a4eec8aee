package provision

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

func TestEnsureFromNothing(t *testing.T) {
	b := newBench(t)
	if _, err := Find(b.cache); !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "kirikae provision") {
		t.Errorf("find in an empty cache: %v", err)
	}
	i := b.mustEnsure()
	root := filepath.Join(b.cache, "mysql/9.7.4/root")
	lib := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	if want := []string{filepath.Join(lib, "ld-linux-x86-64.so.2"), "--library-path", lib, filepath.Join(root, "usr/sbin/mysqld")}; !slices.Equal(i.MySQL.Mysqld, want) {
		t.Errorf("mysqld is started as %q, want %q", i.MySQL.Mysqld, want)
	}
	if i.MySQL.Version != "9.7.4" || i.MySQL.Root != root || i.MySQL.BaseArgs[0] != "--no-defaults" {
		t.Errorf("mysql is %+v", i.MySQL)
	}
	if got := names(t, i.MySQL.Template); !slices.Equal(got, []string{"ibdata1"}) {
		t.Errorf("the template has %q, want only ibdata1: no auto.cnf, no log", got)
	}
	if got := names(t, filepath.Join(root, "usr/share")); slices.Contains(got, "doc") {
		t.Errorf("documentation was not left out: %q", got)
	}
	if i.Java.Version != "17.0.1" || !strings.HasSuffix(i.Java.Path, "jdk/bin/java") {
		t.Errorf("java is %+v", i.Java)
	}
	c := i.Cassandra
	if c.Version != CassandraVersion || len(c.ClassPath) != 2 || !slices.IsSorted(c.ClassPath) || filepath.Base(c.Jamm) != "jamm-0.4.0.jar" || c.Archive == "" {
		t.Errorf("cassandra is %+v", c)
	}
	if filepath.Base(c.Jolokia) != "jolokia-agent-jvm-"+JolokiaVersion+"-javaagent.jar" || slices.Contains(c.ClassPath, c.Jolokia) {
		t.Errorf("the JMX agent is %s", c.Jolokia)
	}
	if !slices.Contains(c.JVMOptions, "--add-opens=java.base/java.nio=ALL-UNNAMED") {
		t.Errorf("options of the JVM lack add-opens: %q", c.JVMOptions)
	}
	if got := names(t, b.cache); slices.Contains(got, "tmp") && len(names(t, filepath.Join(b.cache, "tmp"))) > 0 {
		t.Errorf("temporary files are left")
	}
	b.calls()
	// a second run asks nobody
	if again := b.mustEnsure(); again.MySQL.Template != i.MySQL.Template || again.Cassandra.Archive != c.Archive {
		t.Errorf("a second run gives %+v, the first %+v", again, i)
	}
	if found, err := Find(b.cache); err != nil || found.Cassandra.Archive != c.Archive {
		t.Errorf("find gives %+v, %v", found, err)
	}
	if calls := b.calls(); len(calls) > 0 {
		t.Errorf("a second run called %q", calls)
	}
}

// A damaged or lost part is made again, with what depends on it, and nothing else. Packages that were kept are not fetched again.
func TestEnsureRepairs(t *testing.T) {
	for name, c := range map[string]struct {
		damage          func(i Install) error
		apt, mvn, dumps int
	}{
		"server truncated":   {func(i Install) error { return os.Truncate(filepath.Join(i.MySQL.Root, "usr/sbin/mysqld"), 3) }, 0, 0, 0},
		"server removed":     {func(i Install) error { return os.RemoveAll(i.MySQL.Root) }, 0, 0, 0},
		"template removed":   {func(i Install) error { return os.RemoveAll(i.MySQL.Template) }, 0, 0, 0},
		"a jar removed":      {func(i Install) error { return os.Remove(i.Cassandra.Jamm) }, 0, 1, 1},
		"archive removed":    {func(i Install) error { return os.Remove(i.Cassandra.Archive) }, 0, 0, 1},
		"the agent removed":  {func(i Install) error { return os.Remove(i.Cassandra.Jolokia) }, 0, 1, 0},
		"a jar touched":      {func(i Install) error { return os.Chtimes(i.Cassandra.Jamm, time.Time{}, time.Unix(1, 0)) }, 0, 0, 1},
		"packages not whole": {func(i Install) error { return damagePackages(i) }, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			i := b.mustEnsure()
			b.calls()
			if err := c.damage(i); err != nil {
				t.Fatal(err)
			}
			b.mustEnsure()
			calls := b.calls()
			if apt, mvn, dumps := count(calls, "update"), count(calls, "mvn"), count(calls, "dump"); apt != c.apt || mvn != c.mvn || dumps != c.dumps {
				t.Errorf("repair fetched %d times by apt, %d by Maven and dumped %d archives, want %d, %d and %d", apt, mvn, dumps, c.apt, c.mvn, c.dumps)
			}
			if found, err := Find(b.cache); err != nil || found.Cassandra.Archive == "" {
				t.Errorf("after the repair: %+v, %v", found, err)
			}
		})
	}
}

// A cache that was filled before the agent was asked for lacks nothing else, and keeps all that it has.
func TestEnsureAgentOnly(t *testing.T) {
	b := newBench(t)
	i := b.mustEnsure()
	l, err := readLock(b.cache)
	if err != nil {
		t.Fatal(err)
	}
	delete(l.Parts, partAgent)
	if err := errors.Join(l.write(b.cache), os.RemoveAll(filepath.Dir(i.Cassandra.Jolokia))); err != nil {
		t.Fatal(err)
	}
	if a := Agent(b.cache); a != "" {
		t.Errorf("an agent at %s", a)
	}
	if _, err := Find(b.cache); !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "jolokia is missing") {
		t.Errorf("without the agent: %v", err)
	}
	if _, err := b.ensure(true); !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "no entry for jolokia") {
		t.Errorf("held against a lock file that knows no agent: %v", err)
	}
	b.calls()
	if again := b.mustEnsure(); again.Cassandra.Jolokia != i.Cassandra.Jolokia || again.Cassandra.Archive != i.Cassandra.Archive {
		t.Errorf("%+v, before %+v", again.Cassandra, i.Cassandra)
	}
	if a := Agent(b.cache); a != i.Cassandra.Jolokia {
		t.Errorf("the agent is at %q", a)
	}
	if calls := b.calls(); count(calls, "update") != 0 || count(calls, "mvn") != 1 || count(calls, "dump") != 0 {
		t.Errorf("it called %q", calls)
	}
}

func damagePackages(i Install) error {
	debs, _ := filepath.Glob(filepath.Join(i.Cache, "debs/mysql/mysql-*"))
	return errors.Join(os.Truncate(debs[0], 10), os.RemoveAll(i.MySQL.Root))
}

// What is not whole is not found, whatever the lock file says; a missing archive is only slower.
func TestFindNeedsWhole(t *testing.T) {
	b := newBench(t)
	i := b.mustEnsure()
	if err := os.Remove(i.Cassandra.Archive); err != nil {
		t.Fatal(err)
	}
	if found, err := Find(b.cache); err != nil || found.Cassandra.Archive != "" {
		t.Errorf("without the archive: %+v, %v", found.Cassandra, err)
	}
	if err := os.Remove(i.Cassandra.Jamm); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(b.cache); !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "cassandra is not whole") {
		t.Errorf("without a jar: %v", err)
	}
}

func TestLocked(t *testing.T) {
	refuse := func(t *testing.T, err error, says string) {
		t.Helper()
		if !errors.Is(err, ErrDrift) || !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want a drift that says %q", err, says)
		}
	}
	t.Run("no lock file", func(t *testing.T) {
		b := newBench(t)
		if _, err := b.ensure(true); !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), lockName) {
			t.Errorf("got %v", err)
		}
		if calls := b.calls(); len(calls) > 0 {
			t.Errorf("it called %q", calls)
		}
	})
	t.Run("all as locked", func(t *testing.T) {
		b := newBench(t)
		b.mustEnsure()
		if _, err := b.ensure(true); err != nil {
			t.Error(err)
		}
	})
	t.Run("fetched again, the same", func(t *testing.T) {
		b := newBench(t)
		i := b.mustEnsure()
		for _, d := range []string{i.MySQL.Root, i.MySQL.Template, filepath.Join(b.cache, "debs"), filepath.Join(b.cache, "cassandra")} {
			if err := os.RemoveAll(d); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.ensure(true); err != nil {
			t.Error(err)
		}
	})
	t.Run("same size, other content", func(t *testing.T) {
		b := newBench(t)
		i := b.mustEnsure()
		write(t, filepath.Join(i.MySQL.Root, "usr/share/mysql/charsets/Index.xml"), "y")
		_, err := b.ensure(true)
		refuse(t, err, "mysql")
		if _, err := b.ensure(true); err == nil {
			t.Error("asked again, it accepts")
		}
	})
	t.Run("the mirror has moved on", func(t *testing.T) {
		b := newBench(t)
		i := b.mustEnsure()
		before, _ := os.ReadFile(filepath.Join(b.cache, lockName))
		b.shelveMySQL("9.7.5")
		if err := errors.Join(os.RemoveAll(i.MySQL.Root), os.RemoveAll(filepath.Join(b.cache, "debs"))); err != nil {
			t.Fatal(err)
		}
		_, err := b.ensure(true)
		refuse(t, err, "mysql-server-core_9.7.5-2_amd64.deb is not in the lock file")
		if after, _ := os.ReadFile(filepath.Join(b.cache, lockName)); string(after) != string(before) {
			t.Error("a refused drift changed the lock file")
		}
		if i := b.mustEnsure(); i.MySQL.Version != "9.7.5" || !strings.Contains(i.MySQL.Template, "9.7.5") {
			t.Errorf("unlocked, it is %+v", i.MySQL)
		}
	})
	t.Run("a jar has changed at its source", func(t *testing.T) {
		b := newBench(t)
		i := b.mustEnsure()
		b.jar("jamm-0.4.0.jar", "y")
		if err := os.RemoveAll(filepath.Dir(i.Cassandra.Jamm)); err != nil {
			t.Fatal(err)
		}
		_, err := b.ensure(true)
		refuse(t, err, "jamm-0.4.0.jar has sha256")
		if _, err := os.Stat(filepath.Dir(i.Cassandra.Jamm)); err == nil {
			t.Error("what was refused was installed")
		}
	})
	t.Run("another Java", func(t *testing.T) {
		b := newBench(t)
		b.mustEnsure()
		write(t, filepath.Join(b.dir, "jdk/release"), "JAVA_VERSION=\"17.0.2\"\nJAVA_RUNTIME_VERSION=\"17.0.2+8\"\n")
		_, err := b.ensure(true)
		refuse(t, err, "17.0.2+8")
		if i := b.mustEnsure(); i.Java.Version != "17.0.2" || i.Cassandra.Archive == "" {
			t.Errorf("unlocked, it is %+v with archive %q", i.Java, i.Cassandra.Archive)
		}
	})
}

// Two at once: one fetches, the other waits and finds all there.
func TestEnsureTwoAtOnce(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := b.ensure(false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if calls := b.calls(); count(calls, "update") != 1 || count(calls, "mvn") != 2 {
		t.Errorf("three at once called %q", calls)
	}
}

// Given up in the middle, it stops what it started; the next run does only what was not done.
func TestEnsureInterrupted(t *testing.T) {
	b := newBench(t)
	write(t, filepath.Join(b.dir, "slow-mvn"), "")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := b.session(false).ensure(ctx)
		ended <- err
	}()
	template := filepath.Join(b.cache, "mysql/9.7.4/template")
	until(t, "maven runs and mysql is done", func() bool {
		_, runs := os.Stat(filepath.Join(b.dir, "mvn-runs"))
		l, err := readLock(b.cache)
		_, there := os.Stat(template)
		return runs == nil && err == nil && there == nil && l.Parts[partTemplate].Path != ""
	})
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) || errors.Is(err, topology.ErrEnvironment) {
			t.Errorf("got %v, want only that it was cancelled", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not stop when told")
	}
	if err := os.Remove(filepath.Join(b.dir, "slow-mvn")); err != nil {
		t.Fatal(err)
	}
	b.calls()
	b.mustEnsure()
	if calls := b.calls(); count(calls, "update") != 0 || count(calls, "mvn") != 2 {
		t.Errorf("resumed, it called %q; MySQL was done", calls)
	}
}

func TestEnsureFails(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(b *bench)
		says  string
	}{
		"mirror down":     {func(b *bench) { write(t, filepath.Join(b.dir, "fail-apt"), "") }, "no mirror today"},
		"other series":    {func(b *bench) { b.shelveMySQL("9.8.0") }, "9.8.0-2 in sid, 9.8.0-2 in testing"},
		"no mirror":       {func(b *bench) { write(t, filepath.Join(b.dir, "etc/sources.list"), "") }, "name no Debian mirror"},
		"no daemon":       {func(b *bench) { b.jar("cassandra-all-"+CassandraVersion+".jar", "x") }, daemonClass},
		"node dies":       {func(b *bench) { write(t, filepath.Join(b.dir, "jdk/bin/java"), "#!/bin/sh\necho no memory; exit 1\n") }, "no memory"},
		"mysql dies":      {func(b *bench) { b.shelveBroken() }, "cannot run"},
		"lock unreadable": {func(b *bench) { write(t, filepath.Join(b.cache, lockName), "{") }, lockName},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c.spoil(b)
			_, err := ensureWith(context.Background(), b.session(false))
			if !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an environment error that says %q", err, c.says)
			}
		})
	}
}

// shelveBroken makes apt's server one that cannot run.
func (b *bench) shelveBroken() {
	b.deb("mysql-server-core_9.7.4-2_amd64.deb", map[string]string{
		"usr/bin/helper":                     "x",
		"usr/share/mysql/english/errmsg.sys": "x", "usr/share/mysql/charsets/Index.xml": "x", "usr/lib/mysql/plugin/semisync_source.so": "x",
		"usr/sbin/mysqld": "#!/bin/sh\necho cannot run\nexit 7\n",
	})
}

func TestNeedTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := needTools("apt-get", "mvn")
	if !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "apt-get (") || !strings.Contains(err.Error(), "apt-get install maven") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "dpkg-deb") {
		t.Errorf("it names what is not needed: %v", err)
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s until %s", what)
		}
	}
}

func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
