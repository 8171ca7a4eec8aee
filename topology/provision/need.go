package provision

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"

	"github.com/kirikae/kirikae/topology"
)

// missing wraps an error as the environment's: exit code 4.
func missing(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", topology.ErrEnvironment, what, err)
}

func errNotLinux() error {
	return fmt.Errorf("%w: servers can be provisioned on Linux with apt and Maven only, this is %s: run kirikae on a Debian machine, in a virtual one or in a container",
		topology.ErrEnvironment, runtime.GOOS)
}

// tool is a program of the machine that provisioning uses.
type tool struct{ name, why, fix string }

func tools() []tool {
	return []tool{
		{"apt-get", "fetches MySQL, and Java where there is none", "use a Debian machine or container: apt comes with the system"},
		{"apt-config", "tells which mirror this machine uses", "it comes with apt"},
		{"dpkg-deb", "unpacks packages", "it comes with dpkg"},
		{"mvn", "fetches Cassandra and its JMX agent", "apt-get install maven"},
	}
}

// needTools says which of these tools are missing, all in one error.
func needTools(names ...string) error {
	if runtime.GOOS != "linux" {
		return errNotLinux()
	}
	var gone []string
	for _, t := range tools() {
		for _, n := range names {
			if _, err := exec.LookPath(n); n == t.name && err != nil {
				gone = append(gone, fmt.Sprintf("%s (%s; %s)", t.name, t.why, t.fix))
			}
		}
	}
	if len(gone) > 0 {
		return fmt.Errorf("%w: missing on this machine: %s", topology.ErrEnvironment, strings.Join(gone, ", "))
	}
	return nil
}
