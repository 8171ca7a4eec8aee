package topologytest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// jmx: every Cassandra node tells by JMX which nodes it holds for alive, and these are all of both regions.
func (c *contract) jmx(t *testing.T) {
	nodes := c.Nodes("", topology.Cassandra)
	var first []string
	for _, n := range nodes {
		at := reach(t, n, topology.ServiceJMX)
		var alive []string
		within(t, c.limits.Answer, n.Name()+" holds all nodes for alive", func(ctx context.Context) error {
			var err error
			alive, err = aliveNodes(ctx, at)
			if err == nil && len(alive) != len(nodes) {
				err = fmt.Errorf("it knows %v", alive)
			}
			return err
		})
		slices.Sort(alive)
		if first == nil {
			first = alive
		}
		if !slices.Equal(alive, first) {
			t.Errorf("%s knows %v, another %v", n.Name(), alive, first)
		}
	}
}

// aliveNodes reads a node's own view of the ring.
func aliveNodes(ctx context.Context, at string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/jolokia/read/org.apache.cassandra.db:type=StorageService/LiveNodes", nil)
	if err != nil {
		return nil, err
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var v struct {
		Status int      `json:"status"`
		Error  string   `json:"error"`
		Value  []string `json:"value"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", res.Status, err)
	}
	if v.Status != http.StatusOK {
		return nil, fmt.Errorf("it answers %d: %s", v.Status, v.Error)
	}
	return v.Value, nil
}
