package cassandra

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/kirikae/kirikae/topology"
)

// Site is one region's nodes, as clients of that region see them.
type Site struct {
	Name    string   // as errors and evidence name it; "": the first contact
	Contact []string // "ip:port" of CQL
	DC      string   // only nodes of it are ever dialled
	// Translate leads from the "ip:port" at which a node says it answers to the one that reaches it from here, for a client that
	// stands outside the region's network. Nodes that are not in it are dialled as they say. nil: all are.
	Translate map[string]string
}

// SiteOf is one region's Cassandra nodes for a process of this machine that belongs to no site: the harness, an operator.
func SiteOf(name string, region topology.Site, nodes []topology.Node) (Site, error) {
	s := Site{Name: name, DC: string(region)}
	for _, n := range nodes {
		in, err := n.Endpoint(topology.ServiceCQL)
		if err != nil {
			return Site{}, fmt.Errorf("find Cassandra %s: %w", name, err)
		}
		out, err := n.Reach(topology.ServiceCQL)
		if err != nil {
			return Site{}, fmt.Errorf("find Cassandra %s: %w", name, err)
		}
		s.Contact = append(s.Contact, out)
		if in == out {
			continue
		}
		if s.Translate == nil {
			s.Translate = map[string]string{}
		}
		s.Translate[in] = out
	}
	return s, nil
}

// translate is where a node is dialled that says it answers at an address.
func (s Site) translate(host net.IP, port int) (net.IP, int) {
	to, err := netip.ParseAddrPort(s.Translate[net.JoinHostPort(host.String(), strconv.Itoa(port))])
	if err != nil { // not one of them, or not an address
		return host, port
	}
	return net.IP(to.Addr().AsSlice()), int(to.Port())
}
