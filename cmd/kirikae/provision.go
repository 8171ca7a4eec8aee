package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology/provision"
)

func provisionCommand() *cobra.Command {
	o := provision.Options{}
	c := &cobra.Command{
		Use:   "provision",
		Short: "Fetch MySQL, Java and Cassandra into the user's cache, once",
		Long: `Find MySQL, a Java 17 runtime and Cassandra, or fetch them with the machine's own package clients into the user's cache
(XDG_CACHE_HOME). No root, nothing on the system changes; a second run fetches nothing.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Log = func(line string) { fmt.Fprintln(c.ErrOrStderr(), line) }
			i, err := provision.Ensure(c.Context(), o)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "mysql %s · java %s · cassandra %s in %s\n", i.MySQL.Version, i.Java.Version, i.Cassandra.Version, i.Cache)
			return nil
		},
	}
	c.Flags().BoolVar(&o.Locked, "locked", false, "refuse what differs from the lock file")
	return c
}

func doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine has and lacks for drills",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			lacking := 0
			for _, n := range provision.Doctor(c.Context(), "") {
				mark := "ok"
				if !n.OK {
					mark = "LACKS"
					lacking++
				}
				fmt.Fprintf(c.OutOrStdout(), "%-6s %-14s %s (%s)\n", mark, n.Name, n.Have, n.Why)
				if !n.OK {
					fmt.Fprintf(c.OutOrStdout(), "       → %s\n", n.Fix)
				}
			}
			if lacking > 0 {
				return exitCode(steps.ExitEnvironment)
			}
			return nil
		},
	}
}
