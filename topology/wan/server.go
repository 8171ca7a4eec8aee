package wan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"

	"github.com/kirikae/kirikae/topology"
)

// Server is a toxiproxy inside this process that knows the link toxic. Whoever drives links talks to its HTTP API, from this
// process or another.
type Server struct {
	toxi *toxiproxy.ApiServer
	http *http.Server
	addr string

	serving sync.WaitGroup
	mu      sync.Mutex
	failed  error // of a listener that ended by itself
}

// Serve starts a toxiproxy whose API listens on address ("127.9.0.254:8474"; port 0 picks one).
func Serve(ctx context.Context, address string) (*Server, error) {
	toxics.Register(shapeType, new(shape)) // toxiproxy's registry of types is its own; registering again changes nothing
	toxi := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	s := &Server{toxi: toxi, http: &http.Server{Handler: toxi.Routes(), ReadHeaderTimeout: 5 * time.Second}}
	l, err := listenAPI(ctx, address)
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr().String()
	s.serve(l)
	return s, nil
}

// Open makes the API listen on one more address, for connections from the addresses in only (see Guard). A WAN that makes its
// own doors first serves an address that nobody else knows, and opens the public one when they are there.
func (s *Server) Open(ctx context.Context, address string, only []netip.Addr) error {
	l, err := listenAPI(ctx, address)
	if err != nil {
		return err
	}
	s.serve(Guard(l, only))
	return nil
}

func listenAPI(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for toxiproxy's API: %w: %w", topology.ErrEnvironment, err)
	}
	return l, nil
}

func (s *Server) serve(l net.Listener) {
	s.serving.Go(func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.failed = errors.Join(s.failed, err)
		}
	})
}

// Address is where the API listens.
func (s *Server) Address() string { return s.addr }

// Close stops every proxy and the API, within ctx.
func (s *Server) Close(ctx context.Context) error {
	cleared := make(chan error, 1)
	go func() { cleared <- s.toxi.Collection.Clear() }() // waits for a dial of its own that may be under way
	var err error
	select {
	case err = <-cleared:
	case <-ctx.Done():
		err = fmt.Errorf("stop the proxies: %w", ctx.Err())
	}
	err = errors.Join(err, s.http.Close())
	s.serving.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(err, s.failed)
}

// Version is the release of toxiproxy that this program was built with, "2.12.0".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/Shopify/toxiproxy/v2" {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	return "unknown"
}
