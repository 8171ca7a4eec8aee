package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// apt is a private state of apt in the cache: its own lists, its own empty list of installed packages, the machine's own mirror,
// keys and network settings. It needs no root rights and the system's apt does not notice it.
type apt struct {
	p      *progress
	folder string
	config string
}

// newAPT prepares the state in a folder. What an interrupted fetch left there is used again.
func newAPT(p *progress, folder, arch string, sources []source) (*apt, error) {
	a := &apt{p: p, folder: folder, config: filepath.Join(folder, "apt.conf")}
	for _, d := range []string{"lists/partial", "archives/partial", "empty"} {
		if err := os.MkdirAll(filepath.Join(folder, d), 0o755); err != nil {
			return nil, fmt.Errorf("prepare a private apt: %w", err)
		}
	}
	var lines strings.Builder
	for i, s := range sources {
		if strings.Contains(s.signedBy, "\n") { // a key inside the .sources file
			key := filepath.Join(folder, fmt.Sprintf("key-%d.asc", i))
			if err := os.WriteFile(key, []byte(strings.TrimLeft(s.signedBy, "\n")+"\n"), 0o644); err != nil {
				return nil, fmt.Errorf("prepare a private apt: %w", err)
			}
			s.signedBy = key
		}
		lines.WriteString(s.line() + "\n")
	}
	for name, text := range map[string]string{
		"sources.list": lines.String(),
		"status":       "",
		"apt.conf":     aptConfig(folder, arch),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("prepare a private apt: %w", err)
		}
	}
	return a, nil
}

// aptConfig is read after the machine's own configuration, which keeps its proxies and credentials but loses here what would
// touch the system or change what is chosen: hooks (some delete the system's archives), pins, a default release.
func aptConfig(folder, arch string) string {
	var b strings.Builder
	for _, k := range []string{
		"APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success",
		"DPkg::Pre-Invoke", "DPkg::Post-Invoke", "DPkg::Pre-Install-Pkgs", "APT::Architectures", "APT::Default-Release",
	} {
		fmt.Fprintf(&b, "#clear %s;\n", k)
	}
	set := func(key, value string) { fmt.Fprintf(&b, "%s %q;\n", key, value) }
	in := func(name string) string { return filepath.Join(folder, name) }
	set("Dir::State", folder)
	set("Dir::State::lists", in("lists"))
	set("Dir::State::status", in("status"))
	set("Dir::State::extended_states", in("extended_states"))
	set("Dir::Cache", folder)
	set("Dir::Cache::archives", in("archives"))
	set("Dir::Cache::pkgcache", in("pkgcache.bin")) // container images switch these off; each call then reads all lists again
	set("Dir::Cache::srcpkgcache", in("srcpkgcache.bin"))
	set("Dir::Etc::sourcelist", in("sources.list"))
	set("Dir::Etc::sourceparts", in("empty"))
	set("Dir::Etc::preferences", in("no-preferences"))
	set("Dir::Etc::preferencesparts", in("empty"))
	set("Dir::Log", in("log"))
	set("APT::Architecture", arch)
	set("APT::Architectures::", arch)
	set("APT::Install-Recommends", "false")
	set("APT::Install-Suggests", "false")
	set("APT::Sandbox::User", "root") // apt's own user could not read a user's cache
	set("Acquire::Languages", "none")
	set("Acquire::GzipIndexes", "false")
	// The mirror of a frozen machine serves indexes that are past their date. Signatures and hashes are still checked.
	set("Acquire::Check-Valid-Until", "false")
	return b.String()
}

// update fetches the lists of packages.
func (a *apt) update(ctx context.Context, what string) error {
	_, err := a.p.run(ctx, what+": read the mirror's list of packages", a.folder, nil, "apt-get", "-qq", "-c", a.config, "update")
	if err != nil {
		return missingUnlessStopped(ctx, err)
	}
	return nil
}

// candidate is the version of a package that would be fetched, or "".
func (a *apt) candidate(ctx context.Context, pkg string) string {
	out, err := output(ctx, "apt-cache", "-c", a.config, "show", "--no-all-versions", pkg)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(out) {
		if v, ok := strings.CutPrefix(line, "Version: "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// deb is one package file as apt would fetch it.
type deb struct {
	name string // file name, with version and architecture
	size int64
}

// plan is what a package needs in all, from nothing.
func (a *apt) plan(ctx context.Context, pkg string) ([]deb, error) {
	none := filepath.Join(a.folder, "empty")
	out, err := output(ctx, "apt-get", "-qq", "-y", "-c", a.config, "-o", "Dir::Cache::archives="+none,
		"--print-uris", "--no-install-recommends", "install", pkg)
	if err != nil {
		return nil, missingUnlessStopped(ctx, fmt.Errorf("resolve %s: %w", pkg, err))
	}
	var debs []deb
	for _, m := range printedURI.FindAllStringSubmatch(out, -1) {
		size, _ := strconv.ParseInt(m[2], 10, 64)
		debs = append(debs, deb{m[1], size})
	}
	if len(debs) == 0 {
		return nil, missing("resolve "+pkg, errors.New("apt named no package"))
	}
	slices.SortFunc(debs, func(a, b deb) int { return strings.Compare(a.name, b.name) })
	return debs, nil
}

// 'address' file size hash
var printedURI = regexp.MustCompile(`(?m)^'[^']*' (\S+\.deb) (\d+)`)

// download fetches a package with all it depends on, and returns the files' paths, sorted. apt checks their hashes.
func (a *apt) download(ctx context.Context, what, pkg string) ([]string, error) {
	debs, err := a.plan(ctx, pkg)
	if err != nil {
		return nil, err
	}
	var bytes int64
	for _, d := range debs {
		bytes += d.size
	}
	_, err = a.p.run(ctx, fmt.Sprintf("%s: fetch %d packages, %d MB", what, len(debs), bytes/1e6), a.folder, nil,
		"apt-get", "-q", "-y", "-c", a.config, "install", "--download-only", "--no-install-recommends", pkg)
	if err != nil {
		return nil, missingUnlessStopped(ctx, err)
	}
	var files []string
	for _, d := range debs {
		f := filepath.Join(a.folder, "archives", d.name)
		if st, err := os.Stat(f); err != nil || st.Size() != d.size {
			return nil, fmt.Errorf("fetch %s: apt ended well but %s is not whole", pkg, d.name)
		}
		files = append(files, f)
	}
	return files, nil
}

// missingUnlessStopped makes an error the environment's, except when the caller gave up.
func missingUnlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return missing("packages cannot be fetched (is the mirror in apt's sources reachable?)", err)
}

// architecture is the machine's own, in Debian's words: amd64, arm64.
func architecture(ctx context.Context) (string, error) {
	out, err := output(ctx, "dpkg", "--print-architecture")
	if err != nil {
		return "", missing("ask dpkg for the architecture", err)
	}
	return strings.TrimSpace(out), nil
}

// machineSources are apt's sources of this machine, from wherever its configuration keeps them.
func machineSources(ctx context.Context) ([]source, error) {
	out, err := output(ctx, "apt-config", "shell", "FILE", "Dir::Etc::sourcelist/f", "FOLDER", "Dir::Etc::sourceparts/d")
	if err != nil {
		return nil, missing("ask apt-config for the sources", err)
	}
	file, folder := "/etc/apt/sources.list", "/etc/apt/sources.list.d"
	for _, m := range shellLine.FindAllStringSubmatch(out, -1) {
		if m[1] == "FILE" {
			file = m[2]
		} else {
			folder = m[2]
		}
	}
	return readSources(file, folder)
}

var shellLine = regexp.MustCompile(`(?m)^(FILE|FOLDER)='(.*)'$`)

// unpack unpacks packages into a new folder. Nothing of them is run. Packages of one of the given name prefixes are left out.
func unpack(ctx context.Context, p *progress, what, root string, debs []string, without ...string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("unpack %s: %w", what, err)
	}
	var now atomic.Pointer[string]
	last := func() string {
		if deb := now.Load(); deb != nil {
			return *deb
		}
		return ""
	}
	err := p.Step(fmt.Sprintf("%s: unpack %d packages", what, len(debs)), last, func() error {
		for _, deb := range debs {
			if slices.ContainsFunc(without, func(w string) bool { return strings.HasPrefix(filepath.Base(deb), w) }) {
				continue
			}
			name := filepath.Base(deb)
			now.Store(&name)
			c, err := start(ctx, "", nil, "dpkg-deb", "-x", deb, root)
			if err == nil {
				err = c.wait("unpack " + name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if ctx.Err() != nil {
		return fmt.Errorf("unpack %s: %w", what, context.Cause(ctx))
	}
	if err != nil {
		return err
	}
	for _, d := range []string{"doc", "man", "locale", "lintian", "bug", "info"} {
		if err := os.RemoveAll(filepath.Join(root, "usr/share", d)); err != nil {
			return fmt.Errorf("unpack %s: %w", what, err)
		}
	}
	return relink(root)
}

// relink makes the absolute symbolic links of an unpacked root lead to where they would in a system: inside the root. Links to
// what the root lacks are left alone.
func relink(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil || !filepath.IsAbs(target) {
			return err
		}
		if _, err := os.Lstat(filepath.Join(root, target)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		rel, err := filepath.Rel(filepath.Dir(path), filepath.Join(root, target))
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Symlink(rel, path)
	})
}

// loader is how a program of an unpacked root is started with the root's own C library and no other: its dynamic loader, the
// folders of its libraries, the program. The machine's own libraries may be older.
func loader(root, program string) ([]string, error) {
	var ld string
	for _, g := range []string{"lib/*/ld-linux*.so.*", "usr/lib/*/ld-linux*.so.*", "lib64/ld-linux*.so.*", "usr/lib64/ld-linux*.so.*"} {
		if m, _ := filepath.Glob(filepath.Join(root, g)); len(m) > 0 && ld == "" {
			ld = m[0]
		}
	}
	if ld == "" {
		return nil, fmt.Errorf("find the dynamic loader in %s: no ld-linux there", root)
	}
	var dirs []string
	for _, g := range []string{"lib/*-linux-*", "usr/lib/*-linux-*"} {
		m, _ := filepath.Glob(filepath.Join(root, g))
		dirs = append(dirs, m...)
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("find libraries in %s: none there", root)
	}
	return []string{ld, "--library-path", strings.Join(dirs, ":"), program}, nil
}
