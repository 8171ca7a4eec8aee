package hosted

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// Serve keeps a world that this process created, in whichever runtime, until it goes down: because ctx ends, because the pipe of
// its owner closes, or because somebody asked for it over the control socket. It returns when nothing of the world is left. owner
// nil: the world is detached and outlives whoever started it.
//
// Nothing may ever be written to the pipe; its end of file is the message. A reader that cannot be interrupted (a terminal) holds
// one goroutine until the process ends.
func Serve(ctx context.Context, w topology.World, owner io.Reader) error {
	x, ok := w.(*world)
	if !ok || x.owned == nil {
		return fmt.Errorf("serve a world: %w: this process did not create it", topology.ErrUnsupported)
	}
	if owner != nil {
		go func() {
			_, _ = io.Copy(io.Discard, owner) // whatever ends it, the owner is gone
			x.owned.end(errors.New("the owner's pipe closed"))
		}()
	}
	select {
	case <-ctx.Done():
	case <-x.owned.life.Done():
	}
	return errors.Join(x.owned.down(), x.owned.hangUp(), x.Close())
}

// hangUp ends the control server once its last answers are out. Harmless when repeated.
func (w *owned) hangUp() error {
	w.hangOnce.Do(func() {
		if w.control == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := w.control.Shutdown(ctx); err != nil {
			w.hangErr = errors.Join(err, w.control.Close())
		}
		if e := <-w.served; !errors.Is(e, http.ErrServerClosed) {
			w.hangErr = errors.Join(w.hangErr, e)
		}
	})
	return w.hangErr
}
