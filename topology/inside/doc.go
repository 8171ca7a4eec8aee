// Package inside is what runs inside the containers of a world: the WAN, the zone's name server, the network of a Cassandra node,
// the starters of both stores, the wiring of a composed world, and what health checks and isolation tests ask. Command inside is
// its command line; one static program that needs no shell, no user database and no temporary folder.
//
// Its functions take what they need as values, run until their context ends, and return nil after an orderly stop.
package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/provision"
)

// Files of a container.
const (
	InstallFile = "/kirikae/install.json" // what the image has, and where
	AloneFile   = "/kirikae/alone"        // "true": the next start is topology.LoneStarter's
)

// SecretVariable holds the password of the world's database users. It is no flag, so that no process list shows it.
const SecretVariable = "KIRIKAE_SECRET"

// Say is told what happens, a line each.
type Say func(line string)

func (s Say) f(format string, a ...any) {
	if s != nil {
		s(fmt.Sprintf(format, a...))
	}
}

// closeBudget bounds the end of what was opened.
const closeBudget = 3 * time.Second

// Install is what an image has. What it has not is nil.
type Install struct {
	Java      *provision.Java      `json:"java,omitempty"`
	Cassandra *provision.Cassandra `json:"cassandra,omitempty"`
	MySQL     *provision.MySQL     `json:"mysql,omitempty"`
}

// ReadInstall reads an image's table of contents.
func ReadInstall(path string) (Install, error) {
	var in Install
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &in)
	}
	if err != nil {
		return Install{}, fmt.Errorf("read what the image has: %w: %w", topology.ErrEnvironment, err)
	}
	return in, nil
}

// ReadAlone says whether the next start is one for the data's sake (topology.LoneStarter). No file means no.
func ReadAlone(path string) (bool, error) {
	b, err := os.ReadFile(path)
	switch text := strings.TrimSpace(string(b)); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read whether to start alone: %w: %w", topology.ErrEnvironment, err)
	case text == "true":
		return true, nil
	case text == "false" || text == "":
		return false, nil
	default:
		return false, fmt.Errorf("read whether to start alone: %s holds %q, true or false was expected", path, text)
	}
}

// writeFiles writes a command's rendered configuration.
func writeFiles(files map[string]string) error {
	for path, text := range files {
		if err := writeFile(path, text); err != nil {
			return fmt.Errorf("write configuration: %w: %w", topology.ErrEnvironment, err)
		}
	}
	return nil
}

// environment is what a server is started with: the container's own, without the world's secret, and with what the server wants.
// Where nothing says otherwise, temporary files go to a folder that is there.
func environment(own, wanted []string, tmp string) []string {
	var all []string
	have := map[string]bool{}
	for _, kv := range own {
		name, _, _ := strings.Cut(kv, "=")
		if name != SecretVariable {
			all = append(all, kv)
			have[name] = true
		}
	}
	for _, kv := range []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=" + tmp, "TMPDIR=" + tmp} {
		if name, _, _ := strings.Cut(kv, "="); !have[name] {
			all = append(all, kv)
		}
	}
	return append(all, wanted...)
}
