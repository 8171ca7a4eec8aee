package wan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// callBudget bounds every call of toxiproxy's API. A call takes under a millisecond; one that does not come back means a
// wedged server, and toxiproxy's ordinary client would wait for thirty seconds without hearing a context.
const callBudget = 3 * time.Second

// api speaks toxiproxy's HTTP API.
type api struct {
	base string
	http *http.Client
}

type proxyJSON struct {
	Name     string      `json:"name"`
	Listen   string      `json:"listen"`
	Upstream string      `json:"upstream"`
	Enabled  bool        `json:"enabled"`
	Toxics   []toxicJSON `json:"toxics,omitempty"`
}

type toxicJSON struct {
	Name       string     `json:"name"`
	Type       string     `json:"type"`
	Stream     string     `json:"stream"`
	Toxicity   float64    `json:"toxicity"`
	Attributes attributes `json:"attributes"`
}

func newAPI(address string) *api {
	return &api{base: "http://" + address, http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 4, IdleConnTimeout: 10 * time.Second,
	}}}
}

func (a *api) proxies(ctx context.Context) (map[string]proxyJSON, error) {
	var all map[string]proxyJSON
	err := a.call(ctx, http.MethodGet, "/proxies", nil, &all)
	return all, err
}

func (a *api) create(ctx context.Context, p proxyJSON) error {
	return a.call(ctx, http.MethodPost, "/proxies", p, nil)
}

func (a *api) enable(ctx context.Context, proxy string, on bool) error {
	return a.call(ctx, http.MethodPatch, "/proxies/"+url.PathEscape(proxy), map[string]bool{"enabled": on}, nil)
}

func (a *api) addToxic(ctx context.Context, proxy string, t toxicJSON) error {
	return a.call(ctx, http.MethodPost, "/proxies/"+url.PathEscape(proxy)+"/toxics", t, nil)
}

func (a *api) updateToxic(ctx context.Context, proxy, toxic string, attrs attributes) error {
	return a.call(ctx, http.MethodPatch, "/proxies/"+url.PathEscape(proxy)+"/toxics/"+url.PathEscape(toxic), map[string]attributes{"attributes": attrs}, nil)
}

func (a *api) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callBudget, fmt.Errorf("toxiproxy gave no answer to %s %s within %s", method, path, callBudget))
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return fmt.Errorf("make %s %s: %w", method, path, err)
	}
	req.Header.Set("User-Agent", "kirikae")
	resp, err := a.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("%w: %w", topology.ErrUnknown, cause)
		}
		return fmt.Errorf("%w: toxiproxy's API: %w", topology.ErrUnreachable, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%w: read the answer to %s %s: %w", topology.ErrUnknown, method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: toxiproxy answers %s: %s", method, path, resp.Status, bytes.TrimSpace(b))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, errors.Join(err, ctx.Err()))
	}
	return nil
}
