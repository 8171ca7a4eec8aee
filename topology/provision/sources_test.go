package provision

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []source
	}{
		"plain":           {"deb http://mirror.example/debian bookworm main contrib\n", []source{{uri: "http://mirror.example/debian", suite: "bookworm", components: []string{"main", "contrib"}}}},
		"options":         {"deb [ arch=amd64 signed-by=/k.gpg ] https://m.example/debian/ sid main", []source{{"https://m.example/debian/", "sid", []string{"main"}, "/k.gpg", false}}},
		"options, tight":  {"deb [trusted=yes]file:/repo ./", []source{{uri: "file:/repo", suite: "./", components: []string{}, trusted: true}}},
		"tabs, comment":   {"deb\thttp://m.example/debian\tsid\tmain # why\n", []source{{uri: "http://m.example/debian", suite: "sid", components: []string{"main"}}}},
		"off":             {"# deb http://m.example/debian sid main\n", nil},
		"sources only":    {"deb-src http://m.example/debian sid main\n", nil},
		"unclosed":        {"deb [arch=amd64 http://m.example/debian sid main\n", nil},
		"no suite":        {"deb http://m.example/debian\n", nil},
		"something else":  {"debian http://m.example/debian sid main\n", nil},
		"empty":           {"", nil},
		"a line, no more": {"deb", nil},
	} {
		if got := parseList(c.text); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestParseDeb822(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []source
	}{
		"two suites": {"Types: deb deb-src\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n", []source{
			{"http://m.example/debian", "bookworm", []string{"main"}, "/k.gpg", false},
			{"http://m.example/debian", "bookworm-updates", []string{"main"}, "/k.gpg", false}}},
		"two stanzas, comment inside": {"Types: deb\n# once elsewhere\nURIs: http://a.example/debian\nSuites: sid\nComponents: main\n\n\nTypes: deb\nuris: http://b.example/x\nsuites: y\nComponents:\n main\n contrib\n", []source{
			{uri: "http://a.example/debian", suite: "sid", components: []string{"main"}},
			{uri: "http://b.example/x", suite: "y", components: []string{"main", "contrib"}}}},
		"a key inside": {"Types: deb\nURIs: http://a.example/debian\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n", []source{
			{"http://a.example/debian", "sid", []string{"main"}, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc", false}}},
		"off":          {"Enabled: no\nTypes: deb\nURIs: http://a.example/debian\nSuites: sid\nComponents: main\n", nil},
		"sources only": {"Types: deb-src\nURIs: http://a.example/debian\nSuites: sid\nComponents: main\n", nil},
		"empty":        {"", nil},
	} {
		if got := parseDeb822(c.text); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// Only the names that apt reads are read, from both places.
func TestReadSources(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sources.list"), "deb http://a.example/debian a main\n")
	write(t, filepath.Join(dir, "d/b.list"), "deb http://b.example/debian b main\n")
	write(t, filepath.Join(dir, "d/c.sources"), "Types: deb\nURIs: http://c.example/debian\nSuites: c\nComponents: main\n")
	write(t, filepath.Join(dir, "d/x.list.disabled"), "deb http://x.example/debian x main\n")
	write(t, filepath.Join(dir, "d/y~.list"), "deb http://y.example/debian y main\n")
	all, err := readSources(filepath.Join(dir, "sources.list"), filepath.Join(dir, "d"))
	if err != nil {
		t.Fatal(err)
	}
	var suites []string
	for _, s := range all {
		suites = append(suites, s.suite)
	}
	if got := strings.Join(suites, " "); got != "a b c" {
		t.Errorf("read suites %q, want %q", got, "a b c")
	}
	if all, err := readSources(filepath.Join(dir, "none"), filepath.Join(dir, "nowhere")); err != nil || all != nil {
		t.Errorf("no sources at all: got %v, %v", all, err)
	}
}

func TestDebianSuite(t *testing.T) {
	for uri, want := range map[string]bool{
		"http://m.example/debian":                           true,
		"https://m.example/mirrors/debian/":                 true,
		"mirror+file:/etc/apt/mirrors/debian.list":          true,
		"http://m.example/debian-security":                  false,
		"mirror+file:/etc/apt/mirrors/debian-security.list": false,
		"http://m.example/ubuntu":                           false,
		"https://m.example/debian/extras":                   false,
	} {
		got, ok := debianSuite([]source{{"http://x.example/apt", "x", []string{"main"}, "", false}, {uri, "bookworm", []string{"main"}, "/k.gpg", false}}, "sid")
		if ok != want {
			t.Errorf("%s: a Debian mirror: %v, want %v", uri, ok, want)
		}
		if line := "deb [target=Packages signed-by=/k.gpg] " + uri + " sid main"; ok && got.line() != line {
			t.Errorf("%s: line %q, want %q", uri, got.line(), line)
		}
	}
}

func TestOwnSuites(t *testing.T) {
	a := source{uri: "http://m.example/debian", suite: "bookworm", components: []string{"main"}}
	got := ownSuites([]source{a, {uri: "http://d.example", suite: "x", components: []string{"stable"}}, a})
	if len(got) != 1 || got[0].uri != a.uri {
		t.Errorf("got %+v, want %+v once", got, a)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
