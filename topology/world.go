package topology

import (
	"context"
	"errors"
	"time"
)

// Errors that callers tell apart. Everything else is an ordinary failure.
var (
	ErrUnsupported = errors.New("not in this runtime")                // the scenario is skipped, by name
	ErrUnreachable = errors.New("unreachable")                        // nothing was sent: proof that nothing happened
	ErrUnknown     = errors.New("outcome unknown")                    // sent, no reply: it may have happened
	ErrEnvironment = errors.New("the environment cannot run a world") // exit code 4: a tool, a port, an address, a disk is missing
)

// A Runtime makes worlds and finds them again. Create starts everything of a topology and returns when customers could be
// served; everything after that, in any process, goes through Attach.
type Runtime interface {
	Name() string
	// Check says why this machine cannot run the runtime (ErrEnvironment), or nil.
	Check(ctx context.Context) error
	// Create starts a world and writes world.json into o.Folder. It runs in the world process and owns what it starts.
	Create(ctx context.Context, t Topology, o Options) (World, error)
	// Attach finds the world of a run folder, from any process of the same machine and user.
	Attach(ctx context.Context, folder string) (World, error)
	// Sweep removes what worlds of dead owners left behind and names it. A live world is never touched.
	Sweep(ctx context.Context) ([]string, error)
}

// Options of one world.
type Options struct {
	Folder   string              // run folder: world.json and logs/ go there
	Seed     uint64              // ids and everything random
	Progress func(what string)   // a line per state change; nil: silent
	Defects  map[string][]string // planted: node kind → extra arguments of its process, e.g. app → --defect ack-before-commit
	Volumes  Volumes             // where the stores keep their data; "": on disk
}

// World is a running platform: sites, nodes and links. What a product can be asked (SQL, CQL) is not its business.
type World interface {
	About() About
	Topology() Topology
	// Node returns a node by name. The error names the nearest known one.
	Node(name string) (Node, error)
	// Nodes returns the nodes of one kind at one site, in order; "" is any.
	Nodes(site Site, kind Kind) []Node
	// Link returns a declared link. The error names the nearest known one.
	Link(id LinkID) (Link, error)
	Links() []Link
	// Zone is the public DNS zone that customers resolve.
	Zone() Zone
	// Down ends the world: heals nothing, stops everything, removes its data; run folder and logs stay. Harmless when repeated.
	Down(ctx context.Context) error
	// Close lets go of the world without ending it.
	Close() error
}

// About says what a world is made of.
type About struct {
	Runtime string            // local, docker
	Engines map[string]string // product → version, from the installation; servers confirm it
	Owner   Owner             // process that owns the world
	ID      string            // short name of the world
	Images  []Image           // containers' images; empty where there are no containers
	Secret  string            // password of the world's database users, made at random for this world
	Volumes Volumes           // where the stores keep their data
}

// Image is what containers of a world were made from.
type Image struct {
	Name      string `json:"name"`      // in the table of images: "mysql"
	Reference string `json:"reference"` // "mysql:9.7.4"
	ID        string `json:"id"`        // the engine's, sha256:…
	Source    string `json:"source"`    // official, built
}

// Owner identifies the process that a world lives and dies with. PID alone would be reused.
type Owner struct {
	BootID    string `json:"boot_id"`
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // clock ticks since boot, field 22 of /proc/PID/stat
}

// A Node is one process (local) or container (docker) of the platform. Its addresses and identity survive restarts.
type Node interface {
	Name() string // "tokyo-mysql-1"
	Site() Site
	Kind() Kind
	State(ctx context.Context) (State, error)
	// Start starts the node if it is not running. It returns when the process runs; readiness is the product's to say.
	Start(ctx context.Context) error
	// Stop ends it in an orderly way, within ctx.
	Stop(ctx context.Context) error
	// Kill ends it at once (SIGKILL): memory is lost, disk is kept.
	Kill(ctx context.Context) error
	// Pause freezes it (SIGSTOP): its peers see a machine that does not answer.
	Pause(ctx context.Context) error
	// Resume thaws it.
	Resume(ctx context.Context) error
	// Wipe empties its data; only while it is stopped.
	Wipe(ctx context.Context) error
	// Endpoint is the address of one of its services as seen from inside its own site, "host:port".
	Endpoint(s Service) (string, error)
	// Reach is the address of the same service for a process of this machine that belongs to no site: the harness, an operator.
	// It stays the same over restarts. Where every process stands on one loopback, it is the Endpoint.
	Reach(s Service) (string, error)
	// Logs returns the last n lines it wrote.
	Logs(ctx context.Context, n int) ([]string, error)
}

// LoneStarter is a node that can be started alone, so that the evidence on its disk can be read while its site is cut off: a
// MySQL comes up read-only and follows no one, a Cassandra node waits for no peer. Nodes of products that need no such thing
// may not have it.
type LoneStarter interface {
	StartAlone(ctx context.Context) error
}

// State of a node.
type State string

const (
	Running State = "running"
	Paused  State = "paused"
	Stopped State = "stopped" // never started, stopped in order, killed or dead
)

// LinkID names a link by the direction of its bytes: those that go from one site to another for one service. For a connection
// that Osaka dials to Tokyo's MySQL, Tokyo's data are tokyo>osaka/mysql and Osaka's acknowledgements osaka>tokyo/mysql.
type LinkID struct {
	From    Site
	To      Site
	Service Service
}

// String is "tokyo>osaka/mysql".
func (id LinkID) String() string {
	return string(id.From) + ">" + string(id.To) + "/" + string(id.Service)
}

// A Link carries the bytes of one service in one direction between two sites. It holds three separate values, which never
// undo one another: the base delay (geography), the fault (what the world does) and the access list (what operators do,
// article 002's NACL).
type Link interface {
	ID() LinkID
	Layers(ctx context.Context) (Layers, error)
	SetDelay(ctx context.Context, d time.Duration) error
	SetFault(ctx context.Context, f Fault) error
	SetAccess(ctx context.Context, a Access) error
	// Doors are the addresses on which this link's connections are dialled from the dialling site, one a target node, and the
	// direction in which this link's bytes flow there. Probes use them.
	Doors() []Door
}

// Layers are a link's three values.
type Layers struct {
	Delay  time.Duration // one way
	Fault  Fault
	Access Access
}

// Open says whether bytes get through at all.
func (l Layers) Open() bool {
	return l.Access != Deny && l.Fault.Kind != Cut && l.Fault.Kind != BlackHole
}

// Fault is what the world does to a link. The zero value is no fault.
type Fault struct {
	Kind  FaultKind
	Delay time.Duration // Slow: one way, instead of the base delay
	Rate  int64         // Narrow: KiB/s
}

// FaultKind is the kind of a fault on a link.
type FaultKind string

const (
	NoFault   FaultKind = ""
	Cut       FaultKind = "cut"        // old connections are closed, new ones refused. Both directions of a connection end
	BlackHole FaultKind = "black-hole" // bytes of this direction vanish; connects still succeed (a proxy cannot drop a SYN)
	Slow      FaultKind = "slow"
	Narrow    FaultKind = "narrow"
)

// Access is a link's entry in the operators' access list.
type Access string

const (
	Allow Access = "allow" // also the zero value's meaning
	Deny  Access = "deny"
)

// Door is one proxied address of a link.
type Door struct {
	Node     string // target node
	Address  string // host:port that the dialling site uses
	Reach    string // host:port of the same door for a process of this machine that belongs to no site
	Upstream bool   // this link's bytes go from the dialler to the target; false: they come back
}

// Zone is the public DNS zone: names of the platform's entry, each at one site.
type Zone interface {
	// Server is the address (UDP and TCP) of the zone's name server.
	Server() string
	Records(ctx context.Context) ([]Record, error)
	// Point makes one record lead to a site; a new name is added.
	Point(ctx context.Context, name string, to Site) error
}

// Record is one A record of the zone.
type Record struct {
	Name    string        `json:"name"` // fully qualified, with the final dot
	Site    Site          `json:"site"`
	Address string        `json:"address"`
	TTL     time.Duration `json:"ttl"`
	Added   time.Time     `json:"added"`   // wall time, to tell records younger than a procedure file
	Changed time.Time     `json:"changed"` // last Point
}

// Command starts one process of a product, the same in every runtime; paths are the runtime's.
type Command struct {
	Path  string
	Args  []string
	Env   []string          // added to a minimal environment
	Files map[string]string // rendered configuration: path → content, written before each start
}
