// Package plan lays a topology out over addresses: which nodes there are, where each listens, by which doors the sites dial one
// another. Everything in it follows from the topology and one number alone, so that every runtime, the compose file and the
// programs inside containers come to the same answer.
//
// Site d is the number of a site: outside is 0, then the regions in the file's order. Inside a world with octet X its nodes are
// on P.X.16d.i, and the doors that it dials to reach site t are on P.X.(16d+1+t).i, i being the target node's own last number:
// everything that a site dials lies in P.X.16d.0/20. P is 127 where all sites share one loopback, and 10 where each has a
// network of its own; what a process of the machine itself dials is always the same address on 127.
package plan

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/wan"
)

// First octets.
const (
	Loopback = 127 // the machine's own
	Private  = 10  // networks of containers
)

// Last octets of a site's nodes. Nodes of a kind that can be many count on from it.
const (
	lastCassandra = 1
	lastMySQL     = 21
	lastParams    = 31
	lastApp       = 41
	lastGateway   = 51
	lastBatch     = 61
	lastReconcile = 65
	lastAcquirer  = 11
	lastWitness   = 12
	lastOnPrem    = 71
	lastNames     = 53
	lastWAN       = 254
)

// MaxRegions is how many regions the numbering has room for.
const MaxRegions = 6

// Ports that are not a node's.
const (
	portNames     = 5353 // the name server; 53 would need root
	portToxiproxy = 8474
)

// Node is one node: who it is and where it listens.
type Node struct {
	Name      string                      `json:"name"`
	Site      topology.Site               `json:"site"`
	Kind      topology.Kind               `json:"kind"`
	Index     int                         `json:"index"` // from 1, of its kind at its site
	Host      string                      `json:"host"`
	Endpoints map[topology.Service]string `json:"endpoints"`           // as seen inside its site
	Reach     map[topology.Service]string `json:"reach"`               // the same, for a process of this machine
	Broadcast string                      `json:"broadcast,omitempty"` // Cassandra: the door at which the other region dials it
}

// Plan is everything about a world that follows from its topology and its octet.
type Plan struct {
	Octet    int               `json:"octet"`
	Prefix   int               `json:"prefix"` // first octet inside the sites
	Topology topology.Topology `json:"topology"`
	Nodes    []Node            `json:"nodes"`
	Routes   []wan.Route       `json:"routes"` // Listen is where toxiproxy listens inside
}

// Layout lays a topology out. prefix is Loopback or Private. bypass is a planted defect: toxiproxy listens where nobody dials,
// and whoever serves the doors goes around it (wan.Forward).
func Layout(t topology.Topology, octet, prefix int, bypass bool) Plan {
	p := Plan{Octet: octet, Prefix: prefix, Topology: t}
	for _, r := range t.Regions {
		p.add(r.Name, topology.MySQL, 1, lastMySQL)
		p.add(r.Name, topology.Cassandra, r.Cassandra, lastCassandra)
		p.add(r.Name, topology.Params, 1, lastParams)
		p.add(r.Name, topology.Gateway, 1, lastGateway)
		p.add(r.Name, topology.Batch, 1, lastBatch)
		p.add(r.Name, topology.App, r.Apps, lastApp)
		p.add(r.Name, topology.Reconciler, 1, lastReconcile)
	}
	p.add(topology.Outside, topology.Acquirer, 1, lastAcquirer)
	p.add(topology.Outside, topology.OnPremises, 1, lastOnPrem)
	if t.Fence == topology.WitnessFence {
		p.add(topology.Outside, topology.Witness, 1, lastWitness)
	}
	for i := range p.Nodes {
		p.doors(&p.Nodes[i], bypass)
	}
	return p
}

func (p *Plan) add(site topology.Site, kind topology.Kind, count, first int) {
	for i := 1; i <= count; i++ {
		third, last := 16*p.Number(site), first+i-1
		n := Node{Name: fmt.Sprintf("%s-%s-%d", site, kind, i), Site: site, Kind: kind, Index: i, Host: p.host(p.Prefix, third, last),
			Endpoints: map[topology.Service]string{}, Reach: map[topology.Service]string{}}
		for _, s := range services(kind) {
			n.Endpoints[s] = wan.Address(n.Host, s)
			n.Reach[s] = wan.Address(p.host(Loopback, third, last), s)
		}
		p.Nodes = append(p.Nodes, n)
	}
}

// doors adds the doors by which other sites dial a node.
func (p *Plan) doors(n *Node, bypass bool) {
	port := services(n.Kind)[0]
	last := int(netip.MustParseAddr(n.Host).As4()[3]) // hosts are made by p.host only
	for _, from := range p.diallers(*n) {
		third := 16*p.Number(from) + 1 + p.Number(n.Site)
		host := p.host(p.Prefix, third, last)
		r := wan.Route{From: from, To: n.Site, Service: doorOf(n.Kind), Node: n.Name, Door: wan.Address(host, port),
			Reach: wan.Address(p.host(Loopback, third, last), port), Target: n.Endpoints[port]}
		r.Listen = r.Door
		if bypass {
			r.Listen = wan.Address(p.host(p.Prefix, third+1+MaxRegions, last), port)
		}
		if n.Kind == topology.Cassandra {
			n.Broadcast = host
		}
		p.Routes = append(p.Routes, r)
	}
}

// Number of a site.
func (p *Plan) Number(s topology.Site) int {
	for i, r := range p.Topology.Regions {
		if r.Name == s {
			return i + 1
		}
	}
	return 0
}

func (p *Plan) host(prefix, third, last int) string {
	return fmt.Sprintf("%d.%d.%d.%d", prefix, p.Octet, third, last)
}

// Sites are all sites, outside first.
func (p *Plan) Sites() []topology.Site {
	all := []topology.Site{topology.Outside}
	for _, r := range p.Topology.Regions {
		all = append(all, r.Name)
	}
	return all
}

// Subnet holds a site's nodes and everything that it dials.
func (p *Plan) Subnet(s topology.Site) netip.Prefix {
	return netip.MustParsePrefix(p.host(p.Prefix, 16*p.Number(s), 0) + "/20")
}

// Gateway is the address of the machine's own end of a site's network, out of the way of every node and door.
func (p *Plan) Gateway(s topology.Site) string {
	return p.host(p.Prefix, 16*p.Number(s)+15, lastWAN)
}

// WANHost is the address of the WAN at a site.
func (p *Plan) WANHost(s topology.Site) string { return p.host(p.Prefix, 16*p.Number(s), lastWAN) }

// Toxiproxy is the address of toxiproxy's API, for a process of this machine.
func (p *Plan) Toxiproxy() string { return join(p.host(Loopback, 0, lastWAN), portToxiproxy) }

// Names is the address of the zone's name server: as the outside's nodes dial it, or a process of this machine.
func (p *Plan) Names(inside bool) string {
	prefix := Loopback
	if inside {
		prefix = p.Prefix
	}
	return join(p.host(prefix, 0, lastNames), portNames)
}

func join(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// services are what a kind of node listens for; the first is what other sites dial.
func services(k topology.Kind) []topology.Service {
	switch k {
	case topology.MySQL:
		return []topology.Service{topology.ServiceMySQL}
	case topology.Cassandra:
		return []topology.Service{topology.ServiceCassandra, topology.ServiceCQL, topology.ServiceJMX}
	default:
		return []topology.Service{topology.ServiceHTTP}
	}
}

// diallers are the sites that dial a node from elsewhere.
func (p *Plan) diallers(n Node) []topology.Site {
	var all []topology.Site
	switch n.Kind {
	case topology.MySQL, topology.Cassandra, topology.Acquirer, topology.Witness: // by the other regions, or by all regions
		for _, r := range p.Topology.Regions {
			if r.Name != n.Site {
				all = append(all, r.Name)
			}
		}
	case topology.Gateway:
		all = append(all, topology.Outside)
	}
	return all
}

// doorOf is the service of the links to a kind of node.
func doorOf(k topology.Kind) topology.Service {
	switch k {
	case topology.MySQL:
		return topology.ServiceMySQL
	case topology.Cassandra:
		return topology.ServiceCassandra
	case topology.Acquirer:
		return topology.ServiceAcquirer
	case topology.Witness:
		return topology.ServiceWitness
	default:
		return topology.ServiceHTTP
	}
}

// Door is the address at which a site dials a node of another one; "" if it never does.
func (p *Plan) Door(from topology.Site, node string) string {
	r, _ := p.Route(from, node)
	return r.Door
}

// Route is the door by which a site dials a node of another one.
func (p *Plan) Route(from topology.Site, node string) (wan.Route, bool) {
	for _, r := range p.Routes {
		if r.From == from && r.Node == node {
			return r, true
		}
	}
	return wan.Route{}, false
}

// Normally says whether a node runs in normal times. The application of the standby region and the client on premises do not
// (article 002, rows 7 and 9), nor does a reconciler, unless the topology asks for the active region's.
func (p *Plan) Normally(n Node) bool {
	active := n.Site == p.Topology.Active()
	switch n.Kind {
	case topology.App:
		return active
	case topology.Reconciler:
		return active && p.Topology.Reconcile
	case topology.OnPremises:
		return false
	}
	return true
}

// Of returns the nodes of one kind at a site, in order; "" is any.
func (p *Plan) Of(site topology.Site, kind topology.Kind) []Node {
	var all []Node
	for _, n := range p.Nodes {
		if (site == "" || n.Site == site) && (kind == "" || n.Kind == kind) {
			all = append(all, n)
		}
	}
	return all
}

// Node finds a node by name.
func (p *Plan) Node(name string) (Node, error) {
	var known []string
	for _, n := range p.Nodes {
		if n.Name == name {
			return n, nil
		}
		known = append(known, n.Name)
	}
	return Node{}, topology.Unknown("node", name, known)
}

// Listens are all addresses of the machine itself that the world is going to listen on, TCP. (The name server has UDP, too.)
func (p *Plan) Listens() []string {
	all := []string{p.Toxiproxy(), p.Names(false)}
	for _, n := range p.Nodes {
		for _, s := range services(n.Kind) {
			all = append(all, n.Reach[s])
		}
	}
	for _, r := range p.Routes {
		all = append(all, r.Reach)
		if p.Prefix == Loopback && r.Listen != r.Door {
			all = append(all, r.Listen)
		}
	}
	return all
}
