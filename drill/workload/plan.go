// Package workload makes customers: a seeded open-model load whose every wire attempt is recorded once, canaries that write to
// each database directly, and samplers of what the stores say while it runs.
//
// Open model: when an operation is sent is fixed before the drill begins and never depends on an answer, so that an outage is
// not hidden by clients that wait for it (coordinated omission). Every slot of a schedule gives exactly one record: sent, or
// shed, which counts as a fault of the harness and never as one of the platform.
package workload

import (
	"context"
	"fmt"
	"math"
	"net"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
)

// Plan is a load, decided in full before it starts. The zero value of an optional field takes the default that its comment names.
type Plan struct {
	Seed     uint64 // everything random comes from it
	Accounts int    // payments go between accounts 1 … Accounts; at least 2
	MaxYen   int64  // amounts are 1 … MaxYen; default 9 999

	PaymentRate float64 // payments a second, one unique key each
	ProbeRate   float64 // tiny writes a second, on connections of their own: the time resolution of an outage
	// RepeatRate is how many keys a second are begun that are repeated on purpose. They are kept out of the loss ledger.
	// Slots are spread evenly, so every window longer than 1.5/RepeatRate holds a key: at 10/s each 150 ms before a cut.
	RepeatRate float64

	Customers  int     // each has its own cache of names and its own connections; default 40
	StaleShare float64 // share of customers that ignore the TTL of a DNS answer; which ones is a seeded choice
	// Timeout of one request, look-up and dial included; default 2 s.
	Timeout time.Duration
	// MaxInFlight is each stream's own limit, above which a slot is shed. Default: all that could be sent within 2 × Timeout,
	// at least 64, so that a platform that hangs cannot shed anything; only a stalled harness can.
	MaxInFlight int

	Resolver string   // address of the name server, host:port (UDP)
	Names    []string // names that customers know the platform by; each customer uses one of them
	Port     int      // port of the entry; default 8080
	// Sites says which site an address of the entry belongs to (see Entries). An address that is not in it is named by the
	// answer's X-Site.
	Sites map[string]string

	// Dial opens a customer's connection; nil is TCP. An in-memory world gives its own.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Lookup resolves a name; nil asks Resolver.
	Lookup func(ctx context.Context, name string) (Answer, error)
}

// Entries maps the addresses by which a world's customers reach a region to that region: the doors of the links that carry
// their requests.
func Entries(w topology.World) map[string]string {
	sites := map[string]string{}
	for _, l := range w.Links() {
		id := l.ID()
		if id.From != topology.Outside || id.Service != topology.ServiceHTTP {
			continue
		}
		for _, d := range l.Doors() {
			if host, _, err := net.SplitHostPort(d.Reach); err == nil && d.Upstream {
				sites[host] = string(id.To)
			}
		}
	}
	return sites
}

// filled returns the plan with its defaults, or says which field cannot be.
func (p Plan) filled() (Plan, error) {
	if p.MaxYen == 0 {
		p.MaxYen = 9_999
	}
	if p.Customers == 0 {
		p.Customers = 40
	}
	if p.Timeout == 0 {
		p.Timeout = 2 * time.Second
	}
	if p.Port == 0 {
		p.Port = topology.ServiceHTTP.Port()
	}
	for name, rate := range map[string]float64{"payment": p.PaymentRate, "probe": p.ProbeRate, "repeat": p.RepeatRate} {
		if rate < 0 || rate > 10_000 || math.IsNaN(rate) {
			return p, fmt.Errorf("plan load: %s rate %v is not within 0 … 10 000 a second", name, rate)
		}
	}
	switch {
	case p.PaymentRate+p.ProbeRate+p.RepeatRate == 0:
		return p, fmt.Errorf("plan load: every rate is 0, nothing would be sent")
	case p.Accounts < 2:
		return p, fmt.Errorf("plan load: %d accounts, a payment needs 2", p.Accounts)
	case p.MaxYen < 1:
		return p, fmt.Errorf("plan load: largest amount %d yen is not positive", p.MaxYen)
	case p.Customers < 1:
		return p, fmt.Errorf("plan load: %d customers", p.Customers)
	case p.StaleShare < 0 || p.StaleShare > 1 || math.IsNaN(p.StaleShare):
		return p, fmt.Errorf("plan load: share of stale customers %v is not within 0 … 1", p.StaleShare)
	case p.Timeout < 0:
		return p, fmt.Errorf("plan load: timeout %v is negative", p.Timeout)
	case p.MaxInFlight < 0:
		return p, fmt.Errorf("plan load: limit of %d requests in flight", p.MaxInFlight)
	case len(p.Names) == 0:
		return p, fmt.Errorf("plan load: customers know no name of the platform")
	case p.Resolver == "" && p.Lookup == nil:
		return p, fmt.Errorf("plan load: customers have no name server")
	case p.Port < 1 || p.Port > 65535:
		return p, fmt.Errorf("plan load: port %d", p.Port)
	}
	names := make([]string, len(p.Names))
	for i, n := range p.Names {
		names[i] = strings.TrimSuffix(n, ".")
	}
	p.Names = names
	if p.Dial == nil {
		d := &net.Dialer{Timeout: p.Timeout, KeepAlive: -1}
		p.Dial = d.DialContext
	}
	if p.Lookup == nil {
		p.Lookup = nameServer(p.Resolver).lookup
	}
	return p, nil
}

// limit is how many requests of a stream may be in flight.
func (p Plan) limit(rate float64) int {
	if p.MaxInFlight > 0 {
		return p.MaxInFlight
	}
	return max(64, int(math.Ceil(2*rate*p.Timeout.Seconds())))
}

// rate of a stream.
func (p Plan) rate(stream string) float64 {
	switch stream {
	case history.StreamPayment:
		return p.PaymentRate
	case history.StreamProbe:
		return p.ProbeRate
	default:
		return p.RepeatRate
	}
}
