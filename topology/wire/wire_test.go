package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

func twoRegion(t *testing.T) topology.Topology {
	t.Helper()
	top, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// fenced is the same with a witness.
func fenced(t *testing.T) topology.Topology {
	top := twoRegion(t)
	top.Fence = topology.WitnessFence
	return top
}

// TestGuard: where a MySQL's parent finds the witness, and what it starts.
func TestGuard(t *testing.T) {
	p := plan.Layout(fenced(t), 9, plan.Private, false)
	n := p.Of("osaka", topology.MySQL)[0]
	want := "guard --site osaka --node osaka-mysql-1 --witness http://10.9.33.12:8080 --params http://10.9.32.31:8080 --socket /d/s --ready-file /d.ready --status /d.guard -- mysqld --x"
	if got := strings.Join(Guard(p, n, "/d/s", "/d.ready", "/d.guard", "mysqld", "--x"), " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if u := Witness(plan.Layout(twoRegion(t), 9, plan.Private, false), "osaka"); u != "" {
		t.Errorf("a witness at %s", u)
	}
}

// TestParameters: addresses are those inside the sites in every runtime, and the standby lacks what a switchover writes.
func TestParameters(t *testing.T) {
	c := &Console{Plan: plan.Layout(twoRegion(t), 9, plan.Private, false)}
	want := map[string]map[string]string{
		"tokyo": {
			payment.ParamMySQL: "10.9.16.21:3306", payment.ParamCassandra: "10.9.16.1:9042", payment.ParamDC: "tokyo", payment.ParamEpoch: "1",
			payment.ParamAcquirer: "http://10.9.17.11:8080", payment.ParamBatch: "true", payment.ParamClusterForm: "true", payment.ParamRelease: payment.Release,
		},
		"osaka": {payment.ParamAcquirer: "http://10.9.33.11:8080", payment.ParamBatch: "false", payment.ParamClusterForm: "false", payment.ParamRelease: payment.Release},
	}
	for site, values := range want {
		got := c.Parameters(topology.Site(site))
		for k, v := range values {
			if got[k] != v {
				t.Errorf("%s has %s=%q, want %q", site, k, got[k], v)
			}
		}
		if len(got) != len(values) {
			t.Errorf("%s has %v", site, got)
		}
	}
}

// TestRing: which addresses are dialled from where.
func TestRing(t *testing.T) {
	p := plan.Layout(twoRegion(t), 9, plan.Private, false)
	for _, c := range []struct {
		inside    bool
		contact   string
		translate map[string]string
	}{
		{true, "10.9.16.1:9042", nil},
		{false, "127.9.16.1:9042", map[string]string{"10.9.16.1:9042": "127.9.16.1:9042"}},
	} {
		s := (&Console{Plan: p, Inside: c.inside}).ring("tokyo")
		if s.DC != "tokyo" || !slices.Equal(s.Contact, []string{c.contact}) || fmt.Sprint(s.Translate) != fmt.Sprint(c.translate) {
			t.Errorf("inside %v: %+v", c.inside, s)
		}
	}
	l := plan.Layout(twoRegion(t), 9, plan.Loopback, false)
	if m := Translate(l.Nodes); m != nil {
		t.Errorf("one loopback: %v", m)
	}
	if m := Translate(p.Nodes); len(m) != len(p.Of("", topology.Cassandra)) {
		t.Errorf("all nodes: %v", m)
	}
}

// TestNodes: what a plan says of each kind of node.
func TestNodes(t *testing.T) {
	p := plan.Layout(fenced(t), 9, plan.Private, false)
	tokens, seeds := map[string]bool{}, []string{}
	for _, n := range p.Of("", topology.Cassandra) {
		o := CassandraNode(p, n, "w1")
		if o.Cluster != "kirikae-w1" || o.Listen != n.Host || o.Broadcast != n.Broadcast || o.DC != string(n.Site) || o.DataDir != "" {
			t.Errorf("%+v", o)
		}
		tokens[o.Token] = true
		seeds = append(seeds, n.Broadcast)
		if len(o.Seeds) != len(p.Of("", topology.Cassandra)) || !slices.Contains(o.Seeds, o.Broadcast) {
			t.Errorf("%s has seeds %v", n.Name, o.Seeds)
		}
	}
	if len(tokens) != len(seeds) {
		t.Errorf("tokens %v", tokens)
	}
	ids := map[uint32]bool{}
	for _, n := range p.Of("", topology.MySQL) {
		o := MySQLNode(p, n)
		if o.Address != n.Host || o.ReadOnly || ids[o.ServerID] {
			t.Errorf("%+v", o)
		}
		ids[o.ServerID] = true
	}
	const secret = "KIRIKAE_SECRET=s3"
	for name, want := range map[string]string{
		"tokyo-app-2":        secret + " online --params http://10.9.16.31:8080 --listen 10.9.16.42:8080 --site tokyo --node tokyo-app-2 --defect x",
		"osaka-batch-1":      secret + " batch --params http://10.9.32.31:8080 --listen 10.9.32.61:8080 --site osaka --node osaka-batch-1 --defect x",
		"tokyo-gateway-1":    " gateway --backends 10.9.16.41:8080,10.9.16.42:8080 --listen 10.9.16.51:8080 --site tokyo --node tokyo-gateway-1 --defect x",
		"osaka-params-1":     " params --file /f --listen 10.9.32.31:8080 --site osaka --node osaka-params-1 --defect x",
		"outside-acquirer-1": " acquirer --log /f --listen 10.9.0.11:8080 --site outside --node outside-acquirer-1 --defect x",
		"tokyo-reconcile-1":  secret + " reconcile --params http://10.9.16.31:8080 --listen 10.9.16.65:8080 --site tokyo --node tokyo-reconcile-1 --defect x",
		"outside-witness-1":  " witness --state /f --holder tokyo --listen 10.9.0.12:8080 --site outside --node outside-witness-1 --defect x",
		"outside-onprem-1":   " onprem --dns 10.9.0.53:5353 --name " + p.Topology.Zone.Records[0] + "." + p.Topology.Zone.Name + " --listen 10.9.0.71:8080 --site outside --node outside-onprem-1 --defect x",
	} {
		n, err := p.Node(name)
		if err != nil {
			t.Fatal(err)
		}
		args, env := Paymentd(p, n, "s3", "/f", "--defect", "x")
		if got := strings.Join(env, " ") + " " + strings.Join(args, " "); got != want {
			t.Errorf("%s:\n%s, want\n%s", name, got, want)
		}
	}
}

// store is a region's parameter store; it refuses its first writes.
type store struct {
	mu      sync.Mutex
	refuse  int
	forgets string // a name that it drops
	values  map[string]string
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	var q struct {
		Values map[string]string `json:"values"`
	}
	if r.Method != http.MethodPut || r.URL.Path != "/params" || json.NewDecoder(r.Body).Decode(&q) != nil {
		http.Error(w, "what?", http.StatusBadRequest)
		return
	}
	if s.values == nil {
		s.values = map[string]string{}
	}
	for k, v := range q.Values {
		if k != s.forgets {
			s.values[k] = v
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"version": 1, "values": s.values})
}

// serve answers at an address that the kernel gives, for as long as the test runs.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.251.11.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

// platform is a plan whose HTTP nodes and gateways' doors answer somewhere, inside or at their reach.
func platform(t *testing.T, inside bool, handler func(what string) http.Handler) *Console {
	c := &Console{Plan: plan.Layout(twoRegion(t), 9, plan.Private, false), Inside: inside}
	for i := range c.Plan.Nodes {
		n := &c.Plan.Nodes[i]
		h := handler(n.Name)
		if h == nil {
			continue
		}
		of := n.Reach
		if inside {
			of = n.Endpoints
		}
		of[topology.ServiceHTTP] = serve(t, h)
	}
	for i := range c.Plan.Routes {
		r := &c.Plan.Routes[i]
		h := handler("door of " + r.Node)
		if h == nil || r.From != topology.Outside {
			continue
		}
		if inside {
			r.Door = serve(t, h)
		} else {
			r.Reach = serve(t, h)
		}
	}
	return c
}

func ok(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, "words") })
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestServices: parameters, acquirer, application and the end of forming, from both places.
func TestServices(t *testing.T) {
	for _, inside := range []bool{false, true} {
		stores := map[string]*store{"tokyo-params-1": {refuse: 3}, "osaka-params-1": {}}
		c := platform(t, inside, func(what string) http.Handler {
			switch {
			case stores[what] != nil:
				return stores[what]
			case strings.Contains(what, "acquirer"):
				return ok(http.StatusNotFound)
			case strings.HasPrefix(what, "tokyo-app"), what == "door of tokyo-gateway-1":
				return ok(http.StatusOK)
			}
			return nil
		})
		var said []string
		watched := map[string]bool{}
		c.Say = func(s string) { said = append(said, s) }
		c.Watch = func(ctx context.Context, nodes []plan.Node, f func(context.Context) error) error {
			for _, n := range nodes {
				watched[n.Name] = true
			}
			return f(ctx)
		}
		ctx := within(t, 60*time.Second)
		for _, step := range []func(context.Context) error{c.Params, c.Acquirer, c.App} {
			if err := step(ctx); err != nil {
				t.Fatalf("inside %v: %v", inside, err)
			}
		}
		if v := stores["tokyo-params-1"].values[payment.ParamClusterForm]; v != "true" {
			t.Errorf("while it is formed: %q", v)
		}
		if err := c.Formed(ctx); err != nil {
			t.Fatal(err)
		}
		if v := stores["tokyo-params-1"].values; v[payment.ParamClusterForm] != "false" || v[payment.ParamEpoch] != "1" {
			t.Errorf("formed: %v", v)
		}
		if v := stores["osaka-params-1"].values; len(v) != 7 || v[payment.ParamBootstrap] != "true" || v[payment.ParamReplace] != "true" || v[payment.ParamSeeds] != "10.9.34.1" {
			t.Errorf("osaka: %v", v)
		}
		for _, n := range []string{"tokyo-params-1", "osaka-params-1", "outside-acquirer-1", "tokyo-app-1", "tokyo-app-2", "tokyo-gateway-1"} {
			if !watched[n] {
				t.Errorf("nobody watched %s", n)
			}
		}
		if text := strings.Join(said, "; "); text != "parameter stores: ready; acquirer: ready; application: 2 nodes of tokyo serve" {
			t.Errorf("said %q", text)
		}
	}
}

// TestServicesFail: what is not there ends the wait with its context, and the error says what was seen.
func TestServicesFail(t *testing.T) {
	var enough func() // ends the wait once the third attempt has come
	often := func(h http.Handler) http.Handler {
		var seen atomic.Int32
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if seen.Add(1) == 3 {
				enough()
			}
			h.ServeHTTP(w, r)
		})
	}
	c := platform(t, false, func(what string) http.Handler {
		switch {
		case what == "tokyo-params-1":
			return often(&store{forgets: payment.ParamEpoch})
		case what == "osaka-params-1":
			return &store{}
		case strings.HasPrefix(what, "tokyo-app"):
			return ok(http.StatusOK)
		case what == "door of tokyo-gateway-1":
			return often(ok(http.StatusBadGateway))
		case strings.Contains(what, "acquirer"):
			return often(ok(http.StatusTeapot))
		}
		return nil
	})
	for _, f := range []struct {
		do   func(context.Context) error
		want []string
	}{
		{c.Params, []string{"tokyo-params-1 holds the parameters of tokyo", payment.ParamEpoch + ` is "", written was "1"`}},
		{c.Acquirer, []string{"/charges/none answers", "418 I'm a teapot: words"}},
		{c.App, []string{"/healthz answers", "502 Bad Gateway: words"}},
	} {
		ctx, cancel := context.WithCancel(within(t, 60*time.Second))
		enough = cancel
		err := f.do(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		for _, want := range f.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error lacks %q: %v", want, err)
			}
		}
	}
	died := errors.New("tokyo-app-1 died")
	c.Watch = func(context.Context, []plan.Node, func(context.Context) error) error { return died }
	for _, f := range []func(context.Context) error{c.Cassandra, c.MySQL, c.Params, c.Acquirer, c.App, c.Formed} {
		if err := f(t.Context()); err != died {
			t.Errorf("a node died: %v", err)
		}
	}
}

// TestStoresFail: nobody listens at the stores: the waits are bounded by their context.
func TestStoresFail(t *testing.T) {
	c := &Console{Plan: plan.Layout(twoRegion(t), 254, plan.Loopback, false), Secret: "x"}
	for _, f := range []func(context.Context) error{c.Cassandra, c.MySQL} {
		if err := f(within(t, 300*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "last seen") {
			t.Errorf("%v", err)
		}
	}
	if err := (&Console{Confirm: func(engine, version string) error { return errors.New(engine + version) }}).confirm("mysql", "1"); err == nil || err.Error() != "mysql1" {
		t.Errorf("%v", err)
	}
}

func TestUntil(t *testing.T) {
	tries := 0
	err := Until(t.Context(), "it is so", func(context.Context) error {
		if tries++; tries < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("%d tries, %v", tries, err)
	}
	seen := errors.New("seen last")
	ctx := within(t, 20*time.Millisecond)
	err = Until(ctx, "it is so", func(try context.Context) error {
		if tries++; tries > 4 && ctx.Err() != nil {
			return try.Err()
		}
		return seen
	})
	if !errors.Is(err, seen) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "wait until it is so") {
		t.Errorf("%v", err)
	}
}
