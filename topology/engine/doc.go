// Package engine finds the Docker engine of this machine and says what it is: where it answers, which versions it has, whether
// it runs on this machine's own kernel. It knows nothing about worlds.
package engine
