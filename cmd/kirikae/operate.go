package main

import (
	"crypto/ed25519"
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

// operator is what a person says to `kirikae operate`.
type operator struct {
	run, procedure   string // as they were typed
	folder           string
	who, why         string
	key, approvers   string // files
	skip, retry      []string
	inputs           []string
	aborts           bool
	dryRun, takeOver bool
}

func operateCommand() *cobra.Command {
	var o operator
	c := &cobra.Command{
		Use:   "operate RUN PROCEDURE",
		Short: "Run one procedure on a running world; the same command resumes it",
		Long: `Run one procedure on the world of a run folder, step by step: confirm first, act only if that is not yet so, record.
The operator holds no state: killed at any point and started again by the same command, it goes on where the world is.
Before the first act all checks are read; one that fails changes nothing.`,
		Example: `  kirikae operate latest switchover
  kirikae operate latest switchover --dry-run
  kirikae operate latest switchover --skip 9 --why "the client on premises is switched by its own team"`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			o.run, o.procedure = args[0], args[1]
			return o.operate(c)
		},
	}
	f := c.Flags()
	f.StringVar(&o.who, "who", os.Getenv("USER"), "who is at work, for the journal")
	f.StringArrayVar(&o.skip, "skip", nil, "STEP to pass over, now and whenever the run is resumed (needs --why)")
	f.StringArrayVar(&o.retry, "retry", nil, "STEP whose skip is taken back (needs --why); what failed is tried again without it")
	f.StringVar(&o.why, "why", "", "reason of --skip, --retry, --abort or --take-over, for the journal")
	f.BoolVar(&o.aborts, "abort", false, "take back, in reverse, what was done, before the point of commitment of a planned switchover (needs --why)")
	f.BoolVar(&o.dryRun, "dry-run", false, "read everything, say what each act would do, change and write nothing")
	f.BoolVar(&o.takeOver, "take-over", false, "take the journal from an operator process that is stopped and cannot be killed (needs --why)")
	f.StringVar(&o.key, "key", "", "file with the operator's own private key, for procedures with approvals")
	f.StringVar(&o.approvers, "approvers", "", "file with those who may approve (default: approvers.yaml of the run folder, else the program's own)")
	inputFlag(c, &o.inputs)
	return c
}

// sensible refuses flags that do not go together, before anything is looked at.
func (o *operator) sensible() error {
	decides := o.aborts || o.takeOver || len(o.skip)+len(o.retry) > 0
	switch {
	case decides && strings.TrimSpace(o.why) == "":
		return &steps.UsageError{Text: "say why: --why \"…\" goes into the journal with the decision"}
	case o.dryRun && decides:
		return &steps.UsageError{Text: "--dry-run writes nothing, so there is nothing to decide with it"}
	}
	return nil
}

// operate is one operator process.
func (o *operator) operate(c *cobra.Command) (err error) {
	if err := o.sensible(); err != nil {
		return err
	}
	if o.folder, err = runFolder(o.run); err != nil {
		return err
	}
	at, err := crashPoint()
	if err != nil {
		return err
	}
	options := runbook.Options{
		Who: o.who, Crash: at, Inbox: runbook.FolderInbox{Folder: o.folder},
		Resume: fmt.Sprintf("kirikae operate %s %s", o.run, o.procedure),
	}
	if o.aborts {
		options.Abort = o.why
	}
	for _, d := range []struct {
		steps []string
		to    *[]runbook.Decision
	}{{o.skip, &options.Skip}, {o.retry, &options.Retry}} {
		for _, s := range d.steps {
			*d.to = append(*d.to, runbook.Decision{Step: s, Why: o.why})
		}
	}
	if options.Approvers, err = approversOf(o.folder, o.approvers); err != nil {
		return err
	}
	if o.key != "" {
		key, err := readKey(o.key)
		if err != nil {
			return err
		}
		options.Key = key.Public().(ed25519.PublicKey)
	}

	w, err := steps.Attach(c.Context(), o.folder)
	if err != nil {
		return err
	}
	defer w.Close()
	estate, err := steps.NewEstate(w)
	if err != nil {
		return err
	}
	defer estate.Close()
	rb, err := load(o.procedure, o.inputs, w.Topology(), estate.In(o.folder))
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	options.Progress = func(e runbook.Event) {
		fmt.Fprintln(out, e)
		if e.Kind == history.EntryAsk {
			fmt.Fprintf(out, "%9s to approve it, another person types: kirikae approve %s %s --key FILE\n", "", o.run, e.Step.Path)
		}
		if e.Kind == history.EntryPause {
			fmt.Fprintf(out, "%9s to go on: kirikae continue %s\n", "", o.run)
		}
	}
	if o.dryRun {
		entries, err := history.LoadJournal(o.folder)
		if err != nil {
			return err
		}
		if err := runbook.DryRun(c.Context(), rb, entries, options); err != nil {
			return &steps.FailedError{Err: err}
		}
		return nil
	}
	journal, err := o.open()
	if err != nil {
		return classify(err)
	}
	defer journal.Close()
	err = runbook.Run(c.Context(), rb, journal, options)
	fmt.Fprintf(out, "%9s %s\n", "", runbook.TimesOf(journal.Entries()))
	var aborted *runbook.AbortedError
	if errors.As(err, &aborted) && aborted.Asked {
		fmt.Fprintln(out, aborted)
		return nil
	}
	return classify(err)
}

// open takes the journal, from a stopped operator if that was asked for.
func (o *operator) open() (*runbook.Journal, error) {
	path := filepath.Join(o.folder, history.JournalFile)
	if o.takeOver {
		return runbook.TakeOver(path, o.who, o.why, nil)
	}
	return runbook.Open(path)
}

// classify gives a procedure's error the exit code that it has for an operator: a step that failed, a run that was taken back for
// it or a preflight that refused is a failure, another plan's journal or a decision that cannot be made is a wrong call, a
// journal that somebody else holds is the state of the place.
func classify(err error) error {
	var step *runbook.StepError
	var aborted *runbook.AbortedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &step), errors.As(err, &aborted), errors.Is(err, runbook.ErrPreflight), errors.Is(err, runbook.ErrJournalLost):
		return &steps.FailedError{Err: err}
	case errors.Is(err, runbook.ErrOtherPlan), errors.Is(err, runbook.ErrCannot):
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
