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

// NodeAt is where one node is asked for its own view of the ring.
type NodeAt struct {
	Name string
	CQL  string // "ip:port"
	JMX  string // "ip:port" of its agent
}

// View is the ring as one node sees it. Nodes may disagree: a peer can stay unseen by one of them while all the others show it.
type View struct {
	Node      string
	Self      string                    // broadcast address of the node
	Mode      string                    // what the node says it does: NORMAL, JOINING, DRAINED, …
	Schema    string                    // version of its schema
	Members   []Member                  // the node itself too, by address
	Removed   []Removed                 // nodes that were taken out, as long as its gossip remembers them (3 days)
	RingDelay time.Duration             // time that a change of the ring takes to reach everybody
	Keyspaces map[string]map[string]int // replicated keyspaces: data centre → replicas; SimpleStrategy has them under ""
}

// Member is one node of the ring.
type Member struct {
	Address string // broadcast address
	Host    string // host id
	DC      string // "" where the viewer does not know it (any more)
	State   string // one of Up, Down, Joining, Leaving
}

// States of a member.
const (
	Up      = "up"
	Down    = "down"
	Joining = "joining"
	Leaving = "leaving"
)

// Removed is a node that was taken out of the ring.
type Removed struct {
	Address string
	DC      string    // "" where the viewer does not know it (any more)
	Host    string    // "" where the gossip does not say it any more
	At      time.Time // wall time of the node that removed it
}

// remembered is how long gossip remembers a node that was removed (Gossiper.aVeryLongTime); it says when it will forget it.
const remembered = 3 * 24 * time.Hour

// Look asks one node for its view, over its management interface and its own tables.
func Look(ctx context.Context, n NodeAt) (View, error) {
	v := View{Node: n.Name}
	j := OpenJMX(n.Name, n.JMX)
	defer j.Close()
	var state struct {
		Mode        string            `json:"OperationMode"`
		Live        []string          `json:"LiveNodes"`
		Unreachable []string          `json:"UnreachableNodes"`
		Joining     []string          `json:"JoiningNodes"`
		Leaving     []string          `json:"LeavingNodes"`
		Moving      []string          `json:"MovingNodes"`
		Hosts       map[string]string `json:"EndpointToHostId"`
		Schema      string            `json:"SchemaVersion"`
	}
	if err := j.read(ctx, beanStorage, &state, "OperationMode", "LiveNodes", "UnreachableNodes", "JoiningNodes", "LeavingNodes", "MovingNodes", "EndpointToHostId", "SchemaVersion"); err != nil {
		return v, err
	}
	var gossip string
	if err := j.read(ctx, beanDetector, &gossip, "AllEndpointStates"); err != nil {
		return v, err
	}
	var properties map[string]string
	if err := j.read(ctx, beanRuntime, &properties, "SystemProperties"); err != nil {
		return v, err
	}
	v.Mode, v.Schema, v.RingDelay = state.Mode, state.Schema, ringDelay(properties)
	told := parseGossip(gossip)
	s, err := openNode(ctx, n.CQL)
	if err != nil {
		return v, err
	}
	defer s.Close()
	s.name = n.Name
	rows, err := s.members(ctx)
	if err != nil {
		return v, err
	}
	if v.Keyspaces, err = s.Keyspaces(ctx); err != nil {
		return v, err
	}

	v.Self = rows[0].Address
	all := map[string]*Member{}
	at := func(address, state string) {
		m := all[address]
		if m == nil {
			m = &Member{Address: address, Host: told[address].host, DC: told[address].dc}
			all[address] = m
		}
		if state != "" {
			m.State = state
		}
	}
	for _, r := range rows { // its tables: what it would start with again
		at(r.Address, "")
		all[r.Address].DC, all[r.Address].Host = r.DC, r.Host
	}
	for address, host := range state.Hosts {
		at(address, "")
		all[address].Host = host
	}
	for _, list := range []struct {
		of    []string
		state string
	}{{state.Live, Up}, {state.Unreachable, Down}, {state.Joining, Joining}, {state.Leaving, Leaving}, {state.Moving, Leaving}} {
		for _, address := range list.of {
			at(address, list.state)
		}
	}
	for _, address := range slices.Sorted(maps.Keys(all)) {
		m := *all[address]
		if m.State == "" {
			m.State = Down // it is in its tables, and nobody says that it lives
		}
		v.Members = append(v.Members, m)
	}
	for _, address := range slices.Sorted(maps.Keys(told)) {
		if g := told[address]; !g.forgets.IsZero() {
			v.Removed = append(v.Removed, Removed{Address: address, DC: g.dc, Host: g.removed, At: g.forgets.Add(-remembered)})
		}
	}
	return v, nil
}

// ringDelay is what the node was started with, or Cassandra's own 30 s.
func ringDelay(properties map[string]string) time.Duration {
	if ms, err := strconv.Atoi(properties["cassandra.ring_delay_ms"]); err == nil {
		return time.Duration(ms) * time.Millisecond
	}
	return 30 * time.Second
}

// gossiped is what one node's gossip says of another.
type gossiped struct {
	dc, host string
	removed  string    // host id that was removed
	forgets  time.Time // zero: it is not removed
}

// parseGossip reads what FailureDetector.getAllEndpointStates prints: an address after a slash, then "NAME:VERSION:VALUE" lines.
func parseGossip(text string) map[string]gossiped {
	out := map[string]gossiped{}
	address := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if i := strings.LastIndex(line, "/"); i >= 0 && !strings.Contains(line[:i], ":") {
			address, _, _ = strings.Cut(line[i+1:], ":")
			out[address] = gossiped{}
			continue
		}
		parts := strings.SplitN(line, ":", 3)
		if address == "" || len(parts) < 3 {
			continue
		}
		g := out[address]
		switch parts[0] {
		case "DC":
			g.dc = parts[2]
		case "HOST_ID":
			g.host = parts[2]
		case "STATUS", "STATUS_WITH_PORT":
			words := strings.Split(parts[2], ",")
			if len(words) < 2 || (words[0] != "removed" && words[0] != "LEFT") {
				break
			}
			if ms, err := strconv.ParseInt(words[len(words)-1], 10, 64); err == nil {
				g.forgets = time.UnixMilli(ms)
			}
			if words[0] == "removed" {
				g.removed = words[1]
			}
		}
		out[address] = g
	}
	return out
}

// members are the nodes in a node's own tables, itself first.
func (s *Session) members(ctx context.Context) ([]Member, error) {
	var m Member
	var host gocql.UUID
	if err := s.cql.Query("SELECT broadcast_address, host_id, data_center FROM system.local").Consistency(gocql.One).WithContext(ctx).Scan(&m.Address, &host, &m.DC); err != nil {
		return nil, s.wrap("read its members", err)
	}
	m.Host = host.String()
	all := []Member{m}
	it := s.cql.Query("SELECT peer, host_id, data_center FROM system.peers_v2").Consistency(gocql.One).WithContext(ctx).Iter()
	for it.Scan(&m.Address, &host, &m.DC) {
		m.Host = host.String()
		all = append(all, m)
	}
	return all, s.wrap("read its members", it.Close())
}

// PendingHints are the bytes' bearers that a node keeps for others: the number of hint files, by the host id that they are for.
// A hint is in a file one second after it was made (hints_flush_period). The table was once seen empty while hints existed: what
// must be gone is read more than once.
func PendingHints(ctx context.Context, n NodeAt) (map[string]int, error) {
	s, err := openNode(ctx, n.CQL)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	s.name = n.Name
	out := map[string]int{}
	it := s.cql.Query("SELECT host_id, files FROM system_views.pending_hints").Consistency(gocql.One).WithContext(ctx).Iter()
	var host gocql.UUID
	var files int
	for it.Scan(&host, &files) {
		out[host.String()] += files
	}
	return out, s.wrap("read its hints", it.Close())
}

// Remove takes a node that is down out of the ring, asked of one that stays; harmless when repeated. A removal that somebody
// began who is gone is waited for. It ends when the node that stays does not show the host any more.
func Remove(ctx context.Context, by NodeAt, host string) error {
	j := OpenJMX(by.Name, by.JMX)
	defer j.Close()
	last := "nothing yet"
	for {
		var hosts map[string]string
		if err := j.read(ctx, beanStorage, &hosts, "EndpointToHostId"); err != nil {
			return err
		}
		if !slices.Contains(slices.Collect(maps.Values(hosts)), host) {
			return nil
		}
		switch err := j.RemoveNode(ctx, host); {
		case err == nil:
			last = "the removal ended"
		case Removing(err):
			if last, err = j.RemovalStatus(ctx); err != nil {
				return err
			}
		default:
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for the removal of %s by Cassandra %s: %w; last saw: %s", host, by.Name, context.Cause(ctx), last)
		}
	}
}

// RebuildAll streams keyspaces from another region into one node, one after the other; one that somebody began who is gone is
// waited for and made again, as it streams what is not here yet.
func RebuildAll(ctx context.Context, n NodeAt, source string, keyspaces []string) error {
	j := OpenJMX(n.Name, n.JMX)
	defer j.Close()
	for _, k := range keyspaces {
		for {
			err := j.Rebuild(ctx, source, k)
			if err == nil {
				break
			}
			if !Rebuilding(err) {
				return fmt.Errorf("rebuild %s from %s: %w", k, source, err)
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("wait for the rebuild of %s at Cassandra %s: %w; last saw: %w", k, n.Name, context.Cause(ctx), err)
			}
		}
	}
	return nil
}
