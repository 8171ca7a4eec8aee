package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

// process names a process for good: a PID alone would be reused.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start_time"` // clock ticks since boot
}

// stat is what the kernel says about a process: its state letter and its start time.
func stat(pid int) (state byte, start uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The second field is the program's name in parentheses and may hold anything.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, 0, fmt.Errorf("read /proc/%d/stat: no name in it", pid)
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return 0, 0, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(f))
	}
	start, err = strconv.ParseUint(string(f[19]), 10, 64)
	return f[0][0], start, err
}

// alive says whether exactly this process still runs. A zombie does not.
func (p process) alive() bool {
	state, start, err := stat(p.PID)
	return err == nil && start == p.Start && state != 'Z' && state != 'X'
}

func self() (topology.Owner, error) {
	_, start, err := stat(os.Getpid())
	if err != nil {
		return topology.Owner{}, fmt.Errorf("read the start time of this process: %w: %w", topology.ErrEnvironment, err)
	}
	return topology.Owner{BootID: history.BootID(), PID: os.Getpid(), StartTime: start}, nil
}

// lives says whether the owner of a world still runs.
func lives(o topology.Owner) bool {
	return o.BootID == history.BootID() && process{o.PID, o.StartTime}.alive()
}

const ownerFile = "owner.json"

// makeState makes a state folder that is never seen without its owner.
func makeState(worlds, id string, o topology.Owner) (string, error) {
	if err := os.MkdirAll(worlds, 0o700); err != nil {
		return "", fmt.Errorf("make the folder of worlds: %w: %w", topology.ErrEnvironment, err)
	}
	draft, err := os.MkdirTemp(worlds, ".new-")
	if err != nil {
		return "", fmt.Errorf("make the folder of world %s: %w: %w", id, topology.ErrEnvironment, err)
	}
	dir := filepath.Join(worlds, id)
	err = writeJSON(filepath.Join(draft, ownerFile), o)
	for _, sub := range []string{"data", "pids"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(draft, sub), 0o700))
	}
	if err == nil {
		err = os.Rename(draft, dir)
	}
	if err != nil {
		return "", fmt.Errorf("make the folder of world %s: %w: %w", id, topology.ErrEnvironment, errors.Join(err, os.RemoveAll(draft)))
	}
	return dir, nil
}

func readOwner(dir string) (topology.Owner, error) {
	var o topology.Owner
	return o, readJSON(filepath.Join(dir, ownerFile), &o)
}

// writeJSON replaces a file by a whole new one, readable by this user only.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
