package workload

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// attempt is one wire attempt, seen from below the HTTP client: how many requests left the machine for it. net/http re-sends a
// request on its own when it believes that it may (a lost reused connection, no body or GetBody, an Idempotency-Key header);
// then one record would stand for two requests. Here every request is counted where its bytes are written.
type attempt struct {
	mu     sync.Mutex
	wire   int
	sealed bool
}

var errSealed = errors.New("attempt is over, nothing may be sent for it")

// leave counts a request that is about to be written, or refuses it: after seal, no byte can leave for the attempt.
func (a *attempt) leave() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sealed {
		return errSealed
	}
	a.wire++
	return nil
}

// seal ends the attempt and returns how many requests left. Zero is proof that none ever will.
func (a *attempt) seal() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sealed = true
	return a.wire
}

// client is one customer's HTTP client for one stream: keep-alive connections, and no second attempt.
type client struct {
	transport *http.Transport
	wire      *atomic.Int64 // the stream's count of requests written, whoever they were for
	cust      *customer
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
}

// idleFor is how long an unused connection is kept: less than a server keeps one, so that a request seldom meets a closing one.
const idleFor = 4 * time.Second

func newClient(c *customer, wire *atomic.Int64, dial func(ctx context.Context, network, address string) (net.Conn, error)) *client {
	k := &client{wire: wire, cust: c, dial: dial}
	k.transport = &http.Transport{
		Proxy:                  nil,
		DialContext:            k.open,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: 16 << 10,
	}
	return k
}

// open dials and counts what is written on the connection.
func (k *client) open(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := k.dial(ctx, network, address)
	if !errors.Is(err, context.Canceled) && !timedOut(err) { // who gave up waiting is told apart by do
		k.cust.dialled(address, err)
	}
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn, wire: k.wire}, nil
}

// roundTrip sends one request for the attempt a.
func (k *client) roundTrip(req *http.Request, a *attempt) (*http.Response, error) {
	req.GetBody = nil // with it, the transport may send the body again
	return k.transport.RoundTrip(traced(req, a))
}

// traced tells each connection that is taken for the request whom it serves.
func traced(req *http.Request, a *attempt) *http.Request {
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if c, ok := i.Conn.(*countedConn); ok {
			c.serve(a)
		}
	}}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
}

func (k *client) close() { k.transport.CloseIdleConnections() }

// countedConn counts requests where their bytes leave. HTTP/1.1 puts one request after another on a connection, and the
// transport starts each with a write of its own.
type countedConn struct {
	net.Conn
	wire *atomic.Int64

	mu  sync.Mutex
	now *attempt // for whom the connection is used
}

func (c *countedConn) serve(a *attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = a
}

var post = []byte(http.MethodPost + " /")

// Write counts the beginning of a request before any of its bytes is handed to the kernel.
func (c *countedConn) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, post) {
		c.mu.Lock()
		a := c.now
		c.mu.Unlock()
		if a != nil {
			if err := a.leave(); err != nil {
				return 0, err
			}
		}
		c.wire.Add(1)
	}
	return c.Conn.Write(b)
}
