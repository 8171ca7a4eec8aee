package topologytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// talk is a connection on which a question gets an answer: bytes go up, and bytes or the end come back.
type talk struct {
	net.Conn
	service topology.Service
}

// dial opens a connection through a door.
func dial(service topology.Service, address string, patience time.Duration) (*talk, error) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return &talk{c, service}, nil
}

// ask makes the far end of any service say something: HTTP answers; MySQL greets before it is asked, and answers nonsense with an
// error; Cassandra's internode port ends a connection that speaks no protocol of its own. It can be asked more than once where
// the service is HTTP.
func (k *talk) ask(patience time.Duration) (time.Duration, error) {
	began := time.Now()
	must := k.SetDeadline(began.Add(patience))
	if must != nil {
		return 0, must
	}
	switch k.service {
	case topology.ServiceMySQL:
		greeting := make([]byte, 4)
		if _, err := io.ReadFull(k, greeting); err != nil {
			return 0, fmt.Errorf("no greeting: %w", err)
		}
		rest := make([]byte, int(greeting[0])|int(greeting[1])<<8)
		if _, err := io.ReadFull(k, rest); err != nil {
			return 0, fmt.Errorf("half a greeting: %w", err)
		}
		if !bytes.Contains(rest, []byte("caching_sha2_password")) {
			return 0, fmt.Errorf("greeted with %q", rest)
		}
		began = time.Now()
		if _, err := k.Write([]byte{4, 0, 0, 1, 0, 0, 0, 0}); err != nil { // a hand-shake that is none
			return 0, err
		}
		if _, err := k.Read(make([]byte, 64)); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
	case topology.ServiceCassandra:
		if _, err := k.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
			return 0, err
		}
		if _, err := k.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) && !closed(err) {
			return 0, err
		}
	default:
		if _, err := k.Write([]byte("HEAD /none HTTP/1.1\r\nHost: probe\r\n\r\n")); err != nil {
			return 0, err
		}
		answer := make([]byte, 4096)
		n, err := k.Read(answer)
		if err != nil {
			return 0, err
		}
		if !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 ")) {
			return 0, fmt.Errorf("answered %q", answer[:n])
		}
	}
	return time.Since(began), nil
}

// ping asks over a new connection.
func ping(service topology.Service, address string, patience time.Duration) (time.Duration, error) {
	k, err := dial(service, address, patience)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	return k.ask(patience)
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func closed(err error) bool { return err != nil && !timedOut(err) }

// within calls f until it returns nil, at most for d.
func within(t *testing.T, d time.Duration, what string, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s; last seen: %v", what, d, err)
		case <-tick.C:
		}
	}
}

// web sends one request over a connection of its own.
func web(ctx context.Context, method, url, key, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, "", err
	}
	if key != "" {
		req.Header.Set("X-Payment-Key", key)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}
