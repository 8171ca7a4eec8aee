package inside

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/mysql"
	"github.com/kirikae/kirikae/topology/provision"
)

// server is an image with a server that only pretends, and room for its data.
type server struct {
	t    *testing.T
	dir  string
	boot func(context.Context) error // what happens instead of a bootstrap
	said []string

	witness string // it is guarded
}

func newServer(t *testing.T, template bool) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), boot: func(context.Context) error { return nil }}
	self, err := os.Executable()
	must(t, err)
	in := Install{MySQL: &provision.MySQL{Version: "9.7.4", Mysqld: []string{self}, BaseArgs: []string{"--no-defaults"}}}
	if template {
		in.MySQL.Template = filepath.Join(s.dir, "template")
		must(t, writeFile(filepath.Join(in.MySQL.Template, "mysql.ibd"), "copied"))
	}
	b, err := json.Marshal(in)
	must(t, err)
	must(t, writeFile(s.path("install.json"), string(b)))
	return s
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }
func (s *server) data() string            { return s.path("data") }

func (s *server) run(ctx context.Context, mode string) error {
	s.t.Helper()
	return RunMySQL(ctx, MySQL{
		Node:    mysql.NodeOptions{DataDir: s.data(), Address: "10.9.16.21", ServerID: 101},
		Witness: s.witness, Site: "tokyo", Name: "tokyo-mysql-1", watchdog: []string{"cat"},
		Secret: "s3cret", Install: s.path("install.json"), Alone: s.path("alone"),
		Env:       []string{fakeVariable + "=" + mode, SecretVariable + "=s3cret", "PATH=" + os.Getenv("PATH")},
		bootstrap: func(ctx context.Context, _ mysql.NodeOptions, _ string) error { return s.boot(ctx) },
	}, func(line string) { s.said = append(s.said, line) })
}

// serve runs the server until f, told when it is up, returns; then it is told to stop.
func (s *server) serve(f func()) error {
	ctx, stop := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx, "serve") }()
	f()
	stop()
	return <-done
}

func (s *server) there(name string) bool {
	_, err := os.Stat(s.path(name))
	return err == nil
}

// TestOrderlyStop: SIGTERM reaches the server, its end is waited for, and its data have their users.
func TestOrderlyStop(t *testing.T) {
	for _, template := range []bool{true, false} {
		s := newServer(t, template)
		booted := make(chan bool)
		s.boot = func(context.Context) error { traced(t, s.data(), "start"); booted <- true; return nil }
		if err := s.serve(func() { <-booted; waitFor(t, Marker(s.data())) }); err != nil {
			t.Errorf("template %v: %v", template, err)
		}
		b, err := os.ReadFile(s.path("data.trace"))
		must(t, err)
		if string(b) != "start\nterm\nend\n" {
			t.Errorf("template %v: the server saw %q", template, b)
		}
		data, err := os.ReadFile(filepath.Join(s.data(), "mysql.ibd"))
		if want := map[bool]string{true: "copied", false: "made"}[template]; err != nil || string(data) != want {
			t.Errorf("its data are %q, %v", data, err)
		}
		// The second start bootstraps nothing, also without a secret.
		s.boot = func(context.Context) error { t.Error("bootstrapped twice"); return nil }
		for _, left := range []string{"data/mysqld.sock", "data/mysqld.sock.lock"} { // of a server that was killed
			must(t, writeFile(s.path(left), "7"))
		}
		if err := s.run(t.Context(), "exit 7"); !isStatus(err, 7) {
			t.Errorf("the second start: %v", err)
		}
		if s.there("data/mysqld.sock") || s.there("data/mysqld.sock.lock") {
			t.Error("a killed server's socket is in the way")
		}
	}
}

// TestPatient: what a container runs may sleep longer than it asks for (payment/spawn).
func TestPatient(t *testing.T) {
	var out strings.Builder
	x := exec.Command("/bin/cat", "/proc/self/timerslack_ns")
	x.Stdout = &out
	must(t, Supervise(t.Context(), x, nil))
	if out.String() != "1000000\n" {
		t.Errorf("its timer slack is %q ns", out.String())
	}
	become := exec.Command(os.Args[0])
	become.Env = append(os.Environ(), becomeVariable+"=1")
	if b, err := become.CombinedOutput(); err != nil || string(b) != "1000000\n" {
		t.Errorf("it became %q, %v", b, err)
	}
}

// TestGuarded: a guarded server starts offline, gets its users, ends as it is told and as it does; alone it needs no guard. The
// witness is not there: nothing here waits for it.
func TestGuarded(t *testing.T) {
	s := newServer(t, true)
	s.witness = "http://127.251.12.1:1"
	s.boot = func(context.Context) error { traced(t, s.data(), "offline"); return nil }
	if err := s.serve(func() { waitFor(t, Marker(s.data())) }); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(s.path("data.trace"))
	must(t, err)
	if string(b) != "offline\nstart\nterm\nend\n" {
		t.Errorf("the server saw %q", b)
	}
	for mode, want := range map[string]int{"exit 0": 0, "exit 16": 16, "killed": 137} {
		if err := s.run(t.Context(), mode); !isStatus(err, want) {
			t.Errorf("%s: %v, want %d", mode, err, want)
		}
	}
	must(t, os.Remove(s.path("data.trace")))
	must(t, writeFile(s.path("alone"), "true"))
	if err := s.run(t.Context(), "exit 0"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(s.path("data.trace")); err != nil || string(b) != "start\n" {
		t.Errorf("alone, the server saw %q, %v", b, err)
	}
	must(t, writeFile(s.path("alone"), "false"))
	must(t, os.Remove(Marker(s.data())))
	failed := errors.New("no users today")
	s.boot = func(context.Context) error { return failed }
	if err := s.run(t.Context(), "serve"); !errors.Is(err, failed) {
		t.Errorf("without users: %v", err)
	}
	if s.there("data.ready") {
		t.Error("data without users count")
	}
}

func waitFor(t *testing.T, path string) {
	t.Helper()
	must(t, until(t.Context(), patience, path+" is there", func() error { _, err := os.Stat(path); return err }))
}

// TestExitStatus: as the server ends, so ends its supervisor.
func TestExitStatus(t *testing.T) {
	for mode, want := range map[string]int{"exit 0": 0, "exit 1": 1, "exit 16": 16, "killed": 137} {
		s := newServer(t, true)
		must(t, writeFile(Marker(s.data()), ""))
		must(t, os.MkdirAll(s.data(), 0o700))
		if err := s.run(t.Context(), mode); !isStatus(err, want) {
			t.Errorf("%s: %v, want %d", mode, err, want)
		}
	}
}

// TestInterruptedBootstrap: wherever the first start is cut off, there is no marker, and the next start does it again.
func TestInterruptedBootstrap(t *testing.T) {
	again := func(t *testing.T, s *server) {
		t.Helper()
		times := 0
		_ = os.Remove(s.path("data.trace")) // of the start before, if there was one
		s.boot = func(context.Context) error { times++; traced(t, s.data(), "start"); return nil }
		if err := s.serve(func() { waitFor(t, Marker(s.data())) }); err != nil || times != 1 {
			t.Errorf("the next start: %v, bootstrapped %d times", err, times)
		}
	}
	t.Run("the server dies while it makes its data", func(t *testing.T) {
		s := newServer(t, false)
		if err := s.run(t.Context(), "killed"); !isStatus(err, 137) || !errors.Is(err, topology.ErrEnvironment) {
			t.Errorf("%v", err)
		}
		if s.there("data") || s.there("data.ready") {
			t.Error("half made data count")
		}
		again(t, s)
	})
	t.Run("the copy was cut off", func(t *testing.T) {
		s := newServer(t, true)
		must(t, writeFile(s.path("data.part/half"), ""))
		again(t, s)
	})
	t.Run("an empty data folder", func(t *testing.T) {
		s := newServer(t, false)
		must(t, os.Mkdir(s.data(), 0o700))
		again(t, s)
		if !s.there("data/mysql.ibd") {
			t.Error("it has no data")
		}
	})
	t.Run("the server dies before it has users", func(t *testing.T) {
		s := newServer(t, true)
		s.boot = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		if err := s.run(t.Context(), "killed"); !isStatus(err, 137) {
			t.Errorf("%v", err)
		}
		if s.there("data.ready") {
			t.Error("marked without users")
		}
		again(t, s)
	})
	t.Run("stopped before it has users", func(t *testing.T) {
		s := newServer(t, true)
		s.boot = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		if err := s.serve(func() { traced(t, s.data(), "start") }); err != nil {
			t.Errorf("%v", err)
		}
		if s.there("data.ready") {
			t.Error("marked without users")
		}
		again(t, s)
	})
	t.Run("users cannot be made", func(t *testing.T) {
		s := newServer(t, true)
		s.boot = func(context.Context) error { traced(t, s.data(), "start"); return errors.New("no such plugin") }
		if err := s.run(t.Context(), "serve"); err == nil || !strings.Contains(err.Error(), "no such plugin") {
			t.Errorf("%v", err)
		}
		traced(t, s.data(), "end")
		again(t, s)
	})
	t.Run("the server ends in order before it has users", func(t *testing.T) {
		s := newServer(t, true)
		s.boot = func(ctx context.Context) error { <-ctx.Done(); return errors.New("connection refused") }
		if err := s.run(t.Context(), "exit 0"); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%v", err)
		}
	})
}

func TestMySQLRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *server)
		want  string
		env   bool
	}{
		"alone without data":     {func(s *server) { must(t, writeFile(s.path("alone"), "true\n")) }, "no data of its own", false},
		"alone by an odd word":   {func(s *server) { must(t, writeFile(s.path("alone"), "yes")) }, `"yes"`, false},
		"no table":               {func(s *server) { must(t, os.Remove(s.path("install.json"))) }, "read what the image has", true},
		"no MySQL in the image":  {func(s *server) { must(t, writeFile(s.path("install.json"), "{}")) }, "this image has none", true},
		"something else as data": {func(s *server) { must(t, writeFile(s.path("data/x"), "")) }, "holds no MySQL data", true},
		"a program that is absent": {func(s *server) {
			must(t, writeFile(s.path("install.json"), `{"mysql":{"Mysqld":["/nowhere/mysqld"],"Template":"`+s.path("template")+`"}}`))
		}, "/nowhere/mysqld", true},
	} {
		s := newServer(t, true)
		c.spoil(s)
		err := s.run(t.Context(), "exit 0")
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, topology.ErrEnvironment) != c.env {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	s := newServer(t, true)
	err := RunMySQL(t.Context(), MySQL{Node: mysql.NodeOptions{DataDir: s.data()}, Install: s.path("install.json"), Alone: s.path("alone")}, nil)
	if err == nil || !strings.Contains(err.Error(), SecretVariable) {
		t.Errorf("without a secret: %v", err)
	}
}

// TestAloneIsReadOnly: what is started for its data's sake takes no writes.
func TestAloneIsReadOnly(t *testing.T) {
	s := newServer(t, true)
	must(t, writeFile(Marker(s.data()), ""))
	must(t, os.MkdirAll(s.data(), 0o700))
	for word, want := range map[string]string{"true": "super_read_only = ON", "false": "super_read_only = OFF"} {
		must(t, writeFile(s.path("alone"), word))
		if err := s.run(t.Context(), "exit 0"); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(s.path("data.cnf"))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v, want %q in\n%s", word, err, want, b)
		}
	}
}

func TestStoppedBeforeStart(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	s := newServer(t, true)
	if err := s.run(ctx, "exit 9"); err != nil {
		t.Errorf("%v", err)
	}
}
