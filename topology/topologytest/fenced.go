package topologytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/livetest"
	"github.com/kirikae/kirikae/topology/mysql"
)

// RunFenced holds a runtime to what a topology's fence promises: a world of the same shape with a witness serves, who is cut off
// from the witness stops writing by itself and goes on when it is not, and a lost region's database gives its data without a lease.
func RunFenced(t *testing.T, h Host) {
	livetest.Servers(t)
	h.Topology = filepath.Join(filepath.Dir(h.Topology), "two-region-witness.yaml")
	c := &contract{h: h, limits: h.Limits.withDefaults(), paymentd: Paymentd(t)}
	var err error
	c.runtime, err = h.Runtime(c.paymentd)
	must(t, err)
	must(t, c.runtime.Check(t.Context()))
	c.owner = Start(t, h, c.paymentd, nil)
	c.World, err = c.runtime.Attach(t.Context(), c.owner.Folder)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	c.active, c.standby = c.Topology().Active(), c.Topology().Standby()
	for _, s := range []struct {
		name string
		test func(*testing.T)
	}{
		{"nodes", c.nodes},
		{"customers are served", c.served},
		{"lease", c.lease},
		{"cut off from the witness", c.unwitnessed},
		{"reconciler", c.reconciler},
		{"alone", c.alone},
	} {
		if !t.Run(s.name, s.test) {
			return // they build on one another
		}
	}
}

// lease: the active region holds it, and only its database takes writes.
func (c *contract) lease(t *testing.T) {
	at := reach(t, c.node(t, topology.Outside, topology.Witness), topology.ServiceHTTP)
	within(t, c.limits.Answer, "the witness names "+string(c.active), func(ctx context.Context) error {
		status, body, err := web(ctx, http.MethodGet, "http://"+at+"/lease", "", "")
		if err != nil {
			return err
		}
		var l struct {
			Holder string `json:"holder"`
			Node   string `json:"node"`
		}
		if err := json.Unmarshal([]byte(body), &l); err != nil || status != http.StatusOK {
			return fmt.Errorf("it answers %d: %s", status, body)
		}
		if l.Holder != string(c.active) || l.Node != c.node(t, c.active, topology.MySQL).Name() {
			return fmt.Errorf("it says %s", body)
		}
		return nil
	})
	for site, want := range map[topology.Site]bool{c.active: true, c.standby: false} {
		within(t, c.limits.Answer, fmt.Sprintf("%s takes writes: %t", site, want), c.writes(site, want))
	}
}

// writes says whether a region's database takes writes, or that it does not. One that has ended does not.
func (c *contract) writes(site topology.Site, want bool) func(context.Context) error {
	return func(ctx context.Context) error {
		n := c.Nodes(site, topology.MySQL)[0]
		if state, err := n.State(ctx); err != nil {
			return err
		} else if state == topology.Stopped {
			if !want {
				return nil
			}
			if err := n.Start(ctx); err != nil {
				return err
			}
		}
		at, err := n.Reach(topology.ServiceMySQL)
		if err != nil {
			return err
		}
		s, err := mysql.Open(at, mysql.UserOps, c.About().Secret, mysql.Options{Name: n.Name()})
		if err != nil {
			return err
		}
		defer s.Close()
		st, err := s.Status(ctx)
		if err == nil && st.SuperReadOnly == want {
			err = fmt.Errorf("super_read_only is %t", st.SuperReadOnly)
		}
		return err
	}
}

func (c *contract) unwitnessed(t *testing.T) {
	ways := []topology.Link{c.link(t, c.active, topology.Outside, topology.ServiceWitness), c.link(t, topology.Outside, c.active, topology.ServiceWitness)}
	for _, l := range ways {
		must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Cut}))
	}
	within(t, c.limits.Answer, "the region that is cut off takes no writes", c.writes(c.active, false))
	for _, l := range ways {
		must(t, l.SetFault(t.Context(), topology.Fault{}))
	}
	within(t, c.limits.Answer, "it takes writes again", c.writes(c.active, true))
	within(t, c.limits.Answer, "customers are served again", func(ctx context.Context) error { return pay(ctx, c.World, "fenced-1", c.limits) })
}

// reconciler: it rests until it is started, and then compares.
func (c *contract) reconciler(t *testing.T) {
	n := c.node(t, c.active, topology.Reconciler)
	must(t, n.Start(t.Context()))
	at := reach(t, n, topology.ServiceHTTP)
	within(t, c.limits.Answer, n.Name()+" has compared once", func(ctx context.Context) error {
		status, body, err := web(ctx, http.MethodGet, "http://"+at+"/status", "", "")
		if err != nil {
			return err
		}
		var s struct {
			Runs  int    `json:"runs"`
			Error string `json:"error"`
		}
		if err := json.Unmarshal([]byte(body), &s); err != nil || status != http.StatusOK {
			return fmt.Errorf("it answers %d: %s", status, body)
		}
		if s.Error != "" {
			return errors.New(s.Error)
		}
		if s.Runs == 0 {
			return fmt.Errorf("no run yet: %s", strings.TrimSpace(body))
		}
		return nil
	})
	must(t, n.Stop(t.Context()))
}
