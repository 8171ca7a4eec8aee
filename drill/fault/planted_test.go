package fault

import (
	"context"
	"sync"

	"github.com/kirikae/kirikae/topology"
)

// around returns the same world with a defect planted in it: its links answer that a fault is set, and tell of it when asked,
// but traffic goes around them.
func around(w topology.World) topology.World {
	return &aroundWorld{World: w, claims: map[topology.LinkID]topology.Fault{}}
}

type aroundWorld struct {
	topology.World
	mu     sync.Mutex
	claims map[topology.LinkID]topology.Fault
}

// Link returns a link that lies about its fault.
func (w *aroundWorld) Link(id topology.LinkID) (topology.Link, error) {
	l, err := w.World.Link(id)
	if err != nil {
		return nil, err
	}
	return &aroundLink{l, w}, nil
}

// Links returns links that lie about their faults.
func (w *aroundWorld) Links() []topology.Link {
	var out []topology.Link
	for _, l := range w.World.Links() {
		out = append(out, &aroundLink{l, w})
	}
	return out
}

type aroundLink struct {
	topology.Link
	world *aroundWorld
}

// SetFault says that it did.
func (l *aroundLink) SetFault(_ context.Context, f topology.Fault) error {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	l.world.claims[l.ID()] = f
	return nil
}

// Layers tells the fault that was asked for.
func (l *aroundLink) Layers(ctx context.Context) (topology.Layers, error) {
	layers, err := l.Link.Layers(ctx)
	if err != nil {
		return layers, err
	}
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	if f, claimed := l.world.claims[l.ID()]; claimed {
		layers.Fault = f
	}
	return layers, nil
}
