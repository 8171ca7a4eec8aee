package images

import (
	"slices"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/fixtures"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/provision"
)

func text(t *testing.T) string {
	t.Helper()
	b, err := fixtures.FS.ReadFile("images.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDefaultTable(t *testing.T) {
	table, err := DefaultTable()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{containers.ImageCassandra, containers.ImageMySQL, containers.ImageWAN, containers.ImagePayment} {
		e, ok := table.Entry(n)
		if !ok || !slices.Contains(Names(), n) {
			t.Errorf("no entry for %s, which containers ask for", n)
		}
		if own := n == containers.ImageWAN || n == containers.ImagePayment; own != (e.Official == nil) {
			t.Errorf("%s: official image %v", n, e.Official)
		}
	}
	c, _ := table.Entry("cassandra")
	if i := c.Official.Install; i.Java == nil || i.Cassandra == nil || i.MySQL != nil || !slices.Equal(i.Cassandra.JVMOptions, provision.JVMOptions()) || len(i.Cassandra.JVMOptions) < 20 {
		t.Errorf("cassandra: %+v", i)
	}
	m, _ := table.Entry("mysql")
	if i := m.Official.Install; i.MySQL == nil || i.MySQL.Mysqld[0] != "/usr/sbin/mysqld" || i.MySQL.Template != "" {
		t.Errorf("mysql: %+v", i)
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	good := text(t)
	for _, c := range []struct{ name, old, new, want string }{
		{"empty file", good, "", "x.yaml:1:1: the file is empty"},
		{"two documents", "images:\n", "a: b\n---\nimages:\n", "one table a file"},
		{"not YAML", "images:\n", "images: [\n", "x.yaml:"},
		{"unknown field", "      references:", "      reference:", `:13:7: unknown field "reference", did you mean "references"?`},
		{"unknown image", "- name: payment", "- name: paymant", `:51:11: unknown image "paymant", did you mean "payment"?`},
		{"image missing", "- name: payment", "- name: paymant", "image payment is missing"},
		{"image twice", "- name: payment", "- name: wan", "image wan is in the table twice"},
		{"unknown recipe", "recipe: mysql", "recipe: mysq", `:39:15: unknown recipe "mysq", did you mean "mysql"?`},
		{"unknown program", "paymentd: /paymentd", "payment: /paymentd", `:57:18: unknown program "payment", did you mean "paymentd"?`},
		{"program's path", "paymentd: /paymentd", "paymentd: paymentd", `:57:19: paymentd is "paymentd", wanted a whole path`},
		{"inside elsewhere", "inside: /kirikae/inside", "inside: /inside", "programs: inside must be at /kirikae/inside"},
		{"user", `user: "0:0"`, `user: root`, `:47:13: user is "root", wanted uid:gid in numbers`},
		{"no tag", "mysql:9.7.4", "mysql", `:31:20: "mysql" has neither tag nor digest`},
		{"no reference", "mysql:9.7.4", `"My SQL:1"`, `:31:20: "My SQL:1" is no reference`},
		{"no references", "references: [mysql:9.7.4, mysql:9.7]", "references: []", "references is missing"},
		{"relative path", "path: /opt/java/openjdk/bin/java", "path: java", `:18:17: path is "java", wanted a whole path`},
		{"no class path", "class_path: [/opt/cassandra/lib/*]", "class_path: []", "class_path is missing"},
		{"no mysqld", "mysqld: [/usr/sbin/mysqld]", "mysqld: []", "mysqld is missing"},
		{"no build", "    build:\n      recipe: scratch # nothing but the programs\n      user: \"0:0\" # it sets addresses\n      programs:\n        inside: /kirikae/inside\n", "", "image wan: build is missing"},
		{"no Java", "        java:\n          version: \"17\"\n          path: /opt/java/openjdk/bin/java\n", "", "cassandra without java"},
		{"wrong type", "images:\n", "images: 7\nother:\n", "x.yaml:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the table has no %q", c.old)
			}
			_, err := Load("x.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nhas no %q", err, c.want)
			}
		})
	}
	if _, err := Load("x.yaml", []byte(good)); err != nil {
		t.Error(err)
	}
	digested := strings.Replace(good, "mysql:9.7.4", "mysql@sha256:"+strings.Repeat("0", 64), 1)
	if _, err := Load("x.yaml", []byte(digested)); err != nil {
		t.Errorf("a digest: %v", err)
	}
}

func TestParsePolicy(t *testing.T) {
	for in, want := range map[string]Policy{"": Auto, "auto": Auto, "official": Official, "built": Built} {
		if got, err := ParsePolicy(in); got != want || err != nil {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	if _, err := ParsePolicy("offical"); err == nil || !strings.Contains(err.Error(), `did you mean "official"`) {
		t.Error(err)
	}
}
