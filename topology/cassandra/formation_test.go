package cassandra

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/topology/provision"
)

func TestParseFormation(t *testing.T) {
	values := func(seeds, bootstrap, replace string) map[string]string {
		return map[string]string{payment.ParamSeeds: seeds, payment.ParamBootstrap: bootstrap, payment.ParamReplace: replace}
	}
	for name, c := range map[string]struct {
		values map[string]string
		want   Formation
		says   string // of the error
	}{
		"nothing":         {nil, Formation{}, ""},
		"forming":         {values("form", "false", "false"), Formation{}, ""},
		"keeping":         {values("127.9.1.1, 127.9.1.2", "true", "true"), Formation{Seeds: []string{"127.9.1.1", "127.9.1.2"}, Bootstrap: true, Replace: true}, ""},
		"no truth":        {values("form", "yes", ""), Formation{}, `cassandra.auto_bootstrap is "yes"`},
		"no truth either": {values("form", "", "TRUE"), Formation{}, `cassandra.replace is "TRUE"`},
		"no address":      {values("127.9.1.1,", "", ""), Formation{}, `cassandra.seeds has ""`},
		"a word":          {values("forms", "", ""), Formation{}, `want "form" or addresses`},
	} {
		got, err := ParseFormation(c.values)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

// TestApplyFormation: which node is whose seed, and who takes an old place.
func TestApplyFormation(t *testing.T) {
	all := []string{"127.9.1.1", "127.9.1.2"}
	for name, c := range map[string]struct {
		f       Formation
		empty   bool
		seeds   []string
		replace bool
	}{
		"formed":                     {Formation{}, true, all, false},
		"formed, with data":          {Formation{}, false, all, false},
		"formed in an old place":     {Formation{Replace: true}, true, all, true},
		"kept":                       {Formation{Seeds: []string{"127.9.1.2"}, Bootstrap: true, Replace: true}, false, []string{"127.9.1.2", "127.9.1.1"}, false},
		"kept, and its data lost":    {Formation{Seeds: []string{"127.9.1.2"}, Bootstrap: true, Replace: true}, true, []string{"127.9.1.2"}, true},
		"a seed of its own, by name": {Formation{Seeds: []string{"127.9.1.1"}}, false, []string{"127.9.1.1"}, false},
	} {
		o := NodeOptions{Broadcast: "127.9.1.1", Seeds: all}
		c.f.Apply(&o, c.empty)
		if !slices.Equal(o.Seeds, c.seeds) || o.Replace != c.replace || o.Bootstrap != c.f.Bootstrap {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if !slices.Equal(all, []string{"127.9.1.1", "127.9.1.2"}) {
		t.Error("the caller's seeds were changed")
	}
}

func TestEmpty(t *testing.T) {
	dir := t.TempDir()
	is := func(want bool) {
		t.Helper()
		if got, err := Empty(dir); err != nil || got != want {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	is(true)
	must(t, os.MkdirAll(filepath.Join(dir, "conf"), 0o755)) // its configuration comes first
	must(t, os.Mkdir(filepath.Join(dir, "data"), 0o755))
	is(true)
	must(t, os.Mkdir(filepath.Join(dir, "data", "system"), 0o755))
	is(false)
}

// TestCommandReplaces: how a node without data is told that it takes an old one's place; Cassandra refuses it without its data
// unless that is wanted.
func TestCommandReplaces(t *testing.T) {
	for name, c := range map[string]struct {
		seeds              []string
		bootstrap, replace bool
		want               []string
		yaml               string
	}{
		"no":                  {[]string{"127.9.1.2"}, true, false, nil, "\nauto_bootstrap: true\n"},
		"with its data":       {[]string{"127.9.1.2"}, true, true, []string{"-Dcassandra.replace_address_first_boot=127.9.1.1"}, "\nauto_bootstrap: true\n"},
		"empty":               {[]string{"127.9.1.2"}, false, true, []string{"-Dcassandra.replace_address_first_boot=127.9.1.1", "-Dcassandra.allow_unsafe_replace=true"}, "\nauto_bootstrap: false\n"},
		"a seed of its own":   {[]string{"127.9.1.1"}, true, true, []string{"-Dcassandra.replace_address_first_boot=127.9.1.1", "-Dcassandra.allow_unsafe_replace=true"}, "\nauto_bootstrap: true\n"},
		"nothing of all that": {[]string{"127.9.1.1"}, false, false, nil, "\nauto_bootstrap: false\n"},
	} {
		cmd := Command(provision.Java{}, provision.Cassandra{}, NodeOptions{DataDir: "/d", Broadcast: "127.9.1.1", Seeds: c.seeds, Bootstrap: c.bootstrap, Replace: c.replace, Setpriv: "/s"})
		var got []string
		for _, a := range cmd.Args {
			if strings.Contains(a, "replace") {
				got = append(got, a)
			}
		}
		if !slices.Equal(got, c.want) || !strings.Contains(cmd.Files["/d/conf/cassandra.yaml"], c.yaml) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
