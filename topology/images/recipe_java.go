package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/topology/provision"
	"github.com/kirikae/kirikae/topology/tell"
)

// javaModules are what Cassandra and its tools use of Java.
const javaModules = "java.base,java.compiler,java.desktop,java.instrument,java.logging,java.management,java.management.rmi,java.naming," +
	"java.rmi,java.sql,java.xml,java.security.sasl,jdk.attach,jdk.management,jdk.management.agent,jdk.naming.rmi,jdk.unsupported," +
	"jdk.crypto.ec,jdk.zipfs,jdk.net,jdk.httpserver"

// desktop are the libraries of a runtime that only a screen, a printer or a loudspeaker needs.
func desktop() []string {
	return []string{"libawt.so", "libawt_xawt.so", "libawt_headless.so", "libsplashscreen.so", "libjawt.so", "libfontmanager.so", "libfreetype.so",
		"liblcms.so", "libmlib_image.so", "libjavajpeg.so", "libjsound.so"}
}

// javaSource is the Java that an image's runtime is made from.
type javaSource struct {
	home    string // its folder
	version string // "17.0.15"
	build   string // "17.0.15+6-Debian-1deb12u1"
	jlink   bool   // it can cut a runtime to size; else all of it is copied
	unpack  string // the root of an unpacked system that it came from; "": it belongs to the machine
}

// javaFor finds a development kit of the series, or else takes the provisioned runtime.
func javaFor(j provision.Java) (javaSource, error) {
	var homes []string
	real, err := filepath.EvalSymlinks(j.Path)
	if err != nil {
		return javaSource{}, fmt.Errorf("find the provisioned Java: %w", err)
	}
	own := filepath.Dir(filepath.Dir(real))
	unpacked, _ := filepath.Glob(filepath.Join(filepath.Dir(real), "root/usr/lib/jvm/*"))
	homes = append(homes, own)
	if home := os.Getenv("JAVA_HOME"); home != "" {
		homes = append(homes, home)
	}
	more, _ := filepath.Glob("/usr/lib/jvm/*17*")
	for _, h := range append(homes, more...) {
		if s, ok := javaAt(h); ok && exists(filepath.Join(s.home, "bin/jlink")) && exists(filepath.Join(s.home, "jmods/java.base.jmod")) {
			s.jlink = true
			return s, nil
		}
	}
	if s, ok := javaAt(own); ok {
		return s, nil
	}
	for _, h := range unpacked {
		if s, ok := javaAt(h); ok && exists(filepath.Join(s.home, "lib/server/libjvm.so")) {
			s.unpack = filepath.Join(filepath.Dir(real), "root")
			return s, nil
		}
	}
	return javaSource{}, fmt.Errorf("find the folder of the provisioned Java %s: no release file around it", j.Path)
}

// javaAt reads which Java a folder holds; only the wanted series counts.
func javaAt(home string) (javaSource, bool) {
	home, err := filepath.EvalSymlinks(home)
	if err != nil {
		return javaSource{}, false
	}
	b, err := os.ReadFile(filepath.Join(home, "release"))
	if err != nil {
		return javaSource{}, false
	}
	s := javaSource{home: home}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch v = strings.Trim(v, `"`); k {
		case "JAVA_VERSION":
			s.version = v
		case "JAVA_RUNTIME_VERSION":
			s.build = v
		}
	}
	series := s.version == provision.JavaSeries || strings.HasPrefix(s.version, provision.JavaSeries+".")
	return s, series && s.build != ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// key is what a runtime made from this Java depends on.
func (s javaSource) key() string {
	return fmt.Sprintf("%s %s jlink=%t %s", s.version, s.build, s.jlink, javaModules)
}

// make makes a runtime in a new folder: complete in itself, movable, with the base archive of its own classes that Cassandra's
// is built on. folders are where its libraries are.
func (s javaSource) make(ctx context.Context, to string, folders []string) error {
	if s.jlink {
		if out, err := output(ctx, filepath.Join(s.home, "bin/jlink"), "--add-modules", javaModules, "--strip-java-debug-attributes", "--no-man-pages",
			"--no-header-files", "--compress=0", "--output", to); err != nil {
			return fmt.Errorf("cut a Java runtime to size: %w%s", err, out)
		}
	} else if err := s.copy(to); err != nil {
		return fmt.Errorf("copy the Java runtime: %w", err)
	}
	for _, name := range desktop() {
		if err := os.Remove(filepath.Join(to, "lib", name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("trim the Java runtime: %w", err)
		}
	}
	// The base archive remembers the time of the modules it was made from.
	if err := os.Chtimes(filepath.Join(to, "lib/modules"), epoch, epoch); err != nil {
		return fmt.Errorf("fix the time of Java's modules: %w", err)
	}
	java := []string{filepath.Join(to, "bin/java")}
	if s.unpack != "" { // its own C library
		_, loader, _, err := needs(java[0])
		if err != nil {
			return err
		}
		ld, ok := find(filepath.Base(loader), folders, 0)
		if !ok {
			return fmt.Errorf("find the dynamic loader %s of Java: not in %s", loader, strings.Join(folders, ", "))
		}
		java = []string{ld, "--library-path", strings.Join(append(slices.Clone(folders), filepath.Join(to, "lib")), ":"), java[0]}
	}
	if out, err := output(ctx, append(java, "-Xshare:dump")...); err != nil {
		return fmt.Errorf("archive Java's own classes: %w%s", err, out)
	}
	return nil
}

// copy copies a runtime, less what a development kit has on top. Debian's links into /etc become files.
func (s javaSource) copy(to string) error {
	skip := []string{"jmods", "include", "man", "demo", "docs", "legal", "sample", "src.zip", "lib/src.zip", "lib/server/classes.jsa", "lib/server/classes_nocoops.jsa", "lib/ct.sym"}
	var walk func(rel string) error
	walk = func(rel string) error {
		from := filepath.Join(s.home, rel)
		st, err := os.Stat(from)
		if errors.Is(err, fs.ErrNotExist) && rel != "" { // a link to what this machine does not have
			return nil
		}
		if err != nil {
			return err
		}
		if slices.Contains(skip, rel) {
			return nil
		}
		if !st.IsDir() {
			return copyFile(from, filepath.Join(to, rel), st.Mode().Perm())
		}
		if err := os.MkdirAll(filepath.Join(to, rel), 0o755); err != nil {
			return err
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := walk(filepath.Join(rel, e.Name())); err != nil {
				return err
			}
		}
		return nil
	}
	return walk("")
}

func copyFile(from, to string, mode fs.FileMode) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode|0o200)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// runtimeIn returns the folder of the runtime of this Java in a cache, made once.
func (s javaSource) runtimeIn(ctx context.Context, cache string, folders []string, p *tell.Teller) (string, error) {
	folder := filepath.Join(cache, "jre-"+short(digest("java", recipeText("java"), s.key(), strings.Join(folders, ":"))))
	if exists(folder) {
		return folder, nil
	}
	tmp, err := os.MkdirTemp(cache, ".jre-")
	if err != nil {
		return "", fmt.Errorf("make a Java runtime: %w", err)
	}
	defer os.RemoveAll(tmp)
	what := "java " + s.version + ": copy the runtime"
	if s.jlink {
		what = "java " + s.version + ": cut a runtime to size"
	}
	made := filepath.Join(tmp, "jre")
	if err := p.Step(what, func() string { return "" }, func() error { return s.make(ctx, made, folders) }); err != nil {
		return "", err
	}
	if err := os.Rename(made, folder); err != nil {
		return "", fmt.Errorf("keep the Java runtime: %w", err)
	}
	return folder, os.Chtimes(folder, time.Now(), time.Now())
}
