package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kirikae/kirikae/fixtures"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/local"
	"github.com/kirikae/kirikae/topology/provision"
)

// runtimes are the names that --runtime takes.
var runtimes = []string{"auto", "local"}

// OpenRuntime opens a runtime by its name. Creating a world needs the provisioned servers; attaching and sweeping do not.
func OpenRuntime(name, paymentd string) (topology.Runtime, error) {
	switch name {
	case "auto", "local":
		// A cache that is not provisioned yet is said by Check; attaching and sweeping do without it.
		install, err := provision.Find("")
		if err != nil && paymentd != "" {
			return nil, err
		}
		return local.New(local.Config{Install: install, Paymentd: paymentd})
	}
	return nil, &UsageError{topology.Unknown("runtime", name, runtimes).Error()}
}

// chooseRuntime opens the runtime of a run, and says why it is this one. A machine that cannot run it is an error.
func chooseRuntime(ctx context.Context, o Options) (topology.Runtime, string, error) {
	rt, err := OpenRuntime(o.Runtime, o.Paymentd)
	if err != nil {
		return nil, "", err
	}
	if err := rt.Check(ctx); err != nil {
		return nil, "", err
	}
	why := "asked for"
	if o.Runtime == "auto" {
		why = "the only one there is: processes on loopback, no Docker"
	}
	return rt, why, nil
}

// Attach finds the world of a run folder.
func Attach(ctx context.Context, folder string) (topology.World, error) {
	rt, err := OpenRuntime("local", "")
	if err != nil {
		return nil, err
	}
	return rt.Attach(ctx, folder)
}

// Up makes a world that outlives this process, in a run folder of its own.
func Up(ctx context.Context, kirikae, paymentd, out, file string, spec WorldSpec, p *Progress) (string, error) {
	rt, _, err := chooseRuntime(ctx, Options{Runtime: spec.Runtime, Paymentd: paymentd})
	if err != nil {
		return "", err
	}
	if _, err := rt.Sweep(ctx); err != nil {
		return "", fmt.Errorf("sweep what dead worlds left: %w", err)
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
