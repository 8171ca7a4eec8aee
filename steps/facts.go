package steps

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
)

// factsLimit bounds the reading of all facts, followLimit the wait until a replica shows what its source had when it was asked.
const (
	factsLimit  = 60 * time.Second
	followLimit = 15 * time.Second
)

// facts is the state of the platform while it is put together.
type facts map[string]string

func (f facts) set(key, format string, a ...any) { f[key] = fmt.Sprintf(format, a...) }

// Facts is the state of the whole platform as one canonical document, read from the servers themselves: who is the writer and who
// follows, how the regions' GTIDs relate, who sees whom in the ring, keyspaces, parameters, DNS, links, batch, nodes. Addresses are
// told by the names of nodes and the epoch stands in one place, so that nothing of one run is in it and two runs that ended alike
// have equal facts. What is dead is told by its node alone.
func (e *Estate) Facts(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, factsLimit)
	defer cancel()
	f := facts{}
	alive, err := e.nodeFacts(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context, facts, map[string]bool) error{
		e.databaseFacts, e.leaseFacts, e.ringFacts, e.keyspaceFacts, e.parameterFacts, e.batchFacts, e.entryFacts,
	} {
		if err := part(ctx, f, alive); err != nil {
			return nil, fmt.Errorf("read facts: %w", err)
		}
	}
	return f, nil
}

// nodeFacts tells the state of nodes, and says which run. A batch node may wait for its flag or be stopped: whether a region's batch
// is enabled is told instead. The client on premises is no part of the platform.
func (e *Estate) nodeFacts(ctx context.Context, f facts) (alive map[string]bool, err error) {
	alive = map[string]bool{}
	for _, n := range e.Nodes("", "") {
		state, err := n.State(ctx)
		if err != nil {
			return nil, fmt.Errorf("read facts: %w", err)
		}
		if n.Kind() != topology.Batch && n.Kind() != topology.OnPremises {
			f.set("node."+n.Name(), "%s", state)
		}
		alive[n.Name()] = state == topology.Running
	}
	return alive, nil
}

// databaseFacts tells each living MySQL's role and how the regions' payments relate.
func (e *Estate) databaseFacts(ctx context.Context, f facts, alive map[string]bool) error {
	var top int64
	epochs, owners := map[topology.Site]int64{}, map[topology.Site]string{}
	status := map[topology.Site]mysql.Status{}
	var read []topology.Site
	for _, r := range e.Topology().Regions {
		if !alive[e.mysqlNode(r.Name)] {
			continue
		}
		db, err := e.mysql(r.Name)
		if err != nil {
			return err
		}
		s, err := db.Status(ctx)
		if err != nil {
			return err
		}
		if epochs[r.Name], owners[r.Name], err = db.Epoch(ctx); err != nil {
			return err
		}
		status[r.Name], read, top = s, append(read, r.Name), max(top, epochs[r.Name])
	}
	for _, site := range read {
		s, prefix := status[site], string(site)+".mysql."
		role, source := "primary", "nobody"
		if s.Source != "" {
			role, source = "replica", e.named(s.Source)
		}
		f.set(prefix+"role", "%s", role)
		f.set(prefix+"follows", "%s", source)
		f.set(prefix+"writable", "%t", !s.ReadOnly && !s.SuperReadOnly)
		f.set(prefix+"writable-after-restart", "%t", !s.PersistedReadOnly)
		f.set(prefix+"epoch", "%s's, %s", owners[site], map[bool]string{true: "current", false: fmt.Sprintf("%d behind", top-epochs[site])}[epochs[site] == top])
		if epochs[site] == top {
			f.set("epoch", "%d", top)
			f.set("epoch.site", "%s", owners[site])
		}
	}
	if len(read) != 2 {
		return nil
	}
	relation, err := e.payRelation(ctx, status)
	f.set("gtid.pay", "%s", relation)
	return err
}

// payRelation says how the payments' GTIDs of the two regions relate. A replica is held against what its source had when it was
// asked, which it must reach, and against what its source has afterwards, beyond which it must have nothing of its own.
func (e *Estate) payRelation(ctx context.Context, status map[topology.Site]mysql.Status) (string, error) {
	t := e.Topology()
	source, replica := t.Active(), t.Standby()
	if status[source].Source != "" {
		source, replica = replica, source
	}
	from, err := e.mysql(source)
	if err != nil {
		return "", err
	}
	to, err := e.mysql(replica)
	if err != nil {
		return "", err
	}
	before := status[source]
	if status[replica].Source != "" {
		if before, err = from.Status(ctx); err != nil {
			return "", err
		}
		if _, err := to.WaitExecuted(ctx, before.Executed, followLimit); err != nil {
			return "", err
		}
	}
	there, err := to.Status(ctx)
	if err != nil {
		return "", err
	}
	after, err := from.Status(ctx)
	if err != nil {
		return "", err
	}
	return relation(string(source), string(replica), before.Executed, there.Executed, after.Executed)
}

// relation compares what a source had before, what its replica had then, and what the source had afterwards, by payments only.
func relation(source, replica, before, there, after string) (string, error) {
	sets := make([]history.GTIDSet, 3)
	for i, text := range []string{before, there, after} {
		var err error
		if sets[i], err = history.ParseGTIDSet(text); err != nil {
			return "", err
		}
	}
	lacks, errant := sets[0].Subtract(sets[1]).Count("pay") > 0, sets[1].Subtract(sets[2]).Count("pay") > 0
	switch {
	case lacks && errant:
		return "each region has some that the other lacks", nil
	case lacks:
		return fmt.Sprintf("%s has some that %s lacks", source, replica), nil
	case errant:
		return fmt.Sprintf("%s has some that %s lacks", replica, source), nil
	}
	return "equal", nil
}

// leaseFacts tells who has the right to write, where the platform has a witness.
func (e *Estate) leaseFacts(ctx context.Context, f facts, _ map[string]bool) error {
	if e.Topology().Fence != topology.WitnessFence {
		return nil
	}
	keeper, ok := any(e).(procedure.Leaser)
	if !ok {
		return fmt.Errorf("reach the witness: %w", topology.ErrUnsupported)
	}
	witness, err := keeper.Leases()
	if err != nil {
		return err
	}
	lease, err := witness.Lease(ctx)
	if err != nil {
		return err
	}
	f.set("lease.holder", "%s", or(string(lease.Holder), "nobody"))
	return nil
}

// ringFacts tells whom each living Cassandra node sees in the ring, and how.
func (e *Estate) ringFacts(ctx context.Context, f facts, alive map[string]bool) error {
	for _, n := range e.Nodes("", topology.Cassandra) {
		if !alive[n.Name()] {
			continue
		}
		at, err := nodeAt(n)
		if err != nil {
			return err
		}
		v, err := cassandra.Look(ctx, at)
		if err != nil {
			return err
		}
		for _, m := range v.Members {
			f.set("ring."+n.Name()+" sees "+e.named(m.Address), "%s", m.State)
		}
		f.set("ring."+n.Name(), "%s", v.Mode)
	}
	return nil
}

// keyspaceFacts tells where the keyspaces have their replicas, as each living region's Cassandra says.
func (e *Estate) keyspaceFacts(ctx context.Context, f facts, alive map[string]bool) error {
	for _, r := range e.Topology().Regions {
		nodes := e.Nodes(r.Name, topology.Cassandra)
		if !slices.ContainsFunc(nodes, func(n topology.Node) bool { return alive[n.Name()] }) {
			continue
		}
		s, err := e.cassandra(ctx, r.Name)
		if err != nil {
			return err
		}
		rows, err := s.Query(ctx, "SELECT keyspace_name, replication FROM system_schema.keyspaces")
		if err != nil {
			return err
		}
		for _, row := range rows {
			where := strings.Trim(strings.TrimPrefix(strings.ReplaceAll(row[1], "org.apache.cassandra.locator.", ""), "map"), "[]")
			if strategy, replicas, _ := strings.Cut(strings.TrimPrefix(where, "class:"), " "); strategy != "LocalStrategy" {
				f.set(string(r.Name)+".keyspace."+row[0], "%s", or(replicas, strategy))
			}
		}
	}
	return nil
}

// applicationReads are parameters that only the application reads, when it starts. In a region where it does not run they are what
// its last start left: nothing works by them, and the next start writes them anew (article 002, row 4 of the switchover).
var applicationReads = []string{payment.ParamMySQL, payment.ParamCassandra, payment.ParamDC, payment.ParamEpoch, payment.ParamAcquirer}

// parameterFacts tells the parameters of both regions, with nodes' names for addresses.
func (e *Estate) parameterFacts(ctx context.Context, f facts, alive map[string]bool) error {
	for _, r := range e.Topology().Regions {
		if n, err := e.only(r.Name, topology.Params); err != nil || !alive[n.Name()] {
			continue
		}
		store, err := e.Params(r.Name)
		if err != nil {
			return err
		}
		_, values, err := store.Read(ctx)
		if err != nil {
			return err
		}
		serves := slices.ContainsFunc(e.Nodes(r.Name, topology.App), func(n topology.Node) bool { return alive[n.Name()] })
		for name, v := range values {
			if !serves && slices.Contains(applicationReads, name) {
				continue
			}
			f.set(string(r.Name)+".params."+name, "%s", e.named(v))
		}
	}
	return nil
}

// batchFacts tells where settlements run.
func (e *Estate) batchFacts(ctx context.Context, f facts, alive map[string]bool) error {
	for _, r := range e.Topology().Regions {
		f.set(string(r.Name)+".batch", "disabled")
		for _, n := range e.Nodes(r.Name, topology.Batch) {
			if !alive[n.Name()] {
				continue
			}
			status, err := e.Status(ctx, n)
			if err != nil {
				return err
			}
			if status.Enabled {
				f.set(string(r.Name)+".batch", "enabled")
			}
		}
	}
	return nil
}

// entryFacts tells where the public names lead, and what the world and the operators do to each link.
func (e *Estate) entryFacts(ctx context.Context, f facts, _ map[string]bool) error {
	records, err := e.Zone().Records(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		f.set("dns."+r.Name, "%s", r.Site)
	}
	for _, l := range e.Links() {
		layers, err := l.Layers(ctx)
		if err != nil {
			return err
		}
		f.set("link."+l.ID().String(), "access %s, fault %s", or(string(layers.Access), string(topology.Allow)), or(string(layers.Fault.Kind), "none"))
	}
	return nil
}

// addresses are what stands for a node in parameters and in replication: where it listens, and the doors that lead to it.
var addresses = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+(?::\d+)?`)

// named is a text with the names of nodes in place of their addresses.
func (e *Estate) named(text string) string {
	known := map[string]string{}
	note := func(address, node string) {
		host, _, _ := strings.Cut(address, ":")
		known[address], known[host] = node, node
	}
	for _, n := range e.Nodes("", "") {
		for _, s := range []topology.Service{topology.ServiceMySQL, topology.ServiceCassandra, topology.ServiceCQL, topology.ServiceHTTP} {
			if at, err := n.Endpoint(s); err == nil {
				note(at, n.Name())
			}
		}
	}
	for _, l := range e.Links() {
		for _, d := range l.Doors() {
			note(d.Address, d.Node)
		}
	}
	return inNames(text, known)
}

// inNames puts the names of nodes in place of their addresses; an address that nobody has stays.
func inNames(text string, known map[string]string) string {
	return addresses.ReplaceAllStringFunc(text, func(at string) string {
		host, _, _ := strings.Cut(at, ":")
		return or(known[at], or(known[host], at))
	})
}

// readFacts reads the facts of a moment. What cannot be read is missing for the judges.
func (d *Drill) readFacts(ctx context.Context) map[string]string {
	began := time.Now()
	f, err := d.estate.Facts(ctx)
	if err != nil {
		d.say("facts", "%v", err)
		return nil
	}
	d.say("facts", "%d facts in %.1f s", len(f), time.Since(began).Seconds())
	return f
}
