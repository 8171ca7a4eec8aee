package hosted

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// Host is one runtime's worlds on this machine, for this user. Runtimes have one each and give it their name and cache.
type Host struct {
	Runtime string // "local", "docker"
	Cache   string // folder: worlds-<runtime>/ has the state folders, octets/ the claims of all runtimes
	// Remove removes what a world of a dead owner left outside its state folder; dir is that folder, which is removed after it.
	// nil: nothing is left.
	Remove func(ctx context.Context, dir string, owner topology.Owner) error
}

// Worlds is the folder of the state folders.
func (h Host) Worlds() string { return filepath.Join(h.Cache, "worlds-"+h.Runtime) }

// Attach finds the world of a run folder. A world whose owner is gone has ended: that is topology.ErrUnreachable.
func (h Host) Attach(ctx context.Context, folder string) (topology.World, error) {
	wrap := func(err error) error { return fmt.Errorf("attach to the world of %s: %w", folder, err) }
	f, err := ReadFile(folder)
	if err != nil {
		return nil, wrap(err)
	}
	if f.Runtime != h.Runtime {
		return nil, wrap(fmt.Errorf("it is of runtime %q; this is %s", f.Runtime, h.Runtime))
	}
	w, err := h.attach(f)
	if err != nil {
		return nil, wrap(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := w.client.ping(ctx, f.ID); err != nil {
		_ = w.Close()
		if !Lives(f.Owner) {
			err = fmt.Errorf("%w: the world has ended, its process %d is gone", topology.ErrUnreachable, f.Owner.PID)
		}
		return nil, wrap(err)
	}
	return w, nil
}

// Sweep removes what worlds of dead owners left, and names it. A world whose owner lives is never touched, whatever state it is in.
func (h Host) Sweep(ctx context.Context) ([]string, error) {
	return Sweep(ctx, h.Worlds(), h.Remove)
}

// claimPlace takes everything that another world could want too: the name, the state folder, the addresses.
func (w *owned) claimPlace(ctx context.Context, t topology.Topology, o topology.Options) error {
	folder, err := filepath.Abs(o.Folder)
	if err != nil {
		return fmt.Errorf("find the run folder: %w", err)
	}
	owner, err := Self()
	if err != nil {
		return err
	}
	id := w.spec.ID
	if id == "" {
		id = "w" + randomHex(3)
	}
	w.folder = folder
	logs, acquirer := logsFolder(folder), filepath.Join(folder, AcquirerFile)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return fmt.Errorf("make the folder of logs: %w: %w", topology.ErrEnvironment, err)
	}
	for _, f := range []string{WorldFile(folder), acquirer} {
		if err := statErr(f); err == nil { // one folder is the evidence of one world
			return fmt.Errorf("make a world in %s: %w: the folder has the %s of another world already", folder, topology.ErrEnvironment, filepath.Base(f))
		} else if !absent(err) {
			return fmt.Errorf("make a world in %s: %w: %w", folder, topology.ErrEnvironment, err)
		}
	}
	// The addresses first: a world with a name of its own has one state folder, which belongs to who holds them.
	if w.claim, err = w.host.Claim(ctx, w.spec.Octet, id, folder, func(x int) error { return w.free(ctx, t, x) }); err != nil {
		return err
	}
	if w.spec.Complete != nil {
		if err := w.spec.Complete(ctx, &w.spec); err != nil {
			return err
		}
	}
	w.file = File{
		Version: FileVersion, Runtime: w.host.Runtime, ID: id, Owner: owner, Engines: map[string]string{}, Images: w.spec.Images,
		Secret: w.spec.Secret, Logs: logs, Acquirer: acquirer, Volumes: cmp.Or(o.Volumes, topology.VolumesDisk),
	}
	if w.file.Secret == "" {
		w.file.Secret = randomHex(16)
	}
	for k, v := range w.spec.Engines {
		w.file.Engines[k] = v
	}
	if w.file.State, err = makeState(w.host.Worlds(), id, owner); err != nil {
		return err
	}
	if w.file.Control, err = socketPath(w.file.State, id); err != nil {
		return err
	}
	w.file.Plan = w.layout(t, w.claim.Octet)
	w.file.Toxiproxy, w.file.Names = w.file.Plan.Toxiproxy(), w.file.Plan.Names(false)
	w.file.LinkLock = filepath.Join(w.file.State, "links.lock")
	return nil
}
