package images

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/tell"
)

// Resolver finds images and remembers which registries did not answer, so that one that is out of reach costs its time once.
// Make one for a process.
type Resolver struct {
	engine Engine
	o      Options
	say    *tell.Teller

	mu      sync.Mutex
	silent  map[string]error // registry → why it gives no answer
	refused map[string]error // reference → why it cannot be had from a registry that answers
}

// NewResolver is a resolver of an engine's images.
func NewResolver(engine Engine, o Options) *Resolver {
	return &Resolver{engine: engine, o: o, say: tell.New(o.Say), silent: map[string]error{}, refused: map[string]error{}}
}

// Resolve returns an image for every name of the table, and says of each which one it is. Pulling is bounded. What is missing
// comes in one error that wraps topology.ErrEnvironment and says for each image what was tried and how to get it.
func (r *Resolver) Resolve(ctx context.Context, policy Policy) (Set, error) {
	t, err := r.o.table()
	if err != nil {
		return nil, err
	}
	in, err := inputsOf(ctx, t, r.o)
	if err != nil {
		return nil, err
	}
	return r.resolve(ctx, policy, t, in)
}

func (r *Resolver) resolve(ctx context.Context, policy Policy, t Table, in inputs) (Set, error) {
	set := Set{}
	var lacks, because []string
	for _, e := range t.Entries {
		found, tried, err := r.one(ctx, policy, e, in)
		if err != nil {
			return nil, fmt.Errorf("resolve image %s: %w", e.Name, err)
		}
		if found == nil {
			lacks = append(lacks, fmt.Sprintf("%s (%s)", e.Name, strings.Join(tried, "; ")))
			continue
		}
		r.say.Say("image %s: %s (%s, %.19s)", e.Name, found.Reference, found.Source, found.ID)
		set[e.Name] = *found
	}
	if len(lacks) > 0 {
		for registry, err := range r.unreachable() {
			because = append(because, fmt.Sprintf("%s: %v", registry, err))
		}
		if len(because) > 0 {
			slices.Sort(because)
			lacks[len(lacks)-1] += " (" + strings.Join(because, "; ") + ")"
		}
		fix := "build it with `make images`"
		if policy == Official {
			fix = "pull it where a registry can be reached, or build it with `make images` and take --images auto"
		}
		return nil, fmt.Errorf("%w: no image for %s: %s", topology.ErrEnvironment, strings.Join(lacks, ", "), fix)
	}
	return set, nil
}

// one finds the image of an entry, or says what was tried.
func (r *Resolver) one(ctx context.Context, policy Policy, e Entry, in inputs) (*Resolved, []string, error) {
	var tried []string
	if e.Official != nil && policy != Built {
		found, t, err := r.official(ctx, policy, e)
		if found != nil || err != nil {
			return found, nil, err
		}
		tried = append(tried, t...)
		if policy == Official {
			return nil, tried, nil
		}
	}
	found, t, err := r.built(ctx, e, in)
	return found, append(tried, t...), err
}

// official finds an official image: one that is present, else one that can be pulled.
func (r *Resolver) official(ctx context.Context, policy Policy, e Entry) (*Resolved, []string, error) {
	as := func(ref, id string) *Resolved {
		i := e.Official.Install
		return &Resolved{Image: topology.Image{Name: e.Name, Reference: ref, ID: id, Source: SourceOfficial}, Install: &i, User: e.Official.User}
	}
	for _, ref := range e.Official.References {
		id, err := present(ctx, r.engine, ref)
		if err != nil {
			return nil, nil, err
		}
		if id != "" {
			return as(ref, id), nil, nil
		}
	}
	var tried []string
	for _, ref := range e.Official.References {
		err := r.pull(ctx, policy, ref)
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if err != nil {
			tried = append(tried, fmt.Sprintf("%s is not here: %v", ref, err))
			continue
		}
		id, err := present(ctx, r.engine, ref)
		if err == nil && id == "" {
			err = fmt.Errorf("%s was pulled and is not there", ref)
		}
		if err != nil {
			return nil, nil, err
		}
		return as(ref, id), nil, nil
	}
	return nil, tried, nil
}

// pull pulls an image, if its registry answers in time.
func (r *Resolver) pull(ctx context.Context, policy Policy, ref string) error {
	registry := "its registry"
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		registry = reference.Domain(named)
	}
	r.mu.Lock()
	silent, refused := r.silent[registry], r.refused[ref]
	r.mu.Unlock()
	if silent != nil {
		return fmt.Errorf("%s gives no answer", registry)
	}
	if refused != nil {
		return refused
	}
	remember := func(to map[string]error, key string, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		to[key] = err
	}
	if err := r.answers(ctx, policy, ref); err != nil {
		if ctx.Err() != nil {
			return err
		}
		spoke := cerrdefs.IsNotFound(err) || cerrdefs.IsUnauthorized(err) || cerrdefs.IsPermissionDenied(err)
		err := errors.New(strings.TrimPrefix(oneLine(err), "Error response from daemon: "))
		if spoke { // the registry has no such image for us: it may have another
			remember(r.refused, ref, err)
			return err
		}
		r.say.Say("image %s: %s gives no answer: %v", ref, registry, err)
		remember(r.silent, registry, err)
		return fmt.Errorf("%s gives no answer", registry)
	}
	limit := r.o.Pull
	if limit == 0 {
		limit = 10 * time.Minute
	}
	if err := r.fetch(ctx, ref, limit); err != nil {
		if ctx.Err() != nil {
			return err
		}
		r.say.Say("pull %s: %v", ref, err)
		remember(r.refused, ref, err)
		return err
	}
	return nil
}

// unreachable are the registries that gave no answer, and why.
func (r *Resolver) unreachable() map[string]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.silent)
}

// answers asks the engine's registry for an image's name, as the engine would for a pull.
func (r *Resolver) answers(ctx context.Context, policy Policy, ref string) error {
	limit := r.o.Answer
	if limit == 0 {
		limit = 2 * time.Second
		if policy == Official {
			limit = 10 * time.Second
		}
	}
	late := fmt.Errorf("waited %v", limit)
	asked, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	_, err := r.engine.DistributionInspect(asked, ref, client.DistributionInspectOptions{})
	if err != nil && asked.Err() != nil && ctx.Err() == nil {
		return late
	}
	return err
}

// fetch pulls an image and says how far it is.
func (r *Resolver) fetch(ctx context.Context, ref string, limit time.Duration) error {
	late := fmt.Errorf("not done within %v", limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	var at latest
	return r.say.Step("pull "+ref, at.get, func() error {
		body, err := r.engine.ImagePull(ctx, ref, client.ImagePullOptions{})
		if err == nil {
			err = drain(body, &at)
		}
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	})
}

// built finds the image that was built from exactly these inputs. Where the inputs are not known, as on a machine that was only
// given images, it is the newest.
func (r *Resolver) built(ctx context.Context, e Entry, in inputs) (*Resolved, []string, error) {
	as := func(ref string) (*Resolved, error) {
		i, err := r.engine.ImageInspect(ctx, ref)
		if cerrdefs.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look for image %s: %w", ref, err)
		}
		found := &Resolved{Image: topology.Image{Name: e.Name, Reference: ref, ID: i.ID, Source: SourceBuilt}, User: e.Build.User}
		if i.Config != nil {
			found.Version = i.Config.Labels[LabelVersion]
		}
		return found, nil
	}
	p, why := in.plan(e.Name)
	if why == nil {
		if found, err := as(p.tag); found != nil || err != nil {
			return found, nil, err
		}
	}
	all, err := r.engine.ImageList(ctx, client.ImageListOptions{Filters: make(client.Filters).Add("label", LabelImage+"="+e.Name)})
	if err != nil {
		return nil, nil, fmt.Errorf("list images: %w", err)
	}
	newest, tag := int64(0), ""
	for _, i := range all.Items {
		at := slices.IndexFunc(i.RepoTags, func(t string) bool { return strings.HasPrefix(t, repository(e.Name)+":") })
		if at >= 0 && (tag == "" || i.Created > newest) {
			newest, tag = i.Created, i.RepoTags[at]
		}
	}
	switch {
	case tag == "":
		return nil, []string{"none was built here"}, nil
	case why == nil:
		return nil, []string{fmt.Sprintf("%s was built from other inputs than this program's, %s is wanted", tag, p.tag)}, nil
	}
	found, err := as(tag)
	if err != nil || found == nil {
		return nil, []string{tag + " is gone"}, err
	}
	r.say.Say("image %s: the newest that was built, as what it should hold cannot be told: %v", e.Name, why)
	return found, nil, nil
}

// present returns the id of an image, or "" when the engine does not have it.
func present(ctx context.Context, engine Engine, ref string) (string, error) {
	i, err := engine.ImageInspect(ctx, ref)
	if cerrdefs.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for image %s: %w", ref, err)
	}
	return i.ID, nil
}
