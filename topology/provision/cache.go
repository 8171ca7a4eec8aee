package provision

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kirikae/kirikae/topology"
)

// CacheDir is the cache's absolute path: the given one, or kirikae in the user's XDG cache folder. It need not exist.
func CacheDir(cache string) (string, error) {
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%w: no cache folder: %w (set XDG_CACHE_HOME or HOME)", topology.ErrEnvironment, err)
		}
		cache = filepath.Join(base, "kirikae")
	}
	abs, err := filepath.Abs(cache)
	if err != nil {
		return "", fmt.Errorf("find cache folder %s: %w", cache, err)
	}
	return abs, nil
}
