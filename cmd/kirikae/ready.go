package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology"
)

// readyCommand is the readiness gate for people: what the failback's first row refuses, seen before anybody asks for a window.
func readyCommand() *cobra.Command {
	var from, to string
	var lag time.Duration
	c := &cobra.Command{
		Use:   "ready RUN",
		Short: "Read the readiness gate of a running world: may the other region take over in a planned way?",
		Long: `Read every condition of the readiness gate and print what was read: no errant transactions, binary logs not purged, no lag, equal
content in both stores, no hints, a whole ring, parameters and release right. Nothing is changed.
Exit code 0: ready. 1: not ready; the conditions that do not hold are named.`,
		Example: `  kirikae ready latest
  kirikae ready latest --from osaka --to tokyo`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if lag <= 0 {
				return &steps.UsageError{Text: fmt.Sprintf("--lag %v: expected a time above 0", lag)}
			}
			folder, w, err := attach(c.Context(), args[0])
			if err != nil {
				return err
			}
			defer w.Close()
			estate, err := steps.NewEstate(w)
			if err != nil {
				return err
			}
			defer estate.Close()
			here := estate.In(folder)
			g := procedure.Gate{Lag: lag}
			if g.From, g.To, err = direction(c.Context(), here, from, to); err != nil {
				return err
			}
			read := g.Read(c.Context(), here)
			fmt.Fprint(c.OutOrStdout(), gateTable(read))
			if !read.Ready() {
				return exitCode(steps.ExitFailed)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&from, "from", "", "region that serves (default: the one that the databases name)")
	f.StringVar(&to, "to", "", "region that is to take over (default: the other one)")
	f.DurationVar(&lag, "lag", time.Second, "bound of the replication lag")
	return c
}

// direction says who serves and who is to take over, where that was not said.
func direction(ctx context.Context, e procedure.Estate, from, to string) (topology.Site, topology.Site, error) {
	var regions []string
	for _, r := range e.Topology().Regions {
		regions = append(regions, string(r.Name))
	}
	for _, said := range []string{from, to} {
		if said != "" && !slices.Contains(regions, said) {
			return "", "", &steps.UsageError{Text: fmt.Sprintf("%q is no region; there are %s", said, strings.Join(regions, ", "))}
		}
	}
	if from == "" && to != "" {
		from = other(regions, to)
	}
	if from == "" {
		var newest int64 = -1
		var failed []error
		for _, r := range regions {
			db, err := e.Database(topology.Site(r))
			if err != nil {
				failed = append(failed, err)
				continue
			}
			epoch, owner, err := db.Epoch(ctx)
			if err != nil {
				failed = append(failed, fmt.Errorf("read the epoch in %s: %w", r, err))
				continue
			}
			if epoch > newest {
				newest, from = epoch, owner
			}
		}
		if from == "" {
			return "", "", fmt.Errorf("nobody says which region serves (say --from): %w", errors.Join(failed...))
		}
	}
	if to == "" {
		to = other(regions, from)
	}
	if from == to {
		return "", "", &steps.UsageError{Text: fmt.Sprintf("%s cannot take over from itself", from)}
	}
	return topology.Site(from), topology.Site(to), nil
}

// other is the first region that is not this one.
func other(regions []string, region string) string {
	for _, r := range regions {
		if r != region {
			return r
		}
	}
	return ""
}

// gateTable has a line a condition, and a closing line.
func gateTable(r procedure.Readiness) string {
	var b strings.Builder
	for _, c := range r.Conditions {
		word := "holds"
		if !c.Holds {
			word = "VIOLATED"
		}
		fmt.Fprintf(&b, "%-9s %-20s %s\n", word, c.Name, strings.ReplaceAll(c.Saw, "\n", "; "))
	}
	if r.Ready() {
		fmt.Fprintf(&b, "%s is ready to take over from %s\n", r.To, r.From)
	} else {
		fmt.Fprintf(&b, "%s is not ready to take over from %s: %s\n", r.To, r.From, strings.Join(r.Violated(), ", "))
	}
	return b.String()
}
