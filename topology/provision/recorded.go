package provision

import (
	"fmt"
	"strings"
)

// JVMOptions are what Cassandra wants of Java 17, for an installation that does not come from here.
func JVMOptions() []string {
	var all []string
	for line := range strings.Lines(jvm17) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// Recorded says of each part of the install what its lock file records of its contents, in one word that changes when they do:
// mysql, java, cassandra, jolokia, and mysql-template and cassandra-archive, which were prepared from the others.
func (i Install) Recorded() (map[string]string, error) {
	l, err := readLock(i.Cache)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for name, p := range l.Parts {
		contents := p.Tree.SHA256
		if p.Origin == prepared {
			contents = p.Key // never the same twice, but equally good
		}
		all[name] = fmt.Sprintf("%s:%s:%s", p.Version, p.Key, contents)
	}
	return all, nil
}
