package local

import (
	"fmt"
	"net/netip"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/wan"
)

// Last octets of a site's nodes. Nodes of a kind that can be many count on from it.
const (
	lastCassandra = 1
	lastMySQL     = 21
	lastParams    = 31
	lastApp       = 41
	lastGateway   = 51
	lastBatch     = 61
	lastAcquirer  = 11
	lastOnPrem    = 71
	lastNames     = 53
	lastToxiproxy = 254
)

// Ports that are not a node's.
const (
	portNames     = 5353 // the name server; 53 would need root
	portToxiproxy = 8474
)

// nodeSpec is one node: who it is and where it listens.
type nodeSpec struct {
	Name      string                      `json:"name"`
	Site      topology.Site               `json:"site"`
	Kind      topology.Kind               `json:"kind"`
	Index     int                         `json:"index"` // from 1, of its kind at its site
	Host      string                      `json:"host"`
	Endpoints map[topology.Service]string `json:"endpoints"` // as seen inside its site
	Broadcast string                      `json:"broadcast,omitempty"`
}

// plan is everything about a world that follows from its topology and its octet alone.
type plan struct {
	octet     int
	topology  topology.Topology
	nodes     []nodeSpec
	routes    []wan.Route
	toxiproxy string
	names     string // the name server
}

// layout lays a topology out over the addresses of one octet: everything of a world is on 127.X.d.i, where d is the number of
// the site (outside 0, then the regions in their order), and doors on 127.X.(100+10·from+to).i. bypass is a planted defect:
// the doors are served by a forwarder, and toxiproxy listens where nobody dials.
func layout(t topology.Topology, octet int, bypass bool) plan {
	p := plan{octet: octet, topology: t}
	p.toxiproxy = p.at(0, lastToxiproxy, portToxiproxy)
	p.names = p.at(0, lastNames, portNames)
	for _, r := range t.Regions {
		p.add(r.Name, topology.MySQL, 1, lastMySQL)
		p.add(r.Name, topology.Cassandra, r.Cassandra, lastCassandra)
		p.add(r.Name, topology.Params, 1, lastParams)
		p.add(r.Name, topology.Gateway, 1, lastGateway)
		p.add(r.Name, topology.Batch, 1, lastBatch)
		p.add(r.Name, topology.App, r.Apps, lastApp)
	}
	p.add(topology.Outside, topology.Acquirer, 1, lastAcquirer)
	p.add(topology.Outside, topology.OnPremises, 1, lastOnPrem)

	for i := range p.nodes {
		n := &p.nodes[i]
		for _, from := range p.diallers(*n) {
			service, door := doorOf(n.Kind), n.Endpoints[portOf(n.Kind)]
			host := p.host(100+10*p.number(from)+p.number(n.Site), last(n.Host))
			r := wan.Route{From: from, To: n.Site, Service: service, Node: n.Name, Door: wan.Address(host, portOf(n.Kind)), Target: door}
			r.Listen, r.Reach = r.Door, r.Door
			if bypass {
				r.Listen = wan.Address(p.host(200+10*p.number(from)+p.number(n.Site), last(n.Host)), portOf(n.Kind))
			}
			if n.Kind == topology.Cassandra {
				n.Broadcast = host
			}
			p.routes = append(p.routes, r)
		}
	}
	return p
}

func (p *plan) add(site topology.Site, kind topology.Kind, count, first int) {
	for i := 1; i <= count; i++ {
		host := p.host(p.number(site), first+i-1)
		n := nodeSpec{Name: fmt.Sprintf("%s-%s-%d", site, kind, i), Site: site, Kind: kind, Index: i, Host: host,
			Endpoints: map[topology.Service]string{}}
		for _, s := range services(kind) {
			n.Endpoints[s] = wan.Address(host, s)
		}
		p.nodes = append(p.nodes, n)
	}
}

// number is a site's third octet.
func (p *plan) number(s topology.Site) int {
	for i, r := range p.topology.Regions {
		if r.Name == s {
			return i + 1
		}
	}
	return 0
}

func (p *plan) host(third, last int) string { return fmt.Sprintf("127.%d.%d.%d", p.octet, third, last) }

func (p *plan) at(third, last, port int) string {
	return fmt.Sprintf("%s:%d", p.host(third, last), port)
}

func last(host string) int {
	a := netip.MustParseAddr(host).As4() // hosts are made by plan.host only
	return int(a[3])
}

// services are what a kind of node listens for.
func services(k topology.Kind) []topology.Service {
	switch k {
	case topology.MySQL:
		return []topology.Service{topology.ServiceMySQL}
	case topology.Cassandra:
		return []topology.Service{topology.ServiceCassandra, topology.ServiceCQL}
	default:
		return []topology.Service{topology.ServiceHTTP}
	}
}

// diallers are the sites that dial a node from elsewhere.
func (p *plan) diallers(n nodeSpec) []topology.Site {
	var all []topology.Site
	switch n.Kind {
	case topology.MySQL, topology.Cassandra, topology.Acquirer: // by the other regions, or by all regions
		for _, r := range p.topology.Regions {
			if r.Name != n.Site {
				all = append(all, r.Name)
			}
		}
	case topology.Gateway:
		all = append(all, topology.Outside)
	}
	return all
}

// doorOf is the service of the links to a kind of node; portOf is the port that is dialled there.
func doorOf(k topology.Kind) topology.Service {
	switch k {
	case topology.MySQL:
		return topology.ServiceMySQL
	case topology.Cassandra:
		return topology.ServiceCassandra
	case topology.Acquirer:
		return topology.ServiceAcquirer
	default:
		return topology.ServiceHTTP
	}
}

func portOf(k topology.Kind) topology.Service { return services(k)[0] }

// door is the address at which a site dials a node of another one.
func (p *plan) door(from topology.Site, node string) string {
	for _, r := range p.routes {
		if r.From == from && r.Node == node {
			return r.Door
		}
	}
	return ""
}

// of returns the nodes of one kind at a site; "" is any.
func (p *plan) of(site topology.Site, kind topology.Kind) []nodeSpec {
	var all []nodeSpec
	for _, n := range p.nodes {
		if (site == "" || n.Site == site) && (kind == "" || n.Kind == kind) {
			all = append(all, n)
		}
	}
	return all
}

// addresses are all that the world is going to listen on, TCP.
func (p *plan) addresses() []string {
	all := []string{p.toxiproxy, p.names}
	for _, n := range p.nodes {
		for _, s := range services(n.Kind) {
			all = append(all, n.Endpoints[s])
		}
	}
	for _, r := range p.routes {
		all = append(all, r.Door)
		if r.Listen != r.Door {
			all = append(all, r.Listen)
		}
	}
	return all
}
