package inside

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/kirikae/kirikae/payment/fence"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/mysql"
	"github.com/kirikae/kirikae/topology/provision"
)

// MySQL is one server, supervised.
type MySQL struct {
	Node    mysql.NodeOptions
	Secret  string   // password of the world's database users; needed by a server without data only
	Install string   // path of the table of contents; "": InstallFile
	Alone   string   // path of the file that asks for a start alone; "": AloneFile
	Env     []string // of the server
	// Witness, Site and Name make this process the server's guard: it holds the server to its site's lease at the witness, see
	// package fence. Witness is a base URL; "": nothing fences the server, and the others are not needed. A start alone needs no lease.
	Witness, Site, Name string
	Params              string // base URL of the region's parameter store, by which people decide while the witness is silent; "": none

	// watchdog is what a guard has beside it; nil: this program's own part.
	watchdog []string
	// bootstrap gives a server that was just started its users; nil: that over its socket.
	bootstrap func(ctx context.Context, o mysql.NodeOptions, secret string) error
}

// bootstrapBudget bounds the time from a server's first start to its users.
const bootstrapBudget = 2 * time.Minute

// Marker is the file that exists once a server's data have their users. It lies beside the data, as with every runtime, and goes
// with them.
func Marker(data string) string { return data + ".ready" }

// RunMySQL starts the server on the data it has and passes on how it ends: nil after an orderly stop, a spawn.ExitStatus otherwise.
// When ctx ends it is told to stop in order. A server without data gets the template's and the world's users first; whenever that
// is interrupted, the next start does it again. Nobody can log in by the network before it is done.
func RunMySQL(ctx context.Context, m MySQL, say Say) error {
	in, err := ReadInstall(or(m.Install, InstallFile))
	if err != nil {
		return err
	}
	if in.MySQL == nil {
		return fmt.Errorf("start MySQL: %w: this image has none", topology.ErrEnvironment)
	}
	o := m.Node
	if o.ReadOnly, err = ReadAlone(or(m.Alone, AloneFile)); err != nil {
		return err
	}
	_, err = os.Stat(Marker(o.DataDir))
	fresh := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !fresh:
		return fmt.Errorf("look for MySQL's data: %w: %w", topology.ErrEnvironment, err)
	case fresh && o.ReadOnly:
		return errors.New("start MySQL alone: it has no data of its own")
	case fresh && m.Secret == "":
		return fmt.Errorf("start MySQL without data: %s is empty, the users' password was expected", SecretVariable)
	case fresh:
		if err := m.firstData(ctx, *in.MySQL, say); err != nil {
			if ctx.Err() != nil {
				return nil // stopped before there was a server
			}
			return err
		}
	}
	// A server that was killed leaves its socket's lock with its process number, which is another's here after a restart: a thread of
	// this program, of all things. Nobody else can be using this volume.
	for _, left := range []string{o.Socket(), o.Socket() + ".lock"} {
		if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what a killed server left: %w: %w", topology.ErrEnvironment, err)
		}
	}
	cmd := mysql.Command(*in.MySQL, o)
	if err := writeFiles(cmd.Files); err != nil {
		return err
	}
	x := exec.Command(cmd.Path, cmd.Args...)
	x.Dir, x.Env, x.Stdout, x.Stderr = o.DataDir, environment(m.Env, cmd.Env, o.DataDir), os.Stdout, os.Stderr
	say.f("mysql: %s on %s, server %d, read-only %v", in.MySQL.Version, o.Address, o.ServerID, o.ReadOnly)
	run := Supervise
	if m.Witness != "" && !o.ReadOnly {
		run = m.guard
	}
	if !fresh {
		return run(ctx, x, nil)
	}
	return run(ctx, x, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, bootstrapBudget, fmt.Errorf("not within %s", bootstrapBudget))
		defer cancel()
		bootstrap := m.bootstrap
		if bootstrap == nil {
			bootstrap = giveUsers
		}
		if err := bootstrap(ctx, o, m.Secret); err != nil {
			return fmt.Errorf("give MySQL its users: %w", err)
		}
		if err := writeFile(Marker(o.DataDir), ""); err != nil {
			return fmt.Errorf("mark MySQL's data as whole: %w: %w", topology.ErrEnvironment, err)
		}
		say.f("mysql: has its users")
		return nil
	})
}

// guard is Supervise for a server that writes only while its site holds the lease. The server stays offline until its data have
// their users.
func (m MySQL) guard(ctx context.Context, x *exec.Cmd, first func(context.Context) error) error {
	dog := m.watchdog
	if dog == nil {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the watchdog: %w: %w", topology.ErrEnvironment, err)
		}
		dog = []string{self, "watchdog"}
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		if first == nil {
			done <- nil
			return
		}
		err := first(work)
		if err != nil {
			stop() // the server with it
		}
		done <- err
	}()
	data := m.Node.DataDir
	err := fence.RunGuard(work, fence.GuardConfig{
		Site: m.Site, Node: m.Name, Witness: m.Witness, Params: m.Params, Socket: m.Node.Socket(), ReadyFile: Marker(data), Status: data + ".guard",
		Command: x, Watchdog: dog, Log: slog.New(slog.NewTextHandler(os.Stdout, nil)),
	})
	stop()
	failed := <-done
	if ctx.Err() != nil {
		failed = nil // it was told to stop
	}
	return errors.Join(failed, err)
}

// firstData gives a server its data: the image's template, or where it has none what the server itself makes.
func (m MySQL) firstData(ctx context.Context, in provision.MySQL, say Say) error {
	if in.Template != "" {
		if err := mysql.Prepare(in, m.Node); err != nil {
			return fmt.Errorf("give MySQL its first data: %w: %w", topology.ErrEnvironment, err)
		}
		return nil
	}
	data := m.Node.DataDir
	if entries, err := os.ReadDir(data); err == nil && len(entries) > 0 {
		return nil // an interrupted bootstrap's; data are made beside and renamed, so they are whole
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for MySQL's data: %w: %w", topology.ErrEnvironment, err)
	}
	part := data + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("make MySQL's first data: %w: %w", topology.ErrEnvironment, err)
	}
	if err := os.MkdirAll(part, 0o750); err != nil {
		return fmt.Errorf("make MySQL's first data: %w: %w", topology.ErrEnvironment, err)
	}
	began := time.Now()
	args := append(append([]string(nil), in.Mysqld[1:]...), in.BaseArgs...)
	args = append(args, provision.MySQLBootOptions()...)
	args = append(args, "--datadir="+part, "--innodb-buffer-pool-size=32M", "--skip-log-bin", "--initialize-insecure")
	x := exec.Command(in.Mysqld[0], args...)
	x.Dir, x.Env, x.Stdout, x.Stderr = part, environment(m.Env, nil, part), os.Stdout, os.Stderr
	if err := Supervise(ctx, x, nil); err != nil {
		return fmt.Errorf("make MySQL's first data: %w: %w", topology.ErrEnvironment, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("make MySQL's first data: %w", err) // it may have been told to stop halfway
	}
	if err := os.Remove(data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make MySQL's first data: %w: %w", topology.ErrEnvironment, err)
	}
	if err := os.Rename(part, data); err != nil {
		return fmt.Errorf("make MySQL's first data: %w: %w", topology.ErrEnvironment, err)
	}
	say.f("mysql: made its first data in %s", time.Since(began).Round(time.Millisecond))
	return nil
}

// giveUsers bootstraps a server over its socket. Its users stay locked until the end: a client that could log in while the history
// is being emptied would write what a replica never sees.
func giveUsers(ctx context.Context, o mysql.NodeOptions, secret string) error {
	root, err := mysql.Open(o.Socket(), mysql.UserRoot, "", mysql.Options{})
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.WaitReady(ctx); err != nil {
		return err
	}
	users := []string{mysql.UserOps, mysql.UserPay, mysql.UserDrill, mysql.UserReplication}
	lock := []string{"SET SESSION sql_log_bin = 0"}
	for _, u := range users {
		lock = append(lock, "CREATE USER IF NOT EXISTS '"+u+"'@'%' ACCOUNT LOCK", "ALTER USER '"+u+"'@'%' ACCOUNT LOCK")
	}
	if err := root.ApplySchema(ctx, append(lock, "SET SESSION sql_log_bin = 1")); err != nil {
		return err
	}
	if err := root.Bootstrap(ctx, secret); err != nil {
		return err
	}
	unlock := "ALTER USER '" + strings.Join(users, "'@'%', '") + "'@'%' ACCOUNT UNLOCK"
	return root.ApplySchema(ctx, []string{"SET SESSION sql_log_bin = 0", unlock, "SET SESSION sql_log_bin = 1"})
}
