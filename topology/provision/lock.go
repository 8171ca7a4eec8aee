package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/kirikae/kirikae/topology"
)

// lockFormat is the version of the lock file's format.
const lockFormat = 1

// lockName is the lock file's name in the cache.
const lockName = "provision.lock.json"

// lock is the lock file: what a cache holds, where it came from and its hashes. A part is written only when it is whole, so the
// file is also what says that a part is there.
type lock struct {
	Format int             `json:"format"`
	Parts  map[string]part `json:"parts"`
}

// Names of the parts.
const (
	partMySQL     = "mysql"
	partJava      = "java"
	partCassandra = "cassandra"
	partAgent     = "jolokia"
	partTemplate  = "mysql-template"
	partArchive   = "cassandra-archive"
)

// Origins of a part.
const (
	fetched  = "fetched"  // by a package client
	machine  = "machine"  // it was there before
	prepared = "prepared" // made here from the others; never the same twice
)

// part is one thing of an install.
type part struct {
	Version string        `json:"version"`
	Origin  string        `json:"origin"`
	Path    string        `json:"path"`              // in the cache, or absolute when the origin is the machine; "" if there is none
	Key     string        `json:"key,omitempty"`     // what it depends on; another key makes it stale
	Note    string        `json:"note,omitempty"`    // why there is no path
	Tree    tree          `json:"tree"`              // what is at Path
	Fetched []fetchedFile `json:"fetched,omitempty"` // what a package client brought
}

// fetchedFile is a file that a package client brought.
type fetchedFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// tree measures a folder (or one file).
type tree struct {
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"` // over the names and contents of all files, in order
}

func readLock(cache string) (lock, error) {
	l := lock{Format: lockFormat, Parts: map[string]part{}}
	name := filepath.Join(cache, lockName)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, fmt.Errorf("read lock file: %w", err)
	}
	var read lock
	if err := json.Unmarshal(b, &read); err != nil {
		return l, fmt.Errorf("%w: read lock file %s: %w (remove it to provision anew)", topology.ErrEnvironment, name, err)
	}
	if read.Format != lockFormat {
		return l, fmt.Errorf("%w: lock file %s has format %d, this program reads %d (remove it to provision anew)", topology.ErrEnvironment, name, read.Format, lockFormat)
	}
	if read.Parts != nil {
		l.Parts = read.Parts
	}
	return l, nil
}

func (l lock) copy() lock {
	return lock{l.Format, maps.Clone(l.Parts)}
}

// write replaces the lock file in one step.
func (l lock) write(cache string) error {
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	f, err := os.CreateTemp(cache, lockName+".*")
	if err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(cache, lockName))
	}
	if err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

// drift says how what was found or fetched differs from what the lock file records, as an error that wraps ErrDrift, or nil.
func drift(name string, locked, now part) error {
	var how []string
	differ := func(what, a, b string) {
		if a != b {
			how = append(how, fmt.Sprintf("%s is %s, locked %s", what, orNone(b), orNone(a)))
		}
	}
	differ("version", locked.Version, now.Version)
	differ("origin", locked.Origin, now.Origin)
	if now.Origin == machine {
		differ("place", locked.Path, now.Path)
		differ("build", locked.Key, now.Key)
	}
	was := map[string]fetchedFile{}
	for _, f := range locked.Fetched {
		was[f.Name] = f
	}
	for _, f := range now.Fetched {
		switch w, ok := was[f.Name]; {
		case !ok:
			how = append(how, f.Name+" is not in the lock file")
		case w.SHA256 != f.SHA256:
			how = append(how, fmt.Sprintf("%s has sha256 %.12s…, locked %.12s…", f.Name, f.SHA256, w.SHA256))
		}
		delete(was, f.Name)
	}
	for _, f := range locked.Fetched {
		if _, gone := was[f.Name]; gone {
			how = append(how, f.Name+" is locked and not among what was fetched")
		}
	}
	if len(how) == 0 && now.Origin != prepared && locked.Tree.SHA256 != now.Tree.SHA256 {
		how = append(how, fmt.Sprintf("contents of %s have sha256 %.12s…, locked %.12s…", now.Path, orNone(now.Tree.SHA256), orNone(locked.Tree.SHA256)))
	}
	if len(how) == 0 {
		return nil
	}
	const most = 5
	if n := len(how); n > most {
		how = append(how[:most], fmt.Sprintf("and %d more", n-most))
	}
	return fmt.Errorf("%w: %s %w: %s (provision without --locked to accept it)", topology.ErrEnvironment, name, ErrDrift, strings.Join(how, "; "))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// measure counts a folder's files and, with hash, hashes them: names, contents, targets of links.
func measure(root string, hash bool) (tree, error) {
	var t tree
	sum := sha256.New()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		t.Files++
		t.Bytes += st.Size()
		if !hash {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		what := ""
		if d.Type()&fs.ModeSymlink != 0 {
			what, err = os.Readlink(path)
		} else {
			what, err = HashFile(path)
		}
		fmt.Fprintf(sum, "%s\x00%s\n", rel, what)
		return err
	})
	if err != nil {
		return tree{}, fmt.Errorf("measure %s: %w", root, err)
	}
	if hash {
		t.SHA256 = hex.EncodeToString(sum.Sum(nil))
	}
	return t, nil
}

// HashFile is the SHA-256 of a file, in hexadecimal.
func HashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// hashFiles records what a package client brought.
func hashFiles(files []string) ([]fetchedFile, error) {
	var all []fetchedFile
	for _, name := range files {
		st, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("hash what was fetched: %w", err)
		}
		sum, err := HashFile(name)
		if err != nil {
			return nil, fmt.Errorf("hash what was fetched: %w", err)
		}
		all = append(all, fetchedFile{filepath.Base(name), st.Size(), sum})
	}
	return all, nil
}
