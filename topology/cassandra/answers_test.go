package cassandra

import (
	"io"
	"net"
	"testing"
)

// TestAnswers: only who speaks CQL answers; who takes a connection and says nothing, or something else, does not.
func TestAnswers(t *testing.T) {
	for name, x := range map[string]struct {
		reply []byte
		ok    bool
	}{
		"a node":            {[]byte{0x84, 0, 0, 0, 0x06, 0, 0, 0, 0}, true},
		"one that refuses":  {[]byte{0x84, 0, 0, 0, 0x00, 0, 0, 0, 0}, false},
		"one that hangs up": {nil, false},
		"another protocol":  {[]byte("HTTP/1.1 400 Bad Request\r\n"), false},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				var ask [9]byte
				if _, err := io.ReadFull(c, ask[:]); err == nil && ask == options {
					c.Write(x.reply)
				}
			}()
			if err := Answers(t.Context(), l.Addr().String()); (err == nil) != x.ok {
				t.Errorf("%v", err)
			}
		})
	}
	if err := Answers(t.Context(), "127.0.0.1:1"); err == nil {
		t.Error("nobody is there, and it answers")
	}
}
