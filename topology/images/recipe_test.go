package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/topology/provision"
)

func pack(t *testing.T, x tree, below string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(x.write(w, below), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTree(t *testing.T) {
	from := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(from, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	make := func() tree {
		x := tree{}
		x.system(owner{999, 998}, "/var/lib/x")
		x.dir("/var/lib/x", 0o750, owner{999, 998})
		x.file("/opt/a/b/program", from, 0o755, root)
		x.symlink("/lib", "usr/lib")
		return x
	}
	packed := pack(t, make(), "")
	if !bytes.Equal(packed, pack(t, make(), "")) {
		t.Error("the same tree is packed in two ways")
	}
	names, headers, contents := entries(t, bytes.NewReader(packed))
	if !slices.IsSorted(names) {
		t.Errorf("a folder after what is in it: %v", names)
	}
	for _, d := range []string{"opt/", "opt/a/", "opt/a/b/", "etc/", "var/", "var/lib/"} {
		if h := headers[d]; h == nil || h.Mode != 0o755 || h.Uid != 0 {
			t.Errorf("%s: %+v", d, h)
		}
	}
	for _, h := range headers {
		if !h.ModTime.Equal(epoch) {
			t.Errorf("%s is of %v", h.Name, h.ModTime)
		}
	}
	if h := headers["var/lib/x/"]; h == nil || h.Uid != 999 || h.Gid != 998 || h.Mode != 0o750 {
		t.Errorf("data folder: %+v", h)
	}
	if h := headers["tmp/"]; h == nil || h.Mode != 0o1777 {
		t.Errorf("/tmp: %+v", h)
	}
	if h := headers["opt/a/b/program"]; h == nil || h.Mode != 0o755 || contents[h.Name] != "program" {
		t.Errorf("program: %+v", h)
	}
	if h := headers["lib"]; h == nil || h.Typeflag != tar.TypeSymlink || h.Linkname != "usr/lib" {
		t.Errorf("link: %+v", h)
	}
	if !strings.Contains(contents["etc/passwd"], "kirikae:x:999:998::/var/lib/x:") {
		t.Error(contents["etc/passwd"])
	}
	names, _, _ = entries(t, bytes.NewReader(pack(t, make(), "programs")))
	for _, n := range names {
		if !strings.HasPrefix(n, "programs/") {
			t.Errorf("%s is not below", n)
		}
	}
	os.Remove(from)
	if err := make().write(tar.NewWriter(io.Discard), ""); err == nil || !strings.Contains(err.Error(), "/opt/a/b/program") {
		t.Errorf("a file that is gone: %v", err)
	}
}

func TestStream(t *testing.T) {
	broken := errors.New("broken")
	body, done := stream(func(w *tar.Writer) error { return broken })
	if _, err := io.ReadAll(body); !errors.Is(err, broken) {
		t.Errorf("reader: %v", err)
	}
	if err := errors.Join(done(), done()); !errors.Is(err, broken) {
		t.Errorf("writer: %v", err)
	}
	_, done = stream(func(w *tar.Writer) error { // nobody reads
		x := tree{}
		x.text("/f", make([]byte, 1<<20), 0o644)
		return x.write(w, "")
	})
	if err := done(); err != nil {
		t.Errorf("a reader that gives up is not the writer's error: %v", err)
	}
}

// The Go toolchain is the only program that a machine with these tests surely has; a C library, if it has one, is found too.
func TestLibraries(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := needs(self); err != nil {
		t.Error(err)
	}
	none := func(string) bool { return false }
	if _, err := libraries([]string{self}, []string{"libnowhere.so.1"}, []string{t.TempDir()}, none); err == nil || !strings.Contains(err.Error(), "libnowhere.so.1, which the recipe needs") {
		t.Errorf("a missing library: %v", err)
	}
	if found, err := libraries(nil, []string{"libown.so"}, nil, func(n string) bool { return n == "libown.so" }); err != nil || len(found) != 0 {
		t.Errorf("one's own library: %v, %v", found, err)
	}
	if _, _, _, err := needs(filepath.Join("recipe_test.go")); err == nil {
		t.Error("a text is a program")
	}
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("this machine has no dynamic program to look into: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	libs, loads, _, err := needs(sh)
	if err != nil {
		t.Fatal(err)
	}
	if len(libs) == 0 && loads == "" {
		t.Skipf("this machine has no dynamic program to look into: %s is static", sh)
	}
	found, err := libraries([]string{sh}, nil, libraryFolders("/"), none)
	if err != nil {
		t.Fatal(err)
	}
	loader := false
	for name, file := range found {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		loader = loader || strings.HasPrefix(name, "ld-")
	}
	if !loader {
		t.Errorf("no loader among %v", found)
	}
}

func TestForeignJars(t *testing.T) {
	mine, other := "x86_64", "aarch_64"
	if triplet() == "aarch64-linux-gnu" {
		mine, other = other, mine
	}
	for jar, want := range map[string]bool{
		"netty-all-4.1.jar":                                  false,
		"/x/netty-epoll-4.1-linux-" + mine + ".jar":          false,
		"/x/netty-epoll-4.1-linux-" + other + ".jar":         true,
		"netty-dns-native-macos-4.1-osx-aarch_64.jar":        true,
		"netty-tcnative-2.0-windows-x86_64.jar":              true,
		"netty-transport-native-epoll-linux-riscv64.jar":     true,
		"netty-transport-classes-kqueue-4.1.130.jar":         false,
		"netty-tcnative-boringssl-static-2.0.70.jar":         false,
		"/cache/-osx-/lib/jamm-0.4.0.jar":                    false,
		"/x/netty-tcnative-static-2-linux-" + other + ".jar": true,
	} {
		if got := foreign(jar); got != want {
			t.Errorf("%s: %v", jar, got)
		}
	}
}

// kit makes a folder that looks like a Java, of which nothing can be run.
func kit(t *testing.T, version string, jlink bool) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "jdk")
	files := map[string]string{"release": `JAVA_VERSION="` + version + `"` + "\nJAVA_RUNTIME_VERSION=\"" + version + "+6\"\n", "bin/java": "#!/bin/sh\n", "lib/modules": "m",
		"lib/server/libjvm.so": "so", "lib/server/classes.jsa": "old", "conf/net.properties": "p", "legal/java.base/LICENSE": "l"}
	if jlink {
		files["bin/jlink"], files["jmods/java.base.jmod"] = "#!/bin/sh\n", "j"
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(home, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func TestJavaAt(t *testing.T) {
	if s, ok := javaAt(kit(t, "17.0.9", true)); !ok || s.version != "17.0.9" || s.build != "17.0.9+6" {
		t.Errorf("%+v, %v", s, ok)
	}
	for _, v := range []string{"21.0.1", "171.0", ""} {
		if s, ok := javaAt(kit(t, v, true)); ok {
			t.Errorf("%q: %+v", v, s)
		}
	}
	if _, ok := javaAt(t.TempDir()); ok {
		t.Error("an empty folder is a Java")
	}
	home := kit(t, "17.0.9", true)
	s, err := javaFor(provision.Java{Version: "17.0.9", Path: filepath.Join(home, "bin/java")})
	if err != nil || !s.jlink {
		t.Errorf("%+v, %v", s, err)
	}
}

// A copied runtime is whole in itself: links into /etc are files, what only a development kit needs is gone, and so is an archive
// that was made with other file times.
func TestCopyJava(t *testing.T) {
	home := kit(t, "17.0.9", false)
	etc := filepath.Join(t.TempDir(), "security")
	if err := os.WriteFile(etc, []byte("policy"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"conf/security": etc, "conf/gone": "/nowhere/at/all"} {
		if err := os.Symlink(to, filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	s, ok := javaAt(home)
	if !ok {
		t.Fatal("no Java")
	}
	to := filepath.Join(t.TempDir(), "jre")
	if err := s.copy(to); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "conf/security")); err != nil || string(b) != "policy" {
		t.Errorf("%s, %v", b, err)
	}
	if st, err := os.Lstat(filepath.Join(to, "conf/security")); err != nil || !st.Mode().IsRegular() {
		t.Errorf("%v, %v", st, err)
	}
	if st, err := os.Stat(filepath.Join(to, "bin/java")); err != nil || st.Mode().Perm()&0o111 == 0 {
		t.Errorf("%v, %v", st, err)
	}
	for _, gone := range []string{"conf/gone", "legal", "lib/server/classes.jsa"} {
		if exists(filepath.Join(to, gone)) {
			t.Errorf("%s is there", gone)
		}
	}
}
