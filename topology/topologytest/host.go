// Package topologytest is the contract that every runtime passes: a world is created in one process and used from another, nodes
// and links do what their words promise, worlds do not disturb one another, and a killed owner leaves nothing that the next
// start does not sweep.
//
// A runtime's test calls Main from its TestMain and Run from a test, RunConcurrent from another. The world process is the test
// program itself, started again. The suite imports no runtime: what it has to know of one is in its Host.
//
// Everything that the suite itself dials is a Reach; an Endpoint or a door's Address is a value, to be told to a node or dialled
// from inside one. What is published to the machine goes through forwarders in some runtimes. They accept connections on behalf of
// what is dead or cut off behind them, so "no answer" is: refused, or closed at once (but not: silent).
package topologytest

import (
	"context"
	"io"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// Host is what the contract needs to know of a runtime.
type Host struct {
	// Runtime makes the runtime, in any process. paymentd is the path of that program, made for this test.
	Runtime func(paymentd string) (topology.Runtime, error)
	// Serve keeps a created world until it ends or its owner's pipe closes, and leaves nothing.
	Serve func(ctx context.Context, w topology.World, owner io.Reader) error
	// Topology is the path of the topology file.
	Topology string
	// Limits bounds the suite's waits. The zero value is for processes.
	Limits Limits

	// The rest is what a runtime may have. The parts of the suite that need a hook which is nil are left out, by name: see
	// LeftOut.

	// Left names everything of a world that is still on this machine: processes, containers, networks, volumes, folders of
	// state; not its run folder, which stays as evidence.
	Left func(ctx context.Context, worldID string) ([]string, error)
	// Inside dials addresses from inside a node that runs, each for a second or two, and says what became of them: Open,
	// Refused, Timeout or Unreachable.
	Inside func(ctx context.Context, w topology.World, node string, addresses ...string) (map[string]string, error)
	// Gateways are the hosts by which the nodes of a site could address the machine itself: their network's gateway, those of
	// the other networks, the engine's own. With Inside the suite proves that nothing of the machine answers there.
	Gateways func(w topology.World, site topology.Site) []string
	// DropSYN makes every packet vanish that opens a connection to a node, until heal is called: what no proxy can do.
	DropSYN func(ctx context.Context, w topology.World, node string) (heal func(context.Context) error, err error)
}

// What an address did when it was dialled from inside a node.
const (
	Open        = "open"
	Refused     = "refused"
	Timeout     = "timeout"
	Unreachable = "unreachable"
)

// LeftOut begins the line of a test's log that names a part of the suite which the runtime has no hook for.
const LeftOut = "left out:"

// Limits are upper bounds, for a loaded machine. They are waited for in full only by what fails.
type Limits struct {
	Up     time.Duration // until a world is up, from nothing. 0: 3 minutes
	Answer time.Duration // until a node answers that was started, a ring is whole, a standby has caught up. 0: 90 s
	Down   time.Duration // until all of a world is gone. 0: 15 s
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		to *time.Duration
		is time.Duration
	}{{&l.Up, 3 * time.Minute}, {&l.Answer, 90 * time.Second}, {&l.Down, 15 * time.Second}} {
		if *d.to == 0 {
			*d.to = d.is
		}
	}
	return l
}
