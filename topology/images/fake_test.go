package images

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fake is an engine with images in memory. What a test does not expect to be called is nil and panics.
type fake struct {
	Engine
	mu     sync.Mutex
	images map[string]map[string]string // reference → labels
	pulls  map[string]error             // what a pull of a reference ends with; absent: the registry has no such image
	ask    func(ctx context.Context, ref string) error
	calls  []string
}

func newFake() *fake {
	return &fake{images: map[string]map[string]string{}, pulls: map[string]error{}}
}

func (f *fake) called(format string, a ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, a...))
}

func (f *fake) count(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func (f *fake) have(ref string, labels map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images[ref] = labels
}

func (f *fake) ImageInspect(_ context.Context, ref string, _ ...client.ImageInspectOption) (client.ImageInspectResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	labels, ok := f.images[ref]
	if !ok {
		return client.ImageInspectResult{}, fmt.Errorf("no such image %s: %w", ref, cerrdefs.ErrNotFound)
	}
	return client.ImageInspectResult{InspectResponse: image.InspectResponse{ID: "sha256:of-" + ref, Config: &dockerspec.DockerOCIImageConfig{ImageConfig: ocispec.ImageConfig{Labels: labels}}}}, nil
}

func (f *fake) ImageList(_ context.Context, o client.ImageListOptions) (client.ImageListResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []image.Summary
	for ref, labels := range f.images {
		for want := range o.Filters["label"] {
			k, v, _ := strings.Cut(want, "=")
			if labels[k] == v {
				all = append(all, image.Summary{RepoTags: []string{ref}, Created: int64(len(ref))})
			}
		}
	}
	return client.ImageListResult{Items: all}, nil
}

func (f *fake) DistributionInspect(ctx context.Context, ref string, _ client.DistributionInspectOptions) (client.DistributionInspectResult, error) {
	f.called("ask %s", ref)
	if f.ask != nil {
		return client.DistributionInspectResult{}, f.ask(ctx, ref)
	}
	if _, ok := f.pulls[ref]; !ok {
		return client.DistributionInspectResult{}, fmt.Errorf("manifest unknown: %w", cerrdefs.ErrNotFound)
	}
	return client.DistributionInspectResult{}, nil
}

// pulled is the engine's answer to a pull.
type pulled struct {
	client.ImagePullResponse
	r io.Reader
}

func (p pulled) Read(b []byte) (int, error) { return p.r.Read(b) }
func (pulled) Close() error                 { return nil }

func (f *fake) ImagePull(_ context.Context, ref string, _ client.ImagePullOptions) (client.ImagePullResponse, error) {
	f.called("pull %s", ref)
	text := `{"id":"a","status":"Downloading"}` + "\n"
	if err := f.pulls[ref]; err != nil {
		text += fmt.Sprintf(`{"errorDetail":{"message":%q}}`, err.Error())
	} else {
		f.have(ref, nil)
	}
	return pulled{r: strings.NewReader(text)}, nil
}

// entries reads a tar: name → header, contents.
func entries(t *testing.T, r io.Reader) (names []string, headers map[string]*tar.Header, contents map[string]string) {
	t.Helper()
	headers, contents = map[string]*tar.Header{}, map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return names, headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		headers[h.Name], contents[h.Name] = h, string(b)
	}
}
