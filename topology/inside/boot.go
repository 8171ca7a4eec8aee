package inside

import (
	"fmt"
	"os"
	"strings"

	"github.com/kirikae/kirikae/topology"
)

// bootIDFile is the kernel's own.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// BootID is the identity of the running kernel's boot: that of the machine on which the engine is, wherever its client runs.
func BootID() (string, error) {
	b, err := os.ReadFile(bootIDFile)
	if err != nil {
		return "", fmt.Errorf("read the kernel's boot id: %w: %w", topology.ErrEnvironment, err)
	}
	return strings.TrimSpace(string(b)), nil
}
