package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// What a name server's API answers:
//
//	GET  /records            → [topology.Record], sorted by name
//	POST /point {"name","to"} → topology.Record as it is now; 400 with a sentence when it cannot be
const (
	recordsPath = "/records"
	pointPath   = "/point"
)

type pointRequest struct {
	Name string        `json:"name"`
	To   topology.Site `json:"to"`
}

// maxBody bounds what is read of a request or an answer.
const maxBody = 1 << 20

// Handler is the zone's API for other processes; Remote speaks it. It asks nobody who he is: whoever listens for it decides
// who gets through.
func (s *Server) Handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET "+recordsPath, func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Records()) })
	m.HandleFunc("POST "+pointPath, func(w http.ResponseWriter, r *http.Request) {
		var q pointRequest
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			http.Error(w, "read the request: "+err.Error(), http.StatusBadRequest)
			return
		}
		record, err := s.Point(q.Name, q.To)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, record)
	})
	return m
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a caller that has gone needs no answer
}

// remoteBudget bounds a call when its context has no deadline.
const remoteBudget = 5 * time.Second

// Remote is a zone whose name server is another process. It implements topology.Zone.
//
// Errors: topology.ErrUnreachable is proof that nothing was sent, topology.ErrUnknown that a change may have happened. Any other
// error is the name server's refusal.
type Remote struct {
	server string
	base   string
	http   *http.Client
}

// NewRemote describes a zone: server is where customers ask it ("127.9.0.53:5353"), api where its Handler answers, both as seen
// from this process. Nothing is contacted. Close it.
func NewRemote(server, api string) *Remote {
	return &Remote{server: server, base: "http://" + api, http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 10 * time.Second,
	}}}
}

// Server implements topology.Zone.
func (r *Remote) Server() string { return r.server }

// Records implements topology.Zone.
func (r *Remote) Records(ctx context.Context) ([]topology.Record, error) {
	var all []topology.Record
	if err := r.call(ctx, http.MethodGet, recordsPath, nil, &all); err != nil {
		return nil, fmt.Errorf("read the zone: %w", err)
	}
	return all, nil
}

// Point implements topology.Zone.
func (r *Remote) Point(ctx context.Context, name string, to topology.Site) error {
	var record topology.Record
	if err := r.call(ctx, http.MethodPost, pointPath, pointRequest{name, to}, &record); err != nil {
		return fmt.Errorf("change the zone: %w", err)
	}
	if record.Site != to {
		return fmt.Errorf("change the zone: %s leads to %q, not to %q", record.Name, record.Site, to)
	}
	return nil
}

// Close lets go of connections. The zone stays as it is.
func (r *Remote) Close() { r.http.CloseIdleConnections() }

func (r *Remote) call(ctx context.Context, method, path string, in, out any) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, remoteBudget, fmt.Errorf("the name server gave no answer to %s %s within %s", method, path, remoteBudget))
		defer cancel()
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	var connected atomic.Bool // from then on something may have been sent
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), method, r.base+path, body)
	if err != nil {
		return fmt.Errorf("make %s %s: %w", method, path, err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		kind := topology.ErrUnreachable
		if connected.Load() {
			kind = topology.ErrUnknown
		}
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(err, cause)
		}
		return fmt.Errorf("%w: %w", kind, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return fmt.Errorf("%w: read the answer to %s %s: %w", topology.ErrUnknown, method, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(string(bytes.TrimSpace(b)))
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%w: read the answer to %s %s: %w", topology.ErrUnknown, method, path, err)
	}
	return nil
}

var _ topology.Zone = (*Remote)(nil)
