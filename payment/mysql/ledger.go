// Package mysql keeps the platform's ledger in MySQL. It is the only importer of the MySQL driver in payment.
//
// Each kind of transaction has a connection pool of its own whose sessions tag their GTIDs (gtid_next='AUTOMATIC:TAG', MySQL ≥ 8.3),
// so that the server's own account tells payments from everything else: the tag "pay" marks exactly the transactions that make a
// payment DONE. Those also carry the payment's key in a comment, which the binary log keeps (binlog_rows_query_log_events).
//
// What the driver is told, and why: every wait is bounded; parameters are interpolated, so that a statement is one round trip
// and is seen whole in the binary log; rejectReadOnly stays off, because it makes database/sql silently try a refused write again
// elsewhere, and a write here is attempted once; found rows are counted, not changed ones.
package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/payment/internal/mono"
	"github.com/kirikae/kirikae/payment/schema"
)

// Config says where the ledger is. Zero durations and numbers take the defaults of New.
type Config struct {
	Endpoint string // host:port
	User     string // default pay
	Password string
	Dial     time.Duration // longest wait for a connection, default 500 ms
	IO       time.Duration // longest wait for one answer of the server, default 2 s
	LockWait int           // longest wait for a row lock, whole seconds, default 1 (MySQL's own default is 50)
}

// Pools of one node: at most this many connections each. Two nodes of a region and its batch stay below 40, for small servers.
// At 150 requests a second of a few milliseconds each, one or two are in use; more wait their turn within their own time.
const (
	openConns   = 4
	payConns    = 6
	probeConns  = 4
	readConns   = 2
	batchConns  = 1
	cancelConns = 1
)

// attempts of one transaction that MySQL rolled back for a deadlock or a lock wait; nothing of it happened, so it may be tried
// again at once.
const attempts = 3

// Ledger is the ledger in one MySQL server. It dials when it is first used.
type Ledger struct {
	endpoint string
	open     *sql.DB // PENDING rows
	pay      *sql.DB // transactions that make a payment DONE, nothing else
	probe    *sql.DB
	batch    *sql.DB
	cancel   *sql.DB // cancellations and refunds
	read     *sql.DB // untagged: it never writes

	mu    sync.Mutex
	known map[int]bool // accounts that exist; they are never closed
}

var (
	_ payment.Ledger  = (*Ledger)(nil)
	_ payment.Settler = (*Ledger)(nil)
)

// New makes a ledger. It does not dial; only a wrong configuration is an error.
func New(c Config) (*Ledger, error) {
	if c.User == "" {
		c.User = "pay"
	}
	if c.Dial == 0 {
		c.Dial = 500 * time.Millisecond
	}
	if c.IO == 0 {
		c.IO = 2 * time.Second
	}
	if c.LockWait == 0 {
		c.LockWait = 1
	}
	l := &Ledger{endpoint: c.Endpoint, known: map[int]bool{}}
	for _, p := range []struct {
		db  **sql.DB
		tag string
		n   int
	}{
		{&l.open, schema.TagOpen, openConns},
		{&l.pay, schema.TagPay, payConns},
		{&l.probe, schema.TagProbe, probeConns},
		{&l.batch, schema.TagBatch, batchConns},
		{&l.cancel, schema.TagCancel, cancelConns},
		{&l.read, "", readConns},
	} {
		connector, err := mysqldriver.NewConnector(c.session(p.tag))
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("configure ledger at %s: %w", c.Endpoint, err)
		}
		db := sql.OpenDB(connector)
		db.SetMaxOpenConns(p.n)
		db.SetMaxIdleConns(p.n)
		db.SetConnMaxIdleTime(time.Minute)
		*p.db = db
	}
	return l, nil
}

func (c Config) session(tag string) *mysqldriver.Config {
	d := mysqldriver.NewConfig()
	d.Net, d.Addr = "tcp", c.Endpoint
	d.User, d.Passwd, d.DBName = c.User, c.Password, schema.Database
	d.Timeout, d.ReadTimeout, d.WriteTimeout = c.Dial, c.IO, c.IO
	d.InterpolateParams = true
	d.RejectReadOnly = false
	d.ClientFoundRows = true
	d.Logger = &mysqldriver.NopLogger{} // errors are returned, and told once
	d.Params = map[string]string{"innodb_lock_wait_timeout": fmt.Sprint(c.LockWait)}
	if tag != "" {
		d.Params["gtid_next"] = "'AUTOMATIC:" + tag + "'"
	}
	return d
}

// Close ends all connections.
func (l *Ledger) Close() error {
	var all []error
	for _, db := range []*sql.DB{l.open, l.pay, l.probe, l.batch, l.cancel, l.read} {
		if db != nil {
			all = append(all, db.Close())
		}
	}
	return errors.Join(all...)
}

// conn takes a connection of a pool. Whatever goes wrong here, no statement was sent.
func (l *Ledger) conn(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, payment.NotExecuted(fmt.Errorf("connect to MySQL %s: %w", l.endpoint, err))
	}
	return c, nil
}

const columns = "pay_key, from_account, to_account, yen, state, epoch, site, node"

type scanner interface{ Scan(...any) error }

func scan(row scanner) (payment.Payment, error) {
	var p payment.Payment
	err := row.Scan(&p.Key, &p.From, &p.To, &p.Yen, &p.State, &p.Epoch, &p.Site, &p.Node)
	if errors.Is(err, sql.ErrNoRows) {
		err = payment.ErrNotFound
	}
	return p, err
}

// Open implements payment.Ledger. The row and the proof of the epoch are one statement: it selects the row's values from the
// epoch row, which it locks shared, so that it inserts nothing in another epoch.
func (l *Ledger) Open(ctx context.Context, p payment.Payment, w payment.Writer) (row payment.Payment, fresh bool, err error) {
	if err := p.Check(); err != nil {
		return payment.Payment{}, false, payment.NotExecuted(fmt.Errorf("open payment: %w", err))
	}
	fail := func(err error) error { return fmt.Errorf("open payment %s: %w", p.Key, err) }
	c, err := l.conn(ctx, l.open)
	if err != nil {
		return payment.Payment{}, false, fail(err)
	}
	defer c.Close()
	for _, id := range []int{p.From, p.To} {
		if err := l.account(ctx, c, id); err != nil {
			return payment.Payment{}, false, fail(payment.NotExecuted(err))
		}
	}
	p.State, p.Epoch, p.Site, p.Node = payment.Pending, w.Epoch, w.Site, w.Node
	var n int64
	err = retry(ctx, func() error {
		res, err := c.ExecContext(ctx, "INSERT INTO payments ("+columns+") SELECT ?, ?, ?, ?, ?, ?, ?, ? FROM epoch WHERE id = 1 AND epoch = ? FOR SHARE",
			p.Key, p.From, p.To, p.Yen, p.State, p.Epoch, p.Site, p.Node, w.Epoch)
		if err != nil {
			return statement(err)
		}
		n, err = res.RowsAffected()
		return err
	})
	switch {
	case err == nil && n == 1:
		return p, true, nil
	case err == nil: // nothing was selected: another epoch
		stale := l.stale(ctx, c, w)
		found, err := scan(c.QueryRowContext(ctx, "SELECT "+columns+" FROM payments WHERE pay_key = ?", p.Key))
		if errors.Is(err, payment.ErrNotFound) {
			return payment.Payment{}, false, fail(stale)
		}
		if err != nil {
			found = payment.Payment{State: payment.Pending} // not known: it may be there
		}
		return found, false, fail(stale)
	case number(err) == errDuplicate:
		found, err := scan(c.QueryRowContext(ctx, "SELECT "+columns+" FROM payments WHERE pay_key = ?", p.Key))
		if err != nil {
			return payment.Payment{}, false, fail(err)
		}
		if !found.Same(p) {
			return found, false, fail(payment.NotExecuted(payment.ErrConflict))
		}
		return found, false, nil
	default:
		return payment.Payment{}, false, fail(err)
	}
}

// account says whether an account exists. It is asked once for each account.
func (l *Ledger) account(ctx context.Context, c *sql.Conn, id int) error {
	l.mu.Lock()
	known := l.known[id]
	l.mu.Unlock()
	if known {
		return nil
	}
	var one int
	err := c.QueryRowContext(ctx, "SELECT 1 FROM accounts WHERE id = ?", id).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("account %d: %w", id, payment.ErrNoAccount)
	}
	if err != nil {
		return fmt.Errorf("find account %d: %w", id, err)
	}
	l.mu.Lock()
	l.known[id] = true
	l.mu.Unlock()
	return nil
}

// stale tells in which epoch the store is instead.
func (l *Ledger) stale(ctx context.Context, c *sql.Conn, w payment.Writer) error {
	var is int64
	var site string
	if err := c.QueryRowContext(ctx, "SELECT epoch, site FROM epoch WHERE id = 1").Scan(&is, &site); err != nil {
		return payment.NotExecuted(fmt.Errorf("%w %d: the store's cannot be read: %w", payment.ErrStaleEpoch, w.Epoch, err))
	}
	return staleEpoch(w, is, site)
}

func staleEpoch(w payment.Writer, is int64, site string) error {
	return payment.NotExecuted(fmt.Errorf("%w: this node writes in %d, the store is in %d (%s)", payment.ErrStaleEpoch, w.Epoch, is, site))
}

// Finish implements payment.Ledger. Locks are taken in one order by every transaction: the payment, the epoch (shared), the two
// accounts by their numbers. The accounts come last, since customers meet there. An error before COMMIT was sent is proof that
// nothing happened.
func (l *Ledger) Finish(ctx context.Context, key string, w payment.Writer) (payment.Payment, error) {
	if err := payment.CheckKey(key); err != nil { // the key goes into a comment as it is
		return payment.Payment{}, payment.NotExecuted(fmt.Errorf("finish payment: %w", err))
	}
	var p payment.Payment
	err := l.transact(ctx, l.pay, func(tx *sql.Tx) (bool, error) {
		var is int64
		var site string
		err := tx.QueryRowContext(ctx, "SELECT p.pay_key, p.from_account, p.to_account, p.yen, p.state, p.epoch, p.site, p.node, COALESCE(e.epoch, 0), COALESCE(e.site, '') "+
			"FROM payments p LEFT JOIN epoch e ON e.id = 1 WHERE p.pay_key = ? FOR UPDATE OF p FOR SHARE OF e", key).
			Scan(&p.Key, &p.From, &p.To, &p.Yen, &p.State, &p.Epoch, &p.Site, &p.Node, &is, &site)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return false, payment.ErrNotFound
		case err != nil:
			return false, fmt.Errorf("lock it: %w", err)
		case p.State == payment.Done:
			return false, nil
		case p.State == payment.Cancelled:
			return false, payment.ErrCancelled
		case is != w.Epoch:
			return false, staleEpoch(w, is, site)
		}
		p.State, p.Epoch, p.Site, p.Node = payment.Done, w.Epoch, w.Site, w.Node
		if err := matched(1)(tx.ExecContext(ctx, "UPDATE /* pay:"+key+" */ payments SET state = ?, epoch = ?, site = ?, node = ? WHERE pay_key = ?",
			p.State, p.Epoch, p.Site, p.Node, key)); err != nil {
			return false, fmt.Errorf("set DONE: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO entries (account, pay_key, amount) VALUES (?, ?, ?), (?, ?, ?)",
			p.From, key, -p.Yen, p.To, key, p.Yen); err != nil {
			return false, fmt.Errorf("append entries: %w", err)
		}
		if err := matched(2)(tx.ExecContext(ctx, "UPDATE accounts SET balance = balance + IF(id = ?, ?, ?) WHERE id IN (?, ?) ORDER BY id",
			p.From, -p.Yen, p.Yen, p.From, p.To)); err != nil {
			return false, fmt.Errorf("move accounts %d and %d: %w", p.From, p.To, err)
		}
		return true, nil
	})
	if err != nil {
		if !errors.Is(err, payment.ErrCancelled) {
			p = payment.Payment{}
		}
		return p, fmt.Errorf("finish payment %s: %w", key, err)
	}
	return p, nil
}

// matched wants a statement to find that many rows.
func matched(want int64) func(sql.Result, error) error {
	return func(res sql.Result, err error) error {
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err == nil && n != want {
			err = fmt.Errorf("%d rows matched, want %d", n, want)
		}
		return err
	}
}

// transact runs f in a transaction and commits it if f says so. Only an error of COMMIT itself leaves the outcome open.
func (l *Ledger) transact(ctx context.Context, db *sql.DB, f func(*sql.Tx) (commit bool, err error)) error {
	return retry(ctx, func() error {
		c, err := l.conn(ctx, db)
		if err != nil {
			return err
		}
		defer c.Close()
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			return payment.NotExecuted(fmt.Errorf("begin: %w", err))
		}
		commit, err := f(tx)
		if err != nil || !commit {
			tx.Rollback() // a broken connection rolls back too
			return payment.NotExecuted(err)
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("commit: %w", statement(err))
		}
		return nil
	})
}

// retry tries again what MySQL rolled back for a deadlock or a lock wait: at most three times, 10 and 20 ms apart, within ctx.
func retry(ctx context.Context, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if e := number(err); n == attempts || e != errDeadlock && e != errLockWait {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(n) * 10 * time.Millisecond):
		}
	}
}

// Server errors after which the statement certainly did nothing.
const (
	errDBAccess   = 1044
	errAccess     = 1045
	errNoDB       = 1049
	errDuplicate  = 1062
	errTable      = 1142
	errNoTable    = 1146
	errLockWait   = 1205
	errDeadlock   = 1213
	errReadOnly   = 1290 // --read-only, --super-read-only
	errReadOnlyTx = 1792
	errReadOnlyDB = 1836
)

func number(err error) uint16 {
	var e *mysqldriver.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// statement marks the errors of an autocommitted statement, or of COMMIT, that prove that it did nothing.
func statement(err error) error {
	switch number(err) {
	case errDBAccess, errAccess, errNoDB, errDuplicate, errTable, errNoTable, errLockWait, errDeadlock, errReadOnly, errReadOnlyTx, errReadOnlyDB:
		return payment.NotExecuted(err)
	}
	if errors.Is(err, driver.ErrBadConn) { // the driver says so only when no byte was written
		return payment.NotExecuted(err)
	}
	return err
}

// Find implements payment.Ledger.
func (l *Ledger) Find(ctx context.Context, key string) (payment.Payment, error) {
	p, err := scan(l.read.QueryRowContext(ctx, "SELECT "+columns+" FROM payments WHERE pay_key = ?", key))
	if err != nil {
		return payment.Payment{}, fmt.Errorf("find payment %s: %w", key, err)
	}
	return p, nil
}

// List implements payment.Ledger.
func (l *Ledger) List(ctx context.Context, after string, limit int) ([]payment.Payment, error) {
	rows, err := l.read.QueryContext(ctx, "SELECT "+columns+" FROM payments WHERE pay_key > ? ORDER BY pay_key LIMIT ?", after, limit)
	if err != nil {
		return nil, fmt.Errorf("list payments: %w", err)
	}
	defer rows.Close()
	var out []payment.Payment
	for rows.Next() {
		p, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list payments: %w", err)
		}
		out = append(out, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list payments: %w", err)
	}
	return out, nil
}

// Probe implements payment.Ledger: one statement that writes nothing in another epoch.
func (l *Ledger) Probe(ctx context.Context, p payment.Probe, w payment.Writer) error {
	fail := func(err error) error { return fmt.Errorf("probe slot %d: %w", p.Slot, err) }
	c, err := l.conn(ctx, l.probe)
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	var n int64
	err = retry(ctx, func() error {
		t := mono.Now()
		res, err := c.ExecContext(ctx, "INSERT INTO probes (slot, n, t) SELECT ?, ?, ? FROM epoch WHERE id = 1 AND epoch = ? ON DUPLICATE KEY UPDATE n = ?, t = ?",
			p.Slot, p.N, t, w.Epoch, p.N, t)
		if err != nil {
			return statement(err)
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return fail(err)
	}
	if n == 0 {
		return fail(l.stale(ctx, c, w))
	}
	return nil
}

// Ready implements payment.Ledger: the server answers, takes writes, and is in the writer's epoch.
func (l *Ledger) Ready(ctx context.Context, w payment.Writer) error {
	var is int64
	var site string
	var readOnly, super bool
	err := l.read.QueryRowContext(ctx, "SELECT epoch, site, @@global.read_only, @@global.super_read_only FROM epoch WHERE id = 1").
		Scan(&is, &site, &readOnly, &super)
	switch {
	case err != nil:
		return fmt.Errorf("read epoch of MySQL %s: %w", l.endpoint, err)
	case is != w.Epoch: // said first: it tells a node that waits for its promotion from one whose server was fenced
		return staleEpoch(w, is, site)
	case readOnly || super:
		return fmt.Errorf("MySQL %s is read-only", l.endpoint)
	}
	return nil
}
