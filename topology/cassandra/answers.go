package cassandra

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// options is the CQL request that every server answers to everybody: an empty OPTIONS frame of protocol version 4
// (native_protocol_v4.spec, 4.1.3).
var options = [...]byte{0x04, 0, 0, 0, 0x05, 0, 0, 0, 0}

// Answers says whether a node speaks CQL at an address: nil, or why not. It makes no session, so that it costs the node nothing. A
// connection alone would be no answer: what publishes a container's port takes one before the node does.
func Answers(ctx context.Context, address string) error {
	wrap := func(err error) error { return fmt.Errorf("ask Cassandra at %s: %w", address, err) }
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return wrap(err)
	}
	defer c.Close()
	if at, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(at); err != nil {
			return wrap(err)
		}
	}
	if _, err := c.Write(options[:]); err != nil {
		return wrap(err)
	}
	var head [9]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return wrap(err)
	}
	if head[0]&0x80 == 0 || head[4] != 0x06 { // a response, SUPPORTED
		return wrap(fmt.Errorf("% x is no answer to OPTIONS", head))
	}
	return nil
}
