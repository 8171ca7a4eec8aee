package inside

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/kirikae/kirikae/payment/spawn"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/wire"
)

// Cassandra is one node of the ring.
type Cassandra struct {
	Node    cassandra.NodeOptions
	Params  string // base URL of the region's parameter store; "": the node is started as Node says
	Install string // path of the table of contents; "": InstallFile
	Alone   string // path of the file that asks for a start alone; "": AloneFile
}

// Program is a program to become: path, arguments from its own name on, environment.
type Program struct {
	Path string
	Args []string
	Env  []string
}

// PrepareCassandra writes a node's configuration and waits, bounded, until the addresses that it is to listen on are there; what
// it returns is to be executed in place of this process, so that signals reach Java itself.
func PrepareCassandra(ctx context.Context, c Cassandra, env []string, say Say) (Program, error) {
	in, err := ReadInstall(or(c.Install, InstallFile))
	if err != nil {
		return Program{}, err
	}
	if in.Java == nil || in.Cassandra == nil {
		return Program{}, fmt.Errorf("start Cassandra: %w: this image has none", topology.ErrEnvironment)
	}
	o := c.Node
	o.ListenOnBroadcast = true // its network's own loopback carries its identity
	if o.Alone, err = ReadAlone(or(c.Alone, AloneFile)); err != nil {
		return Program{}, err
	}
	for _, a := range []string{o.Listen, o.Broadcast} {
		want, err := netip.ParseAddr(a)
		if err != nil {
			return Program{}, fmt.Errorf("start Cassandra: %w", err)
		}
		if err := until(ctx, networkBudget, a+" is an address of this container", func() error { return ownAddress(want) }); err != nil {
			return Program{}, err
		}
	}
	// Java unpacks libraries that it then executes; an image needs no /tmp for that, and a volume may be executed from.
	tmp := filepath.Join(o.DataDir, "tmp")
	if err := os.MkdirAll(tmp, 0o750); err != nil {
		return Program{}, fmt.Errorf("make Cassandra's data folder: %w: %w", topology.ErrEnvironment, err)
	}
	if c.Params != "" && !o.Alone {
		f, note, err := wire.ReadFormation(ctx, c.Params, filepath.Join(o.DataDir, "formation.json"))
		if err != nil {
			return Program{}, err
		}
		empty, err := cassandra.Empty(o.DataDir)
		if err != nil {
			return Program{}, err
		}
		say.f("cassandra: %s, without data %t", note, empty)
		f.Apply(&o, empty)
	}
	cmd := cassandra.Command(*in.Java, *in.Cassandra, o)
	if err := writeFiles(cmd.Files); err != nil {
		return Program{}, err
	}
	how := ""
	if o.Alone {
		how = ", alone"
	}
	say.f("cassandra: %s as %s in %s%s", in.Cassandra.Version, o.Broadcast, o.DC, how)
	args := append([]string{cmd.Path}, cmd.Args...)
	if cmd.Path == in.Java.Path {
		args = append([]string{cmd.Path, "-Djava.io.tmpdir=" + tmp}, cmd.Args...)
	}
	return Program{Path: cmd.Path, Args: args, Env: environment(env, cmd.Env, tmp)}, nil
}

// Become executes a program in place of this process. It returns only when that cannot be.
func Become(p Program) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	spawn.Patient()
	return fmt.Errorf("execute %s: %w: %w", p.Path, topology.ErrEnvironment, syscall.Exec(p.Path, p.Args, p.Env))
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
