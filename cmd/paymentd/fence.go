package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/payment/fence"
	"github.com/kirikae/kirikae/payment/spawn"
)

// guard is the part that is the parent of a MySQL. It owns no listener.
func guard(c *common, stderr io.Writer) *cobra.Command {
	var witness, socket, ready, status, store string
	cmd := &cobra.Command{
		Use:   "guard [flags] -- mysqld …",
		Short: "The parent of a MySQL: makes it read-only, or kills it, when its site loses the lease",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.node == "" {
				c.node = "guard"
			}
			if c.site == "" {
				return errors.New("--site is needed, the site that this node is at")
			}
			if err := hostPort("--witness", strings.TrimPrefix(witness, "http://")); err != nil {
				return err
			}
			if store != "" {
				if err := hostPort("--params", strings.TrimPrefix(store, "http://")); err != nil {
					return err
				}
			}
			if err := needed("--socket", socket); err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return environment(err)
			}
			x := exec.Command(args[0], args[1:]...)
			x.Stdout, x.Stderr = cmd.OutOrStdout(), stderr
			err = fence.RunGuard(cmd.Context(), fence.GuardConfig{
				Site: c.site, Node: c.node, Witness: witness, Params: store, Socket: socket, ReadyFile: ready, Status: status,
				Command: x, Watchdog: []string{self, "watchdog"}, Log: logger(c, stderr),
			})
			var ended spawn.ExitStatus
			switch {
			case errors.As(err, &ended):
				return coded{int(ended), err}
			case err != nil:
				return environment(err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&witness, "witness", "", "the witness, http://host:port")
	f.StringVar(&store, "params", "", "the region's parameter store, http://host:port; "+fence.OverrideKey+" there decides while the witness does not answer")
	f.StringVar(&socket, "socket", "", "the MySQL's unix socket")
	f.StringVar(&ready, "ready-file", "", "file that exists once the MySQL's data have their users; until then the server is left alone, offline")
	f.StringVar(&status, "status", "", "file that says whether the lease is held")
	return cmd
}

// watchdog is what a guard starts beside itself.
func watchdog() *cobra.Command {
	return &cobra.Command{
		Use:    "watchdog",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fence.Watch(cmd.InOrStdin()); err != nil {
				return coded{exitFailed, err}
			}
			return nil
		},
	}
}

// witness is the part that grants the lease.
func witness(c *common) (flags func(*cobra.Command), check func() error, make func(*slog.Logger) (part, error)) {
	var state, holder string
	var ttl time.Duration
	flags = func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&state, "state", "", "file that keeps who holds the lease")
		cmd.Flags().DurationVar(&ttl, "ttl", fence.DefaultTTL, "how long a renewal holds")
		cmd.Flags().StringVar(&holder, "holder", "", "site that holds the lease where there is no file yet")
	}
	check = func() error {
		if ttl < 100*time.Millisecond {
			return errors.New("--ttl is below 100ms")
		}
		return needed("--state", state)
	}
	make = func(log *slog.Logger) (part, error) {
		w, err := fence.OpenWitness(fence.WitnessConfig{Node: c.node, State: state, Holder: holder, TTL: ttl, Log: log})
		if err != nil {
			return part{}, environment(err)
		}
		return part{handler: w.Handler(), run: w.Run}, nil
	}
	return flags, check, make
}
