package topology

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/kirikae/kirikae/topology/yamlfile"
)

// file is a topology as people write it.
type file struct {
	Name    string `yaml:"name"`
	Regions []struct {
		Name      string `yaml:"name"`
		Role      string `yaml:"role"`
		Cassandra int    `yaml:"cassandra"`
		Apps      int    `yaml:"apps"`
	} `yaml:"regions"`
	ReplicationFactor int    `yaml:"replication_factor"`
	Fence             string `yaml:"fence"`
	Reconcile         bool   `yaml:"reconcile"`
	Links             []struct {
		Between  []string `yaml:"between"`
		Services []string `yaml:"services"`
		Delay    string   `yaml:"delay"`
	} `yaml:"links"`
	Zone struct {
		Name    string   `yaml:"name"`
		TTL     string   `yaml:"ttl"`
		Records []string `yaml:"records"`
	} `yaml:"zone"`
	Accounts struct {
		Count   int   `yaml:"count"`
		Opening int64 `yaml:"opening"`
	} `yaml:"accounts"`
}

// Load reads and validates a topology file. Every error names file, line and column; all that are wrong come at once.
func Load(path string) (Topology, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Topology{}, fmt.Errorf("load topology: %w", err)
	}
	return Parse(path, b)
}

// Parse is Load for a file that was read already; name is what errors call it.
func Parse(name string, b []byte) (Topology, error) {
	var f file
	read, err := yamlfile.Kind{What: "topology", Unknown: func(field string) error { return Unknown("field", field, fields()) }}.Read(name, b, &f)
	if err != nil {
		return Topology{}, err
	}
	t := (&reader{read}).topology(f)
	return t, read.Err()
}

// fields are the names that a topology file knows, for suggestions.
func fields() []string {
	return []string{"name", "regions", "role", "cassandra", "apps", "replication_factor", "fence", "reconcile", "links", "between", "services", "delay",
		"zone", "ttl", "records", "accounts", "count", "opening"}
}

// reader turns a file into a topology and notes what is wrong with it.
type reader struct{ *yamlfile.File }

var word = regexp.MustCompile(`^[a-z][a-z0-9]{0,15}$`)

func (p *reader) topology(f file) Topology {
	t := Topology{Name: f.Name, ReplicationFactor: map[Site]int{}, Accounts: f.Accounts.Count, Opening: f.Accounts.Opening}
	if f.Name == "" {
		p.Bad("$.name", "name is missing: call the topology something")
	}
	t.Reconcile = f.Reconcile
	t.Fence = p.fence(f.Fence)
	p.regions(&t, f)
	p.links(&t, f)
	p.zone(&t, f)
	if f.Accounts.Count < 2 {
		p.Bad("$.accounts.count", "accounts: count is %d, a transfer needs at least 2", f.Accounts.Count)
	}
	if f.Accounts.Opening < 1 {
		p.Bad("$.accounts.opening", "accounts: opening is %d, at least 1 yen was expected", f.Accounts.Opening)
	}
	return t
}

// fence is none where nothing is written, as in article 002.
func (p *reader) fence(s string) Fence {
	known := []string{string(NoFence), string(WitnessFence)}
	switch {
	case s == "":
		return NoFence
	case !slices.Contains(known, s):
		p.Bad("$.fence", "%v", Unknown("fence", s, known))
		return NoFence
	}
	return Fence(s)
}

// Most that fits into one world's block of addresses.
const (
	maxRegions   = 2
	maxCassandra = 9
	maxApps      = 9
)

func (p *reader) regions(t *Topology, f file) {
	seen := map[string]bool{}
	roles := map[Role]int{}
	for i, r := range f.Regions {
		at := fmt.Sprintf("$.regions[%d]", i)
		switch {
		case r.Name == "":
			p.Bad(at, "region %d has no name", i+1)
		case r.Name == string(Outside):
			p.Bad(at+".name", "%q is the place outside the regions, a region cannot be called so", r.Name)
		case !word.MatchString(r.Name):
			p.Bad(at+".name", "region name %q: up to 16 small letters and digits were expected", r.Name)
		case seen[r.Name]:
			p.Bad(at+".name", "region %q is declared twice", r.Name)
		}
		seen[r.Name] = true
		switch Role(r.Role) {
		case Active, Standby:
			roles[Role(r.Role)]++
		case "":
			p.Bad(at+".role", "region %q has no role (known: active, standby)", r.Name)
		default:
			p.Bad(at+".role", "%v", Unknown("role", r.Role, []string{string(Active), string(Standby)}))
		}
		if r.Cassandra < 1 || r.Cassandra > maxCassandra {
			p.Bad(at+".cassandra", "region %q: cassandra is %d nodes, 1 to %d were expected", r.Name, r.Cassandra, maxCassandra)
		}
		if r.Apps < 1 || r.Apps > maxApps {
			p.Bad(at+".apps", "region %q: apps is %d, 1 to %d were expected", r.Name, r.Apps, maxApps)
		}
		if f.ReplicationFactor > r.Cassandra {
			p.Bad("$.replication_factor", "replication_factor is %d, above the %d Cassandra nodes of region %q", f.ReplicationFactor, r.Cassandra, r.Name)
		}
		t.Regions = append(t.Regions, Region{Name: Site(r.Name), Role: Role(r.Role), Cassandra: r.Cassandra, Apps: r.Apps})
		t.ReplicationFactor[Site(r.Name)] = f.ReplicationFactor
	}
	if len(f.Regions) != maxRegions {
		p.Bad("$.regions", "%d regions, exactly %d were expected: one active, one standby", len(f.Regions), maxRegions)
		return
	}
	if roles[Active] != 1 {
		p.Bad("$.regions", "%d active regions, exactly one was expected", roles[Active])
	}
	if f.ReplicationFactor < 1 {
		p.Bad("$.replication_factor", "replication_factor is %d, at least 1 was expected", f.ReplicationFactor)
	}
}

// maxDelay bounds a link's base delay: half the way around the earth takes 0.2 s.
const maxDelay = 10 * time.Second

func (p *reader) links(t *Topology, f file) {
	sites := t.Sites()
	services := []string{string(ServiceMySQL), string(ServiceCassandra), string(ServiceHTTP), string(ServiceAcquirer), string(ServiceWitness)}
	needed := t.needed()
	declared := map[LinkID]bool{}
	before := p.Mistakes()
	for i, l := range f.Links {
		at := fmt.Sprintf("$.links[%d]", i)
		delay, ok := p.duration(at+".delay", "delay", l.Delay, 0, maxDelay)
		if len(l.Between) != 2 {
			p.Bad(at+".between", "between names %d sites, two were expected, as in [tokyo, osaka]", len(l.Between))
			continue
		}
		for j, s := range l.Between {
			if !slices.Contains(sites, s) {
				p.Bad(fmt.Sprintf("%s.between[%d]", at, j), "%v", Unknown("site", s, sites))
				ok = false
			}
		}
		if l.Between[0] == l.Between[1] {
			p.Bad(at+".between", "a link joins two sites, this one leads from %s to itself; inside a site nothing is cut or delayed", l.Between[0])
			ok = false
		}
		if len(l.Services) == 0 {
			p.Bad(at+".services", "the link carries no service (known: %s)", strings.Join(services, ", "))
		}
		for j, s := range l.Services {
			place := fmt.Sprintf("%s.services[%d]", at, j)
			if !slices.Contains(services, s) {
				p.Bad(place, "%v", Unknown("service", s, services))
				continue
			}
			for _, way := range [][2]string{{l.Between[0], l.Between[1]}, {l.Between[1], l.Between[0]}} {
				id := LinkID{Site(way[0]), Site(way[1]), Service(s)}
				switch {
				case !ok:
				case declared[id]:
					p.Bad(place, "link %s is declared twice", id)
				case !needed[id]:
					p.Bad(place, "nothing of this platform sends %s between %s and %s", s, way[0], way[1])
					ok = false
				default:
					t.Links = append(t.Links, LinkSpec{ID: id, Delay: delay})
				}
				declared[id] = true
			}
		}
	}
	var missing []string
	for id := range needed {
		if !declared[id] && id.From < id.To {
			missing = append(missing, fmt.Sprintf("%s between %s and %s", id.Service, id.From, id.To))
		}
	}
	if len(missing) > 0 && p.Mistakes() == before && len(t.Regions) == maxRegions { // one mistyped name is one error
		sort.Strings(missing)
		p.Bad("$.links", "no link is declared for %s: every connection between sites has to pass one", strings.Join(missing, ", "))
	}
}

func (p *reader) zone(t *Topology, f file) {
	t.Zone = ZoneSpec{Name: f.Zone.Name, Records: f.Zone.Records}
	if len(f.Zone.Name) < 2 || !strings.HasSuffix(f.Zone.Name, ".") || strings.HasPrefix(f.Zone.Name, ".") {
		p.Bad("$.zone.name", "zone name is %q, a full name with its final dot was expected, as in kirikae.test.", f.Zone.Name)
	}
	t.Zone.TTL, _ = p.duration("$.zone.ttl", "ttl", f.Zone.TTL, time.Second, time.Hour)
	if t.Zone.TTL%time.Second != 0 {
		p.Bad("$.zone.ttl", "ttl is %s, DNS counts whole seconds", t.Zone.TTL)
	}
	if len(f.Zone.Records) == 0 {
		p.Bad("$.zone.records", "the zone has no record: customers would find nothing")
	}
	seen := map[string]bool{}
	for i, r := range f.Zone.Records {
		at := fmt.Sprintf("$.zone.records[%d]", i)
		switch {
		case !word.MatchString(r):
			p.Bad(at, "record %q: up to 16 small letters and digits were expected, without the zone's name", r)
		case seen[r]:
			p.Bad(at, "record %q is declared twice", r)
		}
		seen[r] = true
	}
}

func (p *reader) duration(path, what, s string, low, high time.Duration) (time.Duration, bool) {
	if s == "" {
		p.Bad(path, "%s is missing, a duration was expected, as in 4ms", what)
		return 0, false
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		p.Bad(path, "%s is %q, a duration with its unit was expected, as in 4ms", what, s)
		return 0, false
	}
	if d < low || d > high {
		p.Bad(path, "%s is %s, %s to %s was expected", what, d, low, high)
		return 0, false
	}
	return d, true
}

// Sites are the regions in the file's order, then outside.
func (t Topology) Sites() []string {
	var all []string
	for _, r := range t.Regions {
		all = append(all, string(r.Name))
	}
	return append(all, string(Outside))
}

// needed are the links that the platform's connections pass: both stores between the regions, customers to a region's
// gateway, a region's application to the acquirer, and a region's database to the witness where there is one.
func (t Topology) needed() map[LinkID]bool {
	all := map[LinkID]bool{}
	both := func(a, b Site, s Service) { all[LinkID{a, b, s}], all[LinkID{b, a, s}] = true, true }
	for i, r := range t.Regions {
		for _, o := range t.Regions[:i] {
			both(r.Name, o.Name, ServiceMySQL)
			both(r.Name, o.Name, ServiceCassandra)
		}
		both(Outside, r.Name, ServiceHTTP)
		both(Outside, r.Name, ServiceAcquirer)
		if t.Fence == WitnessFence {
			both(Outside, r.Name, ServiceWitness)
		}
	}
	return all
}
