// Command paymentd is the reference payment platform, one part a process: the application, its gateway, the region's parameter
// store, the acquirer, the batch, the reconciler, and the application on premises. It is the only owner of listeners; the parts are handlers.
//
// It exits 0 after an orderly stop, 1 on a failure while it ran, 2 on wrong usage or configuration, and 4 when its surroundings
// do not let it run: an address that is taken, a file that cannot be opened, parameters that never became complete.
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
)

func main() {
	spawn.Small()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
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

func environment(err error) error {
	if err == nil {
		return nil
	}
	return coded{exitEnvironment, err}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := command(stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "paymentd: %v\n", err)
	var c coded
	if errors.As(err, &c) {
		return c.code
	}
	return exitUsage
}
