package runbook

import (
	"context"
	"errors"
	"os"
)

// lamp is an action that outlives its process: a file. It stays dark while there is a file of its name with .stuck.
type lamp struct{ path string }

func (l lamp) Check(context.Context) (Seen, error) { return nil, nil }

func (l lamp) Act(context.Context, Notes) (Seen, error) { return nil, os.WriteFile(l.path, nil, 0o644) }

func (l lamp) Confirm(context.Context, Notes) (Seen, error) {
	if _, err := os.Stat(l.path + ".stuck"); err == nil {
		return nil, errors.New("stuck")
	}
	_, err := os.Stat(l.path)
	return nil, err
}

func (k *keeper) Act(ctx context.Context, n Notes) (Seen, error) {
	saw, err := k.fake.Act(ctx, n)
	if err != nil {
		return saw, err
	}
	if _, err := n.(Keeper).Keep("../x", nil); err != nil {
		saw["refused"] = err.Error()
	}
	saw["kept"], err = n.(Keeper).Keep("output.txt", []byte("long"))
	return saw, err
}
