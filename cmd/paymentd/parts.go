package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/acquirer"
	"github.com/kirikae/kirikae/payment/batch"
	"github.com/kirikae/kirikae/payment/cassandra"
	"github.com/kirikae/kirikae/payment/gateway"
	"github.com/kirikae/kirikae/payment/mysql"
	"github.com/kirikae/kirikae/payment/online"
	"github.com/kirikae/kirikae/payment/onprem"
	"github.com/kirikae/kirikae/payment/params"
)

// secretEnv is the environment variable that holds the password of the database user, so that no process list shows it.
const secretEnv = "KIRIKAE_SECRET"

// common are the flags of every part.
type common struct {
	listen string
	site   string
	node   string
	debug  bool
}

func command(stderr io.Writer) *cobra.Command {
	var c common
	root := &cobra.Command{
		Use:           "paymentd",
		Short:         "One part of the reference payment platform",
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("a part is needed: online, gateway, params, acquirer, batch, reconcile, witness, guard or onprem")
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetVersionTemplate("paymentd {{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVar(&c.listen, "listen", "", "address to serve on, host:port")
	f.StringVar(&c.site, "site", "", "site that this node is at")
	f.StringVar(&c.node, "node", "", "name of this node (default: the part's)")
	f.BoolVar(&c.debug, "debug", false, "log more")

	// add adds one part. make is called once the address is taken.
	add := func(use, short string, sited bool, flags func(*cobra.Command), check func() error, make func(*slog.Logger) (part, error)) {
		cmd := &cobra.Command{
			Use:   use,
			Short: short,
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if c.node == "" {
					c.node = use
				}
				if sited && c.site == "" {
					return errors.New("--site is needed, the site that this node is at")
				}
				if err := hostPort("--listen", c.listen); err != nil {
					return err
				}
				if err := check(); err != nil {
					return err
				}
				log := logger(&c, stderr)
				l, err := listen(c.listen)
				if err != nil {
					return err
				}
				p, err := make(log)
				if err != nil {
					l.Close()
					return err
				}
				return serve(cmd.Context(), l, p, log)
			},
		}
		flags(cmd)
		root.AddCommand(cmd)
	}

	var store string
	var defects []string
	var forward bool
	storeFlag := func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&store, "params", "", "the region's parameter store, http://host:port")
	}
	var secret string
	needs := func() error { // of the parts that use the stores
		if err := hostPort("--params", strings.TrimPrefix(store, "http://")); err != nil {
			return err
		}
		var err error
		secret, err = password()
		return err
	}
	region := func() *params.Client {
		return params.NewClient(store, nil, time.Second)
	}

	add("online", "The application: payments over both stores", true,
		func(cmd *cobra.Command) {
			storeFlag(cmd)
			cmd.Flags().StringSliceVar(&defects, "defect", nil, "planted misbehaviour: "+join(payment.Defects()))
			cmd.Flags().BoolVar(&forward, "recover", true, "at the start, end the payments that were interrupted before, as the acquirer says")
		},
		func() error {
			if err := known(defects, payment.Defects()); err != nil {
				return err
			}
			return needs()
		},
		func(log *slog.Logger) (part, error) {
			cfg := online.Config{Name: c.node, Site: c.site, Params: region(), Recover: forward, Log: log, Connect: func(p payment.Parameters) (payment.Stores, error) {
				return connect(p, secret, log)
			}}
			for _, d := range defects {
				cfg.Defects = append(cfg.Defects, payment.Defect(d))
			}
			n := online.New(cfg)
			run := func(ctx context.Context) error {
				err := n.Run(ctx)
				if errors.Is(err, online.ErrParameters) {
					return environment(err)
				}
				return err
			}
			return part{handler: n.Handler(), run: run, drain: n.Drain}, nil
		})

	var backends []string
	add("gateway", "The region's entry: a health-checked proxy over its application nodes", true,
		func(cmd *cobra.Command) {
			cmd.Flags().StringSliceVar(&backends, "backends", nil, "application nodes, host:port,host:port")
		},
		func() error {
			if len(backends) == 0 {
				return errors.New("--backends is needed, host:port,host:port")
			}
			for _, b := range backends {
				if err := hostPort("--backends", b); err != nil {
					return err
				}
			}
			return nil
		},
		func(log *slog.Logger) (part, error) {
			g, err := gateway.New(gateway.Config{Name: c.node, Site: c.site, Backends: backends, Log: log})
			if err != nil {
				return part{}, err
			}
			return part{handler: g.Handler(), run: g.Run}, nil
		})

	var file string
	add("params", "The region's parameter store", false,
		func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&file, "file", "", "file that keeps the values")
		},
		func() error { return needed("--file", file) },
		func(log *slog.Logger) (part, error) {
			s, err := params.Open(c.node, file, log)
			if err != nil {
				return part{}, environment(err)
			}
			return part{handler: s.Handler()}, nil
		})

	var path string
	var slow acquirer.Latency
	add("acquirer", "The acquirer, outside both regions", false,
		func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&path, "log", "", "file that every request is appended to")
			cmd.Flags().DurationVar(&slow.After, "latency", 0, "time that an answer takes once the charge is recorded")
			cmd.Flags().DurationVar(&slow.Before, "latency-before", 0, "time before a charge is recorded; PUT /latency changes both")
			cmd.Flags().IntVar(&slow.Every, "latency-every", 1, "every how many charges --latency-before holds")
		},
		func() error {
			for _, f := range []struct {
				name string
				d    time.Duration
			}{{"--latency", slow.After}, {"--latency-before", slow.Before}} {
				if f.d < 0 {
					return fmt.Errorf("%s is %s, want 0 or more", f.name, f.d)
				}
			}
			if slow.Every < 1 {
				return fmt.Errorf("--latency-every is %d, want 1 or more", slow.Every)
			}
			return needed("--log", path)
		},
		func(log *slog.Logger) (part, error) {
			s, err := acquirer.Open(acquirer.Config{Node: c.node, Log: path, Latency: slow, Logger: log})
			if err != nil {
				return part{}, environment(err)
			}
			return part{handler: s.Handler(), close: s.Close}, nil
		})

	root.AddCommand(reconciler(&c, stderr), guard(&c, stderr), watchdog())

	witnessFlags, witnessCheck, makeWitness := witness(&c)
	add("witness", "The lease for the right to write, outside both regions", false, witnessFlags, witnessCheck, makeWitness)

	var every time.Duration
	add("batch", "The batch: settles business dates where batch.enabled is true", true,
		func(cmd *cobra.Command) {
			storeFlag(cmd)
			cmd.Flags().DurationVar(&every, "every", 3*time.Second, "time between two business dates")
		},
		func() error {
			if every <= 0 {
				return fmt.Errorf("--every is %s, want more than 0", every)
			}
			return needs()
		},
		func(log *slog.Logger) (part, error) {
			n := batch.New(batch.Config{Name: c.node, Site: c.site, Params: region(), Every: every, Log: log,
				Connect: func(p payment.Parameters) (payment.Settler, func() error, error) {
					l, err := mysql.New(mysql.Config{Endpoint: p.MySQL, Password: secret})
					if err != nil {
						return nil, nil, err
					}
					return l, l.Close, nil
				}})
			return part{handler: n.Handler(), run: n.Run}, nil
		})

	var server, name string
	var port int
	add("onprem", "The application on premises: pays through the public entry", false,
		func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&server, "dns", "", "name server, host:port")
			cmd.Flags().StringVar(&name, "name", "", "name of the public entry")
			cmd.Flags().IntVar(&port, "port", 8080, "port of the public entry")
		},
		func() error {
			if err := hostPort("--dns", server); err != nil {
				return err
			}
			if port < 1 || port > 65535 {
				return fmt.Errorf("--port is %d, want 1 to 65535", port)
			}
			return needed("--name", name)
		},
		func(log *slog.Logger) (part, error) {
			n, err := onprem.New(onprem.Config{Node: c.node, DNS: server, Name: name, Port: port, Log: log})
			if err != nil {
				return part{}, err
			}
			return part{handler: n.Handler(), run: n.Run}, nil
		})
	return root
}

// connect makes the stores that the parameters name. Nothing is dialled before it is used.
func connect(p payment.Parameters, secret string, log *slog.Logger) (payment.Stores, error) {
	ledger, err := mysql.New(mysql.Config{Endpoint: p.MySQL, Password: secret})
	if err != nil {
		return payment.Stores{}, err
	}
	journal, err := cassandra.New(cassandra.Config{Endpoints: p.Cassandra, DC: p.DC, Log: log})
	if err != nil {
		return payment.Stores{}, errors.Join(err, ledger.Close())
	}
	return payment.Stores{
		Ledger:   ledger,
		Journal:  journal,
		Acquirer: acquirer.NewClient(p.Acquirer, nil, 1500*time.Millisecond),
		Run:      journal.Run,
		Close:    ledger.Close,
	}, nil
}

func logger(c *common, stderr io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if c.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})).With("node", c.node)
}

// password is that of the database user.
func password() (string, error) {
	secret, ok := os.LookupEnv(secretEnv)
	if !ok {
		return "", fmt.Errorf("%s is not set, the password of the database user", secretEnv)
	}
	return secret, nil
}

func needed(flag, value string) error {
	if value == "" {
		return fmt.Errorf("%s is needed", flag)
	}
	return nil
}

func hostPort(flag, value string) error {
	if value == "" {
		return fmt.Errorf("%s is needed, host:port", flag)
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("%s is %q, want host:port", flag, value)
	}
	return nil
}

func join(defects []payment.Defect) string {
	var s []string
	for _, d := range defects {
		s = append(s, string(d))
	}
	return strings.Join(s, ", ")
}

// version is the module's version, and the commit where the build knows it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(v, s.Value[:min(12, len(s.Value))]) {
			v += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
