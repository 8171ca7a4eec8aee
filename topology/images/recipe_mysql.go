package images

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/topology/images/install"
	"github.com/kirikae/kirikae/topology/provision"
)

// Places of MySQL's image.
const (
	mysqlFolder    = "/opt/kirikae/mysql"
	mysqlProgram   = mysqlFolder + "/sbin/mysqld"
	mysqlLibraries = mysqlFolder + "/lib"
	mysqlPlugins   = mysqlFolder + "/plugin"
	mysqlShare     = mysqlFolder + "/share"
	mysqlTemplate  = mysqlFolder + "/template"
	mysqlData      = "/var/lib/mysql"
)

// mysqlInstall is what the image says of itself. The server is started by its own loader, as where it is only unpacked.
func mysqlInstall(in provision.Install, loader string) install.Install {
	return install.Install{MySQL: &provision.MySQL{
		Version: in.MySQL.Version,
		Root:    mysqlFolder,
		Mysqld:  []string{path.Join(mysqlLibraries, loader), "--library-path", mysqlLibraries, mysqlProgram},
		BaseArgs: []string{"--no-defaults", "--basedir=" + mysqlFolder, "--lc-messages-dir=" + mysqlShare, "--character-sets-dir=" + mysqlShare + "/charsets",
			"--plugin-dir=" + mysqlPlugins, "--secure-file-priv=NULL"},
		Template: mysqlTemplate,
	}}
}

// mysqlParts are the server's files on this machine.
type mysqlParts struct {
	program, messages, charsets, plugins string
	loader                               string // file name of the dynamic loader
	folders                              []string
}

func mysqlPartsOf(m provision.MySQL) (mysqlParts, error) {
	p := mysqlParts{program: m.Mysqld[len(m.Mysqld)-1], folders: libraryFolders(m.Root)}
	for _, a := range m.BaseArgs {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "--lc-messages-dir":
			p.messages = v
		case "--character-sets-dir":
			p.charsets = v
		case "--plugin-dir":
			p.plugins = v
		}
	}
	if p.messages == "" || p.charsets == "" || p.plugins == "" {
		return p, fmt.Errorf("find the files of MySQL: messages %q, character sets %q, plugins %q", p.messages, p.charsets, p.plugins)
	}
	for _, g := range []string{"lib*/mysql/private", "lib*/private"} { // where the maker's own packages have theirs
		private, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(p.program)), g))
		p.folders = append(private, p.folders...)
	}
	_, loader, _, err := needs(p.program)
	p.loader = filepath.Base(loader)
	return p, err
}

// mysqlTree is the image without our programs.
func mysqlTree(in provision.Install, own owner) (tree, error) {
	p, err := mysqlPartsOf(in.MySQL)
	if err != nil {
		return nil, err
	}
	t := tree{}
	t.system(own, mysqlData)
	t.dir(mysqlData, 0o755, own)
	t.file(mysqlProgram, p.program, 0o755, root)
	libs, err := libraries([]string{p.program}, nil, p.folders, func(string) bool { return false })
	if err != nil {
		return nil, fmt.Errorf("collect the libraries of MySQL: %w", err)
	}
	for name, file := range libs {
		t.file(path.Join(mysqlLibraries, name), file, 0o755, root)
	}
	for _, language := range []string{"english", "japanese"} {
		if err := t.folder(path.Join(mysqlShare, language), filepath.Join(p.messages, language), root); err != nil {
			return nil, fmt.Errorf("collect the messages of MySQL: %w", err)
		}
	}
	if err := t.folder(path.Join(mysqlShare, "charsets"), p.charsets, root); err != nil {
		return nil, fmt.Errorf("collect the character sets of MySQL: %w", err)
	}
	if err := t.plugins(p, libs); err != nil {
		return nil, fmt.Errorf("collect the plugins of MySQL: %w", err)
	}
	if err := t.folder(mysqlTemplate, in.MySQL.Template, own); err != nil {
		return nil, fmt.Errorf("collect the empty data folder of MySQL: %w", err)
	}
	return t, nil
}

// plugins adds the plugins that need no library which the server does not need itself; what a world uses must be among them.
func (t tree) plugins(p mysqlParts, libs map[string]string) error {
	entries, err := os.ReadDir(p.plugins)
	if err != nil {
		return err
	}
	wanted := []string{"semisync_source.so", "semisync_replica.so", "mysql_clone.so"}
	for _, e := range entries {
		file := filepath.Join(p.plugins, e.Name())
		if !strings.HasSuffix(e.Name(), ".so") {
			continue
		}
		names, _, _, err := needs(file)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(names, func(n string) bool { return libs[n] == "" }) {
			continue
		}
		t.file(path.Join(mysqlPlugins, e.Name()), file, 0o644, root)
	}
	for _, w := range wanted {
		if _, ok := t[inTree(path.Join(mysqlPlugins, w))]; !ok {
			return fmt.Errorf("%s is not in %s, or needs libraries that the server does not", w, p.plugins)
		}
	}
	return nil
}
