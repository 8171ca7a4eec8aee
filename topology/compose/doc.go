// Package compose is a world that a compose file brings up: it renders docker-compose.yml from what package containers says, says
// when a file is not what is rendered today, and finds the containers of a composed world, so that a world process can take them
// over.
//
// A composed world belongs to whoever typed `docker-compose up`: no process owns it, nothing sweeps it, and who attaches to it
// leaves it running. There is one on a machine, as it has fixed names and the octet that no other world takes.
package compose

// World is the short name of the composed world, in the place of a world's id.
const World = "compose"

// Octet of the composed world. Worlds of processes begin at 2.
const Octet = 1

// Secret is the password of a composed world's database users, unless KIRIKAE_SECRET says otherwise. It is no secret: everybody
// can read it in docker-compose.yml. The servers listen on loopback and on the world's own networks only.
const Secret = "kirikae-compose"

// File is the name of the rendered file, in the repository's root.
const File = "docker-compose.yml"
