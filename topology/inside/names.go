package inside

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/edge"
	"github.com/kirikae/kirikae/topology/wan"
)

// Names is the public zone's name server. Nodes of the outside are led to the doors, customers of the machine to what is
// published there.
type Names struct {
	Zone  topology.ZoneSpec
	At    topology.Site // of every record at the start
	Nodes edge.View     // for nodes of the outside
	Reach edge.View     // for the machine; without an address: there is none
	API   string        // host:port of edge's API; "": none
	Only  []netip.Addr  // from which the API is for
}

// ParseEntry reads "tokyo=10.9.2.51" into an entry.
func ParseEntry(into edge.Entry, s string) error {
	site, address, ok := strings.Cut(s, "=")
	if !ok || site == "" {
		return fmt.Errorf("entry %q: SITE=ADDRESS was expected", s)
	}
	a, err := netip.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("entry %q: %w", s, err)
	}
	if _, twice := into[topology.Site(site)]; twice {
		return fmt.Errorf("entry %q: %s has one already", s, site)
	}
	into[topology.Site(site)] = a
	return nil
}

// RunNames serves the zone until ctx ends. Records shows the machine's addresses where there is a view for it.
func RunNames(ctx context.Context, n Names, say Say) (err error) {
	views := []edge.View{n.Nodes}
	if n.Reach.Address != "" {
		views = []edge.View{n.Reach, n.Nodes}
	}
	s, err := edge.ServeViews(ctx, n.Zone, n.At, views...)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	closing := func(f func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBudget)
		defer cancel()
		err = errors.Join(err, f(ctx))
	}
	defer closing(s.Close)
	say.f("names: zone %s at %s, answered on %s", n.Zone.Name, n.At, strings.Join(s.Addresses(), " and "))
	if n.API == "" {
		<-ctx.Done()
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", n.API)
	if err != nil {
		return fmt.Errorf("listen for the zone's API: %w: %w", topology.ErrEnvironment, err)
	}
	api := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- api.Serve(wan.Guard(l, n.Only)) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the zone's API: %w", err)
	case <-ctx.Done():
	}
	closing(func(ctx context.Context) error {
		if err := api.Shutdown(ctx); err != nil {
			return errors.Join(err, api.Close())
		}
		return nil
	})
	<-served
	return err
}
