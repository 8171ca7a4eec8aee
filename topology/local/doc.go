// Package local is the runtime that runs a world as plain processes on loopback addresses: real MySQL and Cassandra, the
// platform's nodes, and inside the world process itself toxiproxy between the sites and the name server of the public zone. It
// needs no Docker and no root.
//
// One process, `kirikae world`, creates a world and lives as long as it does. It writes world.json into the run folder; every
// other process attaches by it. Nodes are driven over HTTP on a unix socket of the world process, links over toxiproxy's own
// API. An attached World remembers nothing: every answer is read from the world process, from toxiproxy, or from the kernel.
//
// A new world serves in its active region. Declared and not started are, as in article 002, the standby region's application and
// the client on premises.
//
// # What a world owns
//
// An octet X: all of its addresses are in 127.X.0.0/16. A state folder <cache>/worlds/<id> with owner.json (who lives and dies
// with it), the nodes' data, the socket, and the process ids of its children. It is removed by Down; Sweep removes those whose
// owner is dead. The run folder keeps world.json, the logs and the acquirer's file.
package local
