package wire

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

// Params sets the initial parameters of every region, as soon as its store answers, and reads them back.
func (c *Console) Params(ctx context.Context) error {
	err := c.each(ctx, c.Plan.Of("", topology.Params), func(ctx context.Context, n plan.Node) error {
		return c.setParams(ctx, n, c.Parameters(n.Site))
	})
	if err == nil {
		c.say("parameter stores: ready")
	}
	return err
}

// Parameters of a region in a new world; addresses are those inside the sites. The standby's lacks what a switchover writes
// before it starts the application (article 002, row 4).
func (c *Console) Parameters(site topology.Site) map[string]string {
	v := map[string]string{
		payment.ParamAcquirer:    "http://" + c.Plan.Door(site, c.Plan.Of(topology.Outside, topology.Acquirer)[0].Name),
		payment.ParamBatch:       "false",
		payment.ParamClusterForm: "false",
		payment.ParamRelease:     payment.Release,
	}
	if site != c.Plan.Topology.Active() {
		return v
	}
	var contacts []string
	for _, n := range c.Plan.Of(site, topology.Cassandra) {
		contacts = append(contacts, n.Endpoints[topology.ServiceCQL])
	}
	v[payment.ParamMySQL] = c.Plan.Of(site, topology.MySQL)[0].Endpoints[topology.ServiceMySQL]
	v[payment.ParamCassandra] = strings.Join(contacts, ",")
	v[payment.ParamDC] = string(site)
	v[payment.ParamEpoch] = strconv.Itoa(FirstEpoch)
	v[payment.ParamBatch] = "true"
	v[payment.ParamClusterForm] = "true"
	return v
}

// Acquirer waits until the acquirer answers.
func (c *Console) Acquirer(ctx context.Context) error {
	err := c.each(ctx, c.Plan.Of("", topology.Acquirer), func(ctx context.Context, n plan.Node) error {
		// 404: it looked for that payment's charges and has none.
		return answers(ctx, "http://"+c.at(n, topology.ServiceHTTP)+"/charges/none", http.StatusOK, http.StatusNotFound)
	})
	if err == nil {
		c.say("acquirer: ready")
	}
	return err
}

// Witness waits until the witness answers, where the topology's fence is one.
func (c *Console) Witness(ctx context.Context) error {
	nodes := c.Plan.Of("", topology.Witness)
	if len(nodes) == 0 {
		return nil
	}
	err := c.each(ctx, nodes, func(ctx context.Context, n plan.Node) error {
		return answers(ctx, "http://"+c.at(n, topology.ServiceHTTP)+"/lease", http.StatusOK)
	})
	if err == nil {
		c.say("witness: ready, %s holds the lease", c.Plan.Topology.Active())
	}
	return err
}

// App waits until the active region's application serves, and its gateway, seen from outside through the door. Everything else
// is wired, and the application has been started.
func (c *Console) App(ctx context.Context) error {
	active := c.Plan.Topology.Active()
	apps := c.Plan.Of(active, topology.App)
	err := c.each(ctx, apps, func(ctx context.Context, n plan.Node) error {
		return answers(ctx, "http://"+c.at(n, topology.ServiceHTTP)+"/healthz", http.StatusOK)
	})
	if err != nil {
		return err
	}
	c.say("application: %d nodes of %s serve", len(apps), active)
	return c.each(ctx, c.Plan.Of(active, topology.Gateway), func(ctx context.Context, n plan.Node) error {
		r, _ := c.Plan.Route(topology.Outside, n.Name) // every gateway has one
		door := r.Reach
		if c.Inside {
			door = r.Door
		}
		return answers(ctx, "http://"+door+"/healthz", http.StatusOK)
	})
}

// Formed says in the parameters that the clusters are formed: from now on they are kept when a node fails (article 002, row 7 of
// the switchover and ※8 of the preparation). What the active region's application reads is said last: then all is done.
func (c *Console) Formed(ctx context.Context) error {
	err := c.each(ctx, c.Plan.Of("", topology.Params), func(ctx context.Context, n plan.Node) error {
		return c.setParams(ctx, n, Keeping(c.Plan, n.Site))
	})
	if err != nil {
		return err
	}
	return c.each(ctx, c.Plan.Of(c.Plan.Topology.Active(), topology.Params), func(ctx context.Context, n plan.Node) error {
		return c.setParams(ctx, n, map[string]string{payment.ParamClusterForm: "false"})
	})
}

// each waits for every one of the nodes, watched.
func (c *Console) each(ctx context.Context, nodes []plan.Node, f func(context.Context, plan.Node) error) error {
	return c.watch(ctx, nodes, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		for _, n := range nodes {
			g.Go(func() error { return f(ctx, n) })
		}
		return g.Wait()
	})
}

// Serving says whether a region's application serves customers: one of its nodes says that it is healthy. One that waits for its database
// to be promoted is not.
func Serving(ctx context.Context, p *plan.Plan, site topology.Site) bool {
	return slices.ContainsFunc(p.Of(site, topology.App), func(n plan.Node) bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return answer(ctx, web(), "http://"+n.Reach[topology.ServiceHTTP]+"/healthz", http.StatusOK) == nil
	})
}
