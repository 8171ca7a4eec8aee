package images

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocql/gocql"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/hosted"
)

// labelBuild marks containers that exist only while images are built.
const labelBuild = "kirikae.build"

// archive returns the archive of the classes that a Cassandra node of the base image loads (AppCDS), made once and kept in the
// cache: the base image runs as a node, is used a little and stopped; its JVM then writes them down. An archive holds for
// exactly the class path, the file times and the Java that it was made with, hence in a container. It is made without the jamm
// agent, because classes that an agent has touched are left out; nodes run with it.
func (b *builder) archive(ctx context.Context, p plan) (string, error) {
	file := filepath.Join(b.cache, "cassandra-"+short(digest(p.base, recipeText("cassandra")))+".jsa")
	if exists(file) {
		return file, nil
	}
	what := "cassandra " + p.install.Cassandra.Version + ": start a node of the image once, to archive its classes"
	var at latest
	err := b.say.Step(what, at.get, func() error { return b.dump(ctx, p, file, &at) })
	if err != nil {
		return "", fmt.Errorf("archive the classes of the Cassandra image: %w", err)
	}
	return file, nil
}

// Places of the node that is started once.
const (
	dumpFolder = "/tmp/archive"
	dumpFile   = dumpFolder + "/daemon.jsa"
)

// dumpArgs is the node's command without Java's path, and its files: the same as in a world, but for its agent.
func dumpArgs(p plan) ([]string, map[string]string) {
	in := *p.install.Cassandra
	in.Archive = ""
	c := cassandra.Command(*p.install.Java, in, cassandra.NodeOptions{
		DataDir: dumpFolder + "/data", Cluster: "archive", Listen: "127.0.0.1", Broadcast: "127.0.0.1", DC: "dc1",
		Token: cassandra.Token(1, 1, 1), Seeds: []string{"127.0.0.1"},
	})
	args := c.Args
	if i := slices.Index(args, p.install.Java.Path); i >= 0 { // a program that gives up a capability, as this process is root
		args = args[i+1:]
	}
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, "-javaagent:") })
	return append([]string{
		"-XX:ArchiveClassesAtExit=" + dumpFile,
		// It is asked through a published port.
		"-Dcassandra.config.allow_system_properties=true", "-Dcassandra.settings.rpc_address=0.0.0.0", "-Dcassandra.settings.broadcast_rpc_address=127.0.0.1",
	}, args...), c.Files
}

func (b *builder) dump(ctx context.Context, p plan, file string, at *latest) (err error) {
	args, files := dumpArgs(p)
	self, err := hosted.Self()
	if err != nil {
		return err
	}
	cql, err := network.ParsePort(strconv.Itoa(topology.ServiceCQL.Port()) + "/tcp")
	if err != nil {
		return err
	}
	c, err := b.engine.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: fmt.Sprintf("kirikae-build-%d-%s", os.Getpid(), strings.ToLower(rand.Text()[:8])),
		Config: &container.Config{
			Image: p.base, Entrypoint: []string{p.install.Java.Path}, Cmd: args,
			Labels: map[string]string{labelBuild: "archive", containers.LabelOwner: ownerText(self)},
		},
		HostConfig: &container.HostConfig{PortBindings: network.PortMap{cql: {{HostIP: netip.MustParseAddr("127.0.0.1")}}}},
	})
	if err != nil {
		return fmt.Errorf("create its container: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		_, e := b.engine.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if e != nil {
			err = errors.Join(err, fmt.Errorf("remove its container: %w", e))
		}
	}()
	conf := tree{}
	conf.dir(dumpFolder, 0o755, p.own)
	conf.dir(dumpFolder+"/data", 0o755, p.own)
	for to, text := range files {
		conf.text(to, []byte(text), 0o644)
		conf.dir(path.Dir(to), 0o755, p.own)
	}
	body, done := stream(func(w *tar.Writer) error { return conf.write(w, "") })
	_, err = b.engine.CopyToContainer(ctx, c.ID, client.CopyToContainerOptions{DestinationPath: "/", Content: body})
	if err := errors.Join(done(), err); err != nil {
		return fmt.Errorf("configure it: %w", err)
	}
	if _, err := b.engine.ContainerStart(ctx, c.ID, client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("start it: %w", err)
	}
	if err := b.use(ctx, c.ID, cql, at); err != nil {
		return fmt.Errorf("%w%s", err, b.lastLines(ctx, c.ID))
	}
	at.set("writing the archive")
	patience := 180
	if _, err := b.engine.ContainerStop(ctx, c.ID, client.ContainerStopOptions{Timeout: &patience}); err != nil {
		return fmt.Errorf("stop it: %w", err)
	}
	if err := b.takeOut(ctx, c.ID, dumpFile, file); err != nil {
		return fmt.Errorf("take its archive: %w%s", err, b.lastLines(ctx, c.ID))
	}
	return nil
}

// use waits until the node answers, and does what loads the classes of ordinary use.
func (b *builder) use(ctx context.Context, id string, cql network.Port, at *latest) error {
	const limit = 3 * time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no CQL from it within %v", limit))
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		i, err := b.engine.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return fmt.Errorf("look at it: %w", errors.Join(context.Cause(ctx), err))
		}
		if st := i.Container.State; st == nil || !st.Running {
			return fmt.Errorf("it ended before it answered")
		}
		if n := i.Container.NetworkSettings; n != nil && len(n.Ports[cql]) > 0 {
			port, err := strconv.Atoi(n.Ports[cql][0].HostPort)
			if err != nil {
				return fmt.Errorf("read its published port: %w", err)
			}
			err = warm(ctx, "127.0.0.1", port)
			if err == nil {
				return nil
			}
			at.set("no CQL yet: " + oneLine(err))
			if ctx.Err() == nil && !isConnecting(err) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %s", context.Cause(ctx), at.get())
		case <-tick.C:
		}
	}
}

// connecting is the error of a node that does not answer yet.
type connecting struct{ error }

func isConnecting(err error) bool {
	var c connecting
	return errors.As(err, &c)
}

// warm runs statements like those of a drill.
func warm(ctx context.Context, host string, port int) error {
	// The engine's forwarder accepts at once, so only an answer says that the node serves: gocql would wait and log.
	if err := greeted(ctx, net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
		return connecting{err}
	}
	cluster := gocql.NewCluster(host)
	cluster.Port = port
	cluster.DisableInitialHostLookup = true
	cluster.ProtoVersion = 4
	cluster.NumConns = 1
	cluster.Timeout, cluster.ConnectTimeout = 20*time.Second, 20*time.Second
	cluster.MaxWaitSchemaAgreement = 2 * time.Second
	cluster.Consistency = gocql.LocalQuorum
	cluster.Logger = silent{}
	s, err := cluster.CreateSession()
	if err != nil {
		return connecting{err}
	}
	defer s.Close()
	for _, q := range []string{
		`CREATE KEYSPACE IF NOT EXISTS warm WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}`,
		`CREATE TABLE IF NOT EXISTS warm.t (id text PRIMARY KEY, v bigint)`,
		`INSERT INTO warm.t (id, v) VALUES ('a', 1)`,
		`SELECT id, v FROM warm.t`,
		`INSERT INTO warm.t (id, v) VALUES ('b', 2) IF NOT EXISTS`,
		`SELECT * FROM system_views.pending_hints`,
		`ALTER KEYSPACE warm WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}`,
	} {
		if err := s.Query(q).WithContext(ctx).Exec(); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	for i := range 20 { // prepared, as a client's
		if err := s.Query(`INSERT INTO warm.t (id, v) VALUES (?, ?)`, strconv.Itoa(i), int64(i)).WithContext(ctx).Exec(); err != nil {
			return fmt.Errorf("insert: %w", err)
		}
	}
	return nil
}

type silent struct{}

func (silent) Print(...any)          {}
func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// greeted says whether a CQL server answers an OPTIONS frame (CQL binary protocol 4, section 4.1.3).
func greeted(ctx context.Context, address string) error {
	c, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{4, 0, 0, 0, 5, 0, 0, 0, 0}); err != nil {
		return err
	}
	var header [9]byte
	_, err = io.ReadFull(c, header[:])
	return err
}

// takeOut copies one file out of a container, whole or not at all.
func (b *builder) takeOut(ctx context.Context, id, from, to string) error {
	got, err := b.engine.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: from})
	if err != nil {
		return err
	}
	defer got.Content.Close()
	r := tar.NewReader(got.Content)
	h, err := r.Next()
	if err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg || h.Size == 0 {
		return fmt.Errorf("%s is no file with something in it", from)
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".archive-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = io.Copy(f, r)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), to)
	}
	return err
}

// lastLines quotes what a container wrote last.
func (b *builder) lastLines(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	logs, err := b.engine.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "20"})
	if err != nil {
		return ""
	}
	defer logs.Close()
	text, err := io.ReadAll(io.LimitReader(logs, 64<<10))
	if err != nil || len(text) == 0 {
		return ""
	}
	return "; its last lines:\n" + plain(text)
}

// plain drops the heads of a container's multiplexed log: a byte for the stream, three zeroes, four of length.
func plain(log []byte) string {
	var b strings.Builder
	for len(log) >= 8 {
		n := int(log[4])<<24 | int(log[5])<<16 | int(log[6])<<8 | int(log[7])
		log = log[8:]
		n = min(n, len(log))
		b.Write(log[:n])
		log = log[n:]
	}
	return strings.TrimSpace(b.String())
}

// ownerText is a process as labels have it.
func ownerText(o topology.Owner) string {
	return fmt.Sprintf("%s:%d:%d", o.BootID, o.PID, o.StartTime)
}

func parseOwnerText(text string) (topology.Owner, error) {
	f := strings.Split(text, ":")
	if len(f) != 3 {
		return topology.Owner{}, fmt.Errorf("read owner %q: want boot id, process, start time", text)
	}
	pid, err := strconv.Atoi(f[1])
	if err != nil {
		return topology.Owner{}, fmt.Errorf("read owner %q: %w", text, err)
	}
	start, err := strconv.ParseUint(f[2], 10, 64)
	if err != nil {
		return topology.Owner{}, fmt.Errorf("read owner %q: %w", text, err)
	}
	return topology.Owner{BootID: f[0], PID: pid, StartTime: start}, nil
}

// sweep removes what builders that were killed left behind.
func (b *builder) sweep(ctx context.Context) error {
	all, err := b.engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", labelBuild)})
	if err != nil {
		return fmt.Errorf("look for what was left behind: %w", err)
	}
	for _, c := range all.Items {
		o, err := parseOwnerText(c.Labels[containers.LabelOwner])
		if err != nil || hosted.Lives(o) {
			continue // not ours to judge
		}
		if _, err := b.engine.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			return fmt.Errorf("remove what was left behind: %w", err)
		}
		b.say.Say("removed container %.12s of a builder that is gone", c.ID)
	}
	return nil
}
