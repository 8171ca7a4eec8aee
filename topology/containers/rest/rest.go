// Package rest lets a container of a composed world exist without running. What a compose file declares, `up` starts; but the
// standby region's application and the client on premises do not run in normal times (article 002). So their first start, which
// is `up`'s, ends at once and in order; every later one, which is an operator's, runs the program.
package rest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// Start is the whole life of such a container's first process. The first time it makes the file marker and returns nil; from then
// on it becomes the program of argv, and only returns when that fails.
func Start(marker string, argv []string) error {
	rest, err := first(marker)
	if rest || err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	return fmt.Errorf("become %s: %w", path, syscall.Exec(path, argv, os.Environ()))
}

// first makes the marker and says whether it was not there.
func first(marker string) (bool, error) {
	f, err := os.OpenFile(marker, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("note the first start: %w", err)
	}
	return true, f.Close()
}
