package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/images/install"
	"github.com/kirikae/kirikae/topology/provision"
	"github.com/kirikae/kirikae/topology/tell"
)

// builder is one run of Build.
type builder struct {
	engine Engine
	o      Options
	say    *tell.Teller
	cache  string // of what is made on the way: runtimes, class archives
	in     inputs
}

// Build makes the images that the engine lacks, and returns all of them. It first provisions what they are made from, where the
// cache lacks it. Two at once are safe: the second waits, and finds the first one's images. Where nothing has changed, nothing
// is built.
func Build(ctx context.Context, engine Engine, o Options) (Set, error) {
	t, err := o.table()
	if err != nil {
		return nil, err
	}
	b := &builder{engine: engine, o: o, say: tell.New(o.Say)}
	set, err := b.build(ctx, t)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("build images: %w", context.Cause(ctx))
	}
	if err != nil && !errors.Is(err, topology.ErrEnvironment) { // a full disk, an engine that went away
		err = fmt.Errorf("build images: %w: %w", topology.ErrEnvironment, err)
	}
	return set, err
}

func (b *builder) build(ctx context.Context, t Table) (Set, error) {
	v, err := b.engine.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return nil, fmt.Errorf("ask the engine what it is: %w", err)
	}
	if v.Os != "linux" || v.Arch != runtime.GOARCH {
		return nil, fmt.Errorf("%w: the engine runs %s/%s containers, images are built from this machine's packages, which are linux/%s", topology.ErrEnvironment, v.Os, v.Arch, runtime.GOARCH)
	}
	if _, err := provision.Ensure(ctx, provision.Options{Cache: b.o.Cache, Log: b.say.Plain}); err != nil {
		return nil, err
	}
	if b.in, err = inputsOf(ctx, t, b.o); err != nil {
		return nil, err
	}
	if err := b.in.missing(); err != nil {
		return nil, err
	}
	lacks, err := b.lacks(ctx, t)
	if err != nil {
		return nil, err
	}
	if len(lacks) > 0 {
		if err := b.all(ctx, t); err != nil {
			return nil, err
		}
	}
	r := NewResolver(b.engine, b.o)
	r.say = b.say
	set, err := r.resolve(ctx, Built, t, b.in)
	if err != nil {
		return nil, err
	}
	for name, i := range set {
		if _, err := b.engine.ImageTag(ctx, client.ImageTagOptions{Source: i.ID, Target: Alias(name)}); err != nil {
			return nil, fmt.Errorf("name image %s %s: %w", i.Reference, Alias(name), err)
		}
	}
	return set, nil
}

// Alias is the name under which the newest image that was built is always found: a compose file cannot know its digest.
func Alias(name string) string { return "kirikae/" + name + ":built" }

// lacks are the images that are not there as they should be.
func (b *builder) lacks(ctx context.Context, t Table) ([]plan, error) {
	var all []plan
	for _, e := range t.Entries {
		p := b.in.plans[e.Name]
		id, err := present(ctx, b.engine, p.tag)
		if err != nil {
			return nil, err
		}
		if id == "" {
			all = append(all, p)
		}
	}
	return all, nil
}

// all builds what is lacking, side by side.
func (b *builder) all(ctx context.Context, t Table) error {
	cache, err := provision.CacheDir(b.o.Cache)
	if err != nil {
		return err
	}
	b.cache = filepath.Join(cache, "images")
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return fmt.Errorf("make the folder of what images are made from: %w", err)
	}
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	lacks, err := b.lacks(ctx, t) // again: another process may have built them meanwhile
	if err != nil {
		return err
	}
	if err := b.sweep(ctx); err != nil {
		return err
	}
	side, ctx := errgroup.WithContext(ctx)
	bases := map[string]*errgroup.Group{}
	for _, p := range lacks {
		base, ok := bases[p.base]
		if !ok { // images without servers share theirs
			base = &errgroup.Group{}
			bases[p.base] = base
			base.Go(func() error { return b.base(ctx, p) })
		}
		side.Go(func() error {
			if err := base.Wait(); err != nil {
				return err
			}
			return b.top(ctx, p)
		})
	}
	return side.Wait()
}

// base makes what stands below our programs, unless the engine has it.
func (b *builder) base(ctx context.Context, p plan) error {
	id, err := present(ctx, b.engine, p.base)
	if err != nil || id != "" {
		return err
	}
	what := fmt.Sprintf("image %s: build %s", p.entry.Name, p.base)
	var t tree
	switch p.entry.Build.Recipe {
	case recipeCassandra:
		jre, err := b.in.java.runtimeIn(ctx, b.cache, b.in.libraryRoots(), b.say)
		if err != nil {
			return err
		}
		t, err = cassandraTree(b.in.install, jre, b.in.libraryRoots(), p.own)
		if err != nil {
			return err
		}
	case recipeMySQL:
		t, err = mysqlTree(b.in.install, p.own)
	default:
		t = scratchTree(p.own)
	}
	if err != nil {
		return err
	}
	var at latest
	return b.say.Step(what, at.get, func() error {
		body, done := stream(func(w *tar.Writer) error { return t.write(w, "") })
		defer done()
		answer, err := b.engine.ImageImport(ctx, client.ImageImportSource{Source: body, SourceName: "-"}, p.base, client.ImageImportOptions{Changes: p.changes})
		if err == nil {
			err = drain(answer, &at)
		}
		if err := errors.Join(done(), err); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// top puts our programs, and the class archive, onto the base.
func (b *builder) top(ctx context.Context, p plan) error {
	archive := tree{}
	if p.entry.Build.Recipe == recipeCassandra {
		file, err := b.archive(ctx, p)
		if err != nil {
			return err
		}
		archive.file(cassandraArchive, file, 0o644, root)
	}
	t := tree{}
	for from, to := range p.programs {
		t.file(to, from, 0o755, root)
	}
	if p.install != nil {
		note, err := p.install.JSON()
		if err != nil {
			return err
		}
		t.text(install.File, note, 0o644)
	}
	what := fmt.Sprintf("image %s: build %s", p.entry.Name, p.tag)
	var at latest
	return b.say.Step(what, at.get, func() error {
		body, done := stream(func(w *tar.Writer) error {
			file := tree{}
			file.text("Dockerfile", []byte(p.dockerfile), 0o644)
			return errors.Join(file.write(w, ""), archive.write(w, "archive"), t.write(w, "programs"))
		})
		defer done()
		answer, err := b.engine.ImageBuild(ctx, body, client.ImageBuildOptions{
			Tags: []string{p.tag}, Labels: map[string]string{LabelImage: p.entry.Name, LabelInputs: p.digest, LabelVersion: p.version},
			Remove: true, ForceRemove: true, Version: build.BuilderV1,
		})
		if err == nil {
			err = drain(answer.Body, &at)
		}
		if err := errors.Join(done(), err); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// stream is a tar that is written while it is read. done ends the writing and says what went wrong with it; it may be called
// again.
func stream(write func(w *tar.Writer) error) (body io.Reader, done func() error) {
	r, w := io.Pipe()
	ended := make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		t := tar.NewWriter(w)
		err := write(t)
		if err == nil {
			err = t.Close()
		}
		if err != nil && !errors.Is(err, io.ErrClosedPipe) { // else the reader gave up, which it says itself
			failed = err
		}
		_ = w.CloseWithError(err) // never fails
	}()
	return r, func() error {
		_ = r.Close() // never fails
		<-ended
		return failed
	}
}

// lock takes the lock of building, which the kernel frees when this process ends in whatever way.
func (b *builder) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(b.cache, ".build.flock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the building of images: %w", err)
	}
	try := func() error {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		return err
	}
	if err = try(); errors.Is(err, syscall.EWOULDBLOCK) {
		err = b.say.Step("another process builds images: wait for it", func() string { return "" }, func() error {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				if err := try(); !errors.Is(err, syscall.EWOULDBLOCK) {
					return err
				}
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-tick.C:
				}
			}
		})
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the building of images: %w", err)
	}
	return func() { f.Close() }, nil
}
