package cassandra

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gocql/gocql"

	"github.com/kirikae/kirikae/topology"
)

// Session reads and writes in one region, at LOCAL_QUORUM where nothing else is said. Nothing is retried.
//
// Errors: topology.ErrUnreachable is proof that nothing was sent, topology.ErrUnknown that the outcome of a write is not known.
// Any other error is Cassandra's refusal.
type Session struct {
	cql  *gocql.Session
	name string
}

// Open connects to a region. It ends within ctx, or after some seconds.
func Open(ctx context.Context, site Site) (*Session, error) {
	name := site.Name
	if name == "" && len(site.Contact) > 0 {
		name = site.Contact[0]
	}
	return open(ctx, siteConfig(site), name)
}

func siteConfig(site Site) *gocql.ClusterConfig {
	cfg := config(site.Contact...)
	cfg.HostFilter = gocql.DataCentreHostFilter(site.DC)
	cfg.PoolConfig.HostSelectionPolicy = gocql.DCAwareRoundRobinPolicy(site.DC)
	if len(site.Translate) > 0 {
		cfg.AddressTranslator = gocql.AddressTranslatorFunc(site.translate)
	}
	return cfg
}

// openNode connects to one node and to no other, to hear its own view.
func openNode(ctx context.Context, address string) (*Session, error) {
	return open(ctx, nodeConfig(address), address)
}

func nodeConfig(address string) *gocql.ClusterConfig {
	cfg := config(address)
	cfg.DisableInitialHostLookup = true
	cfg.Events.DisableTopologyEvents, cfg.Events.DisableNodeStatusEvents, cfg.Events.DisableSchemaEvents = true, true, true
	cfg.NumConns = 1
	return cfg
}

func config(contact ...string) *gocql.ClusterConfig {
	cfg := gocql.NewCluster(contact...)
	cfg.ProtoVersion = 4
	cfg.Consistency = gocql.LocalQuorum
	cfg.ConnectTimeout = 2 * time.Second
	cfg.Timeout = 6 * time.Second // above Cassandra's own, so that its answer is heard
	cfg.WriteTimeout = 2 * time.Second
	cfg.ReconnectInterval = time.Second
	cfg.MaxWaitSchemaAgreement = 2 * time.Second // 60 s by default, waited in full while a region is gone
	cfg.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 1, Interval: 100 * time.Millisecond}
	cfg.PageSize = 1000
	cfg.Logger = silent{}
	return cfg
}

// silent drops what the driver says on its own: what matters comes back as an error.
type silent struct{}

func (silent) Print(...any)          {}
func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// open makes a session. The driver takes no context for that: when ctx ends, what it has dialled is closed under it.
func open(ctx context.Context, cfg *gocql.ClusterConfig, name string) (*Session, error) {
	d := &dialer{opening: ctx}
	d.net.Timeout, d.net.KeepAlive = cfg.ConnectTimeout, 15*time.Second
	cfg.Dialer = d
	stop := context.AfterFunc(ctx, d.abort)
	s, err := cfg.CreateSession()
	if !stop() && err == nil { // ctx ended, its connections are closed
		s.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, fmt.Errorf("connect to Cassandra %s: %w: %w", name, topology.ErrUnreachable, err)
	}
	d.opened()
	return &Session{cql: s, name: name}, nil
}

// dialer dials for one session, and can end all of it while the session is being opened.
type dialer struct {
	net net.Dialer

	mu      sync.Mutex
	opening context.Context // nil once opened
	conns   []net.Conn      // dialled while opening
}

// DialContext implements gocql.Dialer.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	opening := d.opening
	d.mu.Unlock()
	if opening == nil {
		return d.net.DialContext(ctx, network, address)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(opening, cancel)()
	c, err := d.net.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if opening.Err() != nil {
		_ = c.Close()
		return nil, context.Cause(opening)
	}
	d.conns = append(d.conns, c)
	return c, nil
}

func (d *dialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		_ = c.Close()
	}
}

func (d *dialer) opened() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opening, d.conns = nil, nil
}

// Name is the site's name, as given.
func (s *Session) Name() string { return s.name }

// Close ends the connections.
func (s *Session) Close() { s.cql.Close() }

// wrap names what failed and classifies it.
func (s *Session) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	if kind := kindOf(err); kind != nil {
		return fmt.Errorf("%s at Cassandra %s: %w: %w", what, s.name, kind, err)
	}
	return fmt.Errorf("%s at Cassandra %s: %w", what, s.name, err)
}

// kindOf is the kind of an error of the driver; nil when Cassandra itself refused.
func kindOf(err error) error {
	var writeTimeout *gocql.RequestErrWriteTimeout
	var writeFailure *gocql.RequestErrWriteFailure
	var refusal gocql.RequestError
	switch {
	case errors.Is(err, gocql.ErrNoConnections), errors.Is(err, gocql.ErrNoConnectionsStarted), errors.Is(err, gocql.ErrSessionClosed),
		errors.Is(err, gocql.ErrNoStreams):
		return topology.ErrUnreachable
	case errors.As(err, &writeTimeout), errors.As(err, &writeFailure):
		return topology.ErrUnknown // some replicas may have it
	case errors.As(err, &refusal), errors.Is(err, gocql.ErrNotFound):
		return nil
	}
	return topology.ErrUnknown
}
