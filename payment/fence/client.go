package fence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kirikae/kirikae/payment/internal/web"
)

// ErrSilent says that the Witness gave no answer. It may have acted: each of its acts may be repeated.
var ErrSilent = errors.New("the witness does not answer")

// Client asks a Witness. Every call is one request, bounded by its context.
type Client struct {
	base string
	http *http.Client
}

// NewClient describes a client of the Witness at a base URL. A nil transport is one of its own; Close it.
func NewClient(url string, transport http.RoundTripper) *Client {
	if transport == nil {
		transport = web.Transport(time.Second, 1)
	}
	return &Client{base: web.URL(url), http: &http.Client{Transport: transport}}
}

// Close lets go of kept connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Lease reads who holds the lease.
func (c *Client) Lease(ctx context.Context) (Lease, error) {
	return c.call(ctx, http.MethodGet, "/lease", nil)
}

// Renew extends the lease. A HeldError says that the Witness answered, and refused.
func (c *Client) Renew(ctx context.Context, site, node string, term int64) (Lease, error) {
	return c.call(ctx, http.MethodPost, "/renew", ask{Site: site, Node: node, Term: term})
}

// Fenced tells that a released lease is written under no more.
func (c *Client) Fenced(ctx context.Context, site, node string, term int64) (Lease, error) {
	return c.call(ctx, http.MethodPost, "/fenced", ask{Site: site, Node: node, Term: term})
}

// Take asks for the lease for a site.
func (c *Client) Take(ctx context.Context, site string, o *Override) (Lease, error) {
	return c.call(ctx, http.MethodPost, "/take", ask{Site: site, Override: o})
}

// Release asks a site to give the lease up.
func (c *Client) Release(ctx context.Context, site string) (Lease, error) {
	return c.call(ctx, http.MethodPost, "/release", ask{Site: site})
}

func (c *Client) call(ctx context.Context, method, path string, in any) (Lease, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return Lease{}, fmt.Errorf("ask the witness: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return Lease{}, fmt.Errorf("ask the witness: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Lease{}, fmt.Errorf("%w: %w", ErrSilent, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, web.MaxBody))
	if err != nil {
		return Lease{}, fmt.Errorf("ask the witness: read answer: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		var l Lease
		if err := web.Strict(b, &l); err != nil {
			return Lease{}, fmt.Errorf("ask the witness: read answer: %w", err)
		}
		return l, nil
	case http.StatusConflict:
		var r refusal
		if err := web.Strict(b, &r); err != nil {
			return Lease{}, fmt.Errorf("ask the witness: read refusal: %w", err)
		}
		return r.Lease, &HeldError{Why: r.Error, Lease: r.Lease}
	}
	return Lease{}, fmt.Errorf("ask the witness: %s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(b[:min(len(b), 300)]))
}
