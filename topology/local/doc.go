// Package local is the runtime that runs a world as plain processes on loopback addresses: real MySQL and Cassandra, the
// platform's nodes, and inside the world process itself toxiproxy between the sites and the name server of the public zone. It
// needs no Docker and no root.
//
// All sites of a world share one loopback: everything of it is on 127.X.0.0/16, and a site's doors are where toxiproxy listens.
// What a world owns and how other processes find it is package hosted's; here, the state folder also keeps the nodes' data and the
// process ids of the children, so that those of a killed world process can be ended.
package local
