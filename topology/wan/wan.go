package wan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sort"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kirikae/kirikae/topology"
)

// Route is one door: a site that dials one service of one node of another site, by a proxied address.
type Route struct {
	From    topology.Site    `json:"from"` // who dials
	To      topology.Site    `json:"to"`   // where the target is
	Service topology.Service `json:"service"`
	Node    string           `json:"node"`   // target
	Door    string           `json:"door"`   // host:port that is dialled
	Reach   string           `json:"reach"`  // the same door for a process of this machine that belongs to no site
	Listen  string           `json:"listen"` // host:port where toxiproxy listens; the door itself, unless a defect is planted
	Target  string           `json:"target"` // host:port of the node
}

// Name is the name of the route's proxy.
func (r Route) Name() string {
	return string(r.From) + ">" + string(r.To) + ":" + string(r.Service) + ":" + r.Node
}

// Upstream is the link of the bytes that go from the dialler to the target.
func (r Route) Upstream() topology.LinkID {
	return topology.LinkID{From: r.From, To: r.To, Service: r.Service}
}

// Downstream is the link of the bytes that come back.
func (r Route) Downstream() topology.LinkID {
	return topology.LinkID{From: r.To, To: r.From, Service: r.Service}
}

// WAN is the links of one world. It holds no state of them: every call reads toxiproxy.
type WAN struct {
	api    *api
	lock   string
	routes []Route
	links  map[topology.LinkID]*Link
}

// New describes the links of a world whose toxiproxy answers at address. lock is the path of a file by which processes take
// turns in changing them. Nothing is contacted.
func New(address, lock string, specs []topology.LinkSpec, routes []Route) (*WAN, error) {
	w := &WAN{api: newAPI(address), lock: lock, routes: routes, links: map[topology.LinkID]*Link{}}
	for _, s := range specs {
		w.links[s.ID] = &Link{wan: w, spec: s}
	}
	for _, r := range routes {
		for _, id := range []topology.LinkID{r.Upstream(), r.Downstream()} {
			l, ok := w.links[id]
			if !ok {
				return nil, fmt.Errorf("door %s to %s belongs to link %s, which is not declared", r.Door, r.Node, id)
			}
			l.routes = append(l.routes, r)
		}
	}
	for id, l := range w.links {
		if len(l.routes) == 0 {
			return nil, fmt.Errorf("no door belongs to link %s", id)
		}
	}
	return w, nil
}

// Links are all links, sorted by name.
func (w *WAN) Links() []*Link {
	all := make([]*Link, 0, len(w.links))
	for _, l := range w.links {
		all = append(all, l)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].spec.ID.String() < all[j].spec.ID.String() })
	return all
}

// Link returns one link, or nil.
func (w *WAN) Link(id topology.LinkID) *Link { return w.links[id] }

// Create makes every proxy with the declared base delays, open. The proxies must not exist.
func (w *WAN) Create(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, r := range w.routes {
		g.Go(func() error {
			if err := w.create(ctx, r); err != nil {
				return fmt.Errorf("make door %s of %s: %w", r.Door, r.Name(), err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (w *WAN) create(ctx context.Context, r Route) error {
	// Toxics are added while the proxy was never enabled: no connection can be interrupted (see the package's comment).
	if err := w.api.create(ctx, proxyJSON{Name: r.Name(), Listen: r.Listen, Upstream: r.Target}); err != nil {
		return err
	}
	for id, way := range r.ways() {
		t := toxicJSON{Name: toxicName(id), Type: shapeType, Stream: way, Toxicity: 1, Attributes: toAttributes(topology.Layers{Delay: w.links[id].spec.Delay})}
		if err := w.api.addToxic(ctx, r.Name(), t); err != nil {
			return err
		}
	}
	if err := w.api.enable(ctx, r.Name(), true); err != nil {
		return fmt.Errorf("%w: %w", topology.ErrEnvironment, err) // the address cannot be listened on
	}
	return nil
}

// Healthy says whether toxiproxy can still be driven: its list of proxies needs every lock that a wedge would hold (its
// version does not), and is held against the doors that were made.
func (w *WAN) Healthy(ctx context.Context) error {
	all, err := w.api.proxies(ctx)
	if err != nil {
		return fmt.Errorf("list the proxies: %w", err)
	}
	var missing []error
	for _, r := range w.routes {
		if _, ok := all[r.Name()]; !ok {
			missing = append(missing, fmt.Errorf("toxiproxy has no proxy %s for door %s", r.Name(), r.Door))
		}
	}
	return errors.Join(missing...)
}

// Close lets go of connections to the API. The links stay as they are.
func (w *WAN) Close() { w.api.http.CloseIdleConnections() }

func (r Route) ways() map[topology.LinkID]string {
	return map[topology.LinkID]string{r.Upstream(): "upstream", r.Downstream(): "downstream"}
}

func toxicName(id topology.LinkID) string {
	return string(id.From) + ">" + string(id.To) + ":" + string(id.Service)
}

// state is what a proxy is, or has to be.
type state struct {
	enabled bool
	layers  map[topology.LinkID]topology.Layers // of its two directions
}

// desired is what a door's proxy has to be for the layers of its two links. A connection has two directions, and what ends
// one of them ends both.
func desired(up, down topology.LinkID, layers map[topology.LinkID]topology.Layers) state {
	refuses := func(l topology.Layers) bool { return l.Access == topology.Deny || l.Fault.Kind == topology.Cut }
	return state{
		enabled: !refuses(layers[up]) && !refuses(layers[down]),
		layers:  map[topology.LinkID]topology.Layers{up: normal(layers[up]), down: normal(layers[down])},
	}
}

// normal writes equal layers equally.
func normal(l topology.Layers) topology.Layers {
	if l.Access == "" {
		l.Access = topology.Allow
	}
	return l
}

// apply brings the proxies of the routes to what layers ask for. It is idempotent: what already is as asked is not touched.
//
// A door is closed before its toxics say so and opened after: whoever is killed in between leaves a door that is at least as
// closed as its layers say, and the next one who takes the lock finishes the work.
func (w *WAN) apply(ctx context.Context, routes []Route, all map[string]proxyJSON, layers map[topology.LinkID]topology.Layers) error {
	var errs []error
	for _, r := range routes {
		p, ok := all[r.Name()]
		if !ok {
			errs = append(errs, fmt.Errorf("toxiproxy has no proxy %s", r.Name()))
			continue
		}
		if err := w.applyDoor(ctx, r, p, desired(r.Upstream(), r.Downstream(), layers)); err != nil {
			errs = append(errs, fmt.Errorf("set door %s of %s: %w", r.Door, r.Name(), err))
		}
	}
	return errors.Join(errs...)
}

func (w *WAN) applyDoor(ctx context.Context, r Route, p proxyJSON, want state) error {
	is, err := read(r, p)
	if err != nil {
		return err
	}
	if is.enabled && !want.enabled {
		if err := w.api.enable(ctx, r.Name(), false); err != nil {
			return fmt.Errorf("close it: %w", err)
		}
	}
	for id := range r.ways() {
		if is.layers[id] == want.layers[id] {
			continue
		}
		if err := w.api.updateToxic(ctx, r.Name(), toxicName(id), toAttributes(want.layers[id])); err != nil {
			return fmt.Errorf("shape %s: %w", id, err)
		}
	}
	if !is.enabled && want.enabled {
		if err := w.api.enable(ctx, r.Name(), true); err != nil {
			return fmt.Errorf("open it: %w", err)
		}
	}
	return nil
}

// read is what a proxy is.
func read(r Route, p proxyJSON) (state, error) {
	s := state{enabled: p.Enabled, layers: map[topology.LinkID]topology.Layers{}}
	for id := range r.ways() {
		for _, t := range p.Toxics {
			if t.Name != toxicName(id) {
				continue
			}
			l, err := t.Attributes.layers()
			if err != nil {
				return state{}, fmt.Errorf("read the layers of %s at %s: %w", id, r.Name(), err)
			}
			s.layers[id] = normal(l)
		}
		if _, ok := s.layers[id]; !ok {
			return state{}, fmt.Errorf("proxy %s carries no layers of %s", r.Name(), id)
		}
	}
	return s, nil
}

// change reads the layers of one link, lets f change them and brings its doors there, all under the world's lock, so that
// two processes that change different layers at once both have their way. f nil only reads. What a killed predecessor left
// half done is finished first or with it: the layers at a link's first door are the truth for all of its doors.
func (w *WAN) change(ctx context.Context, l *Link, f func(*topology.Layers)) (topology.Layers, error) {
	unlock, err := lockFile(ctx, w.lock)
	if err != nil {
		return topology.Layers{}, err
	}
	defer unlock()
	all, err := w.api.proxies(ctx)
	if err != nil {
		return topology.Layers{}, err
	}
	layers := map[topology.LinkID]topology.Layers{}
	for _, r := range l.routes {
		for id := range r.ways() {
			if layers[id], err = w.truth(id, all); err != nil {
				return topology.Layers{}, err
			}
		}
	}
	mine := layers[l.spec.ID]
	if f != nil {
		f(&mine)
		if err := Validate(mine); err != nil {
			return topology.Layers{}, err
		}
		mine = normal(mine)
		layers[l.spec.ID] = mine
	}
	return mine, w.apply(ctx, l.routes, all, layers)
}

// truth is what a link's layers are: those at its first door.
func (w *WAN) truth(id topology.LinkID, all map[string]proxyJSON) (topology.Layers, error) {
	r := w.links[id].routes[0]
	p, ok := all[r.Name()]
	if !ok {
		return topology.Layers{}, fmt.Errorf("toxiproxy has no proxy %s", r.Name())
	}
	s, err := read(r, p)
	return s.layers[id], err
}

// Link is one link of a WAN. It implements topology.Link.
type Link struct {
	wan    *WAN
	spec   topology.LinkSpec
	routes []Route
}

// ID implements topology.Link.
func (l *Link) ID() topology.LinkID { return l.spec.ID }

// Layers reads the three values back from toxiproxy.
func (l *Link) Layers(ctx context.Context) (topology.Layers, error) {
	return l.do(ctx, "read link %s: %w", nil)
}

// SetDelay sets the base delay; connections live on, and what is on its way takes the new delay.
func (l *Link) SetDelay(ctx context.Context, d time.Duration) error {
	_, err := l.do(ctx, "set delay of link %s: %w", func(x *topology.Layers) { x.Delay = d })
	return err
}

// SetFault sets the fault; the zero Fault heals. It touches neither delay nor access.
func (l *Link) SetFault(ctx context.Context, f topology.Fault) error {
	_, err := l.do(ctx, "set fault of link %s: %w", func(x *topology.Layers) { x.Fault = f })
	return err
}

// SetAccess sets the access list. It touches neither delay nor fault.
func (l *Link) SetAccess(ctx context.Context, a topology.Access) error {
	_, err := l.do(ctx, "set access of link %s: %w", func(x *topology.Layers) { x.Access = a })
	return err
}

func (l *Link) do(ctx context.Context, format string, f func(*topology.Layers)) (topology.Layers, error) {
	x, err := l.wan.change(ctx, l, f)
	if err != nil {
		return x, fmt.Errorf(format, l.spec.ID, err)
	}
	return x, nil
}

// Doors implements topology.Link.
func (l *Link) Doors() []topology.Door {
	doors := make([]topology.Door, 0, len(l.routes))
	for _, r := range l.routes {
		doors = append(doors, topology.Door{Node: r.Node, Address: r.Door, Reach: r.Reach, Upstream: r.Upstream() == l.spec.ID})
	}
	return doors
}

var _ topology.Link = (*Link)(nil)

// Address joins a host and the port of a service.
func Address(host string, s topology.Service) string {
	return net.JoinHostPort(host, fmt.Sprint(s.Port()))
}
