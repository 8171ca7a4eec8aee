package images

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"

	"github.com/distribution/reference"

	"github.com/kirikae/kirikae/fixtures"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/images/install"
	"github.com/kirikae/kirikae/topology/provision"
	"github.com/kirikae/kirikae/topology/yamlfile"
)

// Table is the table of images: one entry for each of Names, in the file's order.
type Table struct {
	Entries []Entry
}

// Entry is one image of the table.
type Entry struct {
	Name     string
	Official *OfficialImage // nil: there is none, it is always built
	Build    LocalBuild
}

// OfficialImage is an image that others publish.
type OfficialImage struct {
	References []string        // tried in this order, "mysql:9.7" or with a digest
	User       string          // uid:gid of the account that its server runs as
	Install    install.Install // where the servers are in it
}

// LocalBuild says how an image is built here.
type LocalBuild struct {
	Recipe   string            // cassandra, mysql, scratch
	User     string            // uid:gid that the image runs as
	Programs map[string]string // programs of ours in it → their paths there
}

// Recipes of local builds.
const (
	recipeCassandra = "cassandra"
	recipeMySQL     = "mysql"
	recipeScratch   = "scratch" // nothing but programs
)

func recipes() []string { return []string{recipeCassandra, recipeMySQL, recipeScratch} }

func programs() []string { return []string{programInside, programPayment} }

// Programs of ours that go into images, and the commands of this module that they are built from.
const (
	programInside  = "inside"
	programPayment = "paymentd"
)

// Names are the images that a world's containers ask for, see package containers.
func Names() []string { return []string{"cassandra", "mysql", "wan", "payment"} }

// Entry returns the entry of a name.
func (t Table) Entry(name string) (Entry, bool) {
	i := slices.IndexFunc(t.Entries, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return Entry{}, false
	}
	return t.Entries[i], true
}

// DefaultTable is the table that ships with the program.
func DefaultTable() (Table, error) {
	const name = "images.yaml"
	b, err := fixtures.FS.ReadFile(name)
	if err != nil {
		return Table{}, fmt.Errorf("read the table of images: %w", err)
	}
	return Load(name, b)
}

// file is a table as people write it.
type file struct {
	Images []struct {
		Name     string        `yaml:"name"`
		Official *officialFile `yaml:"official"`
		Build    *struct {
			Recipe   string            `yaml:"recipe"`
			User     string            `yaml:"user"`
			Programs map[string]string `yaml:"programs"`
		} `yaml:"build"`
	} `yaml:"images"`
}

type officialFile struct {
	References []string `yaml:"references"`
	User       string   `yaml:"user"`
	Install    struct {
		Java *struct {
			Version string `yaml:"version"`
			Path    string `yaml:"path"`
		} `yaml:"java"`
		Cassandra *struct {
			Version   string   `yaml:"version"`
			ClassPath []string `yaml:"class_path"`
			Jamm      string   `yaml:"jamm"`
			Archive   string   `yaml:"archive"`
		} `yaml:"cassandra"`
		MySQL *struct {
			Version  string   `yaml:"version"`
			Mysqld   []string `yaml:"mysqld"`
			BaseArgs []string `yaml:"base_args"`
			Template string   `yaml:"template"`
		} `yaml:"mysql"`
	} `yaml:"install"`
}

// fields are the names that a table knows, for suggestions.
func fields() []string {
	return []string{"images", "name", "official", "references", "user", "install", "java", "version", "path", "cassandra", "class_path", "jamm",
		"archive", "mysql", "mysqld", "base_args", "template", "build", "recipe", "programs"}
}

// Load reads a table; name is what errors call it. Every error names line and column; all that are wrong come at once.
func Load(name string, b []byte) (Table, error) {
	var f file
	read, err := yamlfile.Kind{What: "table", Unknown: func(field string) error { return topology.Unknown("field", field, fields()) }}.Read(name, b, &f)
	if err != nil {
		return Table{}, err
	}
	t := (&reader{read}).table(f)
	if err := read.Err(); err != nil {
		return Table{}, err
	}
	return t, nil
}

// reader turns a file into a table and notes what is wrong with it.
type reader struct{ *yamlfile.File }

var account = regexp.MustCompile(`^[0-9]{1,9}:[0-9]{1,9}$`)

func (p *reader) table(f file) Table {
	var t Table
	for i, x := range f.Images {
		at := fmt.Sprintf("$.images[%d]", i)
		if _, twice := t.Entry(x.Name); twice {
			p.Bad(at+".name", "image %s is in the table twice", x.Name)
			continue
		}
		if !slices.Contains(Names(), x.Name) {
			p.Bad(at+".name", "%v", topology.Unknown("image", x.Name, Names()))
		}
		e := Entry{Name: x.Name}
		if x.Official != nil {
			e.Official = p.official(at+".official", *x.Official)
		}
		if x.Build == nil {
			p.Bad(at, "image %s: build is missing: say how it is built where it cannot be pulled", x.Name)
		} else {
			e.Build = LocalBuild{x.Build.Recipe, x.Build.User, x.Build.Programs}
			p.build(at+".build", e.Build)
		}
		t.Entries = append(t.Entries, e)
	}
	for _, n := range Names() {
		if _, ok := t.Entry(n); !ok {
			p.Bad("$.images", "image %s is missing: a world needs it", n)
		}
	}
	return t
}

func (p *reader) build(at string, b LocalBuild) {
	if !slices.Contains(recipes(), b.Recipe) {
		p.Bad(at+".recipe", "%v", topology.Unknown("recipe", b.Recipe, recipes()))
	}
	p.account(at, b.User)
	if b.Programs[programInside] != install.Program {
		p.Bad(at+".programs", "programs: %s must be at %s in every image", programInside, install.Program)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Programs)) {
		to := b.Programs[name]
		if !slices.Contains(programs(), name) {
			p.Bad(at+".programs."+name, "%v", topology.Unknown("program", name, programs()))
		}
		p.absolute(at+".programs."+name, name, to)
	}
}

func (p *reader) official(at string, x officialFile) *OfficialImage {
	o := &OfficialImage{References: x.References, User: x.User}
	if len(x.References) == 0 {
		p.Bad(at+".references", "references is missing: name the image, or leave official out")
	}
	for i, r := range x.References {
		named, err := reference.ParseNormalizedNamed(r)
		if err != nil {
			p.Bad(fmt.Sprintf("%s.references[%d]", at, i), "%q is no reference of an image: %v", r, err)
		} else if reference.IsNameOnly(named) {
			p.Bad(fmt.Sprintf("%s.references[%d]", at, i), "%q has neither tag nor digest: which one is it?", r)
		}
	}
	p.account(at, x.User)
	if x.Install.Java == nil && x.Install.Cassandra == nil && x.Install.MySQL == nil {
		p.Bad(at+".install", "install is missing: say where the servers are in the image")
	}
	if j := x.Install.Java; j != nil {
		p.absolute(at+".install.java.path", "path", j.Path)
		o.Install.Java = &provision.Java{Version: j.Version, Path: j.Path}
	}
	if c := x.Install.Cassandra; c != nil {
		at := at + ".install.cassandra"
		if len(c.ClassPath) == 0 {
			p.Bad(at+".class_path", "class_path is missing")
		}
		for i, jar := range c.ClassPath {
			p.absolute(fmt.Sprintf("%s.class_path[%d]", at, i), "class_path", jar)
		}
		p.absolute(at+".jamm", "jamm", c.Jamm)
		if c.Archive != "" {
			p.absolute(at+".archive", "archive", c.Archive)
		}
		if x.Install.Java == nil {
			p.Bad(at, "cassandra without java: say where the image's Java is")
		}
		o.Install.Cassandra = &provision.Cassandra{Version: c.Version, ClassPath: c.ClassPath, Jamm: c.Jamm, Archive: c.Archive, JVMOptions: provision.JVMOptions()}
	}
	if m := x.Install.MySQL; m != nil {
		at := at + ".install.mysql"
		if len(m.Mysqld) == 0 {
			p.Bad(at+".mysqld", "mysqld is missing")
		} else {
			p.absolute(at+".mysqld[0]", "mysqld", m.Mysqld[0])
		}
		if m.Template != "" {
			p.absolute(at+".template", "template", m.Template)
		}
		o.Install.MySQL = &provision.MySQL{Version: m.Version, Root: "/", Mysqld: m.Mysqld, BaseArgs: m.BaseArgs, Template: m.Template}
	}
	return o
}

func (p *reader) account(at, user string) {
	if !account.MatchString(user) {
		p.Bad(at+".user", "user is %q, wanted uid:gid in numbers, such as 999:999", user)
	}
}

func (p *reader) absolute(at, what, file string) {
	if !path.IsAbs(file) || path.Clean(file) != file {
		p.Bad(at, "%s is %q, wanted a whole path inside the image", what, file)
	}
}
