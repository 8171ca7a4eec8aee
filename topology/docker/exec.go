package docker

import (
	"context"
	"fmt"
	"strings"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// run runs a program inside a container of a world and returns what it wrote.
func run(ctx context.Context, c *client.Client, name string, argv ...string) (string, error) {
	x, err := c.ExecCreate(ctx, name, client.ExecCreateOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return "", err
	}
	a, err := c.ExecAttach(ctx, x.ID, client.ExecAttachOptions{})
	if err != nil {
		return "", err
	}
	defer a.Close()
	var out, complaint strings.Builder
	if _, err := stdcopy.StdCopy(&out, &complaint, a.Reader); err != nil {
		return "", err
	}
	i, err := c.ExecInspect(ctx, x.ID, client.ExecInspectOptions{})
	if err == nil && i.ExitCode != 0 {
		err = fmt.Errorf("%v: exit code %d: %s", argv, i.ExitCode, complaint.String())
	}
	return out.String(), err
}
