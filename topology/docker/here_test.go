package docker

import (
	"net"
	"testing"
)

func TestEnds(t *testing.T) {
	addrs := []net.Addr{
		&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)}, &net.IPNet{IP: net.IPv4(10, 9, 15, 254), Mask: net.CIDRMask(20, 32)},
		&net.IPAddr{IP: net.IPv4(10, 9, 31, 254)},
	}
	for address, want := range map[string]bool{"10.9.15.254": true, "10.9.15.25": false, "10.9.31.254": false, "": false} {
		if got := ends(addrs, address); got != want {
			t.Errorf("%q ends here: %v", address, got)
		}
	}
}
