package images

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kirikae/kirikae/topology/images/install"
	"github.com/kirikae/kirikae/topology/provision"
)

// Places of Cassandra's image.
const (
	cassandraFolder  = "/opt/kirikae/cassandra"
	cassandraJars    = cassandraFolder + "/lib"
	cassandraArchive = cassandraFolder + "/daemon.jsa"
	cassandraAgent   = cassandraFolder + "/jolokia.jar" // beside the class path, as the class archive knows it
	cassandraData    = "/var/lib/cassandra"
	javaFolder       = "/opt/kirikae/java"
)

// cassandraInstall is what the image says of itself.
func cassandraInstall(in provision.Install, java javaSource) install.Install {
	c := provision.Cassandra{Version: in.Cassandra.Version, Archive: cassandraArchive, JVMOptions: in.Cassandra.JVMOptions}
	for _, jar := range in.Cassandra.ClassPath {
		if !foreign(jar) {
			c.ClassPath = append(c.ClassPath, path.Join(cassandraJars, filepath.Base(jar)))
		}
	}
	c.Jamm = path.Join(cassandraJars, filepath.Base(in.Cassandra.Jamm))
	c.Jolokia = cassandraAgent
	return install.Install{Java: &provision.Java{Version: java.version, Path: javaFolder + "/bin/java"}, Cassandra: &c}
}

// foreign says that a jar holds nothing but another system's native code.
func foreign(jar string) bool {
	name := filepath.Base(jar)
	for _, other := range []string{"-osx-", "-windows-", "-linux-riscv64"} {
		if strings.Contains(name, other) {
			return true
		}
	}
	other := "aarch_64"
	if triplet() == "aarch64-linux-gnu" {
		other = "x86_64"
	}
	return strings.Contains(name, "-linux-"+other)
}

// nativeLibraries are what the native code inside jars needs (JNA, netty, snappy, zstd), beside what Java does.
func nativeLibraries() []string {
	return []string{"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2", "libgcc_s.so.1", "libstdc++.so.6"}
}

// cassandraTree is the image without its class archive and our programs.
func cassandraTree(in provision.Install, jre string, folders []string, own owner) (tree, error) {
	t := tree{}
	t.system(own, cassandraData)
	t.dir(cassandraData, 0o755, own)
	for _, jar := range in.Cassandra.ClassPath {
		if !foreign(jar) {
			t.file(path.Join(cassandraJars, filepath.Base(jar)), jar, 0o644, root)
		}
	}
	t.file(cassandraAgent, in.Cassandra.Jolokia, 0o644, root)
	if err := t.folder(javaFolder, jre, root); err != nil {
		return nil, fmt.Errorf("collect the Java runtime: %w", err)
	}
	shared, err := elfFiles(jre)
	if err != nil {
		return nil, fmt.Errorf("collect the Java runtime: %w", err)
	}
	mine := map[string]bool{}
	for _, f := range shared {
		mine[filepath.Base(f)] = true
	}
	libs, err := libraries(append(shared, filepath.Join(jre, "bin/java")), nativeLibraries(), folders, func(name string) bool { return mine[name] })
	if err != nil {
		return nil, fmt.Errorf("collect the libraries of Java: %w", err)
	}
	t.libraries(libs)
	return t, nil
}

// libraries puts libraries where a dynamic loader looks for them without being told, Debian's and others'.
func (t tree) libraries(libs map[string]string) {
	to := "/usr/lib/" + triplet()
	t.symlink("/lib", "usr/lib")
	t.symlink("/lib64", "usr/lib/"+triplet())
	t.symlink("/usr/lib64", "lib/"+triplet())
	for name, file := range libs {
		t.file(path.Join(to, name), file, 0o755, root)
		if strings.HasPrefix(name, "ld-linux-aarch64") {
			t.symlink("/usr/lib/"+name, path.Join(triplet(), name))
		}
	}
}

// folder adds a folder of the machine with all that is in it, by contents: links become what they lead to.
func (t tree) folder(to, from string, own owner) error {
	return filepath.WalkDir(from, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		st, err := os.Stat(p)
		if err != nil {
			return err
		}
		switch mode := int64(st.Mode().Perm()); {
		case st.IsDir():
			t.dir(path.Join(to, rel), mode, own)
		case st.Mode().IsRegular():
			t.file(path.Join(to, rel), p, mode, own)
		}
		return nil
	})
}
