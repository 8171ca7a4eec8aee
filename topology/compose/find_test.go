package compose

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
)

// fake is an engine that has a composed world.
type fake struct {
	all    []*container.InspectResponse
	listed error
	asked  string // the filter
}

func (f *fake) ContainerList(_ context.Context, o client.ContainerListOptions) (client.ContainerListResult, error) {
	for v := range o.Filters["label"] {
		f.asked = v
	}
	var r client.ContainerListResult
	for _, c := range f.all {
		s := container.Summary{ID: c.ID, Labels: map[string]string{}}
		if c.Config != nil {
			s.Labels = c.Config.Labels
		}
		r.Items = append(r.Items, s)
	}
	return r, f.listed
}

func (f *fake) ContainerInspect(_ context.Context, id string, _ client.ContainerInspectOptions) (client.ContainerInspectResult, error) {
	for _, c := range f.all {
		if c.ID == id {
			return client.ContainerInspectResult{Container: *c}, nil
		}
	}
	return client.ContainerInspectResult{}, errors.New("no such container")
}

// composed is an engine after `docker-compose up`.
func composed(t testing.TB, secret string) *fake {
	f := &fake{}
	for _, c := range containers.Specs(Layout(twoRegion(t)), options(secret)) {
		labels := map[string]string{"com.docker.compose.project": "kirikae", "com.docker.compose.service": c.Name, "com.docker.compose.oneoff": "False"}
		for k, v := range c.Labels {
			labels[k] = v
		}
		var env []string
		for k, v := range c.Env {
			env = append(env, k+"="+v)
		}
		networks := map[string]*network.EndpointSettings{}
		for _, a := range c.Networks {
			networks[containers.NetworkName(World, a.Site)] = &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr(a.IP)}}
		}
		state := &container.State{Status: container.StateRunning}
		if c.OneShot || !c.Start {
			state.Status = container.StateExited
		}
		f.all = append(f.all, &container.InspectResponse{
			ID: "id-" + c.Name, Image: "sha256:" + c.Image, State: state, NetworkSettings: &container.NetworkSettings{Networks: networks},
			Config: &container.Config{Entrypoint: c.Entrypoint, Cmd: c.Args, Env: append(env, "PATH=/bin"), Labels: labels, Image: "kirikae/" + c.Image + ":built"},
		})
	}
	return f
}

func (f *fake) get(name string) *container.InspectResponse {
	for _, c := range f.all {
		if c.ID == "id-"+name {
			return c
		}
	}
	return nil
}

func TestFind(t *testing.T) {
	e := composed(t, "from the environment")
	run := *e.get("tokyo-mysql-1") // of `docker-compose run`
	run.ID, run.Config = "id-run", &container.Config{Labels: map[string]string{containers.LabelNode: "tokyo-mysql-1", "com.docker.compose.oneoff": "True"}}
	e.all = append(e.all, &run)
	f, err := Find(context.Background(), e, twoRegion(t))
	if err != nil {
		t.Fatal(err)
	}
	if e.asked != "kirikae.world=compose" {
		t.Errorf("asked for %q", e.asked)
	}
	if f.Secret != "from the environment" || f.Project != "kirikae" || f.Plan.Octet != Octet || len(f.Containers) != len(e.all)-1 {
		t.Errorf("secret %q, project %q, octet %d, %d containers", f.Secret, f.Project, f.Plan.Octet, len(f.Containers))
	}
	if c := f.Containers["tokyo-mysql-1"]; c.ID != "id-tokyo-mysql-1" || c.Labels["com.docker.compose.service"] != "tokyo-mysql-1" || c.Labels[containers.LabelWorld] != "" {
		t.Errorf("%+v", c)
	}
	if len(f.Images) != 4 || f.Images[1] != (topology.Image{Name: "mysql", Reference: "kirikae/mysql:built", ID: "sha256:mysql", Source: "built"}) {
		t.Errorf("%+v", f.Images)
	}
}

func TestFindRefuses(t *testing.T) {
	status := func(name string, s container.ContainerState, code int) func(*fake) {
		return func(f *fake) { f.get(name).State = &container.State{Status: s, ExitCode: code} }
	}
	for _, c := range []struct {
		want string
		do   func(f *fake)
	}{
		{"there is none: docker-compose up -d", func(f *fake) { f.all = nil }},
		{"the engine is gone", func(f *fake) { f.listed = errors.New("the engine is gone") }},
		{"tokyo-app-2 is missing; make it anew", func(f *fake) { f.get("tokyo-app-2").Config.Labels[containers.LabelNode] = "" }},
		{"there are two containers tokyo-mysql-1", func(f *fake) { f.all = append(f.all, f.get("tokyo-mysql-1")) }},
		{"wire has not ended yet", status("wire", container.StateRunning, 0)},
		{"wire is exited with 4, should have ended with 0", status("wire", container.StateExited, 4)},
		{"wire is created with 0, should have ended with 0", status("wire", container.StateCreated, 0)},
		{"osaka-app-1 is running with 0, should rest", status("osaka-app-1", container.StateRunning, 0)},
		{"tokyo-mysql-1 is exited, should run", status("tokyo-mysql-1", container.StateExited, 0)},
		{"tokyo-mysql-1 is paused, should run", status("tokyo-mysql-1", container.StatePaused, 0)},
		{"tokyo-mysql-1 has other arguments", func(f *fake) { f.get("tokyo-mysql-1").Config.Cmd = []string{"mysql", "--address", "10.1.16.22"} }},
		{"wan has other arguments", func(f *fake) { f.get("wan").Config.Entrypoint = nil }},
		{"tokyo-app-1 has other environment", func(f *fake) { f.get("tokyo-app-1").Config.Env = []string{"KIRIKAE_SECRET=y"} }},
		{"tokyo-params-1 has other networks", func(f *fake) {
			f.get("tokyo-params-1").NetworkSettings.Networks["bridge"] = &network.EndpointSettings{}
		}},
		{"tokyo-params-1 has other networks", func(f *fake) {
			f.get("tokyo-params-1").NetworkSettings.Networks["kirikae-compose-tokyo"].IPAMConfig = nil
		}},
		{"wan is exited, should run; names is exited, should run", func(f *fake) {
			status("wan", container.StateExited, 1)(f)
			status("names", container.StateExited, 1)(f)
		}},
	} {
		e := composed(t, "x")
		c.do(e)
		_, err := Find(context.Background(), e, twoRegion(t))
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, topology.ErrEnvironment) {
			t.Errorf("no %q in %v", c.want, err)
		}
	}
}
