package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/provision"
	"github.com/kirikae/kirikae/topology/wan"
)

// Name of this runtime.
const Name = "docker"

// Config says what worlds are made from. Attach needs CacheDir only, Sweep an engine beside it.
type Config struct {
	CacheDir string        // "": the cache of provision
	Policy   images.Policy // "": auto
	Bin      string        // folder of the static Linux programs inside and paymentd, which go into images
	Octet    int           // the one second octet to use; 0: the first free one
	Parallel int           // containers that are made or started at once; 0: twice the engine's CPUs
	Say      func(string)  // told which images are looked for and pulled; nil: nobody
}

// Runtime makes and finds worlds of containers. It implements topology.Runtime. It holds connections to the engine once it has
// needed one, until Close.
type Runtime struct {
	c    Config
	host hosted.Host
	// lasting: what is made outlives this process, so that no reaper may follow it.
	lasting bool

	mu     sync.Mutex
	engine *engine.Engine
	set    images.Set
	reaper bool
}

// New makes a runtime. Nothing is started or looked at.
func New(c Config) (*Runtime, error) {
	dir, err := provision.CacheDir(c.CacheDir)
	if err != nil {
		return nil, fmt.Errorf("find the cache: %w: %w", topology.ErrEnvironment, err)
	}
	c.CacheDir = dir
	r := &Runtime{c: c}
	r.host = hosted.Host{Runtime: Name, Cache: dir, Remove: r.remove}
	return r, nil
}

// Name implements topology.Runtime.
func (r *Runtime) Name() string { return Name }

// Close lets go of the engine. Worlds go on.
func (r *Runtime) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.engine
	r.engine, r.set = nil, nil
	if e == nil {
		return nil
	}
	return e.Close()
}

// open finds the engine, once.
func (r *Runtime) open(ctx context.Context) (*engine.Engine, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.engine != nil {
		return r.engine, nil
	}
	e, err := engine.Open(ctx)
	if err != nil {
		return nil, err
	}
	log.SetDefault(quiet{}) // testcontainers introduces itself at length
	if r.lasting {
		if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
			return nil, errors.Join(fmt.Errorf("do without a reaper: %w: %w", topology.ErrEnvironment, err), e.Close())
		}
	}
	if r.reaper, err = e.Prepare(ctx, testcontainers.ReaperDefaultImage); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare testcontainers: %w: %w", topology.ErrEnvironment, err), e.Close())
	}
	r.engine = e
	return e, nil
}

// Check says why this machine cannot make a world from this configuration, or nil. Images that have to be pulled are pulled, so
// that nothing is while a world is made.
func (r *Runtime) Check(ctx context.Context) error {
	_, _, err := r.ready(ctx)
	if err != nil {
		return fmt.Errorf("a world of containers cannot be made: %w", err)
	}
	return nil
}

// ready is the engine and an image for everything, once all of it has been looked at.
func (r *Runtime) ready(ctx context.Context) (*engine.Engine, images.Set, error) {
	e, err := r.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	set := r.set
	r.mu.Unlock()
	if set != nil {
		return e, set, nil
	}
	o := images.Options{Bin: r.c.Bin, Cache: r.c.CacheDir, Say: r.c.Say}
	policy := r.c.Policy
	if policy == "" {
		policy = images.Auto
	}
	if set, err = images.NewResolver(e.Client, o).Resolve(ctx, policy); err != nil {
		return nil, nil, err
	}
	if err := r.sameKernel(ctx, e, set); err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set = set
	return e, set, nil
}

// attempts is how often the next free octet is tried when somebody takes the first one at the same moment.
const attempts = 5

// downBudget bounds the end of a world: the engine removes a few dozen containers.
const downBudget = 60 * time.Second

// Create makes a world, in the process that owns it from now on, and returns when a customer in the outside could be served.
// What it made is gone again when it fails. Images are there before it begins: no pull counts as a world's start.
func (r *Runtime) Create(ctx context.Context, t topology.Topology, o topology.Options) (topology.World, error) {
	if err := r.Check(ctx); err != nil {
		return nil, err
	}
	e, set, err := r.ready(ctx)
	if err != nil {
		return nil, err
	}
	parallel := r.parallel(e)
	s := hosted.Spec{
		Prefix: plan.Private, Octet: r.c.Octet, Engines: engines(e, set), Images: set.Images(),
		Free:  func(ctx context.Context, p plan.Plan) error { return free(ctx, e.Client, p) },
		Sweep: r.Sweep,
		Make: func(g hosted.Ground) hosted.Machines {
			m := newMachines(e, set, filepath.Join(r.c.Bin, "inside"), parallel, nil, g)
			m.agent = provision.Agent(r.c.CacheDir)
			return m
		},
		Parallel: parallel, DownBudget: downBudget,
	}
	for i := 1; ; i++ {
		w, err := r.host.Create(ctx, t, o, s)
		if err == nil || !errors.Is(err, errTaken) || i == attempts || ctx.Err() != nil {
			return w, err
		}
		if o.Progress != nil {
			o.Progress(fmt.Sprintf("try other addresses: %v", err))
		}
	}
}

func (r *Runtime) parallel(e *engine.Engine) int {
	if r.c.Parallel > 0 {
		return r.c.Parallel
	}
	return 2 * max(1, e.CPUs)
}

// engines are the products' versions, as far as the images say; servers confirm them.
func engines(e *engine.Engine, set images.Set) map[string]string {
	m := map[string]string{"docker": e.Version, "toxiproxy": wan.Version()}
	for _, name := range []string{containers.ImageMySQL, containers.ImageCassandra} {
		if v := set[name].Version; v != "" { // of an official one, whose tag may stand for many, what the servers say is taken
			m[name] = v
		}
	}
	return m
}

// Attach implements topology.Runtime. It needs no engine: the world process has one.
func (r *Runtime) Attach(ctx context.Context, folder string) (topology.World, error) {
	return r.host.Attach(ctx, folder)
}

// Sweep removes what worlds of dead owners left: containers with their volumes, networks, volumes, state folders, and names the
// worlds. A living owner's world is never touched, and on another machine's engine none but this boot's.
func (r *Runtime) Sweep(ctx context.Context) ([]string, error) {
	var swept []string
	e, err := r.open(ctx)
	if err == nil {
		swept, err = sweepLabels(ctx, e)
		if err != nil {
			return swept, fmt.Errorf("sweep: %w: %w", topology.ErrEnvironment, err)
		}
	} else if left, _ := os.ReadDir(r.host.Worlds()); len(left) == 0 {
		return nil, nil // no engine, and never a world here
	}
	// Their state folders; and all of the worlds that died just now.
	more, err := r.host.Sweep(ctx)
	for _, s := range more {
		if !slices.Contains(swept, s) {
			swept = append(swept, s)
		}
	}
	return swept, err
}

// remove removes what a world of a dead owner left beside its state folder.
func (r *Runtime) remove(ctx context.Context, dir string, _ topology.Owner) error {
	e, err := r.open(ctx)
	if err != nil {
		return err
	}
	return removeWorld(ctx, e.Client, filepath.Base(dir))
}

var _ topology.Runtime = (*Runtime)(nil)
