package hosted

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

// Process names a process of this machine for good: a PID alone would be reused.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start_time"` // clock ticks since boot
}

// Stat is what the kernel says about a process: its state letter (man 5 proc) and its start time. The kernel's letter is that of the first
// thread, which may have ended before the others: a MySQL that was killed is a zombie by it while its ports still answer. Such a process is said to sleep.
func Stat(pid int) (state byte, start uint64, err error) {
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
	state = f[0][0]
	if threads := string(f[17]); state == 'Z' && threads != "0" && threads != "1" {
		state = 'S'
	}
	start, err = strconv.ParseUint(string(f[19]), 10, 64)
	return state, start, err
}

// Alive says whether exactly this process still runs. A zombie does not.
func (p Process) Alive() bool {
	state, start, err := Stat(p.PID)
	return err == nil && start == p.Start && state != 'Z' && state != 'X'
}

// Self is this process as an owner of worlds.
func Self() (topology.Owner, error) {
	_, start, err := Stat(os.Getpid())
	if err != nil {
		return topology.Owner{}, fmt.Errorf("read the start time of this process: %w: %w", topology.ErrEnvironment, err)
	}
	return topology.Owner{BootID: history.BootID(), PID: os.Getpid(), StartTime: start}, nil
}

// Lives says whether an owner still runs on this machine. One of another boot does not.
func Lives(o topology.Owner) bool {
	return o.BootID == history.BootID() && Process{o.PID, o.StartTime}.Alive()
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
	err = WriteJSON(filepath.Join(draft, ownerFile), o)
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
	return o, ReadJSON(filepath.Join(dir, ownerFile), &o)
}
