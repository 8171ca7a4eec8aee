package topologytest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/gocql/gocql"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/mysql"
)

// A load of bytes over a narrow link: a second.
const (
	loadBytes = 16 << 10
	loadRate  = 16 // KiB/s
	loadTime  = loadBytes * time.Second / (loadRate << 10)
)

// narrow: bytes in a narrow link's direction take the time that its rate asks for, those of the other direction do not. One
// pair of sites is tried for each service, both ways; the others have the same proxy.
func (c *contract) narrow(t *testing.T) {
	for _, s := range []struct {
		service topology.Service
		far     topology.Site
	}{
		{topology.ServiceHTTP, topology.Outside}, {topology.ServiceAcquirer, topology.Outside},
		{topology.ServiceMySQL, c.standby}, {topology.ServiceCassandra, c.standby},
	} {
		t.Run(string(s.service), func(t *testing.T) {
			t.Parallel()
			for _, l := range []topology.Link{c.link(t, c.active, s.far, s.service), c.link(t, s.far, c.active, s.service)} {
				t.Run(strings.ReplaceAll(l.ID().String(), "/", " "), func(t *testing.T) { c.oneNarrow(t, l) })
			}
		})
	}
}

func (c *contract) oneNarrow(t *testing.T, l topology.Link) {
	door := l.Doors()[0]
	if l.ID().Service == topology.ServiceCassandra { // its data flow from the dialler to the target only
		for _, d := range l.Doors() {
			if d.Upstream {
				door = d
			}
		}
	}
	carry, err := c.carrier(l, door)
	must(t, err)
	defer carry.close()
	quick := func(when string, upstream bool) {
		t.Helper()
		if carry.bytes[upstream] == nil {
			return
		}
		if took, err := fastest(t.Context(), carry.bytes[upstream], loadTime/2); err != nil || took > loadTime/2 {
			t.Errorf("%s: %d bytes took %s, %v", when, loadBytes, took, err)
		}
	}
	quick("open", door.Upstream)
	quick("open, the other way", !door.Upstream)
	must(t, l.SetFault(t.Context(), topology.Fault{Kind: topology.Narrow, Rate: loadRate}))
	took, err := fastest(t.Context(), carry.bytes[door.Upstream], 2*loadTime)
	if err != nil || took < loadTime*9/10 || took > 2*loadTime {
		t.Errorf("narrow: %d bytes at %d KiB/s took %s, %v, want %s", loadBytes, loadRate, took, err, loadTime)
	}
	quick("narrow, the other way", !door.Upstream)
	must(t, l.SetFault(t.Context(), topology.Fault{}))
	quick("healed", door.Upstream)
}

// fastest is the time of the best of some tries: a loaded machine has bad ones. It stops at the first that is good enough.
func fastest(ctx context.Context, f func(context.Context) error, enough time.Duration) (time.Duration, error) {
	var best time.Duration
	for i := range 20 {
		ctx, cancel := context.WithTimeout(ctx, patience)
		began := time.Now()
		err := f(ctx)
		cancel()
		if err != nil {
			return 0, err
		}
		if took := time.Since(began); i == 0 || took < best {
			best = took
		}
		if best <= enough {
			break
		}
	}
	return best, nil
}

// carrier moves a load of bytes over a door, in one direction, and returns when it has arrived.
type carrier struct {
	bytes map[bool]func(context.Context) error // upstream → how
	close func()
}

func (c *contract) carrier(l topology.Link, d topology.Door) (carrier, error) {
	switch l.ID().Service {
	case topology.ServiceMySQL:
		return sqlCarrier(d.Reach, c.About().Secret)
	case topology.ServiceCassandra:
		return c.ringCarrier(l.ID().From)
	default:
		return httpCarrier(d.Reach), nil
	}
}

// httpCarrier asks with a long head, or asks so often that the answers are many.
func httpCarrier(address string) carrier {
	over := func(ctx context.Context, question string, answers int) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		deadline, _ := ctx.Deadline()
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
		asked := make(chan error, 1)
		go func() {
			_, err := io.WriteString(conn, question)
			asked <- err
		}()
		_, err = io.ReadFull(conn, make([]byte, answers))
		if err != nil {
			conn.Close()
		}
		if werr := <-asked; err == nil {
			err = werr
		}
		return err
	}
	const head = "HEAD /none HTTP/1.1\r\nHost: probe\r\n"
	return carrier{close: func() {}, bytes: map[bool]func(context.Context) error{
		true: func(ctx context.Context) error {
			return over(ctx, head+"X-Load: "+strings.Repeat("x", loadBytes)+"\r\n\r\n", 16)
		},
		false: func(ctx context.Context) error { // an answer has more than 64 bytes
			return over(ctx, strings.Repeat(head+"\r\n", loadBytes/64), loadBytes)
		},
	}}
}

// sqlCarrier sends a long text to a server, or lets it make one.
func sqlCarrier(address, secret string) (carrier, error) {
	cfg := driver.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.InterpolateParams = "tcp", address, mysql.UserOps, secret, true
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		return carrier{}, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	query := func(ctx context.Context, q string, arg any) error {
		var got any
		return db.QueryRowContext(ctx, q, arg).Scan(&got)
	}
	return carrier{close: func() { db.Close() }, bytes: map[bool]func(context.Context) error{
		true:  func(ctx context.Context) error { return query(ctx, "SELECT LENGTH(?)", strings.Repeat("x", loadBytes)) },
		false: func(ctx context.Context) error { return query(ctx, "SELECT REPEAT('x', ?)", loadBytes) },
	}}, nil
}

// ringCarrier writes a long value that both regions acknowledge.
func (c *contract) ringCarrier(from topology.Site) (carrier, error) {
	s, err := cql(c.Nodes(from, topology.Cassandra)[0])
	if err != nil {
		return carrier{}, err
	}
	value := make([]byte, loadBytes/2)
	_, _ = rand.Read(value) // never fails
	const key = "contract-load"
	return carrier{close: s.Close, bytes: map[bool]func(context.Context) error{
		true: func(ctx context.Context) error {
			return s.Query("INSERT INTO pay.events (pay_key, yen, epoch, site) VALUES (?, 1, 1, ?)", key, hex.EncodeToString(value)).
				Consistency(gocql.EachQuorum).WithContext(ctx).Exec()
		},
	}}, nil
}
