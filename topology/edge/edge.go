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

// View is the zone as one group of customers sees it: the same records, leading to the same sites, by addresses of its own.
type View struct {
	Address string // host:port, UDP and TCP; port 0 picks one
	Entry   Entry
}

// Server is an authoritative name server for one zone, in one or more views, each on UDP and TCP of one address.
type Server struct {
	zone  topology.ZoneSpec
	views []*view

	mu      sync.Mutex
	serial  uint32
	records map[string]topology.Record // by full name in small letters; Address is the first view's
}

// view is one view's listeners.
type view struct {
	entry  Entry
	addr   string
	udp    *dns.Server
	tcp    *dns.Server
	served chan error
}

// Serve starts a name server at address ("127.9.0.53:5353"; port 0 picks one) with every record of the zone at one site.
func Serve(ctx context.Context, address string, zone topology.ZoneSpec, entry Entry, at topology.Site) (*Server, error) {
	return ServeViews(ctx, zone, at, View{Address: address, Entry: entry})
}

// ServeViews starts a name server with several views of one zone, every record at one site. All views must have the same sites.
// Records shows the addresses of the first.
func ServeViews(ctx context.Context, zone topology.ZoneSpec, at topology.Site, views ...View) (*Server, error) {
	if len(views) == 0 {
		return nil, errors.New("serve a zone: no view of it")
	}
	s := &Server{zone: zone, records: map[string]topology.Record{}}
	for _, v := range views {
		if !slices.Equal(sites(v.Entry), sites(views[0].Entry)) {
			return nil, fmt.Errorf("serve zone %s: one view has the sites %v, another %v", zone.Name, sites(views[0].Entry), sites(v.Entry))
		}
		s.views = append(s.views, &view{entry: v.Entry})
	}
	for _, name := range zone.Records {
		if _, err := s.Point(name, at); err != nil {
			return nil, err
		}
	}
	for i, v := range s.views {
		if err := s.open(ctx, v, views[i].Address); err != nil {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBudget)
			defer cancel()
			return nil, errors.Join(err, s.Close(closing))
		}
	}
	return s, nil
}

// closeBudget bounds the closing of views that were opened before one that could not be.
const closeBudget = 5 * time.Second

// open starts a view's listeners.
func (s *Server) open(ctx context.Context, v *view, address string) error {
	listener, packets, err := listen(ctx, net.ListenConfig{}, address)
	if err != nil {
		return err
	}
	v.addr, v.served = listener.Addr().String(), make(chan error, 2)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) { s.answer(w, req, v.entry) })
	up := make(chan struct{}, 2)
	started := func() { up <- struct{}{} }
	v.udp = &dns.Server{PacketConn: packets, Handler: handler, NotifyStartedFunc: started}
	v.tcp = &dns.Server{Listener: listener, Handler: handler, NotifyStartedFunc: started}
	go func() { v.served <- v.udp.ActivateAndServe() }()
	go func() { v.served <- v.tcp.ActivateAndServe() }()
	<-up // both always call it before they serve; Close before that would find them not started
	<-up
	return nil
}

// twinTries is how many ports are tried, where any will do, until one is free for both protocols.
const twinTries = 50

// listen takes one port for TCP and UDP.
func listen(ctx context.Context, lc net.ListenConfig, address string) (net.Listener, net.PacketConn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, fmt.Errorf("listen for DNS: %w", err)
	}
	tries := 1
	if port == "0" {
		tries = twinTries
	}
	for range tries {
		var l net.Listener
		if l, err = lc.Listen(ctx, "tcp", address); err != nil {
			continue
		}
		var p net.PacketConn
		if p, err = lc.ListenPacket(ctx, "udp", l.Addr().String()); err == nil {
			return l, p, nil
		}
		l.Close() // another process has this port's twin
	}
	return nil, nil, fmt.Errorf("listen for DNS: %w: %w", topology.ErrEnvironment, err)
}

// sites are an entry's sites, in order.
func sites(e Entry) []string {
	var all []string
	for s := range e {
		all = append(all, string(s))
	}
	slices.Sort(all)
	return all
}

// Address is where the server answers, UDP and TCP; of several views, the first.
func (s *Server) Address() string { return s.views[0].addr }

// Addresses is where each view is answered.
func (s *Server) Addresses() []string {
	var all []string
	for _, v := range s.views {
		all = append(all, v.addr)
	}
	return all
}

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
	addr, ok := s.views[0].entry[to]
	if !ok {
		return topology.Record{}, fmt.Errorf("point %s: %w", name, topology.Unknown("site", string(to), sites(s.views[0].entry)))
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
func (s *Server) answer(w dns.ResponseWriter, req *dns.Msg, entry Entry) {
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
			A:   entry[r.Site].AsSlice(),
		})
	default:
		m.Authoritative = true
		m.Ns = append(m.Ns, soa)
	}
	_ = w.WriteMsg(m)
}

// Close stops the server, within ctx.
func (s *Server) Close(ctx context.Context) error {
	var err error
	for _, v := range s.views {
		if v.served != nil { // it was opened
			err = errors.Join(err, v.close(ctx))
		}
	}
	return err
}

func (v *view) close(ctx context.Context) error {
	err := errors.Join(v.udp.ShutdownContext(ctx), v.tcp.ShutdownContext(ctx))
	for range 2 {
		select {
		case e := <-v.served:
			if !errors.Is(e, net.ErrClosed) {
				err = errors.Join(err, e)
			}
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("stop the name server: %w", ctx.Err()))
		}
	}
	return err
}
