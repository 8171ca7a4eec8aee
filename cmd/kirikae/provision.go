package main

import (
	"fmt"
	"path/filepath"

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
		Short: "Say what this machine has and lacks for drills, for each runtime",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := self()
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			found := steps.Doctor(c.Context(), filepath.Dir(path))
			for _, f := range found {
				fmt.Fprintf(out, "for %s\n", f.For)
				for _, n := range f.Needs {
					mark := "ok"
					if !n.OK {
						mark = "LACKS"
					}
					fmt.Fprintf(out, "  %-6s %-14s %s (%s)\n", mark, n.Name, n.Have, n.Why)
					if !n.OK {
						fmt.Fprintf(out, "         → %s\n", n.Fix)
					}
				}
			}
			verdict, err := steps.Verdict(found)
			if err != nil {
				return err
			}
			fmt.Fprintln(out, verdict)
			return nil
		},
	}
}
