package wire

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
)

// Wired confirms that a platform which somebody else wired is as the wiring left it: its stores are who Confirm says and answer
// both ways, nobody has paid yet or changed who writes, and the active region serves. It changes nothing.
func (c *Console) Wired(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, f := range []func(context.Context) error{c.wiredCassandra, c.wiredMySQL, c.Acquirer, c.Witness, c.App} {
		g.Go(func() error { return f(gctx) })
	}
	return g.Wait()
}

func (c *Console) wiredCassandra(ctx context.Context) error {
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
	return c.confirm("cassandra", version)
}

func (c *Console) wiredMySQL(ctx context.Context) error {
	t := c.Plan.Topology
	for _, site := range []topology.Site{t.Active(), t.Standby()} {
		if err := c.wiredServer(ctx, site); err != nil {
			return err
		}
	}
	return nil
}

func (c *Console) wiredServer(ctx context.Context, site topology.Site) error {
	active := c.Plan.Topology.Active()
	n := c.Plan.Of(site, topology.MySQL)[0]
	s, err := c.ops(n)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.WaitReady(ctx); err != nil {
		return err
	}
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	if err := c.confirm("mysql", status.Version); err != nil {
		return err
	}
	epoch, writer, err := s.Epoch(ctx)
	if err != nil {
		return err
	}
	if epoch != FirstEpoch || writer != string(active) {
		return fmt.Errorf("%s shows epoch %d of %s, a new platform has epoch %d of %s", n.Name, epoch, writer, FirstEpoch, active)
	}
	return unpaid(ctx, n.Name, s)
}

// unpaid says whether nobody has paid.
func unpaid(ctx context.Context, name string, s *mysql.Server) error {
	rows, err := s.Rows(ctx)
	if err == nil && len(rows.Payments) > 0 {
		err = fmt.Errorf("%s holds %d payments already", name, len(rows.Payments))
	}
	return err
}
