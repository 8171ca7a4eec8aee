package steps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/procedure"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/mysql"
)

// readinessSentences are the sentences about the readiness gate of the failback, and about databases on their way back.
func readinessSentences(d *Drill) []sentence {
	return []sentence{
		{"When", `the database of tokyo is held against that of osaka`, re(`the database of (\w+) is held against that of (\w+)`), d.compareDatabases, promiseRegions},
		{"Then", `the readiness gate lets osaka take over from tokyo`, re(`the readiness gate lets (\w+) take over from (\w+)`), d.gateAccepts, promiseRegions},
		{"Then", `the readiness gate was right each time`, re(`the readiness gate was right each time`), d.gateRight, nil},
		{"Then", `nothing that only tokyo had is thrown away, and its database follows without a past of its own`,
			re(`nothing that only (\w+) had is thrown away, and its database follows without a past of its own`), d.rebuilt, promiseFirstRegion},
		{"When", `"errant transactions" is planted in osaka, which follows tokyo, and mended once the readiness gate has refused it`,
			re(`"([a-z ]+)" is planted in (\w+), which follows (\w+), and mended once the readiness gate has refused it`), d.gateRefuses, promiseViolation},
	}
}

// promiseViolation holds the name of a violation against those that there are.
func promiseViolation(p *promised, args []string) error {
	if !slices.Contains(procedure.Conditions(), args[0]) {
		return fmt.Errorf("the readiness gate has no condition %q: %s", args[0], strings.Join(procedure.Conditions(), ", "))
	}
	return promiseRegions(p, args[1:])
}

func (d *Drill) gateRight() error { return d.passed(check.NameGate) }

func (d *Drill) rebuilt(string) error {
	return d.passed(check.NameProcedure, check.NameSalvage, check.NameErrant)
}

// gateLag is the bound of the replication lag in drills, which run on machines that do other work as well.
const gateLag = 5 * time.Second

// gateReader reads the readiness gate once.
type gateReader func(context.Context) procedure.Readiness

// gate is the gate through which a region takes the work of another one over.
func (d *Drill) gate(to, from string) gateReader {
	return func(ctx context.Context) procedure.Readiness {
		return procedure.Gate{From: topology.Site(from), To: topology.Site(to), Lag: gateLag}.Read(ctx, d.estate)
	}
}

// markGate records what a reading of the gate said.
func (d *Drill) markGate(r procedure.Readiness, planted string) {
	data := history.GateData{From: string(r.From), To: string(r.To), Planted: planted, Violated: append([]string{}, r.Violated()...)}
	for _, c := range r.Conditions {
		data.Conditions = append(data.Conditions, history.GateCondition(c))
	}
	d.record.Mark(history.KindGate, string(r.To), data)
}

// mendLimit bounds the time until a world that nothing was done to, or whose violation was mended, is ready.
const mendLimit = 120 * time.Second

// untilReady reads the gate until it refuses nothing: what passes by itself, such as hints that are on their way or a pause of a
// server, is not what a drill is about. It returns the last reading; one that the limit cut off says nothing, if there was another.
func (d *Drill) untilReady(ctx context.Context, what string, read gateReader) (last procedure.Readiness, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, mendLimit, fmt.Errorf("the limit of %s ended", mendLimit))
	defer cancel()
	refused := ""
	for {
		r := read(ctx)
		if r.Err() == nil {
			return r, nil
		}
		if ctx.Err() == nil || len(last.Conditions) == 0 {
			last = r
		}
		if by := strings.Join(last.Violated(), ", "); by != refused {
			refused = by
			d.say("gate", "%s: refused by %s", what, by)
		}
		if pass(ctx, 300*time.Millisecond) != nil {
			return last, fmt.Errorf("%s: %w: %w", what, context.Cause(ctx), last.Err())
		}
	}
}

func (d *Drill) gateAccepts(ctx context.Context, to, from string) error {
	return d.accepts(ctx, fmt.Sprintf("wait until %s may take over from %s", to, from), d.gate(to, from))
}

// accepts waits until the gate refuses nothing, and records the last reading only.
func (d *Drill) accepts(ctx context.Context, what string, read gateReader) error {
	r, err := d.untilReady(ctx, what, read)
	if err != nil && ctx.Err() != nil {
		return err // the drill was ended meanwhile: that is no refusal
	}
	d.markGate(r, "")
	if err != nil {
		return err
	}
	d.say("gate", "%s may take over from %s: all %d conditions hold", r.To, r.From, len(r.Conditions))
	return nil
}

// gateRefuses plants one violation in a world that is ready, reads the gate, mends it and waits until the world is ready again. What
// the gate said is the judges' business.
func (d *Drill) gateRefuses(ctx context.Context, violation, to, from string) error {
	p := planter{d, topology.Site(from), topology.Site(to)}
	return d.refuses(ctx, violation, d.gate(to, from), func(ctx context.Context) (mending, error) { return p.plant(ctx, violation) })
}

func (d *Drill) refuses(ctx context.Context, violation string, read gateReader, plant func(context.Context) (mending, error)) error {
	if _, err := d.untilReady(ctx, fmt.Sprintf("wait for a ready world before %q is planted", violation), read); err != nil {
		return err
	}
	mend, err := plant(ctx)
	if err != nil {
		return fmt.Errorf("plant %q: %w", violation, err)
	}
	r := read(ctx)
	d.markGate(r, violation)
	d.say("gate", "%q is planted: refused by %s", violation, or(strings.Join(r.Violated(), ", "), "nothing"))
	if err := mend(ctx); err != nil {
		return fmt.Errorf("mend %q: %w", violation, err)
	}
	_, err = d.untilReady(ctx, fmt.Sprintf("wait for a ready world after %q was mended", violation), read)
	return err
}

// planter plants violations of the gate.
type planter struct {
	d        *Drill
	from, to topology.Site
}

type mending func(context.Context) error

func (p planter) plant(ctx context.Context, violation string) (mending, error) {
	e := p.d.estate
	switch violation {
	case procedure.ReadyErrant:
		return p.errant(ctx)
	case procedure.ReadyBinlog:
		return p.purge(ctx)
	case procedure.ReadyLag:
		db, err := e.mysql(p.to)
		if err != nil {
			return nil, err
		}
		if err := db.SetApplierDelay(ctx, 30*time.Second); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return db.SetApplierDelay(ctx, 0) }, p.write(ctx)
	case procedure.ReadyContent:
		return p.alter(ctx)
	case procedure.ReadyHints:
		return p.hints(ctx)
	case procedure.ReadyRing:
		return p.leave(ctx)
	case procedure.ReadyParams:
		return p.parameter(ctx, "batch.enabled", "true")
	case procedure.ReadyRelease:
		return p.parameter(ctx, "app.release", "0-planted")
	}
	return nil, fmt.Errorf("no way to plant it: %w", topology.ErrUnsupported)
}

// pair are the databases of the region that follows and of the one that serves.
func (p planter) pair() (replica, source *mysql.Server, err error) {
	if replica, err = p.d.estate.mysql(p.to); err != nil {
		return nil, nil, err
	}
	source, err = p.d.estate.mysql(p.from)
	return replica, source, err
}

// write makes one transaction at the region that serves.
func (p planter) write(ctx context.Context) error {
	db, err := p.d.estate.mysql(p.from)
	if err != nil {
		return err
	}
	return db.ApplySchema(ctx, []string{"REPLACE INTO pay.canary (id, site, t) VALUES ('gate', 'planted', 0)"})
}

// unprotected executes statements on the replica with its protection lifted, and puts it back.
func (p planter) unprotected(ctx context.Context, statements ...string) error {
	db, err := p.d.estate.mysql(p.to)
	if err != nil {
		return err
	}
	all := append([]string{"SET GLOBAL super_read_only = OFF"}, statements...)
	return errors.Join(db.OneSession(ctx, all), db.OneSession(ctx, []string{"SET GLOBAL super_read_only = ON"}))
}

// errant writes a payment's transaction at the replica. It is mended as operators do: the source gets an empty transaction of its name.
func (p planter) errant(ctx context.Context) (mending, error) {
	replica, source, err := p.pair()
	if err != nil {
		return nil, err
	}
	err = p.unprotected(ctx, "SET SESSION gtid_next = 'AUTOMATIC:pay'", "REPLACE INTO pay.canary (id, site, t) VALUES ('errant', 'planted', 0)")
	return func(ctx context.Context) error {
		has, err := replica.Status(ctx)
		if err != nil {
			return err
		}
		had, err := source.Status(ctx)
		if err != nil {
			return err
		}
		a, err := history.ParseGTIDSet(has.Executed)
		if err != nil {
			return err
		}
		b, err := history.ParseGTIDSet(had.Executed)
		if err != nil {
			return err
		}
		errant := a.Subtract(b)
		if errant.Count("pay") != 1 {
			return fmt.Errorf("the errant transactions are %s, expected one", errant)
		}
		return source.OneSession(ctx, []string{"SET SESSION gtid_next = '" + errant.String() + "'", "BEGIN", "COMMIT", "SET SESSION gtid_next = 'AUTOMATIC'"})
	}, err
}

// purge stops the replica, lets the source write, and throws the log with that away. It is mended by a rebuild.
func (p planter) purge(ctx context.Context) (mending, error) {
	e := p.d.estate
	replica, source, err := p.pair()
	if err != nil {
		return nil, err
	}
	if err := replica.StopReceiver(ctx); err != nil {
		return nil, err
	}
	if err := p.write(ctx); err != nil {
		return nil, err
	}
	// A log that a sender of the source still reads is left by PURGE, with a warning: the receiver is gone, but its sender notices that
	// only when it sends. So the logs are thrown away until something is gone that the replica lacks.
	err = await(ctx, fmt.Sprintf("wait until %s has purged what %s lacks", p.from, p.to), func(ctx context.Context) (string, error) {
		if err := source.OneSession(ctx, []string{"FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 HOUR"}); err != nil {
			return "", err
		}
		return purgedAndHad(ctx, source, replica)
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		rebuild, err := procedure.Standard(e.Topology(), e.In(p.d.folder))["mysql.rebuild"].Bind(procedure.Values{"region": string(p.to), "from": string(p.from), "variant": "clone"})
		if err != nil {
			return err
		}
		_, err = rebuild.Act(ctx, &memory{folder: p.d.folder, procedure: "gate", step: "rebuild"})
		return err
	}, nil
}

// purgedAndHad is empty once the source has purged a transaction that the replica lacks, and says else what both have.
func purgedAndHad(ctx context.Context, source, replica *mysql.Server) (string, error) {
	gone, err := source.Purged(ctx)
	if err != nil {
		return "", err
	}
	has, err := replica.Status(ctx)
	if err != nil {
		return "", err
	}
	purged, err := history.ParseGTIDSet(gone)
	if err != nil {
		return "", err
	}
	executed, err := history.ParseGTIDSet(has.Executed)
	if err != nil || !purged.Subtract(executed).Empty() {
		return "", err
	}
	return fmt.Sprintf("purged %s, and the replica has %s", purged, executed), nil
}

// alter changes one payment at the replica, around the binary log.
func (p planter) alter(ctx context.Context) (mending, error) {
	change := func(ctx context.Context, by string) error {
		return p.unprotected(ctx, "SET SESSION sql_log_bin = 0", "UPDATE pay.payments SET yen = yen "+by+" ORDER BY pay_key LIMIT 1")
	}
	return func(ctx context.Context) error { return change(ctx, "- 1") }, change(ctx, "+ 1")
}

// parameter gives the waiting region another value.
func (p planter) parameter(ctx context.Context, name, value string) (mending, error) {
	store, err := p.d.estate.Params(p.to)
	if err != nil {
		return nil, err
	}
	_, was, err := store.Read(ctx)
	if err != nil {
		return nil, err
	}
	_, err = store.Write(ctx, map[string]string{name: value})
	return func(ctx context.Context) error {
		_, err := store.Write(ctx, map[string]string{name: was[name]})
		return err
	}, err
}

// Names of Cassandra's management beans.
const (
	storageService = "org.apache.cassandra.db:type=StorageService"
	hintsService   = "org.apache.cassandra.hints:type=HintsService"
	storageMetrics = "org.apache.cassandra.metrics:type=Storage,name="
)

// hints denies Cassandra's traffic between the regions while customers pay, until a node has made hints for the other region, and
// allows it again. Then the delivery of hints is stopped, as an operator may do it and forget: it is mended by going on.
func (p planter) hints(ctx context.Context) (mending, error) {
	e := p.d.estate
	before, err := e.hintsMade(ctx, p.from)
	if err != nil {
		return nil, err
	}
	if err := p.d.denyCassandra(ctx, string(p.from), string(p.to)); err != nil {
		return nil, err
	}
	err = await(ctx, fmt.Sprintf("wait until %s has made hints for %s", p.from, p.to), func(ctx context.Context) (string, error) {
		now, err := e.hintsMade(ctx, p.from)
		if err != nil || now > before {
			return "", err
		}
		return fmt.Sprintf("%d hints were ever made", now), nil
	})
	if err := errors.Join(err, p.d.allowCassandra(ctx, string(p.from), string(p.to))); err != nil {
		return nil, err
	}
	if err := e.awaitLive(ctx, "", len(e.Nodes("", topology.Cassandra))); err != nil {
		return nil, err
	}
	order := func(operation string) mending {
		return func(ctx context.Context) error {
			for _, n := range e.Nodes(p.from, topology.Cassandra) {
				if err := e.jmx(ctx, n, map[string]any{"type": "exec", "mbean": hintsService, "operation": operation}, nil); err != nil {
					return err
				}
			}
			return nil
		}
	}
	// A file of hints is closed, and can be seen, at the next round of the delivery, 10 s apart; it is delivered in the round after.
	err = await(ctx, fmt.Sprintf("wait until a node of %s shows its hints", p.from), func(ctx context.Context) (string, error) {
		nodes := e.views(ctx, e.Nodes(p.from, topology.Cassandra))
		if slices.ContainsFunc(nodes, func(n procedure.RingNode) bool { return len(n.Hints) > 0 }) {
			return "", nil
		}
		return fmt.Sprintf("%+v", nodes), nil
	})
	if err != nil {
		return nil, err
	}
	return order("resumeDispatch"), order("pauseDispatch")(ctx)
}

// hintsMade counts the hints that a region's nodes ever made.
func (e *Estate) hintsMade(ctx context.Context, site topology.Site) (int64, error) {
	var all int64
	for _, n := range e.Nodes(site, topology.Cassandra) {
		var made int64
		if err := e.jmx(ctx, n, map[string]any{"type": "read", "mbean": storageMetrics + "TotalHints", "attribute": "Count"}, &made); err != nil {
			return 0, err
		}
		all += made
	}
	return all, nil
}

// leave stops a node of the region that waits, and waits until the others see it dead. It is mended by starting it.
func (p planter) leave(ctx context.Context) (mending, error) {
	e := p.d.estate
	n, err := e.only(p.to, topology.Cassandra)
	if err != nil {
		return nil, err
	}
	if err := n.Stop(ctx); err != nil {
		return nil, fmt.Errorf("stop %s: %w", n.Name(), err)
	}
	mend := func(ctx context.Context) error {
		if err := n.Start(ctx); err != nil {
			return fmt.Errorf("start %s: %w", n.Name(), err)
		}
		return nil
	}
	return mend, e.awaitLive(ctx, p.from, len(e.Nodes("", topology.Cassandra))-1)
}

// plantLimit bounds each wait for a planted violation to show.
const plantLimit = 60 * time.Second

// await asks until there is nothing left to say, an error ends it, or its time is over.
func await(ctx context.Context, what string, missing func(context.Context) (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, plantLimit)
	defer cancel()
	for {
		last, err := missing(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if last == "" {
			return nil
		}
		if pass(ctx, 200*time.Millisecond) != nil {
			return fmt.Errorf("%s: %w; last seen: %s", what, context.Cause(ctx), last)
		}
	}
}

// awaitLive waits until every node of a site ("": of both) sees so many nodes live.
func (e *Estate) awaitLive(ctx context.Context, site topology.Site, live int) error {
	return await(ctx, fmt.Sprintf("wait until the nodes of %s see %d nodes live", or(string(site), "both regions"), live), func(ctx context.Context) (string, error) {
		views := e.views(ctx, e.Nodes(site, topology.Cassandra))
		if slices.ContainsFunc(views, func(n procedure.RingNode) bool { return n.Error != "" || len(n.Live) != live }) {
			return fmt.Sprintf("%+v", views), nil
		}
		return "", nil
	})
}

// RingNodes implements procedure.Ringed.
func (e *Estate) RingNodes(ctx context.Context) ([]procedure.RingNode, error) {
	return e.views(ctx, e.Nodes("", topology.Cassandra)), nil
}

// views asks each node for itself: what one says counts although another is silent.
func (e *Estate) views(ctx context.Context, nodes []topology.Node) []procedure.RingNode {
	out := make([]procedure.RingNode, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { out[i] = e.view(ctx, n) })
	}
	all.Wait()
	return out
}

func (e *Estate) view(ctx context.Context, n topology.Node) procedure.RingNode {
	v := procedure.RingNode{Node: n.Name()}
	var ring struct {
		Live []string `json:"LiveNodes"`
		Down []string `json:"UnreachableNodes"`
	}
	if err := e.jmx(ctx, n, map[string]any{"type": "read", "mbean": storageService, "attribute": []string{"LiveNodes", "UnreachableNodes"}}, &ring); err != nil {
		v.Error = err.Error()
		return v
	}
	v.Live, v.Down = ring.Live, ring.Down
	at, err := nodeAt(n)
	if err == nil {
		v.Hints, err = cassandra.PendingHints(ctx, at)
	}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

// jmx asks the management interface of one Cassandra node, over HTTP.
func (e *Estate) jmx(ctx context.Context, n topology.Node, request map[string]any, out any) error {
	address, err := n.Reach(topology.ServiceJMX)
	if err != nil {
		return err
	}
	answer := struct {
		Status int    `json:"status"`
		Error  string `json:"error"`
		Value  any    `json:"value"`
	}{Value: out}
	if err := e.call(ctx, http.MethodPost, "http://"+address+"/jolokia/", nil, request, &answer); err != nil {
		return fmt.Errorf("ask %s: %w", n.Name(), err)
	}
	if answer.Status != http.StatusOK {
		return fmt.Errorf("ask %s for %v: %s", n.Name(), request["mbean"], answer.Error)
	}
	return nil
}

// compareDatabases holds a replica against its source, once it has what the source had, and records both.
func (d *Drill) compareDatabases(ctx context.Context, follower, source string) error {
	f, err := d.estate.mysql(topology.Site(follower))
	if err != nil {
		return err
	}
	s, err := d.estate.mysql(topology.Site(source))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	data := history.DatabasesData{Source: s.Name(), Follower: f.Name(), Keys: []string{}}
	different := map[string]bool{}
	for again := range 4 { // the source goes on writing: what differs every time differs
		has, err := f.Holdings(ctx)
		if err != nil {
			return err
		}
		had, err := s.Holdings(ctx)
		if err != nil {
			return err
		}
		now := map[string]bool{}
		for _, p := range has.Lacking(had).Payments {
			if again == 0 || different[p.Key] {
				now[p.Key] = true
			}
		}
		different = now
		data.Payments, data.Executed, data.SourceExecuted = len(has.Payments), has.Executed, had.Executed
		if _, err := f.WaitExecuted(ctx, had.Executed, 2*time.Second); err != nil {
			return err
		}
	}
	for k := range different {
		data.Keys = append(data.Keys, k)
	}
	slices.Sort(data.Keys)
	status, err := f.Status(ctx)
	if err != nil {
		return err
	}
	data.Following = status.ReceiverConnected && status.ApplierOn && status.ReceiverError == "" && status.ApplierError == ""
	d.record.Mark(history.KindDatabases, follower, data)
	d.say("databases", "%s follows %s: %t; %d payments, %d that only it has", f.Name(), s.Name(), data.Following, data.Payments, len(data.Keys))
	return nil
}
