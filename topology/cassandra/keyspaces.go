package cassandra

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocql/gocql"
)

// Keyspaces are the replicated keyspaces with their replicas by data centre, as the node that answers has them: the platform's
// own, and system_auth, system_distributed and system_traces. Those that every node keeps for itself are left out. What is not
// in NetworkTopologyStrategy has its replicas under "".
func (s *Session) Keyspaces(ctx context.Context) (map[string]map[string]int, error) {
	out := map[string]map[string]int{}
	it := s.cql.Query("SELECT keyspace_name, replication FROM system_schema.keyspaces").Consistency(gocql.One).WithContext(ctx).Iter()
	var name string
	for {
		var replication map[string]string
		if !it.Scan(&name, &replication) {
			break
		}
		if factors := factors(replication); factors != nil {
			out[name] = factors
		}
	}
	return out, s.wrap("read keyspaces", it.Close())
}

// factors reads a keyspace's replication; nil: it is not replicated.
func factors(replication map[string]string) map[string]int {
	class := replication["class"]
	class = class[strings.LastIndex(class, ".")+1:]
	out := map[string]int{}
	switch class {
	case "NetworkTopologyStrategy":
		for dc, n := range replication {
			if dc != "class" {
				out[dc], _ = strconv.Atoi(n)
			}
		}
	case "SimpleStrategy":
		out[""], _ = strconv.Atoi(replication["replication_factor"])
	default:
		return nil
	}
	return out
}

// agreementLimit is how long the driver waits for one schema after a change that its caller proves otherwise: while a region is
// gone that it still has in its tables, it would wait for it in vain.
const agreementLimit = 200 * time.Millisecond

// SetReplicas makes a keyspace be replicated so, asked of one node. Other nodes learn of it soon: whoever needs that looks at
// their views.
func SetReplicas(ctx context.Context, by NodeAt, keyspace string, replicas map[string]int) error {
	cfg := nodeConfig(by.CQL)
	cfg.MaxWaitSchemaAgreement = agreementLimit
	s, err := open(ctx, cfg, by.Name)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.setReplicas(ctx, keyspace, replicas)
}

func (s *Session) setReplicas(ctx context.Context, keyspace string, replicas map[string]int) error {
	return s.wrap("set replicas of "+keyspace, s.cql.Query(alterKeyspace(keyspace, replicas)).WithContext(ctx).Exec())
}

func alterKeyspace(keyspace string, replicas map[string]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `ALTER KEYSPACE "%s" WITH replication = {'class': 'NetworkTopologyStrategy'`, strings.ReplaceAll(keyspace, `"`, `""`))
	for _, dc := range slices.Sorted(maps.Keys(replicas)) {
		fmt.Fprintf(&b, ", '%s': %d", strings.ReplaceAll(dc, "'", "''"), replicas[dc])
	}
	b.WriteString("}")
	return b.String()
}

// spread puts the replicated system keyspaces into NetworkTopologyStrategy over the same data centres as the platform's own, so
// that none of them needs a node of a region that may be gone.
func (s *Session) spread(ctx context.Context, replicas map[string]int) error {
	now, err := s.Keyspaces(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if maps.Equal(now[name], replicas) {
			continue
		}
		if err := s.setReplicas(ctx, name, replicas); err != nil {
			return err
		}
	}
	return nil
}

// Form makes a schema over a ring that is whole: it executes statements in turn and spreads every replicated keyspace. All of it is asked of the
// first node ("ip:port" of CQL), as changes that several nodes make at once may collide, and none waits for the other nodes, which hear of a
// version by gossip only once a second: that is waited for once, at the end, until every node itself says that it has the same schema.
func Form(ctx context.Context, nodes []string, statements []string, replicas map[string]int) error {
	cfg := nodeConfig(nodes[0])
	cfg.MaxWaitSchemaAgreement = time.Millisecond
	s, err := open(ctx, cfg, nodes[0])
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.ApplySchema(ctx, statements); err != nil {
		return err
	}
	if err := s.spread(ctx, replicas); err != nil {
		return err
	}
	return waitViews(ctx, "one schema", nodes, oneSchema)
}

// oneSchema says which nodes have another schema than the first, as each of them says itself; "" when none has.
func oneSchema(nodes []string, views []view) string {
	var why []string
	for i, v := range views {
		switch {
		case v.err != nil:
			why = append(why, fmt.Sprintf("%s: %v", nodes[i], v.err))
		case views[0].err == nil && v.peers[0].schema != views[0].peers[0].schema:
			why = append(why, fmt.Sprintf("%s has schema %s, %s has %s", nodes[i], v.peers[0].schema, nodes[0], views[0].peers[0].schema))
		}
	}
	return strings.Join(why, "; ")
}
