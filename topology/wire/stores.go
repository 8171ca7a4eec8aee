package wire

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/kirikae/kirikae/payment/schema"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
	"github.com/kirikae/kirikae/topology/plan"
)

// Cassandra waits until every node of both regions shows all the others, makes the keyspace and waits until both regions answer
// one another. Its nodes have been started.
func (c *Console) Cassandra(ctx context.Context) error {
	nodes := c.Plan.Of("", topology.Cassandra)
	var contacts []string
	for _, n := range nodes {
		contacts = append(contacts, c.at(n, topology.ServiceCQL))
	}
	return c.watch(ctx, nodes, func(ctx context.Context) error {
		if err := cassandra.WaitRing(ctx, contacts...); err != nil {
			return err
		}
		c.say("cassandra: every node sees the others")
		factors := map[string]int{}
		for site, rf := range c.Plan.Topology.ReplicationFactor {
			factors[string(site)] = rf
		}
		if err := cassandra.Form(ctx, contacts, schema.Cassandra(factors), factors); err != nil {
			return err
		}
		c.say("cassandra: every keyspace is in both regions")
		s, err := cassandra.Open(ctx, c.ring(c.Plan.Topology.Active()))
		if err != nil {
			return err
		}
		defer s.Close()
		if err := Until(ctx, "cassandra answers at both quorums", s.Quorums); err != nil {
			return err
		}
		version, err := s.Version(ctx)
		if err != nil {
			return err
		}
		if err := c.confirm("cassandra", version); err != nil {
			return err
		}
		c.say("cassandra: ready, both quorums answer")
		return nil
	})
}

// MySQL waits until both servers let operators in, makes the schema in the active one and lets the standby follow it through the
// link, and waits until the standby shows what was written at the active. Its servers have been started.
func (c *Console) MySQL(ctx context.Context) error {
	return c.watch(ctx, c.Plan.Of("", topology.MySQL), c.mysql)
}

func (c *Console) mysql(ctx context.Context) error {
	t := c.Plan.Topology
	active, standby := c.Plan.Of(t.Active(), topology.MySQL)[0], c.Plan.Of(t.Standby(), topology.MySQL)[0]
	source, err := c.ops(active)
	if err != nil {
		return err
	}
	defer source.Close()
	replica, err := c.ops(standby)
	if err != nil {
		return err
	}
	defer replica.Close()
	for _, s := range []*mysql.Server{source, replica} {
		if err := s.WaitReady(ctx); err != nil {
			return err
		}
	}
	c.say("mysql: both answer")
	if t.Fence == topology.WitnessFence { // without the lease it is read-only, and the lease is asked for once it answers
		if err := Until(ctx, active.Name+" holds the lease", writable(source)); err != nil {
			return err
		}
	}
	statements := append(schema.MySQL(), schema.Seed(t.Accounts, t.Opening, FirstEpoch, string(t.Active()))...)
	if err := source.ApplySchema(ctx, statements); err != nil {
		return err
	}
	// Always the inside address: it is the replica that dials.
	door, err := netip.ParseAddrPort(c.Plan.Door(standby.Site, active.Name))
	if err != nil {
		return fmt.Errorf("read the door of %s: %w", active.Name, err)
	}
	if err := replica.Follow(ctx, door.Addr().String(), int(door.Port()), c.Secret, mysql.FollowOptions{}); err != nil {
		return err
	}
	err = Until(ctx, standby.Name+" shows the epoch of "+active.Name, func(ctx context.Context) error {
		epoch, site, err := replica.Epoch(ctx)
		if err == nil && (epoch != FirstEpoch || site != string(t.Active())) {
			err = fmt.Errorf("it shows epoch %d of %q", epoch, site)
		}
		return err
	})
	if err != nil {
		return err
	}
	status, err := source.Status(ctx)
	if err != nil {
		return err
	}
	if err := c.confirm("mysql", status.Version); err != nil {
		return err
	}
	c.say("mysql: ready, %s follows %s", standby.Name, active.Name)
	return nil
}

func writable(s *mysql.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		st, err := s.Status(ctx)
		if err == nil && (st.ReadOnly || st.SuperReadOnly) {
			err = errors.New("it is read-only")
		}
		return err
	}
}

func (c *Console) ops(n plan.Node) (*mysql.Server, error) {
	return mysql.Open(c.at(n, topology.ServiceMySQL), mysql.UserOps, c.Secret, mysql.Options{Name: n.Name})
}
