package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/payment/spawn"
	"github.com/kirikae/kirikae/steps"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/hosted"
)

// worldCommand is the process that owns a world. It is started by run and up; its standard output is for them.
func worldCommand() *cobra.Command {
	var spec steps.WorldSpec
	var defects []string
	c := &cobra.Command{
		Use:    "world",
		Short:  "Own a world: its servers, links and entry (started by run and up)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			spawn.Small()
			say := json.NewEncoder(c.OutOrStdout())
			err := ownWorld(c.Context(), spec, defects, say)
			if err != nil {
				_ = say.Encode(steps.WorldLine{Error: err.Error(), Code: steps.ExitOf(err)})
				fmt.Fprintln(os.Stderr, err)
				return exitCode(steps.ExitOf(err))
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&spec.Folder, "folder", "", "run folder")
	f.StringVar(&spec.Topology, "topology", "", "topology file")
	f.StringVar(&spec.Runtime, "runtime", "local", "runtime")
	f.StringVar(&spec.Images, "images", "", "images")
	f.StringVar(&spec.Volumes, "volumes", "", "where the stores keep their data")
	f.Uint64Var(&spec.Seed, "seed", 0, "seed")
	f.StringArrayVar(&defects, "defect", nil, "KIND=ARGUMENT, planted")
	f.BoolVar(&spec.Detached, "detached", false, "live until `kirikae down`, not until standard input closes")
	return c
}

func ownWorld(ctx context.Context, spec steps.WorldSpec, defects []string, say *json.Encoder) error {
	t, err := topology.Load(spec.Topology)
	if err != nil {
		return &steps.UsageError{Text: err.Error()}
	}
	o := topology.Options{Folder: spec.Folder, Seed: spec.Seed, Defects: map[string][]string{}}
	if o.Volumes, err = topology.ParseVolumes(spec.Volumes); err != nil {
		return &steps.UsageError{Text: "--volumes: " + err.Error()}
	}
	o.Progress = func(line string) { _ = say.Encode(steps.WorldLine{Progress: line}) }
	for _, d := range defects {
		kind, argument, ok := strings.Cut(d, "=")
		if !ok {
			return &steps.UsageError{Text: fmt.Sprintf("--defect %q: write KIND=ARGUMENT", d)}
		}
		o.Defects[kind] = append(o.Defects[kind], argument)
	}
	kirikae, err := self()
	if err != nil {
		return err
	}
	rt, err := steps.OpenRuntime(steps.RuntimeSpec{Name: spec.Runtime, Images: spec.Images, Programs: filepath.Dir(kirikae)}) // what images they are was said already
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !spec.Detached {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // until the owner closes it, or dies: then the world ends, half made or whole
			cancel(errOwnerGone)
		}()
	}
	w, err := rt.Create(ctx, t, o)
	if err != nil {
		return err
	}
	if err := say.Encode(steps.WorldLine{Ready: true}); err != nil {
		fmt.Fprintln(os.Stderr, "tell the owner that the world is ready:", err) // its pipe tells us the rest
	}
	return hosted.Serve(ctx, w, nil)
}

var errOwnerGone = errors.New("the owner of the world is gone")

func upCommand() *cobra.Command {
	var spec steps.WorldSpec
	var out, file, world string
	c := &cobra.Command{
		Use:   "up",
		Short: "Make a world that lives until `kirikae down`",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			kirikae, err := self()
			if err != nil {
				return err
			}
			if spec.Runtime, err = steps.RuntimeOf(world, spec.Runtime, spec.Images); err != nil {
				return err
			}
			if err := steps.CheckVolumes(world, spec.Volumes); err != nil {
				return err
			}
			spec.Detached = true
			progress := steps.NewProgress(c.ErrOrStderr())
			folder, err := steps.Up(c.Context(), kirikae, out, file, spec, progress)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s\n\nkirikae operate %s switchover\nkirikae down %s\n", folder, folder, folder)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&file, "topology", "two-region.yaml", "platform to make")
	runtimeFlags(f, &spec.Runtime, &spec.Images, &spec.Volumes)
	f.StringVar(&world, "world", "", "take over a world that is there already: compose (docker-compose up -d made it); kirikae down lets go of it")
	f.Uint64Var(&spec.Seed, "seed", 1, "seed of everything random")
	f.StringVar(&out, "out", steps.DefaultOut, "folder of run folders")
	return c
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "down [RUN]",
		Short:   "End a world that `kirikae up` made, and sweep what dead ones left",
		Example: "  kirikae down latest",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			out := c.OutOrStdout()
			if len(args) == 1 {
				folder, w, err := attach(c.Context(), args[0])
				if err != nil {
					return err
				}
				defer w.Close()
				if err := w.Down(c.Context()); err != nil {
					return err
				}
				fmt.Fprintf(out, "down: %s\n", filepath.Base(folder))
			}
			swept, err := steps.Sweep(c.Context())
			for _, s := range swept {
				fmt.Fprintln(out, "swept:", s)
			}
			return err
		},
	}
}
