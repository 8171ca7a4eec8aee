package docker

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// reachBudget is how long a world's WAN may take to answer where this process may not be able to reach it at all.
const reachBudget = 30 * time.Second

// reached runs f, which waits for what the world publishes. Where none of its networks ends at an interface of this process's own
// machine, f has little time, and the error says what is the matter: the engine publishes on another machine's loopback, or in
// another network namespace (this process is in a container itself).
func (m *machines) reached(ctx context.Context, f func(context.Context) error) error {
	p := m.ground.File.Plan
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list this machine's addresses: %w", err)
	}
	if ends(addrs, p.Gateway(topology.Outside)) {
		return f(ctx)
	}
	short, cancel := context.WithTimeout(ctx, reachBudget)
	defer cancel()
	if err = f(short); err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: what the engine at %s publishes on 127.%d.0.0/16 cannot be reached: its networks do not end on this machine (%s is on no interface here), so that its loopback is another one: %w",
			topology.ErrEnvironment, m.engine.Host, p.Octet, p.Gateway(topology.Outside), err)
	}
	return err
}

// ends says whether an address is one of a machine's own.
func ends(addrs []net.Addr, address string) bool {
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.String() == address {
			return true
		}
	}
	return false
}
