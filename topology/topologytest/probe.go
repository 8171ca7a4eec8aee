package topologytest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// patience bounds what should come at once; silence is how long nothing has to be heard to count as nothing. A loaded machine
// only makes silence longer.
const (
	patience = 20 * time.Second
	silence  = 300 * time.Millisecond
)

// talk is a connection to a service. Every service is asked something after which its far end answers and, but for HTTP on
// demand, hangs up.
type talk struct {
	net.Conn
	service topology.Service
	greeted bool // MySQL: its greeting was read
}

func dial(service topology.Service, address string) (*talk, error) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return &talk{Conn: c, service: service}, nil
}

// greet waits for what a server says unasked: MySQL's greeting.
func (k *talk) greet(limit time.Duration) error {
	if k.service != topology.ServiceMySQL || k.greeted {
		return nil
	}
	if err := k.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	head := make([]byte, 4)
	if _, err := io.ReadFull(k, head); err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	rest := make([]byte, int(head[0])|int(head[1])<<8)
	if _, err := io.ReadFull(k, rest); err != nil {
		return fmt.Errorf("half a greeting: %w", err)
	}
	if !bytes.Contains(rest, []byte("caching_sha2_password")) {
		return fmt.Errorf("greeted with %q", rest)
	}
	k.greeted = true
	return nil
}

// question is what makes the far end answer; last asks it to hang up afterwards. MySQL gets a log-in that is none, and Cassandra's
// port for its peers the beginning of their handshake with a protocol version that does not exist: it answers with the versions
// it has, and makes nobody's acquaintance (org.apache.cassandra.net.HandshakeProtocol). Both hang up in any case.
func (k *talk) question(last bool) []byte {
	switch k.service {
	case topology.ServiceMySQL:
		return []byte{4, 0, 0, 1, 0, 0, 0, 0}
	case topology.ServiceCassandra:
		const magic, version40, noVersion, local = 0xCA552DFA, 12, 0x7f, "\x06\x7f\x00\x00\x01\x1b\x58"
		b := binary.BigEndian.AppendUint32(nil, magic)
		b = binary.BigEndian.AppendUint32(b, 1|version40<<8|noVersion<<16|noVersion<<24)
		b = append(b, local...)
		seed := crc32.ChecksumIEEE([]byte{0xFA, 0x2D, 0x55, 0xCA})
		return binary.BigEndian.AppendUint32(b, crc32.Update(seed, crc32.IEEETable, b))
	default:
		connection := "keep-alive"
		if last {
			connection = "close"
		}
		return []byte("HEAD /none HTTP/1.1\r\nHost: probe\r\nConnection: " + connection + "\r\n\r\n")
	}
}

// ask asks and waits for the answer. An HTTP connection can be asked again.
func (k *talk) ask(limit time.Duration) error {
	if err := k.greet(limit); err != nil {
		return err
	}
	if err := k.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := k.Write(k.question(false)); err != nil {
		return err
	}
	return k.answer(limit)
}

// answer waits for the answer to what was asked before.
func (k *talk) answer(limit time.Duration) error {
	if err := k.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	b := make([]byte, 4096)
	n, err := k.Read(b)
	if n == 0 {
		return err
	}
	if k.service != topology.ServiceMySQL && k.service != topology.ServiceCassandra && !bytes.HasPrefix(b[:n], []byte("HTTP/1.1 ")) {
		return fmt.Errorf("answered %q", b[:n])
	}
	return nil
}

// over waits until the far end, or what stands between, ends the connection.
func (k *talk) over(limit time.Duration) error {
	if err := k.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, k); timedOut(err) {
		return err
	}
	return nil
}

// ping asks over a new connection and says how long the answer took, without the connection's own beginning.
func ping(service topology.Service, address string, limit time.Duration) (time.Duration, error) {
	k, err := dial(service, address)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	if err := k.greet(limit); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := k.ask(limit); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// feel asks over a new connection without waiting for a greeting. heard: any byte came back; ended: the far end hung up, so it
// had heard the question. It waits for them as long as limit.
func feel(service topology.Service, address string, limit time.Duration) (heard, ended bool, err error) {
	k, err := dial(service, address)
	if err != nil {
		return false, false, fmt.Errorf("connect: %w", err)
	}
	defer k.Close()
	if err := k.SetDeadline(time.Now().Add(limit)); err != nil {
		return false, false, err
	}
	if _, err := k.Write(k.question(true)); err != nil {
		return false, false, fmt.Errorf("ask: %w", err)
	}
	n, err := io.Copy(io.Discard, k)
	return n > 0, !timedOut(err), nil
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// closed: no answer, refused or closed at once.
func closed(err error) bool { return err != nil && !timedOut(err) }

// until calls f until it returns nil, at most for d.
func until(ctx context.Context, d time.Duration, what string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s; last seen: %w", what, d, err)
		case <-tick.C:
		}
	}
}

func within(t *testing.T, d time.Duration, what string, f func(ctx context.Context) error) {
	t.Helper()
	must(t, until(t.Context(), d, what, f))
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
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}
