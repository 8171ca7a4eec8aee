package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/provision"
	"github.com/kirikae/kirikae/topology/wan"
)

// Name of this runtime.
const Name = "local"

// Config says what worlds are made from. Attach and Sweep need CacheDir only.
type Config struct {
	Install  provision.Install
	Paymentd string // path of the program paymentd
	CacheDir string // "": the cache of provision
	Octet    int    // the one second octet to use; 0: the first free one
}

// Runtime makes and finds local worlds. It implements topology.Runtime.
type Runtime struct {
	c    Config
	host hosted.Host
}

// New makes a runtime. Nothing is started or looked at.
func New(c Config) (*Runtime, error) {
	dir, err := provision.CacheDir(c.CacheDir)
	if err != nil {
		return nil, fmt.Errorf("find the cache: %w: %w", topology.ErrEnvironment, err)
	}
	c.CacheDir = dir
	return &Runtime{c, hosted.Host{Runtime: Name, Cache: dir, Remove: removeNodes}}, nil
}

// Name implements topology.Runtime.
func (r *Runtime) Name() string { return Name }

// Check says why this machine cannot make a world from this configuration, or nil.
func (r *Runtime) Check(ctx context.Context) error {
	var missing []error
	need := func(what, path string) {
		if path == "" {
			missing = append(missing, fmt.Errorf("%s is not provisioned", what))
		} else if _, err := os.Stat(path); err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", what, err))
		}
	}
	in := r.c.Install
	mysqld := ""
	if len(in.MySQL.Mysqld) > 0 {
		mysqld = in.MySQL.Mysqld[0]
	}
	need("MySQL", mysqld)
	need("MySQL's empty data folder", in.MySQL.Template)
	need("Java", in.Java.Path)
	need("Cassandra's agent", in.Cassandra.Jamm)
	need("Cassandra's JMX agent", in.Cassandra.Jolokia)
	need("paymentd", r.c.Paymentd)
	if err := errors.Join(missing...); err != nil {
		return fmt.Errorf("a local world cannot be made: %w: %w", topology.ErrEnvironment, err)
	}
	return ctx.Err()
}

// Create implements topology.Runtime.
func (r *Runtime) Create(ctx context.Context, t topology.Topology, o topology.Options) (topology.World, error) {
	if err := r.Check(ctx); err != nil {
		return nil, err
	}
	in := r.c.Install
	return r.host.Create(ctx, t, o, hosted.Spec{
		Prefix:  plan.Loopback,
		Octet:   r.c.Octet,
		Engines: map[string]string{"mysql": in.MySQL.Version, "cassandra": in.Cassandra.Version, "java": in.Java.Version, "toxiproxy": wan.Version()},
		Make:    func(g hosted.Ground) hosted.Machines { return newMachines(r.c, g) },
	})
}

// Attach implements topology.Runtime.
func (r *Runtime) Attach(ctx context.Context, folder string) (topology.World, error) {
	return r.host.Attach(ctx, folder)
}

// Sweep implements topology.Runtime.
func (r *Runtime) Sweep(ctx context.Context) ([]string, error) { return r.host.Sweep(ctx) }

// Serve keeps a world that this process created until it goes down; see hosted.Serve.
func Serve(ctx context.Context, w topology.World, owner io.Reader) error {
	return hosted.Serve(ctx, w, owner)
}

var _ topology.Runtime = (*Runtime)(nil)
