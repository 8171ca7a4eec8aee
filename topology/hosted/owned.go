package hosted

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// owned is a world inside the process that owns it.
type owned struct {
	host   Host
	spec   Spec
	file   File
	folder string // run folder
	say    func(string)
	bypass bool
	extra  map[string][]string // planted: arguments by kind

	claim    *Claim
	machines Machines
	guard    *guard
	zone     Zone
	control  *http.Server
	engines  sync.Mutex // guards file.Engines while the stores are raised side by side

	life context.Context // ends when the world goes down; everything long hears it
	end  context.CancelCauseFunc

	downOnce sync.Once
	downErr  error
	gone     chan struct{} // closed when everything is down
	hangOnce sync.Once
	hangErr  error
	served   chan error // how the control server ended
}

func newOwned(h Host, s Spec, say func(string)) *owned {
	w := &owned{host: h, spec: s, say: say, gone: make(chan struct{}), served: make(chan error, 1)}
	w.life, w.end = context.WithCancelCause(context.Background())
	return w
}

// downBudget bounds the end of a world, whatever the caller's context says.
const downBudget = 10 * time.Second

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// down ends everything, without courtesy: the data are thrown away. Harmless when repeated.
func (w *owned) down() error {
	w.downOnce.Do(func() {
		defer close(w.gone)
		w.end(errDown)
		budget := w.spec.DownBudget
		if budget <= 0 {
			budget = downBudget
		}
		ctx, cancel := context.WithTimeout(context.Background(), budget)
		defer cancel()
		var errs []error
		if w.machines != nil {
			patience, stop := context.WithTimeout(ctx, budget/3) // what does not give up must not keep the rest from ending
			errs = append(errs, w.guard.close(patience), w.machines.Down(ctx))
			stop()
		}
		if w.file.State != "" {
			errs = append(errs, removeState(w.file.State))
		}
		if w.file.Control != "" {
			errs = append(errs, removeSocket(w.file.Control))
		}
		if w.claim != nil {
			w.claim.Release()
		}
		w.downErr = errors.Join(errs...)
	})
	<-w.gone
	return w.downErr
}

// maxSocketPath is what the kernel takes, 108 with the final zero, and some room.
const maxSocketPath = 100

// socketPath is in the state folder, or in a short private one when that is too deep.
func socketPath(state, id string) (string, error) {
	path := filepath.Join(state, "control.sock")
	if len(path) <= maxSocketPath {
		return path, nil
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("kirikae-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make a folder for the control socket: %w: %w", topology.ErrEnvironment, err)
	}
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 || !ownedByUs(info) {
		return "", fmt.Errorf("use %s for the control socket: %w: it is not a private folder of this user", dir, topology.ErrEnvironment)
	}
	return filepath.Join(dir, id+".sock"), nil
}

func ownedByUs(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}

func removeSocket(path string) error {
	if err := os.Remove(path); err != nil && !absent(err) {
		return err
	}
	return nil
}
