package provision

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/topology"
)

// Find returns the install of a cache ("" is the user's own) and never fetches. Its error wraps topology.ErrEnvironment and says
// what is missing and how to get it. A missing class archive is no error: nodes only start slower.
func Find(cache string) (Install, error) {
	dir, err := CacheDir(cache)
	if err != nil {
		return Install{}, err
	}
	found, err := inspect(dir, false)
	if err != nil {
		return Install{}, err
	}
	var lacks []string
	for name, why := range found.stale {
		if name != partArchive {
			lacks = append(lacks, name+" "+why)
		}
	}
	if len(lacks) > 0 {
		slices.Sort(lacks)
		return Install{}, fmt.Errorf("%w: not provisioned in %s: %s: run `kirikae provision`", topology.ErrEnvironment, dir, strings.Join(lacks, ", "))
	}
	return found.install, nil
}

// inspection is what a cache holds.
type inspection struct {
	lock    lock
	install Install
	stale   map[string]string // part → why it must be made (anew)
	drifted []error           // with hashes only: present and not as recorded
}

// inspect reads the lock file and looks whether everything it records is there: by number and size of files, with hash by
// content too.
func inspect(cache string, hash bool) (inspection, error) {
	l, err := readLock(cache)
	if err != nil {
		return inspection{}, err
	}
	return look(cache, l, hash), nil
}

func look(cache string, l lock, hash bool) inspection {
	in := inspection{lock: l, install: Install{Cache: cache}, stale: map[string]string{}}
	for _, name := range []string{partMySQL, partJava, partCassandra, partAgent, partTemplate, partArchive} {
		p, ok := l.Parts[name]
		if !ok {
			in.stale[name] = "is missing"
			continue
		}
		if p.Path == "" { // tried, and there is none
			continue
		}
		path := p.Path
		if p.Origin != machine {
			path = filepath.Join(cache, p.Path)
		}
		now, err := measure(path, hash)
		switch {
		case err != nil:
			in.stale[name] = "is gone from " + path
		case hash && now.SHA256 != p.Tree.SHA256:
			in.stale[name] = "has changed in " + path
			if p.Origin != prepared {
				in.drifted = append(in.drifted, fmt.Errorf("%w: %s %w: contents of %s have sha256 %.12s…, locked %.12s… (provision without --locked to accept or repair it)",
					topology.ErrEnvironment, name, ErrDrift, path, now.SHA256, p.Tree.SHA256))
			}
		case now.Files != p.Tree.Files || now.Bytes != p.Tree.Bytes:
			in.stale[name] = fmt.Sprintf("is not whole in %s (%d files, %d bytes; recorded %d, %d)", path, now.Files, now.Bytes, p.Tree.Files, p.Tree.Bytes)
		}
	}
	in.products(l)
	return in
}

// products makes the install from parts that are whole, and finds the parts that belong to others than these.
func (in *inspection) products(l lock) {
	cache, i := in.install.Cache, &in.install
	fine := func(name string) bool { return in.stale[name] == "" }
	var err error
	if p := l.Parts[partMySQL]; fine(partMySQL) {
		switch i.MySQL, err = mysqlAt(cache, p); {
		case err != nil:
			in.stale[partMySQL] = err.Error()
		case !strings.HasPrefix(p.Version, MySQLSeries+"."):
			in.stale[partMySQL] = "is " + p.Version
		}
	}
	if p := l.Parts[partJava]; fine(partJava) {
		i.Java = javaAt(cache, p)
		if p.Origin == machine {
			_, build, err := javaVersion(context.Background(), p.Path)
			if err != nil || build != p.Key {
				in.stale[partJava] = fmt.Sprintf("is not the build %s any more but %s", p.Key, orNone(build))
				in.drifted = append(in.drifted, fmt.Errorf("%w: java %w: build %s at %s, locked %s", topology.ErrEnvironment, ErrDrift, orNone(build), p.Path, p.Key))
			}
		}
	}
	if p := l.Parts[partCassandra]; fine(partCassandra) {
		switch i.Cassandra, err = cassandraAt(cache, p); {
		case err != nil:
			in.stale[partCassandra] = err.Error()
		case p.Version != CassandraVersion:
			in.stale[partCassandra] = "is " + p.Version
		}
	}
	if p := l.Parts[partAgent]; fine(partAgent) {
		switch i.Cassandra.Jolokia, err = agentAt(cache, p); {
		case err != nil:
			in.stale[partAgent] = err.Error()
		case p.Version != JolokiaVersion:
			in.stale[partAgent] = "is " + p.Version
		}
	}
	if p := l.Parts[partTemplate]; fine(partTemplate) {
		if p.Key != templateKey(l.Parts[partMySQL]) {
			in.stale[partTemplate] = "is of another server"
		}
		i.MySQL.Template = filepath.Join(cache, p.Path)
	}
	if p := l.Parts[partArchive]; fine(partArchive) {
		switch {
		case !fine(partJava) || !fine(partCassandra) || p.Key != archiveKey(i.Java, l.Parts[partJava].Key, i.Cassandra):
			in.stale[partArchive] = "is of another class path or Java"
		case p.Path != "":
			i.Cassandra.Archive = filepath.Join(cache, p.Path)
		}
	}
}
