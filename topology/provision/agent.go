package provision

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// agentPOM names the one artifact: an agent that holds all that it needs.
//
//go:embed agent.xml
var agentPOM string

// agentAt is the jar of a part.
func agentAt(cache string, p part) (string, error) {
	folder := filepath.Join(cache, p.Path)
	jars, err := filepath.Glob(filepath.Join(folder, "jolokia-agent-jvm-*.jar"))
	if err != nil {
		return "", fmt.Errorf("find the jolokia agent: %w", err)
	}
	if len(jars) != 1 {
		return "", fmt.Errorf("find the jolokia agent: %d jars of it in %s", len(jars), folder)
	}
	return jars[0], nil
}

// Agent is the path of the JMX agent in a cache ("" is the user's own), whatever else is there; "" when it has not been
// provisioned.
func Agent(cache string) string {
	dir, err := CacheDir(cache)
	if err != nil {
		return ""
	}
	l, err := readLock(dir)
	if err != nil {
		return ""
	}
	return look(dir, l, false).install.Cassandra.Jolokia
}

// agent makes the agent be there by which a node is asked and told what Cassandra offers over JMX only, such as which nodes it
// holds for alive, or the removal of one. It is a part of its own: it is not on the class path, which the class archive is made
// for.
func (s *session) agent(ctx context.Context) error {
	folder, err := s.temp("jolokia")
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "pom.xml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(agentPOM, "JOLOKIA_VERSION", JolokiaVersion)), 0o644); err != nil {
		return fmt.Errorf("fetch jolokia: %w", err)
	}
	lib := filepath.Join(folder, "lib")
	if _, err := s.p.run(ctx, "jolokia "+JolokiaVersion+": fetch the agent by Maven", folder, mavenHome(),
		"mvn", "-B", "-Dstyle.color=never", "-f", file, "dependency:copy-dependencies", "-DoutputDirectory="+lib, "-DexcludeTransitive=true"); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return missing("Maven cannot fetch jolokia (is the repository in Maven's settings reachable?)", err)
	}
	jar, err := agentAt(folder, part{Path: "lib"})
	if err != nil {
		return missing("fetch jolokia", err)
	}
	return s.install(partAgent, part{Version: JolokiaVersion, Origin: fetched, Path: filepath.Join("jolokia", JolokiaVersion)}, lib, []string{jar})
}
