package docker

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/compose"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/edge"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/images"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wan"
	"github.com/kirikae/kirikae/topology/wire"
)

// Composed is the runtime of the world that docker-compose.yml brings up, see package compose. It implements topology.Runtime, but
// makes nothing: a world process takes the containers over as they are, and lets go of them in the end. They belong to whoever
// composed them.
type Composed struct {
	*Runtime
}

// NewComposed makes a runtime. Nothing is looked at. Of the configuration, images and octet are the compose file's matter.
func NewComposed(c Config) (*Composed, error) {
	r, err := New(c)
	if err != nil {
		return nil, err
	}
	r.lasting = true
	r.host = hosted.Host{Runtime: compose.World, Cache: r.c.CacheDir}
	return &Composed{r}, nil
}

// Name implements topology.Runtime.
func (r *Composed) Name() string { return compose.World }

// Check says why there is no composed world here, or nil. Whether it is as it came up is found out when it is taken over.
func (r *Composed) Check(ctx context.Context) error {
	e, err := r.open(ctx)
	if err != nil {
		return err
	}
	return compose.There(ctx, e.Client)
}

// Create takes the composed world over, in the process that drives it from now on. It refuses one that is not as it came up, one
// that was taken over before, and one that another process has. Nothing can be planted, as its containers are there already.
func (r *Composed) Create(ctx context.Context, t topology.Topology, o topology.Options) (topology.World, error) {
	if len(o.Defects) > 0 {
		return nil, fmt.Errorf("take over the composed world: %w: nothing can be planted in containers that are made already", topology.ErrEnvironment)
	}
	e, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	var found compose.Found
	var set images.Set
	return r.host.Create(ctx, t, o, hosted.Spec{
		Prefix: plan.Private, Octet: compose.Octet, ID: compose.World, Engines: engines(e, nil), Parallel: r.parallel(e), DownBudget: downBudget,
		Free: func(context.Context, plan.Plan) error { return nil }, // they are in use, by what is looked for
		Complete: func(ctx context.Context, s *hosted.Spec) (err error) {
			if found, err = compose.Find(ctx, e.Client, t); err != nil {
				return err
			}
			if err := unused(ctx, e.Client); err != nil {
				return err
			}
			set = setOf(found)
			s.Secret, s.Images = found.Secret, found.Images
			return r.sameKernel(ctx, e, set)
		},
		Make: func(g hosted.Ground) hosted.Machines { return newMachines(e, set, "", r.parallel(e), &found, g) },
		Raise: func(ctx context.Context, c *wire.Console) error {
			if err := confirm(ctx, c); err != nil {
				return fmt.Errorf("take over the composed world: %w: %w; %s", topology.ErrEnvironment, err, compose.Anew)
			}
			return markUsed(ctx, e.Client, o.Folder)
		},
	})
}

// confirmBudget is for a busy machine: everything runs already.
const confirmBudget = 2 * time.Minute

// confirm reads whether the platform is as its wiring left it: nobody paid, nothing was switched, no link is at fault.
func confirm(ctx context.Context, c *wire.Console) error {
	ctx, cancel := context.WithTimeout(ctx, confirmBudget)
	defer cancel()
	if err := c.Wired(ctx); err != nil {
		return err
	}
	t := c.Plan.Topology
	links, err := wan.New(c.Plan.Toxiproxy(), os.DevNull, t.Links, c.Plan.Routes)
	if err != nil {
		return err
	}
	defer links.Close()
	for _, l := range links.Links() {
		now, err := l.Layers(ctx)
		if err != nil {
			return err
		}
		if now.Fault.Kind != topology.NoFault || now.Access == topology.Deny {
			return fmt.Errorf("link %s was changed: fault %q, access %q", l.ID(), now.Fault.Kind, now.Access)
		}
	}
	zone := edge.NewRemote(c.Plan.Names(false), containers.NamesAPI(c.Plan))
	defer zone.Close()
	records, err := zone.Records(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Site != t.Active() {
			return fmt.Errorf("%s leads to %s", r.Name, r.Site)
		}
	}
	if len(records) != len(t.Zone.Records) {
		return fmt.Errorf("the zone has %d records, a new one has %d", len(records), len(t.Zone.Records))
	}
	return nil
}

// Sweep removes the state folders of dead world processes. What was composed is never touched: it is nobody's to sweep.
func (r *Composed) Sweep(ctx context.Context) ([]string, error) { return r.host.Sweep(ctx) }

// setOf are the images of a composed world, for the containers that take the place of its own.
func setOf(f compose.Found) images.Set {
	users := map[string]string{}
	for _, c := range containers.Specs(f.Plan, f.Options()) {
		users[c.Image] = f.Containers[c.Name].User
	}
	set := images.Set{}
	for _, i := range f.Images {
		set[i.Name] = images.Resolved{Image: i, User: users[i.Name]}
	}
	return set
}

// usedFile says inside the name server's container, which is never made anew, who took a composed world over.
const usedFile = "kirikae/taken-over"

// unused says whether nobody has taken the composed world over so far.
func unused(ctx context.Context, c *client.Client) error {
	var by bytes.Buffer
	err := readFile(ctx, c, containers.FullName(compose.World, containers.Names), "/"+usedFile, &by)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("it was drilled already, in %s; %s", strings.TrimSpace(by.String()), compose.Anew)
	}
	return fmt.Errorf("take over the composed world: %w: %w", topology.ErrEnvironment, err)
}

// markUsed remembers in a composed world who took it over.
func markUsed(ctx context.Context, c *client.Client, folder string) error {
	in, err := tarred(usedFile, folder+"\n", 0o644)
	if err == nil {
		_, err = c.CopyToContainer(ctx, containers.FullName(compose.World, containers.Names), client.CopyToContainerOptions{DestinationPath: "/", Content: in})
	}
	if err != nil {
		return fmt.Errorf("remember in the composed world that it is drilled: %w: %w", topology.ErrEnvironment, err)
	}
	return nil
}

// adopt begins to follow what runs. Nothing is made or started.
func (m *machines) adopt(ctx context.Context) error {
	var g errgroup.Group
	for _, c := range m.order {
		b := m.boxes[c.Name]
		b.isMade(nil)
		if c.Start && !c.OneShot {
			g.Go(func() error { return b.adopt(ctx) })
		}
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("take over the composed world: %w: %w", topology.ErrEnvironment, err)
	}
	m.ground.Say(fmt.Sprintf("docker: %d containers of %s are taken over", len(m.order), m.composed.Project))
	return nil
}

// successor is the container that takes the place of one that lost its data. In a composed world it is still compose's, and does
// not rest: its next start is an operator's.
func (m *machines) successor(c containers.Container) containers.Container {
	if m.composed == nil {
		return c
	}
	o := m.composed.Options()
	o.Composed = false
	for _, x := range containers.Specs(m.composed.Plan, o) {
		if x.Name == c.Name {
			c = x
		}
	}
	c.Labels = maps.Clone(c.Labels)
	maps.Copy(c.Labels, m.composed.Containers[c.Name].Labels)
	return c
}

var _ topology.Runtime = (*Composed)(nil)
