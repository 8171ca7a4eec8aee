// Package wan holds the links between sites on toxiproxy.
//
// Every connection between two sites passes a door: a proxied address of its own for each (dialling site, target node). A door
// carries two directions of bytes, so it belongs to two links: the bytes that go from the dialler to the target, and those
// that come back. A link holds three values (topology.Layers): base delay, fault, access. They are kept nowhere but in
// toxiproxy itself, as the attributes of one toxic for each direction of each door, so any process can read them back.
//
// One pure function (desired) turns the layers of a door's two links into what its proxy has to be; one idempotent apply
// brings it there. A cut or a denial disables the proxy: old connections are closed, new ones refused. Everything else is done
// by the toxic, in place, on living connections.
//
// # In a container
//
// The WAN of a world of containers stands in the networks of the nodes that it keeps apart. What is for the machine only is
// guarded by source address (Guard): the API, and the taps, by which a process of the machine comes to a door through the engine's
// port publishing and so passes the same proxy as the dialling site.
//
// # The wedge
//
// toxiproxy 2.12 replaces or updates a toxic by interrupting the goroutine that runs it, under the lock that every other call
// of its API needs (upstream issue 558). Its own toxics cannot be interrupted while they wait for a receiver that does not
// read, so adding, removing or even updating one of them hangs the whole API; after a Disable the race is still open until
// the last link has removed itself. Two rules keep this out of reach: toxics are added once, before their proxy is first
// enabled, and are never removed; and the toxic (shape) hands its bytes on in a select that an interruption always ends,
// keeping the bytes for its next run.
package wan
