package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/compose"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/edge"
	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
	"github.com/kirikae/kirikae/topology/images/install"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wan"
	"github.com/kirikae/kirikae/topology/wire"
)

// machines are the containers of a world in the process that owns it. It implements hosted.Machines.
type machines struct {
	nodes
	engine   *engine.Engine
	set      images.Set
	inside   string // path of the program that official images lack
	agent    string // path of the JMX agent that official images lack; "": it is not provisioned, and their nodes answer no JMX
	parallel int    // at most so many containers are made at once
	ground   hosted.Ground
	order    []containers.Container // what others stand on comes first
	boxes    map[string]*box
	composed *compose.Found // the world that is driven, made by somebody else; nil: it is made here
	keeper   *box           // has the volumes in memory; nil: there are none

	life   context.Context // ends when nothing more is to be made
	end    context.CancelFunc
	making sync.WaitGroup
	zone   *edge.Remote
}

// errTaken is that somebody else has the world's networks.
var errTaken = errors.New("the addresses are taken")

// jolokiaFile is where an official image of Cassandra gets its JMX agent.
const jolokiaFile = install.Folder + "/jolokia.jar"

// makeBudget bounds the making of one container. It is not cut short by anybody: the engine would go on with it, unseen.
const makeBudget = 60 * time.Second

// newMachines makes nothing yet. composed is the world to be driven, if somebody else made it.
func newMachines(e *engine.Engine, set images.Set, inside string, parallel int, composed *compose.Found, g hosted.Ground) *machines {
	m := &machines{engine: e, set: set, inside: inside, parallel: parallel, composed: composed, ground: g, boxes: map[string]*box{}}
	m.nodes = nodes{m.find}
	m.life, m.end = context.WithCancel(context.Background())
	m.order = containers.Specs(g.File.Plan, m.options())
	slices.SortStableFunc(m.order, func(a, b containers.Container) int { return level(a) - level(b) })
	for _, c := range m.order {
		b := &box{client: e.Client, name: containers.FullName(g.File.ID, c.Name), node: c.Name, log: filepath.Join(g.File.Logs, c.Name+".log"), made: make(chan struct{})}
		if c.Node != nil {
			b.store = c.Node.Kind == topology.MySQL || c.Node.Kind == topology.Cassandra
		}
		for _, v := range c.Volumes {
			b.volumes = append(b.volumes, containers.VolumeName(g.File.ID, c.Name, v))
		}
		b.remake = func(ctx context.Context) error { return m.make(ctx, m.successor(c)) }
		if slices.ContainsFunc(c.Volumes, func(v containers.Volume) bool { return v.Memory }) {
			b.empty = func(ctx context.Context) error { return m.emptyKept(ctx, c) }
		}
		m.boxes[c.Name] = b
	}
	return m
}

// Start implements hosted.Nodes.
func (m *machines) Start(ctx context.Context, n plan.Node, alone bool) error {
	b, err := m.find(n.Name)
	if err != nil {
		return err
	}
	again := b.begun()
	if err := m.nodes.Start(ctx, n, alone); err != nil {
		return err
	}
	if again && !alone && n.Kind == topology.Cassandra { // beside others, which serve
		m.making.Go(func() {
			b.yields(m.life, m.engine.CgroupVersion, n.Reach[topology.ServiceCQL], func(ctx context.Context) bool {
				return wire.Serving(ctx, &m.ground.File.Plan, n.Site)
			})
		})
	}
	return nil
}

// keep starts what keeps volumes in memory, if there are any. Before that nobody may put anything into them.
func (m *machines) keep(ctx context.Context) error {
	c, ok := containers.Keeper(m.options(), m.order)
	if !ok {
		return nil
	}
	b := &box{client: m.engine.Client, name: containers.FullName(m.ground.File.ID, c.Name), node: c.Name, log: filepath.Join(m.ground.File.Logs, c.Name+".log"), made: make(chan struct{})}
	b.isMade(m.make(ctx, c))
	m.keeper = b
	return b.start(ctx, false)
}

// emptyKept empties a container's volumes in memory, by their keeper.
func (m *machines) emptyKept(ctx context.Context, c containers.Container) error {
	argv := []string{containers.Inside, "empty"}
	for _, v := range c.Volumes {
		if v.Memory {
			argv = append(argv, containers.Kept(c.Name, v))
		}
	}
	_, err := run(ctx, m.engine.Client, m.keeper.name, argv...)
	return err
}

func (m *machines) options() containers.Options {
	if m.composed != nil {
		return m.composed.Options()
	}
	f := m.ground.File
	return containers.Options{ID: f.ID, Secret: f.Secret, Defects: m.ground.Extra, Owner: ownerLabel(f.Owner), Folder: m.ground.Folder, Volumes: f.Volumes}
}

// level says how early a container is made.
func level(c containers.Container) int {
	switch {
	case c.Node == nil:
		return 0
	case c.Start:
		return 1
	}
	return 2
}

// make makes one container, not started.
func (m *machines) make(ctx context.Context, c containers.Container) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	im, err := m.set.Get(c.Image)
	if err != nil {
		return err
	}
	var files []copied
	if im.Install != nil { // official: it knows nothing of us
		if im.Install.Cassandra != nil && m.agent != "" {
			i, c := *im.Install, *im.Install.Cassandra
			c.Jolokia = jolokiaFile
			i.Cassandra, im.Install = &c, &i
		}
		text, err := im.Install.JSON()
		if err != nil {
			return err
		}
		files = []copied{{from: m.inside, path: install.Program, mode: 0o755}, {text: string(text), path: install.File, mode: 0o644}}
		if im.Install.Cassandra != nil && im.Install.Cassandra.Jolokia == jolokiaFile {
			files = append(files, copied{from: m.agent, path: jolokiaFile, mode: 0o644})
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeBudget)
	defer cancel()
	r, err := request(m.ground.File.ID, cgroupParent(m.engine.Cgroups), im, c, files, func(ctx context.Context, id string) error {
		return complete(ctx, m.engine.Client, m.ground.File.ID, id, im.User, c)
	})
	if err != nil {
		return err
	}
	if _, err := testcontainers.GenericContainer(ctx, r); err != nil {
		return fmt.Errorf("make container %s from %s: %w: %w", c.Name, im.Reference, topology.ErrEnvironment, err)
	}
	return nil
}

// networks makes the sites' networks, side by side.
func (m *machines) networks(ctx context.Context) error {
	var g errgroup.Group
	for _, n := range containers.Networks(m.ground.File.Plan, m.options()) {
		g.Go(func() error { return makeNetwork(ctx, m.engine.Client, n) })
	}
	return g.Wait()
}

func makeNetwork(ctx context.Context, c *client.Client, n containers.Network) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	subnet, err := netip.ParsePrefix(n.Subnet)
	if err != nil {
		return fmt.Errorf("make network %s: %w", n.Name, err)
	}
	gateway, err := netip.ParseAddr(n.Gateway)
	if err != nil {
		return fmt.Errorf("make network %s: %w", n.Name, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeBudget)
	defer cancel()
	_, err = c.NetworkCreate(ctx, n.Name, client.NetworkCreateOptions{
		Driver: "bridge", Options: n.Options, Labels: withSession(n.Labels),
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet, Gateway: gateway}}},
	})
	if err == nil {
		return nil
	}
	text := err.Error()
	if strings.Contains(text, "overlap") || strings.Contains(text, "already in use") { // "Pool overlaps …", "failed to allocate gateway …: Address already in use"
		return fmt.Errorf("make network %s: %w: %w: %w", n.Name, topology.ErrEnvironment, errTaken, err)
	}
	return fmt.Errorf("make network %s: %w: %w", n.Name, topology.ErrEnvironment, err)
}

// makeAll makes all containers in the background, a few at once. Whoever starts one waits for it and hears how it went.
func (m *machines) makeAll() {
	queue := make(chan containers.Container)
	m.making.Go(func() {
		defer close(queue)
		for _, c := range m.order {
			queue <- c
		}
	})
	for range m.parallel {
		m.making.Go(func() {
			for c := range queue {
				m.boxes[c.Name].isMade(m.make(m.life, c))
			}
		})
	}
}

// Open implements hosted.Machines: networks, then everything that is no node, started; meanwhile the nodes' own containers are
// made.
func (m *machines) Open(ctx context.Context, f *hosted.File) (hosted.Zone, error) {
	began := time.Now()
	if m.composed != nil {
		if err := m.adopt(ctx); err != nil {
			return nil, err
		}
	} else if err := m.lay(ctx); err != nil {
		return nil, err
	}
	m.zone = edge.NewRemote(f.Names, containers.NamesAPI(f.Plan))
	links, err := wan.New(f.Toxiproxy, f.LinkLock, f.Plan.Topology.Links, f.Plan.Routes)
	if err != nil {
		return nil, err
	}
	defer links.Close()
	err = m.alive(ctx, containers.WAN, func(ctx context.Context) error {
		return m.reached(ctx, func(ctx context.Context) error {
			return wire.Until(ctx, "the WAN's links can be driven", links.Healthy)
		})
	})
	if err != nil {
		return nil, err
	}
	err = m.alive(ctx, containers.Names, func(ctx context.Context) error {
		return wire.Until(ctx, "the name server answers", func(ctx context.Context) error { _, err := m.zone.Records(ctx); return err })
	})
	if err != nil {
		return nil, err
	}
	m.ground.Say(fmt.Sprintf("docker: WAN and name server answer after %s", rounded(time.Since(began))))
	return m.zone, nil
}

// lay makes the networks and starts what nodes stand on.
func (m *machines) lay(ctx context.Context) error {
	began := time.Now()
	if err := m.networks(ctx); err != nil {
		return err
	}
	m.ground.Say(fmt.Sprintf("docker: %d networks in %s", len(m.ground.File.Plan.Sites()), rounded(time.Since(began))))
	if err := m.keep(ctx); err != nil {
		return err
	}
	m.makeAll()
	var up errgroup.Group
	for _, c := range m.order {
		if c.Node == nil {
			up.Go(func() error { return m.boxes[c.Name].start(ctx, false) })
		}
	}
	return up.Wait()
}

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// alive runs f and cuts it short when the container that it is about dies.
func (m *machines) alive(ctx context.Context, name string, f func(context.Context) error) error {
	return hosted.Watch(ctx, m, []plan.Node{{Name: name}}, f)
}

// Ended implements hosted.Machines.
func (m *machines) Ended(ctx context.Context, n plan.Node) (string, error) {
	b, err := m.find(n.Name)
	if err != nil {
		return "", err
	}
	return b.over(ctx)
}

// Down implements hosted.Machines: all at once and without courtesy. A composed world is let go as it is.
func (m *machines) Down(ctx context.Context) error {
	m.end()
	m.making.Wait() // a container that is being made would appear after everything was removed
	if err := keepAcquirer(ctx, m.engine.Client, m.ground.File.ID, m.ground.File.Acquirer); err != nil {
		m.ground.Say(fmt.Sprintf("the acquirer's log is lost: %v", err))
	}
	var err error
	if m.composed == nil {
		for _, b := range m.boxes {
			b.expect("with its world")
		}
		if m.keeper != nil {
			m.keeper.expect("with its world")
		}
		err = removeWorld(ctx, m.engine.Client, m.ground.File.ID)
	}
	for _, b := range m.boxes {
		b.release()
	}
	if m.keeper != nil {
		m.keeper.release()
	}
	if m.zone != nil {
		m.zone.Close()
	}
	return err
}

// acquirerLog is where the acquirer's container has it, see package containers.
const acquirerLog = "/data/acquirer.jsonl"

// keepAcquirer copies the acquirer's log into the run folder, where it outlives the world. A world that was never so far has
// none.
func keepAcquirer(ctx context.Context, c *client.Client, world, to string) error {
	if to == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	f, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it is elsewhere, if all went well
	err = readFile(ctx, c, containers.FullName(world, string(topology.Outside)+"-"+string(topology.Acquirer)+"-1"), acquirerLog, f)
	err = errors.Join(err, f.Close())
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}

func (m *machines) find(name string) (*box, error) {
	b, ok := m.boxes[name]
	if !ok {
		return nil, fmt.Errorf("this world has no container %q", name)
	}
	return b, nil
}

var _ hosted.Machines = (*machines)(nil)
