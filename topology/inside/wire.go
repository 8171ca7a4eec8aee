package inside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wire"
)

// Wire makes the started servers of a composed world one platform: what a world process does in a world of its own.
type Wire struct {
	Topology topology.Topology
	Octet    int
	Secret   string        // password of the world's database users
	Within   time.Duration // how long it may take
}

// FindTopology finds a topology that ships with the program, by the name that it gives itself.
func FindTopology(files fs.FS, name string) (topology.Topology, error) {
	all, err := fs.Glob(files, "topologies/*.yaml")
	if err != nil {
		return topology.Topology{}, fmt.Errorf("list topologies: %w", err)
	}
	var known []string
	for _, f := range all {
		b, err := fs.ReadFile(files, f)
		if err != nil {
			return topology.Topology{}, fmt.Errorf("read topology: %w", err)
		}
		t, err := topology.Parse(path.Base(f), b)
		if err != nil {
			return topology.Topology{}, err
		}
		if t.Name == name {
			return t, nil
		}
		known = append(known, t.Name)
	}
	return topology.Topology{}, topology.Unknown("topology", name, known)
}

// RunWire wires and returns when a customer in the outside could be served, or when ctx ends. It stands in the sites' networks.
// A platform that was wired once is left alone: since then somebody may have switched it over.
func RunWire(ctx context.Context, w Wire, say Say) error {
	if w.Secret == "" {
		return fmt.Errorf("wire: %s is empty, the users' password was expected", SecretVariable)
	}
	asked := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, w.Within, fmt.Errorf("not within %s", w.Within))
	defer cancel()
	c := &wire.Console{Plan: plan.Layout(w.Topology, w.Octet, plan.Private, false), Secret: w.Secret, Inside: true, Say: say}
	err := w.wire(ctx, c, say)
	if asked.Err() != nil {
		return errors.Join(errors.New("stopped before the platform was wired"), err) // whoever needs it must not go on
	}
	return err
}

func (w Wire) wire(ctx context.Context, c *wire.Console, say Say) error {
	var stores []string
	for _, n := range c.Plan.Of("", topology.Params) {
		stores = append(stores, "http://"+n.Endpoints[topology.ServiceHTTP]+"/params")
	}
	done, err := wired(ctx, stores)
	if err != nil {
		return err
	}
	if done {
		say.f("the platform was wired before: nothing to do")
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{c.Cassandra, c.MySQL, c.Params, c.Acquirer, c.Witness} {
		g.Go(func() error { return part(gctx) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := c.App(ctx); err != nil {
		return err
	}
	return c.Formed(ctx)
}

// wired says whether a platform has been wired to the end, by its parameter stores' URLs: since the last step one region has an
// epoch and keeps its cluster.
func wired(ctx context.Context, stores []string) (bool, error) {
	for _, url := range stores {
		var values map[string]string
		err := wire.Until(ctx, url+" shows its parameters", func(ctx context.Context) (err error) {
			values, err = parameters(ctx, url)
			return err
		})
		if err != nil {
			return false, err
		}
		if values[payment.ParamEpoch] != "" && values[payment.ParamClusterForm] == "false" {
			return true, nil
		}
	}
	return false, nil
}

func parameters(ctx context.Context, url string) (map[string]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	var v payment.Values
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&v); err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	return v.Values, nil
}
