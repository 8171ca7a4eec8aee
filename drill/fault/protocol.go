package fault

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net/http"

	"github.com/kirikae/kirikae/topology"
)

// protocol is how a probe proves that bytes go both ways: it says something that the service must answer, and hears the answer.
// A proxy alone, whose target is dead or cut off, can do neither.
type protocol interface {
	// greet is what happens once, right after a line was opened.
	greet(ctx context.Context, l *line) error
	// exchange says something and hears the answer.
	exchange(ctx context.Context, l *line) error
	// reusable says whether a line can be used for another exchange.
	reusable() bool
}

func protocolOf(s topology.Service) protocol {
	switch s {
	case topology.ServiceMySQL:
		return mysqlProtocol{}
	case topology.ServiceCassandra:
		return cassandraProtocol{}
	}
	return httpProtocol{}
}

// httpProtocol asks for /healthz on a kept-alive connection. Whatever the status, an answer is an answer.
type httpProtocol struct{}

func (p httpProtocol) greet(ctx context.Context, l *line) error { return p.exchange(ctx, l) }

func (httpProtocol) exchange(ctx context.Context, l *line) error {
	if err := l.say([]byte("GET /healthz HTTP/1.1\r\nHost: probe\r\nUser-Agent: kirikae-probe\r\n\r\n")); err != nil {
		return err
	}
	return l.hear(ctx, func(in []byte) bool {
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), nil)
		if err != nil {
			return false
		}
		defer r.Body.Close()
		_, err = io.Copy(io.Discard, r.Body)
		return err == nil
	})
}

func (httpProtocol) reusable() bool { return true }

// mysqlProtocol hears the server's greeting and then tries to log in as a user that does not exist; the server's refusal is the
// answer. It reads no data, needs no secret and changes nothing. (MySQL Internals, "Connection Phase".)
type mysqlProtocol struct{}

func (mysqlProtocol) greet(ctx context.Context, l *line) error {
	return l.hear(ctx, func(in []byte) bool { return wholePacket(in) && in[4] == 10 }) // protocol version 10
}

func (mysqlProtocol) exchange(ctx context.Context, l *line) error {
	if err := l.say(mysqlLogin()); err != nil {
		return err
	}
	return l.hear(ctx, wholePacket)
}

func (mysqlProtocol) reusable() bool { return false }

// wholePacket says whether in begins with a whole packet: three bytes of length, one of sequence, the payload.
func wholePacket(in []byte) bool {
	if len(in) < 5 {
		return false
	}
	return len(in) >= 4+(int(in[0])|int(in[1])<<8|int(in[2])<<16)
}

// mysqlLogin is HandshakeResponse41 of the user attest with an empty password.
func mysqlLogin() []byte {
	const clientProtocol41, clientSecureConnection, clientPluginAuth = 1 << 9, 1 << 15, 1 << 19
	b := make([]byte, 4, 80)
	b = binary.LittleEndian.AppendUint32(b, clientProtocol41|clientSecureConnection|clientPluginAuth)
	b = binary.LittleEndian.AppendUint32(b, 1<<24) // longest packet
	b = append(b, 255)                             // utf8mb4
	b = append(b, make([]byte, 23)...)
	b = append(b, "attest\x00"...)
	b = append(b, 0) // no password
	b = append(b, "caching_sha2_password\x00"...)
	n := len(b) - 4
	b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), 1
	return b
}

// cassandraProtocol begins the handshake between nodes (Cassandra ≥ 4.0, org.apache.cassandra.net.HandshakeProtocol) with a
// range of protocol versions that no Cassandra has. The node answers with the versions that it has and closes: nothing is
// registered, no peer becomes known.
type cassandraProtocol struct{}

func (cassandraProtocol) greet(context.Context, *line) error { return nil } // a node says nothing first

func (cassandraProtocol) exchange(ctx context.Context, l *line) error {
	if err := l.say(cassandraInitiate()); err != nil {
		return err
	}
	return l.hear(ctx, func(in []byte) bool {
		return len(in) >= 12 && cassandraCRC(in[:8]) == binary.BigEndian.Uint32(in[8:])
	})
}

func (cassandraProtocol) reusable() bool { return false }

// cassandraInitiate is the message that opens the handshake, sent in the name of 127.0.0.1:7000.
func cassandraInitiate() []byte {
	const magic, version40, urgent, noVersion = 0xCA552DFA, 12, 1, 0x7f
	b := binary.BigEndian.AppendUint32(nil, magic)
	b = binary.BigEndian.AppendUint32(b, urgent|version40<<8|noVersion<<16|noVersion<<24)
	b = append(b, 6, 127, 0, 0, 1) // length of address and port
	b = binary.BigEndian.AppendUint16(b, uint16(topology.ServiceCassandra.Port()))
	return binary.BigEndian.AppendUint32(b, cassandraCRC(b))
}

// cassandraCRC is the CRC-32 of the messages between nodes: started with four fixed bytes, so that zeroes are not valid.
func cassandraCRC(b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte{0xFA, 0x2D, 0x55, 0xCA}), crc32.IEEETable, b)
}
