package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/wire"
)

// removeNodes ends the processes that a dead world process recorded in its state folder, and removes their data where those lie
// elsewhere. The processes would have died with it, but for what a child's own children are.
func removeNodes(ctx context.Context, dir string, owner topology.Owner) error {
	if err := endProcesses(ctx, dir, owner); err != nil {
		return err
	}
	return forget(filepath.Join(dir, dataFolder))
}

func endProcesses(ctx context.Context, dir string, owner topology.Owner) error {
	if owner.BootID != history.BootID() {
		return nil // they ended with their boot, and their numbers are others' by now
	}
	files, err := filepath.Glob(filepath.Join(dir, pidsFolder, "*.json"))
	if err != nil {
		return err
	}
	for _, f := range files {
		var p hosted.Process
		if err := hosted.ReadJSON(f, &p); err != nil {
			continue // half written by a process that was killed: then it was its child's last moment too
		}
		if p.PID <= 1 || !p.Alive() {
			continue
		}
		// Its own group: only what it started itself is in there.
		if err := syscall.Kill(-p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill process group %d: %w", p.PID, err)
		}
		err := wire.Until(ctx, fmt.Sprintf("process %d of %s has ended", p.PID, filepath.Base(f)), func(context.Context) error {
			if p.Alive() {
				return errors.New("it still runs")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
