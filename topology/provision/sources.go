package provision

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// source is one binary package source of apt: the deb lines of sources.list(5), in either of its two formats.
type source struct {
	uri        string
	suite      string
	components []string
	signedBy   string // keyring file, or a key in armour (deb822 allows it); "" is apt's own trust
	trusted    bool   // [trusted=yes]: the machine's owner waives signatures
}

// debian says whether a source is a Debian mirror proper: not its security archive, not somebody else's repository. Mirrors keep
// the folder's name; cloud images name a file with a list of mirrors instead.
func (s source) debian() bool {
	last := path.Base(strings.TrimRight(s.uri, "/"))
	return last == "debian" || strings.HasPrefix(s.uri, "mirror") && last == "debian.list"
}

// readSources reads what apt would read: the one file and the folder of more.
func readSources(file, folder string) ([]source, error) {
	var all []source
	add := func(name string, parse func(string) []source) error {
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read apt sources: %w", err)
		}
		all = append(all, parse(string(b))...)
		return nil
	}
	if _, err := os.Stat(file); err == nil {
		if err := add(file, parseList); err != nil {
			return nil, err
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("read apt sources: %w", err)
	}
	for _, e := range entries {
		name := filepath.Join(folder, e.Name())
		switch {
		case !sourceName.MatchString(e.Name()): // apt ignores it too: x.list.disabled, editors' copies
		case strings.HasSuffix(name, ".list"):
			err = add(name, parseList)
		case strings.HasSuffix(name, ".sources"):
			err = add(name, parseDeb822)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

var sourceName = regexp.MustCompile(`^[A-Za-z0-9_.-]+\.(list|sources)$`)

// parseList reads the one-line format: deb [ option=value … ] uri suite [component …].
func parseList(text string) []source {
	var all []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || !strings.ContainsAny(rest[:1], " \t[") {
			continue
		}
		var s source
		if open, after, ok := strings.Cut(rest, "["); ok && strings.TrimSpace(open) == "" {
			options, tail, closed := strings.Cut(after, "]")
			if !closed {
				continue
			}
			for _, o := range strings.Fields(options) {
				key, value, _ := strings.Cut(o, "=")
				s.set(strings.TrimRight(key, "+-"), value)
			}
			rest = tail
		}
		f := strings.Fields(rest)
		if len(f) < 2 {
			continue
		}
		s.uri, s.suite, s.components = f[0], f[1], f[2:]
		all = append(all, s)
	}
	return all
}

// parseDeb822 reads the format of .sources files: stanzas of fields, a field goes on in indented lines.
func parseDeb822(text string) []source {
	var all []source
	fields := map[string]string{}
	key := ""
	flush := func() {
		all = append(all, fromStanza(fields)...)
		fields, key = map[string]string{}, ""
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			line = strings.TrimSpace(line)
			if line == "." { // an empty line inside a field
				line = ""
			}
			fields[key] += "\n" + line
		default:
			name, value, _ := strings.Cut(line, ":")
			key = strings.ToLower(strings.TrimSpace(name))
			fields[key] = strings.TrimSpace(value)
		}
	}
	flush()
	return all
}

func fromStanza(fields map[string]string) []source {
	if !slices.Contains(strings.Fields(fields["types"]), "deb") || strings.EqualFold(strings.TrimSpace(fields["enabled"]), "no") {
		return nil
	}
	var all []source
	for _, uri := range strings.Fields(fields["uris"]) {
		for _, suite := range strings.Fields(fields["suites"]) {
			s := source{uri: uri, suite: suite, components: strings.Fields(fields["components"])}
			s.set("signed-by", strings.TrimSpace(fields["signed-by"]))
			s.set("trusted", strings.TrimSpace(fields["trusted"]))
			all = append(all, s)
		}
	}
	return all
}

func (s *source) set(key, value string) {
	switch strings.ToLower(key) {
	case "signed-by":
		s.signedBy = value
	case "trusted":
		s.trusted = strings.EqualFold(value, "yes")
	}
}

// line is the source in the one-line format, for its Packages index only: no translations, no metadata of desktop shops.
func (s source) line() string {
	options := []string{"target=Packages"}
	if s.signedBy != "" {
		options = append(options, "signed-by="+s.signedBy)
	}
	if s.trusted {
		options = append(options, "trusted=yes")
	}
	return strings.TrimSpace(fmt.Sprintf("deb [%s] %s %s %s", strings.Join(options, " "), s.uri, s.suite, strings.Join(s.components, " ")))
}

// debianSuite is another suite of the Debian mirror that this machine uses.
func debianSuite(all []source, suite string) (source, bool) {
	for _, s := range all {
		if s.debian() {
			return source{s.uri, suite, []string{"main"}, s.signedBy, s.trusted}, true
		}
	}
	return source{}, false
}

// ownSuites are the machine's own sources that can hold a distribution's packages.
func ownSuites(all []source) []source {
	var own []source
	for _, s := range all {
		if slices.Contains(s.components, "main") && !slices.ContainsFunc(own, func(o source) bool { return o.uri == s.uri && o.suite == s.suite }) {
			own = append(own, s)
		}
	}
	return own
}
