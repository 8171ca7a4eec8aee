package workload

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/drill/history"
)

// Answer is what a name server said about a name.
type Answer struct {
	Address string        // IPv4
	TTL     time.Duration // how long a customer may keep it
}

// nameServer asks one name server over UDP, as a customer's stub resolver does: no search list, no cache of its own.
type nameServer string

// lookupTry bounds one query; a datagram that got lost is asked for once more.
const lookupTry = 400 * time.Millisecond

func (s nameServer) lookup(ctx context.Context, name string) (Answer, error) {
	client := &dns.Client{Net: "udp", Timeout: lookupTry}
	var err error
	for range 2 {
		q := new(dns.Msg)
		q.SetQuestion(dns.Fqdn(name), dns.TypeA)
		var m *dns.Msg
		m, _, err = client.ExchangeContext(ctx, q, string(s))
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			continue
		}
		if m.Rcode != dns.RcodeSuccess {
			return Answer{}, fmt.Errorf("look up %s at %s: %s", name, s, dns.RcodeToString[m.Rcode])
		}
		for _, rr := range m.Answer {
			if a, ok := rr.(*dns.A); ok {
				return Answer{Address: a.A.String(), TTL: time.Duration(a.Hdr.Ttl) * time.Second}, nil
			}
		}
		return Answer{}, fmt.Errorf("look up %s at %s: no A record in the answer", name, s)
	}
	return Answer{}, fmt.Errorf("look up %s at %s: %w", name, s, err)
}

// staleAfter is how many connections in a row a customer that ignores the TTL must fail to open before it asks again: real
// clients that pin an address (a JVM with its cache set to forever, a pooled connection string) come back only this way.
const staleAfter = 3

// customer is one customer: a name it knows, and the address that it believes in.
type customer struct {
	name   string
	stale  bool // ignores the TTL
	lookup func(ctx context.Context, name string) (Answer, error)
	clock  history.Clock

	mu       sync.Mutex
	address  string
	expires  history.Instant
	failures int           // dials of address that failed in a row
	flight   chan struct{} // closed when the look-up under way has ended
	err      error         // of the last look-up
}

// where returns the address to dial, asking the name server when the cached answer is too old. However many requests want it
// at once, one look-up is made. asked says whether this call made it.
func (c *customer) where(ctx context.Context) (address string, asked bool, err error) {
	c.mu.Lock()
	if c.fresh() {
		defer c.mu.Unlock()
		return c.address, false, nil
	}
	if flight := c.flight; flight != nil {
		c.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
			return "", false, fmt.Errorf("wait for the look-up of %s: %w", c.name, ctx.Err())
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.address == "" {
			return "", false, c.err
		}
		return c.address, false, nil // what that look-up found, or the old address where it found nothing
	}
	flight := make(chan struct{})
	c.flight = flight
	c.mu.Unlock()

	answer, err := c.lookup(ctx, c.name)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.flight = nil
	close(flight)
	c.err = err
	switch now := c.clock.Now(); {
	case err == nil:
		c.address, c.expires, c.failures = answer.Address, now.Add(answer.TTL), 0
	case c.address != "": // the name server is silent: what was known is used on, and asked about again soon (RFC 8767)
		c.expires, c.failures = now.Add(time.Second), 0
		err = nil
	}
	return c.address, true, err
}

func (c *customer) fresh() bool {
	if c.address == "" {
		return false
	}
	if c.stale {
		return c.failures < staleAfter
	}
	return c.clock.Now() < c.expires
}

// dialled tells the customer how a connection to an address went.
func (c *customer) dialled(address string, err error) {
	host, _, _ := net.SplitHostPort(address)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case host != c.address: // it has moved on already
	case err != nil:
		c.failures++
	default:
		c.failures = 0
	}
}
