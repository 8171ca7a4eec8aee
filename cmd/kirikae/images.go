package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/images"
)

func imagesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "images",
		Short: "Build the images of the containers, with no image registry",
		Long: `Build every image that a world of containers is made from, out of provisioned packages and the programs beside this one (linux/).
An image is named after a digest of all that goes into it: what is unchanged is not built again. An official image is never replaced:
which one a world takes is --images' to say.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := self()
			if err != nil {
				return err
			}
			e, err := engine.Open(c.Context())
			if err != nil {
				return err
			}
			defer e.Close()
			set, err := images.Build(c.Context(), e.Client, images.Options{
				Bin: filepath.Join(filepath.Dir(path), "linux"),
				Say: func(line string) { fmt.Fprintln(c.ErrOrStderr(), line) },
			})
			if err != nil {
				return err
			}
			for _, i := range set.Images() {
				fmt.Fprintf(c.OutOrStdout(), "%-10s %s\n", i.Name, i.Reference)
			}
			return nil
		},
	}
}
