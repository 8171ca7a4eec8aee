package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/compose"
)

func composeCommand() *cobra.Command {
	file, check := "", false
	c := &cobra.Command{
		Use:   "compose",
		Short: "Print a compose file that makes the same platform by hand",
		Long: `Print the compose file of a topology: the same containers as a world of the runtime docker, made by docker compose and owned by nobody.
The repository's docker-compose.yml is what this prints for the default topology. kirikae run --world compose drills such a world.`,
		Example: "  kirikae compose > docker-compose.yml\n  kirikae compose --check",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			t, err := steps.LoadTopology(file)
			if err != nil {
				return err
			}
			if check {
				return checkCompose(t)
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
	c.Flags().BoolVar(&check, "check", false, "say where docker-compose.yml in this folder differs from what would be printed, exit 1 if it does")
	return c
}

func checkCompose(t topology.Topology) error {
	text, err := os.ReadFile(compose.File)
	if err != nil {
		return &steps.UsageError{Text: fmt.Sprintf("check %s: %v", compose.File, err)}
	}
	if err := compose.Check(t, string(text)); err != nil {
		return &steps.FailedError{Err: err}
	}
	return nil
}
