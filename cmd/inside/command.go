package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kirikae/kirikae/fixtures"
	"github.com/kirikae/kirikae/payment/fence"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/edge"
	"github.com/kirikae/kirikae/topology/inside"
)

func command(p program) *cobra.Command {
	root := &cobra.Command{
		Use: "inside", Short: "What runs inside the containers of a world",
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("a part is needed: wan, names, net, cassandra, mysql, healthy, dial, boot, wire, rest, keep or empty")
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(wan(p), names(p), pod(p), cassandra(p), mysql(p), healthy(p), dial(p), boot(p), wire(p), rest(p), keep(), empty(p), watchdog())
	return root
}

func wan(p program) *cobra.Command {
	var w inside.WAN
	var only, links, doors []string
	cmd := &cobra.Command{Use: "wan", Short: "What is between the sites: toxiproxy at every door", Args: cobra.NoArgs}
	f := cmd.Flags()
	f.StringVar(&w.API, "api", "0.0.0.0:8474", "where toxiproxy's API listens")
	f.StringArrayVar(&only, "only-from", nil, "an address for which the API and the taps are; all others are closed at once")
	f.StringArrayVar(&links, "link", nil, "FROM>TO/SERVICE=DELAY, a link and its base delay one way")
	f.StringArrayVar(&doors, "door", nil, "LINK,NODE,DOOR,LISTEN,TARGET,TAP: what is dialled where, where toxiproxy listens for it, where it leads, and the port of its published side")
	f.BoolVar(&w.Bypass, "bypass", false, "planted defect: serve the doors around toxiproxy")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if err = hostPort("--api", w.API); err != nil {
			return err
		}
		if w.Only, err = addresses("--only-from", only); err != nil {
			return err
		}
		for _, s := range links {
			l, err := inside.ParseLinkDelay(s)
			if err != nil {
				return err
			}
			w.Links = append(w.Links, l)
		}
		for _, s := range doors {
			d, err := inside.ParseDoor(s)
			if err != nil {
				return err
			}
			w.Doors = append(w.Doors, d)
		}
		if err := w.Check(); err != nil {
			return err
		}
		return ran(p.wan(cmd.Context(), w))
	}
	return cmd
}

func names(p program) *cobra.Command {
	n := inside.Names{Nodes: edge.View{Entry: edge.Entry{}}, Reach: edge.View{Entry: edge.Entry{}}}
	var at string
	var only, entries, reach []string
	cmd := &cobra.Command{Use: "names", Short: "The public zone's name server", Args: cobra.NoArgs}
	f := cmd.Flags()
	f.StringVar(&n.Zone.Name, "zone", "", "the zone, with its final dot")
	f.DurationVar(&n.Zone.TTL, "ttl", 0, "how long its records may be kept")
	f.StringArrayVar(&n.Zone.Records, "record", nil, "a name inside the zone")
	f.StringVar(&at, "at", "", "site to which all records lead at the start")
	f.StringVar(&n.Nodes.Address, "listen", "", "where nodes ask")
	f.StringArrayVar(&entries, "entry", nil, "SITE=ADDRESS, where nodes enter a site")
	f.StringVar(&n.Reach.Address, "reach-listen", "", "where processes of the machine ask")
	f.StringArrayVar(&reach, "reach-entry", nil, "SITE=ADDRESS, where processes of the machine enter a site")
	f.StringVar(&n.API, "api", "", "where the zone is read and changed, over HTTP")
	f.StringArrayVar(&only, "only-from", nil, "an address for which the API is; all others are closed at once")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		n.At = topology.Site(at)
		var err error
		if n.Only, err = addresses("--only-from", only); err != nil {
			return err
		}
		for _, e := range []struct {
			flag  string
			view  edge.View
			given []string
		}{{"--listen", n.Nodes, entries}, {"--reach-listen", n.Reach, reach}} {
			for _, s := range e.given {
				if err := inside.ParseEntry(e.view.Entry, s); err != nil {
					return err
				}
			}
			if e.view.Address == "" && len(e.given) == 0 && e.flag == "--reach-listen" {
				continue
			}
			if err := hostPort(e.flag, e.view.Address); err != nil {
				return err
			}
			if _, ok := e.view.Entry[n.At]; !ok {
				return fmt.Errorf("--at %s: the view of %s has no entry for it", at, e.flag)
			}
		}
		switch {
		case !strings.HasSuffix(n.Zone.Name, "."):
			return fmt.Errorf("--zone %q: a name with its final dot was expected", n.Zone.Name)
		case n.Zone.TTL < time.Second:
			return fmt.Errorf("--ttl %s: at least a second was expected", n.Zone.TTL)
		case len(n.Zone.Records) == 0:
			return errors.New("--record is needed, a name inside the zone")
		}
		if n.API != "" {
			if err := hostPort("--api", n.API); err != nil {
				return err
			}
		}
		return ran(p.names(cmd.Context(), n))
	}
	return cmd
}

func pod(p program) *cobra.Command {
	var own, routes []string
	cmd := &cobra.Command{Use: "net", Short: "The network of a Cassandra node, until it is told to stop", Args: cobra.NoArgs}
	f := cmd.Flags()
	f.StringArrayVar(&own, "address", nil, "ADDRESS/BITS, the node's identity, on lo")
	f.StringArrayVar(&routes, "route", nil, "IDENTITY/BITS=ADDRESS, the way to a peer's identity")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var x inside.Pod
		for _, s := range own {
			a, err := netip.ParsePrefix(s)
			if err != nil {
				return fmt.Errorf("--address: %w", err)
			}
			x.Addresses = append(x.Addresses, a)
		}
		for _, s := range routes {
			r, err := inside.ParsePodRoute(s)
			if err != nil {
				return err
			}
			x.Routes = append(x.Routes, r)
		}
		return ran(p.pod(cmd.Context(), x))
	}
	return cmd
}

func cassandra(p program) *cobra.Command {
	var c inside.Cassandra
	cmd := &cobra.Command{Use: "cassandra", Short: "Become a Cassandra node", Args: cobra.NoArgs}
	f, o := cmd.Flags(), &c.Node
	f.StringVar(&o.Listen, "listen", "", "address for other nodes of the region, and for clients")
	f.StringVar(&o.Broadcast, "broadcast", "", "its name in the ring")
	f.StringVar(&o.DC, "dc", "", "its region")
	f.StringVar(&o.Rack, "rack", "", "its rack (default r1)")
	f.StringVar(&o.Token, "token", "", "its token")
	f.StringVar(&o.Cluster, "cluster", "", "name of the cluster")
	f.StringArrayVar(&o.Seeds, "seed", nil, "a node's name in the ring")
	f.StringVar(&c.Params, "params", "", "the region's parameter store, http://host:port, which says how the ring is found; none: by the seeds")
	f.StringVar(&o.DataDir, "data", "/var/lib/cassandra", "data folder")
	f.StringVar(&o.Heap, "heap", "", "maximal heap (default 400m)")
	f.IntVar(&o.JMXPort, "jmx-port", 0, "port of JMX on 127.0.0.1; 0: none")
	f.StringVar(&c.Install, "install", inside.InstallFile, "table of what the image has")
	f.StringVar(&c.Alone, "alone", inside.AloneFile, "file that says whether to start alone")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := needed(cmd, "dc", "token", "cluster"); err != nil {
			return err
		}
		if c.Params != "" {
			if err := hostPort("--params", strings.TrimPrefix(c.Params, "http://")); err != nil {
				return err
			}
		}
		if _, err := addresses("--listen, --broadcast", []string{o.Listen, o.Broadcast}); err != nil {
			return err
		}
		if _, err := addresses("--seed", o.Seeds); err != nil || len(o.Seeds) == 0 {
			return errors.Join(errors.New("--seed is needed, the names of nodes in the ring"), err)
		}
		if !filepath.IsAbs(o.DataDir) {
			return fmt.Errorf("--data %q: an absolute path was expected", o.DataDir)
		}
		return ran(p.cassandra(cmd.Context(), c))
	}
	return cmd
}

func mysql(p program) *cobra.Command {
	var m inside.MySQL
	cmd := &cobra.Command{Use: "mysql", Short: "Start a MySQL server and look after it", Args: cobra.NoArgs}
	f, o := cmd.Flags(), &m.Node
	f.StringVar(&o.Address, "address", "", "address that it listens on")
	f.Uint32Var(&o.ServerID, "server-id", 0, "its number, unique in the world")
	f.StringVar(&o.DataDir, "data", "/var/lib/mysql/data", "data folder; markers and options lie beside it")
	f.StringVar(&m.Install, "install", inside.InstallFile, "table of what the image has")
	f.StringVar(&m.Alone, "alone", inside.AloneFile, "file that says whether to start alone")
	f.StringVar(&m.Witness, "witness", "", "the witness whose lease it needs for writing, http://host:port; none: it writes whenever it runs")
	f.StringVar(&m.Params, "params", "", "the region's parameter store, http://host:port, with --witness; none: nothing decides while the witness is silent")
	f.StringVar(&m.Site, "site", "", "its region, with --witness")
	f.StringVar(&m.Name, "node", "", "its name, with --witness")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if m.Witness != "" {
			if err := hostPort("--witness", strings.TrimPrefix(m.Witness, "http://")); err != nil {
				return err
			}
			if err := needed(cmd, "site", "node"); err != nil {
				return err
			}
		}
		if _, err := addresses("--address", []string{o.Address}); err != nil {
			return err
		}
		if o.ServerID == 0 {
			return errors.New("--server-id is needed, from 1 and unique in the world")
		}
		if !filepath.IsAbs(o.DataDir) {
			return fmt.Errorf("--data %q: an absolute path was expected", o.DataDir)
		}
		return ran(p.mysql(cmd.Context(), m))
	}
	return cmd
}

// watchdog is what a guarded server has beside it.
func watchdog() *cobra.Command {
	return &cobra.Command{Use: "watchdog", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return ran(fence.Watch(cmd.InOrStdin())) }}
}

func keep() *cobra.Command {
	return &cobra.Command{Use: "keep", Short: "Do nothing but have the volumes that are in memory", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { <-cmd.Context().Done(); return nil }}
}

func empty(p program) *cobra.Command {
	return &cobra.Command{Use: "empty FOLDER…", Short: "Remove all that is in folders, not them", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return ran(p.empty(args)) }}
}

func healthy(p program) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{Use: "healthy (http URL | cql HOST:PORT | mysql SOCKET)", Short: "Say whether something in this container does its work",
		Args: cobra.ExactArgs(2), ValidArgs: []string{"http", "cql", "mysql"}}
	cmd.Flags().DurationVar(&timeout, "timeout", 4*time.Second, "how long it may take to answer")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch args[0] {
		case "http", "cql", "mysql":
		default:
			return topology.Unknown("kind of health", args[0], []string{"cql", "http", "mysql"})
		}
		ctx, cancel := timeoutOf(cmd, timeout)
		defer cancel()
		if err := p.healthy(ctx, args[0], args[1]); err != nil {
			return coded{exitFailed, fmt.Errorf("not healthy: %s", strings.Join(strings.Fields(err.Error()), " "))} // one line
		}
		return nil
	}
	return cmd
}

func dial(p program) *cobra.Command {
	var o inside.DialOptions
	cmd := &cobra.Command{Use: "dial HOST:PORT…", Short: "Say what comes of dialling: open, closed, refused, timeout, unreachable or failed", Args: cobra.MinimumNArgs(1)}
	cmd.Flags().DurationVar(&o.Timeout, "timeout", 2*time.Second, "how long connecting may take")
	cmd.Flags().DurationVar(&o.Linger, "linger", 1500*time.Millisecond, "how long a connection is watched for being closed at once; servers that hear nothing close it later")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, a := range args {
			if err := hostPort("address", a); err != nil {
				return err
			}
		}
		return ran(p.dial(cmd.Context(), args, o))
	}
	return cmd
}

func boot(p program) *cobra.Command {
	return &cobra.Command{Use: "boot", Short: "Print the boot id of the machine that the container runs on", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return ran(p.boot()) }}
}

func wire(p program) *cobra.Command {
	var w inside.Wire
	var name string
	cmd := &cobra.Command{Use: "wire", Short: "Make the started servers one platform, and end", Args: cobra.NoArgs}
	f := cmd.Flags()
	f.StringVar(&name, "topology", "two-region", "name of the topology")
	f.IntVar(&w.Octet, "octet", 0, "second octet of the world's addresses")
	f.DurationVar(&w.Within, "within", 5*time.Minute, "how long it may take")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if w.Octet < 1 || w.Octet > 255 {
			return fmt.Errorf("--octet %d: 1 to 255 was expected", w.Octet)
		}
		var err error
		if w.Topology, err = inside.FindTopology(fixtures.FS, name); err != nil {
			return err
		}
		return ran(p.wire(cmd.Context(), w))
	}
	return cmd
}

func rest(p program) *cobra.Command {
	var marker string
	cmd := &cobra.Command{Use: "rest --marker FILE -- PROGRAM [ARGUMENT…]", Short: "End at once at the first start, become a program at every later one", Args: cobra.MinimumNArgs(1)}
	cmd.Flags().StringVar(&marker, "marker", "", "file that the first start leaves")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := needed(cmd, "marker"); err != nil {
			return err
		}
		return ran(p.rest(marker, args))
	}
	return cmd
}

func timeoutOf(cmd *cobra.Command, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(cmd.Context(), d, fmt.Errorf("no answer within %s", d))
}

func hostPort(flag, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%s %q: host:port was expected", flag, address)
	}
	return nil
}

func addresses(flag string, all []string) ([]netip.Addr, error) {
	var found []netip.Addr
	for _, s := range all {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		found = append(found, a)
	}
	return found, nil
}

func needed(cmd *cobra.Command, flags ...string) error {
	for _, f := range flags {
		if cmd.Flag(f).Value.String() == "" {
			return fmt.Errorf("--%s is needed: %s", f, cmd.Flag(f).Usage)
		}
	}
	return nil
}
