package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kirikae/kirikae/payment/fence"
	mysqlnode "github.com/kirikae/kirikae/topology/mysql"
)

// guardIP is where the guarded server of the live tests listens: outside the octets that worlds use.
const guardIP = "127.251.1.22"

// guarded is a real MySQL whose parent is a guard in a process of its own, which holds the lease of a witness.
type guarded struct {
	witness *fence.Client
	status  string
	guard   *real
	mysqld  int // process number
}

// startGuarded brings one up and waits until it holds the lease and is writable.
func startGuarded(t *testing.T, ctx context.Context, binary string) *guarded {
	t.Helper()
	in, dir := live(t), t.TempDir()
	const address = guardIP + ":8080"
	_, stop := start(t, "witness", "--listen", address, "--site", "outside", "--state", filepath.Join(dir, "lease"), "--holder", "tokyo", "--ttl", "5s")
	t.Cleanup(func() { stop() })

	o := mysqlnode.NodeOptions{DataDir: filepath.Join(dir, "mysql"), Address: guardIP, ServerID: 1}
	if err := mysqlnode.Prepare(in.MySQL, o); err != nil {
		t.Fatal(err)
	}
	g := &guarded{witness: fence.NewClient("http://"+address, nil), status: filepath.Join(dir, "status")}
	t.Cleanup(g.witness.Close)
	c := mysqlnode.Command(in.MySQL, o)
	c.Args = append([]string{"guard", "--site", "tokyo", "--node", "tokyo-mysql-1", "--witness", "http://" + address, "--socket", o.Socket(), "--status", g.status, "--", c.Path}, c.Args...)
	c.Path = binary
	g.guard = server(t, c, "guard")
	g.await(t, ctx, "the guard holds the lease, and its server is writable", func() (string, bool) {
		s, err := fence.ReadStatus(g.status)
		if err != nil {
			return err.Error(), false
		}
		g.mysqld = s.Mysqld
		return string(s.State) + " " + s.Why, s.State == fence.Holding
	})
	if s, err := fence.ReadStatus(g.status); err != nil || s.Guard != g.guard.cmd.Process.Pid {
		t.Fatalf("the guard is process %d, and says %+v, %v", g.guard.cmd.Process.Pid, s, err)
	}
	root, err := mysqlnode.Open(o.Socket(), mysqlnode.UserRoot, "", mysqlnode.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.Bootstrap(ctx, secret); err != nil {
		t.Fatalf("write while the lease is held: %v", err)
	}
	return g
}

// await waits for a state of the world.
func (g *guarded) await(t *testing.T, ctx context.Context, what string, look func() (saw string, ok bool)) {
	t.Helper()
	for {
		saw, ok := look()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited for: %s; last saw: %s", what, saw)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// dead says whether the server's process has ended.
func (g *guarded) dead() (saw string, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.mysqld))
	if err != nil {
		return "gone", true
	}
	// One whose parent is stopped, or collects nobody, stays a zombie: it holds no file and no port.
	for i := len(b) - 1; i > 0; i-- {
		if b[i] == ')' {
			return string(b[i+2:]), b[i+2] == 'Z'
		}
	}
	return string(b), false
}

// A server dies with its guard, however the guard ends.
func TestLiveGuard(t *testing.T) {
	live(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	binary := filepath.Join(t.TempDir(), "paymentd") // a process of its own: the guard is the parent of the server
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build paymentd: %v\n%s", err, out)
	}

	// A guard that is killed takes its server with it: nobody would fence it any more.
	t.Run("killed", func(t *testing.T) {
		g := startGuarded(t, ctx, binary)
		if saw, dead := g.dead(); dead {
			t.Fatalf("the server was dead before: %s", saw)
		}
		g.guard.signal(syscall.SIGKILL)
		g.await(t, ctx, "the server of a killed guard dies", g.dead)
	})

	// A guard that is stopped can fence nobody: the watchdog kills its server before another site can take the lease.
	t.Run("stopped", func(t *testing.T) {
		g := startGuarded(t, ctx, binary)
		if saw, dead := g.dead(); dead {
			t.Fatalf("the server was dead before: %s", saw)
		}
		g.guard.signal(syscall.SIGSTOP)
		g.await(t, ctx, "osaka takes the lease once it has expired", func() (string, bool) {
			l, err := g.witness.Take(ctx, "osaka", nil)
			taken := err == nil && l.Holder == "osaka"
			if saw, dead := g.dead(); taken && !dead {
				t.Fatalf("osaka has the lease, and the server of tokyo's stopped guard still runs: %s", saw)
			}
			return fmt.Sprint(l, err), taken
		})
	})
}
