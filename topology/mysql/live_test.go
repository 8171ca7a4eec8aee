package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	driversql "github.com/go-sql-driver/mysql"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/payment/schema"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/livetest"
	"github.com/kirikae/kirikae/topology/provision"
)

const secret = `s3cret'\"`

// process is one real server of a test.
type process struct {
	t    *testing.T
	in   provision.MySQL
	o    NodeOptions
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

func live(t *testing.T) provision.MySQL {
	t.Helper()
	livetest.Servers(t)
	in, err := provision.Find("")
	if err != nil {
		t.Fatal(err)
	}
	return in.MySQL
}

func start(t *testing.T, in provision.MySQL, o NodeOptions) *process {
	t.Helper()
	if err := Prepare(in, o); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, in: in, o: o, log: filepath.Join(t.TempDir(), "log")}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.t.Helper()
	c := Command(p.in, p.o)
	for path, content := range c.Files {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer out.Close()
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Env = c.Env
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	p.done = done
	go func(c *exec.Cmd) { _ = c.Wait(); close(done) }(p.cmd)
}

// kill ends the server as a lost machine would, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
	if p.t.Failed() {
		b, _ := os.ReadFile(p.log)
		p.t.Logf("%s:\n%s", p.o.Address, b)
	}
}

func (p *process) rss() string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "VmRSS") {
			return strings.Join(strings.Fields(line)[1:], " ")
		}
	}
	return "?"
}

// ops opens the server as operators do, and waits until it answers.
func (p *process) ops(ctx context.Context, name string) *Server {
	p.t.Helper()
	s, err := Open(p.o.Address+":3306", UserOps, secret, Options{Name: name})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = s.Close() })
	if err := s.WaitReady(ctx); err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *process) bootstrap(ctx context.Context) {
	p.t.Helper()
	root, err := Open(p.o.Socket(), UserRoot, "", Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	defer root.Close()
	if err := root.WaitReady(ctx); err != nil {
		p.t.Fatal(err)
	}
	if err := root.Bootstrap(ctx, secret); err != nil {
		p.t.Fatal(err)
	}
}

// app opens a server as the application does, with one tag.
func app(t *testing.T, address, tag string) *sql.DB {
	t.Helper()
	cfg := driversql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName = UserPay, secret, "tcp", address+":3306", "pay"
	cfg.InterpolateParams = true
	cfg.Params = map[string]string{"gtid_next": "'AUTOMATIC:" + tag + "'"}
	c, err := driversql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// pay makes a payment as the application does: the PENDING row, then one transaction that makes it DONE.
func pay(ctx context.Context, open, done *sql.DB, key string) error {
	if _, err := open.ExecContext(ctx, "INSERT INTO payments VALUES (?, 1, 2, 100, 'PENDING', 1, 'tokyo', 'n')", key); err != nil {
		return err
	}
	tx, err := done.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, q := range []string{
		"UPDATE accounts SET balance = balance - 100 WHERE id = 1",
		"UPDATE accounts SET balance = balance + 100 WHERE id = 2",
		"INSERT INTO entries VALUES (1, '" + key + "', -100), (2, '" + key + "', 100)",
		"UPDATE payments SET state = 'DONE' WHERE pay_key = '" + key + "' /* pay:" + key + " */",
	} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func status(ctx context.Context, t *testing.T, s *Server) Status {
	t.Helper()
	st, err := s.Status(ctx)
	must(t, err)
	return st
}

// TestLiveForcedPromotion loses a primary under an apply lag, drains and promotes its replica, and reads both accounts.
func TestLiveForcedPromotion(t *testing.T) {
	in := live(t)
	ctx, cancel := context.WithTimeout(context.Background(), 180*time.Second)
	defer cancel()
	// A folder deeper than a unix socket's path may be, and with what an option file would take for a comment.
	dir := filepath.Join(t.TempDir(), "odd #1", strings.Repeat("deep/", 20))
	began := time.Now()
	tokyo := start(t, in, NodeOptions{DataDir: filepath.Join(dir, "tokyo"), Address: "127.201.1.21", ServerID: 1})
	osaka := start(t, in, NodeOptions{DataDir: filepath.Join(dir, "osaka"), Address: "127.201.2.21", ServerID: 2, ReadOnly: true})
	tokyo.bootstrap(ctx)
	osaka.bootstrap(ctx)
	T, O := tokyo.ops(ctx, "tokyo-mysql-1"), osaka.ops(ctx, "osaka-mysql-1")
	t.Logf("two servers with users after %s", time.Since(began))
	for _, s := range []*Server{T, O} {
		if st := status(ctx, t, s); st.Executed != "" || st.Source != "" || st.ReceiverOn || st.ApplierOn {
			t.Fatalf("%s starts with %+v, want no history", s.Name(), st)
		}
	}
	if !status(ctx, t, O).SuperReadOnly {
		t.Error("bootstrap left a read-only server writable")
	}
	must(t, T.ApplySchema(ctx, append(schema.MySQL(), schema.Seed(10, 1000, 1, "tokyo")...)))
	must(t, O.Follow(ctx, "127.201.1.21", 3306, secret, FollowOptions{}))
	caughtUp := func() {
		t.Helper()
		ok, err := O.WaitExecuted(ctx, status(ctx, t, T).Executed, 5*time.Second)
		must(t, err)
		if !ok {
			t.Fatalf("osaka did not catch up: %+v", status(ctx, t, O))
		}
	}
	caughtUp()
	t.Logf("pair replicates after %s, RSS %s and %s", time.Since(began), tokyo.rss(), osaka.rss())

	// Bootstrap again, with data: users stay, and so does the history.
	before := status(ctx, t, T).Executed
	tokyo.bootstrap(ctx)
	if got := status(ctx, t, T).Executed; got != before || got == "" {
		t.Errorf("a second bootstrap changed the history from %q to %q", before, got)
	}
	must(t, O.Follow(ctx, "127.201.1.21", 3306, secret, FollowOptions{}))

	open, done := app(t, "127.201.1.21", "open"), app(t, "127.201.1.21", "pay")
	commits := time.Now()
	for i := range 20 {
		must(t, pay(ctx, open, done, fmt.Sprintf("a-%02d", i)))
	}
	t.Logf("a payment of two commits takes %s", time.Since(commits)/20)
	caughtUp()

	// Whom the servers let write.
	canaries := map[string]*Canary{}
	for site, at := range map[string]string{"tokyo": "127.201.1.21:3306", "osaka": "127.201.2.21:3306"} {
		c, err := OpenCanary(at, secret, 10*time.Second)
		must(t, err)
		defer c.Close()
		canaries[site] = c
	}
	insert := func(site, id string, outcome history.Outcome, class string) {
		t.Helper()
		o, c := canaries[site].Insert(ctx, id, site, history.Monotonic{}.Now())
		if o != outcome || c != class {
			t.Errorf("canary %s at %s: %s %q, want %s %q", id, site, o, c, outcome, class)
		}
	}
	insert("tokyo", "c1", history.OK, "")
	insert("tokyo", "c2", history.OK, "")
	insert("osaka", "c3", history.Fail, "read-only")
	caughtUp()
	if id, at, err := O.NewestCanary(ctx, "tokyo"); err != nil || id != "c2" || at == 0 {
		t.Errorf("newest canary %q %d %v, want c2", id, at, err)
	}
	if id, _, err := O.NewestCanary(ctx, "osaka"); err != nil || id != "" {
		t.Errorf("newest canary of osaka %q %v, want none", id, err)
	}

	// The database's own account of what was paid.
	found, err := T.Transactions(ctx)
	must(t, err)
	executed, err := history.ParseGTIDSet(status(ctx, t, T).Executed)
	must(t, err)
	if len(found) != 20 || executed.Count("pay") != 20 || executed.Count("open") != 20 || executed.Count("canary") != 2 {
		t.Errorf("%d transactions of tag pay in the log, executed %s", len(found), executed)
	}
	for i, x := range found {
		if x.Key != fmt.Sprintf("a-%02d", i) || !executed.Contains(x.GTID) {
			t.Errorf("transaction %d is %+v", i, x)
		}
	}
	snap, err := O.Snapshot(ctx)
	must(t, err)
	if snap.Accounts != 10 || snap.Balance != 10000 || snap.Constant != 10000 || snap.Entries != 40 || snap.EntrySum != 0 || len(snap.Mismatched) != 0 {
		t.Errorf("snapshot %+v", snap)
	}

	// Apply lag: received and not yet applied, then the primary is lost.
	const late = 15 * time.Second // longer than everything up to the drain takes, also on a busy machine
	must(t, O.SetApplierDelay(ctx, late))
	for i := range 10 {
		must(t, pay(ctx, open, done, fmt.Sprintf("b-%02d", i)))
	}
	last := status(ctx, t, T).Executed
	lastSet, _ := history.ParseGTIDSet(last)
	var rec history.ReceivedData
	must(t, poll(ctx, 10*time.Millisecond, "receive all", func(ctx context.Context) error {
		if rec, err = O.Received(ctx); err != nil {
			return err
		}
		r, err := history.ParseGTIDSet(rec.Received)
		if err != nil {
			return err
		}
		if missing := lastSet.Subtract(r); !missing.Empty() {
			return errors.New(missing.String() + " is missing")
		}
		return nil
	}))
	exe, _ := history.ParseGTIDSet(rec.Executed)
	if exe.Count("pay") != 20 {
		t.Errorf("with an apply delay of %s, %d payments were applied at once, want 20", late, exe.Count("pay"))
	}
	if st := status(ctx, t, O); st.ApplierDelay != late || !st.ApplierOn || !st.ReceiverConnected || !st.PersistedReadOnly {
		t.Errorf("replica under delay: %+v", st)
	}
	tokyo.kill()
	insert("tokyo", "c4", history.Fail, "refused")
	down, err := Open("127.201.1.21:3306", UserOps, secret, Options{})
	must(t, err)
	defer down.Close()
	if _, err := down.Status(ctx); !errors.Is(err, topology.ErrUnreachable) {
		t.Errorf("status of a dead server: %v, want ErrUnreachable", err)
	}

	decided := time.Now()
	for range 2 { // every verb is harmless when repeated
		must(t, O.StopReceiver(ctx))
	}
	if st := status(ctx, t, O); st.ReceiverOn || !st.ApplierOn {
		t.Errorf("after StopReceiver: %+v", st)
	}
	if ok, err := O.WaitExecuted(ctx, rec.Received, 100*time.Millisecond); err != nil || ok {
		t.Errorf("drained at once under a delay: %v %v", ok, err)
	}
	if err := O.SetApplierDelay(ctx, 0); err == nil || !strings.Contains(err.Error(), "would throw away what it received") {
		t.Errorf("delay changed without a receiver: %v", err)
	}
	ok, err := O.WaitExecuted(ctx, rec.Received, 90*time.Second)
	must(t, err)
	if !ok {
		t.Fatal("not drained")
	}
	drained := time.Since(decided)
	if _, err := O.db.ExecContext(ctx, "INSERT INTO pay.probes VALUES (1, 1, 1)"); number(err) != 1290 {
		t.Errorf("ops wrote to a super_read_only server: %v", err)
	}
	if err := O.RaiseEpoch(ctx, 2, "osaka"); number(err) != 1290 || errors.Is(err, topology.ErrUnknown) {
		t.Errorf("epoch raised on a read-only server: %v", err)
	}
	for range 2 {
		must(t, O.Detach(ctx))
		must(t, O.StopReceiver(ctx))
		must(t, O.StopApplier(ctx))
	}
	if st := status(ctx, t, O); st.Source != "" || st.ReceiverOn || st.ApplierOn || !st.SuperReadOnly || st.Received != "" {
		t.Errorf("after Detach: %+v", st)
	}
	for range 2 {
		must(t, O.AllowOperators(ctx))
		must(t, O.RaiseEpoch(ctx, 2, "osaka"))
	}
	insert("osaka", "c4", history.Fail, "read-only")
	if st := status(ctx, t, O); !st.ReadOnly || st.SuperReadOnly || !st.PersistedReadOnly || st.PersistedSuperReadOnly {
		t.Errorf("after AllowOperators: %+v", st)
	}
	for range 2 {
		must(t, O.SetWritable(ctx, true))
		must(t, O.RaiseEpoch(ctx, 2, "osaka"))
	}
	if st := status(ctx, t, O); st.ReadOnly || st.SuperReadOnly || st.PersistedReadOnly {
		t.Errorf("after SetWritable: %+v", st)
	}
	t.Logf("promoted after %s, of which draining what was received %s", time.Since(decided), drained)
	for _, e := range []struct {
		to   int64
		site string
	}{{1, "osaka"}, {2, "tokyo"}} {
		if err := O.RaiseEpoch(ctx, e.to, e.site); !errors.Is(err, ErrNewerEpoch) || errors.Is(err, topology.ErrUnknown) {
			t.Errorf("raise epoch to %d of %s: %v, want ErrNewerEpoch", e.to, e.site, err)
		}
	}
	if epoch, site, err := O.Epoch(ctx); err != nil || epoch != 2 || site != "osaka" {
		t.Errorf("epoch %d of %q %v", epoch, site, err)
	}
	insert("osaka", "c5", history.OK, "")
	rows, err := O.Rows(ctx)
	must(t, err)
	if len(rows.Payments) != 30 || rows.Snapshot.Entries != 60 || rows.Payments[29].State != "DONE" {
		t.Errorf("promoted server holds %d payments, %+v", len(rows.Payments), rows.Snapshot)
	}

	// Money that does not add up is seen.
	_, err = O.db.ExecContext(ctx, "UPDATE pay.accounts SET balance = balance + 1 WHERE id = 7")
	must(t, err)
	_, err = O.db.ExecContext(ctx, "INSERT INTO pay.entries VALUES (99, 'x', 5)")
	must(t, err)
	if snap, err = O.Snapshot(ctx); err != nil || strings.Join(snap.Mismatched, " ") != "7 99" {
		t.Errorf("mismatched %v %v, want 7 and 99", snap.Mismatched, err)
	}

	// Killed and started alone, to be read: it takes no writes, although it was promoted. Started as it is in normal times: what was
	// persisted counts, whichever it was.
	osaka.kill()
	restart := time.Now()
	osaka.start()
	O = osaka.ops(ctx, "osaka-mysql-1")
	t.Logf("SQL %s after a kill", time.Since(restart))
	if st := status(ctx, t, O); !st.SuperReadOnly {
		t.Errorf("a promoted server that is started alone takes writes: %+v", st)
	}
	osaka.kill()
	osaka.o.ReadOnly = false
	osaka.start()
	O = osaka.ops(ctx, "osaka-mysql-1")
	if st := status(ctx, t, O); st.SuperReadOnly || st.ReadOnly {
		t.Errorf("a promoted server came back read-only: %+v", st)
	}
	must(t, O.SetWritable(ctx, false))
	osaka.kill()
	osaka.start()
	O = osaka.ops(ctx, "osaka-mysql-1")
	if st := status(ctx, t, O); !st.SuperReadOnly || !st.PersistedReadOnly || !st.PersistedSuperReadOnly {
		t.Errorf("a fenced server came back writable: %+v", st)
	}

	// The lost primary, alone on its own data: everything that it had acknowledged is there.
	tokyo.o.ReadOnly = true
	tokyo.start()
	T = tokyo.ops(ctx, "tokyo-mysql-1")
	if rows, err = T.Rows(ctx); err != nil || len(rows.Payments) != 30 || rows.Executed != last {
		t.Errorf("the lost primary holds %d payments, executed %s, want 30 and %s (%v)", len(rows.Payments), rows.Executed, last, err)
	}
	if found, err = T.Transactions(ctx); err != nil || len(found) != 30 || found[29].Key != "b-09" {
		t.Errorf("the lost primary's log: %d transactions, %v", len(found), err)
	}
	insert("tokyo", "c6", history.Fail, "read-only")
}

// TestLiveUnknown freezes a server: what was sent then may have happened; what could not be sent did not.
func TestLiveUnknown(t *testing.T) {
	in := live(t)
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	p := start(t, in, NodeOptions{DataDir: filepath.Join(t.TempDir(), "m"), Address: "127.201.3.21", ServerID: 3})
	p.bootstrap(ctx)
	s := p.ops(ctx, "m")
	must(t, s.ApplySchema(ctx, append(schema.MySQL(), schema.Seed(2, 1000, 1, "tokyo")...)))
	c, err := OpenCanary("127.201.3.21:3306", secret, 5*time.Second)
	must(t, err)
	defer c.Close()
	if o, class := c.Insert(ctx, "1", "tokyo", 1); o != history.OK {
		t.Fatalf("canary: %s %s", o, class)
	}
	must(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	if o, class := c.Insert(ctx, "2", "tokyo", 2); o != history.Info || class != "timeout" {
		t.Errorf("canary to a frozen server on an open connection: %s %s, want info timeout", o, class)
	}
	if o, class := c.Insert(ctx, "3", "tokyo", 3); o != history.Fail || class != "timeout" {
		t.Errorf("canary to a frozen server on a new connection: %s %s, want fail timeout", o, class)
	}
	short, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	if err := s.SetWritable(short, false); !errors.Is(err, topology.ErrUnknown) {
		t.Errorf("verb on a frozen server: %v, want ErrUnknown", err)
	}
	must(t, p.cmd.Process.Signal(syscall.SIGCONT))
	must(t, s.WaitReady(ctx))
	if o, class := c.Insert(ctx, "4", "tokyo", 4); o == history.Info {
		t.Errorf("canary after the thaw: %s %s", o, class)
	}

	// A commit in flight holds the lock that read-only needs: the server refuses in time, and nothing fires later.
	must(t, s.SetWritable(ctx, true))
	tx, err := s.db.BeginTx(ctx, nil)
	must(t, err)
	_, err = tx.ExecContext(ctx, "LOCK TABLES pay.probes WRITE")
	must(t, err)
	short, stop2 := context.WithTimeout(ctx, 10*time.Second)
	defer stop2()
	if err := s.SetWritable(short, false); number(err) != 1205 {
		t.Errorf("read-only behind a lock: %v, want the server's refusal 1205", err)
	}
	_, err = tx.ExecContext(ctx, "UNLOCK TABLES")
	must(t, err)
	must(t, tx.Rollback())
	if status(ctx, t, s).ReadOnly {
		t.Error("an abandoned statement made the server read-only later")
	}
}

// TestLiveWriting: whoever has changed a row and not ended yet is counted, and only while that lasts; who reads is not. Before a flip
// this must be 0, so a server that shows its sessions' transactions to nobody would let a flip pass that it must not.
func TestLiveWriting(t *testing.T) {
	in := live(t)
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	p := start(t, in, NodeOptions{DataDir: filepath.Join(t.TempDir(), "m"), Address: "127.201.4.21", ServerID: 4})
	p.bootstrap(ctx)
	s := p.ops(ctx, "m")
	must(t, s.ApplySchema(ctx, append(schema.MySQL(), schema.Seed(2, 1000, 1, "tokyo")...)))
	expect := func(when string, want int) {
		t.Helper()
		if n, err := s.Writing(ctx); err != nil || n != want {
			t.Errorf("%s: %d transactions write (%v), expected %d", when, n, err, want)
		}
	}
	db := app(t, p.o.Address, "pay")
	begin := func(q string) *sql.Tx {
		t.Helper()
		tx, err := db.BeginTx(ctx, nil)
		must(t, err)
		_, err = tx.ExecContext(ctx, q)
		must(t, err)
		return tx
	}
	expect("at rest", 0)
	reader := begin("SELECT * FROM accounts")
	expect("while one reads", 0)
	one, two := begin("UPDATE accounts SET balance = balance + 1 WHERE id = 1"), begin("UPDATE accounts SET balance = balance + 1 WHERE id = 2")
	expect("while two write", 2)
	must(t, one.Rollback())
	expect("after a rollback", 1)
	must(t, two.Commit())
	expect("after a commit", 0)
	must(t, reader.Rollback())
}
