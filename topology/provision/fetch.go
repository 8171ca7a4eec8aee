package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// candidate is a set of sources that may have a package, and the test of the version they offer ("" is none).
type candidate struct {
	name    string
	sources []source
	fits    func(version string) bool
}

// packages returns the package files that a part is unpacked from: those kept from the last time when they are still whole and
// as recorded, else fetched ones.
func (s *session) packages(ctx context.Context, name, pkg string, sources func([]source) ([]candidate, error)) ([]string, error) {
	if kept := s.kept(name); kept != nil {
		s.p.Say("%s: unpack the %d packages kept from before", name, len(kept))
		return kept, nil
	}
	all, err := machineSources(ctx)
	if err != nil {
		return nil, err
	}
	tries, err := sources(all)
	if err != nil {
		return nil, err
	}
	arch, err := architecture(ctx)
	if err != nil {
		return nil, err
	}
	var seen []string
	for _, t := range tries {
		a, err := newAPT(s.p, filepath.Join(s.cache, "apt", name+"-"+t.name), arch, t.sources)
		if err != nil {
			return nil, err
		}
		if err := a.update(ctx, name); err != nil {
			return nil, err
		}
		version := a.candidate(ctx, pkg)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !t.fits(version) {
			seen = append(seen, fmt.Sprintf("%s in %s", orNone(version), t.name))
			continue
		}
		files, err := a.download(ctx, name, pkg)
		if err != nil {
			return nil, err
		}
		return s.keep(name, a, files)
	}
	return nil, missing("fetch "+name, fmt.Errorf("the mirror's %s is %s: no version that a world runs", pkg, strings.Join(seen, ", ")))
}

// debFolder keeps the packages of a part: a mirror that has moved on does not have them any more.
func (s *session) debFolder(name string) string { return filepath.Join(s.cache, "debs", name) }

// keep moves fetched packages to where they stay, in one step, and drops the private apt.
func (s *session) keep(name string, a *apt, files []string) ([]string, error) {
	folder, err := s.temp(name + "-debs")
	if err != nil {
		return nil, err
	}
	var kept []string
	for _, f := range files {
		if err := os.Rename(f, filepath.Join(folder, filepath.Base(f))); err != nil {
			return nil, fmt.Errorf("keep packages of %s: %w", name, err)
		}
		kept = append(kept, filepath.Join(s.debFolder(name), filepath.Base(f)))
	}
	if s.locked { // before what was kept is replaced
		fetchedNow := make([]string, len(files))
		for i, f := range files {
			fetchedNow[i] = filepath.Join(folder, filepath.Base(f))
		}
		hashes, err := hashFiles(fetchedNow)
		if err != nil {
			return nil, err
		}
		locked := s.was.Parts[name]
		now := locked
		now.Fetched = hashes
		if err := drift(name, locked, now); err != nil {
			return nil, err
		}
	}
	err = errors.Join(
		os.RemoveAll(s.debFolder(name)),
		os.MkdirAll(filepath.Dir(s.debFolder(name)), 0o755),
		os.Rename(folder, s.debFolder(name)),
		os.RemoveAll(a.folder),
	)
	if err != nil {
		return nil, fmt.Errorf("keep packages of %s: %w", name, err)
	}
	return kept, nil
}

// kept returns the packages of the last time if every one is there and as recorded.
func (s *session) kept(name string) []string {
	p, ok := s.was.Parts[name]
	if !ok || len(p.Fetched) == 0 {
		return nil
	}
	var files []string
	for _, f := range p.Fetched {
		path := filepath.Join(s.debFolder(name), f.Name)
		if sum, err := HashFile(path); err != nil || sum != f.SHA256 {
			return nil
		}
		files = append(files, path)
	}
	return files
}

// unpacked unpacks packages into a new temporary root.
func (s *session) unpacked(ctx context.Context, name string, debs []string, without ...string) (string, error) {
	folder, err := s.temp(name)
	if err != nil {
		return "", err
	}
	root := filepath.Join(folder, "root")
	return root, unpack(ctx, s.p, name, root, debs, without...)
}
