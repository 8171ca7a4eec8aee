package images

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"time"
)

// said is what a program wrote, quoted after an error.
type said string

func (s said) String() string {
	if s == "" {
		return ""
	}
	return "\n" + string(s)
}

// output runs a program that ends by itself and returns the end of what it wrote. It ends with ctx.
func output(ctx context.Context, argv ...string) (said, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = 5 * time.Second
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	out := b.Bytes()
	const most = 2000
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return said(bytes.TrimSpace(out)), err
}
