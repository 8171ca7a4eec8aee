package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/plan"
)

// Until calls f until it returns nil, at most until ctx ends. Its error says what was awaited and what was last seen.
func Until(ctx context.Context, what string, f func(context.Context) error) error {
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := f(try)
		cancel()
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // an attempt that was cut short has seen nothing
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w; last seen: %w", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

// web is a client that holds no connection: nodes are started and killed under it.
func web() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 3 * time.Second}
}

// answers waits until a URL answers with one of the statuses.
func answers(ctx context.Context, url string, statuses ...int) error {
	c := web()
	return Until(ctx, url+" answers", func(ctx context.Context) error { return answer(ctx, c, url, statuses...) })
}

// answer asks once.
func answer(ctx context.Context, c *http.Client, url string, statuses ...int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(res.Body, 500))
	if !slices.Contains(statuses, res.StatusCode) {
		return fmt.Errorf("it answers %s: %s", res.Status, bytes.TrimSpace(b))
	}
	return nil
}

// setParams merges values into a region's parameter store, as soon as it answers, and reads them back.
func (c *Console) setParams(ctx context.Context, n plan.Node, values map[string]string) error {
	url := "http://" + c.at(n, topology.ServiceHTTP) + "/params"
	body, err := json.Marshal(map[string]any{"if_version": 0, "values": values})
	if err != nil {
		return fmt.Errorf("write parameters of %s: %w", n.Site, err)
	}
	client := web()
	return Until(ctx, n.Name+" holds the parameters of "+string(n.Site), func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s: %s", res.Status, bytes.TrimSpace(b))
		}
		var now struct {
			Values map[string]string `json:"values"`
		}
		if err := json.Unmarshal(b, &now); err != nil {
			return err
		}
		for k, v := range values {
			if now.Values[k] != v {
				return fmt.Errorf("%s is %q, written was %q", k, now.Values[k], v)
			}
		}
		return nil
	})
}
