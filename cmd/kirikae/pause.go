package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/runbook"
)

// pauseCommand asks the operator to finish the running step and then to wait.
func pauseCommand() *cobra.Command {
	return askCommand("pause", history.EntryPause, "Let the operator finish the running step, and then wait",
		"the operator finishes step %s, and begins no other until: kirikae continue %s\n")
}

// continueCommand ends a pause.
func continueCommand() *cobra.Command {
	return askCommand("continue", history.EntryContinue, "End the pause of an operator", "the operator goes on after step %s (%s)\n")
}

// askCommand puts a request into the run folder; whoever operates the run answers it in the journal. It stays there when nobody
// does at that moment: a pause outlives the operator's death.
func askCommand(use, kind, short, says string) *cobra.Command {
	var who, why string
	c := &cobra.Command{
		Use: use + " RUN", Short: short, Example: "  kirikae " + use + " latest", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			folder, err := runFolder(args[0])
			if err != nil {
				return err
			}
			status, err := underWay(folder, args[0])
			if err != nil {
				return err
			}
			if _, err := (runbook.FolderInbox{Folder: folder}).Send(runbook.Request{Kind: kind, Run: status.Run, Who: who, Why: why}); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), says, status.Step, args[0])
			return nil
		},
	}
	c.Flags().StringVar(&who, "who", os.Getenv("USER"), "who asks, for the journal")
	c.Flags().StringVar(&why, "why", "", "the reason, for the journal")
	return c
}
