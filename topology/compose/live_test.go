package compose_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/compose"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/docker"
	"github.com/kirikae/kirikae/topology/engine"
	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/livetest"
	"github.com/kirikae/kirikae/topology/topologytest"
	"github.com/kirikae/kirikae/topology/wire"
)

func host() topologytest.Host {
	return topologytest.Host{
		Runtime:  func(string) (topology.Runtime, error) { return docker.NewComposed(docker.Config{}) },
		Serve:    hosted.Serve,
		Topology: "../../fixtures/topologies/two-region.yaml",
		Limits:   topologytest.Limits{Up: 3 * time.Minute, Down: time.Minute},
	}
}

func TestMain(m *testing.M) { topologytest.Main(m, host()) }

// composer is how compose is called on this machine.
func composer(t *testing.T) []string {
	t.Helper()
	if path, err := exec.LookPath("docker-compose"); err == nil {
		return []string{path}
	}
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	t.Fatal("neither docker-compose nor docker compose is there (Debian: apt-get install docker-compose)")
	return nil
}

// TestNightlyComposedWorld: what the file of the repository says comes up, serves, is found, and leaves nothing.
func TestNightlyComposedWorld(t *testing.T) {
	livetest.Engine(t)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	e, err := engine.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Client.Close()
	top, err := topology.Load(host().Topology)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := compose.Find(ctx, e.Client, top); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Fatalf("a composed world is there already, which is not this test's: %v", err)
	}
	command := composer(t)
	composeIt := func(ctx context.Context, args ...string) error {
		all := append(command[1:len(command):len(command)], append([]string{"-p", "kirikae", "-f", "../../" + compose.File}, args...)...)
		var out bytes.Buffer
		c := exec.CommandContext(ctx, command[0], all...)
		c.Stdout, c.Stderr = &out, &out
		if err := c.Run(); err != nil {
			return errors.Join(err, errors.New(out.String()))
		}
		return nil
	}
	call := func(args ...string) error { return composeIt(ctx, args...) }
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := composeIt(ctx, "down", "-v"); err != nil {
			t.Errorf("end the composed world: %v", err)
		}
		nothingLeft(ctx, t, e)
	}()
	began := time.Now()
	if err := call("up", "-d"); err != nil {
		t.Fatal(err)
	}
	up := time.Since(began)
	var f compose.Found
	err = wire.Until(ctx, "the composed world is wired", func(ctx context.Context) (err error) {
		f, err = compose.Find(ctx, e.Client, top)
		if err != nil && !strings.Contains(err.Error(), "has not ended yet") && !strings.Contains(err.Error(), "should rest") {
			t.Fatal(err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: up returned after %s, wired after %s; images %v", strings.Join(command, " "), up.Round(time.Second), time.Since(began).Round(time.Second), f.Images)

	drive(ctx, t, top, f, e)

	// A second start, an operator's, is a real one. Its parameters are incomplete, so that it does not become ready.
	if err := call("start", "osaka-app-1"); err != nil {
		t.Error(err)
	}
	if _, err := compose.Find(ctx, e.Client, top); err == nil || !strings.Contains(err.Error(), "osaka-app-1 is running") {
		t.Errorf("after its second start: %v", err)
	}
}

// drive takes the world over in a process of its own and drives it from here; in the end it is there as before.
func drive(ctx context.Context, t *testing.T, top topology.Topology, f compose.Found, e *engine.Engine) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	owner := topologytest.Start(t, host(), "", nil)
	rt, err := docker.NewComposed(docker.Config{})
	check(err)
	defer rt.Close()
	w, err := rt.Attach(ctx, owner.Folder)
	check(err)
	defer w.Close()
	if a := w.About(); a.Runtime != compose.World || a.ID != compose.World || a.Secret != f.Secret || len(a.Images) != 4 || a.Engines["mysql"] == "" || a.Engines["cassandra"] == "" || a.Owner.PID != owner.PID() {
		t.Errorf("%+v", a)
	}

	// A second one that wants it.
	_, err = rt.Create(ctx, top, topology.Options{Folder: t.TempDir()})
	if err == nil || !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), fmt.Sprintf("belongs to world compose of process %d", owner.PID())) {
		t.Errorf("taken over twice: %v", err)
	}
	if swept, err := rt.Sweep(ctx); err != nil || len(swept) > 0 {
		t.Errorf("swept: %v, %v", swept, err)
	}

	entry, _ := f.Plan.Route(topology.Outside, "tokyo-gateway-1")
	q := new(dns.Msg)
	q.SetQuestion("pay."+top.Zone.Name, dns.TypeA)
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: 10 * time.Second}
		answer, _, err := c.ExchangeContext(ctx, q, w.Zone().Server())
		if err != nil || len(answer.Answer) != 1 || !strings.HasPrefix(entry.Reach, answer.Answer[0].(*dns.A).A.String()+":") {
			t.Fatalf("asked by %s: %v, %v; the entry is %s", network, answer, err, entry.Reach)
		}
	}
	check(pay(ctx, entry.Reach, "composed-1"))

	l, err := w.Link(topology.LinkID{From: topology.Outside, To: "tokyo", Service: topology.ServiceHTTP})
	check(err)
	check(l.SetFault(ctx, topology.Fault{Kind: topology.Cut}))
	if err := pay(ctx, entry.Reach, "composed-2"); err == nil {
		t.Error("paid through a link that is cut")
	}
	check(l.SetFault(ctx, topology.Fault{}))
	check(pay(ctx, entry.Reach, "composed-3"))

	is := func(n topology.Node, want topology.State) {
		t.Helper()
		if s, err := n.State(ctx); err != nil || s != want {
			t.Errorf("%s is %s (%v), want %s", n.Name(), s, err, want)
		}
	}
	node := func(name string) topology.Node {
		t.Helper()
		n, err := w.Node(name)
		check(err)
		return n
	}
	app, params, rests := node("tokyo-app-2"), node("osaka-params-1"), node("osaka-app-1")
	is(app, topology.Running)
	check(app.Kill(ctx))
	is(app, topology.Stopped)
	check(app.Start(ctx))
	is(app, topology.Running)
	check(app.Pause(ctx))
	is(app, topology.Paused)
	check(app.Resume(ctx))
	is(app, topology.Running)
	is(rests, topology.Stopped)
	check(rests.Start(ctx))
	is(rests, topology.Running)
	check(rests.Stop(ctx))
	is(rests, topology.Stopped)
	check(params.Stop(ctx))
	check(params.Wipe(ctx))
	check(params.Start(ctx))
	at, err := params.Reach(topology.ServiceHTTP)
	check(err)
	check(wire.Until(ctx, "a parameter store without its data answers", func(ctx context.Context) error {
		_, _, err := web(ctx, http.MethodGet, "http://"+at+"/params", "", "")
		return err
	}))
	log, err := os.ReadFile(filepath.Join(owner.Folder, "logs", "tokyo-app-2.log"))
	if err != nil || !strings.Contains(string(log), "taken over") || !strings.Contains(string(log), "ended as asked: killed") {
		t.Errorf("the log of tokyo-app-2: %v\n%s", err, log)
	}

	owner.Close(t, host())
	for _, c := range []string{"tokyo-mysql-1", "tokyo-cassandra-1", "wan", "names", "tokyo-app-2", "osaka-params-1"} {
		i, err := e.Client.ContainerInspect(ctx, containers.FullName(compose.World, c), client.ContainerInspectOptions{})
		if err != nil || i.Container.State == nil || !i.Container.State.Running {
			t.Errorf("%s does not run any more: %v", c, err)
		}
	}
	log, err = os.ReadFile(filepath.Join(owner.Folder, hosted.AcquirerFile))
	if err != nil || !strings.Contains(string(log), "composed-3") {
		t.Errorf("the acquirer's log: %v\n%s", err, log)
	}
	// Nothing that Find looks at is changed, but it was drilled.
	_, err = rt.Create(ctx, top, topology.Options{Folder: t.TempDir()})
	if err == nil || !errors.Is(err, topology.ErrEnvironment) || !strings.Contains(err.Error(), "drilled already, in "+owner.Folder+"; "+compose.Anew) {
		t.Errorf("taken over again: %v", err)
	}
	err = (&wire.Console{Plan: f.Plan, Secret: f.Secret}).Wired(ctx)
	if err == nil || !strings.Contains(err.Error(), "payments already") {
		t.Errorf("somebody paid: %v", err)
	}
}

// pay pays once through the public entry.
func pay(ctx context.Context, entry, key string) error {
	status, body, err := web(ctx, http.MethodPost, "http://"+entry+"/payments", key, `{"from":1,"to":2,"yen":100}`)
	if err == nil && (status != http.StatusOK || !strings.Contains(body, `"DONE"`)) {
		err = fmt.Errorf("payment %s: %d %s", key, status, body)
	}
	return err
}

func web(ctx context.Context, method, url, key, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("X-Payment-Key", key)
	req.Header.Set("Content-Type", "application/json")
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// nothingLeft looks for what `down -v` should have removed.
func nothingLeft(ctx context.Context, t *testing.T, e *engine.Engine) {
	t.Helper()
	of := make(client.Filters).Add("label", containers.LabelWorld+"="+compose.World)
	c, err := e.Client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: of})
	if err != nil || len(c.Items) > 0 {
		t.Errorf("%d containers are left: %v", len(c.Items), err)
	}
	v, err := e.Client.VolumeList(ctx, client.VolumeListOptions{Filters: of})
	if err != nil || len(v.Items) > 0 {
		t.Errorf("volumes are left: %v, %v", v.Items, err)
	}
	n, err := e.Client.NetworkList(ctx, client.NetworkListOptions{Filters: of})
	if err != nil || len(n.Items) > 0 {
		t.Errorf("networks are left: %v, %v", n.Items, err)
	}
}
