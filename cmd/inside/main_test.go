package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kirikae/kirikae/payment/spawn"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/inside"
	"github.com/kirikae/kirikae/topology/plan"
)

// recorder is a program that does nothing but remember what it was asked for.
type recorder struct {
	wan       []inside.WAN
	names     []inside.Names
	pods      []inside.Pod
	cassandra []inside.Cassandra
	mysql     []inside.MySQL
	healthy   []string
	dialled   []string
	wired     []inside.Wire
	rested    []string
	emptied   []string
	err       error // what every part returns
}

func (r *recorder) program() program {
	return program{
		wan:       func(_ context.Context, w inside.WAN) error { r.wan = append(r.wan, w); return r.err },
		names:     func(_ context.Context, n inside.Names) error { r.names = append(r.names, n); return r.err },
		pod:       func(_ context.Context, p inside.Pod) error { r.pods = append(r.pods, p); return r.err },
		cassandra: func(_ context.Context, c inside.Cassandra) error { r.cassandra = append(r.cassandra, c); return r.err },
		mysql:     func(_ context.Context, m inside.MySQL) error { r.mysql = append(r.mysql, m); return r.err },
		healthy: func(_ context.Context, what, where string) error {
			r.healthy = append(r.healthy, what+" "+where)
			return r.err
		},
		dial: func(_ context.Context, a []string, _ inside.DialOptions) error {
			r.dialled = append(r.dialled, a...)
			return r.err
		},
		boot:  func() error { return r.err },
		wire:  func(_ context.Context, w inside.Wire) error { r.wired = append(r.wired, w); return r.err },
		empty: func(f []string) error { r.emptied = append(r.emptied, f...); return r.err },
		rest: func(marker string, argv []string) error {
			r.rested = append(r.rested, marker+" "+strings.Join(argv, " "))
			return r.err
		},
	}
}

// TestContainers: what the containers of a world are started with, and asked for by their health checks, is what this program
// takes, and means what the plan says.
func TestContainers(t *testing.T) {
	for _, name := range []string{"two-region", "six-nodes"} {
		for _, bypass := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s bypass %v", name, bypass), func(t *testing.T) {
				top, err := topology.Load("../../fixtures/topologies/" + name + ".yaml")
				if err != nil {
					t.Fatal(err)
				}
				check(t, plan.Layout(top, 9, plan.Private, bypass), bypass)
			})
		}
	}
}

func check(t *testing.T, p plan.Plan, bypass bool) {
	var r recorder
	take := func(args []string) {
		t.Helper()
		var out bytes.Buffer
		if code := run(t.Context(), r.program(), args, &out, &out); code != 0 {
			t.Errorf("%q: exit %d: %s", args, code, out.String())
		}
	}
	for _, c := range containers.Specs(p, containers.Options{ID: "w1a2b3", Secret: "s3cret", Composed: true}) {
		if len(c.Entrypoint) > 0 && c.Entrypoint[0] == containers.Inside {
			take(append(c.Entrypoint[1:], c.Args...))
		}
		if c.Health != nil && c.Health.Test[0] == containers.Inside {
			take(c.Health.Test[1:])
		}
	}
	if t.Failed() {
		return
	}
	nodes := len(p.Of("", topology.Cassandra))
	if len(r.wan) != 1 || len(r.names) != 1 || len(r.pods) != nodes || len(r.cassandra) != nodes || len(r.mysql) != 2 || len(r.wired) != 1 || len(r.healthy) < 10 {
		t.Fatalf("%+v", r)
	}
	w := r.wan[0]
	if len(w.Doors) != len(p.Routes) || len(w.Links) != len(p.Topology.Links) || w.Bypass != bypass || len(w.Only) == 0 {
		t.Errorf("%+v", w)
	}
	for i, d := range w.Doors {
		want := p.Routes[i]
		want.Reach = want.Door // inside there is no other
		if d.Route != want || d.Tap == 0 {
			t.Errorf("door %+v, want %+v", d, want)
		}
	}
	for i, l := range w.Links {
		if l != p.Topology.Links[i] {
			t.Errorf("link %+v, want %+v", l, p.Topology.Links[i])
		}
	}
	n := r.names[0]
	if n.At != p.Topology.Active() || n.Nodes.Address != p.Names(true) || len(n.Nodes.Entry) != 2 || len(n.Reach.Entry) != 2 || n.API == "" ||
		n.Nodes.Entry["tokyo"] != netip.MustParseAddr("10.9.2.51") || n.Reach.Entry["osaka"] != netip.MustParseAddr("127.9.3.51") {
		t.Errorf("%+v", n)
	}
	for i, x := range p.Of("", topology.Cassandra) {
		c, pod := r.cassandra[i].Node, r.pods[i]
		if c.Listen != x.Host || c.Broadcast != x.Broadcast || c.DC != string(x.Site) || len(c.Seeds) != nodes || c.Cluster != "kirikae-w1a2b3" || c.Token == "" {
			t.Errorf("%+v, want %+v", c, x)
		}
		if len(pod.Addresses) != 1 || pod.Addresses[0].String() != x.Broadcast+"/32" || len(pod.Routes) != len(p.Of(x.Site, topology.Cassandra))-1 {
			t.Errorf("%+v, want %+v", pod, x)
		}
	}
	for i, x := range p.Of("", topology.MySQL) {
		if m := r.mysql[i]; m.Node.Address != x.Host || m.Node.ServerID == 0 || m.Node.ServerID == r.mysql[1-i].Node.ServerID || m.Install != inside.InstallFile {
			t.Errorf("%+v, want %+v", m, x)
		}
	}
	for _, x := range r.rested {
		if !strings.Contains(x, " /paymentd ") || !strings.HasPrefix(x, "/") {
			t.Errorf("rests: %s", x)
		}
	}
	if len(r.rested) != len(p.Of(p.Topology.Standby(), topology.App))+len(p.Of("", topology.Reconciler))+1 {
		t.Errorf("%d containers rest", len(r.rested))
	}
	if r.wired[0].Octet != 9 || r.wired[0].Topology.Name != p.Topology.Name || r.wired[0].Within <= 0 {
		t.Errorf("%+v", r.wired[0])
	}
}

// TestKeeper: volumes in memory are kept by one container, which does nothing until it is told to end, and empties what it is told to.
func TestKeeper(t *testing.T) {
	top, err := topology.Load("../../fixtures/topologies/two-region.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, o := plan.Layout(top, 9, plan.Private, false), containers.Options{ID: "w1a2b3"}
	if k, ok := containers.Keeper(o, containers.Specs(p, o)); ok {
		t.Errorf("a world on disk has %+v", k)
	}
	o.Volumes = topology.VolumesMemory
	k, ok := containers.Keeper(o, containers.Specs(p, o))
	if !ok || len(k.Volumes) != 4 || k.Pod != "" || len(k.Networks) != 0 || !k.Offline || k.Labels[containers.LabelWorld] != "w1a2b3" {
		t.Fatalf("%+v", k)
	}
	var r recorder
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if code := run(ctx, r.program(), append(k.Entrypoint[1:], k.Args...), &out, &out); code != 0 || ctx.Err() == nil {
		t.Errorf("it keeps until it is told to end: exit %d: %s", code, out.String())
	}
	for _, v := range k.Volumes {
		if !v.Memory || v.Of == "" || v.Path != containers.Kept(v.Of, v) {
			t.Errorf("%+v", v)
		}
		if code := run(t.Context(), r.program(), []string{"empty", v.Path}, &out, &out); code != 0 {
			t.Errorf("exit %d: %s", code, out.String())
		}
	}
	if len(r.emptied) != 4 {
		t.Errorf("emptied: %v", r.emptied)
	}
}

const (
	aDoor   = "a>b/mysql,n,10.1.1.1:1,10.1.1.1:1,10.2.2.2:1,1"
	aLink   = "a>b/mysql=1ms"
	theLink = "b>a/mysql=1ms"
)

func TestUsage(t *testing.T) {
	names := []string{"names", "--zone", "k.test.", "--ttl", "2s", "--record", "pay", "--at", "tokyo", "--listen", "10.9.0.53:5353", "--entry", "tokyo=10.9.2.51"}
	cassandra := []string{"cassandra", "--listen", "10.9.16.1", "--broadcast", "10.9.34.1", "--dc", "tokyo", "--token", "-92", "--cluster", "k", "--seed", "10.9.34.1"}
	mysql := []string{"mysql", "--address", "10.9.16.21", "--server-id", "101"}
	with := func(args []string, more ...string) []string { return append(args[:len(args):len(args)], more...) }
	for _, c := range []struct {
		args []string
		want string // "": it is taken
	}{
		{nil, "a part is needed"},
		{[]string{"wn"}, `unknown command "wn"`},
		{[]string{"wan", "--link", aLink, "--link", theLink, "--door", aDoor}, ""},
		{[]string{"wan", "--link", aLink, "--link", theLink, "--door", aDoor, "--only-from", "10.1.15.254", "--only-from", "127.0.0.1"}, ""},
		{[]string{"wan"}, "without a door"},
		{[]string{"wan", "--link", aLink, "--door", aDoor}, "b>a/mysql"},
		{[]string{"wan", "--link", aLink, "--link", theLink, "--door", aDoor, "--bypass"}, "bypass true"},
		{[]string{"wan", "--link", aLink, "--link", theLink, "--door", aDoor, "--only-from", "gateway"}, "--only-from"},
		{[]string{"wan", "--link", aLink, "--link", theLink, "--door", aDoor, "--api", "8474"}, "--api"},
		{[]string{"wan", "--link", "a>b"}, "DELAY was expected"},
		{[]string{"wan", "--door", "x"}, "1 parts"},
		{[]string{"wan", "more"}, "more"},
		{names, ""},
		{with(names, "--reach-listen", "0.0.0.0:5354", "--reach-entry", "tokyo=127.9.2.51", "--api", "0.0.0.0:8081"), ""},
		{with(names, "--zone", "k.test"), "final dot"},
		{with(names, "--ttl", "0s"), "--ttl"},
		{with(names, "--at", "osaka"), "no entry"},
		{with(names, "--entry", "osaka"), "SITE=ADDRESS"},
		{with(names, "--reach-entry", "tokyo=127.9.2.51"), "--reach-listen"},
		{with(names, "--reach-listen", "0.0.0.0:5354"), "no entry"},
		{with(names, "--api", "8081"), "--api"},
		{[]string{"names"}, "--listen"},
		{[]string{"net", "--address", "10.9.34.1/32", "--route", "10.9.34.2/32=10.9.16.2"}, ""},
		{[]string{"net", "--address", "10.9.34.1"}, "--address"},
		{[]string{"net", "--route", "10.9.34.2"}, "IDENTITY/32=ADDRESS"},
		{cassandra, ""},
		{with(cassandra, "--listen", "node"), "--listen"},
		{with(cassandra, "--dc", ""), "--dc is needed"},
		{with(cassandra, "--seed", "node"), "--seed"},
		{with(cassandra, "--data", "data"), "absolute path"},
		{[]string{"cassandra", "--dc", "t", "--token", "1", "--cluster", "c", "--listen", "10.9.16.1", "--broadcast", "10.9.34.1"}, "--seed is needed"},
		{mysql, ""},
		{with(mysql, "--server-id", "0"), "--server-id"},
		{with(mysql, "--address", "node"), "--address"},
		{with(mysql, "--data", "data"), "absolute path"},
		{[]string{"healthy", "http", "http://127.0.0.1/"}, ""},
		{[]string{"healthy", "htt", "x"}, `did you mean "http"`},
		{[]string{"healthy", "http"}, "accepts 2 arg"},
		{[]string{"dial", "10.9.16.1:7000", "10.9.32.1:7000"}, ""},
		{[]string{"dial"}, "at least 1 arg"},
		{[]string{"dial", "10.9.16.1"}, "host:port"},
		{[]string{"boot"}, ""},
		{[]string{"boot", "again"}, "again"},
		{[]string{"wire", "--topology", "two-region", "--octet", "9"}, ""},
		{[]string{"wire", "--topology", "two-region"}, "--octet"},
		{[]string{"rest", "--marker", "/data/rested", "--", "/paymentd", "online", "--listen", "x"}, ""},
		{[]string{"rest", "--", "/paymentd"}, "--marker is needed"},
		{[]string{"rest", "--marker", "/data/rested"}, "at least 1 arg"},
		{[]string{"wire", "--topology", "two", "--octet", "9"}, "unknown topology"},
	} {
		var out bytes.Buffer
		var r recorder
		code := run(t.Context(), r.program(), c.args, &out, &out)
		if want := map[bool]int{true: 0, false: exitUsage}[c.want == ""]; code != want || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: exit %d, %s, want %d, %q", c.args, code, out.String(), want, c.want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("x"), exitFailed}, {fmt.Errorf("x: %w", topology.ErrEnvironment), exitEnvironment},
		{errors.Join(errors.New("x"), spawn.ExitStatus(137)), 137}, {spawn.ExitStatus(16), 16},
	} {
		var out bytes.Buffer
		r := recorder{err: c.err}
		if code := run(t.Context(), r.program(), []string{"mysql", "--address", "10.9.16.21", "--server-id", "1"}, &out, &out); code != c.want {
			t.Errorf("%v: exit %d, want %d", c.err, code, c.want)
		}
	}
	var out bytes.Buffer
	r := recorder{err: fmt.Errorf("one\n  two: %w", topology.ErrEnvironment)}
	if code := run(t.Context(), r.program(), []string{"healthy", "http", "x"}, &out, &out); code != exitFailed || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("healthy: exit %d, %q", code, out.String())
	}
}

// TestOutput: what was asked for goes to standard output, a line each.
func TestOutput(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"boot"}, "-"},
		{[]string{"dial", "127.253.9.9:9", "127.253.9.9:10"}, `{"address":"127.253.9.9:10","result":"refused","error":"dial tcp 127.253.9.9:10: connect: connection refused"}` + "\n"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), parts(&stdout, &stderr), c.args, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), c.want) || stderr.Len() != 0 {
			t.Errorf("%q: exit %d, %q, %q", c.args, code, stdout.String(), stderr.String())
		}
		if got := strings.Count(stdout.String(), "\n"); got != max(1, len(c.args)-1) {
			t.Errorf("%q: %d lines", c.args, got)
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, parts(&stdout, &stderr), []string{"healthy", "http", "http://127.253.9.9:9/"}, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "not healthy") {
		t.Errorf("exit %d, %q, %q", code, stdout.String(), stderr.String())
	}
}
