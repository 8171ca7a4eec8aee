package main

import (
	"bytes"
	"context"
	driversql "database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/acquirer"
	"github.com/kirikae/kirikae/payment/mysql"
	"github.com/kirikae/kirikae/payment/paymenttest"
	"github.com/kirikae/kirikae/payment/reconcile"
	"github.com/kirikae/kirikae/payment/schema"
	"github.com/kirikae/kirikae/topology"
	cassandranode "github.com/kirikae/kirikae/topology/cassandra"
	"github.com/kirikae/kirikae/topology/livetest"
	mysqlnode "github.com/kirikae/kirikae/topology/mysql"
	"github.com/kirikae/kirikae/topology/provision"
)

// Addresses of the live tests: outside the octets that worlds use.
const (
	mysqlIP     = "127.251.1.21"
	cassandraIP = "127.251.1.1"
	secret      = `s3cret'"`
)

// real is a real server of a test.
type real struct {
	t    *testing.T
	name string
	c    topology.Command
	cmd  *exec.Cmd
}

// server starts a real server and kills it when the test ends.
func server(t *testing.T, c topology.Command, name string) *real {
	t.Helper()
	r := &real{t: t, name: name, c: c}
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *real) start() {
	t, c := r.t, r.c
	t.Helper()
	for path, content := range c.Files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l := &log{}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, c.Env...)
	cmd.Stdout, cmd.Stderr = l, l
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.cmd = cmd
	t.Cleanup(func() {
		if t.Failed() {
			out := strings.Split(l.String(), "\n")
			t.Logf("%s:\n%s", r.name, strings.Join(out[max(0, len(out)-40):], "\n"))
		}
	})
}

func (r *real) kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

func (r *real) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

func startMySQL(t *testing.T, ctx context.Context, in provision.Install) (ops *mysqlnode.Server, process *real) {
	t.Helper()
	o := mysqlnode.NodeOptions{DataDir: filepath.Join(t.TempDir(), "mysql"), Address: mysqlIP, ServerID: 1}
	if err := mysqlnode.Prepare(in.MySQL, o); err != nil {
		t.Fatal(err)
	}
	process = server(t, mysqlnode.Command(in.MySQL, o), "mysql")
	root, err := mysqlnode.Open(o.Socket(), mysqlnode.UserRoot, "", mysqlnode.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := root.Bootstrap(ctx, secret); err != nil {
		t.Fatal(err)
	}
	ops, err = mysqlnode.Open(mysqlIP+":3306", mysqlnode.UserOps, secret, mysqlnode.Options{Name: "tokyo-mysql-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ops.Close() })
	sql(t, ctx, ops, append(schema.MySQL(), schema.Seed(10, 100_000, 1, "tokyo")...)...)
	return ops, process
}

func sql(t *testing.T, ctx context.Context, ops *mysqlnode.Server, statements ...string) {
	t.Helper()
	if err := ops.ApplySchema(ctx, statements); err != nil {
		t.Fatal(err)
	}
}

func startCassandra(t *testing.T, ctx context.Context, in provision.Install) (s *cassandranode.Session, process *real) {
	t.Helper()
	const door = "127.251.121.1" // where another region would dial it; nobody does here
	o := cassandranode.NodeOptions{DataDir: filepath.Join(t.TempDir(), "cassandra"), Cluster: "paymentd", Listen: cassandraIP, Broadcast: door,
		DC: "tokyo", Token: cassandranode.Token(1, 1, 1), Seeds: []string{door}, Alone: true}
	process = server(t, cassandranode.Command(in.Java, in.Cassandra, o), "cassandra")
	for {
		var err error
		if s, err = cassandranode.Open(ctx, cassandranode.Site{Contact: []string{cassandraIP + ":9042"}, DC: "tokyo"}); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(200 * time.Millisecond):
		}
	}
	t.Cleanup(s.Close)
	if err := s.ApplySchema(ctx, schema.Cassandra(map[string]int{"tokyo": 1})); err != nil {
		t.Fatal(err)
	}
	return s, process
}

func live(t *testing.T) provision.Install {
	t.Helper()
	livetest.Servers(t)
	in, err := provision.Find("")
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// The ledger in a real MySQL keeps the contract that the one in memory keeps.
func TestLiveLedger(t *testing.T) {
	in := live(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ops, _ := startMySQL(t, ctx, in)
	l, err := mysql.New(mysql.Config{Endpoint: mysqlIP + ":3306", Password: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	paymenttest.Contract(t, func(t *testing.T) paymenttest.World {
		sql(t, ctx, ops, "DELETE FROM pay.payments", "DELETE FROM pay.entries", "DELETE FROM pay.refunds", "DELETE FROM pay.batch_runs",
			"UPDATE pay.accounts SET balance = opening", "UPDATE pay.epoch SET epoch = 1, site = 'tokyo'")
		return paymenttest.World{Ledger: l, Settler: l,
			SetEpoch: func(t *testing.T, n int64) {
				sql(t, ctx, ops, fmt.Sprintf("UPDATE pay.epoch SET epoch = %d, site = 'osaka'", n))
			},
			Conserved: func() error {
				s, err := ops.Snapshot(ctx)
				if err == nil && (s.Balance != s.Constant || s.EntrySum != 0 || len(s.Mismatched) > 0) {
					err = fmt.Errorf("%+v", s)
				}
				return err
			}}
	})
}

// A whole region on real stores: load, the databases' own account of it, and then each thing that a drill does to it.
func TestLiveRegion(t *testing.T) {
	in := live(t)
	t.Setenv(secretEnv, secret)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var ops *mysqlnode.Server
	var journal *cassandranode.Session
	var mysqld, java *real
	journal, java = startCassandra(t, ctx, in)
	ops, mysqld = startMySQL(t, ctx, in)

	charges := filepath.Join(t.TempDir(), "charges.ndjson")
	at := func(i int) string { return fmt.Sprintf("127.251.1.%d:8080", i) }
	start(t, "params", "--listen", at(31), "--file", filepath.Join(t.TempDir(), "params.json"))
	start(t, "acquirer", "--listen", at(11), "--log", charges)
	until(t, time.Minute, "http://"+at(31)+"/healthz", healthy)
	put := func(values map[string]string) {
		t.Helper()
		b, err := json.Marshal(map[string]any{"values": values})
		if err != nil {
			t.Fatal(err)
		}
		if code, _, body := ask(t, "PUT", "http://"+at(31)+"/params", string(b)); code != 200 {
			t.Fatalf("%d %s", code, body)
		}
	}
	put(map[string]string{"mysql.endpoint": mysqlIP + ":3306", "cassandra.endpoints": cassandraIP + ":9042", "cassandra.dc": "tokyo",
		"epoch": "1", "acquirer.endpoint": "http://" + at(11), "cluster.form": "true", "batch.enabled": "false"})
	start(t, "online", "--listen", at(41), "--site", "tokyo", "--node", "tokyo-app-1", "--params", "http://"+at(31))
	start(t, "online", "--listen", at(42), "--site", "tokyo", "--node", "tokyo-app-2", "--params", "http://"+at(31))
	start(t, "gateway", "--listen", at(51), "--site", "tokyo", "--node", "tokyo-gateway-1", "--backends", at(41)+","+at(42))
	start(t, "batch", "--listen", at(61), "--site", "tokyo", "--node", "tokyo-batch-1", "--params", "http://"+at(31), "--every", "200ms")
	entry := "http://" + at(51)
	for _, i := range []int{41, 42, 51} {
		until(t, 15*time.Second, "http://"+at(i)+"/healthz", healthy)
	}
	put(map[string]string{"batch.enabled": "true", "cluster.form": "false"})

	// The first requests of all wake the servers up.
	until(t, 30*time.Second, entry+"/healthz", func(int, string) bool {
		code, _, _ := ask(t, "POST", entry+"/probe", `{"slot":0,"n":0}`)
		return code == 200
	})

	// 50 payments and 100 probes a second for 5 s, every tenth key twice at the same moment.
	client := &http.Transport{MaxIdleConnsPerHost: 100}
	defer client.CloseIdleConnections()
	var inFlight, most atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	acknowledged, asked := map[string]bool{}, map[string]string{} // payments, by key
	var failed []string
	send := func(path, key, body string) {
		most.Store(max(most.Load(), inFlight.Add(1)))
		defer inFlight.Add(-1)
		r, err := http.NewRequestWithContext(ctx, "POST", entry+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("X-Payment-Key", key)
		began := time.Now()
		res, err := client.RoundTrip(r)
		mu.Lock()
		defer mu.Unlock()
		if key != "" {
			asked[key] = body
		}
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", key, err))
			return
		}
		res.Body.Close()
		took = append(took, time.Since(began))
		if res.StatusCode != 200 {
			failed = append(failed, fmt.Sprintf("%s: answered %d", key, res.StatusCode))
		} else if key != "" {
			acknowledged[key] = true
		}
	}
	var all sync.WaitGroup
	tick := time.NewTicker(20 * time.Millisecond)
	const payments = 250
	for i := range payments {
		<-tick.C
		for n := range 3 {
			switch {
			case n > 0:
				all.Go(func() { send("/probe", "", fmt.Sprintf(`{"slot":%d,"n":%d}`, (2*i+n)%64, i)) })
			default:
				times := 1
				if i%10 == 0 {
					times = 2
				}
				for range times {
					all.Go(func() {
						send("/payments", fmt.Sprintf("p-%04d", i), fmt.Sprintf(`{"from":%d,"to":%d,"yen":%d}`, 1+i%10, 1+(i+3)%10, 1+i))
					})
				}
			}
		}
	}
	tick.Stop()
	all.Wait()
	slices.Sort(took)
	t.Logf("%d answers: p50 %s, p99 %s, max %s, at most %d in flight", len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1], most.Load())

	// 60 at once.
	took = nil
	for i := range 60 {
		all.Go(func() { send("/payments", fmt.Sprintf("q-%04d", i), `{"from":1,"to":2,"yen":1}`) })
	}
	all.Wait()
	slices.Sort(took)
	t.Logf("60 at once on two accounts: p50 %s, max %s", took[len(took)/2], took[len(took)-1])

	// On a busy machine some run out of time: what was acknowledged is there, and the same keys asked again finish the rest.
	t.Logf("%d failed: %v", len(failed), failed)
	if len(acknowledged) < 150 {
		t.Errorf("only %d payments of %d were acknowledged at once: too few to say anything", len(acknowledged), len(asked))
	}
	before, err := ops.Rows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]bool{}
	for _, p := range before.Payments {
		done[p.Key] = p.State == "DONE"
	}
	for key, body := range asked {
		if acknowledged[key] && !done[key] {
			t.Errorf("%s was acknowledged and is not DONE", key)
		}
		for !acknowledged[key] && ctx.Err() == nil {
			send("/payments", key, body)
		}
	}

	// The stores' own account.
	rows, err := ops.Rows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	transactions, err := ops.Transactions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tagged := map[string]int{}
	for _, x := range transactions {
		tagged[x.Key]++
		if !strings.Contains(x.GTID, ":pay:") {
			t.Errorf("transaction %+v is not tagged", x)
		}
	}
	for _, p := range rows.Payments {
		if p.State != "DONE" || tagged[p.Key] != 1 {
			t.Errorf("%+v, with %d pay transactions", p, tagged[p.Key])
		}
	}
	if len(rows.Payments) != payments+60 || len(transactions) != payments+60 {
		t.Errorf("%d payments, %d pay transactions, want %d", len(rows.Payments), len(transactions), payments+60)
	}
	for _, tag := range []string{":pay:1-", ":open:1-", ":probe:1-", ":batch:1"} {
		if !strings.Contains(rows.Executed, tag) {
			t.Errorf("gtid_executed %s lacks %s", rows.Executed, tag)
		}
	}
	if s := rows.Snapshot; s.Balance != s.Constant || s.EntrySum != 0 || len(s.Mismatched) > 0 {
		t.Errorf("%+v", s)
	}
	events, err := journal.JournalRows(ctx)
	if err != nil || len(events.Events) != payments+60 {
		t.Errorf("%d events, %v", len(events.Events), err)
	}
	lines, err := acquirer.ReadLog(charges)
	charged := map[string]int{}
	for _, l := range lines {
		if !l.Dup {
			charged[l.Payment]++
		}
	}
	if err != nil || len(charged) != payments+60 {
		t.Errorf("%d payments charged, %v", len(charged), err)
	}
	// It began on 2023-02-01 and settles a date every 200 ms: how far it is by now says only how busy the machine is.
	until(t, time.Minute, "http://"+at(61)+"/status", func(_ int, body string) bool {
		return strings.Contains(body, `"enabled":true`) && strings.Contains(body, `"last_date":"202`) && strings.Contains(body, `"error":""`)
	})

	// What a drill does to it.
	const body = `{"from":1,"to":2,"yen":1}`
	pay := func(key string) (int, string, string) {
		code, h, b := ask(t, "POST", entry+"/payments", body, "X-Payment-Key", key)
		return code, h.Get("X-Executed"), b
	}
	unhealthy := func(code int, _ string) bool { return code == 503 }
	step := func(name string, wantCode int, wantExecuted string, key string) {
		t.Helper()
		if code, executed, b := pay(key); code != wantCode || executed != wantExecuted {
			t.Errorf("%s: %d, executed %q, %s; want %d, %q", name, code, executed, b, wantCode, wantExecuted)
		}
	}

	sql(t, ctx, ops, "SET GLOBAL super_read_only = ON")
	step("read-only", 503, "none", "r-1")
	until(t, 3*time.Second, entry+"/healthz", unhealthy)
	step("read-only, seen by the gateway", 503, "none", "r-2")
	sql(t, ctx, ops, "SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF")
	until(t, 3*time.Second, entry+"/healthz", healthy)
	step("writable again", 200, "", "r-1")

	sql(t, ctx, ops, "UPDATE pay.epoch SET epoch = 2, site = 'osaka'")
	step("stale epoch", 503, "none", "e-1")
	until(t, 3*time.Second, entry+"/healthz", unhealthy)
	sql(t, ctx, ops, "UPDATE pay.epoch SET epoch = 1, site = 'tokyo'")
	until(t, 3*time.Second, entry+"/healthz", healthy)
	step("own epoch again", 200, "", "e-1")

	java.signal(syscall.SIGSTOP)
	step("Cassandra frozen", 504, "", "c-1")
	until(t, time.Minute, entry+"/healthz", unhealthy)
	java.signal(syscall.SIGCONT)
	until(t, 10*time.Second, entry+"/healthz", healthy)
	step("Cassandra thawed, the same key", 200, "", "c-1")

	java.kill()
	step("Cassandra killed", 504, "", "c-2")
	until(t, time.Minute, entry+"/healthz", unhealthy)
	java.start()
	until(t, 30*time.Second, entry+"/healthz", healthy)
	step("Cassandra started again, the same key", 200, "", "c-2")

	mysqld.signal(syscall.SIGSTOP)
	step("MySQL frozen", 504, "", "m-1")
	mysqld.kill()
	until(t, time.Minute, entry+"/healthz", unhealthy)
	step("MySQL killed", 503, "none", "m-2")
	mysqld.start()
	until(t, 20*time.Second, entry+"/healthz", healthy)
	step("MySQL started again, the same key", 200, "", "m-1")
	step("MySQL started again, a new key", 200, "", "m-2")
	if rows, err = ops.Rows(ctx); err != nil || rows.Snapshot.Balance != rows.Snapshot.Constant || len(rows.Snapshot.Mismatched) > 0 {
		t.Errorf("in the end: %+v, %v", rows.Snapshot, err)
	}

	// What a lost region leaves behind, and 突合 over it.
	sql(t, ctx, ops, `INSERT INTO pay.payments (pay_key, from_account, to_account, yen, state, epoch, site, node, opened) VALUES
  ('x-charged', 1, 2, 1, 'PENDING', 1, 'tokyo', 'gone', NOW(3) - INTERVAL 1 HOUR),
  ('x-uncharged', 1, 2, 1, 'PENDING', 1, 'tokyo', 'gone', NOW(3) - INTERVAL 1 HOUR),
  ('x-blind', 1, 2, 1, 'CANCELLED', 1, 'tokyo', 'gone', NOW(3) - INTERVAL 1 HOUR),
  ('x-young', 1, 2, 1, 'PENDING', 1, 'tokyo', 'gone', NOW(3) + INTERVAL 1 HOUR)`)
	for _, key := range []string{"x-charged", "x-blind", "x-lost"} {
		code, _, body := ask(t, "POST", "http://"+at(11)+"/charges", fmt.Sprintf(`{"payment":%q,"request":%q,"yen":1,"from":1,"to":2}`, key, key))
		if code != 200 {
			t.Fatalf("charge %s: %d %s", key, code, body)
		}
	}
	salvage := filepath.Join(t.TempDir(), "rows.ndjson")
	if err := os.WriteFile(salvage, []byte(`{"key":"x-salvaged","from":2,"to":1,"yen":9,"state":"DONE","epoch":1}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second + 100*time.Millisecond) // the grace of what follows: charges are as old as they are
	reconciled := func() (rep reconcile.Report) {
		t.Helper()
		var out bytes.Buffer
		l := &log{}
		code := run(ctx, []string{"reconcile", "--once", "--site", "tokyo", "--params", "http://" + at(31), "--grace", "1s", "--salvage", salvage}, &out, l)
		if err := json.Unmarshal(out.Bytes(), &rep); err != nil || code != 0 {
			t.Fatalf("exit %d, %v: %s\n%s", code, err, out.String(), l)
		}
		return rep
	}
	rep := reconciled()
	for did, n := range map[string]int{reconcile.DidFinish: 1, reconcile.DidCancel: 1, reconcile.DidRefund: 1, reconcile.DidRecreate: 2} {
		if rep.Repaired[did] != n {
			t.Errorf("%s %d, want %d: %+v", did, rep.Repaired[did], n, rep)
		}
	}
	if rep.Young != 1 || len(rep.Unresolved) > 0 || len(rep.Actions) != 5 {
		t.Errorf("%+v", rep)
	}
	if rep := reconciled(); rep.Changed() || rep.Found() > 0 {
		t.Errorf("a second run: %+v", rep)
	}
	want := map[string]string{"x-charged": "DONE", "x-uncharged": "CANCELLED", "x-blind": "CANCELLED", "x-young": "PENDING", "x-lost": "DONE", "x-salvaged": "DONE"}
	if rows, err = ops.Rows(ctx); err != nil || rows.Snapshot.Balance != rows.Snapshot.Constant || len(rows.Snapshot.Mismatched) > 0 {
		t.Errorf("after 突合: %+v, %v", rows.Snapshot, err)
	}
	seen := 0
	for _, p := range rows.Payments {
		if state, ok := want[p.Key]; ok {
			seen++
			if p.State != state {
				t.Errorf("%+v, want %s", p, state)
			}
		}
	}
	if seen != len(want) {
		t.Errorf("%d of %d rows", seen, len(want))
	}
	step("a cancelled key", 410, "none", "x-uncharged")
	if closings, err := acquirer.ReadClosings(charges + ".closings"); err != nil || len(closings) < 2 {
		t.Errorf("%+v, %v", closings, err)
	}
}

// TestLiveWaiting: a node that waits for its promotion is told from one whose server was fenced in its own epoch, though both servers are read-only. The
// first warms up.
func TestLiveWaiting(t *testing.T) {
	in := live(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ops, _ := startMySQL(t, ctx, in)
	l, err := mysql.New(mysql.Config{Endpoint: mysqlIP + ":3306", Password: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ready := func(epoch int64) error { return l.Ready(ctx, payment.Writer{Node: "x", Site: "tokyo", Epoch: epoch}) }
	if err := ready(1); err != nil {
		t.Errorf("a server that takes writes: %v", err)
	}
	sql(t, ctx, ops, "SET GLOBAL super_read_only = ON")
	if err := ready(2); !errors.Is(err, payment.ErrStaleEpoch) {
		t.Errorf("before its promotion: %v", err)
	}
	if err := ready(1); err == nil || errors.Is(err, payment.ErrStaleEpoch) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("fenced in its own epoch: %v", err)
	}
}

// Whatever the moment at which the epoch is raised, no payment of the older one is completed after it: a raise between a payment's
// begin and its commit makes the payment roll back, and one that comes when the payment has the epoch waits for its commit.
func TestLiveEpoch(t *testing.T) {
	in := live(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ops, _ := startMySQL(t, ctx, in)
	l, err := mysql.New(mysql.Config{Endpoint: mysqlIP + ":3306", Password: secret, LockWait: 20, IO: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := driver.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr = mysqlnode.UserOps, secret, "tcp", mysqlIP+":3306"
	connector, err := driver.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := driversql.OpenDB(connector)
	defer db.Close()
	begin := func(statement string) *driversql.Tx {
		t.Helper()
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	waiting := func() { // until somebody waits for a row lock
		t.Helper()
		n := 0
		for n == 0 {
			if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM performance_schema.data_lock_waits").Scan(&n); err != nil {
				t.Fatalf("waited for somebody to wait for a lock: %v", err)
			}
		}
	}
	tokyo := payment.Writer{Node: "tokyo-app-1", Site: "tokyo", Epoch: 1}
	transactions := map[string]func(key string) error{
		"open": func(key string) error {
			_, _, err := l.Open(ctx, payment.Payment{Key: key + "-new", From: 1, To: 2, Yen: 5}, tokyo)
			return err
		},
		"finish": func(key string) error { _, err := l.Finish(ctx, key, tokyo); return err },
		"cancel": func(key string) error { _, err := l.Cancel(ctx, key, tokyo); return err },
		"refunded": func(key string) error {
			return l.Refunded(ctx, payment.Refund{Payment: key, Request: key, Yen: 5}, tokyo)
		},
		"settle": func(string) error { _, err := l.Settle(ctx, tokyo); return err },
		"probe":  func(string) error { return l.Probe(ctx, payment.Probe{Slot: 1, N: 2}, tokyo) },
	}
	for name, do := range transactions {
		key := "e-" + name
		if _, _, err := l.Open(ctx, payment.Payment{Key: key, From: 1, To: 2, Yen: 5}, tokyo); err != nil {
			t.Fatal(err)
		}
		raise := begin("UPDATE pay.epoch SET epoch = 2, site = 'osaka'")
		ended := make(chan error, 1)
		go func() { ended <- do(key) }()
		waiting() // the transaction has begun, and is about to look at the epoch
		if err := raise.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, payment.ErrStaleEpoch) || !errors.Is(err, payment.ErrNotExecuted) {
			t.Errorf("%s, with a raise between its begin and its commit: %v", name, err)
		}
		if row, err := l.Find(ctx, key); err != nil || row.State != payment.Pending {
			t.Errorf("%s: %+v, %v", name, row, err)
		}
		sql(t, ctx, ops, "UPDATE pay.epoch SET epoch = 1, site = 'tokyo'")
	}

	// The other way round: the payment holds the epoch already, and waits for an account.
	account := begin("SELECT * FROM pay.accounts WHERE id = 1 FOR UPDATE")
	ended := make(chan error, 1)
	go func() { _, err := l.Finish(ctx, "e-finish", tokyo); ended <- err }()
	waiting()
	impatient, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer impatient.Close()
	if _, err := impatient.ExecContext(ctx, "SET innodb_lock_wait_timeout = 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := impatient.ExecContext(ctx, "UPDATE pay.epoch SET epoch = 2"); err == nil || !strings.Contains(err.Error(), "Lock wait timeout") {
		t.Errorf("the epoch was raised under a payment that is about to commit: %v", err)
	}
	if err := account.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the payment: %v", err)
	}
	if s, err := ops.Snapshot(ctx); err != nil || s.Balance != s.Constant || s.Entries != 2 || len(s.Mismatched) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
}
