package provision

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/kirikae/kirikae/topology"
)

// worldMemory is what the smallest world takes: two Cassandra nodes, two MySQL servers and the app nodes of both regions.
const worldMemory = 2 << 30

// Need is one thing that provisioning or a world needs of this machine.
type Need struct {
	Name string // "apt-get"
	Why  string // what it is for
	Have string // what is there: a path, a version, an amount
	OK   bool
	Fix  string // how to get it; "" when OK
}

// Doctor says what is needed and what is there, without fetching or starting anything. What only provisioning needs is fine when
// the cache ("" is the user's own) has everything already.
func Doctor(ctx context.Context, cache string) []Need {
	if runtime.GOOS != "linux" {
		return []Need{{Name: "Linux", Why: "servers run as plain processes on loopback addresses", Have: runtime.GOOS,
			Fix: "run kirikae on a Debian machine, in a virtual one or in a container"}}
	}
	dir, err := CacheDir(cache)
	if err != nil {
		return []Need{{Name: "cache", Why: "servers are unpacked there", Have: err.Error(), Fix: "set XDG_CACHE_HOME or HOME"}}
	}
	found, err := inspect(dir, false)
	whole := err == nil && len(found.stale) == 0
	needs := []Need{}
	for _, t := range tools() {
		n := Need{Name: t.name, Why: t.why}
		if n.Have, err = exec.LookPath(t.name); err == nil {
			n.OK = true
		} else if n.Have = "missing"; whole {
			n.Have, n.OK = "missing, and not needed: everything is provisioned", true
		} else {
			n.Fix = t.fix
		}
		needs = append(needs, n)
	}
	if !whole {
		needs = append(needs, mirrorNeed(ctx))
	}
	needs = append(needs, javaNeed(ctx, found), provisionedNeed(dir), diskNeed(dir, whole), memoryNeed())
	return needs
}

func mirrorNeed(ctx context.Context) Need {
	n := Need{Name: "Debian mirror", Why: "has MySQL " + MySQLSeries, Have: "none in apt's sources",
		Fix: "add a Debian mirror to apt's sources, or install MySQL " + MySQLSeries + " so that mysqld is on the PATH"}
	all, err := machineSources(ctx)
	if err != nil {
		n.Have = err.Error()
		return n
	}
	if s, ok := debianSuite(all, mysqlSuites()[0]); ok {
		n.Have, n.OK, n.Fix = s.uri, true, ""
	}
	return n
}

func javaNeed(ctx context.Context, found inspection) Need {
	n := Need{Name: "Java " + JavaSeries, Why: "runs Cassandra", OK: true}
	if p, ok := found.lock.Parts[partJava]; ok && found.stale[partJava] == "" {
		n.Have = fmt.Sprintf("%s, %s", p.Version, javaAt(found.install.Cache, p).Path)
	} else if p, ok := machineJava(ctx); ok {
		n.Have = fmt.Sprintf("%s, %s", p.Version, p.Path)
	} else {
		n.Have = "none on the PATH or in JAVA_HOME; provisioning fetches one by apt"
	}
	return n
}

func provisionedNeed(dir string) Need {
	n := Need{Name: "servers", Why: "a world is made of them"}
	i, err := Find(dir)
	if err != nil {
		n.Have, n.Fix = strings.TrimPrefix(err.Error(), topology.ErrEnvironment.Error()+": "), "kirikae provision"
		return n
	}
	n.Have, n.OK = fmt.Sprintf("mysql %s, cassandra %s in %s", i.MySQL.Version, i.Cassandra.Version, dir), true
	return n
}

func diskNeed(dir string, whole bool) Need {
	need := uint64(room)
	if whole {
		need = 512 << 20 // one world's data and logs
	}
	n := Need{Name: "disk", Why: fmt.Sprintf("%d MB in the cache's file system", need>>20)}
	at := dir
	for { // the cache need not exist yet
		if _, err := os.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	free, err := freeBytes(at)
	if err != nil {
		n.Have, n.Fix = err.Error(), "set XDG_CACHE_HOME"
		return n
	}
	n.Have, n.OK = fmt.Sprintf("%d MB free at %s", free>>20, at), free >= need
	if !n.OK {
		n.Fix = "make room, or set XDG_CACHE_HOME to a larger file system"
	}
	return n
}

func memoryNeed() Need {
	n := Need{Name: "memory", Why: fmt.Sprintf("%d MB for the smallest world", worldMemory>>20), Fix: "end other programs, or use a larger machine"}
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		n.Have = err.Error()
		return n
	}
	have, ok := memAvailable(string(b))
	if !ok {
		n.Have = "unknown: /proc/meminfo has no MemAvailable"
		return n
	}
	n.Have, n.OK = fmt.Sprintf("%d MB available", have>>20), have >= worldMemory
	if n.OK {
		n.Fix = ""
	}
	return n
}

// memAvailable reads the line "MemAvailable: N kB" of /proc/meminfo.
func memAvailable(text string) (bytes uint64, ok bool) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemAvailable:" {
			kb, err := strconv.ParseUint(f[1], 10, 64)
			return kb << 10, err == nil
		}
	}
	return 0, false
}
