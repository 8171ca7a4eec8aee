package hosted

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
	"strconv"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

// client asks a world process over its socket. It is Nodes and Zone.
type client struct{ http *http.Client }

func newClient(socket string) *client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &client{&http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second}}}
}

// call asks. What never reached the world process is ErrUnreachable; what got no answer is ErrUnknown.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
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
	res, err := c.http.Do(req)
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
		return &remoteError{a.Error, kinds()[a.Kind]}
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

func (c *client) close() { c.http.CloseIdleConnections() }

func (c *client) ping(ctx context.Context, id string) error {
	var a pingAnswer
	if err := c.call(ctx, http.MethodGet, "/ping", nil, &a); err != nil {
		return err
	}
	if a.ID != id {
		return fmt.Errorf("another world answers, %s instead of %s", a.ID, id)
	}
	return nil
}

func (c *client) down(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/down", nil, nil)
}

// wrap names the node once: what the world process says of it has its name in it.
func wrap(what string, n plan.Node, err error) error {
	var r *remoteError
	if err == nil || errors.As(err, &r) {
		return err
	}
	return fmt.Errorf("%s %s: %w", what, n.Name, err)
}

func nodePath(n plan.Node) string { return "/nodes/" + url.PathEscape(n.Name) }

func (c *client) do(ctx context.Context, n plan.Node, verb, query string) error {
	return wrap(verb, n, c.call(ctx, http.MethodPost, nodePath(n)+"/"+verb+query, nil, nil))
}

func (c *client) State(ctx context.Context, n plan.Node) (topology.State, error) {
	var a stateAnswer
	err := c.call(ctx, http.MethodGet, nodePath(n), nil, &a)
	return a.State, wrap("read the state of", n, err)
}

func (c *client) Start(ctx context.Context, n plan.Node, alone bool) error {
	query := ""
	if alone {
		query = "?alone=true"
	}
	return c.do(ctx, n, "start", query)
}

func (c *client) Stop(ctx context.Context, n plan.Node) error   { return c.do(ctx, n, "stop", "") }
func (c *client) Kill(ctx context.Context, n plan.Node) error   { return c.do(ctx, n, "kill", "") }
func (c *client) Pause(ctx context.Context, n plan.Node) error  { return c.do(ctx, n, "pause", "") }
func (c *client) Resume(ctx context.Context, n plan.Node) error { return c.do(ctx, n, "resume", "") }
func (c *client) Wipe(ctx context.Context, n plan.Node) error   { return c.do(ctx, n, "wipe", "") }

func (c *client) Logs(ctx context.Context, n plan.Node, lines int) ([]string, error) {
	var a logsAnswer
	err := c.call(ctx, http.MethodGet, nodePath(n)+"/logs?n="+strconv.Itoa(lines), nil, &a)
	return a.Lines, wrap("read the log of", n, err)
}

func (c *client) Records(ctx context.Context) ([]topology.Record, error) {
	var a zoneAnswer
	if err := c.call(ctx, http.MethodGet, "/zone", nil, &a); err != nil {
		return nil, fmt.Errorf("read the zone: %w", err)
	}
	return a.Records, nil
}

func (c *client) Point(ctx context.Context, name string, to topology.Site) error {
	if err := c.call(ctx, http.MethodPost, "/zone", pointRequest{name, to}, nil); err != nil {
		return fmt.Errorf("change the zone: %w", err)
	}
	return nil
}

var (
	_ Nodes = (*client)(nil)
	_ Zone  = (*client)(nil)
)
