package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology"
)

func operateCommand() *cobra.Command {
	var who string
	var inputs []string
	c := &cobra.Command{
		Use:   "operate RUN PROCEDURE",
		Short: "Run one procedure on a running world; the same command resumes it",
		Long: `Run one procedure on the world of a run folder, step by step: confirm first, act only if that is not yet so, record.
The operator holds no state: killed at any point and started again by the same command, it goes on where the world is.`,
		Example: "  kirikae operate latest switchover",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			folder, err := runFolder(args[0])
			if err != nil {
				return err
			}
			at, err := crashPoint()
			if err != nil {
				return err
			}
			w, err := steps.Attach(c.Context(), folder)
			if err != nil {
				return err
			}
			defer w.Close()
			estate, err := steps.NewEstate(w)
			if err != nil {
				return err
			}
			defer estate.Close()
			rb, err := load(args[1], inputs, w.Topology(), estate)
			if err != nil {
				return err
			}
			journal, err := runbook.Open(filepath.Join(folder, history.JournalFile))
			if err != nil {
				return err
			}
			defer journal.Close()
			out := c.OutOrStdout()
			return classify(runbook.Run(c.Context(), rb, journal, runbook.Options{
				Who: who, Crash: at, Progress: func(e runbook.Event) { fmt.Fprintln(out, e) },
				Resume: fmt.Sprintf("kirikae operate %s %s", args[0], args[1]),
			}))
		},
	}
	c.Flags().StringVar(&who, "who", os.Getenv("USER"), "who is at work, for the journal")
	inputFlag(c, &inputs)
	return c
}

// classify gives a procedure's error the exit code that it has for an operator: a step that failed or a preflight that refused
// is a failure, another plan's journal is a wrong call, a journal that somebody else holds is the state of the place.
func classify(err error) error {
	var step *runbook.StepError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &step), errors.Is(err, runbook.ErrPreflight), errors.Is(err, runbook.ErrJournalLost):
		return &steps.FailedError{Err: err}
	case errors.Is(err, runbook.ErrOtherPlan):
		return &steps.UsageError{Text: err.Error()}
	case errors.Is(err, runbook.ErrHeld):
		return fmt.Errorf("%w: %w", err, topology.ErrEnvironment)
	}
	return err
}

func planCommand() *cobra.Command {
	var inputs []string
	var file string
	verbs := false
	c := &cobra.Command{
		Use:     "plan PROCEDURE",
		Short:   "Print what a procedure would do, and change nothing",
		Example: "  kirikae plan switchover\n  kirikae plan --verbs",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := steps.LoadTopology(file)
			if err != nil {
				return err
			}
			if verbs {
				fmt.Fprint(c.OutOrStdout(), procedure.Standard(t, nil).Describe())
				return nil
			}
			if len(args) == 0 {
				return &steps.UsageError{Text: "which procedure? Known: " + strings.Join(procedure.Names(), ", ")}
			}
			rb, err := load(args[0], inputs, t, nil)
			if err != nil {
				return err
			}
			fmt.Fprint(c.OutOrStdout(), runbook.Plan(rb))
			return nil
		},
	}
	c.Flags().StringVar(&file, "topology", "two-region.yaml", "platform that the plan is bound to")
	c.Flags().BoolVar(&verbs, "verbs", false, "list the verbs that procedures are made of, and exit")
	inputFlag(c, &inputs)
	return c
}

func inputFlag(c *cobra.Command, inputs *[]string) {
	c.Flags().StringArrayVar(inputs, "input", nil, "NAME=VALUE of the procedure (default: lost and survivor are the topology's active and standby)")
}

// load binds a procedure to a platform, with the inputs given on the command line.
func load(name string, given []string, t topology.Topology, estate procedure.Estate) (runbook.Runbook, error) {
	inputs := map[string]any{}
	for _, g := range given {
		k, v, ok := strings.Cut(g, "=")
		if !ok {
			return runbook.Runbook{}, &steps.UsageError{Text: fmt.Sprintf("--input %q: write NAME=VALUE", g)}
		}
		inputs[k] = v
	}
	return steps.BindProcedure(name, inputs, t, estate)
}

// crashPoint reads where this operator is to kill itself: how drills test that a procedure survives its operator.
func crashPoint() (runbook.Crash, error) {
	s := os.Getenv(steps.CrashVariable)
	if s == "" {
		return runbook.Crash{}, nil
	}
	at, err := runbook.ParseCrash(s)
	if err != nil {
		return runbook.Crash{}, &steps.UsageError{Text: fmt.Sprintf("%s=%s: %v", steps.CrashVariable, s, err)}
	}
	return at, nil
}
