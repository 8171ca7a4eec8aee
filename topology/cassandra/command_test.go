package cassandra

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
	java := provision.Java{Path: "/c/java"}
	in := provision.Cassandra{ClassPath: []string{"/c/a.jar", "/c/b.jar"}, Jamm: "/c/jamm.jar", Jolokia: "/c/jolokia.jar", Archive: "/c/a.jsa", JVMOptions: []string{"--add-opens=x"}}
	o := NodeOptions{
		DataDir: "/w/tokyo-cassandra-1", Cluster: "kirikae-7", Listen: "127.9.1.1", Broadcast: "127.9.121.1", DC: "tokyo",
		Token: Token(1, 1, 1), Seeds: []string{"127.9.121.1", "127.9.112.1"}, Setpriv: "/c/setpriv",
	}
	c := Command(java, in, o)
	golden(t, "command.txt", c.Path+"\n"+strings.Join(c.Args, "\n")+"\n")
	golden(t, "cassandra.yaml", c.Files["/w/tokyo-cassandra-1/conf/cassandra.yaml"])
	golden(t, "cassandra-rackdc.properties", c.Files["/w/tokyo-cassandra-1/conf/cassandra-rackdc.properties"])
	if c.Files["/w/tokyo-cassandra-1/conf/logback.xml"] == "" || len(c.Files) != 3 {
		t.Errorf("files %v", c.Files)
	}

	o.Alone, o.JMXPort, o.Heap, o.Rack, in.Archive = true, 7201, "1g", "r3", ""
	alone := Command(java, in, o)
	var more, less []string
	for _, a := range alone.Args {
		if !slices.Contains(c.Args, a) {
			more = append(more, a)
		}
	}
	for _, a := range c.Args {
		if !slices.Contains(alone.Args, a) {
			less = append(less, a)
		}
	}
	golden(t, "alone.txt", "+ "+strings.Join(more, "\n+ ")+"\n- "+strings.Join(less, "\n- ")+"\n")
	if !strings.Contains(alone.Files["/w/tokyo-cassandra-1/conf/cassandra.yaml"], "\nhinted_handoff_enabled: false\n") {
		t.Error("a node that is started alone would send its hints")
	}
	if !strings.Contains(alone.Files["/w/tokyo-cassandra-1/conf/cassandra-rackdc.properties"], "rack=r3\n") {
		t.Error("the rack is lost")
	}
}

// TestCommandInNetworkOfItsOwn: a node that listens on its broadcast address differs from another in nothing else.
func TestCommandInNetworkOfItsOwn(t *testing.T) {
	o := NodeOptions{DataDir: "/d", Listen: "10.9.16.1", Broadcast: "10.9.34.1", DC: "tokyo", Seeds: []string{"10.9.34.1"}, Setpriv: "/c/setpriv"}
	shared := Command(provision.Java{}, provision.Cassandra{}, o)
	o.ListenOnBroadcast = true
	own := Command(provision.Java{}, provision.Cassandra{}, o)
	if !slices.Equal(shared.Args, own.Args) {
		t.Errorf("arguments %v instead of %v", own.Args, shared.Args)
	}
	for path, change := range map[string][2]string{
		"/d/conf/cassandra.yaml":              {"\nlisten_on_broadcast_address: false\n", "\nlisten_on_broadcast_address: true\n"},
		"/d/conf/cassandra-rackdc.properties": {"prefer_local=true\n", "prefer_local=false\n"},
		"/d/conf/logback.xml":                 {"", ""},
	} {
		if want := strings.Replace(shared.Files[path], change[0], change[1], 1); own.Files[path] != want || !strings.Contains(want, change[1]) {
			t.Errorf("%s is\n%s", path, own.Files[path])
		}
	}
}

func TestMayLockMemory(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n": true,
		"CapBnd:\t00000000a80425fb\n": false, // Docker's default
		"CapBnd:\t0000000000004000\n": true,
		"Name:\tx\n":                  true,
		"CapBnd:\tx\n":                true,
	} {
		if got := mayLockMemory(status); got != want {
			t.Errorf("%q: %v", status, got)
		}
	}
}

func TestFileURL(t *testing.T) {
	for in, want := range map[string]string{"/w/a": "file:///w/a", "/w/a b#c": "file:///w/a%20b%23c"} {
		if got := fileURL(in); got != want {
			t.Errorf("fileURL(%q) is %s, want %s", in, got, want)
		}
	}
}

func TestYAMLKeepsWhatIsAcknowledged(t *testing.T) {
	y := renderYAML(NodeOptions{})
	if !strings.Contains(y, "\ncommitlog_sync: batch\n") || strings.Contains(y, "commitlog_sync_period") {
		t.Error("acknowledged writes would not survive a SIGKILL")
	}
}

func TestToken(t *testing.T) {
	for _, n := range []int{1, 2, 3} {
		seen := map[string]bool{}
		for dc := 1; dc <= 2; dc++ {
			for i := 1; i <= n; i++ {
				tok := Token(i, n, dc)
				if seen[tok] {
					t.Errorf("token %s twice", tok)
				}
				seen[tok] = true
			}
		}
	}
	for _, c := range []struct {
		i, n, dc int
		want     string
	}{
		{1, 1, 1, "-9223372036854775708"},
		{1, 1, 2, "-9223372036854775608"},
		{2, 2, 1, "100"},
		{2, 3, 2, "-3074457345618258403"},
		{3, 3, 1, "3074457345618258702"},
	} {
		if got := Token(c.i, c.n, c.dc); got != c.want {
			t.Errorf("Token(%d, %d, %d) is %s, want %s", c.i, c.n, c.dc, got, c.want)
		}
	}
}
