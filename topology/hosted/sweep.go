package hosted

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// draftAge is how old a state folder without an owner must be before it counts as left behind: making one takes milliseconds.
const draftAge = time.Minute

// sweepBudget bounds what is removed of one dead world.
const sweepBudget = 60 * time.Second

// Sweep removes the state folders of dead owners below worlds, each after remove has removed what belonged to its world, and names
// them. A world whose owner lives is never touched, whatever state it is in; an owner of another boot is dead. remove may be nil.
func Sweep(ctx context.Context, worlds string, remove func(ctx context.Context, dir string, owner topology.Owner) error) ([]string, error) {
	entries, err := os.ReadDir(worlds)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sweep: %w: %w", topology.ErrEnvironment, err)
	}
	var swept []string
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(worlds, e.Name())
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
		if err == nil && Lives(o) {
			continue
		}
		if absent(err) && (os.Remove(dir) == nil || absent(statErr(dir))) {
			continue // empty: somebody was killed while sweeping it, at the very last; or who was removing it has done so by now
		}
		if err != nil { // not removed: a folder full of files that says no owner was not made here
			errs = append(errs, fmt.Errorf("sweep %s: whose is it? %w", dir, err))
			continue
		}
		if err := sweepState(ctx, dir, o, remove); err != nil {
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

// sweepState removes one world's leftovers: first what its runtime left, then its files.
func sweepState(ctx context.Context, dir string, owner topology.Owner, remove func(context.Context, string, topology.Owner) error) error {
	ctx, cancel := context.WithTimeout(ctx, sweepBudget)
	defer cancel()
	if remove != nil {
		if err := remove(ctx, dir, owner); err != nil {
			return err
		}
	}
	if socket, err := socketPath(dir, filepath.Base(dir)); err == nil {
		if err := removeSocket(socket); err != nil {
			return err
		}
	}
	return removeState(dir)
}

// removeState removes a state folder, the owner's name last: a sweep that is killed is finished by the next, and one that looks while
// a world goes down by itself still sees whose it is.
func removeState(dir string) error {
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
