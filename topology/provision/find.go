package provision

import (
	"context"
	"fmt"

	"github.com/kirikae/kirikae/topology"
)

// Find returns the install of a cache ("" is the user's own) and never fetches. Its error wraps topology.ErrEnvironment and says
// what is missing and how to get it.
func Find(cache string) (Install, error) {
	dir, err := CacheDir(cache)
	if err != nil {
		return Install{}, err
	}
	return Install{}, fmt.Errorf("%w: nothing is provisioned in %s: run `kirikae provision`", topology.ErrEnvironment, dir)
}

func ensure(_ context.Context, cache string, _ Options) (Install, error) { return Find(cache) }

// Need is one thing that provisioning or a world needs of this machine.
type Need struct {
	Name string // "apt-get"
	Why  string // what it is for
	Have string // what is there: a path, a version, an amount
	OK   bool
	Fix  string // how to get it; "" when OK
}

// Doctor says what is needed and what is there, without fetching anything.
func Doctor(_ context.Context) []Need { return nil }
