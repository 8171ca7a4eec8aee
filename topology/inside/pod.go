package inside

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/kirikae/kirikae/topology"
)

// Pod is the network of one Cassandra node: its identity in the ring, which is no address of its network, and the ways to the
// identities of its region's other nodes. Everything else is dialled at the WAN's doors and needs no route.
type Pod struct {
	Addresses []netip.Prefix // its own, on lo
	Routes    []PodRoute
}

// PodRoute leads to a peer's identity by way of the peer's ordinary address.
type PodRoute struct {
	To  netip.Prefix
	Via netip.Addr
}

// ParsePodRoute reads "10.9.34.2/32=10.9.16.2".
func ParsePodRoute(s string) (PodRoute, error) {
	to, via, ok := strings.Cut(s, "=")
	if !ok {
		return PodRoute{}, fmt.Errorf("route %q: IDENTITY/32=ADDRESS was expected", s)
	}
	p, err := netip.ParsePrefix(to)
	if err != nil {
		return PodRoute{}, fmt.Errorf("route %q: %w", s, err)
	}
	a, err := netip.ParseAddr(via)
	if err != nil {
		return PodRoute{}, fmt.Errorf("route %q: %w", s, err)
	}
	return PodRoute{To: p, Via: a}, nil
}

// RunPod sets a node's network up and holds its namespace until ctx ends. Doing so again changes nothing.
func RunPod(ctx context.Context, p Pod, say Say) error {
	if err := withNetlink(func(h *netlink.Handle) error { return p.set(ctx, h) }); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it was up
		}
		return err
	}
	say.f("network: %v here, %d routes", p.Addresses, len(p.Routes))
	<-ctx.Done()
	return nil
}

func (p Pod) set(ctx context.Context, h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w: %w", topology.ErrEnvironment, err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w: %w", topology.ErrEnvironment, err)
	}
	var via []netip.Addr
	for _, r := range p.Routes {
		via = append(via, r.Via)
	}
	// The ways first: a node may start as soon as its own address is there.
	all, err := waitNetworks(ctx, h, via)
	if err != nil {
		return err
	}
	for _, r := range p.Routes {
		route := netlink.Route{LinkIndex: holder(all, r.Via).link.Attrs().Index, Dst: ipNet(r.To), Gw: r.Via.AsSlice()}
		if err := h.RouteReplace(&route); err != nil {
			return fmt.Errorf("add the route to %s by %s: %w: %w", r.To, r.Via, topology.ErrEnvironment, err)
		}
	}
	for _, a := range p.Addresses {
		if err := addAddress(h, lo, a); err != nil {
			return err
		}
	}
	return nil
}
