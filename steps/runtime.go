package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kirikae/kirikae/fixtures"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/docker"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
	"github.com/kirikae/kirikae/topology/local"
	"github.com/kirikae/kirikae/topology/provision"
)

// Runtimes are the names that --runtime takes.
func Runtimes() []string { return []string{runtimeAuto, docker.Name, local.Name} }

const runtimeAuto = "auto" // docker where it can make a world, else local

// RuntimeSpec says which runtime is meant, and what it makes worlds from. Attaching and sweeping need the name only.
type RuntimeSpec struct {
	Name     string       // auto, docker, local
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
		return rt, "asked for", rt.Check(ctx)
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
			return nil, "", err
		}
		why = append(why, err)
	}
	return nil, "", fmt.Errorf("%w\n  docker: %s\n  local: %s", topology.ErrEnvironment, plainly(why[0]), plainly(why[1]))
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
	return rt.Attach(ctx, folder)
}

// Sweep removes what dead worlds of any runtime left, and names it.
func Sweep(ctx context.Context) ([]string, error) {
	var swept []string
	var errs []error
	for _, name := range []string{local.Name, docker.Name} {
		rt, err := OpenRuntime(RuntimeSpec{Name: name})
		if err != nil {
			return swept, err
		}
		s, err := rt.Sweep(ctx)
		swept, errs = append(swept, s...), append(errs, err)
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
