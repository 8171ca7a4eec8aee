package provision

import (
	"archive/zip"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bench is a machine whose package clients are scripts: apt, dpkg and Maven bring what a test put on their shelves, and every
// call is written down. What they bring are scripts too: a server that initialises, says it is ready and ends when told.
type bench struct {
	t     *testing.T
	dir   string
	cache string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if p, ok := machineMySQL(context.Background()); ok {
		t.Skipf("fetches a MySQL from a made-up shelf, and this machine's own, %s at %s, would be used instead", p.Version, p.Path)
	}
	b := &bench{t: t, dir: t.TempDir()}
	b.cache = filepath.Join(b.dir, "cache dir") // with a space
	write(t, filepath.Join(b.dir, "calls"), "")
	write(t, filepath.Join(b.dir, "etc/sources.list"), "deb http://mirror.example/debian bookworm main\n")
	script := func(name, text string) {
		write(t, filepath.Join(b.dir, "bin", name), "#!/bin/sh\nset -e\nB='"+b.dir+"'\n"+text)
	}
	script("apt-config", `echo "FILE='$B/etc/sources.list'"; echo "FOLDER='$B/etc/d/'"`+"\n")
	script("apt-cache", `echo apt-cache >> $B/calls; echo Package: x; echo "Version: $(cat $B/mysql-version)-2"`+"\n")
	script("apt-get", `echo "apt-get $*" >> $B/calls
[ ! -e $B/fail-apt ] || { echo "E: no mirror today" >&2; exit 100; }
conf=; prev=; for a; do [ "$prev" = -c ] && conf=$a; prev=$a; done
case " $* " in
*" --print-uris "*) for d in $B/shelf/*.deb; do echo "'http://mirror.example/x' $(basename $d) $(stat -c %s $d) SHA256:0"; done ;;
*" --download-only "*) to=$(sed -n 's/^Dir::Cache::archives "\(.*\)";/\1/p' "$conf"); cp $B/shelf/*.deb "$to/" ;;
esac
`)
	script("dpkg", "echo amd64\n")
	script("dpkg-deb", `mkdir -p "$3"; tar -xf "$2" -C "$3"`+"\n")
	script("mvn", `echo "mvn $*" >> $B/calls
[ ! -e $B/slow-mvn ] || { touch $B/mvn-runs; sleep 60; }
for a; do case $a in -DoutputDirectory=*) to=${a#-DoutputDirectory=} ;; esac; done
mkdir -p "$to"
case "$*" in
*excludeTransitive*) cp $B/shelf/jolokia-*.jar "$to/" ;;
*) for j in $B/shelf/*.jar; do case $j in */jolokia-*) ;; *) cp $j "$to/" ;; esac; done ;;
esac
`)
	// Java: the fake of a JVM that dumps its classes when it is told to end.
	home := filepath.Join(b.dir, "jdk")
	write(t, filepath.Join(home, "release"), "JAVA_VERSION=\"17.0.1\"\nJAVA_RUNTIME_VERSION=\"17.0.1+1\"\n")
	write(t, filepath.Join(home, "bin/java"), `#!/bin/sh
for a; do case $a in -XX:ArchiveClassesAtExit=*) to=${a#-XX:ArchiveClassesAtExit=} ;; esac; done
echo dump >> "`+filepath.Join(b.dir, "calls")+`"
trap 'echo classes > "$to"; exit 143' TERM
echo awake
while :; do sleep 0.05; done
`)
	t.Setenv("JAVA_HOME", home)
	t.Setenv("PATH", filepath.Join(b.dir, "bin")+":/usr/bin:/bin")
	b.shelveMySQL("9.7.4")
	b.deb("libc6_1_amd64.deb", map[string]string{
		"usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": "#!/bin/sh\nshift 2\nexec \"$@\"\n",
	})
	b.jar("cassandra-all-"+CassandraVersion+".jar", "org/apache/cassandra/service/CassandraDaemon.class")
	b.jar("jamm-0.4.0.jar", "x")
	b.jar("jolokia-agent-jvm-"+JolokiaVersion+"-javaagent.jar", "x")
	return b
}

// shelveMySQL makes a version of the server what apt has.
func (b *bench) shelveMySQL(version string) {
	write(b.t, filepath.Join(b.dir, "mysql-version"), version)
	old, _ := filepath.Glob(filepath.Join(b.dir, "shelf/mysql-server-core_*"))
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			b.t.Fatal(err)
		}
	}
	b.deb("mysql-server-core_"+version+"-2_amd64.deb", map[string]string{
		"usr/bin/helper":                          "x",
		"usr/share/doc/mysql/readme":              "x",
		"usr/share/mysql/english/errmsg.sys":      "x",
		"usr/share/mysql/charsets/Index.xml":      "x",
		"usr/lib/mysql/plugin/semisync_source.so": "x",
		"usr/sbin/mysqld": `#!/bin/sh
for a; do case $a in
--version) echo "mysqld  Ver ` + version + `-2 for Linux"; exit 0 ;;
--datadir=*) d=${a#--datadir=} ;;
--initialize-insecure) init=1 ;;
esac; done
[ -n "$init" ] && { echo data > "$d/ibdata1"; exit 0; }
echo id > "$d/auto.cnf"
trap 'exit 0' TERM
echo ready for connections
while :; do sleep 0.05; done
`,
	})
}

// deb puts a package on the shelf: a tar here, which the fake dpkg-deb unpacks.
func (b *bench) deb(name string, files map[string]string) {
	b.t.Helper()
	root := filepath.Join(b.t.TempDir(), "root")
	for f, text := range files {
		write(b.t, filepath.Join(root, f), text)
	}
	out := filepath.Join(b.dir, "shelf", name)
	write(b.t, out, "")
	c, err := start(context.Background(), root, nil, "tar", "--mtime=@0", "--sort=name", "-cf", out, ".")
	if err == nil {
		err = c.wait("tar")
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) jar(name string, entries ...string) {
	b.t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, e := range entries {
		if _, err := z.Create(e); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		b.t.Fatal(err)
	}
	write(b.t, filepath.Join(b.dir, "shelf", name), buf.String())
}

// session is one run of Ensure on the bench; its Cassandra node is awake when it says so.
func (b *bench) session(locked bool) *session {
	return &session{cache: b.cache, locked: locked, p: newProgress(func(l string) { b.t.Log(l) }),
		awake: func(ctx context.Context, node *child, _ string) error {
			return ready(ctx, node, "awake", 10*time.Second)
		}}
}

func (b *bench) ensure(locked bool) (Install, error) {
	b.t.Helper()
	return b.session(locked).ensure(context.Background())
}

func (b *bench) mustEnsure() Install {
	b.t.Helper()
	i, err := b.ensure(false)
	if err != nil {
		b.t.Fatal(err)
	}
	return i
}

// calls returns what was asked of package clients since the last time, and forgets it.
func (b *bench) calls() []string {
	b.t.Helper()
	name := filepath.Join(b.dir, "calls")
	text, err := os.ReadFile(name)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.Truncate(name, 0); err != nil {
		b.t.Fatal(err)
	}
	return strings.Fields(strings.TrimSpace(string(text)))
}

// count is how often a word was among calls.
func count(calls []string, word string) int {
	n := 0
	for _, c := range calls {
		if c == word {
			n++
		}
	}
	return n
}
