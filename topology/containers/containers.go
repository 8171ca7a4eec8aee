// Package containers says what the containers of a world are: their images, arguments, networks, published ports and order. It
// is pure: the runtime creates what it says, and the compose file is rendered from the same answer.
//
// Each site is one bridge network; the WAN is the only container that is on more than one (and the one-shot that wires the
// stores of a composed world). Ports are published on a loopback address of the world's own, see package plan.
package containers

import (
	"maps"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

// Names of images in the table of images.
const (
	ImageWAN       = "wan" // also of the name server, of the Cassandra nodes' networks and of the wiring
	ImageCassandra = "cassandra"
	ImageMySQL     = "mysql"
	ImagePayment   = "payment"
)

// Names of the containers that are not a node.
const (
	WAN   = "wan"
	Names = "names"
	Wire  = "wire"

	netSuffix = "-net" // of a Cassandra node's network
)

// Labels on containers, networks and volumes.
const (
	LabelWorld  = "kirikae.world"  // the world's short name
	LabelOwner  = "kirikae.owner"  // boot id:pid:start time of the process that the world lives and dies with; composed worlds have none
	LabelFolder = "kirikae.folder" // run folder; composed worlds have none
	LabelNode   = "kirikae.node"   // Container.Name
)

// Inside is the path of the program that stands in every image of ours, and that the runtime puts into official ones.
const Inside = "/kirikae/inside"

// Options of a world's containers.
type Options struct {
	ID      string              // the world's short name
	Secret  string              // password of the world's database users
	Defects map[string][]string // planted: node kind → extra arguments of its process. That of the WAN is the plan's
	Owner   string              // for LabelOwner; "": none
	Folder  string              // for LabelFolder; "": none
	// Composed is a world that a compose file brings up: a one-shot container does what a world process does elsewhere, and what
	// does not run in normal times rests at its first start (package rest), as compose starts whatever it creates.
	Composed bool
	// Volumes is where the stores keep their data; "": on disk.
	Volumes topology.Volumes
}

func (o Options) labels() map[string]string {
	l := map[string]string{LabelWorld: o.ID}
	if o.Owner != "" {
		l[LabelOwner] = o.Owner
	}
	if o.Folder != "" {
		l[LabelFolder] = o.Folder
	}
	return l
}

// FullName is the engine's name of a container of a world.
func FullName(world, container string) string { return "kirikae-" + world + "-" + container }

// NetworkName is the engine's name of a site's network.
func NetworkName(world string, site topology.Site) string {
	return "kirikae-" + world + "-" + string(site)
}

// VolumeName is the engine's name of a container's volume.
func VolumeName(world, container string, v Volume) string {
	return "kirikae-" + world + "-" + container + v.Suffix
}

// Network is one site's network: an ordinary bridge. Its traffic is not masqueraded, as nothing of a world leaves the machine.
type Network struct {
	Name    string // the engine's
	Site    topology.Site
	Subnet  string            // "10.9.16.0/20"
	Gateway string            // the machine's own end
	Options map[string]string // of the bridge driver
	Labels  map[string]string
}

// Networks are a world's networks, outside first.
func Networks(p plan.Plan, o Options) []Network {
	var all []Network
	for _, s := range p.Sites() {
		all = append(all, Network{
			Name: NetworkName(o.ID, s), Site: s, Subnet: p.Subnet(s).String(), Gateway: p.Gateway(s),
			Options: map[string]string{"com.docker.network.bridge.enable_ip_masquerade": "false"},
			Labels:  o.labels(),
		})
	}
	return all
}

// Container is one container of a world.
type Container struct {
	Name       string     // a node's, or "wan", "names", "wire", "tokyo-cassandra-1-net"
	Node       *plan.Node // nil: it is no node
	Image      string     // in the table of images
	Entrypoint []string
	Args       []string
	Env        map[string]string
	Networks   []Attachment // the first is the one it is created on; none with a Pod
	Pod        string       // name of the container whose network namespace it shares; "": it has its own
	Ports      []Port
	Caps       []string          // capabilities added
	Sysctls    map[string]string // of its network namespace
	Volumes    []Volume
	User       string // "uid:gid"; "": the image's
	Offline    bool   // on no network at all
	Labels     map[string]string
	Health     *Health // nil: none
	Needs      []Need
	Start      bool          // false: it is not to run until who drills starts it
	OneShot    bool          // it ends by itself, with 0
	Grace      time.Duration // from SIGTERM to SIGKILL
}

// Attachment is a container's address on a site's network.
type Attachment struct {
	Site topology.Site
	IP   string
}

// Port is a published port.
type Port struct {
	HostIP    string // on 127
	HostPort  int
	Container int
	Protocol  string // tcp, udp
}

// Volume is a named volume, see VolumeName.
type Volume struct {
	Suffix string // "" for the first of a container
	Path   string // inside
	Memory bool   // it lies in memory
	Of     string // the container whose volume it is; "": the one that has it
}

// Health is how an engine can see whether a container does its work. Worlds wait by reads of their own.
type Health struct {
	Test        []string // a command, no shell
	Interval    time.Duration
	Timeout     time.Duration
	StartPeriod time.Duration
	Retries     int
}

// Need is a container that must be there before another is started.
type Need struct {
	Container string
	Condition Condition
}

// Condition is how far a needed container must be.
type Condition string

// Conditions.
const (
	Started Condition = "started"
	Healthy Condition = "healthy"
)

// Specs are all containers of a world, in an order in which they can be started. p is laid out with plan.Private.
func Specs(p plan.Plan, o Options) []Container {
	b := builder{p: p, o: o}
	all := []Container{b.wan(), b.names()}
	for _, n := range p.Of("", topology.Params) { // Cassandra's nodes read it
		all = append(all, b.paymentd(n))
	}
	for _, n := range p.Of("", topology.Cassandra) {
		all = append(all, b.pod(n), b.cassandra(n))
	}
	for _, kind := range []topology.Kind{topology.Witness, topology.MySQL, topology.Gateway, topology.Batch, topology.App, topology.Reconciler, topology.Acquirer, topology.OnPremises} {
		for _, n := range p.Of("", kind) {
			if kind == topology.MySQL {
				all = append(all, b.mysql(n))
			} else {
				all = append(all, b.paymentd(n))
			}
		}
	}
	if o.Composed {
		all = append(all, b.wire(all))
	}
	askOften(all)
	for i := range all {
		if o.Composed && !all[i].Start {
			all[i].rest()
		}
		all[i].Labels = maps.Clone(o.labels())
		all[i].Labels[LabelNode] = all[i].Name
	}
	return all
}
