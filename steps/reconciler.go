package steps

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/topology"
	"github.com/kirikae/kirikae/topology/wire"
)

// runReconciler has the platform's reconciler make one run for a region, as an operator would by hand, and returns its report. A
// run that could not do everything is told by its report; only a reconciler that made none is an error.
//
// It dies with the drill. Parent-death signals follow the thread that forked, hence the lock.
func (d *Drill) runReconciler(ctx context.Context, site topology.Site, args ...string) (history.ReconcileRun, error) {
	var report history.ReconcileRun
	params, err := d.estate.url(site, topology.Params)
	if err != nil {
		return report, err
	}
	log, err := os.OpenFile(filepath.Join(d.folder, "logs", "reconcile.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return report, fmt.Errorf("run the reconciler: %w", err)
	}
	defer log.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	program := filepath.Join(filepath.Dir(d.options.Kirikae), "paymentd")
	cmd := exec.CommandContext(ctx, program, append([]string{"reconcile", "--once", "--site", string(site), "--node", string(site) + "-reconcile-by-hand",
		"--params", params, "--grace", d.interrupted.grace.String()}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Env = []string{wire.SecretVariable + "=" + d.world.About().Secret}
	cmd.Stderr = log
	var out bytes.Buffer
	cmd.Stdout = &out
	ran := cmd.Run()
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return report, fmt.Errorf("the reconciler told no report (%w), its log is %s", cmp.Or(ran, err), log.Name())
	}
	return report, nil
}

// reconcilerLog keeps what periodic reconcilers told of their runs: the telling dies with its region.
type reconcilerLog struct {
	cancel []context.CancelFunc
	asking sync.WaitGroup

	mu   sync.Mutex
	runs map[history.Instant]history.ReconcileRun // by when they began
}

// follow asks one reconciler again and again, until stop.
func (l *reconcilerLog) follow(ctx context.Context, ask func(context.Context) ([]history.ReconcileRun, error)) {
	ctx, cancel := context.WithCancel(ctx)
	l.cancel = append(l.cancel, cancel)
	l.asking.Go(func() {
		for {
			if runs, err := ask(ctx); err == nil { // a reconciler whose region is lost tells nothing more
				l.mu.Lock()
				for _, r := range runs {
					l.runs[r.T] = r
				}
				l.mu.Unlock()
			}
			if pass(ctx, reconcileLook) != nil {
				return
			}
		}
	})
}

// stop ends the asking and returns all runs, oldest first. Without a log there were none.
func (l *reconcilerLog) stop() []history.ReconcileRun {
	if l == nil {
		return nil
	}
	for _, cancel := range l.cancel {
		cancel()
	}
	l.asking.Wait()
	all := []history.ReconcileRun{}
	for _, r := range l.runs {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b history.ReconcileRun) int { return cmp.Compare(a.T, b.T) })
	return all
}

// readLog reads one of the acquirer's logs, an object a line.
func readLog[T any](ctx context.Context, e *Estate, path string) ([]T, error) {
	base, err := e.url(topology.Outside, topology.Acquirer)
	if err != nil {
		return nil, err
	}
	fail := func(err error) ([]T, error) { return nil, fmt.Errorf("read %s of the acquirer: %w", path, err) }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return fail(err)
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fail(errors.New(resp.Status))
	}
	all := []T{}
	for in := json.NewDecoder(bufio.NewReader(resp.Body)); ; {
		var line T
		if err := in.Decode(&line); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return fail(err)
		}
		all = append(all, line)
	}
}
