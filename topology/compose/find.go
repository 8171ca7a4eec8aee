package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/containers"
	"github.com/kirikae/kirikae/topology/plan"
	"github.com/kirikae/kirikae/topology/wire"
)

// Engine is what Find asks of a Docker engine; *client.Client is one.
type Engine interface {
	ContainerList(ctx context.Context, o client.ContainerListOptions) (client.ContainerListResult, error)
	ContainerInspect(ctx context.Context, id string, o client.ContainerInspectOptions) (client.ContainerInspectResult, error)
}

// Found is a composed world that runs. Its containers have the names, networks, volumes and published ports that package
// containers says for Options{ID: World, Secret: Secret, Composed: true}.
type Found struct {
	Plan       plan.Plan
	Secret     string // password of the world's database users
	Project    string // compose's name for all of it
	Containers map[string]Adopted
	Images     []topology.Image // in the order of their names
}

// Options are what the containers of the world were made with.
func (f Found) Options() containers.Options { return options(f.Secret) }

// Adopted is one container of a composed world.
type Adopted struct {
	ID     string            // the engine's
	User   string            // uid:gid that its servers run as
	Labels map[string]string // compose's own: a container that takes its place needs them, else `docker-compose down` leaves it
}

// Anew is what to do about a world that cannot be taken over.
const Anew = "make it anew: docker-compose down -v && docker-compose up -d"

// errNone is that nothing of a composed world is there.
var errNone = errors.New("there is none: docker-compose up -d")

// There says whether there is a composed world, as it came up or not: nil, or an error that wraps topology.ErrEnvironment.
func There(ctx context.Context, e Engine) error {
	_, err := all(ctx, e)
	if err != nil {
		return fmt.Errorf("find the composed world: %w: %w", topology.ErrEnvironment, err)
	}
	return nil
}

// all are the containers of the composed world, at least one.
func all(ctx context.Context, e Engine) ([]container.Summary, error) {
	list, err := e.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", containers.LabelWorld+"="+World)})
	if err == nil && len(list.Items) == 0 {
		err = errNone
	}
	return list.Items, err
}

// Find finds the composed world of a topology, as it is after `docker-compose up`: wired, everything that runs in normal times
// running, the rest at rest. It changes nothing. Every error wraps topology.ErrEnvironment and says everything that is not so.
func Find(ctx context.Context, e Engine, t topology.Topology) (Found, error) {
	failed := func(err error) (Found, error) {
		return Found{}, fmt.Errorf("find the composed world of topology %s: %w: %w", t.Name, topology.ErrEnvironment, err)
	}
	list, err := all(ctx, e)
	if err != nil {
		return failed(err)
	}
	there := map[string]container.InspectResponse{}
	for _, c := range list {
		name := c.Labels[containers.LabelNode]
		if name == "" || c.Labels[oneOff] == "True" { // `docker-compose run`
			continue
		}
		got, err := e.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
		if err != nil {
			return failed(err)
		}
		if _, twice := there[name]; twice {
			return failed(fmt.Errorf("there are two containers %s", name))
		}
		there[name] = got.Container
	}
	f, wrong := adopt(Layout(t), there)
	if len(wrong) > 0 {
		return failed(fmt.Errorf("%s; %s", strings.Join(wrong, "; "), Anew))
	}
	return f, nil
}

// Labels of compose, in all its versions.
const (
	composePrefix = "com.docker.compose."
	projectLabel  = composePrefix + "project"
	oneOff        = composePrefix + "oneoff"
)

// adopt holds what is there against what a plan says, and says all that is wrong.
func adopt(p plan.Plan, all map[string]container.InspectResponse) (Found, []string) {
	f := Found{Plan: p, Containers: map[string]Adopted{}, Secret: secret(p, all)}
	images := map[string]topology.Image{}
	var wrong []string
	for _, c := range containers.Specs(p, f.Options()) {
		got, ok := all[c.Name]
		if !ok {
			wrong = append(wrong, c.Name+" is missing")
			continue
		}
		if got.Config == nil || got.State == nil || got.NetworkSettings == nil {
			wrong = append(wrong, "the engine does not say what "+c.Name+" is")
			continue
		}
		if what := differs(c, got); what != "" {
			wrong = append(wrong, fmt.Sprintf("%s has other %s than %s gives it today", c.Name, what, File))
		}
		if why := notThere(c, got.State); why != "" {
			wrong = append(wrong, c.Name+" "+why)
		}
		a := Adopted{ID: got.ID, User: got.Config.User, Labels: map[string]string{}}
		for k, v := range got.Config.Labels {
			if strings.HasPrefix(k, composePrefix) {
				a.Labels[k] = v
			}
		}
		f.Containers[c.Name] = a
		f.Project = a.Labels[projectLabel]
		images[c.Image] = topology.Image{Name: c.Image, Reference: got.Config.Image, ID: got.Image, Source: "built"}
	}
	for _, name := range slices.Sorted(maps.Keys(images)) {
		f.Images = append(f.Images, images[name])
	}
	return f, wrong
}

// secret is the password that the world's servers were given.
func secret(p plan.Plan, all map[string]container.InspectResponse) string {
	for _, n := range p.Of("", topology.MySQL) {
		if c := all[n.Name].Config; c != nil {
			if v, ok := lookup(c.Env, wire.SecretVariable); ok {
				return v
			}
		}
	}
	return ""
}

func lookup(env []string, name string) (string, bool) {
	for _, kv := range env {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v, true
		}
	}
	return "", false
}

// differs says in what a container was not made as it would be made today.
func differs(c containers.Container, got container.InspectResponse) string {
	if !slices.Equal(got.Config.Entrypoint, c.Entrypoint) || !slices.Equal(got.Config.Cmd, c.Args) {
		return "arguments"
	}
	for k, v := range c.Env {
		if have, _ := lookup(got.Config.Env, k); have != v {
			return "environment"
		}
	}
	if len(got.NetworkSettings.Networks) != len(c.Networks) {
		return "networks"
	}
	for _, a := range c.Networks {
		n := got.NetworkSettings.Networks[containers.NetworkName(World, a.Site)]
		if n == nil || n.IPAMConfig == nil || n.IPAMConfig.IPv4Address.String() != a.IP {
			return "networks"
		}
	}
	return ""
}

// notThere says why a container is not as it is after the world came up; "": it is.
func notThere(c containers.Container, s *container.State) string {
	ended := s.Status == container.StateExited && s.ExitCode == 0
	switch {
	case c.OneShot && s.Status == container.StateRunning:
		return "has not ended yet: the world is still coming up"
	case c.OneShot && !ended:
		return fmt.Sprintf("is %s with %d, should have ended with 0", s.Status, s.ExitCode)
	case !c.Start && !ended:
		return fmt.Sprintf("is %s with %d, should rest", s.Status, s.ExitCode)
	case c.Start && !c.OneShot && s.Status != container.StateRunning:
		return fmt.Sprintf("is %s, should run", s.Status)
	}
	return ""
}
