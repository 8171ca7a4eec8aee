// Package install is the note that says where the servers are inside an image. It stands in every image that kirikae builds,
// and is put into official ones before they start.
package install

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/kirikae/kirikae/topology/provision"
)

// Paths inside every container.
const (
	Folder  = "/kirikae"
	File    = Folder + "/install.json"
	Program = Folder + "/inside" // the program that starts the servers
)

// Install says where the servers of one image are; paths are those inside it. What the image lacks is nil.
type Install struct {
	Java      *provision.Java      `json:"java,omitempty"`
	Cassandra *provision.Cassandra `json:"cassandra,omitempty"`
	MySQL     *provision.MySQL     `json:"mysql,omitempty"`
}

// Read reads the note of an image.
func Read(path string) (Install, error) {
	var i Install
	b, err := os.ReadFile(path)
	if err != nil {
		return i, fmt.Errorf("read what this image holds: %w", err)
	}
	if err := json.Unmarshal(b, &i); err != nil {
		return i, fmt.Errorf("read what this image holds: %s: %w", path, err)
	}
	return i, nil
}

// JSON is the note's text.
func (i Install) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write what an image holds: %w", err)
	}
	return append(b, '\n'), nil
}
