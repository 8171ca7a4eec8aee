package wan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockBudget bounds the wait for other processes that change links. A change takes milliseconds, on a busy machine some hundreds.
const lockBudget = 30 * time.Second

// lockFile takes the exclusive lock of a file, which the kernel frees when its holder dies. Whoever waits for it holds the turn, a
// second lock that every newcomer has to take first: a holder that frees the lock and wants it again at once cannot pass the one
// who waits.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockBudget, fmt.Errorf("not within %s: %w", lockBudget, context.DeadlineExceeded))
	defer cancel()
	turn, err := flock(ctx, path+".turn")
	if err != nil {
		return nil, err
	}
	defer turn()
	return flock(ctx, path)
}

func flock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the links: %w", err)
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if ctx.Err() != nil { // also where the lock is free: who has been told to stop changes nothing any more
			f.Close()
			return nil, fmt.Errorf("wait for the lock of the links %s: %w", path, context.Cause(ctx))
		}
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil // closing frees it
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done(): // the loop's head says so
		case <-tick.C:
		}
	}
}
