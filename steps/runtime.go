package steps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/fixtures"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/compose"
	"github.com/kirikae/kirikae/topology/docker"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
	"github.com/kirikae/kirikae/topology/local"
	"github.com/kirikae/kirikae/topology/provision"
)

// Worlds are the names that --world takes: worlds that somebody else made.
func Worlds() []string { return []string{compose.World} }

// RuntimeOf is the runtime that a world which somebody else made is driven by. asked and images are what --runtime and --images
// say, "" where they were not given: such a world has its own.
func RuntimeOf(world, asked, images string) (string, error) {
	if world == "" && asked == compose.World {
		return "", usagef("--runtime %s: a world that docker-compose made is named by --world %[1]s", asked)
	}
	if world == "" {
		return asked, nil
	}
	if !slices.Contains(Worlds(), world) {
		return "", usagef("--world: %v", topology.Unknown("world", world, Worlds()))
	}
	if asked != "" && asked != runtimeAuto {
		return "", usagef("--world %s drills the world that docker-compose up made, --runtime %s would make another one: give one of them", world, asked)
	}
	if images != "" && images != runtimeAuto {
		return "", usagef("--world %s has its images already (KIRIKAE_IMAGE_… chose them when docker-compose made it): leave --images out", world)
	}
	return world, nil
}

// CheckVolumes refuses a place for volumes that there is not, and another one than a world has that somebody else made.
func CheckVolumes(world, volumes string) error {
	v, err := topology.ParseVolumes(volumes)
	if err != nil {
		return usagef("--volumes: %v", err)
	}
	if world != "" && v != topology.VolumesDisk {
		return usagef("--world %s has its volumes already: leave --volumes %s out", world, v)
	}
	return nil
}

// Runtimes are the names that --runtime takes.
func Runtimes() []string { return []string{runtimeAuto, docker.Name, local.Name} }

const runtimeAuto = "auto" // docker where it can make a world, else local

// RuntimeSpec says which runtime is meant, and what it makes worlds from. Attaching and sweeping need the name only.
type RuntimeSpec struct {
	Name     string       // auto, docker, local; compose: the world that docker-compose made
	Images   string       // docker: auto, official, built
	Programs string       // folder of paymentd, and of linux/ with what goes into images; "": worlds are not made
	Say      func(string) // told which images are looked for and pulled; nil: nobody
}

// OpenRuntime opens a runtime by its name; auto is for chooseRuntime. Whether this machine can run it is for its Check to say.
func OpenRuntime(s RuntimeSpec) (topology.Runtime, error) {
	policy, err := images.ParsePolicy(s.Images)
	if err != nil {
		return nil, &UsageError{err.Error()}
	}
	switch s.Name {
	case docker.Name:
		return docker.New(docker.Config{Policy: policy, Bin: filepath.Join(s.Programs, "linux"), Say: s.Say})
	case compose.World:
		return docker.NewComposed(docker.Config{Say: s.Say})
	case local.Name:
		if s.Programs == "" {
			return local.New(local.Config{})
		}
		install, err := provision.Find("")
		if err != nil {
			return lacking{local.Name, err}, nil
		}
		return local.New(local.Config{Install: install, Paymentd: filepath.Join(s.Programs, "paymentd")})
	}
	return nil, &UsageError{topology.Unknown("runtime", s.Name, Runtimes()).Error()}
}

// lacking is a runtime that this machine has nothing for yet.
type lacking struct {
	name string
	why  error
}

func (l lacking) Name() string                { return l.name }
func (l lacking) Check(context.Context) error { return l.why }

func (l lacking) Create(context.Context, topology.Topology, topology.Options) (topology.World, error) {
	return nil, l.why
}
func (l lacking) Attach(context.Context, string) (topology.World, error) { return nil, l.why }
func (l lacking) Sweep(context.Context) ([]string, error)                { return nil, nil }

// chooseRuntime opens the runtime of a run, and says in one line why it is this one. A machine that cannot run it is an error;
// with auto it has the reasons of both.
func chooseRuntime(ctx context.Context, s RuntimeSpec) (topology.Runtime, string, error) {
	if s.Name != runtimeAuto {
		rt, err := OpenRuntime(s)
		if err != nil {
			return nil, "", err
		}
		if err := rt.Check(ctx); err != nil {
			return nil, "", errors.Join(err, closeRuntime(rt))
		}
		return rt, "asked for", nil
	}
	var why []error
	for _, name := range []string{docker.Name, local.Name} {
		s.Name = name
		rt, err := OpenRuntime(s)
		if err != nil {
			return nil, "", err
		}
		err = rt.Check(ctx)
		switch {
		case err == nil && len(why) == 0:
			return rt, "a Docker engine answers, and it has the images", nil
		case err == nil:
			return rt, "not docker: " + plainly(why[0]), nil
		case ctx.Err() != nil:
			return nil, "", errors.Join(err, closeRuntime(rt))
		}
		why = append(why, err)
		if err := closeRuntime(rt); err != nil {
			return nil, "", err
		}
	}
	return nil, "", fmt.Errorf("%w\n  docker: %s\n  local: %s", topology.ErrEnvironment, plainly(why[0]), plainly(why[1]))
}

// closeRuntime lets go of what a runtime holds, such as connections to an engine. Its worlds go on.
func closeRuntime(rt topology.Runtime) error {
	if c, ok := rt.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// plainly is an error without the words that every one of its kind has.
func plainly(err error) string {
	return strings.ReplaceAll(err.Error(), topology.ErrEnvironment.Error()+": ", "")
}

// Attach finds the world of a run folder, whatever its runtime.
func Attach(ctx context.Context, folder string) (topology.World, error) {
	f, err := hosted.ReadFile(folder)
	if err != nil {
		return nil, fmt.Errorf("attach to the world of %s: %w", folder, err)
	}
	rt, err := OpenRuntime(RuntimeSpec{Name: f.Runtime})
	if err != nil {
		return nil, fmt.Errorf("attach to the world of %s: %w", folder, err)
	}
	w, err := rt.Attach(ctx, folder) // the world is driven by its process
	return w, errors.Join(err, closeRuntime(rt))
}

// Sweep removes what dead worlds of any runtime left, and names it.
func Sweep(ctx context.Context) ([]string, error) {
	var swept []string
	var errs []error
	for _, name := range []string{local.Name, docker.Name, compose.World} {
		rt, err := OpenRuntime(RuntimeSpec{Name: name})
		if err != nil {
			return swept, err
		}
		s, err := rt.Sweep(ctx)
		swept, errs = append(swept, s...), append(errs, err, closeRuntime(rt))
	}
	if err := errors.Join(errs...); err != nil {
		return swept, fmt.Errorf("sweep what dead worlds left: %w", err)
	}
	return swept, nil
}

// Up makes a world that outlives this process, in a run folder of its own.
func Up(ctx context.Context, kirikae, out, file string, spec WorldSpec, p *Progress) (string, error) {
	rt, why, err := chooseRuntime(ctx, RuntimeSpec{Name: spec.Runtime, Images: spec.Images, Programs: filepath.Dir(kirikae), Say: func(line string) { p.Say("images", "%s", line) }})
	if err != nil {
		return "", err
	}
	defer closeRuntime(rt)
	p.Say("world", "runtime %s (%s)", rt.Name(), why)
	if _, err := Sweep(ctx); err != nil {
		return "", err
	}
	folder, err := makeFolder(out, "up", time.Now())
	if err != nil {
		return "", err
	}
	if spec.Topology, err = keepTopology(file, folder); err != nil {
		return "", errors.Join(err, os.RemoveAll(folder))
	}
	spec.Folder, spec.Runtime = folder, rt.Name()
	if _, err := StartWorld(ctx, kirikae, spec, func(line string) { p.Say("world", "%s", line) }); err != nil {
		return "", err
	}
	return relative(folder), pointLatest(out, folder)
}

// pointLatest makes reports/out/latest lead to a run folder.
func pointLatest(out, folder string) error {
	latest := filepath.Join(out, "latest")
	if err := os.Remove(latest); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("point latest at %s: %w", folder, err)
	}
	if err := os.Symlink(filepath.Base(folder), latest); err != nil {
		return fmt.Errorf("point latest at %s: %w", folder, err)
	}
	return nil
}

// LoadTopology reads a topology: a file on disk, or else one of the program's own by name.
func LoadTopology(name string) (topology.Topology, error) {
	path, b, err := readTopology(name)
	if err != nil {
		return topology.Topology{}, err
	}
	t, err := topology.Parse(path, b)
	if err != nil {
		return topology.Topology{}, &UsageError{err.Error()}
	}
	return t, nil
}

func readTopology(name string) (path string, content []byte, err error) {
	content, err = os.ReadFile(name)
	if err == nil {
		return name, content, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		content, err = fixtures.FS.ReadFile("topologies/" + name)
	}
	if err != nil {
		known, _ := fs.Glob(fixtures.FS, "topologies/*.yaml")
		for i := range known {
			known[i] = filepath.Base(known[i])
		}
		return "", nil, &UsageError{topology.Unknown("topology file", name, known).Error()}
	}
	return "topologies/" + name, content, nil
}

// keepTopology copies a topology into the run folder: evidence of what was drilled, and what the world process reads.
func keepTopology(name, folder string) (string, error) {
	_, b, err := readTopology(name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, filepath.Base(name))
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return "", fmt.Errorf("keep topology %s: %w", name, err)
	}
	return path, nil
}

// suggest is ", did you mean …?" for a mistyped word, or nothing.
func suggest(word string, known []string) string {
	if n := topology.Nearest(word, known); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}
