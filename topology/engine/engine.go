package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology"
)

// MinAPI is the oldest engine API that worlds can be made with: Docker 20.10's, Debian 12's.
const MinAPI = "1.41"

// patience is how long an engine may take to say what it is. One that works takes milliseconds, on a busy machine a second or two.
const patience = 5 * time.Second

// Engine is an engine that answered.
type Engine struct {
	Client  *client.Client
	Host    string // as in DOCKER_HOST: "unix:///var/run/docker.sock"
	Source  string // who says so: "DOCKER_HOST", "context NAME", "default"
	Version string // "20.10.24"
	API     string // highest that it speaks: "1.41"
	OS      string // "linux"
	Arch    string // "amd64"
	Kernel  string // the release of the kernel that its containers run on, as far as it says
	ID      string // its own name for itself, the same over restarts of the engine
	Root    string // folder where it keeps images and volumes, on its own machine
	Memory  int64  // bytes that its containers share
	CPUs    int    // that its containers share
	Cgroups string // who makes the control groups of its containers: "cgroupfs" itself, "systemd"
	// CgroupVersion is that of the control groups, "1" or "2".
	CgroupVersion string
	Local         bool // it answers on a unix socket of this machine
}

// Open finds the engine as docker's own programs do (DOCKER_HOST, the current context, the default socket, the user's own
// socket) and asks it what it is. Its errors are one line each and wrap topology.ErrEnvironment.
func Open(ctx context.Context) (*Engine, error) { return open(ctx, machine(), patience) }

func open(ctx context.Context, s surroundings, patience time.Duration) (*Engine, error) {
	host, source, err := s.host()
	if err != nil {
		return nil, fmt.Errorf("find a Docker engine: %w: %w", topology.ErrEnvironment, err)
	}
	e := &Engine{Host: host, Source: source}
	if err := e.ask(ctx, patience); err != nil {
		if e.Client != nil {
			_ = e.Client.Close() // never fails
		}
		return nil, fmt.Errorf("ask the Docker engine at %s (%s): %w: %w", host, source, topology.ErrEnvironment, err)
	}
	return e, nil
}

// ask fills in what the engine is, or says why it does not answer.
func (e *Engine) ask(ctx context.Context, patience time.Duration) error {
	late := fmt.Errorf("no answer within %s", patience)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, late)
	defer cancel()
	var path string
	path, e.Local = strings.CutPrefix(e.Host, "unix://")
	if e.Local {
		if err := knock(ctx, path); err != nil {
			return err
		}
	}
	c, err := client.New(client.FromEnv, client.WithHost(e.Host))
	if err != nil {
		return err
	}
	e.Client = c
	failed := func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return oneLine(err)
	}
	ping, err := c.Ping(ctx, client.PingOptions{}) // without negotiation: an engine that is too old still says how old
	if err != nil {
		return failed(err)
	}
	if older(ping.APIVersion, MinAPI) {
		return fmt.Errorf("its API is version %s, at least %s is needed (Docker 20.10)", ping.APIVersion, MinAPI)
	}
	v, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return failed(err)
	}
	if used := c.ClientVersion(); older(used, MinAPI) {
		return fmt.Errorf("DOCKER_API_VERSION asks for API version %s, at least %s is needed", used, MinAPI)
	}
	info, err := c.Info(ctx, client.InfoOptions{})
	if err != nil {
		return failed(err)
	}
	e.Version, e.API, e.OS, e.Arch = v.Version, v.APIVersion, v.Os, v.Arch
	e.Kernel, e.ID, e.Memory, e.CPUs = info.Info.KernelVersion, info.Info.ID, info.Info.MemTotal, info.Info.NCPU
	e.Root, e.Cgroups, e.CgroupVersion = info.Info.DockerRootDir, info.Info.CgroupDriver, info.Info.CgroupVersion
	if e.OS != "linux" {
		return fmt.Errorf("it runs %s containers, linux ones are needed", e.OS)
	}
	return nil
}

// knock says why nobody answers at a socket, which a HTTP client's error hides.
func knock(ctx context.Context, path string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	var slow net.Error
	switch {
	case err == nil:
		return c.Close()
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not there: no engine is installed, or it was not started", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("permission denied at %s: this user is not in its group", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens at %s: the engine is not running", path)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &slow) && slow.Timeout(): // a little before the context says so
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return oneLine(err)
}

// Close lets go of the connections.
func (e *Engine) Close() error { return e.Client.Close() }

// String is what a report says of it.
func (e *Engine) String() string {
	return fmt.Sprintf("Docker %s (API %s) at %s, %s", e.Version, e.API, e.Host, e.Source)
}

func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

// older compares API versions, "1.9" with "1.41". What cannot be read is older than everything.
func older(v, than string) bool {
	a, aok := parse(v)
	b, bok := parse(than)
	if !aok || !bok {
		return !aok
	}
	if a[0] != b[0] {
		return a[0] < b[0]
	}
	return a[1] < b[1]
}

func parse(v string) ([2]int, bool) {
	major, minor, ok := strings.Cut(v, ".")
	a, err := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	return [2]int{a, b}, ok && err == nil && err2 == nil
}
