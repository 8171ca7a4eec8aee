package cassandra

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"testing"

	"github.com/kirikae/kirikae/topology"
)

// addressed is a node of which only the addresses matter.
type addressed struct {
	topology.Node
	in, out string
}

func (a addressed) Endpoint(s topology.Service) (string, error) { return a.of(s, a.in) }
func (a addressed) Reach(s topology.Service) (string, error)    { return a.of(s, a.out) }

func (a addressed) of(s topology.Service, address string) (string, error) {
	if s != topology.ServiceCQL || address == "" {
		return "", errors.New("no such service")
	}
	return address, nil
}

func TestSiteOf(t *testing.T) {
	for _, c := range []struct {
		nodes []topology.Node
		want  map[string]string
		ok    bool
	}{
		{[]topology.Node{addressed{in: "127.9.16.1:9042", out: "127.9.16.1:9042"}}, nil, true},
		{[]topology.Node{addressed{in: "10.9.16.1:9042", out: "127.9.16.1:9042"}, addressed{in: "10.9.16.2:9042", out: "127.9.16.2:9042"}},
			map[string]string{"10.9.16.1:9042": "127.9.16.1:9042", "10.9.16.2:9042": "127.9.16.2:9042"}, true},
		{[]topology.Node{addressed{in: "10.9.16.1:9042"}}, nil, false},
		{[]topology.Node{addressed{out: "127.9.16.1:9042"}}, nil, false},
	} {
		s, err := SiteOf("tokyo-cassandra", "tokyo", c.nodes)
		if (err == nil) != c.ok {
			t.Errorf("%v: %v", c.nodes, err)
		}
		if !c.ok {
			continue
		}
		var contact []string
		for _, n := range c.nodes {
			contact = append(contact, n.(addressed).out)
		}
		if s.Name != "tokyo-cassandra" || s.DC != "tokyo" || !slices.Equal(s.Contact, contact) || !maps.Equal(s.Translate, c.want) {
			t.Errorf("%+v", s)
		}
	}
}

func TestTranslate(t *testing.T) {
	s := Site{Translate: map[string]string{"10.9.16.1:9042": "127.9.16.1:9142", "10.9.16.2:9042": "tokyo-2:9042"}}
	for _, c := range []struct {
		host string
		port int
		want string
	}{
		{"10.9.16.1", 9042, "127.9.16.1:9142"},
		{"10.9.16.1", 9043, "10.9.16.1:9043"}, // none of them
		{"10.9.32.1", 9042, "10.9.32.1:9042"},
		{"10.9.16.2", 9042, "10.9.16.2:9042"}, // not an address
	} {
		host, port := s.translate(net.ParseIP(c.host), c.port)
		if got := net.JoinHostPort(host.String(), fmt.Sprint(port)); got != c.want {
			t.Errorf("%s:%d is dialled at %s, want %s", c.host, c.port, got, c.want)
		}
	}
}
