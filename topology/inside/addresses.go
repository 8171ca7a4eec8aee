package inside

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kirikae/kirikae/topology"
)

// networkBudget bounds the wait for a container's networks. An engine may connect all but the first one only after the start.
const networkBudget = 60 * time.Second

// pollEvery is how often a wait looks.
const pollEvery = 50 * time.Millisecond

// network is one interface of this network namespace.
type network struct {
	link     netlink.Link
	prefixes []netip.Prefix // of its addresses
}

// withNetlink gives f a handle of the kernel's network configuration.
func withNetlink(f func(h *netlink.Handle) error) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("ask the kernel for its networks: %w: %w", topology.ErrEnvironment, err)
	}
	defer h.Close()
	return f(h)
}

// networks are the interfaces that are up.
func networks(h *netlink.Handle) ([]network, error) {
	links, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var all []network
	for _, l := range links {
		if l.Attrs().Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := h.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
		}
		n := network{link: l}
		for _, a := range addrs {
			if p, ok := prefix(a.IPNet); ok {
				n.prefixes = append(n.prefixes, p)
			}
		}
		all = append(all, n)
	}
	return all, nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits), ok
}

// holder is the network that an address belongs to: one that contains it and more. nil: none does.
func holder(all []network, a netip.Addr) *network {
	for i, n := range all {
		for _, p := range n.prefixes {
			if p.Bits() < a.BitLen() && p.Contains(a) {
				return &all[i]
			}
		}
	}
	return nil
}

// waitNetworks waits until every address belongs to a network that is there.
func waitNetworks(ctx context.Context, h *netlink.Handle, addresses []netip.Addr) ([]network, error) {
	var all []network
	err := until(ctx, networkBudget, "every address has its network", func() error {
		var err error
		if all, err = networks(h); err != nil {
			return err
		}
		var without []string
		for _, a := range addresses {
			if holder(all, a) == nil {
				without = append(without, a.String())
			}
		}
		if len(without) == 0 {
			return nil
		}
		return fmt.Errorf("no network holds %s; there are %s", strings.Join(without, ", "), describe(all))
	})
	return all, err
}

func describe(all []network) string {
	var s []string
	for _, n := range all {
		for _, p := range n.prefixes {
			if !p.IsSingleIP() {
				s = append(s, n.link.Attrs().Name+" "+p.String())
			}
		}
	}
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}

// AddHosts gives this network namespace more addresses, each as a /32 on the interface of the network that contains it, so that
// the network's other members find it there by ARP, without a route. It waits, bounded, until every such network is there.
// An address that is there already is left alone.
func AddHosts(ctx context.Context, addresses []netip.Addr) error {
	return withNetlink(func(h *netlink.Handle) error {
		all, err := waitNetworks(ctx, h, addresses)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			if err := addAddress(h, holder(all, a).link, netip.PrefixFrom(a, a.BitLen())); err != nil {
				return err
			}
		}
		return nil
	})
}

func addAddress(h *netlink.Handle, l netlink.Link, p netip.Prefix) error {
	if err := h.AddrReplace(l, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
		return fmt.Errorf("add address %s to %s: %w: %w", p, l.Attrs().Name, topology.ErrEnvironment, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// until calls f until it returns nil, at most for a budget. Its error says what it waited for and what it last saw.
func until(ctx context.Context, budget time.Duration, what string, f func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, budget, fmt.Errorf("not within %s", budget))
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w: %w; last seen: %w", what, topology.ErrEnvironment, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// ownAddress says whether an address is this network namespace's. All of 127 is.
func ownAddress(want netip.Addr) error {
	if want.IsLoopback() {
		return nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	var have []error
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		p, ok := prefix(n)
		if ok && p.Addr() == want {
			return nil
		}
		have = append(have, errors.New(p.String()))
	}
	return fmt.Errorf("%s is not among %v", want, have)
}
