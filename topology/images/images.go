// Package images has every image that a world's containers are made from, by one table: official ones where they are present
// or can be pulled, else ones built here from the machine's ordinary package clients, with no image registry.
//
// A built image is named after a digest over all that goes into it, so that an unchanged input is found by its name and nothing
// is built. All of them carry the program inside, at /kirikae/inside, and those with servers say in /kirikae/install.json where
// they are.
package images

import (
	"fmt"
	"slices"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/images/install"
)

// Policy says which images a world may be made from.
type Policy string

// Policies.
const (
	Auto     Policy = "auto"     // official where present or quickly pullable, else built
	Official Policy = "official" // present or pulled; what has no official reference is built
	Built    Policy = "built"    // never official
)

// ParsePolicy reads a policy as a user types it; "" is Auto.
func ParsePolicy(text string) (Policy, error) {
	known := []string{string(Auto), string(Official), string(Built)}
	switch {
	case text == "":
		return Auto, nil
	case slices.Contains(known, text):
		return Policy(text), nil
	}
	return "", topology.Unknown("policy of images", text, known)
}

// Sources of an image, in topology.Image.
const (
	SourceOfficial = "official"
	SourceBuilt    = "built"
)

// Labels of the images that are built here.
const (
	LabelImage  = "kirikae.image"  // its name in the table
	LabelInputs = "kirikae.inputs" // digest over all that went into it
	// LabelVersion is the product's version, "9.7.4".
	LabelVersion = "kirikae.version"
)

// Resolved is an image that containers can be made from.
type Resolved struct {
	topology.Image
	Install *install.Install // where the servers are in an official image; nil: the image says so itself
	User    string           // uid:gid that its servers run as
	Version string           // of the product in a built image; "": only the server knows
}

// Set is an image for every name of a table.
type Set map[string]Resolved

// Images are the set's images in the order of their names, for a report.
func (s Set) Images() []topology.Image {
	var all []topology.Image
	for _, r := range s {
		all = append(all, r.Image)
	}
	slices.SortFunc(all, func(a, b topology.Image) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

// Get returns an image by its name in the table.
func (s Set) Get(name string) (Resolved, error) {
	r, ok := s[name]
	if !ok {
		var known []string
		for n := range s {
			known = append(known, n)
		}
		slices.Sort(known)
		return Resolved{}, fmt.Errorf("find an image: %w", topology.Unknown("image", name, known))
	}
	return r, nil
}
