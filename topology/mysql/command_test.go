package mysql

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/topology/provision"
)

var rewrite = flag.Bool("update", false, "write testdata anew")

// golden holds what a rendering must be; go test -update writes it anew.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
	}
}

func TestCommand(t *testing.T) {
	in := provision.MySQL{Mysqld: []string{"/c/ld.so", "--library-path", "/c/lib", "/c/mysqld"}, BaseArgs: []string{"--no-defaults", "--basedir=/c/usr", "--user=root"}}
	c := Command(in, NodeOptions{DataDir: "/w/tokyo-mysql-1", Address: "127.9.1.21", ServerID: 1021, ReadOnly: true})
	if want := []string{"--library-path", "/c/lib", "/c/mysqld", "--defaults-file=/w/tokyo-mysql-1.cnf", "--basedir=/c/usr", "--user=root"}; c.Path != "/c/ld.so" || !slices.Equal(c.Args, want) {
		t.Errorf("%s %q, want %q", c.Path, c.Args, want)
	}
	if len(c.Files) != 1 {
		t.Fatalf("files %v", c.Files)
	}
	golden(t, "replica.cnf", c.Files["/w/tokyo-mysql-1.cnf"])
	if len(in.BaseArgs) != 3 || in.BaseArgs[0] != "--no-defaults" {
		t.Errorf("the install was changed: %q", in.BaseArgs)
	}
	primary := renderConfig(NodeOptions{DataDir: "/d"})
	if !strings.Contains(primary, "\nsuper_read_only = OFF\n") {
		t.Error("a writable server starts read-only")
	}
}

func TestPrepare(t *testing.T) {
	template := t.TempDir()
	zeroes := make([]byte, 300<<10)
	content := map[string]string{
		"mysql.ibd":          string(zeroes) + "page" + string(zeroes), // its end must not be cut off
		"mysql/user.sdi":     "user",
		"empty":              "",
		"private_key.pem":    "key",
		"auto.cnf":           "identity",
		"binlog.000001":      "log",
		"ibtmp1":             "temporary",
		"mysqld.sock.lock":   "1",
		"sub/deep/file.data": "x",
	}
	for name, c := range content {
		path := filepath.Join(template, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(c), 0o600))
	}
	in := provision.MySQL{Template: template}
	check := func(dir string) {
		t.Helper()
		for name, want := range content {
			got, err := os.ReadFile(filepath.Join(dir, name))
			switch name {
			case "auto.cnf", "binlog.000001", "ibtmp1", "mysqld.sock.lock":
				if err == nil {
					t.Errorf("%s was copied", name)
				}
			default:
				if err != nil || string(got) != want {
					t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
				}
			}
		}
	}
	base := t.TempDir()

	absent := NodeOptions{DataDir: filepath.Join(base, "a", "data")}
	must(t, Prepare(in, absent))
	check(absent.DataDir)

	present := NodeOptions{DataDir: filepath.Join(base, "b")} // empty, with the rest of an interrupted copy beside it
	must(t, os.MkdirAll(present.DataDir, 0o755))
	must(t, os.MkdirAll(present.DataDir+".part", 0o755))
	must(t, os.WriteFile(present.DataDir+".part/mysql.ibd", []byte("half"), 0o600))
	must(t, Prepare(in, present))
	check(present.DataDir)

	must(t, os.WriteFile(filepath.Join(present.DataDir, "mysql.ibd"), []byte("payments"), 0o600))
	must(t, Prepare(in, present)) // again: never over data
	if b, _ := os.ReadFile(filepath.Join(present.DataDir, "mysql.ibd")); string(b) != "payments" {
		t.Error("Prepare wrote over data")
	}

	foreign := NodeOptions{DataDir: filepath.Join(base, "c")}
	must(t, os.MkdirAll(foreign.DataDir, 0o755))
	must(t, os.WriteFile(filepath.Join(foreign.DataDir, "thesis.tex"), nil, 0o600))
	if err := Prepare(in, foreign); err == nil || !strings.Contains(err.Error(), "holds no MySQL data") {
		t.Errorf("Prepare of somebody's folder: %v", err)
	}
	if err := Prepare(provision.MySQL{Template: filepath.Join(base, "none")}, NodeOptions{DataDir: filepath.Join(base, "d")}); err == nil {
		t.Error("Prepare without a template succeeded")
	}
	if _, err := os.Stat(filepath.Join(base, "d")); err == nil {
		t.Error("a failed Prepare left a folder that looks whole")
	}
}
