package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology"
)

//go:generate go run . runbook --write ../../docs/runbooks

func runbookCommand() *cobra.Command {
	var inputs []string
	var file, folder string
	c := &cobra.Command{
		Use:     "runbook PROCEDURE",
		Short:   "Print a procedure as a runbook for people (Markdown), from the file that operators run",
		Example: "  kirikae runbook switchover\n  kirikae runbook --write docs/runbooks",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := steps.LoadTopology(file)
			if err != nil {
				return err
			}
			switch {
			case folder != "" && len(args) > 0:
				return &steps.UsageError{Text: "--write writes the runbooks of all the program's own procedures: leave PROCEDURE out"}
			case folder != "":
				return writeRunbooks(folder, t)
			case len(args) == 0:
				return &steps.UsageError{Text: "which procedure? Known: " + strings.Join(procedure.Names(), ", ")}
			}
			text, err := renderRunbook(args[0], inputs, t)
			if err != nil {
				return err
			}
			fmt.Fprint(c.OutOrStdout(), text)
			return nil
		},
	}
	c.Flags().StringVar(&file, "topology", "two-region.yaml", "platform that the runbook is bound to")
	c.Flags().StringVar(&folder, "write", "", "write the runbooks of all the program's own procedures into this folder")
	inputFlag(c, &inputs)
	return c
}

func renderRunbook(name string, inputs []string, t topology.Topology) (string, error) {
	rb, err := load(name, inputs, t, nil)
	if err != nil {
		return "", err
	}
	verbs := procedure.Standard(t, nil)
	return runbook.Markdown(rb, name, func(verb string) string { return verbs[verb].Says }), nil
}

// runbooks renders every procedure that people run: what is planted for drills is not for them. By file name.
func runbooks(t topology.Topology) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range procedure.Names() {
		if strings.HasPrefix(name, "known_bad/") {
			continue
		}
		text, err := renderRunbook(name, nil, t)
		if err != nil {
			return nil, err
		}
		out[strings.ReplaceAll(name, "/", "-")+".md"] = text
	}
	return out, nil
}

func writeRunbooks(folder string, t topology.Topology) error {
	all, err := runbooks(t)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("write runbooks: %w", err)
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write runbooks: %w", err)
		}
	}
	return nil
}
