// Package params is the region's parameter store: the stand-in for AWS Systems Manager Parameter Store, whose values article 002
// rewrites before and after the application starts (rows 4 and 7). All values share one version, which rises with each change.
package params

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/internal/web"
)

// Store is the durable store. Its file is replaced whole at each change and synced before the answer.
type Store struct {
	node string
	path string
	log  *slog.Logger

	mu  sync.Mutex
	now payment.Values
}

// Open reads the store's file. An absent one is a store at version 0.
func Open(node, path string, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{node: node, path: path, log: log, now: payment.Values{Values: map[string]string{}}}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return nil, fmt.Errorf("open parameter store: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("open parameter store: %w", err)
	default:
		if err := web.Strict(b, &s.now); err != nil {
			return nil, fmt.Errorf("open parameter store %s: %w", path, err)
		}
		if s.now.Values == nil {
			s.now.Values = map[string]string{}
		}
	}
	log.Info("parameter store ready", "file", path, "version", s.now.Version, "values", len(s.now.Values))
	return s, nil
}

// ErrVersion says that the store is at another version than the writer thought.
var ErrVersion = errors.New("version differs")

// Put merges values into the store, if it is at version ifVersion (0: whatever it is at), and returns the new state. It is durable
// when Put returns.
func (s *Store) Put(ifVersion int64, values map[string]string) (payment.Values, error) {
	return s.change(ifVersion, values, nil)
}

// Remove takes parameters out of the store, if it is at version ifVersion (0: whatever it is at). One that is not there is no error.
func (s *Store) Remove(ifVersion int64, names ...string) (payment.Values, error) {
	return s.change(ifVersion, nil, names)
}

func (s *Store) change(ifVersion int64, values map[string]string, remove []string) (payment.Values, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ifVersion != 0 && ifVersion != s.now.Version {
		return payment.Values{}, fmt.Errorf("%w: the store is at %d, not at %d", ErrVersion, s.now.Version, ifVersion)
	}
	next := payment.Values{Version: s.now.Version + 1, Values: maps.Clone(s.now.Values)}
	maps.Copy(next.Values, values)
	for _, name := range remove {
		delete(next.Values, name)
	}
	if err := write(s.path, next); err != nil {
		return payment.Values{}, fmt.Errorf("write parameter store: %w", err)
	}
	s.now = next
	s.log.Info("parameters changed", "version", next.Version, "values", values, "removed", remove)
	return payment.Values{Version: next.Version, Values: maps.Clone(next.Values)}, nil
}

// Get implements payment.Params.
func (s *Store) Get(context.Context) (payment.Values, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return payment.Values{Version: s.now.Version, Values: maps.Clone(s.now.Values)}, nil
}

// write replaces a file whole: a kill at any moment leaves the old one or the new one, and what was synced survives a crash of
// the machine.
func write(path string, v payment.Values) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

type put struct {
	IfVersion int64             `json:"if_version"`
	Values    map[string]string `json:"values"`
	Remove    []string          `json:"remove,omitempty"` // names
}

// Handler serves GET and PUT /params, GET /params/NAME and GET /healthz.
func (s *Store) Handler() http.Handler {
	m := web.Mux()
	m.HandleFunc("GET /params", func(w http.ResponseWriter, r *http.Request) {
		v, _ := s.Get(r.Context())
		web.Answer(w, http.StatusOK, v)
	})
	m.HandleFunc("GET /params/{name}", func(w http.ResponseWriter, r *http.Request) {
		v, _ := s.Get(r.Context())
		name := r.PathValue("name")
		value, ok := v.Values[name]
		if !ok {
			web.Refuse(w, http.StatusNotFound, fmt.Sprintf("no parameter %q at version %d", name, v.Version))
			return
		}
		web.Answer(w, http.StatusOK, map[string]any{"name": name, "value": value, "version": v.Version})
	})
	m.HandleFunc("PUT /params", func(w http.ResponseWriter, r *http.Request) {
		var p put
		if !web.Decode(w, r, &p) {
			return
		}
		if len(p.Values)+len(p.Remove) == 0 {
			web.Refuse(w, http.StatusBadRequest, "values: none are given")
			return
		}
		for _, name := range p.Remove {
			if _, both := p.Values[name]; both {
				web.Refuse(w, http.StatusBadRequest, fmt.Sprintf("remove: %q is set by the same call", name))
				return
			}
		}
		for name := range p.Values {
			if err := payment.CheckKey(name); err != nil { // the same letters serve
				web.Refuse(w, http.StatusBadRequest, fmt.Sprintf("values: the name %q: %v", name, err))
				return
			}
		}
		v, err := s.change(p.IfVersion, p.Values, p.Remove)
		switch {
		case errors.Is(err, ErrVersion):
			web.Refuse(w, http.StatusConflict, err.Error())
		case err != nil:
			s.log.Error("parameters not written", "error", err)
			web.Unknown(w, http.StatusInternalServerError, err.Error())
		default:
			web.Answer(w, http.StatusOK, v)
		}
	})
	ok := func(w http.ResponseWriter, r *http.Request) {
		v, _ := s.Get(r.Context())
		web.Answer(w, http.StatusOK, map[string]any{"node": s.node, "version": v.Version})
	}
	m.HandleFunc("GET /healthz", ok)
	m.HandleFunc("GET /status", ok)
	return web.Identify(s.node, "", web.NoEpoch, m)
}

// Client reads a parameter store over HTTP.
type Client struct {
	url     string
	rt      http.RoundTripper
	timeout time.Duration
}

var _ payment.Params = (*Client)(nil)

// NewClient makes a client of the store at "http://host:port". timeout bounds one call. Without a
// transport it makes its own.
func NewClient(url string, rt http.RoundTripper, timeout time.Duration) *Client {
	if rt == nil {
		rt = web.Transport(500*time.Millisecond, 4)
	}
	return &Client{url: web.URL(url), rt: rt, timeout: timeout}
}

// Get implements payment.Params.
func (c *Client) Get(ctx context.Context) (payment.Values, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var v payment.Values
	if err := web.Call(ctx, c.rt, http.MethodGet, c.url+"/params", nil, &v); err != nil {
		return payment.Values{}, fmt.Errorf("read parameters of %s: %w", c.url, err)
	}
	return v, nil
}

// Put merges values if the store is at version ifVersion (0: any).
func (c *Client) Put(ctx context.Context, ifVersion int64, values map[string]string) (payment.Values, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var v payment.Values
	if err := web.Call(ctx, c.rt, http.MethodPut, c.url+"/params", put{IfVersion: ifVersion, Values: values}, &v); err != nil {
		return payment.Values{}, fmt.Errorf("write parameters of %s: %w", c.url, err)
	}
	return v, nil
}

// Wait reads a store until f takes its values, at most for limit. The error says what was waited for and what was last seen.
func Wait(ctx context.Context, p payment.Params, limit time.Duration, f func(payment.Values) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var saw error
	for {
		v, err := p.Get(ctx)
		if err == nil {
			if err = f(v); err == nil {
				return nil
			}
		}
		if saw == nil || ctx.Err() == nil { // the end of the wait itself tells nothing
			saw = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait %s for parameters: last saw: %w", limit, saw)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
