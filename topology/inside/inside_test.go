package inside

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/fixtures"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/edge"
	"github.com/kirikae/kirikae/topology/provision"
	"github.com/kirikae/kirikae/topology/wan"
)

func TestParseDoor(t *testing.T) {
	got, err := ParseDoor("tokyo>osaka/mysql,osaka-mysql-1,10.9.19.21:3306,10.9.26.21:3306,10.9.32.21:3306,20001")
	want := Door{Tap: 20001, Route: wan.Route{From: "tokyo", To: "osaka", Service: "mysql", Node: "osaka-mysql-1", Door: "10.9.19.21:3306",
		Reach: "10.9.19.21:3306", Listen: "10.9.26.21:3306", Target: "10.9.32.21:3306"}}
	if err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for in, want := range map[string]string{
		"":                                             "1 parts",
		"tokyo>osaka/mysql,n,a,b,c":                    "5 parts",
		"tokyo>osaka,n,a,b,c,1":                        "FROM>TO/SERVICE",
		"tokyo/mysql,n,a,b,c,1":                        "FROM>TO/SERVICE",
		"tokyo>/mysql,n,a,b,c,1":                       "FROM>TO/SERVICE",
		"tokyo>osaka/mysql,n,a,b,c,1":                  "a",
		"a>b/c,,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1":       "no node",
		"a>b/c,n,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,x":      "tap's port",
		"a>b/c,n,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,65536":  "tap's port",
		"a>b/c,n,1.1.1.1:1,1.1.1.1:1,wan:1,1":          "wan:1",
		"a>b/c,n,1.1.1.1:1,1.1.1.1:1,1.1.1.1:1,1,more": "7 parts",
	} {
		if d, err := ParseDoor(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", in, d, err, want)
		}
	}
}

func TestParseLinkDelay(t *testing.T) {
	got, err := ParseLinkDelay("tokyo>osaka/mysql=4ms")
	if want := (topology.LinkSpec{ID: topology.LinkID{From: "tokyo", To: "osaka", Service: "mysql"}, Delay: 4 * time.Millisecond}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for in, want := range map[string]string{"tokyo>osaka/mysql": "DELAY", "tokyo>osaka=4ms": "SERVICE", "a>b/c=soon": "soon", "a>b/c=-1s": "below 0"} {
		if _, err := ParseLinkDelay(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestParsePodRoute(t *testing.T) {
	got, err := ParsePodRoute("10.9.34.2/32=10.9.16.2")
	if want := (PodRoute{netip.MustParsePrefix("10.9.34.2/32"), netip.MustParseAddr("10.9.16.2")}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, in := range []string{"", "10.9.34.2/32", "10.9.34.2=10.9.16.2", "10.9.34.2/32=node", "10.9.34.2/33=10.9.16.2"} {
		if _, err := ParsePodRoute(in); err == nil || !strings.Contains(err.Error(), in) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestParseEntry(t *testing.T) {
	e := edge.Entry{}
	if err := ParseEntry(e, "tokyo=10.9.2.51"); err != nil || e["tokyo"] != netip.MustParseAddr("10.9.2.51") {
		t.Errorf("%v, %v", e, err)
	}
	for _, in := range []string{"tokyo", "tokyo=", "=10.9.2.51", "tokyo=10.9.2.52", "osaka=gateway"} {
		if err := ParseEntry(e, in); err == nil {
			t.Errorf("%q passed", in)
		}
	}
}

func door(t *testing.T, s string) Door {
	t.Helper()
	d, err := ParseDoor(s)
	must(t, err)
	return d
}

func TestCheck(t *testing.T) {
	link := func(s string) topology.LinkSpec { l, err := ParseLinkDelay(s); must(t, err); return l }
	both := []topology.LinkSpec{link("a>b/mysql=1ms"), link("b>a/mysql=1ms")}
	straight := door(t, "a>b/mysql,n,10.1.1.1:1,10.1.1.1:1,10.2.2.2:1,20001")
	around := door(t, "a>b/mysql,n,10.1.1.1:1,10.1.9.1:1,10.2.2.2:1,0")
	for name, c := range map[string]struct {
		w    WAN
		want string
	}{
		"good":          {WAN{Links: both, Doors: []Door{straight}}, ""},
		"good bypass":   {WAN{Links: both, Doors: []Door{around}, Bypass: true}, ""},
		"nothing":       {WAN{}, "without a door"},
		"no way back":   {WAN{Links: both[:1], Doors: []Door{straight}}, "b>a/mysql"},
		"link unused":   {WAN{Links: append(both, link("c>d/mysql=0s")), Doors: []Door{straight}}, "c>d/mysql"},
		"not said":      {WAN{Links: both, Doors: []Door{around}}, "bypass false"},
		"nothing to go": {WAN{Links: both, Doors: []Door{straight}, Bypass: true}, "bypass true"},
	} {
		if err := c.w.Check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	w := WAN{Doors: []Door{straight, around}}
	if got := w.hosts(); !slices.Equal(got, []netip.Addr{netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("10.1.9.1")}) {
		t.Errorf("hosts %v", got)
	}
	if got := w.taps(); !slices.Equal(got, []wan.Tap{{Listen: "0.0.0.0:20001", Door: "10.1.1.1:1"}}) {
		t.Errorf("taps %v", got)
	}
}

func TestHolder(t *testing.T) {
	p := netip.MustParsePrefix
	all := []network{{prefixes: []netip.Prefix{p("127.0.0.1/8")}}, {prefixes: []netip.Prefix{p("10.9.16.254/20"), p("10.9.34.1/32")}}, {prefixes: []netip.Prefix{p("10.9.32.254/20")}}}
	for a, want := range map[string]int{"10.9.19.21": 1, "10.9.34.1": 2, "10.9.47.255": 2, "10.9.48.1": -1, "10.9.0.1": -1} {
		got := holder(all, netip.MustParseAddr(a))
		if want < 0 && got != nil || want >= 0 && got != &all[want] {
			t.Errorf("%s is held by %v", a, got)
		}
	}
}

func TestReadAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alone")
	if alone, err := ReadAlone(path); err != nil || alone {
		t.Errorf("no file: %v, %v", alone, err)
	}
	for text, want := range map[string]bool{"true": true, "true\n": true, "false": false, "": false} {
		must(t, writeFile(path, text))
		if alone, err := ReadAlone(path); err != nil || alone != want {
			t.Errorf("%q: %v, %v", text, alone, err)
		}
	}
	must(t, writeFile(path, "TRUE"))
	if _, err := ReadAlone(path); err == nil {
		t.Error("an odd word passed")
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"PATH=/x", "A=1", SecretVariable + "=s3cret", "TMPDIR="}, []string{"A=2"}, "/data")
	want := []string{"PATH=/x", "A=1", "TMPDIR=", "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=/data", "A=2"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPrepareCassandra: what becomes Java, and for what it waits before.
func TestPrepareCassandra(t *testing.T) {
	dir := t.TempDir()
	write := func(in Install) {
		b, err := json.Marshal(in)
		must(t, err)
		must(t, writeFile(filepath.Join(dir, "install.json"), string(b)))
	}
	c := Cassandra{Install: filepath.Join(dir, "install.json"), Alone: filepath.Join(dir, "alone"), Node: cassandra.NodeOptions{
		DataDir: filepath.Join(dir, "data"), Cluster: "kirikae-w1", Listen: "127.0.0.1", Broadcast: "127.0.0.1", DC: "tokyo", Token: "-5", Seeds: []string{"127.0.0.1"},
		Setpriv: "/bin/setpriv"}}
	write(Install{})
	if _, err := PrepareCassandra(t.Context(), c, nil, nil); err == nil || !strings.Contains(err.Error(), "this image has none") {
		t.Errorf("%v", err)
	}
	write(Install{Java: &provision.Java{Path: "/jre/bin/java"}, Cassandra: &provision.Cassandra{Version: "5.0.9", ClassPath: []string{"/c.jar"}, Jamm: "/jamm.jar"}})
	p, err := PrepareCassandra(t.Context(), c, []string{"JAVA_HOME=/jre"}, nil)
	must(t, err)
	if p.Path != "/bin/setpriv" || p.Args[0] != p.Path || !slices.Contains(p.Args, "/jre/bin/java") || !slices.Contains(p.Env, "JAVA_HOME=/jre") {
		t.Errorf("%+v", p)
	}
	yaml, err := os.ReadFile(filepath.Join(dir, "data/conf/cassandra.yaml"))
	if err != nil || !strings.Contains(string(yaml), "\nlisten_on_broadcast_address: true\n") {
		t.Errorf("%v\n%s", err, yaml)
	}
	if slices.Contains(p.Args, "-Dcassandra.allow_unsafe_join=true") {
		t.Error("it would start alone")
	}
	must(t, writeFile(c.Alone, "true"))
	if p, err = PrepareCassandra(t.Context(), c, nil, nil); err != nil || !slices.Contains(p.Args, "-Dcassandra.allow_unsafe_join=true") {
		t.Errorf("alone: %q, %v", p.Args, err)
	}
	c.Node.Broadcast = "10.255.254.253"
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if _, err = PrepareCassandra(ctx, c, nil, nil); err == nil || !strings.Contains(err.Error(), "10.255.254.253 is not among") {
		t.Errorf("an identity that never comes: %v", err)
	}
}

func TestBecome(t *testing.T) {
	if err := Become(Program{Path: "/nowhere/java", Args: []string{"java"}}); err == nil || !strings.Contains(err.Error(), "/nowhere/java") {
		t.Errorf("%v", err)
	}
}

func TestHealthy(t *testing.T) {
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer s.Close()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := Healthy(ctx, "http", s.URL); err != nil {
		t.Errorf("%v", err)
	}
	status = http.StatusServiceUnavailable
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "whole"), 0o700))
	must(t, writeFile(Marker(filepath.Join(dir, "whole")), ""))
	for _, c := range [][3]string{
		{"http", s.URL, "503"},
		{"http", "http://127.253.9.9:9/", "refused"},
		{"http", ":", "missing protocol scheme"},
		{"cql", "127.253.9.9:9042", "wait for the ring of 1 nodes"},
		{"cql", "127.253.9.9", "missing port"},
		{"mysql", "mysqld.sock", "absolute path"},
		{"mysql", filepath.Join(dir, "half", "mysqld.sock"), "no users yet"},
		{"mysql", filepath.Join(dir, "whole", "mysqld.sock"), "no such file"},
		{"redis", "x", "unknown kind of health"},
	} {
		limit := patience
		if strings.HasPrefix(c[2], "wait") {
			limit = 3 * time.Second // it asks until then
		}
		ctx, stop := context.WithTimeout(t.Context(), limit)
		err := Healthy(ctx, c[0], c[1])
		stop()
		if err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s %s: %v, want %q", c[0], c[1], err, c[2])
		}
	}
}

func TestDial(t *testing.T) {
	accept := func(f func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		done := make(chan bool)
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				f(c)
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
		return l.Addr().String()
	}
	silent := accept(func(net.Conn) {})
	speaks := accept(func(c net.Conn) { _, _ = c.Write([]byte("hello")) })
	turns := accept(func(c net.Conn) { c.Close() })
	want := map[string]Reached{silent: Open, speaks: Open, turns: Turned, "127.253.9.9:9": Refused, "127.0.0.1:99999": Failed}
	// The watch over a silent connection is also how long a busy machine may take to turn somebody away.
	for _, d := range Dial(t.Context(), []string{silent, speaks, turns, "127.253.9.9:9", "127.0.0.1:99999"}, DialOptions{Timeout: patience, Linger: 3 * time.Second}) {
		if d.Result != want[d.Address] || (d.Error == "") != (d.Result == Open || d.Result == Turned) {
			t.Errorf("%+v, want %s", d, want[d.Address])
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 0)
	defer stop()
	if d := Dial(ctx, []string{silent}, DialOptions{})[0]; d.Result != TimedOut {
		t.Errorf("%+v", d)
	}
}

func TestBootID(t *testing.T) {
	if id, err := BootID(); err != nil || len(id) != 36 {
		t.Errorf("%q, %v", id, err)
	}
}

// TestRunNames: both views and the API, until it is told to stop.
func TestRunNames(t *testing.T) {
	entry := func(prefix string) edge.Entry {
		return edge.Entry{"tokyo": netip.MustParseAddr(prefix + ".9.2.51"), "osaka": netip.MustParseAddr(prefix + ".9.3.51")}
	}
	hosts := hostsOf(t)
	n := Names{Zone: topology.ZoneSpec{Name: "kirikae.test.", TTL: 2 * time.Second, Records: []string{"pay"}}, At: "tokyo",
		Nodes: edge.View{Address: hosts + ":5353", Entry: entry("10")}, Reach: edge.View{Address: hosts + ":5354", Entry: entry("127")}, API: hosts + ":8081"}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	said := make(chan string, 9)
	go func() { done <- RunNames(ctx, n, func(line string) { said <- line }) }()
	zone := edge.NewRemote(n.Reach.Address, n.API)
	defer zone.Close()
	must(t, until(t.Context(), patience, "the zone's API answers", func() error { return zone.Point(t.Context(), "pay", "osaka") }))
	for at, want := range map[string]string{n.Nodes.Address: "10.9.3.51", n.Reach.Address: "127.9.3.51"} {
		for _, network := range []string{"udp", "tcp"} {
			m := new(dns.Msg)
			m.SetQuestion("pay.kirikae.test.", dns.TypeA)
			r, _, err := (&dns.Client{Net: network, Timeout: patience}).Exchange(m, at)
			if err != nil || len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != want {
				t.Errorf("%s %s: %v, %v, want %s", network, at, r, err, want)
			}
		}
	}
	if all, err := zone.Records(t.Context()); err != nil || len(all) != 1 || all[0].Address != "127.9.3.51" {
		t.Errorf("%+v, %v", all, err)
	}
	if line := <-said; !strings.Contains(line, n.Nodes.Address) || !strings.Contains(line, n.Reach.Address) {
		t.Errorf("said %q", line)
	}
	if err := RunNames(t.Context(), n, nil); err == nil {
		t.Error("a second one took the same addresses")
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("%v", err)
	}
	n.API, n.Reach.Address = "", ""
	go func() { done <- RunNames(ctx, n, nil) }()
	if err := <-done; err != nil {
		t.Errorf("told to stop before it began: %v", err)
	}
}

// hostsOf is an address of this process's own.
func hostsOf(t *testing.T) string {
	t.Helper()
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, byte(251 + pid>>16&3), byte(pid >> 8), byte(pid)}).String()
}

func TestWired(t *testing.T) {
	store := func(values map[string]string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"version": 3, "values": values})
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	empty, half, whole := store(nil), store(map[string]string{"epoch": "1", "cluster.form": "true"}), store(map[string]string{"epoch": "2", "cluster.form": "false"})
	standby := store(map[string]string{"cluster.form": "false"}) // has no epoch yet
	for _, c := range []struct {
		stores []string
		want   bool
	}{{[]string{empty, empty}, false}, {[]string{half, standby}, false}, {[]string{standby, whole}, true}, {[]string{whole, empty}, true}} {
		if got, err := wired(t.Context(), c.stores); err != nil || got != c.want {
			t.Errorf("%v: %v, %v", c.stores, got, err)
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if _, err := wired(ctx, []string{"http://127.253.9.9:9/params"}); err == nil || !strings.Contains(err.Error(), "127.253.9.9:9") {
		t.Errorf("%v", err)
	}
	if err := RunWire(t.Context(), Wire{}, nil); err == nil || !strings.Contains(err.Error(), SecretVariable) {
		t.Errorf("without a secret: %v", err)
	}
}

func TestFindTopology(t *testing.T) {
	got, err := FindTopology(fixtures.FS, "two-region")
	want, werr := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil || werr != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, %v", got, err, werr)
	}
	if _, err := FindTopology(fixtures.FS, "two-regions"); err == nil || !strings.Contains(err.Error(), `did you mean "two-region"`) {
		t.Errorf("%v", err)
	}
}

// TestEmpty: all that is in a folder goes, hidden files and folders too; the folder, a mounted volume, stays.
func TestEmpty(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"data/ks/t.db", ".hidden", "x"} {
		if err := writeFile(filepath.Join(dir, f), f); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := Empty([]string{dir}); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%v, %v", left, err)
		}
	}
	if err := Empty([]string{filepath.Join(dir, "none")}); err == nil {
		t.Error("a folder that is not there is empty")
	}
}
