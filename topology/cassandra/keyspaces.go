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

// Spread puts the replicated system keyspaces into NetworkTopologyStrategy over the same data centres as the platform's own, so
// that none of them needs a node of a region that may be gone.
func (s *Session) Spread(ctx context.Context, replicas map[string]int) error {
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
