// Package cassandra keeps the platform's journal of events in Cassandra, at a quorum of the region's own data centre and never
// through another one. It is the only importer of gocql in payment.
package cassandra

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/gocql/gocql"

	"github.com/kirikae/kirikae/payment"
)

// Config says where the journal is. Zero values take the defaults of New.
type Config struct {
	Endpoints []string      // host or host:port of nodes in the own data centre
	DC        string        // the own data centre: no other one is ever asked
	Dial      time.Duration // longest wait for a connection, default 500 ms
	IO        time.Duration // longest wait for one answer, default 1 s
	Log       *slog.Logger
}

// Journal is the journal in one data centre. Run connects it; until then it refuses.
type Journal struct {
	cfg Config

	mu      sync.Mutex
	session *gocql.Session
	last    error // why there is no session yet
}

var _ payment.Journal = (*Journal)(nil)

// New makes a journal. Only a wrong configuration is an error.
func New(c Config) (*Journal, error) {
	if len(c.Endpoints) == 0 || c.DC == "" {
		return nil, errors.New("configure journal: endpoints and data centre are needed")
	}
	for _, e := range c.Endpoints {
		if host, port, err := net.SplitHostPort(e); err == nil {
			if n, err := strconv.Atoi(port); err != nil || host == "" || n < 1 {
				return nil, fmt.Errorf("configure journal: %q is not host:port", e)
			}
		}
	}
	if c.Dial == 0 {
		c.Dial = 500 * time.Millisecond
	}
	if c.IO == 0 {
		c.IO = time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Journal{cfg: c, last: errors.New("not connected yet")}, nil
}

// Run connects, tries again until it succeeds, and keeps the connection until ctx ends.
func (j *Journal) Run(ctx context.Context) error {
	said := ""
	for ctx.Err() == nil {
		s, err := j.cluster().CreateSession()
		if err == nil {
			j.mu.Lock()
			j.session, j.last = s, nil
			j.mu.Unlock()
			j.cfg.Log.Info("journal connected", "endpoints", j.cfg.Endpoints, "dc", j.cfg.DC)
			<-ctx.Done()
			j.mu.Lock()
			j.session, j.last = nil, errors.New("closed")
			j.mu.Unlock()
			s.Close()
			return nil
		}
		j.mu.Lock()
		j.last = err
		j.mu.Unlock()
		if err.Error() != said {
			said = err.Error()
			j.cfg.Log.Warn("journal not reached yet", "endpoints", j.cfg.Endpoints, "dc", j.cfg.DC, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
	return nil
}

// cluster says how to talk to the data centre. The host filter keeps other data centres out altogether: the DC-aware policy alone
// falls back to them, and then a lost region looks alive. No statement is tried again: customers do that.
func (j *Journal) cluster() *gocql.ClusterConfig {
	c := gocql.NewCluster(j.cfg.Endpoints...)
	c.ProtoVersion = 4
	c.Consistency = gocql.LocalQuorum
	c.SerialConsistency = gocql.LocalSerial
	c.HostFilter = gocql.DataCentreHostFilter(j.cfg.DC)
	c.PoolConfig.HostSelectionPolicy = gocql.DCAwareRoundRobinPolicy(j.cfg.DC)
	c.RetryPolicy = nil
	c.NumConns = 2
	c.ConnectTimeout = j.cfg.Dial
	c.Timeout = j.cfg.IO
	c.WriteTimeout = j.cfg.IO
	c.ReconnectInterval = time.Second // its default of a minute would outlast a recovery
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 1, Interval: 100 * time.Millisecond}
	c.MaxWaitSchemaAgreement = 2 * time.Second
	c.DefaultIdempotence = false
	c.Logger = quiet{j.cfg.Log}
	return c
}

func (j *Journal) get() (*gocql.Session, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.session == nil {
		return nil, payment.NotExecuted(fmt.Errorf("connect to Cassandra %v: %w", j.cfg.Endpoints, j.last))
	}
	return j.session, nil
}

func (j *Journal) exec(ctx context.Context, cql string, args ...any) error {
	s, err := j.get()
	if err != nil {
		return err
	}
	err = s.Query(cql, args...).WithContext(ctx).Exec()
	var unavailable *gocql.RequestErrUnavailable
	if errors.Is(err, gocql.ErrNoConnections) || errors.As(err, &unavailable) { // not sent; or the coordinator wrote to no replica
		return payment.NotExecuted(err)
	}
	return err
}

// Append implements payment.Journal. The row is inserted and never changed; equal events write equal rows.
func (j *Journal) Append(ctx context.Context, e payment.Event) error {
	if err := j.exec(ctx, "INSERT INTO pay.events (pay_key, yen, epoch, site) VALUES (?, ?, ?, ?)", e.Key, e.Yen, e.Epoch, e.Site); err != nil {
		return fmt.Errorf("append event of payment %s: %w", e.Key, err)
	}
	return nil
}

// Event implements payment.Journal.
func (j *Journal) Event(ctx context.Context, key string) (payment.Event, error) {
	s, err := j.get()
	if err != nil {
		return payment.Event{}, err
	}
	e := payment.Event{Key: key}
	err = s.Query("SELECT yen, epoch, site FROM pay.events WHERE pay_key = ?", key).WithContext(ctx).Scan(&e.Yen, &e.Epoch, &e.Site)
	if errors.Is(err, gocql.ErrNotFound) {
		err = payment.ErrNotFound
	}
	if err != nil {
		return payment.Event{}, fmt.Errorf("read event of payment %s: %w", key, err)
	}
	return e, nil
}

// Events implements payment.Journal, page by page.
func (j *Journal) Events(ctx context.Context) ([]payment.Event, error) {
	s, err := j.get()
	if err != nil {
		return nil, err
	}
	it := s.Query("SELECT pay_key, yen, epoch, site FROM pay.events").WithContext(ctx).PageSize(1000).Iter()
	var out []payment.Event
	var e payment.Event
	for it.Scan(&e.Key, &e.Yen, &e.Epoch, &e.Site) {
		out = append(out, e)
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return out, nil
}

// Probe implements payment.Journal.
func (j *Journal) Probe(ctx context.Context, p payment.Probe) error {
	if err := j.exec(ctx, "INSERT INTO pay.probes (slot, n) VALUES (?, ?)", p.Slot, p.N); err != nil {
		return fmt.Errorf("probe slot %d in the journal: %w", p.Slot, err)
	}
	return nil
}

// Ready implements payment.Journal with a read at the quorum that writes need.
func (j *Journal) Ready(ctx context.Context) error {
	s, err := j.get()
	if err != nil {
		return err
	}
	var n int64
	err = s.Query("SELECT n FROM pay.probes WHERE slot = ?", -1).WithContext(ctx).Scan(&n)
	if err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return fmt.Errorf("read from Cassandra %v: %w", j.cfg.Endpoints, err)
	}
	return nil
}

// quiet sends gocql's own messages to the debug log: what matters comes back as an error.
type quiet struct{ log *slog.Logger }

func (q quiet) Print(v ...any)                 { q.log.Debug("gocql: " + fmt.Sprint(v...)) }
func (q quiet) Printf(format string, v ...any) { q.log.Debug("gocql: " + fmt.Sprintf(format, v...)) }
func (q quiet) Println(v ...any)               { q.log.Debug("gocql: " + fmt.Sprintln(v...)) }
