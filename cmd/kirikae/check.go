package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/reports"
	"github.com/kirikae/kirikae/steps"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "check RUN",
		Short:   "Judge a run folder again: the same evidence gives the same verdict",
		Example: "  kirikae check latest",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			_, r, code, err := judge(args[0])
			if err != nil {
				return err
			}
			if err := reports.Terminal(c.OutOrStdout(), r, colored(os.Stdout)); err != nil {
				return err
			}
			if code != 0 {
				return exitCode(code)
			}
			return nil
		},
	}
}

func reportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "report RUN",
		Short: "Write the reports of a run folder again: report.html, result.json, junit.xml, summary.md",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			folder, r, _, err := judge(args[0])
			if err != nil {
				return err
			}
			if err := reports.Write(folder, r); err != nil {
				return err
			}
			return reports.Terminal(c.OutOrStdout(), r, colored(os.Stdout))
		},
	}
}

func judge(arg string) (folder string, r reports.Report, code int, err error) {
	folder, err = runFolder(arg)
	if err != nil {
		return "", r, 0, err
	}
	run, err := history.Load(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return "", r, 0, &steps.UsageError{Text: fmt.Sprintf("run %s: no %s in it, so it was no drill; `kirikae up` makes worlds without one", arg, history.MetaFile)}
	}
	if err != nil {
		return "", r, 0, err
	}
	judged := check.Judge(run)
	return folder, reports.Build(run, judged), check.ExitCode(judged, run.Meta.Expectation), nil
}
