package topology

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const twoRegion = "../fixtures/topologies/two-region.yaml"

func TestLoad(t *testing.T) {
	got, err := Load(twoRegion)
	if err != nil {
		t.Fatal(err)
	}
	if got.Active() != "tokyo" || got.Standby() != "osaka" {
		t.Errorf("active %q, standby %q", got.Active(), got.Standby())
	}
	if len(got.Regions) != 2 || got.Regions[0] != (Region{"tokyo", Active, 1, 2}) {
		t.Errorf("regions %+v", got.Regions)
	}
	if got.ReplicationFactor["osaka"] != 1 || got.Accounts != 200 || got.Opening != 1_000_000 {
		t.Errorf("%+v", got)
	}
	if got.Zone.Name != "kirikae.test." || got.Zone.TTL != time.Second || len(got.Zone.Records) != 5 {
		t.Errorf("zone %+v", got.Zone)
	}
	delays := map[LinkID]time.Duration{}
	for _, l := range got.Links {
		delays[l.ID] = l.Delay
	}
	if len(delays) != 12 || delays[LinkID{"tokyo", "osaka", ServiceMySQL}] != 4*time.Millisecond || delays[LinkID{"osaka", "tokyo", ServiceCassandra}] != 4*time.Millisecond {
		t.Errorf("links %v", delays)
	}
	for id := range got.needed() {
		if _, ok := delays[id]; !ok {
			t.Errorf("no link %s", id)
		}
	}
}

// TestLoadWitness: the world with a fence is the default one with a witness.
func TestLoadWitness(t *testing.T) {
	plain, err := Load(twoRegion)
	if err != nil {
		t.Fatal(err)
	}
	if plain.Fence != NoFence || plain.Reconcile {
		t.Errorf("fence %q, reconcile %v", plain.Fence, plain.Reconcile)
	}
	got, err := Load("../fixtures/topologies/two-region-witness.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got.Fence != WitnessFence || got.Name != "two-region-witness" {
		t.Errorf("%+v", got)
	}
	witness := 0
	got.Links = slices.DeleteFunc(got.Links, func(l LinkSpec) bool {
		if l.ID.Service == ServiceWitness {
			witness++
		}
		return l.ID.Service == ServiceWitness
	})
	got.Name, got.Fence = plain.Name, plain.Fence
	if witness != 4 || !reflect.DeepEqual(got, plain) {
		t.Errorf("%d links to the witness; without it %+v, want %+v", witness, got, plain)
	}
	b, err := os.ReadFile(twoRegion)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Parse("t.yaml", append(b, "\nreconcile: true\nfence: none\n"...)); err != nil || !got.Reconcile || got.Fence != NoFence {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestParseRefuses changes the good file in one place each; the error must name the place and say what is wrong.
func TestParseRefuses(t *testing.T) {
	b, err := os.ReadFile(twoRegion)
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for _, c := range []struct {
		name     string
		old, new string // replaced once
		wants    []string
	}{
		{"typo in a field", "regions:", "reginos:", []string{"t.yaml:6:1:", `unknown field "reginos", did you mean "regions"?`}},
		{"typo in an inner field", "cassandra: 1", "casandra: 1", []string{"t.yaml:9:5:", `did you mean "cassandra"?`}},
		{"no number", "apps: 2", "apps: two", []string{"t.yaml:10:11:"}},
		{"not YAML", "name: two-region", "name: [two-region", []string{"t.yaml:6:", "']'"}},
		{"a key twice", "name: two-region", "name: two-region\nname: three", []string{"t.yaml:5:1:", "name"}},
		{"unknown role", "role: standby", "role: stanby", []string{"t.yaml:12:11:", `unknown role "stanby", did you mean "standby"?`}},
		{"two active", "role: standby", "role: active", []string{"t.yaml:7:", "2 active regions, exactly one"}},
		{"none active", "role: active", "role: standby", []string{"0 active regions, exactly one"}},
		{"region twice", "name: osaka", "name: tokyo", []string{"t.yaml:11:11:", `region "tokyo" is declared twice`}},
		{"region called outside", "name: osaka", "name: outside", []string{"t.yaml:11:11:", "cannot be called so"}},
		{"bad region name", "name: osaka", "name: Osaka", []string{"t.yaml:11:11:", `"Osaka"`}},
		{"no node", "cassandra: 1", "cassandra: 0", []string{"t.yaml:9:16:", "1 to 9"}},
		{"too many apps", "apps: 2", "apps: 10", []string{"t.yaml:10:11:", "1 to 9"}},
		{"RF above nodes", "replication_factor: 1", "replication_factor: 3", []string{"t.yaml:16:21:", `above the 1 Cassandra nodes of region "tokyo"`}},
		{"RF missing", "replication_factor: 1", "", []string{"replication_factor is 0"}},
		{"unknown site", "between: [tokyo, osaka]", "between: [tokyo, osaks]", []string{"t.yaml:20:22:", `unknown site "osaks", did you mean "osaka"?`}},
		{"one site", "between: [tokyo, osaka]", "between: [tokyo]", []string{"t.yaml:20:14:", "two were expected"}},
		{"a site and itself", "between: [tokyo, osaka]", "between: [tokyo, tokyo]", []string{"t.yaml:20:14:", "itself"}},
		{"unknown service", "services: [mysql, cassandra]", "services: [mysql, casandra]", []string{"t.yaml:21:23:", `did you mean "cassandra"?`}},
		{"no service", "services: [mysql, cassandra]", "services: []", []string{"t.yaml:21:", "carries no service"}},
		{"service that nobody sends", "services: [mysql, cassandra]", "services: [mysql, cassandra, acquirer]", []string{"t.yaml:21:34:", "nothing of this platform sends acquirer between tokyo and osaka"}},
		{"link twice", "services: [mysql, cassandra]", "services: [mysql, cassandra, mysql]", []string{"t.yaml:21:34:", "link tokyo>osaka/mysql is declared twice"}},
		{"link missing", "services: [mysql, cassandra]", "services: [mysql]", []string{"t.yaml:20:", "cassandra between osaka and tokyo"}},
		{"delay without unit", "delay: 4ms", "delay: 4", []string{"t.yaml:22:12:", `"4"`, "unit"}},
		{"delay below 0", "delay: 4ms", "delay: -4ms", []string{"t.yaml:22:12:", "0s to 10s"}},
		{"delay missing", "    delay: 4ms\n", "", []string{"t.yaml:20:5:", "delay is missing"}},
		{"zone without dot", "kirikae.test.", "kirikae.test", []string{"t.yaml:32:9:", "final dot"}},
		{"ttl of half seconds", "ttl: 1s", "ttl: 1500ms", []string{"t.yaml:33:8:", "whole seconds"}},
		{"ttl 0", "ttl: 1s", "ttl: 0s", []string{"t.yaml:33:8:", "1s to 1h"}},
		{"no record", "[pay, api, shop, admin, partner]", "[]", []string{"t.yaml:34:", "no record"}},
		{"record twice", "[pay, api, shop, admin, partner]", "[pay, pay]", []string{"t.yaml:34:18:", `record "pay" is declared twice`}},
		{"bad record", "[pay, api, shop, admin, partner]", "[pay.kirikae.test.]", []string{"t.yaml:34:13:", "without the zone's name"}},
		{"unknown fence", "replication_factor: 1", "fence: witnes\nreplication_factor: 1", []string{"t.yaml:16:8:", `unknown fence "witnes", did you mean "witness"?`}},
		{"a fence that is no word", "replication_factor: 1", "fence: [witness]\nreplication_factor: 1", []string{"t.yaml:16:8:"}},
		{"no link to the witness", "replication_factor: 1", "fence: witness\nreplication_factor: 1", []string{"witness between osaka and outside, witness between outside and tokyo"}},
		{"a link without a witness", "services: [http, acquirer]", "services: [http, acquirer, witness]", []string{"nothing of this platform sends witness between outside and tokyo"}},
		{"reconcile is no truth", "replication_factor: 1", "reconcile: perhaps\nreplication_factor: 1", []string{"t.yaml:16:12:"}},
		{"one account", "count: 200", "count: 1", []string{"t.yaml:37:10:", "at least 2"}},
		{"poor accounts", "opening: 1000000", "opening: 0", []string{"t.yaml:38:12:", "at least 1 yen"}},
		{"two documents", "name: two-region", "name: two-region\n---\nname: x", []string{"2 documents"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the file has no %q", c.old)
			}
			_, err := Parse("t.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.wants {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
		})
	}
	for name, text := range map[string]string{"empty": "", "only a comment": "# nothing\n", "a list": "- a\n"} {
		if _, err := Parse("t.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "t.yaml:1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load("nowhere.yaml"); err == nil {
		t.Error("a file that is not there was read")
	}
	three := strings.NewReplacer("cassandra: 1 ", "cassandra: 3 ", "cassandra: 1\n", "cassandra: 3\n", "replication_factor: 1", "replication_factor: 3").Replace(good)
	if _, err := Parse("t.yaml", []byte(three)); err != nil {
		t.Errorf("3 + 3: %v", err)
	}
}

// TestAllErrorsAtOnce: one reading shows everything that is wrong.
func TestAllErrorsAtOnce(t *testing.T) {
	b, _ := os.ReadFile(twoRegion)
	bad := strings.NewReplacer("role: standby", "role: x", "ttl: 1s", "ttl: x", "count: 200", "count: 0").Replace(string(b))
	_, err := Parse("t.yaml", []byte(bad))
	if err == nil || len(strings.Split(err.Error(), "\n")) != 3 {
		t.Errorf("%v", err)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"tokyo", "osaka", "outside"}
	for _, c := range []struct{ in, want string }{
		{"tokio", "tokyo"}, {"osak", "osaka"}, {"sooka", "osaka"}, {"TOKYO", "tokyo"}, {"outsdie", "outside"}, {"nagoya", ""}, {"", ""},
	} {
		if got := Nearest(c.in, known); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}
