package docker

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology/hosted"
	"github.com/kirikae/kirikae/topology/plan"
)

// free says why a world's addresses cannot be used on this machine and engine, or nil: its networks must not overlap any other's,
// nor an address or a route of the machine, and what it publishes must not be listened on.
func free(ctx context.Context, c *client.Client, p plan.Plan) error {
	used, err := occupied(ctx, c)
	if err != nil {
		return err
	}
	for _, s := range p.Sites() {
		if u, ok := overlap(p.Subnet(s), used); ok {
			return fmt.Errorf("%s is taken by %s, %s", p.Subnet(s), u.by, u.prefix)
		}
	}
	return hosted.Bindable(p.Listens())
}

// use is a range of addresses that somebody has.
type use struct {
	prefix netip.Prefix
	by     string
}

func overlap(p netip.Prefix, used []use) (use, bool) {
	for _, u := range used {
		if u.prefix.Overlaps(p) {
			return u, true
		}
	}
	return use{}, false
}

// occupied are the ranges that this machine's interfaces and routes and the engine's networks have.
func occupied(ctx context.Context, c *client.Client) ([]use, error) {
	var all []use
	ns, err := c.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	for _, n := range ns.Items {
		for _, x := range n.IPAM.Config {
			if x.Subnet.IsValid() {
				all = append(all, use{x.Subnet, "network " + n.Name})
			}
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			all = append(all, use{p.Masked(), "an interface of this machine"})
		}
	}
	f, err := os.Open("/proc/net/route")
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list this machine's routes: %w", err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		if p, name, ok := route(in.Text()); ok {
			all = append(all, use{p, "a route of " + name})
		}
	}
	return all, in.Err()
}

// route reads a line of /proc/net/route: addresses are hexadecimal words of four bytes in the machine's order, here
// little-endian. The default route, which is everything, is none.
func route(line string) (netip.Prefix, string, bool) {
	f := strings.Fields(line)
	if len(f) < 8 {
		return netip.Prefix{}, "", false
	}
	to, err := hex.DecodeString(f[1])
	mask, err2 := hex.DecodeString(f[7])
	if err != nil || err2 != nil || len(to) != 4 || len(mask) != 4 {
		return netip.Prefix{}, "", false
	}
	ones := bits.OnesCount32(binary.BigEndian.Uint32(mask))
	if ones == 0 {
		return netip.Prefix{}, "", false
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{to[3], to[2], to[1], to[0]}), ones).Masked(), f[0], true
}
