package docker

import (
	"github.com/moby/moby/client"

	"github.com/kirikae/kirikae/topology/engine"
)

// fakeEngine is one that is never asked.
func fakeEngine() *engine.Engine {
	c, err := client.New(client.WithHost("unix:///nonexistent/docker.sock"))
	if err != nil {
		panic(err)
	}
	return &engine.Engine{Client: c, Local: true}
}
