// Package edge is the platform's public entry: a DNS server with one zone whose records each lead to one site. Pointing them
// to the other region is row 8 of article 002's switchover; until the customers' caches have aged by the TTL, and longer for
// those that ignore it, they go on to the old region.
package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/kirikae/kirikae/topology"
)

// Entry is where customers reach a site: the host of the outside→site door of its gateway.
type Entry map[topology.Site]netip.Addr

// Server is an authoritative name server for one zone, on UDP and TCP of one address.
type Server struct {
	zone   topology.ZoneSpec
	entry  Entry
	addr   string
	udp    *dns.Server
	tcp    *dns.Server
	served chan error

	mu      sync.Mutex
	serial  uint32
	records map[string]topology.Record // by full name in small letters
}

// Serve starts a name server at address ("127.9.0.53:5353"; port 0 picks one) with every record of the zone at one site.
func Serve(ctx context.Context, address string, zone topology.ZoneSpec, entry Entry, at topology.Site) (*Server, error) {
	s := &Server{zone: zone, entry: entry, served: make(chan error, 2), records: map[string]topology.Record{}}
	for _, name := range zone.Records {
		if _, err := s.Point(name, at); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	packets, err := lc.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for DNS: %w: %w", topology.ErrEnvironment, err)
	}
	s.addr = packets.LocalAddr().String()
	listener, err := lc.Listen(ctx, "tcp", s.addr)
	if err != nil {
		packets.Close()
		return nil, fmt.Errorf("listen for DNS: %w: %w", topology.ErrEnvironment, err)
	}
	mux := dns.HandlerFunc(s.answer)
	up := make(chan struct{}, 2)
	started := func() { up <- struct{}{} }
	s.udp = &dns.Server{PacketConn: packets, Handler: mux, NotifyStartedFunc: started}
	s.tcp = &dns.Server{Listener: listener, Handler: mux, NotifyStartedFunc: started}
	go func() { s.served <- s.udp.ActivateAndServe() }()
	go func() { s.served <- s.tcp.ActivateAndServe() }()
	<-up // both always call it before they serve; Close before that would find them not started
	<-up
	return s, nil
}

// Address is where the server answers, UDP and TCP.
func (s *Server) Address() string { return s.addr }

// Records are the zone's records, sorted by name.
func (s *Server) Records() []topology.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]topology.Record, 0, len(s.records))
	for _, r := range s.records {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b topology.Record) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Point makes one record lead to a site, or adds it. name is full, with its final dot, or relative to the zone. Pointing a
// record where it leads already changes nothing, not even its time.
func (s *Server) Point(name string, to topology.Site) (topology.Record, error) {
	full := strings.ToLower(name)
	if !strings.HasSuffix(full, ".") {
		full += "." + s.zone.Name
	}
	if _, ok := dns.IsDomainName(full); !ok || !dns.IsSubDomain(s.zone.Name, full) || full == s.zone.Name {
		return topology.Record{}, fmt.Errorf("point %s: not a name inside zone %s", name, s.zone.Name)
	}
	addr, ok := s.entry[to]
	if !ok {
		var known []string
		for site := range s.entry {
			known = append(known, string(site))
		}
		slices.Sort(known)
		return topology.Record{}, fmt.Errorf("point %s: %w", name, topology.Unknown("site", string(to), known))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	r, ok := s.records[full]
	if ok && r.Site == to {
		return r, nil
	}
	if !ok {
		r = topology.Record{Name: full, TTL: s.zone.TTL, Added: now}
	}
	r.Site, r.Address, r.Changed = to, addr.String(), now
	s.records[full] = r
	s.serial++
	return r, nil
}

// answer is authoritative for the zone (RFC 1034, 2308): A of a record; no data for its other types; NXDOMAIN for other names
// of the zone, both with the SOA; REFUSED for the rest of the world.
func (s *Server) answer(w dns.ResponseWriter, req *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(req)
	if len(req.Question) != 1 || req.Opcode != dns.OpcodeQuery {
		m.SetRcode(req, dns.RcodeFormatError)
		_ = w.WriteMsg(m) // a customer that has gone needs no answer
		return
	}
	q := req.Question[0]
	name := strings.ToLower(q.Name)
	s.mu.Lock()
	r, found := s.records[name]
	serial := s.serial
	s.mu.Unlock()
	ttl := uint32(s.zone.TTL / time.Second)
	soa := &dns.SOA{
		Hdr: dns.RR_Header{Name: s.zone.Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  "ns." + s.zone.Name, Mbox: "hostmaster." + s.zone.Name,
		Serial: serial, Refresh: 60, Retry: 10, Expire: 3600, Minttl: ttl,
	}
	switch {
	case !dns.IsSubDomain(s.zone.Name, name) || q.Qclass != dns.ClassINET:
		m.SetRcode(req, dns.RcodeRefused)
	case name == s.zone.Name:
		m.Authoritative = true
		if q.Qtype == dns.TypeSOA || q.Qtype == dns.TypeANY {
			m.Answer = append(m.Answer, soa)
		} else {
			m.Ns = append(m.Ns, soa)
		}
	case !found:
		m.Authoritative = true
		m.SetRcode(req, dns.RcodeNameError)
		m.Ns = append(m.Ns, soa)
	case q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY:
		m.Authoritative = true
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl},
			A:   net.ParseIP(r.Address),
		})
	default:
		m.Authoritative = true
		m.Ns = append(m.Ns, soa)
	}
	_ = w.WriteMsg(m)
}

// Close stops the server, within ctx.
func (s *Server) Close(ctx context.Context) error {
	err := errors.Join(s.udp.ShutdownContext(ctx), s.tcp.ShutdownContext(ctx))
	for range 2 {
		select {
		case e := <-s.served:
			if !errors.Is(e, net.ErrClosed) {
				err = errors.Join(err, e)
			}
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("stop the name server: %w", ctx.Err()))
		}
	}
	return err
}
