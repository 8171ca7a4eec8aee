package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// draftAge is how old a state folder without an owner must be before it counts as left behind: making one takes milliseconds.
const draftAge = time.Minute

// Sweep removes what worlds of dead owners left: processes, state folders, sockets. It names what it removed. A world whose
// owner lives is never touched, whatever state it is in.
func (r *Runtime) Sweep(ctx context.Context) ([]string, error) {
	entries, err := os.ReadDir(r.worlds())
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sweep: %w: %w", topology.ErrEnvironment, err)
	}
	var swept []string
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(r.worlds(), e.Name())
		if strings.HasPrefix(e.Name(), ".new-") {
			if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < draftAge {
				continue
			}
			errs = append(errs, os.RemoveAll(dir))
			continue
		}
		o, err := readOwner(dir)
		if absent(err) && absent(statErr(dir)) {
			continue // just went down by itself
		}
		if err == nil && lives(o) {
			continue
		}
		if err != nil && !absent(err) {
			errs = append(errs, fmt.Errorf("sweep %s: whose is it? %w", dir, err))
			continue
		}
		if err := sweepState(ctx, dir); err != nil {
			errs = append(errs, fmt.Errorf("sweep world %s: %w", e.Name(), err))
			continue
		}
		swept = append(swept, fmt.Sprintf("world %s of process %d, which is gone", e.Name(), o.PID))
	}
	if err := errors.Join(errs...); err != nil {
		return swept, fmt.Errorf("%w: %w", topology.ErrEnvironment, err)
	}
	return swept, nil
}

func statErr(path string) error {
	_, err := os.Stat(path)
	return err
}

// sweepState removes one world's leftovers: first its processes, then its files.
func sweepState(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, downBudget)
	defer cancel()
	files, err := filepath.Glob(filepath.Join(dir, "pids", "*.json"))
	if err != nil {
		return err
	}
	for _, f := range files {
		var p process
		if err := readJSON(f, &p); err != nil {
			continue // half written by a process that was killed: then it was its child's last moment too
		}
		if p.PID <= 1 || !p.alive() {
			continue
		}
		// Its own group: only what it started itself is in there.
		if err := syscall.Kill(-p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill process group %d: %w", p.PID, err)
		}
		err := until(ctx, fmt.Sprintf("process %d of %s has ended", p.PID, filepath.Base(f)), func(context.Context) error {
			if p.alive() {
				return errors.New("it still runs")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if socket, err := socketPath(dir, filepath.Base(dir)); err == nil {
		if err := removeSocket(socket); err != nil {
			return err
		}
	}
	// The owner's name goes last: a sweep that is killed is finished by the next.
	entries, err := os.ReadDir(dir)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == ownerFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}
