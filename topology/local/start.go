package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/mysql"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wire"
)

// Start implements hosted.Nodes.
func (m *machines) Start(ctx context.Context, n plan.Node, alone bool) error {
	c := m.child(n)
	in := m.config.Install
	switch n.Kind {
	case topology.MySQL:
		return m.startMySQL(ctx, c, alone)
	case topology.Cassandra:
		o := wire.CassandraNode(*m.plan, n, m.ground.File.ID)
		o.DataDir, o.Alone = c.data, alone
		if !alone {
			if err := m.form(ctx, c, &o); err != nil {
				return fmt.Errorf("start %s: %w", n.Name, err)
			}
		}
		beside := c.life() != nil && !alone // started again, while others serve
		if err := c.launch(cassandra.Command(in.Java, in.Cassandra, o)); err != nil || !beside {
			return err
		}
		r := c.life()
		go func() {
			if err := yields(context.WithoutCancel(ctx), r, n.Endpoints[topology.ServiceCQL], func(ctx context.Context) bool { return wire.Serving(ctx, m.plan, n.Site) }); err != nil {
				c.note(err.Error())
			}
		}()
		return nil
	}
	var file string
	switch n.Kind {
	case topology.Params:
		file = filepath.Join(c.data, "params.json")
	case topology.Acquirer:
		file = m.ground.File.Acquirer
	case topology.Witness:
		file = filepath.Join(c.data, "witness.json")
	}
	args, env := wire.Paymentd(*m.plan, n, m.ground.File.Secret, file, m.ground.Extra[string(n.Kind)]...)
	return c.launch(topology.Command{Path: m.config.Paymentd, Args: args, Env: env})
}

// form lets a Cassandra node's options be what its region's parameters say.
func (m *machines) form(ctx context.Context, c *child, o *cassandra.NodeOptions) error {
	f, note, err := wire.ReadFormation(ctx, wire.Params(*m.plan, c.spec.Site), c.data+".formation.json")
	if err != nil {
		return err
	}
	empty, err := cassandra.Empty(o.DataDir)
	if err != nil {
		return err
	}
	c.note(fmt.Sprintf("%s, without data %t", note, empty))
	f.Apply(o, empty)
	return nil
}

// startMySQL starts a server on the data it has. One without data gets the template's and the world's users.
func (m *machines) startMySQL(ctx context.Context, c *child, alone bool) error {
	o := wire.MySQLNode(*m.plan, c.spec)
	o.DataDir, o.ReadOnly = c.data, alone
	_, err := os.Stat(c.bootstrapped())
	fresh := absent(err)
	if fresh {
		if alone {
			return fmt.Errorf("start %s alone: it has no data of its own", c.spec.Name)
		}
		if err := mysql.Prepare(m.config.Install.MySQL, o); err != nil {
			return fmt.Errorf("give %s its first data: %w: %w", c.spec.Name, topology.ErrEnvironment, err)
		}
	}
	cmd := mysql.Command(m.config.Install.MySQL, o)
	if m.plan.Topology.Fence == topology.WitnessFence && !alone { // alone it writes nothing and needs no lease
		cmd.Args = wire.Guard(*m.plan, c.spec, o.Socket(), c.bootstrapped(), c.guarded(), append([]string{cmd.Path}, cmd.Args...)...)
		cmd.Path = m.config.Paymentd
	}
	if err := c.launch(cmd); err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	return hosted.Watch(ctx, m, []plan.Node{c.spec}, func(ctx context.Context) error {
		root, err := mysql.Open(o.Socket(), mysql.UserRoot, "", mysql.Options{Name: c.spec.Name})
		if err != nil {
			return err
		}
		defer root.Close()
		if err := root.WaitReady(ctx); err != nil {
			return err
		}
		if err := root.Bootstrap(ctx, m.ground.File.Secret); err != nil {
			return err
		}
		return os.WriteFile(c.bootstrapped(), nil, 0o600)
	})
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
