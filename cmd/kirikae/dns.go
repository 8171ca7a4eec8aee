package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology"
)

// dnsCommand is the console of the public zone: what the person on duty uses in row 8 of the switchover, which is manual.
func dnsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dns RUN [RECORD… REGION]",
		Short: "List the public zone of a running world, or point records at a region",
		Example: `  kirikae dns latest
  kirikae dns latest pay.kirikae.test. api.kirikae.test. osaka`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			_, w, err := attach(c.Context(), args[0])
			if err != nil {
				return err
			}
			defer w.Close()
			if len(args) == 2 {
				return &steps.UsageError{Text: "name the records, then the region they shall lead to\nUsage: " + c.UseLine()}
			}
			if len(args) > 2 {
				if err := point(c, w, args[1:len(args)-1], args[len(args)-1]); err != nil {
					return err
				}
			}
			records, err := w.Zone().Records(c.Context())
			if err != nil {
				return err
			}
			for _, r := range records {
				fmt.Fprintf(c.OutOrStdout(), "%-28s %-8s %-16s ttl %s\n", r.Name, r.Site, r.Address, r.TTL)
			}
			return nil
		},
	}
}

// point changes existing records only: a mistyped name must not become a new one.
func point(c *cobra.Command, w topology.World, names []string, region string) error {
	records, err := w.Zone().Records(c.Context())
	if err != nil {
		return err
	}
	var known, regions []string
	for _, r := range records {
		known = append(known, r.Name)
	}
	for _, r := range w.Topology().Regions {
		regions = append(regions, string(r.Name))
	}
	if err := oneOf("region", region, regions); err != nil {
		return err
	}
	for _, n := range names {
		if err := oneOf("record", n, known); err != nil {
			return err
		}
	}
	for _, n := range names {
		if err := w.Zone().Point(c.Context(), n, topology.Site(region)); err != nil {
			return err
		}
	}
	return nil
}

func oneOf(what, name string, known []string) error {
	for _, k := range known {
		if k == name {
			return nil
		}
	}
	return &steps.UsageError{Text: topology.Unknown(what, name, known).Error()}
}
