// Command kirikae rehearses the loss of a region of a payment platform and proves what it cost.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		for s := range signals {
			cancel(interruption{s})
		}
	}()

	err := root().ExecuteContext(ctx)
	var code exitCode
	switch {
	case errors.As(err, &code):
		return int(code)
	case err == nil:
		return steps.ExitPassed
	}
	var stop interruption
	if errors.As(context.Cause(ctx), &stop) {
		fmt.Fprintln(os.Stderr, "kirikae:", err)
		return stop.exitCode()
	}
	fmt.Fprintln(os.Stderr, "kirikae:", err)
	return steps.ExitOf(err)
}

// interruption is the cause of a context that a signal cancelled.
type interruption struct{ signal os.Signal }

func (i interruption) Error() string { return "interrupted by " + i.signal.String() }

func (i interruption) exitCode() int {
	if i.signal == syscall.SIGTERM {
		return steps.ExitTerminated
	}
	return steps.ExitInterrupted
}

// exitCode is an error that only says how to exit: everything has been said already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "kirikae",
		Short: "Rehearse the loss of a region, and prove what it cost",
		Long: `kirikae builds a two-region payment platform from real servers, puts customers on it, takes a region away,
runs the operators' procedure and judges from evidence: how long customers were out, which acknowledged payments are gone,
whether money and data agree.

Exit codes: 0 passed · 1 failed · 2 usage · 3 inconclusive · 4 environment · 5 nothing selected · 70 harness bug · 130/143 interrupted`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &steps.UsageError{Text: fmt.Sprintf("%v\nSee: %s --help", err, c.CommandPath())}
	})
	c.AddCommand(runCommand(), planCommand(), runbookCommand(), operateCommand(), pauseCommand(), continueCommand(), approveCommand(), readyCommand(), checkCommand(), reportCommand(), upCommand(), downCommand(), dnsCommand(),
		worldCommand(), provisionCommand(), imagesCommand(), composeCommand(), doctorCommand())
	for _, sub := range c.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return c
}

// usageArgs makes an error about arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return &steps.UsageError{Text: fmt.Sprintf("%v\nUsage: %s", err, c.UseLine())}
		}
		return nil
	}
}

// self returns the path of this program. Beside it are installed paymentd, and in linux/ what goes into images.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find own program: %w", err)
	}
	return path, nil
}

// runtimeFlags are those of every command that makes a world.
func runtimeFlags(f *pflag.FlagSet, runtime, images, volumes *string) {
	f.StringVar(runtime, "runtime", "auto", "where servers run: docker (containers), local (processes on loopback), auto (docker where it can, else local)")
	f.StringVar(images, "images", "auto", "what containers are made from: official (pulled), built (by make images), auto (official where it can, else built)")
	f.StringVar(volumes, "volumes", string(topology.VolumesDisk), "where the stores keep their data: disk, memory (a sync costs nothing: faster, and no disk is drilled)")
}

// runFolder resolves RUN: a folder, or "latest".
func runFolder(arg string) (string, error) {
	candidates := []string{arg, filepath.Join(steps.DefaultOut, arg)}
	for _, c := range candidates {
		for _, file := range []string{"run.json", "world.json"} {
			if _, err := os.Stat(filepath.Join(c, file)); err == nil {
				real, err := filepath.EvalSymlinks(c)
				if err != nil {
					return "", fmt.Errorf("find run %s: %w", arg, err)
				}
				return real, nil
			}
		}
	}
	return "", &steps.UsageError{Text: fmt.Sprintf("run %q: no run.json or world.json in %s", arg, strings.Join(candidates, " or "))}
}

// attach resolves RUN and takes hold of its world, which is there.
func attach(ctx context.Context, arg string) (folder string, w topology.World, err error) {
	if folder, err = runFolder(arg); err != nil {
		return "", nil, err
	}
	w, err = steps.Attach(ctx, folder)
	return folder, w, err
}
