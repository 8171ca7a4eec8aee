package inside

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/wan"
)

// WAN is what is between the sites: toxiproxy with one proxy a door, on an interface in every site's network.
type WAN struct {
	API    string       // host:port of toxiproxy's API
	Only   []netip.Addr // from which the API and the taps are for
	Links  []topology.LinkSpec
	Doors  []Door
	Bypass bool // planted: the doors are served around toxiproxy, which listens elsewhere
}

// Door is one door, and its tap for the container's published side.
type Door struct {
	Route wan.Route
	Tap   int // port, on all addresses; 0: none
}

// ParseDoor reads "tokyo>osaka/mysql,osaka-mysql-1,DOOR,LISTEN,TARGET,TAP": the link of the bytes towards the target, the target,
// three times host:port, and the tap's port.
func ParseDoor(s string) (Door, error) {
	f := strings.Split(s, ",")
	if len(f) != 6 {
		return Door{}, fmt.Errorf("door %q has %d parts, LINK,NODE,DOOR,LISTEN,TARGET,TAP was expected", s, len(f))
	}
	id, err := parseLink(f[0])
	if err != nil {
		return Door{}, fmt.Errorf("door %q: %w", s, err)
	}
	if f[1] == "" {
		return Door{}, fmt.Errorf("door %q names no node", s)
	}
	for _, a := range f[2:5] {
		if _, err := netip.ParseAddrPort(a); err != nil {
			return Door{}, fmt.Errorf("door %q: %w", s, err)
		}
	}
	tap, err := strconv.ParseUint(f[5], 10, 16)
	if err != nil {
		return Door{}, fmt.Errorf("door %q: read the tap's port: %w", s, err)
	}
	return Door{Tap: int(tap), Route: wan.Route{From: id.From, To: id.To, Service: id.Service, Node: f[1], Door: f[2], Reach: f[2],
		Listen: f[3], Target: f[4]}}, nil
}

// ParseLinkDelay reads "tokyo>osaka/mysql=4ms", a link and its base delay one way.
func ParseLinkDelay(s string) (topology.LinkSpec, error) {
	link, delay, ok := strings.Cut(s, "=")
	if !ok {
		return topology.LinkSpec{}, fmt.Errorf("link %q: FROM>TO/SERVICE=DELAY was expected", s)
	}
	id, err := parseLink(link)
	if err != nil {
		return topology.LinkSpec{}, err
	}
	d, err := time.ParseDuration(delay)
	if err != nil {
		return topology.LinkSpec{}, fmt.Errorf("link %q: %w", s, err)
	}
	if err := wan.Validate(topology.Layers{Delay: d}); err != nil {
		return topology.LinkSpec{}, fmt.Errorf("link %q: %w", s, err)
	}
	return topology.LinkSpec{ID: id, Delay: d}, nil
}

func parseLink(s string) (topology.LinkID, error) {
	sites, service, ok := strings.Cut(s, "/")
	from, to, ok2 := strings.Cut(sites, ">")
	if !ok || !ok2 || from == "" || to == "" || service == "" {
		return topology.LinkID{}, fmt.Errorf("link %q: FROM>TO/SERVICE was expected", s)
	}
	return topology.LinkID{From: topology.Site(from), To: topology.Site(to), Service: topology.Service(service)}, nil
}

// Check says what is wrong with a WAN before anything is opened.
func (w WAN) Check() error {
	links, err := wan.New("", "", w.Links, w.routes())
	if err != nil {
		return err
	}
	links.Close()
	if len(w.Doors) == 0 {
		return errors.New("a WAN without a door connects nothing")
	}
	for _, r := range w.routes() {
		if (r.Listen != r.Door) != w.Bypass {
			return fmt.Errorf("door %s of %s: toxiproxy listens at %s, with bypass %v", r.Door, r.Node, r.Listen, w.Bypass)
		}
	}
	return nil
}

func (w WAN) routes() []wan.Route {
	var all []wan.Route
	for _, d := range w.Doors {
		all = append(all, d.Route)
	}
	return all
}

// hosts are the addresses that the WAN has to have in the sites' networks.
func (w WAN) hosts() []netip.Addr {
	var all []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, r := range w.routes() {
		for _, a := range []string{r.Door, r.Listen} {
			if at, err := netip.ParseAddrPort(a); err == nil && !seen[at.Addr()] { // ParseDoor has read them
				seen[at.Addr()] = true
				all = append(all, at.Addr())
			}
		}
	}
	return all
}

func (w WAN) taps() []wan.Tap {
	var all []wan.Tap
	for _, d := range w.Doors {
		if d.Tap != 0 {
			all = append(all, wan.Tap{Listen: "0.0.0.0:" + strconv.Itoa(d.Tap), Door: d.Route.Door})
		}
	}
	return all
}

// RunWAN opens every door with its link's base delay and serves until ctx ends. The API answers once all of it is there: a WAN
// that was restarted is whole again before anybody can ask it, without the faults and access lists that it had.
func RunWAN(ctx context.Context, w WAN, say Say) error {
	err := w.run(ctx, say)
	if ctx.Err() != nil && !errors.Is(err, errNotClosed) {
		return nil
	}
	return err
}

// errNotClosed marks what went wrong at the end.
var errNotClosed = errors.New("close the WAN")

func (w WAN) run(ctx context.Context, say Say) (err error) {
	if forwards("/proc/sys/net/ipv4/ip_forward") {
		say.f("warning: the kernel forwards between this container's networks (net.ipv4.ip_forward=1): whoever sets a route goes around the doors")
	}
	if err := AddHosts(ctx, w.hosts()); err != nil {
		return err
	}
	s, err := wan.Serve(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBudget)
		defer cancel()
		if cerr := s.Close(closing); cerr != nil {
			err = errors.Join(err, fmt.Errorf("%w: %w", errNotClosed, cerr))
		}
	}()
	links, err := wan.New(s.Address(), "", w.Links, w.routes())
	if err != nil {
		return err
	}
	defer links.Close()
	if err := links.Create(ctx); err != nil {
		return err
	}
	if w.Bypass {
		around, err := wan.Forward(w.routes())
		if err != nil {
			return err
		}
		defer around.Close()
		say.f("planted: traffic between the sites goes around the proxies")
	}
	taps, err := wan.Taps(w.taps(), w.Only)
	if err != nil {
		return err
	}
	defer taps.Close()
	if err := s.Open(ctx, w.API, w.Only); err != nil {
		return err
	}
	say.f("wan: %d doors, %d taps, toxiproxy %s on %s", len(w.Doors), len(w.taps()), wan.Version(), w.API)
	<-ctx.Done()
	return nil
}

// forwards reads one of the kernel's switches.
func forwards(path string) bool {
	b, err := os.ReadFile(path)
	return err == nil && strings.TrimSpace(string(b)) == "1"
}
