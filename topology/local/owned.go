package local

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
	"github.com/kirikae/kirikae/topology/edge"
	"github.com/kirikae/kirikae/topology/wan"
)

// owned is a world inside the process that owns it.
type owned struct {
	config Config
	plan   plan
	file   file
	folder string // run folder
	state  string
	logs   string
	secret string
	say    func(string)
	extra  map[string][]string // planted: arguments by kind

	claim     *claim
	spawner   *spawner
	children  map[string]*child
	toxiproxy *wan.Server
	links     *wan.WAN
	names     *edge.Server
	bypass    *forwarder
	control   *http.Server

	life context.Context // ends when the world goes down; everything long hears it
	end  context.CancelCauseFunc

	downOnce sync.Once
	downErr  error
	gone     chan struct{} // closed when everything is down
	hangOnce sync.Once
	hangErr  error
	served   chan error // how the control server ended
}

var errDown = errors.New("the world goes down")

// downBudget bounds the end of a world, whatever the caller's context says.
const downBudget = 10 * time.Second

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// down ends everything, in parallel and without courtesy: the data are thrown away. Harmless when repeated.
func (w *owned) down() error {
	w.downOnce.Do(func() {
		defer close(w.gone)
		w.end(errDown)
		ctx, cancel := context.WithTimeout(context.Background(), downBudget)
		defer cancel()
		var wg sync.WaitGroup
		var mu sync.Mutex
		collect := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			w.downErr = errors.Join(w.downErr, err)
		}
		for _, c := range w.children {
			wg.Go(func() {
				_, err := c.signal(syscall.SIGKILL, true) // at once; then again in our turn, for one that was just being started
				collect(err)
				select {
				case c.turn <- struct{}{}: // kept: nothing starts any more
					collect(c.kill(ctx))
				case <-ctx.Done():
					collect(fmt.Errorf("wait for the operation on %s to give up: %w", c.spec.Name, ctx.Err()))
				}
			})
		}
		wg.Wait()
		if w.bypass != nil {
			w.bypass.close()
		}
		if w.names != nil {
			collect(w.names.Close(ctx))
		}
		if w.links != nil {
			w.links.Close()
		}
		if w.toxiproxy != nil {
			collect(w.toxiproxy.Close(ctx))
		}
		if w.spawner != nil {
			w.spawner.close()
		}
		if w.state != "" {
			collect(os.RemoveAll(w.state))
		}
		if w.file.Control != "" {
			collect(removeSocket(w.file.Control))
		}
		if w.claim != nil {
			w.claim.release()
		}
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
