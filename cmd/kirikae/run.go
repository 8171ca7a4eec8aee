package main

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/steps"
)

func runCommand() *cobra.Command {
	o := steps.Options{}
	sentences, list, world, day := false, false, "", ""
	c := &cobra.Command{
		Use:   "run [FEATURE[:LINE] …]",
		Short: "Run drills and judge them",
		Long: `Run drills: each scenario of the features makes a world of its own, breaks it and judges what is left.
Without arguments all embedded features run. A feature is a file or folder, or the name of an embedded one.`,
		Example: `  kirikae run features/region_loss.feature
  kirikae run --seed 7 features/known_bad.feature:10
  kirikae run --world compose features/region_loss.feature
  kirikae run --tags "@known_bad and not @thin"`,
		RunE: func(c *cobra.Command, args []string) error {
			if sentences {
				fmt.Fprintln(c.OutOrStdout(), strings.Join(steps.Sentences(), "\n"))
				return nil
			}
			var err error
			if o.Day, err = time.Parse(time.DateOnly, cmp.Or(day, time.Now().UTC().Format(time.DateOnly))); err != nil {
				return &steps.UsageError{Text: fmt.Sprintf("--day %q: expected a date like 2026-11-21", day)}
			}
			if list {
				selected, err := steps.Tier(args, o.Tags, o.Tier, o.Runtime, o.Day)
				for _, s := range selected {
					fmt.Fprintln(c.OutOrStdout(), s.Place())
				}
				return err
			}
			kirikae, err := self()
			if err != nil {
				return err
			}
			if o.Runtime, err = steps.RuntimeOf(world, o.Runtime, o.Images); err != nil {
				return err
			}
			if err := steps.CheckVolumes(world, o.Volumes); err != nil {
				return err
			}
			o.Kirikae, o.Paths = kirikae, args
			if !c.Flags().Changed("seed") {
				o.Seed = randomSeed()
			}
			o.Stdout, o.Progress = c.OutOrStdout(), steps.NewProgress(c.ErrOrStderr())
			o.Color = colored(os.Stdout)
			code, err := steps.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if code != steps.ExitPassed {
				return exitCode(code)
			}
			return nil
		},
	}
	f := c.Flags()
	runtimeFlags(f, &o.Runtime, &o.Images, &o.Volumes)
	f.StringVar(&world, "world", "", "drill a world that is there already, once: compose (docker-compose up -d made it); it stays")
	f.StringVar(&o.Tags, "tags", "", `tag expression, like "@region_loss and not @slow"`)
	f.StringVar(&o.Tier, "tier", "", "play what a tier plays of those selected: test (make test) or nightly; what it leaves out is listed")
	f.StringVar(&day, "day", "", "date by which the test tier rotates (default: today, UTC)")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of everything random (default: a new one, printed)")
	f.StringVar(&o.Out, "out", steps.DefaultOut, "folder of run folders")
	f.BoolVar(&list, "list", false, "list the scenarios that would run, and exit")
	f.BoolVar(&sentences, "sentences", false, "list the sentences that features can use, and exit")
	return c
}

func randomSeed() uint64 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return uint64(binary.LittleEndian.Uint32(b[:]))
}

// colored says whether a file is a terminal that wants colours.
func colored(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
