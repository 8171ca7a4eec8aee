package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
)

// secretVariable gives paymentd the password of its database user.
const secretVariable = "KIRIKAE_SECRET"

// startBudget bounds the start of one node, with the first start-up of an emptied MySQL in it.
const startBudget = 60 * time.Second

// startNode starts a node that does not run. It is not cut short by a caller that goes away: a store that was given half of its
// users would be worse than one start too many. alone: see topology.LoneStarter.
func (w *owned) startNode(ctx context.Context, c *child, alone bool) error {
	release, err := c.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if w.life.Err() != nil {
		return fmt.Errorf("start %s: %w", c.spec.Name, errDown)
	}
	if c.state() != topology.Stopped {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.life, startBudget)
	defer cancel()
	switch c.spec.Kind {
	case topology.MySQL:
		return w.startMySQL(ctx, c, alone)
	case topology.Cassandra:
		o := w.cassandraOptions(c)
		o.Alone = alone
		return w.launch(c, cassandra.Command(w.config.Install.Java, w.config.Install.Cassandra, o))
	}
	if alone {
		return fmt.Errorf("start %s alone: %w: only stores are", c.spec.Name, topology.ErrUnsupported)
	}
	return w.launch(c, w.paymentd(c))
}

func (w *owned) launch(c *child, cmd topology.Command) error {
	if err := os.MkdirAll(c.data(), 0o700); err != nil {
		return fmt.Errorf("make the data folder of %s: %w", c.spec.Name, err)
	}
	return c.start(cmd, c.data())
}

func (w *owned) mysqlOptions(c *child) mysql.NodeOptions {
	return mysql.NodeOptions{DataDir: c.data(), Address: c.spec.Host, ServerID: uint32(w.plan.number(c.spec.Site)*100 + c.spec.Index)}
}

// startMySQL starts a server on the data it has. One without data gets the template's and the world's users.
func (w *owned) startMySQL(ctx context.Context, c *child, alone bool) error {
	o := w.mysqlOptions(c)
	o.ReadOnly = alone
	_, err := os.Stat(c.bootstrapped())
	fresh := absent(err)
	if fresh {
		if alone {
			return fmt.Errorf("start %s alone: it has no data of its own", c.spec.Name)
		}
		if err := mysql.Prepare(w.config.Install.MySQL, o); err != nil {
			return fmt.Errorf("give %s its first data: %w: %w", c.spec.Name, topology.ErrEnvironment, err)
		}
	}
	if err := w.launch(c, mysql.Command(w.config.Install.MySQL, o)); err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	return w.watch(ctx, c, func(ctx context.Context) error {
		root, err := mysql.Open(o.Socket(), mysql.UserRoot, "", mysql.Options{Name: c.spec.Name})
		if err != nil {
			return err
		}
		defer root.Close()
		if err := root.WaitReady(ctx); err != nil {
			return err
		}
		if err := root.Bootstrap(ctx, w.secret); err != nil {
			return err
		}
		return os.WriteFile(c.bootstrapped(), nil, 0o600)
	})
}

// bootstrapped exists once a MySQL's data have their users. It lies beside the data and goes with them.
func (c *child) bootstrapped() string { return c.data() + ".ready" }

func (w *owned) cassandraOptions(c *child) cassandra.NodeOptions {
	o := cassandra.NodeOptions{
		DataDir: c.data(), Cluster: "kirikae-" + w.file.ID, Listen: c.spec.Host, Broadcast: c.spec.Broadcast, DC: string(c.spec.Site),
		Token: cassandra.Token(c.spec.Index, len(w.plan.of(c.spec.Site, topology.Cassandra)), w.plan.number(c.spec.Site)),
	}
	for _, n := range w.plan.of("", topology.Cassandra) {
		o.Seeds = append(o.Seeds, n.Broadcast)
	}
	return o
}

// paymentd is the command of one of the platform's own nodes.
func (w *owned) paymentd(c *child) topology.Command {
	http := c.spec.Endpoints[topology.ServiceHTTP]
	params := func() string {
		return "http://" + w.plan.of(c.spec.Site, topology.Params)[0].Endpoints[topology.ServiceHTTP]
	}
	var args []string
	env := []string{secretVariable + "=" + w.secret}
	switch c.spec.Kind {
	case topology.App:
		args = []string{"online", "--params", params()}
	case topology.Batch:
		args = []string{"batch", "--params", params()}
	case topology.Gateway:
		var backends []string
		for _, n := range w.plan.of(c.spec.Site, topology.App) {
			backends = append(backends, n.Endpoints[topology.ServiceHTTP])
		}
		args, env = []string{"gateway", "--backends", strings.Join(backends, ",")}, nil
	case topology.Params:
		args, env = []string{"params", "--file", filepath.Join(c.data(), "params.json")}, nil
	case topology.Acquirer:
		args, env = []string{"acquirer", "--log", w.file.Acquirer}, nil
	case topology.OnPremises:
		args, env = []string{"onprem", "--dns", w.plan.names, "--name", w.plan.topology.Zone.Records[0] + "." + w.plan.topology.Zone.Name}, nil
	}
	args = append(args, "--listen", http, "--site", string(c.spec.Site), "--node", c.spec.Name)
	return topology.Command{Path: w.config.Paymentd, Args: append(args, w.extra[string(c.spec.Kind)]...), Env: env}
}

// lastLines is how much of a dead server's log an error shows.
const lastLines = 12

// watch runs f and cuts it short when the node's process ends: what its log says last is then the error.
func (w *owned) watch(ctx context.Context, c *child, f func(context.Context) error) error {
	r := c.life()
	if r == nil {
		return fmt.Errorf("%s was never started", c.spec.Name)
	}
	died := errors.New("it ended")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-r.ended:
			cancel(died)
		case <-over:
		}
	}()
	err := f(ctx)
	close(over)
	<-watched
	if err == nil {
		return nil
	}
	if context.Cause(ctx) == died {
		lines, lerr := tailFile(c.log(), lastLines)
		if lerr != nil {
			lines = []string{lerr.Error()}
		}
		return fmt.Errorf("%s died: %s: %w; the end of its log:\n  %s", c.spec.Name, r.reason, topology.ErrEnvironment, strings.Join(lines, "\n  "))
	}
	return err
}
