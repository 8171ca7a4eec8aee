package engine

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// fake is an engine that answers what a test wants, at a socket of its own.
type fake struct {
	api, os string
	images  []string
	silent  bool
}

func (f fake) serve(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine") // t.TempDir's names may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	h := func(w http.ResponseWriter, r *http.Request) {
		if f.silent {
			<-over
			return
		}
		w.Header().Set("Api-Version", f.api)
		answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
		switch {
		case strings.HasSuffix(r.URL.Path, "/version"):
			answer(map[string]string{"Version": "20.10.24", "ApiVersion": f.api, "Os": f.os, "Arch": "amd64"})
		case strings.HasSuffix(r.URL.Path, "/info"):
			answer(map[string]any{"KernelVersion": "6.1.0", "MemTotal": 1 << 30, "NCPU": 2, "ID": "X", "CgroupDriver": "cgroupfs", "CgroupVersion": "2"})
		case strings.Contains(r.URL.Path, "/images/"):
			for _, i := range f.images {
				if strings.HasSuffix(r.URL.Path, "/images/"+i+"/json") {
					answer(map[string]string{"Id": "sha256:1"})
					return
				}
			}
			w.WriteHeader(http.StatusNotFound)
			answer(map[string]string{"message": "No such image"})
		}
	}
	s := &http.Server{Handler: http.HandlerFunc(h)}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { close(over); s.Close(); <-done })
	return path
}

func at(path string) surroundings {
	return surroundings{env: func(string) string { return "" }, sockets: []string{path}}
}

func TestOpen(t *testing.T) {
	t.Setenv("DOCKER_API_VERSION", "")
	e, err := open(t.Context(), at(fake{api: "1.41", os: "linux"}.serve(t)), 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.API != "1.41" || e.Version != "20.10.24" || e.Kernel != "6.1.0" || !e.Local || e.CPUs != 2 || e.Cgroups != "cgroupfs" || e.CgroupVersion != "2" || e.Source != "default" {
		t.Errorf("%+v", e)
	}
}

func TestOpenSaysWhyNot(t *testing.T) {
	left := filepath.Join(t.TempDir(), "left")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as an engine leaves it that was killed
	l.Close()
	for name, c := range map[string]struct {
		s    surroundings
		p    time.Duration
		says string
	}{
		"nothing there":  {at("/nonexistent/docker.sock"), time.Minute, "/nonexistent/docker.sock is not there: no engine"},
		"nobody listens": {at(left), time.Minute, "nobody listens at " + left},
		"silent":         {at(fake{silent: true}.serve(t)), 50 * time.Millisecond, "no answer within 50ms"},
		"too old":        {at(fake{api: "1.40", os: "linux"}.serve(t)), time.Minute, "its API is version 1.40, at least 1.41 is needed"},
		"far too old":    {at(fake{api: "1.24", os: "linux"}.serve(t)), time.Minute, "its API is version 1.24, at least 1.41 is needed"},
		"windows":        {at(fake{api: "1.45", os: "windows"}.serve(t)), time.Minute, "it runs windows containers"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t.Context(), c.s, c.p)
			if err == nil || !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q in it", err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
		})
	}
	t.Run("permission denied", func(t *testing.T) {
		if os.Getuid() == 0 {
			t.Log("left out: permission denied, as root may connect to everything")
			return
		}
		path := fake{api: "1.41", os: "linux"}.serve(t)
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t.Context(), at(path), time.Minute); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Error(err)
		}
	})
	t.Run("a user who asks for too little", func(t *testing.T) {
		t.Setenv("DOCKER_API_VERSION", "1.40")
		_, err := open(t.Context(), at(fake{api: "1.45", os: "linux"}.serve(t)), time.Minute)
		if err == nil || !strings.Contains(err.Error(), "DOCKER_API_VERSION") {
			t.Error(err)
		}
	})
}

func TestHost(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "user.sock")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(socket, "")
	other := t.TempDir()
	write(filepath.Join(other, "config.json"), `{"currentContext":"desktop-linux"}`)
	// Folders are named by the SHA-256 of the context's name.
	write(filepath.Join(other, "contexts/meta/fe9c6bd7a66301f49ca9b6a70b217107cd1284598bfc254700c989b916da791e/meta.json"),
		`{"Name":"desktop-linux","Endpoints":{"docker":{"Host":"unix:///home/u/.docker/desktop/docker.sock"}}}`)
	broken := t.TempDir()
	write(filepath.Join(broken, "config.json"), `{`)
	for name, c := range map[string]struct {
		env          map[string]string
		config       string
		host, source string
		err          string
	}{
		"variable":        {map[string]string{"DOCKER_HOST": "tcp://h:2375"}, other, "tcp://h:2375", "DOCKER_HOST", ""},
		"current context": {nil, other, "unix:///home/u/.docker/desktop/docker.sock", "context desktop-linux", ""},
		"default context": {map[string]string{"DOCKER_CONTEXT": "default"}, other, "unix://" + socket, "default", ""},
		"unknown context": {map[string]string{"DOCKER_CONTEXT": "nope"}, other, "", "", `context "nope" names no host`},
		"no context":      {nil, t.TempDir(), "unix://" + socket, "default", ""},
		"broken file":     {nil, broken, "", "", "config.json"},
	} {
		t.Run(name, func(t *testing.T) {
			s := surroundings{env: func(k string) string { return c.env[k] }, config: c.config, sockets: []string{"/nonexistent/s", socket}}
			host, source, err := s.host()
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil || host != c.host || source != c.source {
				t.Errorf("%q, %q, %v", host, source, err)
			}
		})
	}
}

func TestPrepare(t *testing.T) {
	const image = "testcontainers/ryuk:0.14.0"
	all := []string{"DOCKER_HOST", "DOCKER_API_VERSION", hostOverride, ryukDisabled, ryukPrefix, sessionID, sessionMadeBy}
	for name, c := range map[string]struct {
		images []string
		user   map[string]string
		want   map[string]string
		reaper bool
	}{
		"no image":         {nil, nil, map[string]string{ryukDisabled: "true", hostOverride: "localhost"}, false},
		"image":            {[]string{image}, nil, map[string]string{ryukDisabled: "", hostOverride: "localhost"}, true},
		"mirror":           {[]string{"mirror.test/" + image}, map[string]string{ryukPrefix: "mirror.test"}, map[string]string{ryukDisabled: ""}, true},
		"disabled by user": {[]string{image}, map[string]string{ryukDisabled: "true"}, map[string]string{ryukDisabled: "true"}, false},
		"wanted by user":   {nil, map[string]string{ryukDisabled: "false"}, map[string]string{ryukDisabled: "false"}, true},
		"user's host":      {nil, map[string]string{hostOverride: "10.0.0.1"}, map[string]string{hostOverride: "10.0.0.1"}, false},
		"parent's session": {nil, map[string]string{sessionID: "parent's", sessionMadeBy: "1"}, map[string]string{sessionMadeBy: strconv.Itoa(os.Getpid())}, false},
		"user's session":   {nil, map[string]string{sessionID: "mine"}, map[string]string{sessionID: "mine"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, k := range all {
				t.Setenv(k, c.user[k])
			}
			path := fake{api: "1.41", os: "linux", images: c.images}.serve(t)
			e, err := open(t.Context(), at(path), 20*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			reaper, err := e.Prepare(t.Context(), image)
			if err != nil || reaper != c.reaper {
				t.Errorf("reaper %v, %v", reaper, err)
			}
			for k, v := range c.want {
				if got := os.Getenv(k); got != v {
					t.Errorf("%s=%q, want %q", k, got, v)
				}
			}
			if os.Getenv(sessionID) == "parent's" || os.Getenv(sessionID) == "" || os.Getenv("DOCKER_HOST") != "unix://"+path {
				t.Error("session or host are not set")
			}
		})
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		v    string
		want bool
	}{{"1.41", false}, {"1.40", true}, {"1.9", true}, {"1.100", false}, {"2.0", false}, {"", true}, {"x", true}} {
		if got := older(c.v, MinAPI); got != c.want {
			t.Errorf("older(%q) = %v", c.v, got)
		}
	}
}
