package hosted

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

// FileVersion of world.json. An attaching process refuses another one.
const FileVersion = 2

// AcquirerFile is the acquirer's append-only log, in the run folder: it outlives the world.
const AcquirerFile = "acquirer.ndjson"

// File is world.json: all that another process needs to find a world. It holds the world's secret.
type File struct {
	Version   int               `json:"version"`
	Runtime   string            `json:"runtime"`
	ID        string            `json:"id"` // w1a2b3
	Owner     topology.Owner    `json:"owner"`
	Engines   map[string]string `json:"engines"`
	Images    []topology.Image  `json:"images,omitempty"`
	Secret    string            `json:"secret"`
	Control   string            `json:"control,omitempty"` // unix socket of the world process
	Toxiproxy string            `json:"toxiproxy"`         // its API, as a process of this machine reaches it
	LinkLock  string            `json:"link_lock"`         // file by which processes take turns in changing links
	Names     string            `json:"names"`             // the zone's name server, as a process of this machine reaches it
	State     string            `json:"state,omitempty"`   // state folder
	Logs      string            `json:"logs"`
	Acquirer  string            `json:"acquirer"` // the acquirer's log
	Volumes   topology.Volumes  `json:"volumes"`  // where the stores keep their data
	Plan      plan.Plan         `json:"plan"`
	// Details are the runtime's own.
	Details map[string]string `json:"details,omitempty"`
}

// WorldFile is the path of world.json in a run folder.
func WorldFile(run string) string { return filepath.Join(run, history.WorldFile) }

// ReadFile reads a run folder's world.json and refuses another version.
func ReadFile(run string) (File, error) {
	var f File
	if err := ReadJSON(WorldFile(run), &f); errors.Is(err, fs.ErrNotExist) {
		return File{}, fmt.Errorf("it has no %s: no world was made there, or it is not ready", history.WorldFile)
	} else if err != nil {
		return File{}, err
	}
	if f.Version != FileVersion {
		return File{}, fmt.Errorf("its %s is of version %d; this is version %d", history.WorldFile, f.Version, FileVersion)
	}
	return f, nil
}

// WriteJSON replaces a file by a whole new one, readable by this user only.
func WriteJSON(path string, v any) error {
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

// ReadJSON reads a file that WriteJSON wrote. One that does not exist is fs.ErrNotExist.
func ReadJSON(path string, v any) error {
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

func statErr(path string) error {
	_, err := os.Stat(path)
	return err
}
