package procedure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kirikae/kirikae/topology"
)

// RingNode is the ring as one Cassandra node sees it.
type RingNode struct {
	Node  string
	Live  []string       // broadcast addresses of the nodes that it takes for live, its own among them
	Down  []string       // of those that it takes for dead
	Hints map[string]int // hints that it keeps: host id → files
	Error string         // why it does not tell, or not all; "" when it does
}

// Ringed is an Estate that can ask every Cassandra node for its own view.
type Ringed interface {
	RingNodes(ctx context.Context) ([]RingNode, error)
}

func (g Gate) nodes(ctx context.Context, e Estate) ([]RingNode, error) {
	ringed, err := able[Ringed](e, "ask the Cassandra nodes for their views")
	if err != nil {
		return nil, err
	}
	nodes, err := ringed.RingNodes(ctx)
	if err == nil && len(nodes) == 0 {
		err = errors.New("there is no Cassandra node")
	}
	return nodes, err
}

func (g Gate) hints(ctx context.Context, e Estate) (string, error) {
	nodes, err := g.nodes(ctx, e)
	if err != nil {
		return "", err
	}
	var pending []string
	for _, n := range nodes {
		if n.Error != "" {
			pending = append(pending, fmt.Sprintf("%s does not tell its hints: %s", n.Node, n.Error))
		}
		for to, files := range n.Hints {
			pending = append(pending, fmt.Sprintf("%s keeps %d files of hints for %s", n.Node, files, to))
		}
	}
	slices.Sort(pending)
	if len(pending) > 0 {
		return "", errors.New(strings.Join(pending, ", "))
	}
	return fmt.Sprintf("none of %d nodes keeps hints", len(nodes)), nil
}

func (g Gate) ring(ctx context.Context, e Estate) (string, error) {
	nodes, err := g.nodes(ctx, e)
	if err != nil {
		return "", err
	}
	declared := len(e.Nodes(g.From, topology.Cassandra)) + len(e.Nodes(g.To, topology.Cassandra))
	var wrong []string
	for _, n := range nodes {
		if n.Error != "" {
			wrong = append(wrong, fmt.Sprintf("%s does not tell whom it sees: %s", n.Node, n.Error))
			continue
		}
		if len(n.Live) != declared || len(n.Down) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s sees %d of %d nodes live, and as dead %s", n.Node, len(n.Live), declared, list(n.Down)))
		}
	}
	if len(nodes) != declared {
		wrong = append(wrong, fmt.Sprintf("%d of %d nodes answer", len(nodes), declared))
	}
	if len(wrong) > 0 {
		return "", errors.New(strings.Join(wrong, "; "))
	}
	return fmt.Sprintf("each of %d nodes sees %d live", len(nodes), declared), nil
}
