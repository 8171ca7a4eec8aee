// Command inside is what runs inside the containers of a world: one static program in every image, for what is between the sites,
// the zone's name server, the network of a Cassandra node, the starters of both stores, the wiring of a composed world, health
// checks and isolation tests.
//
// It exits 0 after an orderly stop, 1 on a failure while it ran (and for healthy when something is not), 2 on wrong usage, and 4
// when its surroundings do not let it run. inside mysql exits as its server did, and inside cassandra becomes Java.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/kirikae/kirikae/payment/spawn"
	"github.com/kirikae/kirikae/topology"
)

func main() {
	spawn.Small()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	// Signals stay caught: as the first process of a container it would otherwise be deaf to them anyway.
	code := run(ctx, parts(os.Stdout, os.Stderr), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitEnvironment = 4
)

// coded is an error with its exit code; every other error is one of usage.
type coded struct {
	code int
	err  error
}

func (c coded) Error() string { return c.err.Error() }
func (c coded) Unwrap() error { return c.err }

// ran gives what a part returned its exit code.
func ran(err error) error {
	var status spawn.ExitStatus
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return coded{int(status), err}
	case errors.Is(err, topology.ErrEnvironment):
		return coded{exitEnvironment, err}
	}
	return coded{exitFailed, err}
}

func run(ctx context.Context, p program, args []string, stdout, stderr io.Writer) int {
	root := command(p)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "inside: %v\n", err)
	var c coded
	if errors.As(err, &c) {
		return c.code
	}
	return exitUsage
}
