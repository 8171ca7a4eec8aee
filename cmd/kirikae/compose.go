package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology/compose"
)

func composeCommand() *cobra.Command {
	file := ""
	c := &cobra.Command{
		Use:   "compose",
		Short: "Print a compose file that makes the same platform by hand",
		Long: `Print the compose file of a topology: the same containers as a world of the runtime docker, made by docker compose and owned by nobody.
The repository's docker-compose.yml is what this prints for the default topology. kirikae run --world compose drills such a world.`,
		Example: "  kirikae compose > docker-compose.yml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			t, err := steps.LoadTopology(file)
			if err != nil {
				return err
			}
			text, err := compose.Render(t)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().StringVar(&file, "topology", "two-region.yaml", "platform to print")
	return c
}
