package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	rests "github.com/kirikae/kirikae/topology/containers/rest"
	"github.com/kirikae/kirikae/topology/inside"
)

// program is what the subcommands do once their arguments are read.
type program struct {
	wan       func(context.Context, inside.WAN) error
	names     func(context.Context, inside.Names) error
	pod       func(context.Context, inside.Pod) error
	cassandra func(context.Context, inside.Cassandra) error
	mysql     func(context.Context, inside.MySQL) error
	healthy   func(ctx context.Context, what, where string) error
	dial      func(context.Context, []string, inside.DialOptions) error
	boot      func() error
	wire      func(context.Context, inside.Wire) error
	rest      func(marker string, argv []string) error
	empty     func(folders []string) error
}

// parts is the program itself. What happens goes to stderr, what was asked for to stdout.
func parts(stdout, stderr io.Writer) program {
	say := inside.Say(func(line string) { fmt.Fprintln(stderr, "inside: "+line) })
	return program{
		wan:   func(ctx context.Context, w inside.WAN) error { return inside.RunWAN(ctx, w, say) },
		names: func(ctx context.Context, n inside.Names) error { return inside.RunNames(ctx, n, say) },
		pod:   func(ctx context.Context, p inside.Pod) error { return inside.RunPod(ctx, p, say) },
		cassandra: func(ctx context.Context, c inside.Cassandra) error {
			p, err := inside.PrepareCassandra(ctx, c, os.Environ(), say)
			if ctx.Err() != nil {
				return nil // stopped before there was a node
			}
			if err != nil {
				return err
			}
			return inside.Become(p)
		},
		mysql: func(ctx context.Context, m inside.MySQL) error {
			m.Env, m.Secret = os.Environ(), os.Getenv(inside.SecretVariable)
			return inside.RunMySQL(ctx, m, say)
		},
		healthy: func(ctx context.Context, what, where string) error {
			if err := inside.Healthy(ctx, what, where); err != nil {
				return err
			}
			_, err := fmt.Fprintln(stdout, "healthy")
			return err
		},
		dial: func(ctx context.Context, addresses []string, o inside.DialOptions) error {
			out := json.NewEncoder(stdout)
			out.SetEscapeHTML(false)
			for _, d := range inside.Dial(ctx, addresses, o) {
				if err := out.Encode(d); err != nil {
					return err
				}
			}
			return nil
		},
		boot: func() error {
			id, err := inside.BootID()
			if err == nil {
				_, err = fmt.Fprintln(stdout, id)
			}
			return err
		},
		wire: func(ctx context.Context, w inside.Wire) error {
			w.Secret = os.Getenv(inside.SecretVariable)
			return inside.RunWire(ctx, w, say)
		},
		rest:  rests.Start,
		empty: inside.Empty,
	}
}
