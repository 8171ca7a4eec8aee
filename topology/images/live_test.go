package images_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/gocql/gocql"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/images"
	"github.com/kirikae/kirikae/topology/images/install"
	"github.com/kirikae/kirikae/topology/livetest"
	"github.com/kirikae/kirikae/topology/mysql"
	"github.com/kirikae/kirikae/topology/provision"
)

const secret = "s3cret'"

// bench is what live tests share: an engine, our programs, an image of each name, and images that stand for official ones.
type bench struct {
	c        *client.Client
	bin      string
	built    images.Set
	official images.Set
}

var shared = sync.OnceValues(makeBench)

func makeBench() (*bench, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	e, err := engine.Open(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{c: e.Client}
	if b.bin, err = os.MkdirTemp("", "kirikae-images-"); err != nil {
		return nil, err
	}
	if err := images.BuildBinaries(ctx, "../..", b.bin); err != nil {
		return nil, err
	}
	o := images.Options{Bin: b.bin, Say: func(line string) { fmt.Println(line) }}
	if b.built, err = images.Build(ctx, b.c, o); err != nil {
		return nil, err
	}
	if o.Table, err = b.pretend(ctx); err != nil {
		return nil, err
	}
	b.official, err = images.NewResolver(b.c, o).Resolve(ctx, images.Official)
	return b, err
}

// pretend gives the images below our programs the names of official ones, and is a table that has these with explicit install
// paths: they hold servers, and nothing that knows of a world. No official image could be pulled where this was written; their
// path is exercised with these.
func (b *bench) pretend(ctx context.Context) (images.Table, error) {
	t, err := images.DefaultTable()
	if err != nil {
		return t, err
	}
	for i, e := range t.Entries {
		if e.Official == nil {
			continue
		}
		im, err := b.built.Get(e.Name)
		if err != nil {
			return t, err
		}
		note, err := b.install(ctx, im)
		if err != nil {
			return t, err
		}
		if note.MySQL != nil {
			note.MySQL.Template = ""
		}
		if note.Cassandra != nil {
			note.Cassandra.Archive = ""
		}
		h, err := b.c.ImageHistory(ctx, im.ID)
		if err != nil {
			return t, err
		}
		base := ""
		for _, layer := range h.Items { // newest first
			for _, tag := range layer.Tags {
				if base == "" && strings.HasPrefix(tag, "kirikae/base:") {
					base = tag
				}
			}
		}
		if base == "" {
			return t, fmt.Errorf("no image below %s", im.Reference)
		}
		ref := "localhost/official-" + e.Name + ":" + im.Version
		if _, err := b.c.ImageTag(ctx, client.ImageTagOptions{Source: base, Target: ref}); err != nil {
			return t, err
		}
		t.Entries[i].Official = &images.OfficialImage{References: []string{"localhost/official-" + e.Name + ":absent", ref}, User: e.Official.User, Install: note}
	}
	return t, nil
}

// install reads what an image says of itself.
func (b *bench) install(ctx context.Context, im images.Resolved) (install.Install, error) {
	var i install.Install
	c, err := b.c.ContainerCreate(ctx, client.ContainerCreateOptions{Config: &container.Config{Image: im.ID}})
	if err != nil {
		return i, err
	}
	defer b.c.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{RemoveVolumes: true})
	got, err := b.c.CopyFromContainer(ctx, c.ID, client.CopyFromContainerOptions{SourcePath: install.File})
	if err != nil {
		return i, err
	}
	defer got.Content.Close()
	r := tar.NewReader(got.Content)
	if _, err := r.Next(); err != nil {
		return i, err
	}
	f, err := os.CreateTemp("", "install-")
	if err != nil {
		return i, err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return i, err
	}
	return install.Read(f.Name())
}

func TestMain(m *testing.M) {
	code := m.Run()
	if livetest.EngineAsked() {
		if b, err := shared(); b != nil && err == nil {
			for _, im := range b.official {
				if strings.HasPrefix(im.Reference, "localhost/official-") { // only the name: the image stays under its own
					_, _ = b.c.ImageRemove(context.Background(), im.Reference, client.ImageRemoveOptions{})
				}
			}
			_ = os.RemoveAll(b.bin)
		}
	}
	os.Exit(code)
}

func live(t *testing.T) *bench {
	t.Helper()
	livetest.Engine(t)
	b, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kinds runs a test on both kinds of one image.
func kinds(t *testing.T, name string, test func(t *testing.T, b *bench, im images.Resolved, in install.Install)) {
	for _, source := range []string{images.SourceBuilt, images.SourceOfficial} {
		t.Run(source, func(t *testing.T) { kind(t, source, name, test) })
	}
}

// kind runs a test on one kind of an image.
func kind(t *testing.T, source, name string, test func(t *testing.T, b *bench, im images.Resolved, in install.Install)) {
	b := live(t)
	set := b.built
	if source == images.SourceOfficial {
		set = b.official
	}
	im, err := set.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	if im.Source != source || source == images.SourceOfficial && !strings.HasPrefix(im.Reference, "localhost/official-"+name+":") {
		t.Fatalf("took %s, which is %s", im.Reference, im.Source)
	}
	if (im.Install == nil) != (im.Source == images.SourceBuilt) {
		t.Fatalf("%s has install %v", im.Source, im.Install)
	}
	in := im.Install
	if in == nil {
		said, err := b.install(t.Context(), im)
		if err != nil {
			t.Fatal(err)
		}
		in = &said
	}
	test(t, b, im, *in)
}

// box is a container of a test.
type box struct {
	t    *testing.T
	b    *bench
	id   string
	addr string
}

// spec is what a container of a test is made of.
type spec struct {
	image   images.Resolved
	entry   []string
	args    []string
	env     []string
	network *net // nil: none
	host    int  // on the network: 2…
	volume  string
	path    string // where the volume is
}

// create makes a container; an official image gets our program and its note.
func (b *bench) create(t *testing.T, s spec) *box {
	t.Helper()
	ctx := t.Context()
	host := &container.HostConfig{NetworkMode: "none"}
	var nets *network.NetworkingConfig
	x := &box{t: t, b: b}
	if s.network != nil {
		ip := s.network.at(s.host)
		x.addr = ip.String()
		host.NetworkMode = container.NetworkMode(s.network.name)
		nets = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{s.network.name: {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: ip}}}}
	}
	if s.volume != "" {
		host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Source: s.volume, Target: s.path}}
	}
	c, err := b.c.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name:   "kirikae-imagetest-" + strings.ToLower(rand.Text()[:10]),
		Config: &container.Config{Image: s.image.ID, User: s.image.User, Entrypoint: s.entry, Cmd: s.args, Env: s.env}, HostConfig: host, NetworkingConfig: nets,
	})
	if err != nil {
		t.Fatalf("create a container of %s: %v", s.image.Reference, err)
	}
	x.id = c.ID
	t.Cleanup(x.remove)
	if s.image.Install != nil {
		if _, err := b.c.CopyToContainer(ctx, c.ID, client.CopyToContainerOptions{DestinationPath: "/", Content: b.luggage(t, *s.image.Install)}); err != nil {
			t.Fatalf("put our program into %s: %v", s.image.Reference, err)
		}
	}
	return x
}

func (b *bench) luggage(t *testing.T, in install.Install) io.Reader {
	t.Helper()
	note, err := in.JSON()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(b.bin, "inside"))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		path string
		mode int64
		data []byte
	}{{install.Program, 0o755, program}, {install.File, 0o644, note}} {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: f.path[1:], Mode: f.mode, Size: int64(len(f.data))}))
		_, e := w.Write(f.data)
		err = errors.Join(err, e)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return &buf
}

func (x *box) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := x.b.c.ContainerRemove(ctx, x.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil && x.id != "" {
		x.t.Errorf("remove container: %v", err)
	}
	x.id = ""
}

func (x *box) start() {
	x.t.Helper()
	if _, err := x.b.c.ContainerStart(x.t.Context(), x.id, client.ContainerStartOptions{}); err != nil {
		x.t.Fatalf("start container: %v", err)
	}
}

// stop sends SIGTERM, waits, and returns the exit status.
func (x *box) stop() int {
	x.t.Helper()
	patience := 60
	begin := time.Now()
	if _, err := x.b.c.ContainerStop(x.t.Context(), x.id, client.ContainerStopOptions{Timeout: &patience}); err != nil {
		x.t.Fatalf("stop container: %v", err)
	}
	x.t.Logf("stopped in %v", time.Since(begin).Round(10*time.Millisecond))
	return x.state().ExitCode
}

func (x *box) state() *container.State {
	x.t.Helper()
	i, err := x.b.c.ContainerInspect(x.t.Context(), x.id, client.ContainerInspectOptions{})
	if err != nil {
		x.t.Fatalf("look at container: %v", err)
	}
	return i.Container.State
}

func (x *box) logs() string {
	logs, err := x.b.c.ContainerLogs(context.WithoutCancel(x.t.Context()), x.id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return err.Error()
	}
	defer logs.Close()
	var b bytes.Buffer
	if _, err := stdcopy.StdCopy(&b, &b, logs); err != nil {
		return b.String() + err.Error()
	}
	return b.String()
}

// run runs a program of an image to its end and returns what it wrote.
func (b *bench) run(t *testing.T, im images.Resolved, argv []string, env ...string) (out string, status int) {
	t.Helper()
	x := b.create(t, spec{image: im, entry: argv[:1], args: argv[1:], env: env})
	defer x.remove()
	x.start()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w := b.c.ContainerWait(ctx, x.id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case err := <-w.Error:
		t.Fatalf("wait for %v: %v\n%s", argv, err, x.logs())
	case r := <-w.Result:
		status = int(r.StatusCode)
	}
	return x.logs(), status
}

// users are the accounts of a running container's processes, as the machine sees them.
func (x *box) users() []string {
	x.t.Helper()
	top, err := x.b.c.ContainerTop(x.t.Context(), x.id, client.ContainerTopOptions{Arguments: []string{"-eo", "uid,gid,pid"}})
	if err != nil {
		x.t.Fatalf("list processes: %v", err)
	}
	var all []string
	for _, p := range top.Processes {
		all = append(all, p[0]+":"+p[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// net is a network of a test.
type net struct {
	name   string
	subnet netip.Prefix
}

func (n *net) at(i int) netip.Addr {
	a := n.subnet.Addr().As4()
	a[3] += byte(i)
	return netip.AddrFrom4(a)
}

// network makes a network on addresses that worlds do not use.
func (b *bench) network(t *testing.T) *net {
	t.Helper()
	var last error
	for range 30 {
		n := &net{"kirikae-imagetest-" + strings.ToLower(rand.Text()[:10]), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 251, byte(mathrand.IntN(256)), byte(16 * mathrand.IntN(16))}), 28)}
		made, err := b.c.NetworkCreate(t.Context(), n.name, client.NetworkCreateOptions{IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: n.subnet}}}})
		if err != nil {
			last = err
			continue
		}
		t.Cleanup(func() {
			if _, err := b.c.NetworkRemove(context.Background(), made.ID, client.NetworkRemoveOptions{}); err != nil {
				t.Errorf("remove network: %v", err)
			}
		})
		return n
	}
	t.Fatalf("no network: %v", last)
	return nil
}

func (b *bench) volume(t *testing.T) string {
	t.Helper()
	v, err := b.c.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: "kirikae-imagetest-" + strings.ToLower(rand.Text()[:10])})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := b.c.VolumeRemove(context.Background(), v.Volume.Name, client.VolumeRemoveOptions{Force: true}); err != nil {
			t.Errorf("remove volume: %v", err)
		}
	})
	return v.Volume.Name
}

// until asks again until it succeeds; a container that has ended fails at once.
func (x *box) until(what string, ask func(ctx context.Context) error) {
	x.t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(x.t.Context(), 3*time.Minute)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			x.t.Logf("%s after %v", what, time.Since(begin).Round(10*time.Millisecond))
			return
		}
		if st := x.state(); !st.Running {
			x.t.Fatalf("%s: the container ended with %d: %v\n%s", what, st.ExitCode, err, x.logs())
		}
		select {
		case <-ctx.Done():
			x.t.Fatalf("%s: %v\n%s", what, err, x.logs())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestLiveUnchangedBuildsNothing(t *testing.T) {
	b := live(t)
	var lines []string
	begin := time.Now()
	again, err := images.Build(t.Context(), b.c, images.Options{Bin: b.bin, Say: func(l string) { lines = append(lines, l) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("unchanged: %v", time.Since(begin))
	for name, was := range b.built {
		if is := again[name]; is.ID != was.ID || is.Reference != was.Reference {
			t.Errorf("%s: %v, was %v", name, is, was)
		}
	}
	for _, l := range lines {
		if strings.Contains(l, "build ") {
			t.Errorf("built: %s", l)
		}
	}
}

// Programs that differ by a byte make other images; two builders at once make them once.
func TestNightlyTwoBuildersAtOnce(t *testing.T) {
	b := live(t)
	bin := t.TempDir()
	for _, name := range []string{"inside", "paymentd"} {
		text, err := os.ReadFile(filepath.Join(b.bin, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, name), append(text, rand.Text()...), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	built := 0
	o := images.Options{Bin: bin, Say: func(l string) {
		mu.Lock()
		defer mu.Unlock()
		t.Log(l)
		if strings.Contains(l, ": build kirikae/") {
			built++
		}
	}}
	var sets [2]images.Set
	var errs [2]error
	var wg sync.WaitGroup
	for i := range sets {
		wg.Go(func() { sets[i], errs[i] = images.Build(t.Context(), b.c, o) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	for name, im := range sets[0] {
		t.Cleanup(func() {
			if _, err := b.c.ImageRemove(context.Background(), im.Reference, client.ImageRemoveOptions{PruneChildren: true}); err != nil {
				t.Error(err)
			}
		})
		if sets[1][name].ID != im.ID || im.ID == b.built[name].ID {
			t.Errorf("%s: %v and %v, with other programs %v", name, im.ID, sets[1][name].ID, b.built[name].ID)
		}
	}
	if built != 4 {
		t.Errorf("%d images were built, want 4", built)
	}
}

func TestLivePrograms(t *testing.T) {
	b := live(t)
	for name, im := range b.built {
		out, status := b.run(t, im, []string{install.Program, "boot"})
		if status != 0 || strings.TrimSpace(out) != history.BootID() {
			t.Errorf("%s: inside boot ended with %d: %q", name, status, out)
		}
	}
	if out, status := b.run(t, b.built["payment"], []string{"/paymentd", "--help"}); status != 0 || !strings.Contains(out, "paymentd") {
		t.Errorf("paymentd --help ended with %d: %s", status, out)
	}
}

func TestLiveMySQLPaths(t *testing.T) {
	kinds(t, "mysql", func(t *testing.T, b *bench, im images.Resolved, in install.Install) {
		argv := append(slices.Clone(in.MySQL.Mysqld), "--no-defaults", "--version")
		out, status := b.run(t, im, argv)
		if status != 0 || !strings.Contains(out, "Ver "+provision.MySQLSeries+".") {
			t.Errorf("%v ended with %d: %s", argv, status, out)
		}
	})
}

func TestLiveMySQL(t *testing.T) { kind(t, images.SourceBuilt, "mysql", mysqlServer) }

// TestNightlyMySQLOfficial: the same of the official image's kind.
func TestNightlyMySQLOfficial(t *testing.T) { kind(t, images.SourceOfficial, "mysql", mysqlServer) }

func mysqlServer(t *testing.T, b *bench, im images.Resolved, in install.Install) {
	n := b.network(t)
	s := func(i int, volume string) spec {
		return spec{image: im, entry: []string{install.Program}, env: []string{"KIRIKAE_SECRET=" + secret}, network: n, host: 2 + i,
			args:   []string{"mysql", "--address", n.at(2 + i).String(), "--server-id", fmt.Sprint(1 + i), "--data", "/var/lib/mysql/data"},
			volume: volume, path: "/var/lib/mysql"}
	}
	volume := b.volume(t)
	first := b.create(t, s(0, volume))
	open := func(x *box) *sql.DB {
		db, err := sql.Open("mysql", mysql.UserOps+":"+secret+"@tcp("+x.addr+":3306)/")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		// That it lets this user in says that the environment has reached the process.
		x.until("SQL", func(ctx context.Context) error { return db.PingContext(ctx) })
		return db
	}
	ask := func(db *sql.DB, q string) (v string) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), q).Scan(&v); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		return v
	}
	first.start()
	db := open(first)
	if got := first.users(); !slices.Equal(got, []string{im.User}) {
		t.Errorf("processes run as %v, want %s", got, im.User)
	}
	identity := ask(db, "SELECT @@server_uuid")
	for _, q := range []string{"CREATE DATABASE IF NOT EXISTS pay", "CREATE TABLE pay.proof (v INT PRIMARY KEY)", "INSERT INTO pay.proof VALUES (42)",
		"INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'"} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	// The server loads it at its start, so that a region can be rebuilt although it takes no writes.
	if got := ask(db, "SELECT plugin_status FROM information_schema.plugins WHERE plugin_name = 'clone'"); got != "ACTIVE" {
		t.Errorf("the clone plugin is %s", got)
	}
	db.Close()

	second := b.create(t, s(1, b.volume(t)))
	second.start()
	if other := ask(open(second), "SELECT @@server_uuid"); other == identity {
		t.Errorf("two servers are both %s", identity)
	}

	if status := first.stop(); status != 0 {
		t.Errorf("SIGTERM ended it with %d\n%s", status, first.logs())
	}
	if !strings.Contains(first.logs(), "Shutdown complete") {
		t.Errorf("it did not end in order\n%s", first.logs())
	}
	check := func(x *box) {
		t.Helper()
		db := open(x)
		defer db.Close()
		if got := ask(db, "SELECT v FROM pay.proof"); got != "42" {
			t.Errorf("data: %s", got)
		}
		if got := ask(db, "SELECT @@server_uuid"); got != identity {
			t.Errorf("it was %s, is %s", identity, got)
		}
	}
	first.start()
	check(first)
	if strings.Contains(first.logs(), "Starting crash recovery") {
		t.Errorf("it had to recover\n%s", first.logs())
	}
	if status := first.stop(); status != 0 {
		t.Errorf("SIGTERM ended it with %d\n%s", status, first.logs())
	}
	first.remove()
	again := b.create(t, s(0, volume)) // another container, the same volume
	again.start()
	check(again)
}

func TestLiveJavaPaths(t *testing.T) {
	kinds(t, "cassandra", func(t *testing.T, b *bench, im images.Resolved, in install.Install) {
		out, status := b.run(t, im, []string{in.Java.Path, "-version"}, "JAVA_TOOL_OPTIONS=-Dproof=42")
		if status != 0 || !strings.Contains(out, `version "`+provision.JavaSeries) {
			t.Errorf("java -version ended with %d: %s", status, out)
		}
		if !strings.Contains(out, "-Dproof=42") {
			t.Errorf("the environment did not reach the process: %s", out)
		}
	})
}

func TestLiveCassandra(t *testing.T) { kind(t, images.SourceBuilt, "cassandra", cassandraServer) }

// TestNightlyCassandraOfficial: the same of the official image's kind.
func TestNightlyCassandraOfficial(t *testing.T) {
	kind(t, images.SourceOfficial, "cassandra", cassandraServer)
}

func cassandraServer(t *testing.T, b *bench, im images.Resolved, in install.Install) {
	n := b.network(t)
	s := func(i int, volume string) spec {
		ip := n.at(2 + i).String()
		return spec{image: im, entry: []string{install.Program}, network: n, host: 2 + i, volume: volume, path: "/var/lib/cassandra",
			args: []string{"cassandra", "--listen", ip, "--broadcast", ip, "--dc", "tokyo", "--token", cassandra.Token(1, 1, 1+i), "--cluster", "proof" + fmt.Sprint(i),
				"--seed", ip, "--data", "/var/lib/cassandra"}}
	}
	open := func(x *box) (session *gocql.Session) {
		x.until("CQL", func(ctx context.Context) error {
			c := gocql.NewCluster(x.addr)
			c.DisableInitialHostLookup, c.ProtoVersion, c.NumConns, c.Logger = true, 4, 1, quiet{}
			c.Timeout, c.ConnectTimeout = 20*time.Second, 5*time.Second
			var err error
			session, err = c.CreateSession()
			return err
		})
		t.Cleanup(session.Close)
		return session
	}
	host := func(s *gocql.Session) (id gocql.UUID) {
		t.Helper()
		if err := s.Query("SELECT host_id FROM system.local").Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	first, second := b.create(t, s(0, b.volume(t))), b.create(t, s(1, b.volume(t)))
	first.start()
	second.start()
	session := open(first)
	if got := first.users(); !slices.Equal(got, []string{im.User}) {
		t.Errorf("processes run as %v, want %s", got, im.User)
	}
	identity := host(session)
	for _, q := range []string{
		"CREATE KEYSPACE proof WITH replication = {'class': 'NetworkTopologyStrategy', 'tokyo': 1}",
		"CREATE TABLE proof.t (id int PRIMARY KEY, v int)", "INSERT INTO proof.t (id, v) VALUES (1, 42)",
	} {
		if err := session.Query(q).WithContext(t.Context()).Exec(); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	session.Close()

	if other := host(open(second)); other == identity {
		t.Errorf("two nodes are both %s", identity)
	}
	second.remove()

	if status := first.stop(); status != 143 { // what Java makes of SIGTERM
		t.Errorf("SIGTERM ended it with %d\n%s", status, first.logs())
	}
	first.start()
	session = open(first)
	var v int
	if err := session.Query("SELECT v FROM proof.t WHERE id = 1").Scan(&v); err != nil || v != 42 {
		t.Errorf("data: %d, %v", v, err)
	}
	if got := host(session); got != identity {
		t.Errorf("it was %s, is %s", identity, got)
	}
}

type quiet struct{}

func (quiet) Print(...any)          {}
func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// A node runs with the agent that the archive was made without, on the class path that it was made with: the JVM says where it
// has each class from. Without a configuration Cassandra ends at once, long after its first classes.
func TestLiveCassandraArchive(t *testing.T) {
	b := live(t)
	im := b.built["cassandra"]
	in, err := b.install(t.Context(), im)
	if err != nil {
		t.Fatal(err)
	}
	c := cassandra.Command(*in.Java, *in.Cassandra, cassandra.NodeOptions{DataDir: "/tmp/none", Listen: "127.0.0.1"})
	args := c.Args
	if i := slices.Index(args, in.Java.Path); i >= 0 {
		args = args[i+1:]
	}
	loaded := func(args []string) (archived, all int, out string) {
		out, _ = b.run(t, im, append([]string{in.Java.Path, "-Xlog:class+load:stdout"}, args...))
		for line := range strings.Lines(out) {
			if strings.Contains(line, " org.apache.cassandra.") && strings.Contains(line, "source:") {
				all++
				if strings.Contains(line, "shared objects file (top)") {
					archived++
				}
			}
		}
		return archived, all, out
	}
	archived, all, out := loaded(args)
	t.Logf("%d of the first %d classes of Cassandra come from the archive", archived, all)
	if all < 20 || archived*10 < all*9 {
		t.Errorf("%d of %d classes come from the archive\n%.3000s", archived, all, out)
	}
	other := slices.Clone(args)
	i := slices.Index(other, "-cp")
	jars := strings.Split(other[i+1], ":")
	slices.Reverse(jars)
	other[i+1] = strings.Join(jars, ":")
	if archived, all, _ := loaded(other); archived != 0 || all == 0 { // the check can fail
		t.Errorf("on another class path %d of %d classes come from the archive", archived, all)
	}
}
