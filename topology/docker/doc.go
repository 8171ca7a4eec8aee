// Package docker is the runtime that runs a world in containers, by testcontainers-go: a network for each site, no way between
// them but the doors of the WAN's container, and everything published on a loopback address of the world's own.
//
// What containers there are is package containers' word, who owns a world and how others find it is package hosted's. This one
// makes them, starts and ends them, follows what they write into the run folder, and removes them: in order, or by their labels
// when their owner was killed.
//
// Composed takes over a world whose containers docker-compose made (package compose), and lets go of it.
package docker
