package hosted

import (
	"context"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wire"
)

// Nodes drives the nodes of a world, in the terms of topology.Node. Whoever calls it sees to it that a node gets one of the
// changing calls at a time, and only one that fits its state: Start when it is Stopped, Stop and Kill when it is not, Pause when
// it is Running, Resume when it is Paused, Wipe when it is Stopped. A node may still have ended in between. State and Logs come at
// any time.
type Nodes interface {
	State(ctx context.Context, n plan.Node) (topology.State, error)
	// Start returns when the node runs. ctx is cut short by the end of the world only, not by a caller that goes away. alone: see
	// topology.LoneStarter; only stores are asked.
	Start(ctx context.Context, n plan.Node, alone bool) error
	Stop(ctx context.Context, n plan.Node) error
	Kill(ctx context.Context, n plan.Node) error
	// Pause and Resume return when State shows it.
	Pause(ctx context.Context, n plan.Node) error
	Resume(ctx context.Context, n plan.Node) error
	Wipe(ctx context.Context, n plan.Node) error
	// Logs returns the last lines that the node wrote; none is no error.
	Logs(ctx context.Context, n plan.Node, lines int) ([]string, error)
}

// Zone changes and reads the public zone.
type Zone interface {
	Records(ctx context.Context) ([]topology.Record, error)
	Point(ctx context.Context, name string, to topology.Site) error
}

// Machines are a world's nodes and what they stand on, in the process that owns the world.
type Machines interface {
	Nodes
	// Open makes what nodes need before they start — networks, the links' doors with their delays, the zone — and whatever else is
	// made once. It is called once, before everything else. It may complete f by what is known only now: Toxiproxy, Names, Engines,
	// Images, Details.
	Open(ctx context.Context, f *File) (Zone, error)
	// Ended returns when the node that was started ends, in whatever way, and says how ("exit status 3"); at once when it does not
	// run. When ctx ends first, that is the error.
	Ended(ctx context.Context, n plan.Node) (how string, err error)
	// Down ends all nodes at once without courtesy and removes everything but the logs. It is called once, also when Open failed;
	// no changing call is under way then, and none comes after. The state folder is removed after it.
	Down(ctx context.Context) error
}

// Ground is the place of a new world that its Machines are made for.
type Ground struct {
	File   File   // what is known of it already: id, owner, plan, secret, folders
	Folder string // run folder
	Bypass bool   // planted: links are to be gone around (wan.Forward)
	// Extra are planted arguments of the platform's own nodes, by kind.
	Extra map[string][]string
	Say   func(what string) // a line of progress
}

// Spec is what a runtime says of a world that is to be made.
type Spec struct {
	Prefix  int               // plan.Loopback or plan.Private
	Octet   int               // the one octet that will do; 0: the first free one
	Engines map[string]string // product → version, as installed; servers confirm it. What is not in it is taken from the servers
	Images  []topology.Image
	ID      string // the world's; "": a new one
	Secret  string // password of its database users; "": a new one
	// Complete fills in what is known only once the addresses are held against other worlds, such as what a world that somebody
	// else made has. nil: everything has been said.
	Complete func(ctx context.Context, s *Spec) error
	// Raise makes one platform of the machines that Open opened, and returns when it serves. nil: every node that runs in normal
	// times is started, and the platform is wired.
	Raise func(ctx context.Context, c *wire.Console) error
	// Free says why the addresses of a plan cannot be used, or nil. It is called while the octet is held against other worlds.
	// nil: all addresses of this machine that the plan listens on must be free (Bindable).
	Free func(ctx context.Context, p plan.Plan) error
	// Sweep removes what dead worlds left, before this one is made. nil: Host.Sweep.
	Sweep func(ctx context.Context) ([]string, error)
	// Make makes the world's Machines and starts nothing.
	Make       func(g Ground) Machines
	Parallel   int           // at most so many nodes are started at once; 0: all of a kind
	DownBudget time.Duration // bound of the end of the world, whatever the caller's context says; 0: 10 s
}
