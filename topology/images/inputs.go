package images

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/images/install"
	"github.com/kirikae/kirikae/topology/provision"
)

// recipeFiles are this package's own sources that decide what is in an image. They are part of the inputs: a recipe that
// changes makes another image, with no number to remember.
//
//go:embed recipe_*.go
var recipeFiles embed.FS

// recipeText is the source text of recipes by their names.
func recipeText(names ...string) string {
	var all strings.Builder
	for _, n := range append([]string{"tree"}, names...) {
		b, err := recipeFiles.ReadFile("recipe_" + n + ".go")
		if err != nil {
			panic(err) // a name in this package that is no file of it
		}
		all.Write(b)
	}
	return all.String()
}

// digest is a hash over texts, each with its length.
func digest(texts ...string) string {
	sum := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(sum, "%d:%s\n", len(t), t)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// short is how much of a digest names have.
func short(digest string) string { return digest[:12] }

// repository is the name of our image without tag.
func repository(name string) string { return "kirikae/" + name }

// plan is an image as it would be built from the present inputs.
type plan struct {
	entry      Entry
	own        owner
	base       string            // tag of the image below our programs
	changes    []string          // the base's configuration, in Dockerfile's words
	install    *install.Install  // nil: no servers in it
	programs   map[string]string // file of this machine → path inside
	dockerfile string            // of what comes above the base
	version    string            // of the product; "": it is our own program
	digest     string
	tag        string
}

// inputs is all that goes into images.
type inputs struct {
	install provision.Install
	java    javaSource
	mysql   mysqlParts
	plans   map[string]plan
	why     map[string]error // image → why its inputs are not known
}

// plan returns the plan of an image, or why there is none.
func (in inputs) plan(name string) (plan, error) {
	if err := in.why[name]; err != nil {
		return plan{}, err
	}
	p, ok := in.plans[name]
	if !ok {
		return plan{}, fmt.Errorf("image %s is not in the table", name)
	}
	return p, nil
}

// missing are all reasons why inputs are not known.
func (in inputs) missing() error {
	var all []error
	for _, err := range in.why {
		if !slices.ContainsFunc(all, func(e error) bool { return e.Error() == err.Error() }) {
			all = append(all, err)
		}
	}
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(all...)
}

// inputsOf reads what images would be built from. It fetches nothing. What is not there is noted, image by image.
func inputsOf(ctx context.Context, t Table, o Options) (inputs, error) {
	in := inputs{plans: map[string]plan{}, why: map[string]error{}}
	hashes := map[string]string{}
	for _, name := range programs() {
		sum, err := provision.HashFile(filepath.Join(o.Bin, name))
		if err == nil {
			hashes[name] = sum
		}
	}
	var err error
	var recorded map[string]string
	if in.install, err = provision.Find(o.Cache); err == nil {
		recorded, err = in.install.Recorded()
	}
	for _, e := range t.Entries {
		if err := ctx.Err(); err != nil {
			return in, context.Cause(ctx)
		}
		p, why := in.of(e, o, hashes, recorded, err)
		if why != nil {
			in.why[e.Name] = why
			continue
		}
		in.plans[e.Name] = p
	}
	return in, nil
}

// of makes the plan of one image.
func (in *inputs) of(e Entry, o Options, hashes, recorded map[string]string, unprovisioned error) (plan, error) {
	own, err := parseOwner(e.Build.User)
	if err != nil {
		return plan{}, err
	}
	p := plan{entry: e, own: own, programs: map[string]string{}}
	above := []string{recipeText()}
	for _, name := range slices.Sorted(maps.Keys(e.Build.Programs)) {
		if hashes[name] == "" {
			return plan{}, fmt.Errorf("%w: no program %s in %s: build it with `make images`", topology.ErrEnvironment, name, folderName(o.Bin))
		}
		switch _, loader, _, err := needs(filepath.Join(o.Bin, name)); {
		case err != nil:
			return plan{}, fmt.Errorf("%w: %w", topology.ErrEnvironment, err)
		case loader != "":
			return plan{}, fmt.Errorf("%w: program %s in %s is not static: build it with CGO_ENABLED=0 (`make images`)", topology.ErrEnvironment, name, folderName(o.Bin))
		}
		p.programs[filepath.Join(o.Bin, name)] = e.Build.Programs[name]
		above = append(above, name, hashes[name], e.Build.Programs[name])
	}
	if e.Build.Recipe != recipeScratch && unprovisioned != nil {
		return plan{}, unprovisioned
	}
	var below []string
	p.changes = []string{"USER " + e.Build.User}
	switch e.Build.Recipe {
	case recipeCassandra:
		p.version = in.install.Cassandra.Version
		if in.java, err = javaFor(in.install.Java); err != nil {
			return plan{}, fmt.Errorf("%w: %w", topology.ErrEnvironment, err)
		}
		libs, err := in.systemLibraries(recorded)
		if err != nil {
			return plan{}, err
		}
		i := cassandraInstall(in.install, in.java)
		p.install = &i
		p.changes = append(p.changes, "VOLUME "+cassandraData, "EXPOSE 7000 9042 8778")
		below = []string{recipeText("elf", "java", "cassandra"), recorded["cassandra"], recorded["jolokia"], in.java.key(), libs, strings.Join(provision.RunFlags(), " ")}
	case recipeMySQL:
		p.version = in.install.MySQL.Version
		if in.mysql, err = mysqlPartsOf(in.install.MySQL); err != nil {
			return plan{}, fmt.Errorf("%w: %w", topology.ErrEnvironment, err)
		}
		i := mysqlInstall(in.install, in.mysql.loader)
		p.install = &i
		p.changes = append(p.changes, "VOLUME "+mysqlData, "EXPOSE 3306")
		below = []string{recipeText("elf", "mysql"), recorded["mysql"], recorded["mysql-template"]}
	case recipeScratch:
		below = []string{recipeText()}
	}
	entry := install.Program
	if to, ok := e.Build.Programs[programPayment]; ok {
		entry = to
	}
	p.changes = append(p.changes, fmt.Sprintf("ENTRYPOINT [%q]", entry))
	p.base = repository("base") + ":" + e.Build.Recipe + "-" + short(digest(append(below, p.changes...)...))
	p.dockerfile = "FROM " + p.base + "\n"
	if e.Build.Recipe == recipeCassandra {
		p.dockerfile += "COPY archive/ /\n"
	}
	p.dockerfile += "COPY programs/ /\n"
	note := ""
	if p.install != nil {
		b, err := p.install.JSON()
		if err != nil {
			return plan{}, err
		}
		note = string(b)
	}
	p.digest = digest(append(above, p.base, p.dockerfile, p.version, note)...)
	version := p.version
	if version == "" {
		version = "local"
	}
	p.tag = repository(e.Name) + ":" + version + "-" + short(p.digest)
	return p, nil
}

// folderName is a folder as an error calls it.
func folderName(folder string) string {
	if folder == "" {
		return "the current folder"
	}
	return folder
}

// libraryRoots are the unpacked systems whose C library Java's image gets: MySQL's, which is the newest, Java's own, or the
// machine's.
func (in inputs) libraryRoots() []string {
	var all []string
	if in.install.MySQL.Root != "/" {
		all = append(all, libraryFolders(in.install.MySQL.Root)...)
	}
	if in.java.unpack != "" {
		all = append(all, libraryFolders(in.java.unpack)...)
	}
	return append(all, libraryFolders("/")...)
}

// systemLibraries says which system libraries Cassandra's image gets: by what is recorded of the unpacked ones, by place, size
// and time of the machine's.
func (in inputs) systemLibraries(recorded map[string]string) (string, error) {
	var all []string
	if in.install.MySQL.Root != "/" {
		all = append(all, recorded["mysql"])
	}
	if in.java.unpack != "" {
		all = append(all, recorded["java"])
	}
	if len(all) == 0 {
		libs, err := libraries([]string{filepath.Join(in.java.home, "bin/java")}, nativeLibraries(), libraryFolders("/"), func(n string) bool { return strings.HasPrefix(n, "libj") })
		if err != nil {
			return "", err
		}
		for name, file := range libs {
			st, err := os.Stat(file)
			if err != nil {
				return "", fmt.Errorf("look at the machine's libraries: %w", err)
			}
			all = append(all, fmt.Sprintf("%s %s %d %d", name, file, st.Size(), st.ModTime().UnixNano()))
		}
		slices.Sort(all)
	}
	return strings.Join(all, "\n"), nil
}
