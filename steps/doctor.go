package steps

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/docker"
	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
	"github.com/kirikae/kirikae/topology/local"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/provision"
)

// Examined is what was found for one runtime, or for both.
type Examined struct {
	For   string // docker, local; "every world"
	Needs []provision.Need
}

// OK says whether nothing is lacking.
func (e Examined) OK() bool {
	for _, n := range e.Needs {
		if !n.OK {
			return false
		}
	}
	return true
}

// examination bounds what Doctor waits for: a machine that has something says so at once.
const examination = 1500 * time.Millisecond

// Doctor says what each runtime would need and what is there, without fetching, pulling or starting anything, in under two
// seconds. programs is the folder of this program's neighbours.
func Doctor(ctx context.Context, programs string) []Examined {
	ctx, cancel := context.WithTimeout(ctx, examination)
	defer cancel()
	contained := make(chan []provision.Need, 1)
	go func() { contained <- dockerNeeds(ctx, programs) }()
	every := []provision.Need{addressNeed(), clockNeed()}
	var plain []provision.Need
	for _, n := range provision.Doctor(ctx, "") {
		if n.Name == "memory" { // whatever runs the servers, they take it
			every = append(every, n)
			continue
		}
		plain = append(plain, n)
	}
	return []Examined{{"every world", every}, {docker.Name, <-contained}, {local.Name, plain}}
}

func dockerNeeds(ctx context.Context, programs string) []provision.Need {
	n := provision.Need{Name: "engine", Why: "runs the containers"}
	e, err := engine.Open(ctx)
	if err != nil {
		n.Have, n.Fix = plainly(err), "start the engine, or make docker where there is none"
		return []provision.Need{n}
	}
	defer e.Close()
	n.Have, n.OK = e.String(), true
	return []provision.Need{n, kernelNeed(e), imagesNeed(ctx, e, programs), engineDisk(e), {
		Name: "engine memory", Why: fmt.Sprintf("%d MB for the smallest world", worldMemory>>20), OK: e.Memory >= worldMemory,
		Have: fmt.Sprintf("%d MB, %d CPUs", e.Memory>>20, e.CPUs), Fix: "give the engine's machine more memory",
	}}
}

// worldMemory is what the smallest world of containers takes, with room.
const worldMemory = 2560 << 20

func kernelNeed(e *engine.Engine) provision.Need {
	n := provision.Need{Name: "kernel", Why: "records of all processes are put in order by one monotonic clock",
		Fix: "use an engine on this machine's own kernel"}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		n.Have = err.Error()
		return n
	}
	here := unix.ByteSliceToString(u.Release[:])
	n.Have = fmt.Sprintf("containers run on %s, this process on %s", e.Kernel, here)
	n.OK = e.Local && e.Kernel == here
	return n
}

func imagesNeed(ctx context.Context, e *engine.Engine, programs string) provision.Need {
	n := provision.Need{Name: "images", Why: "containers are made from them", Fix: "make images"}
	var said []string
	set, err := images.NewResolver(e.Client, images.Options{Bin: filepath.Join(programs, "linux")}).Resolve(ctx, images.Built)
	if err != nil {
		n.Have = strings.Join(strings.Fields(plainly(err)), " ")
		return n
	}
	for _, i := range set.Images() {
		said = append(said, i.Reference)
	}
	n.Have, n.OK = strings.Join(said, ", "), true
	return n
}

// engineDisk is the room where the engine keeps what containers write, as far as it is a folder of this machine.
func engineDisk(e *engine.Engine) provision.Need {
	const need = 2 << 30
	n := provision.Need{Name: "engine disk", Why: fmt.Sprintf("%d MB for images and volumes", need>>20), Fix: "make room: docker image prune removes images that nothing uses"}
	var s syscall.Statfs_t
	if err := syscall.Statfs(e.Root, &s); err != nil {
		n.Have, n.OK = fmt.Sprintf("%s cannot be seen from here: %v", e.Root, err), true
		return n
	}
	free := s.Bavail * uint64(s.Bsize)
	n.Have, n.OK = fmt.Sprintf("%d MB free at %s", free>>20, e.Root), free >= need
	return n
}

// addressNeed looks for a loopback block that a world could have now.
func addressNeed() provision.Need {
	n := provision.Need{Name: "addresses", Why: "a world has 127.X.0.0/16, each service at its standard port", Fix: "end what listens on all addresses at ports 3306, 7000, 8080 or 9042"}
	t, err := LoadTopology("two-region.yaml")
	if err != nil {
		n.Have = err.Error()
		return n
	}
	for octet := 2; octet < 22; octet++ { // where worlds begin
		p := plan.Layout(t, octet, plan.Loopback, false)
		if err = hosted.Bindable(p.Listens()); err == nil {
			n.Have, n.OK = fmt.Sprintf("127.%d.0.0/16 is free", octet), true
			return n
		}
	}
	n.Have = fmt.Sprintf("none of the first 20 is free: %v", err)
	return n
}

func clockNeed() provision.Need {
	n := provision.Need{Name: "clock", Why: "outages are measured by CLOCK_MONOTONIC", Fix: "run on Linux"}
	var t unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC, &t); err != nil {
		n.Have = err.Error()
		return n
	}
	boot := history.BootID()
	n.Have, n.OK = fmt.Sprintf("resolution %s, boot %.8s", time.Duration(t.Nano()), boot), boot != ""
	return n
}

// Verdict is what --runtime auto would take, or why nothing can be.
func Verdict(found []Examined) (string, error) {
	able := map[string]bool{}
	for _, f := range found {
		able[f.For] = f.OK()
	}
	switch {
	case !able["every world"]:
		return "", fmt.Errorf("no world can be made here: %w", topology.ErrEnvironment)
	case able[docker.Name] && able[local.Name]:
		return "--runtime auto takes docker; local would do, too", nil
	case able[docker.Name]:
		return "--runtime auto takes docker", nil
	case able[local.Name]:
		return "--runtime auto takes local", nil
	}
	return "", fmt.Errorf("neither runtime can make a world: %w", topology.ErrEnvironment)
}
