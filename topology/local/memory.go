package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/topology"
)

// A world in memory has its data on the file system in memory that every Linux has; its state folder leads there, so that whoever
// sweeps a dead world finds it.
const (
	memoryRoot   = "/dev/shm"
	memoryPrefix = "kirikae-"
	memoryLeast  = 2 << 30 // bytes that must be free: a world writes a few hundred MiB in a drill
)

// inMemory makes a folder in memory, where so many bytes must be free, and lets link lead to it.
func inMemory(link, world string, least uint64) error {
	var s unix.Statfs_t
	if err := unix.Statfs(memoryRoot, &s); err != nil {
		return fmt.Errorf("look at %s: %w: %w", memoryRoot, topology.ErrEnvironment, err)
	}
	if s.Type != unix.TMPFS_MAGIC {
		return fmt.Errorf("keep data in memory: %w: %s is no file system in memory; leave --volumes memory out", topology.ErrEnvironment, memoryRoot)
	}
	if free := uint64(s.Bavail) * uint64(s.Bsize); free < least {
		return fmt.Errorf("keep data in memory: %w: %d MiB are free in %s, %d are needed; leave --volumes memory out", topology.ErrEnvironment, free>>20, memoryRoot, least>>20)
	}
	to := filepath.Join(memoryRoot, memoryPrefix+world+"-"+strings.ToLower(rand.Text()[:8]))
	if err := os.Symlink(to, link); err != nil { // first: killed in between, it leads nowhere
		return fmt.Errorf("keep data in memory: %w: %w", topology.ErrEnvironment, err)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return fmt.Errorf("keep data in memory: %w: %w", topology.ErrEnvironment, errors.Join(err, os.Remove(link)))
	}
	return nil
}

// forget removes what link leads to, if that was made by inMemory. A folder of its own it leaves alone.
func forget(link string) error {
	to, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) { // no link: the data lie on disk, or nowhere yet
		return nil
	}
	if err != nil {
		return err
	}
	if filepath.Dir(to) != memoryRoot || !strings.HasPrefix(filepath.Base(to), memoryPrefix) {
		return nil // not made here
	}
	return os.RemoveAll(to)
}
