package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// javaPackage is Debian's runtime without a desktop.
const javaPackage = "openjdk-17-jre-headless"

// javaVersion asks a Java for its version ("17.0.15") and its exact build. The runtime's own file release answers without
// starting a JVM.
func javaVersion(ctx context.Context, java string) (version, build string, err error) {
	if real, e := filepath.EvalSymlinks(java); e == nil {
		if b, e := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(real)), "release")); e == nil {
			version, build = releaseField(string(b), "JAVA_VERSION"), releaseField(string(b), "JAVA_RUNTIME_VERSION")
			if version != "" && build != "" {
				return version, build, nil
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c, err := start(ctx, "", nil, java, "-version")
	if err == nil {
		err = c.wait("java -version")
	}
	if err != nil {
		return "", "", fmt.Errorf("ask %s for its version: %w", java, err)
	}
	out := c.out.String() // Java writes its version to standard error
	m := javaWord.FindStringSubmatch(out)
	if m == nil {
		return "", "", fmt.Errorf("ask %s for its version: it says %q", java, strings.TrimSpace(out))
	}
	build = m[1]
	if b := javaBuild.FindStringSubmatch(out); b != nil {
		build = b[1]
	}
	return m[1], build, nil
}

var (
	javaWord  = regexp.MustCompile(`version "([^"]+)"`)
	javaBuild = regexp.MustCompile(`\(build ([^,)]+)`)
)

func releaseField(text, key string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

func isJavaSeries(version string) bool {
	return version == JavaSeries || strings.HasPrefix(version, JavaSeries+".")
}

// machineJava is the machine's own runtime, when it is of the series: JAVA_HOME, the PATH, then where distributions keep it.
func machineJava(ctx context.Context) (part, bool) {
	var places []string
	if home := os.Getenv("JAVA_HOME"); home != "" {
		places = append(places, filepath.Join(home, "bin/java"))
	}
	if p, err := exec.LookPath("java"); err == nil {
		places = append(places, p)
	}
	more, _ := filepath.Glob("/usr/lib/jvm/*17*/bin/java")
	for _, java := range append(places, more...) {
		real, err := filepath.EvalSymlinks(java)
		if err != nil {
			continue
		}
		version, build, err := javaVersion(ctx, real)
		if err != nil || !isJavaSeries(version) {
			continue
		}
		t, err := measure(real, true)
		if err != nil {
			continue
		}
		return part{Version: version, Origin: machine, Path: real, Key: build, Tree: t}, true
	}
	return part{}, false
}

// javaAt is the runtime of a part.
func javaAt(cache string, p part) Java {
	if p.Origin == machine {
		return Java{p.Version, p.Path}
	}
	return Java{p.Version, filepath.Join(cache, p.Path, "java")}
}

// java makes the runtime be there.
func (s *session) java(ctx context.Context) error {
	if p, ok := machineJava(ctx); ok {
		s.p.Say("java %s: found at %s", p.Version, p.Path)
		return s.record(partJava, p)
	}
	debs, err := s.packages(ctx, partJava, javaPackage, javaSources)
	if err != nil {
		return err
	}
	folder, err := s.temp("java")
	if err != nil {
		return err
	}
	if err := unpack(ctx, s.p, "java", filepath.Join(folder, "root"), debs, "perl", "libperl", "fonts-"); err != nil {
		return err
	}
	java, err := writeJavaScript(folder)
	if err != nil {
		return err
	}
	version, build, err := javaVersion(ctx, java)
	if err != nil {
		return missing("fetched Java does not run", err)
	}
	if !isJavaSeries(version) {
		return missing("fetch Java", fmt.Errorf("the package is Java %s, Cassandra runs on %s", version, JavaSeries))
	}
	return s.install(partJava, part{Version: version, Origin: fetched, Path: filepath.Join("java", version), Key: build}, folder, debs)
}

// writeJavaScript writes FOLDER/java, which starts the runtime unpacked in FOLDER/root with its own C library. It keeps its
// process id and may be moved together with the root.
func writeJavaScript(folder string) (string, error) {
	const here = "$here"
	found, _ := filepath.Glob(filepath.Join(folder, "root/usr/lib/jvm/*/bin/java"))
	for _, program := range found {
		if _, err := os.Stat(filepath.Join(filepath.Dir(filepath.Dir(program)), "lib/server/libjvm.so")); err != nil {
			continue
		}
		argv, err := loader(filepath.Join(folder, "root"), program)
		if err != nil {
			return "", err
		}
		for i := range argv {
			argv[i] = `"` + strings.ReplaceAll(argv[i], folder, here) + `"`
		}
		script := "#!/bin/sh\nhere=${0%/*}\nexec " + strings.Join(argv, " ") + ` "$@"` + "\n"
		java := filepath.Join(folder, "java")
		if err := os.WriteFile(java, []byte(script), 0o755); err != nil {
			return "", fmt.Errorf("write java script: %w", err)
		}
		return java, nil
	}
	return "", missing("fetch Java", errors.New("the package has no usr/lib/jvm/*/bin/java"))
}

// javaSources are the machine's own suites, then Debian's sid: newer releases dropped Java 17, sid keeps it.
func javaSources(all []source) ([]candidate, error) {
	any := func(version string) bool { return version != "" }
	var tries []candidate
	if own := ownSuites(all); len(own) > 0 {
		tries = append(tries, candidate{"own", own, any})
	}
	if src, ok := debianSuite(all, "sid"); ok {
		tries = append(tries, candidate{"sid", []source{src}, any})
	}
	if len(tries) == 0 {
		return nil, missing("fetch Java "+JavaSeries, errors.New("apt has no sources on this machine: add a mirror, or install Java "+JavaSeries+" and set JAVA_HOME"))
	}
	return tries, nil
}
