package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/params"
	"github.com/kirikae/kirikae/payment/reconcile"
)

// reconciler is the part that compares ledger, journal and acquirer: periodically behind an address, or once.
func reconciler(c *common, stderr io.Writer) *cobra.Command {
	var store, salvage string
	var defects []string
	var grace, every time.Duration
	var once, only bool
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "突合: brings ledger, journal and acquirer into agreement",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.node == "" {
				c.node = "reconcile"
			}
			if c.site == "" {
				return errors.New("--site is needed, the site that this node is at")
			}
			if !once {
				if err := hostPort("--listen", c.listen); err != nil {
					return err
				}
			}
			if err := hostPort("--params", strings.TrimPrefix(store, "http://")); err != nil {
				return err
			}
			if grace <= 0 || every <= 0 {
				return fmt.Errorf("--grace is %s and --every is %s, want more than 0", grace, every)
			}
			if only && salvage == "" {
				return errors.New("--only-salvage needs --salvage")
			}
			if err := known(defects, payment.ReconcilerDefects()); err != nil {
				return err
			}
			secret, err := password()
			if err != nil {
				return err
			}
			log := logger(c, stderr)
			cfg := reconcile.Config{
				Name: c.node, Site: c.site, Params: params.NewClient(store, nil, time.Second), Grace: grace, Every: every, Only: only, Log: log,
				Connect: func(p payment.Parameters) (payment.Stores, error) {
					return connect(p, secret, log)
				},
			}
			for _, d := range defects {
				cfg.Defects = append(cfg.Defects, payment.Defect(d))
			}
			if salvage != "" {
				if cfg.Salvage, err = reconcile.ReadSalvage(salvage); err != nil {
					return environment(err)
				}
			}
			n := reconcile.New(cfg)
			if !once {
				l, err := listen(c.listen)
				if err != nil {
					return err
				}
				return serve(cmd.Context(), l, part{handler: n.Handler(), run: n.Run}, log)
			}
			return runOnce(cmd, n, log)
		},
	}
	f := cmd.Flags()
	f.StringVar(&store, "params", "", "the region's parameter store, http://host:port")
	f.DurationVar(&grace, "grace", 10*time.Second, "payments younger than this are left alone")
	f.DurationVar(&every, "every", 5*time.Second, "time from one run to the next")
	f.BoolVar(&once, "once", false, "make one run, print its report as JSON, and exit; no address is served")
	f.StringVar(&salvage, "salvage", "", "file of a lost region's rows, one JSON object a line")
	f.BoolVar(&only, "only-salvage", false, "reconcile nothing but the salvaged rows")
	f.StringSliceVar(&defects, "defect", nil, "planted misbehaviour: "+join(payment.ReconcilerDefects()))
	return cmd
}

func runOnce(cmd *cobra.Command, n *reconcile.Node, log *slog.Logger) error {
	rep, err := n.Once(cmd.Context())
	if errors.Is(err, reconcile.ErrNotReady) {
		return environment(err)
	}
	if err != nil {
		return coded{exitFailed, err}
	}
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return coded{exitFailed, fmt.Errorf("encode report: %w", err)}
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b); err != nil {
		return coded{exitFailed, fmt.Errorf("print report: %w", err)}
	}
	log.Info("reconciled", "summary", rep.Summary())
	if rep.Error != "" {
		return coded{exitFailed, errors.New(rep.Error)}
	}
	if len(rep.Failed) > 0 {
		return coded{exitFailed, fmt.Errorf("%d repairs failed, the first of payment %s: %s", len(rep.Failed), rep.Failed[0].Key, rep.Failed[0].Why)}
	}
	return nil
}

// known holds the names of defects against those that a part can have.
func known(defects []string, all []payment.Defect) error {
	for _, d := range defects {
		if !slices.Contains(all, payment.Defect(d)) {
			return fmt.Errorf("--defect %q is not known; there are %s", d, join(all))
		}
	}
	return nil
}
