package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
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
type Runtime struct{ c Config }

// New makes a runtime. Nothing is started or looked at.
func New(c Config) (*Runtime, error) {
	dir, err := provision.CacheDir(c.CacheDir)
	if err != nil {
		return nil, fmt.Errorf("find the cache: %w: %w", topology.ErrEnvironment, err)
	}
	c.CacheDir = dir
	return &Runtime{c}, nil
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
	need("paymentd", r.c.Paymentd)
	if err := errors.Join(missing...); err != nil {
		return fmt.Errorf("a local world cannot be made: %w: %w", topology.ErrEnvironment, err)
	}
	return ctx.Err()
}

func (r *Runtime) worlds() string  { return filepath.Join(r.c.CacheDir, "worlds") }
func (r *Runtime) octets() string  { return filepath.Join(r.c.CacheDir, "octets") }
func worldFile(run string) string  { return filepath.Join(run, history.WorldFile) }
func logsFolder(run string) string { return filepath.Join(run, history.LogsFolder) }

// AcquirerFile is the acquirer's append-only log, in the run folder: it outlives the world.
const AcquirerFile = "acquirer.ndjson"

// fileVersion of world.json. An attaching process refuses another one.
const fileVersion = 1

// file is world.json.
type file struct {
	Version   int               `json:"version"`
	Runtime   string            `json:"runtime"`
	ID        string            `json:"id"`
	Octet     int               `json:"octet"`
	Owner     topology.Owner    `json:"owner"`
	Engines   map[string]string `json:"engines"`
	Secret    string            `json:"secret"`
	Control   string            `json:"control"`   // unix socket of the world process
	Toxiproxy string            `json:"toxiproxy"` // its API
	LinkLock  string            `json:"link_lock"`
	Names     string            `json:"names"` // the zone's name server
	State     string            `json:"state"` // state folder
	Logs      string            `json:"logs"`
	Acquirer  string            `json:"acquirer"` // the acquirer's log
	Nodes     []nodeSpec        `json:"nodes"`
	Routes    []wan.Route       `json:"routes"`
	Topology  topology.Topology `json:"topology"`
}

// Attach finds the world of a run folder. A world whose owner is gone has ended: that is topology.ErrUnreachable.
func (r *Runtime) Attach(ctx context.Context, folder string) (topology.World, error) {
	var f file
	if err := readJSON(worldFile(folder), &f); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("attach to the world of %s: it has no %s: no world was made there, or it is not ready", folder, history.WorldFile)
	} else if err != nil {
		return nil, fmt.Errorf("attach to the world of %s: %w", folder, err)
	}
	if f.Version != fileVersion || f.Runtime != Name {
		return nil, fmt.Errorf("attach to the world of %s: it is of runtime %q, version %d; this is %s, version %d", folder, f.Runtime, f.Version, Name, fileVersion)
	}
	w, err := attach(f)
	if err != nil {
		return nil, fmt.Errorf("attach to the world of %s: %w", folder, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := w.ping(ctx); err != nil {
		_ = w.Close()
		if !lives(f.Owner) {
			err = fmt.Errorf("%w: the world has ended, its process %d is gone", topology.ErrUnreachable, f.Owner.PID)
		}
		return nil, fmt.Errorf("attach to the world of %s: %w", folder, err)
	}
	return w, nil
}

var _ topology.Runtime = (*Runtime)(nil)
