package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/wan"
)

// world is a world as any process sees it. It implements topology.World.
type world struct {
	file  file
	links *wan.WAN
	http  *http.Client
	owned *owned // only in the process that created it

	closing sync.Once
}

func attach(f file) (*world, error) {
	links, err := wan.New(f.Toxiproxy, f.LinkLock, f.Topology.Links, f.Routes)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", f.Control)
	}
	return &world{file: f, links: links, http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second}}}, nil
}

// call asks the world process. What never reached it is ErrUnreachable; what got no answer is ErrUnknown.
func (w *world) call(ctx context.Context, method, path string, in, out any) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, operationBudget+5*time.Second)
		defer cancel()
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://world"+path, body)
	if err != nil {
		return err
	}
	res, err := w.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return fmt.Errorf("%w: the world process does not answer: %w", topology.ErrUnreachable, err)
		}
		return fmt.Errorf("%w: the world process gave no answer: %w", topology.ErrUnknown, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%w: the world process broke off its answer: %w", topology.ErrUnknown, err)
	}
	if res.StatusCode != http.StatusOK {
		var a errorAnswer
		if err := json.Unmarshal(b, &a); err != nil || a.Error == "" {
			return fmt.Errorf("the world process answers %s: %s", res.Status, bytes.TrimSpace(b))
		}
		return remote(a)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// remoteError is an error of the world process, with its kind.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func remote(a errorAnswer) error { return &remoteError{a.Error, kinds()[a.Kind]} }

func (w *world) ping(ctx context.Context) error {
	var a pingAnswer
	if err := w.call(ctx, http.MethodGet, "/ping", nil, &a); err != nil {
		return err
	}
	if a.ID != w.file.ID {
		return fmt.Errorf("another world answers, %s instead of %s", a.ID, w.file.ID)
	}
	return nil
}

// About implements topology.World.
func (w *world) About() topology.About {
	return topology.About{Runtime: w.file.Runtime, Engines: w.file.Engines, Owner: w.file.Owner, ID: w.file.ID, Secret: w.file.Secret}
}

// Topology implements topology.World.
func (w *world) Topology() topology.Topology { return w.file.Topology }

// Node implements topology.World.
func (w *world) Node(name string) (topology.Node, error) {
	var known []string
	for _, n := range w.file.Nodes {
		if n.Name == name {
			return &node{w, n}, nil
		}
		known = append(known, n.Name)
	}
	return nil, topology.Unknown("node", name, known)
}

// Nodes implements topology.World.
func (w *world) Nodes(site topology.Site, kind topology.Kind) []topology.Node {
	var all []topology.Node
	for _, n := range w.file.Nodes {
		if (site == "" || n.Site == site) && (kind == "" || n.Kind == kind) {
			all = append(all, &node{w, n})
		}
	}
	return all
}

// Link implements topology.World.
func (w *world) Link(id topology.LinkID) (topology.Link, error) {
	if l := w.links.Link(id); l != nil {
		return l, nil
	}
	var known []string
	for _, l := range w.links.Links() {
		known = append(known, l.ID().String())
	}
	return nil, topology.Unknown("link", id.String(), known)
}

// Links implements topology.World.
func (w *world) Links() []topology.Link {
	var all []topology.Link
	for _, l := range w.links.Links() {
		all = append(all, l)
	}
	return all
}

// Zone implements topology.World.
func (w *world) Zone() topology.Zone { return zone{w} }

// Down implements topology.World. It works from any process; when the world process is gone already, it sweeps what is left.
func (w *world) Down(ctx context.Context) error {
	if w.owned != nil {
		return w.owned.down()
	}
	err := w.call(ctx, http.MethodPost, "/down", nil, nil)
	if err == nil {
		return nil
	}
	// It may just have ended, or end while it answers: then nothing of it is there.
	ctx, cancel := context.WithTimeout(ctx, downBudget)
	defer cancel()
	if gone := until(ctx, "world "+w.file.ID+" has ended", func(context.Context) error {
		if lives(w.file.Owner) && !absent(statErr(w.file.State)) {
			return err
		}
		return nil
	}); gone != nil {
		return fmt.Errorf("end the world: %w", gone)
	}
	if absent(statErr(w.file.State)) {
		return nil
	}
	if err := sweepState(ctx, w.file.State); err != nil {
		return fmt.Errorf("end the world: sweep what is left of it: %w", err)
	}
	return nil
}

// Close implements topology.World.
func (w *world) Close() error {
	w.closing.Do(func() {
		w.http.CloseIdleConnections()
		w.links.Close()
	})
	return nil
}

// node is one node of an attached world.
type node struct {
	w *world
	n nodeSpec
}

func (n *node) Name() string        { return n.n.Name }
func (n *node) Site() topology.Site { return n.n.Site }
func (n *node) Kind() topology.Kind { return n.n.Kind }

func (n *node) do(ctx context.Context, verb string) error {
	if err := n.w.call(ctx, http.MethodPost, "/nodes/"+url.PathEscape(n.n.Name)+"/"+verb, nil, nil); err != nil {
		return n.wrap(verb, err)
	}
	return nil
}

// wrap names the node once: what the world process says of it has its name in it.
func (n *node) wrap(what string, err error) error {
	var r *remoteError
	if errors.As(err, &r) {
		return err
	}
	return fmt.Errorf("%s %s: %w", what, n.n.Name, err)
}

func (n *node) State(ctx context.Context) (topology.State, error) {
	var a stateAnswer
	if err := n.w.call(ctx, http.MethodGet, "/nodes/"+url.PathEscape(n.n.Name), nil, &a); err != nil {
		return "", n.wrap("read the state of", err)
	}
	return a.State, nil
}

func (n *node) Start(ctx context.Context) error      { return n.do(ctx, "start") }
func (n *node) StartAlone(ctx context.Context) error { return n.do(ctx, "start?alone=true") }
func (n *node) Stop(ctx context.Context) error       { return n.do(ctx, "stop") }
func (n *node) Kill(ctx context.Context) error       { return n.do(ctx, "kill") }
func (n *node) Pause(ctx context.Context) error      { return n.do(ctx, "pause") }
func (n *node) Resume(ctx context.Context) error     { return n.do(ctx, "resume") }
func (n *node) Wipe(ctx context.Context) error       { return n.do(ctx, "wipe") }

func (n *node) Endpoint(s topology.Service) (string, error) {
	if a, ok := n.n.Endpoints[s]; ok {
		return a, nil
	}
	var known []string
	for k := range n.n.Endpoints {
		known = append(known, string(k))
	}
	slices.Sort(known)
	return "", fmt.Errorf("endpoint of %s: %w", n.n.Name, topology.Unknown("service", string(s), known))
}

// Reach implements topology.Node: every process of the machine stands on the same loopback.
func (n *node) Reach(s topology.Service) (string, error) { return n.Endpoint(s) }

func (n *node) Logs(ctx context.Context, lines int) ([]string, error) {
	var a logsAnswer
	if err := n.w.call(ctx, http.MethodGet, "/nodes/"+url.PathEscape(n.n.Name)+"/logs?n="+strconv.Itoa(lines), nil, &a); err != nil {
		return nil, n.wrap("read the log of", err)
	}
	return a.Lines, nil
}

type zone struct{ w *world }

func (z zone) Server() string { return z.w.file.Names }

func (z zone) Records(ctx context.Context) ([]topology.Record, error) {
	var a zoneAnswer
	if err := z.w.call(ctx, http.MethodGet, "/zone", nil, &a); err != nil {
		return nil, fmt.Errorf("read the zone: %w", err)
	}
	return a.Records, nil
}

func (z zone) Point(ctx context.Context, name string, to topology.Site) error {
	if err := z.w.call(ctx, http.MethodPost, "/zone", pointRequest{name, to}, nil); err != nil {
		return fmt.Errorf("change the zone: %w", err)
	}
	return nil
}

var (
	_ topology.World       = (*world)(nil)
	_ topology.Node        = (*node)(nil)
	_ topology.LoneStarter = (*node)(nil)
	_ topology.Zone        = zone{}
)
