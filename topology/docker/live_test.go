package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
	"github.com/kirikae/kirikae/topology/livetest"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/topologytest"
)

// binVariable tells the world process of a test where the programs for images are.
const binVariable = "KIRIKAE_DOCKER_TEST_BIN"

func host() topologytest.Host {
	h := topologytest.Host{
		Runtime: func(string) (topology.Runtime, error) {
			return New(Config{Bin: os.Getenv(binVariable), Policy: images.Built})
		},
		Serve:    hosted.Serve,
		Topology: "../../fixtures/topologies/two-region.yaml",
		Limits:   topologytest.Limits{Up: 4 * time.Minute, Answer: 2 * time.Minute, Down: time.Minute},
		Left:     left,
		Inside:   insideOf,
		Gateways: gateways,
	}
	if why := noDrops(); why == nil {
		h.DropSYN = dropSYN
	}
	return h
}

func TestMain(m *testing.M) {
	if !livetest.EngineAsked() || os.Getenv(binVariable) != "" { // nothing live, or the world process of a test
		topologytest.Main(m, host())
		return
	}
	bin, err := os.MkdirTemp("", "kirikae-bin-")
	if err == nil {
		err = errors.Join(prepare(bin), os.Setenv(binVariable, bin))
	}
	if err != nil {
		fmt.Println("prepare images:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(bin)
	os.Exit(code)
}

// prepare has every image of this very source on the engine.
func prepare(bin string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := images.BuildBinaries(ctx, "../..", bin); err != nil {
		return err
	}
	e, err := shared()
	if err != nil {
		return err
	}
	// testcontainers reads its environment once, and a test that only makes requests is the first to use it.
	if _, err := e.Prepare(ctx, testcontainers.ReaperDefaultImage); err != nil {
		return err
	}
	_, err = images.Build(ctx, e.Client, images.Options{Bin: bin, Say: func(s string) { fmt.Println("      images:", s) }})
	return err
}

func TestContract(t *testing.T) {
	livetest.Engine(t)
	topologytest.Run(t, host())
}

// TestNightlyFenced: a world with a witness. The round trip has one in each run of the tests.
func TestNightlyFenced(t *testing.T) {
	livetest.Engine(t)
	topologytest.RunFenced(t, host())
}

// TestNightlyConcurrent: three worlds of containers at once. It takes two minutes.
func TestNightlyConcurrent(t *testing.T) {
	livetest.Engine(t)
	topologytest.RunConcurrent(t, host())
}

// live skips what needs an engine, unless it was asked for.
func live(t *testing.T) *engine.Engine {
	t.Helper()
	livetest.Engine(t)
	e, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// shared is the engine of all tests. One that works may be too busy to say so when it is asked again and again.
var shared = sync.OnceValues(func() (*engine.Engine, error) { return engine.Open(context.Background()) })

// left is what the engine and the state folders have of a world.
func left(ctx context.Context, world string) ([]string, error) {
	e, err := shared()
	if err != nil {
		return nil, err
	}
	x, err := list(ctx, e.Client, containers.LabelWorld+"="+world)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, c := range x.containers {
		all = append(all, "container "+c.labels[containers.LabelNode])
	}
	for i := range x.networks {
		all = append(all, fmt.Sprint("network ", i+1))
	}
	for _, v := range x.volumes {
		all = append(all, "volume "+v.name)
	}
	r, err := New(Config{})
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(r.host.Worlds(), world)); err == nil {
		all = append(all, "state folder")
	}
	return all, nil
}

func insideOf(ctx context.Context, w topology.World, node string, addresses ...string) (map[string]string, error) {
	e, err := shared()
	if err != nil {
		return nil, err
	}
	out, err := run(ctx, e.Client, containers.FullName(w.About().ID, node), append([]string{containers.Inside, "dial"}, addresses...)...)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	d := json.NewDecoder(strings.NewReader(out))
	for d.More() {
		var x struct{ Address, Result string }
		if err := d.Decode(&x); err != nil {
			return nil, err
		}
		all[x.Address] = x.Result
	}
	return all, nil
}

// gateways are the machine's own ends of every network of the world, and of the engine's default one.
func gateways(w topology.World, _ topology.Site) []string {
	e, err := shared()
	if err != nil {
		return nil
	}
	ns, err := e.Client.NetworkList(context.Background(), client.NetworkListOptions{})
	if err != nil {
		return nil
	}
	var all []string
	for _, n := range ns.Items {
		if n.Name != "bridge" && n.Labels[containers.LabelWorld] != w.About().ID {
			continue
		}
		for _, c := range n.IPAM.Config {
			if c.Gateway.IsValid() {
				all = append(all, c.Gateway.String())
			}
		}
	}
	return all
}

// noDrops says why packets cannot be dropped from here.
func noDrops() error {
	if os.Getuid() != 0 {
		return errors.New("this user is not root")
	}
	for _, p := range []string{"nsenter", "iptables"} {
		if _, err := exec.LookPath(p); err != nil {
			return err
		}
	}
	return nil
}

// dropSYN drops what opens a connection to a node, in the node's own network namespace.
func dropSYN(ctx context.Context, w topology.World, node string) (func(context.Context) error, error) {
	return drop(ctx, w.About().ID, node, "INPUT", "-p", "tcp", "--syn")
}

// drop adds a rule in the namespace of a container and returns what takes it away.
func drop(ctx context.Context, world, node, chain string, rule ...string) (func(context.Context) error, error) {
	e, err := shared()
	if err != nil {
		return nil, err
	}
	i, err := e.Client.ContainerInspect(ctx, containers.FullName(world, node), client.ContainerInspectOptions{})
	if err != nil {
		return nil, err
	}
	table := func(ctx context.Context, verb string) error {
		argv := append([]string{"-t", strconv.Itoa(i.Container.State.Pid), "-n", "iptables", verb, chain}, append(rule, "-j", "DROP")...)
		out, err := exec.CommandContext(ctx, "nsenter", argv...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("nsenter %v: %w: %s", argv, err, out)
		}
		return nil
	}
	return func(ctx context.Context) error { return table(ctx, "-D") }, table(ctx, "-A")
}

// create makes a world in this process. It ends with the test, and leaves nothing.
func create(t *testing.T, c Config) (topology.World, string) {
	t.Helper()
	c.Bin, c.Policy = os.Getenv(binVariable), images.Built
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	folder := t.TempDir()
	w, err := r.Create(t.Context(), twoRegion(t), topology.Options{Folder: folder, Progress: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := hosted.Serve(ctx, w, nil); err != nil {
			t.Error(err)
		}
		if all, err := left(context.Background(), w.About().ID); err != nil || len(all) > 0 {
			t.Errorf("left: %v, %v", all, err)
		}
	})
	return w, folder
}

// TestInterrupted: Ctrl-C while a world is being made, at several moments. It ends soon, and nothing is left.
func TestInterrupted(t *testing.T) {
	e := live(t)
	for _, after := range []time.Duration{0, 150 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second, 6 * time.Second} {
		cache := t.TempDir()
		r, err := New(Config{CacheDir: cache, Bin: os.Getenv(binVariable), Policy: images.Built})
		if err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		if err := r.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), after)
		_, err = r.Create(ctx, twoRegion(t), topology.Options{Folder: folder})
		late := time.Now()
		if deadline, ok := ctx.Deadline(); ok && late.Sub(deadline) > time.Minute {
			t.Errorf("after %s: it took another %s to end", after, late.Sub(deadline))
		}
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %s: %v", after, err)
		}
		if x, err := list(t.Context(), e.Client, containers.LabelFolder+"="+folder); err != nil || len(x.all()) != 0 {
			t.Errorf("after %s: left %v, %v", after, x.all(), err)
		}
		if all, err := filepath.Glob(filepath.Join(r.host.Worlds(), "*")); err != nil || len(all) != 0 {
			t.Errorf("after %s: left %v, %v", after, all, err)
		}
		r.Close()
	}
}

// TestDeadNode: a container that dies while a world is made ends it with its state and its last lines.
func TestDeadNode(t *testing.T) {
	e := live(t)
	r, err := New(Config{Bin: os.Getenv(binVariable), Policy: images.Built})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	folder := t.TempDir()
	_, err = r.Create(t.Context(), twoRegion(t), topology.Options{Folder: folder, Defects: map[string][]string{"app": {"--no-such-flag"}}})
	if err == nil || !errors.Is(err, topology.ErrEnvironment) {
		t.Fatalf("a world whose application cannot start: %v", err)
	}
	for _, want := range []string{"died: exit code", "the end of its log:", "no-such-flag"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	name := regexp.MustCompile(`tokyo-app-[12]`).FindString(err.Error()) // neither can start: it tells of the one that died first
	if name == "" {
		t.Fatalf("the error names no node: %v", err)
	}
	if b, rerr := os.ReadFile(filepath.Join(folder, "logs", name+".log")); rerr != nil || !strings.Contains(string(b), "ended by itself: exit code") {
		t.Errorf("its log: %v, %s", rerr, b)
	}
	if x, lerr := list(t.Context(), e.Client, containers.LabelFolder+"="+folder); lerr != nil || len(x.all()) != 0 {
		t.Errorf("left %v, %v", x.all(), lerr)
	}
}

// TestOverlap: a network of somebody else's in the way of a world.
func TestOverlap(t *testing.T) {
	e := live(t)
	topo := twoRegion(t)
	const octet = 249
	p := plan.Layout(topo, octet, plan.Private, false)
	if err := free(t.Context(), e.Client, p); err != nil {
		t.Fatalf("before: %v", err)
	}
	n := containers.Network{Name: fmt.Sprintf("kirikae-test-%d", os.Getpid()), Subnet: fmt.Sprintf("10.%d.20.0/24", octet), Gateway: fmt.Sprintf("10.%d.20.1", octet)}
	if err := makeNetwork(t.Context(), e.Client, n); err != nil {
		t.Fatal(err)
	}
	defer removeNetwork(context.Background(), e.Client, n.Name)
	if err := free(t.Context(), e.Client, p); err == nil || !strings.Contains(err.Error(), "taken by network "+n.Name) {
		t.Errorf("with a network in the way: %v", err)
	}
	other := n
	other.Name, other.Gateway = n.Name+"-2", netip.MustParseAddr(n.Gateway).Next().String()
	err := makeNetwork(t.Context(), e.Client, other)
	if err == nil {
		removeNetwork(context.Background(), e.Client, other.Name)
	}
	if !errors.Is(err, errTaken) {
		t.Errorf("the engine's answer is not known as taken: %v", err)
	}
}

// memory is what the engine counts for a container, without what the kernel could give up.
func memory(ctx context.Context, c *client.Client, id string) (uint64, error) {
	r, err := c.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		return 0, err
	}
	return s.MemoryStats.Usage - min(s.MemoryStats.Usage, max(s.MemoryStats.Stats["inactive_file"], s.MemoryStats.Stats["total_inactive_file"])), nil
}
