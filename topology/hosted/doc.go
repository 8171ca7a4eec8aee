// Package hosted is a world that lives and dies with one process, whatever its nodes are made of: what every runtime needs
// beside its own way to start and stop a node.
//
// One process, `kirikae world`, creates a world (Host.Create) and keeps it (Serve). It writes world.json into the run folder; every
// other process attaches by it (Host.Attach). Nodes and the public zone are driven over HTTP on a unix socket of the world
// process, links over toxiproxy's own API. An attached world remembers nothing: every answer is read from the world process, from
// toxiproxy, or from the runtime below.
//
// A new world serves in its active region. Declared and not started are, as in article 002, the standby region's application and
// the client on premises.
//
// # What a world owns
//
// An octet X, whatever the runtime: what a process of the machine dials is on 127.X.0.0/16. A state folder
// <cache>/worlds-<runtime>/<id> with owner.json (who lives and dies with it), the socket, and what the runtime keeps there. It is
// removed when the world goes down; Host.Sweep removes those whose owner is dead, after the runtime has removed what belonged to
// them. The run folder keeps world.json, the logs and the acquirer's file.
package hosted
