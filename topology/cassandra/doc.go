// Package cassandra is Cassandra as a drill needs it: how a node's process is started (Command), when a cluster is ready by
// every node's own view (WaitRing), and what its tables hold. One cluster spans both regions, as in article 002; each region reads
// and writes at LOCAL_QUORUM.
//
// A node listens on its own address, and broadcasts the address of the door at which the other region dials it: nodes of one
// region talk directly (prefer_local), and every connection between regions passes a link. Cassandra takes a peer's name from
// its handshake, not from the socket, so the door in between stays unseen.
package cassandra
