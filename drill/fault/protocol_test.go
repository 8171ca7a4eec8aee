package fault

import (
	"encoding/binary"
	"testing"
)

// What the probes say was held against MySQL 9.7.4 and Cassandra 5.0.9; these are the bytes that both answered.
func TestProtocolBytes(t *testing.T) {
	login := mysqlLogin()
	if n := int(login[0]) | int(login[1])<<8; n != len(login)-4 || login[3] != 1 || !wholePacket(login) || wholePacket(login[:len(login)-1]) {
		t.Errorf("login packet of %d bytes says %d, sequence %d", len(login), n, login[3])
	}
	hello := cassandraInitiate()
	if len(hello) != 19 || binary.BigEndian.Uint32(hello) != 0xCA552DFA {
		t.Errorf("handshake % x", hello)
	}
	flags := binary.BigEndian.Uint32(hello[4:])
	if least, most := flags>>16&0xff, flags>>24; least != 0x7f || most != 0x7f {
		t.Errorf("the handshake offers versions %d to %d: a node could accept it and take the probe for a peer", least, most)
	}
	if cassandraCRC([]byte{0, 0, 0, 0, 0, 0, 0, 0}) == 0 {
		t.Error("zeroes have a valid CRC")
	}
}
