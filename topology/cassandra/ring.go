package cassandra

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/gocql/gocql"
)

// Ready says whether the region answers CQL: nil, or why not.
func (s *Session) Ready(ctx context.Context) error {
	var state string
	err := s.cql.Query("SELECT bootstrapped FROM system.local").Consistency(gocql.One).WithContext(ctx).Scan(&state)
	if err == nil && state != "COMPLETED" {
		err = fmt.Errorf("node is not in the ring: %s", state)
	}
	return s.wrap("read state", err)
}

// Version is what a node of the region says it is.
func (s *Session) Version(ctx context.Context) (string, error) {
	var v string
	err := s.cql.Query("SELECT release_version FROM system.local").Consistency(gocql.One).WithContext(ctx).Scan(&v)
	return v, s.wrap("read version", err)
}

// WaitRing waits until each of the nodes ("ip:port" of CQL, of all regions) shows all the others in its own tables, with tokens and
// in one schema, as long as ctx allows. Every node is asked: a peer can stay unseen by one node while all the others show it.
// Whether they also answer each other is Quorums' to prove.
func WaitRing(ctx context.Context, nodes ...string) error {
	return waitViews(ctx, "the ring", nodes, missing)
}

// waitViews looks at what each node shows until nothing is missing in that, as long as ctx allows.
func waitViews(ctx context.Context, what string, nodes []string, missing func([]string, []view) string) error {
	views := make([]view, len(nodes))
	for {
		var wg sync.WaitGroup
		for i, n := range nodes {
			wg.Go(func() { views[i].look(ctx, n) })
		}
		wg.Wait()
		why := missing(nodes, views)
		if why == "" || ctx.Err() != nil {
			for i := range views {
				views[i].close()
			}
			if why == "" {
				return nil
			}
			return fmt.Errorf("wait for %s of %d nodes: %w; last seen: %s", what, len(nodes), context.Cause(ctx), why)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// view is what one node shows.
type view struct {
	session *Session
	schema  string
	peers   []peer // itself first
	err     error
}

type peer struct {
	address string // broadcast address
	schema  string
	tokens  bool
}

func (v *view) look(ctx context.Context, node string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if v.session == nil {
		if v.session, v.err = openNode(ctx, node); v.err != nil {
			v.session = nil
			return
		}
	}
	v.peers, v.err = v.session.peers(ctx)
	if v.err != nil {
		v.close()
	}
}

func (v *view) close() {
	if v.session != nil {
		v.session.Close()
		v.session = nil
	}
}

func (s *Session) peers(ctx context.Context) ([]peer, error) {
	var self string
	var schema gocql.UUID
	var tokens []string
	if err := s.cql.Query("SELECT broadcast_address, schema_version, tokens FROM system.local").Consistency(gocql.One).WithContext(ctx).Scan(&self, &schema, &tokens); err != nil {
		return nil, s.wrap("read its view", err)
	}
	all := []peer{{self, schema.String(), len(tokens) > 0}}
	it := s.cql.Query("SELECT peer, schema_version, tokens FROM system.peers_v2").Consistency(gocql.One).WithContext(ctx).Iter()
	for it.Scan(&self, &schema, &tokens) {
		all = append(all, peer{self, schema.String(), len(tokens) > 0})
		tokens = nil
	}
	return all, s.wrap("read its view", it.Close())
}

// missing says in which way the views are not yet one ring; "" when they are.
func missing(nodes []string, views []view) string {
	var why []string
	members := map[string]bool{}
	for i, v := range views {
		if v.err != nil {
			why = append(why, fmt.Sprintf("%s: %v", nodes[i], v.err))
			continue
		}
		members[v.peers[0].address] = true
	}
	if len(why) == 0 && len(members) != len(nodes) {
		why = append(why, "several nodes have one address")
	}
	for i, v := range views {
		if v.err != nil {
			continue
		}
		seen := map[string]peer{}
		for _, p := range v.peers {
			seen[p.address] = p
		}
		for m := range members {
			switch p, ok := seen[m]; {
			case !ok:
				why = append(why, fmt.Sprintf("%s does not see %s", nodes[i], m))
			case !p.tokens:
				why = append(why, fmt.Sprintf("%s sees %s without tokens", nodes[i], m))
			case p.schema != v.peers[0].schema:
				why = append(why, fmt.Sprintf("%s sees %s in another schema", nodes[i], m))
			}
		}
	}
	sort.Strings(why)
	return strings.Join(why, "; ")
}
