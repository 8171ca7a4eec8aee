package provision

import (
	"context"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDrift(t *testing.T) {
	a := part{Version: "1", Origin: fetched, Path: "x/1", Tree: tree{1, 2, "aa"}, Fetched: []fetchedFile{{"a.deb", 1, "11"}, {"b.deb", 1, "22"}}}
	change := func(f func(p *part)) part {
		p := a
		p.Fetched = slices.Clone(a.Fetched)
		f(&p)
		return p
	}
	for says, now := range map[string]part{
		"":                                  a,
		"version is 2, locked 1":            change(func(p *part) { p.Version = "2" }),
		"origin is machine, locked fetched": change(func(p *part) { p.Origin = machine }),
		"a.deb has sha256 33":               change(func(p *part) { p.Fetched[0].SHA256 = "33" }),
		"c.deb is not in the lock file":     change(func(p *part) { p.Fetched[1].Name = "c.deb" }),
		"b.deb is locked and not among":     change(func(p *part) { p.Fetched = p.Fetched[:1] }),
		"contents of x/1 have sha256 bb…":   change(func(p *part) { p.Tree.SHA256 = "bb" }),
		"and 1 more": change(func(p *part) {
			p.Fetched = []fetchedFile{{Name: "c"}, {Name: "d"}, {Name: "e"}, {Name: "f"}}
		}),
	} {
		err := drift("mysql", a, now)
		if says == "" {
			if err != nil {
				t.Errorf("the same differs: %v", err)
			}
			continue
		}
		if !errors.Is(err, ErrDrift) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	m := part{Version: "17", Origin: machine, Path: "/a/java", Key: "17+1"}
	other := m
	other.Key = "17+2"
	if err := drift("java", m, other); err == nil || !strings.Contains(err.Error(), "build is 17+2, locked 17+1") {
		t.Errorf("another build: %v", err)
	}
}

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/b"), "12345")
	if err := os.Symlink("b", filepath.Join(dir, "a/l")); err != nil {
		t.Fatal(err)
	}
	first, err := measure(dir, true)
	if err != nil || first.Files != 2 || first.SHA256 == "" {
		t.Fatalf("got %+v, %v", first, err)
	}
	same := func(what string, want bool) {
		t.Helper()
		now, err := measure(dir, true)
		if err != nil || (now == first) != want {
			t.Errorf("%s: same %v, want %v (%v)", what, now == first, want, err)
		}
	}
	same("nothing done", true)
	write(t, filepath.Join(dir, "a/b"), "12346")
	same("content", false)
	write(t, filepath.Join(dir, "a/b"), "12345")
	same("content back", true)
	if err := errors.Join(os.Remove(filepath.Join(dir, "a/l")), os.Symlink("c", filepath.Join(dir, "a/l"))); err != nil {
		t.Fatal(err)
	}
	same("target of a link", false)
	if _, err := measure(filepath.Join(dir, "none"), false); err == nil {
		t.Error("a folder that is not there measures")
	}
}

// An absolute link leads into the root if its target is there; others stay.
func TestRelink(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "etc/java/conf"), "x")
	if err := os.MkdirAll(filepath.Join(root, "usr/lib/java"), 0o755); err != nil {
		t.Fatal(err)
	}
	links := map[string]string{"conf": "/etc/java/conf", "elsewhere": "/proc/self", "beside": "conf"}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(root, "usr/lib/java", name)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // twice changes nothing more
		if err := relink(root); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"conf": "../../../etc/java/conf", "elsewhere": "/proc/self", "beside": "conf"} {
		if got, err := os.Readlink(filepath.Join(root, "usr/lib/java", name)); got != want {
			t.Errorf("%s leads to %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestLoader(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  string // with ROOT; "" is an error
	}{
		"merged":     {[]string{"usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"}, "ROOT/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path ROOT/usr/lib/x86_64-linux-gnu P"},
		"two places": {[]string{"lib/aarch64-linux-gnu/ld-linux-aarch64.so.1", "usr/lib/aarch64-linux-gnu/libz.so.1"}, "ROOT/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1 --library-path ROOT/lib/aarch64-linux-gnu:ROOT/usr/lib/aarch64-linux-gnu P"},
		"none":       {[]string{"usr/lib/x86_64-linux-gnu/libz.so.1"}, ""},
		"no folder":  {[]string{"lib64/ld-linux-x86-64.so.2"}, ""},
	} {
		root := t.TempDir()
		for _, f := range c.files {
			write(t, filepath.Join(root, f), "x")
		}
		argv, err := loader(root, "P")
		if got := strings.ReplaceAll(strings.Join(argv, " "), root, "ROOT"); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestMySQLLayout(t *testing.T) {
	for name, files := range map[string][]string{
		"Debian":  {"share/mysql/english/errmsg.sys", "share/mysql/charsets/Index.xml", "lib/mysql/plugin/semisync_source.so"},
		"tarball": {"share/english/errmsg.sys", "share/charsets/Index.xml", "lib/plugin/semisync_source.so"},
	} {
		prefix := t.TempDir()
		for i, f := range files {
			if _, err := mysqlLayout(prefix); err == nil {
				t.Errorf("%s: with %d of its files a server is whole", name, i)
			}
			write(t, filepath.Join(prefix, f), "x")
		}
		args, err := mysqlLayout(prefix)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := []string{"--no-defaults", "--basedir=" + prefix, "--secure-file-priv=NULL",
			"--lc-messages-dir=" + filepath.Join(prefix, filepath.Dir(filepath.Dir(files[0]))),
			"--character-sets-dir=" + filepath.Join(prefix, filepath.Dir(files[1])),
			"--plugin-dir=" + filepath.Join(prefix, filepath.Dir(files[2]))}
		for _, w := range want {
			if !slices.Contains(args, w) {
				t.Errorf("%s: %q lacks %s", name, args, w)
			}
		}
		if args[0] != "--no-defaults" || slices.Contains(args, "--user=root") != (os.Geteuid() == 0) {
			t.Errorf("%s: got %q", name, args)
		}
	}
}

func TestJavaVersion(t *testing.T) {
	for name, c := range map[string]struct{ release, says, version, build string }{
		"release file":    {"IMPLEMENTOR=\"X\"\nJAVA_RUNTIME_VERSION=\"17.0.15+6-X\"\nJAVA_VERSION=\"17.0.15\"\n", "exit 9", "17.0.15", "17.0.15+6-X"},
		"asked":           {"", "echo 'openjdk version \"17.0.9\" 2023-10-17' >&2; echo 'OpenJDK Runtime Environment (build 17.0.9+9-Y)' >&2", "17.0.9", "17.0.9+9-Y"},
		"old, asked":      {"", "echo 'java version \"1.8.0_392\"' >&2", "1.8.0_392", "1.8.0_392"},
		"says nothing":    {"", "true", "", ""},
		"does not run":    {"", "exit 3", "", ""},
		"release, broken": {"nothing here", "exit 3", "", ""},
	} {
		home := t.TempDir()
		if c.release != "" {
			write(t, filepath.Join(home, "release"), c.release)
		}
		write(t, filepath.Join(home, "bin/java"), "#!/bin/sh\n"+c.says+"\n")
		version, build, err := javaVersion(context.Background(), filepath.Join(home, "bin/java"))
		if version != c.version || build != c.build || (err != nil) != (c.version == "") {
			t.Errorf("%s: got %q, %q, %v", name, version, build, err)
		}
	}
	for version, want := range map[string]bool{"17": true, "17.0.1": true, "1.8.0_392": false, "21.0.1": false, "170.1": false} {
		if isJavaSeries(version) != want {
			t.Errorf("%s is of the series: %v, want %v", version, !want, want)
		}
	}
}

// The script finds its root beside it, after a move too, and keeps its process id.
func TestJavaScript(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "with space")
	jvm := filepath.Join(folder, "root/usr/lib/jvm/java-17-x")
	write(t, filepath.Join(jvm, "lib/server/libjvm.so"), "x")
	write(t, filepath.Join(jvm, "bin/java"), "#!/bin/sh\necho \"$$ $*\"\n")
	write(t, filepath.Join(folder, "root/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"), "#!/bin/sh\n[ \"$1\" = --library-path ] || exit 9\n[ -d \"$2\" ] || exit 8\nshift 2\nexec \"$@\"\n")
	if _, err := writeJavaScript(folder); err != nil {
		t.Fatal(err)
	}
	moved := folder + " moved"
	if err := os.Rename(folder, moved); err != nil {
		t.Fatal(err)
	}
	c, err := start(context.Background(), "", nil, filepath.Join(moved, "java"), "-a", "b c")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.wait("java"); err != nil {
		t.Fatal(err)
	}
	pid, args, _ := strings.Cut(strings.TrimSpace(c.out.String()), " ")
	if args != "-a b c" || pid != strconv.Itoa(c.cmd.Process.Pid) {
		t.Errorf("it says %q, started as process %d", c.out.String(), c.cmd.Process.Pid)
	}
	if _, err := writeJavaScript(t.TempDir()); err == nil {
		t.Error("an empty root has a Java")
	}
}

func TestAPTConfig(t *testing.T) {
	text := aptConfig("/c/apt", "arm64")
	for _, want := range []string{
		"#clear APT::Update::Post-Invoke;\n", `Dir::State::status "/c/apt/status";`, `Dir::Cache::archives "/c/apt/archives";`,
		`Dir::Etc::sourcelist "/c/apt/sources.list";`, `APT::Architectures:: "arm64";`, `Acquire::Check-Valid-Until "false";`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, "Proxy") || strings.Contains(text, "Dir::Etc::parts") {
		t.Error("the machine's own network settings must stay")
	}
}

func TestUpstream(t *testing.T) {
	for v, want := range map[string]string{"9.7.4-2": "9.7.4-2", "1:9.7.4-2": "9.7.4-2", "": ""} {
		if got := upstream(v); got != want {
			t.Errorf("%q: got %q, want %q", v, got, want)
		}
	}
}

func TestMemAvailable(t *testing.T) {
	for text, want := range map[string]uint64{"MemTotal: 1 kB\nMemAvailable:   2048 kB\n": 2 << 20, "MemTotal: 1 kB\n": 0, "MemAvailable: x kB\n": 0} {
		if got, ok := memAvailable(text); got != want || ok != (want > 0) {
			t.Errorf("%q: got %d, %v, want %d", text, got, ok, want)
		}
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("HOME", "/home/x")
	t.Setenv("XDG_CACHE_HOME", "")
	if got, err := CacheDir(""); got != "/home/x/.cache/kirikae" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	t.Setenv("XDG_CACHE_HOME", "/y")
	if got, err := CacheDir(""); got != "/y/kirikae" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := CacheDir("/z"); got != "/z" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	if _, err := CacheDir(""); err == nil {
		t.Error("without HOME there is a cache")
	}
}

// A program that ends early, stays silent or does not end is an error that says what it wrote.
func TestChild(t *testing.T) {
	ctx := context.Background()
	c, err := start(ctx, "", nil, "sh", "-c", "echo one; echo two >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.wait("thing"); err == nil || !strings.Contains(err.Error(), "thing: exit status 3") || !strings.Contains(err.Error(), "two") {
		t.Errorf("got %v", err)
	}
	if err := ready(ctx, c, "three", time.Second); err == nil || !strings.Contains(err.Error(), `it ended (exit status 3) before it said "three"`) {
		t.Errorf("got %v", err)
	}
	c.kill() // harmless
	if _, err := start(ctx, "", nil, "no-such-program-here"); err == nil || !strings.Contains(err.Error(), "no-such-program-here") {
		t.Errorf("got %v", err)
	}
	c, err = start(ctx, "", nil, "sh", "-c", "trap '' TERM; echo deaf; sleep 30 & wait; wait")
	if err != nil {
		t.Fatal(err)
	}
	if err := ready(ctx, c, "deaf", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := ready(ctx, c, "three", 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "deaf") {
		t.Errorf("got %v", err)
	}
	if err := c.stop("deaf one", 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "still running") {
		t.Errorf("got %v", err)
	}
}

// Given up, a program gets the chance to end in order, and what it started ends too.
func TestChildCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	file := filepath.Join(t.TempDir(), "orderly")
	c, err := start(ctx, "", nil, "sh", "-c", "trap 'echo yes > "+file+"; exit 0' TERM; sleep 60 & echo $!; wait")
	if err != nil {
		t.Fatal(err)
	}
	if err := ready(ctx, c, "\n", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-c.done
	if _, err := os.Stat(file); err != nil {
		t.Error("it was not asked to end")
	}
	pid := strings.TrimSpace(c.out.String())
	until(t, "its own child has ended", func() bool {
		stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func TestTail(t *testing.T) {
	var o tail
	for range 5000 {
		if _, err := o.Write([]byte(strings.Repeat("x", 99) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Write([]byte("10%\r\x1b[0m20%\x1b[1;31m\n")); err != nil {
		t.Fatal(err)
	}
	if n := len(o.String()); n > 2*tailBytes {
		t.Errorf("keeps %d bytes", n)
	}
	if got := o.last(); got != "20%" {
		t.Errorf("last is %q", got)
	}
}

func TestFreeLoopback(t *testing.T) {
	host, port, err := freeLoopback()
	if err != nil || !strings.HasPrefix(host, "127.251.") || port == 0 {
		t.Errorf("got %q, %d, %v", host, port, err)
	}
}

// It names every tool, what is wrong and how to mend it, and is quick.
func TestDoctor(t *testing.T) {
	b := newBench(t)
	byName := func() map[string]Need {
		all := map[string]Need{}
		for _, n := range Doctor(context.Background(), b.cache) {
			if n.Why == "" || n.Have == "" || n.OK != (n.Fix == "") {
				t.Errorf("%+v: want a reason, what is there, and a fix exactly when it is not fine", n)
			}
			all[n.Name] = n
		}
		return all
	}
	if n := byName(); n["servers"].OK || !n["Debian mirror"].OK || !n["mvn"].OK || n["servers"].Fix != "kirikae provision" {
		t.Errorf("before: %+v", n)
	}
	b.mustEnsure()
	if err := os.Remove(filepath.Join(b.dir, "bin/apt-config")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Join(b.dir, "bin"))
	begin := time.Now()
	if n := byName(); !n["servers"].OK || !n["apt-config"].OK || !strings.Contains(n["Java 17"].Have, "17.0.1") {
		t.Errorf("after: %+v", n)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestMavenHome(t *testing.T) {
	t.Setenv("HOME", "/somewhere/else")
	t.Setenv("MAVEN_OPTS", "-Xmx1g")
	if got := mavenHome(); !slices.Equal(got, []string{"MAVEN_OPTS=-Xmx1g -Duser.home=/somewhere/else"}) {
		t.Errorf("got %q", got)
	}
	u, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if errors.As(err, new(user.UnknownUserIdError)) {
		t.Skipf("compares with the home that the user database has, and this user is not in it: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", u.HomeDir)
	if got := mavenHome(); got != nil {
		t.Errorf("in the ordinary home: got %q", got)
	}
}
