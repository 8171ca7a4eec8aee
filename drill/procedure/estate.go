// Package procedure turns operators' procedures, written in YAML, into runbooks. It has the loader and the verbs that the
// procedures are made of; what a verb touches it reaches through the small interfaces declared here, which the product folders
// satisfy: no driver, no address, no container is known to it.
package procedure

import (
	"context"
	"fmt"

	"github.com/kirikae/kirikae/topology"
)

// Estate is everything that the operators of a platform can reach. Asking for a part connects to nothing: a server that is
// dead is an error of the call on it, bounded by that call's context. All calls may be repeated.
type Estate interface {
	Places
	// Database is the MySQL of a region.
	Database(site topology.Site) (Database, error)
	// Ring is the Cassandra of a region.
	Ring(site topology.Site) (Ring, error)
	// Params is the parameter store of a region.
	Params(site topology.Site) (Params, error)
	// Payments is the entry of a region (its gateway), where operators make a synthetic payment.
	Payments(site topology.Site) (Payments, error)
	// Status is what a running app, batch or on-premises node says of itself (GET /status).
	Status(ctx context.Context, node topology.Node) (Status, error)
}

// Places are the nodes, links and the public zone of a world. A topology.World has them.
type Places interface {
	Topology() topology.Topology
	Nodes(site topology.Site, kind topology.Kind) []topology.Node
	Links() []topology.Link
	Zone() topology.Zone
}

// Database is one MySQL server as its operators use it.
type Database interface {
	// Replication is one consistent read of what the server says of its replication and its write protection.
	Replication(ctx context.Context) (Replication, error)
	// StopReceiver stops the input from the source (STOP REPLICA IO_THREAD). What was received stays to be applied. It may wait
	// for a dead source as long as ctx allows.
	StopReceiver(ctx context.Context) error
	// StartApplier lets what was received be applied (START REPLICA SQL_THREAD); harmless while it runs.
	StartApplier(ctx context.Context) error
	// Detach forgets the source and everything received and not applied (STOP REPLICA; RESET REPLICA ALL).
	Detach(ctx context.Context) error
	// AllowOperators lets operators write, and nobody else, now and after a restart (SET PERSIST super_read_only = OFF, while
	// read_only stays ON).
	AllowOperators(ctx context.Context) error
	// SetWritable lets everybody write, or nobody, now and after a restart.
	SetWritable(ctx context.Context, on bool) error
	// Epoch reads the row that says which site may write, and numbers the switches: an app node that was started in an older
	// epoch is refused.
	Epoch(ctx context.Context) (epoch int64, site string, err error)
	// RaiseEpoch sets the row, if it is below; the same epoch of the same site again is no error, any other is.
	RaiseEpoch(ctx context.Context, to int64, site string) error
}

// Replication is what a MySQL server says of itself.
type Replication struct {
	Source            string // host of the configured source; "" when there is none
	Receiving         bool   // the receiver runs, or is trying to connect
	Applying          bool   // the applier runs
	ApplyError        string // why the applier stopped, "" if for no error
	Received          string // GTID set, as MySQL prints it; "" once detached
	Executed          string // GTID set
	ReadOnly          bool   // read_only or super_read_only is on now
	PersistedWritable bool   // both are off in what the next restart reads

	Connected              bool // the receiver has a connection to the source
	SuperReadOnly          bool // super_read_only is on now: nobody writes, operators included
	PersistedSuperReadOnly bool // and in what the next restart reads
}

// Ring is one region's part of the Cassandra cluster.
type Ring interface {
	// Answers makes one read at LOCAL_QUORUM.
	Answers(ctx context.Context) error
}

// Params is the parameter store of one region.
type Params interface {
	// Read returns all parameters and the version that they have together.
	Read(ctx context.Context) (version int64, values map[string]string, err error)
	// Write merges values and returns the new version.
	Write(ctx context.Context, values map[string]string) (version int64, err error)
}

// Payments is a place where customers pay.
type Payments interface {
	// Pay makes one small payment under a key. The same key is the same payment, however often it is asked for.
	Pay(ctx context.Context, key string) (Paid, error)
}

// Paid is the answer to a payment that was accepted.
type Paid struct {
	Site  topology.Site // region that answered
	Node  string        // node that answered
	Epoch int64
	State string // DONE when it is a promise
}

// Status is what a node says of itself.
type Status struct {
	Site    topology.Site     // region that the node works for; on-premises client: that accepted its last payment
	Epoch   int64             // epoch that it works in; 0 when it has none yet
	Values  map[string]string // online: parameters that it works by now
	Warming string            // online: how far its warm-up is; empty when it is over
	Enabled bool              // batch: it settles business dates
	Paid    int64             // on-premises client: its own payments that were accepted since it was started
}

// able finds an ability of what an estate gives.
func able[T any](what any, name string) (T, error) {
	x, ok := what.(T)
	if !ok {
		return x, fmt.Errorf("%s: %w", name, topology.ErrUnsupported)
	}
	return x, nil
}
