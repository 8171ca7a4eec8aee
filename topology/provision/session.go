package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// room is what provisioning needs on disk, with what it throws away again.
const room = 1200 << 20

// session is one run of Ensure that holds the cache's lock.
type session struct {
	cache  string
	locked bool
	p      *progress
	was    lock // the lock file as found
	// awake waits until a Cassandra node serves and uses it a little.
	awake func(ctx context.Context, node *child, host string) error

	mu  sync.Mutex
	now lock
}

func ensure(ctx context.Context, cache string, o Options) (Install, error) {
	return ensureWith(ctx, &session{cache: cache, locked: o.Locked, p: newProgress(o.Log), awake: answers})
}

// ensureWith runs a session. What goes wrong with it is the environment's (a full disk, a read-only folder), unless the caller
// gave up.
func ensureWith(ctx context.Context, s *session) (Install, error) {
	i, err := s.ensure(ctx)
	if err != nil && ctx.Err() == nil && !errors.Is(err, topology.ErrEnvironment) {
		err = missing("provision "+s.cache, err)
	}
	return i, err
}

func (s *session) ensure(ctx context.Context) (Install, error) {
	cache := s.cache
	if runtime.GOOS != "linux" {
		return Install{}, errNotLinux()
	}
	if !s.locked {
		if found, err := inspect(cache, false); err == nil && len(found.stale) == 0 {
			return found.install, nil
		}
	}
	if err := os.MkdirAll(filepath.Join(cache, "tmp"), 0o755); err != nil {
		return Install{}, missing("make the cache", err)
	}
	unlock, err := lockCache(ctx, s.p, cache)
	if err != nil {
		return Install{}, err
	}
	defer unlock()
	before, err := inspect(cache, s.locked) // again: another process may have done it meanwhile
	if err != nil {
		return Install{}, err
	}
	if s.locked {
		if err := heldAgainst(cache, before); err != nil {
			return Install{}, err
		}
	}
	if len(before.stale) == 0 {
		return before.install, nil
	}
	s.was, s.now = before.lock, before.lock.copy()
	if err := s.fill(ctx, before.stale); err != nil {
		return Install{}, err
	}
	after, err := inspect(cache, false)
	if err != nil {
		return Install{}, err
	}
	if len(after.stale) > 0 {
		return Install{}, fmt.Errorf("provision %s: still lacking after all steps: %v", cache, after.stale)
	}
	if err := os.RemoveAll(filepath.Join(cache, "apt")); err != nil { // kept until here, so that an interrupted fetch goes on
		return Install{}, fmt.Errorf("clear private apt: %w", err)
	}
	i := after.install
	s.p.Say("provisioned: mysql %s · java %s · cassandra %s, in %s", i.MySQL.Version, i.Java.Version, i.Cassandra.Version, cache)
	return i, nil
}

// heldAgainst refuses when there is no lock file, or when something present is not what it records.
func heldAgainst(cache string, b inspection) error {
	for _, name := range []string{partMySQL, partJava, partCassandra, partAgent} {
		if _, ok := b.lock.Parts[name]; !ok {
			return fmt.Errorf("%w: %s has no entry for %s to hold an install against: provision once without --locked",
				topology.ErrEnvironment, filepath.Join(cache, lockName), name)
		}
	}
	return errors.Join(b.drifted...)
}

// fill makes what is stale, MySQL beside Java and Cassandra. The first error stops both.
func (s *session) fill(ctx context.Context, stale map[string]string) error {
	if err := s.tools(ctx, stale); err != nil {
		return err
	}
	tmp := filepath.Join(s.cache, "tmp")
	if err := os.RemoveAll(tmp); err != nil { // what an interrupted run left
		return fmt.Errorf("clear %s: %w", tmp, err)
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return missing("make the cache", err)
	}
	defer os.RemoveAll(tmp)
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A part that is renewed makes what was prepared from it stale too, hence the questions inside.
	lanes := [][]step{
		{{partMySQL, s.mysql}, {partTemplate, s.template}},
		{{partJava, s.java}, {partCassandra, s.jars}, {partAgent, s.agent}, {partArchive, s.archive}},
	}
	var wg sync.WaitGroup
	for _, lane := range lanes {
		wg.Go(func() {
			for _, st := range lane {
				if s.lacks(st.name) == "" {
					continue
				}
				if err := st.do(both); err != nil {
					cancel(err) // the first one counts: what it stops fails too
					return
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("provision %s: %w", s.cache, context.Cause(ctx))
	}
	return context.Cause(both)
}

// step is one part to make.
type step struct {
	name string
	do   func(context.Context) error
}

// lacks says why a part is not usable as recorded now, or "".
func (s *session) lacks(name string) string {
	s.mu.Lock()
	l := s.now.copy()
	s.mu.Unlock()
	return look(s.cache, l, false).stale[name]
}

// tools checks for what the stale parts need, before anything is started.
func (s *session) tools(ctx context.Context, stale map[string]string) error {
	var names []string
	if _, ok := stale[partMySQL]; ok {
		if _, found := machineMySQL(ctx); !found {
			names = append(names, "apt-get", "apt-config", "dpkg-deb")
		}
	}
	if _, ok := stale[partJava]; ok {
		if _, found := machineJava(ctx); !found {
			names = append(names, "apt-get", "apt-config", "dpkg-deb")
		}
	}
	for _, part := range []string{partCassandra, partAgent} {
		if _, ok := stale[part]; ok {
			names = append(names, "mvn")
			break
		}
	}
	if err := needTools(names...); err != nil {
		return err
	}
	if len(names) > 0 {
		if free, err := freeBytes(s.cache); err == nil && free < room {
			return fmt.Errorf("%w: %d MB free in %s, provisioning needs %d MB: make room or set XDG_CACHE_HOME", topology.ErrEnvironment, free>>20, s.cache, room>>20)
		}
	}
	return nil
}

// temp is a new folder of one step.
func (s *session) temp(name string) (string, error) {
	dir, err := os.MkdirTemp(filepath.Join(s.cache, "tmp"), name+"-")
	if err != nil {
		return "", fmt.Errorf("make a temporary folder: %w", err)
	}
	return dir, os.Chmod(dir, 0o755)
}

// part is a recorded part.
func (s *session) part(name string) part {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.Parts[name]
}

// record writes a part into the lock file. With --locked it must be what was locked.
func (s *session) record(name string, p part) error {
	if s.locked && p.Origin != prepared {
		if err := drift(name, s.was.Parts[name], p); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.now.Parts[name]; ok && old.Version != p.Version {
		s.p.Say("%s: %s replaces %s", name, p.Version, old.Version)
	}
	s.now.Parts[name] = p
	return s.now.write(s.cache)
}

// install moves what is whole from its temporary place to its own and records it. files are what a package client brought.
func (s *session) install(name string, p part, from string, files []string) error {
	var err error
	if p.Fetched, err = hashFiles(files); err != nil {
		return err
	}
	if p.Tree, err = measure(from, true); err != nil {
		return err
	}
	if s.locked && p.Origin != prepared { // before anything is replaced
		if err := drift(name, s.was.Parts[name], p); err != nil {
			return err
		}
	}
	to := filepath.Join(s.cache, p.Path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("install %s: %w", name, err)
	}
	if err := os.Rename(to, filepath.Join(s.cache, "tmp", "old-"+name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("install %s: %w", name, err)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("install %s: %w", name, err)
	}
	s.p.Say("%s %s: ready (%d files, %d MB)", name, p.Version, p.Tree.Files, p.Tree.Bytes/1e6)
	return s.record(name, p)
}

// lockCache takes the cache's lock, which the kernel frees when this process ends in whatever way.
func lockCache(ctx context.Context, p *progress, cache string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(cache, ".provision.flock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, missing("lock the cache", err)
	}
	err = p.During("another process provisions this cache: wait for it", func() string { return "" }, func() error {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			ok, err := tryLock(f)
			if ok || err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
			}
		}
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the cache %s: %w", cache, err)
	}
	return func() { f.Close() }, nil
}
