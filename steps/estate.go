package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/drill/workload"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
)

// Estate is the products of an attached world as operators and the drill use them: it joins what drill/procedure asks for with
// what topology/mysql, topology/cassandra and the platform's HTTP interfaces give. Nothing is dialled before it is used.
type Estate struct {
	topology.World
	http *http.Client

	mu        sync.Mutex // guards the maps
	databases map[topology.Site]*mysql.Server
	rings     map[topology.Site]*cassandra.Session
	canaries  []*mysql.Canary
}

var _ procedure.Estate = (*Estate)(nil)

// NewEstate joins the products of a world. Close it before the world.
func NewEstate(w topology.World) (*Estate, error) {
	return &Estate{
		World: w,
		http: &http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 5 * time.Second},
			Timeout:   5 * time.Second,
		},
		databases: map[topology.Site]*mysql.Server{},
		rings:     map[topology.Site]*cassandra.Session{},
	}, nil
}

// In is the estate with a run folder, where scripts of procedures run.
func (e *Estate) In(folder string) procedure.Estate { return located{e, folder} }

type located struct {
	*Estate
	folder string
}

// Folder implements procedure.Placed.
func (l located) Folder() string { return l.folder }

// Close lets go of every connection.
func (e *Estate) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.databases {
		s.Close()
	}
	for _, s := range e.rings {
		s.Close()
	}
	for _, c := range e.canaries {
		c.Close()
	}
	e.http.CloseIdleConnections()
}

// only is the one node of a kind at a site.
func (e *Estate) only(site topology.Site, kind topology.Kind) (topology.Node, error) {
	nodes := e.Nodes(site, kind)
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%s has no %s node", site, kind)
	}
	return nodes[0], nil
}

func (e *Estate) mysqlNode(site topology.Site) string {
	n, err := e.only(site, topology.MySQL)
	if err != nil {
		return string(site)
	}
	return n.Name()
}

// mysql is the MySQL of a region, as operators log in to it.
func (e *Estate) mysql(site topology.Site) (*mysql.Server, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.databases[site]; s != nil {
		return s, nil
	}
	n, err := e.only(site, topology.MySQL)
	if err != nil {
		return nil, err
	}
	address, err := n.Reach(topology.ServiceMySQL)
	if err != nil {
		return nil, err
	}
	s, err := mysql.Open(address, mysql.UserOps, e.About().Secret, mysql.Options{Name: n.Name()})
	if err != nil {
		return nil, err
	}
	e.databases[site] = s
	return s, nil
}

// cassandra is the Cassandra of a region, seen by a client of that region.
func (e *Estate) cassandra(ctx context.Context, site topology.Site) (*cassandra.Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.rings[site]; s != nil {
		if err := s.Ready(ctx); !errors.Is(err, topology.ErrUnreachable) {
			return s, nil
		}
		s.Close() // its nodes left the ring and came back: the driver does not find them again by itself
		delete(e.rings, site)
	}
	where, err := e.ring(site)
	if err != nil {
		return nil, err
	}
	s, err := cassandra.Open(ctx, where)
	if err != nil {
		return nil, err
	}
	e.rings[site] = s
	return s, nil
}

// ring is where a region's Cassandra answers, and where the peers that its driver learns of are found from here.
func (e *Estate) ring(site topology.Site) (cassandra.Site, error) {
	return cassandra.SiteOf(string(site)+"-cassandra", site, e.Nodes(site, topology.Cassandra))
}

// Engines asks the servers themselves for their versions.
func (e *Estate) Engines(ctx context.Context) (map[string]string, error) {
	active := e.Topology().Active()
	db, err := e.mysql(active)
	if err != nil {
		return nil, err
	}
	status, err := db.Status(ctx)
	if err != nil {
		return nil, err
	}
	ring, err := e.cassandra(ctx, active)
	if err != nil {
		return nil, err
	}
	version, err := ring.Version(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"mysql": status.Version, "cassandra": version}, nil
}

// Writers are the canary writers of every region's MySQL, each on a connection of its own.
func (e *Estate) Writers() ([]workload.Canary, error) {
	var out []workload.Canary
	for _, r := range e.Topology().Regions {
		for _, n := range e.Nodes(r.Name, topology.MySQL) {
			address, err := n.Reach(topology.ServiceMySQL)
			if err != nil {
				return nil, err
			}
			c, err := mysql.OpenCanary(address, e.About().Secret, canaryDeadline)
			if err != nil {
				return nil, err
			}
			e.mu.Lock()
			e.canaries = append(e.canaries, c)
			e.mu.Unlock()
			out = append(out, workload.Canary{Node: n.Name(), Site: string(r.Name), Writer: c})
		}
	}
	return out, nil
}

// Database implements procedure.Estate.
func (e *Estate) Database(site topology.Site) (procedure.Database, error) {
	s, err := e.mysql(site)
	if err != nil {
		return nil, err
	}
	return database{s, e.About().Secret}, nil
}

// Ring implements procedure.Estate.
func (e *Estate) Ring(site topology.Site) (procedure.Ring, error) { return ring{e, site}, nil }

// Params implements procedure.Estate.
func (e *Estate) Params(site topology.Site) (procedure.Params, error) {
	url, err := e.url(site, topology.Params)
	if err != nil {
		return nil, err
	}
	return params{e, url + "/params"}, nil
}

// Payments implements procedure.Estate.
func (e *Estate) Payments(site topology.Site) (procedure.Payments, error) {
	url, err := e.url(site, topology.Gateway)
	if err != nil {
		return nil, err
	}
	return payments{e, url + "/payments"}, nil
}

// Status implements procedure.Estate: what a node of the platform says of itself.
func (e *Estate) Status(ctx context.Context, n topology.Node) (procedure.Status, error) {
	address, err := n.Reach(topology.ServiceHTTP)
	if err != nil {
		return procedure.Status{}, err
	}
	var s struct {
		Site      string `json:"site"`
		Epoch     int64  `json:"epoch"`
		Warming   string `json:"warming"`   // online
		Enabled   bool   `json:"enabled"`   // batch
		Succeeded int64  `json:"succeeded"` // on-premises client
		Watched   struct {
			Values map[string]string `json:"values"`
		} `json:"watched"` // online: as last seen
	}
	if err := e.call(ctx, http.MethodGet, "http://"+address+"/status", nil, nil, &s); err != nil {
		return procedure.Status{}, fmt.Errorf("read status of %s: %w", n.Name(), err)
	}
	return procedure.Status{Site: topology.Site(s.Site), Epoch: s.Epoch, Values: s.Watched.Values, Warming: s.Warming, Enabled: s.Enabled, Paid: s.Succeeded}, nil
}

// url is the base URL of a site's node of a kind.
func (e *Estate) url(site topology.Site, kind topology.Kind) (string, error) {
	n, err := e.only(site, kind)
	if err != nil {
		return "", err
	}
	address, err := n.Reach(topology.ServiceHTTP)
	if err != nil {
		return "", err
	}
	return "http://" + address, nil
}

// call makes one HTTP request with JSON in and out. Any status but 200 is an error with what the server said.
func (e *Estate) call(ctx context.Context, method, url string, header map[string]string, in, out any) error {
	_, err := e.callHeaders(ctx, method, url, header, in, out)
	return err
}

// callHeaders is call, with the headers of the answer.
func (e *Estate) callHeaders(ctx context.Context, method, url string, header map[string]string, in, out any) (http.Header, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, bytes.TrimSpace(b[:min(len(b), 300)]))
	}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("decode answer of %s: %w", url, err)
	}
	return resp.Header, nil
}

// database is a MySQL server as procedures use it.
type database struct {
	*mysql.Server
	secret string
}

// Replication implements procedure.Database.
func (d database) Replication(ctx context.Context) (procedure.Replication, error) {
	s, err := d.Server.Status(ctx)
	if err != nil {
		return procedure.Replication{}, err
	}
	return procedure.Replication{
		Source: s.Source, Receiving: s.ReceiverOn, Applying: s.ApplierOn, ApplyError: s.ApplierError,
		Received: s.Received, Executed: s.Executed,
		ReadOnly: s.ReadOnly || s.SuperReadOnly, PersistedWritable: !s.PersistedReadOnly,
		Connected: s.ReceiverConnected, SuperReadOnly: s.SuperReadOnly, PersistedSuperReadOnly: s.PersistedSuperReadOnly,
	}, nil
}

// RaiseEpoch implements procedure.Database.
func (d database) RaiseEpoch(ctx context.Context, to int64, site string) error {
	err := d.Server.RaiseEpoch(ctx, to, site)
	if mysql.ReadOnly(err) {
		return fmt.Errorf("%w: %w", procedure.ErrReadOnly, err)
	}
	return err
}

// CloneState implements procedure.Cloned.
func (d database) CloneState(ctx context.Context) (state, failure string, err error) {
	s, err := d.Server.CloneState(ctx)
	return s.State, s.Error, err
}

// ring is one region's Cassandra as procedures use it.
type ring struct {
	e    *Estate
	site topology.Site
}

// Answers implements procedure.Ring.
func (r ring) Answers(ctx context.Context) error {
	s, err := r.e.cassandra(ctx, r.site)
	if err != nil {
		return err
	}
	return s.Ping(ctx)
}

// Query implements procedure.Querier.
func (r ring) Query(ctx context.Context, statement string) ([][]string, error) {
	s, err := r.e.cassandra(ctx, r.site)
	if err != nil {
		return nil, err
	}
	return s.Query(ctx, statement)
}

// bodyLimit is how much of a node's answer a procedure sees.
const bodyLimit = 64 << 10

// Get implements procedure.Getter.
func (e *Estate) Get(ctx context.Context, node topology.Node, path string) (status int, body []byte, err error) {
	address, err := node.Reach(topology.ServiceHTTP)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s for %s: %w", node.Name(), path, err)
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s for %s: %w", node.Name(), path, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, bodyLimit))
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s for %s: %w", node.Name(), path, err)
	}
	return resp.StatusCode, body, nil
}

var (
	_ procedure.Querier = database{}
	_ procedure.Querier = ring{}
	_ procedure.Getter  = (*Estate)(nil)
)

// params is a region's parameter store.
type params struct {
	e   *Estate
	url string
}

type paramsDocument struct {
	Version int64             `json:"version"`
	Values  map[string]string `json:"values"`
}

// Read implements procedure.Params.
func (p params) Read(ctx context.Context) (int64, map[string]string, error) {
	var doc paramsDocument
	err := p.e.call(ctx, http.MethodGet, p.url, nil, nil, &doc)
	return doc.Version, doc.Values, err
}

// Write implements procedure.Params.
func (p params) Write(ctx context.Context, values map[string]string) (int64, error) {
	var doc paramsDocument
	err := p.e.call(ctx, http.MethodPut, p.url, nil, map[string]any{"values": values}, &doc)
	return doc.Version, err
}

// payments is a region's entry, where operators make one synthetic payment.
type payments struct {
	e   *Estate
	url string
}

// Pay implements procedure.Payments.
func (p payments) Pay(ctx context.Context, key string) (procedure.Paid, error) {
	var a struct {
		State string `json:"state"`
		Node  string `json:"node"`
		Epoch int64  `json:"epoch"`
	}
	answered, err := p.e.callHeaders(ctx, http.MethodPost, p.url, map[string]string{"X-Payment-Key": key},
		map[string]any{"from": 1, "to": 2, "yen": 1}, &a)
	return procedure.Paid{Site: topology.Site(answered.Get("X-Site")), Node: a.Node, Epoch: a.Epoch, State: a.State}, err
}

// all lists every payment through the platform's own API, page by page.
func (p payments) all(ctx context.Context) ([]history.PaymentRow, error) {
	out := []history.PaymentRow{}
	for after := ""; ; {
		var page struct {
			Payments []history.PaymentRow `json:"payments"`
			Next     string               `json:"next"`
		}
		if err := p.e.call(ctx, http.MethodGet, p.url+"?limit=1000&after="+after, nil, nil, &page); err != nil {
			return nil, fmt.Errorf("list payments: %w", err)
		}
		out = append(out, page.Payments...)
		if page.Next == "" || len(page.Payments) == 0 {
			return out, nil
		}
		after = page.Next
	}
}
