package fence

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/payment"
)

// database is a MySQL in memory: what a guard can do to it, how it can fail to do it, and how writable it is.
type database struct {
	mu        *sync.Mutex // one for all databases of a test
	dead      bool
	super     bool // super_read_only
	offline   bool
	persisted bool // super_read_only after a restart
	stuck     bool // a commit waits: super_read_only hangs
	slow      time.Duration
	asked     bool          // SIGTERM
	exited    chan struct{} // closed when it is dead
	changed   func()        // called after each change, with mu held
}

func newDatabase(persisted bool) *database {
	return &database{mu: &sync.Mutex{}, super: persisted, offline: true, persisted: persisted, exited: make(chan struct{})}
}

// open says whether customers can write.
func (d *database) writable() bool { return !d.dead && !d.super && !d.offline }

func (d *database) do(ctx context.Context, f func() error) error {
	d.mu.Lock()
	slow := d.slow
	d.mu.Unlock()
	time.Sleep(slow) // whatever the context says: the guard's goroutine is held, as if its process were stopped
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errors.New("no server")
	}
	err := f()
	if d.changed != nil {
		d.changed()
	}
	return err
}

func (d *database) Learn(ctx context.Context) error { return d.do(ctx, func() error { return nil }) }

func (d *database) Writable(ctx context.Context) (w bool, err error) {
	err = d.do(ctx, func() error { w = !d.super; return nil })
	return w, err
}

func (d *database) Offline(ctx context.Context, on bool) error {
	return d.do(ctx, func() error { d.offline = on; return nil })
}

func (d *database) Protect(ctx context.Context) error {
	d.mu.Lock()
	stuck := d.stuck
	d.mu.Unlock()
	if stuck {
		<-ctx.Done()
		return ctx.Err()
	}
	return d.do(ctx, func() error { d.super = true; return nil })
}

func (d *database) Restore(ctx context.Context) error {
	return d.do(ctx, func() error { d.super = d.persisted; return nil })
}

func (d *database) Kill() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.dead {
		d.dead = true
		close(d.exited)
	}
	return nil
}

func (d *database) Signal(os.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = true
	return nil
}

func (d *database) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *database) state() (writable, dead, offline bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writable(), d.dead, d.offline
}

// alarm is a watchdog of the same clock, which no pause of the guard touches.
type alarm struct {
	kill  func() error
	mu    sync.Mutex
	timer *time.Timer
}

func (a *alarm) Arm(until time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = time.AfterFunc(time.Until(until), func() { _ = a.kill() })
	return nil
}

func (a *alarm) Off() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	return nil
}

// line is the network between a guard and the witness.
type line struct {
	mu          sync.Mutex
	witness     *Witness // nil: it is down
	cutTo       bool     // requests do not arrive
	cutBack     bool     // answers do not
	there, back time.Duration
}

func (l *line) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// send delivers a request, however late, and returns the answer if it comes before ctx ends.
func (l *line) send(ctx context.Context, f func(*Witness) (Lease, error)) (Lease, error) {
	type answer struct {
		l   Lease
		err error
	}
	came := make(chan answer, 1)
	l.mu.Lock()
	lost, there, back := l.cutTo, l.there, l.back
	l.mu.Unlock()
	if !lost {
		go func() {
			time.Sleep(there)
			l.mu.Lock()
			w, lost := l.witness, l.cutBack
			l.mu.Unlock()
			if w == nil {
				return
			}
			lease, err := f(w)
			time.Sleep(back)
			if !lost {
				came <- answer{lease, err}
			}
		}()
	}
	select {
	case a := <-came:
		return a.l, a.err
	case <-ctx.Done():
		return Lease{}, ctx.Err()
	}
}

func (l *line) Renew(ctx context.Context, site, node string, term int64) (Lease, error) {
	return l.send(ctx, func(w *Witness) (Lease, error) { return w.Renew(site, node, term) })
}

func (l *line) Fenced(ctx context.Context, site, node string, term int64) (Lease, error) {
	return l.send(ctx, func(w *Witness) (Lease, error) { return w.Fenced(site, node, term) })
}

// start runs a guard until its server is dead. stop kills the server and waits.
func start(site string, w renewer, db *database, dog watchdog) (g *guard, stop func()) {
	g = newGuard(GuardConfig{Site: site, Node: site, Log: quiet}, w, db, dog, db)
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.run(context.Background(), db.exited)
	}()
	return g, func() { _ = db.Kill(); <-done; _ = dog.Off() }
}

// Each way in which a guard's server comes to be writable, or not any more.
func TestGuard(t *testing.T) {
	type world struct {
		t    *testing.T
		w    *Witness
		line *line
		db   *database
	}
	writable := func(w *world, want bool) {
		w.t.Helper()
		if got, dead, offline := w.db.state(); got != want {
			w.t.Fatalf("writable %v, want %v (dead %v, offline %v)", got, want, dead, offline)
		}
	}
	dead := func(w *world, want bool) {
		w.t.Helper()
		if _, got, _ := w.db.state(); got != want {
			w.t.Fatalf("dead %v, want %v", got, want)
		}
	}
	for name, c := range map[string]struct {
		site  string
		begin func(*world)
		then  func(*world)
	}{
		"the holder becomes writable": {tokyo, nil, func(w *world) {
			writable(w, true)
			time.Sleep(time.Minute)
			writable(w, true)
		}},
		"another is readable": {osaka, nil, func(w *world) {
			writable(w, false)
			if _, _, offline := w.db.state(); offline {
				w.t.Error("customers cannot read")
			}
		}},
		"the holder stays as protected as is persisted": {tokyo, func(w *world) { w.db.persisted, w.db.super = true, true }, func(w *world) {
			writable(w, false)
			w.db.set(func() { w.db.super, w.db.persisted = false, false }) // promoted
			time.Sleep(time.Minute)
			writable(w, true)
		}},
		"cut off, it stops within the TTL": {tokyo, nil, func(w *world) {
			w.line.change(func() { w.line.cutTo = true })
			time.Sleep(3 * time.Second)
			writable(w, true)
			time.Sleep(2 * time.Second)
			writable(w, false)
			dead(w, false)
		}},
		"with answers cut off, it stops within the TTL": {tokyo, nil, func(w *world) {
			w.line.change(func() { w.line.cutBack = true })
			time.Sleep(ttl)
			writable(w, false)
		}},
		"cut off behind a stuck commit, it is killed within the TTL": {tokyo, nil, func(w *world) {
			w.db.set(func() { w.db.stuck = true })
			w.line.change(func() { w.line.cutTo = true })
			time.Sleep(ttl)
			dead(w, true)
		}},
		"healed, it writes again": {tokyo, nil, func(w *world) {
			w.line.change(func() { w.line.cutTo = true })
			time.Sleep(time.Minute)
			writable(w, false)
			w.line.change(func() { w.line.cutTo = false })
			time.Sleep(2 * time.Second)
			writable(w, true)
		}},
		"healed after somebody else took it, it stays fenced": {tokyo, nil, func(w *world) {
			w.line.change(func() { w.line.cutTo = true })
			time.Sleep(ttl + margin)
			if _, err := w.w.Take(osaka, nil); err != nil {
				w.t.Fatal(err)
			}
			w.line.change(func() { w.line.cutTo = false })
			time.Sleep(time.Minute)
			writable(w, false)
			dead(w, false)
		}},
		"a witness that is down for less than the TTL is not felt": {tokyo, nil, func(w *world) {
			w.line.change(func() { w.line.witness = nil })
			time.Sleep(2 * time.Second)
			w.line.change(func() { w.line.witness = w.w })
			time.Sleep(3 * time.Second)
			writable(w, true)
		}},
		"released, it stops at once and says so": {tokyo, nil, func(w *world) {
			if _, err := w.w.Release(tokyo); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(time.Second)
			writable(w, false)
			if _, err := w.w.Take(osaka, nil); err != nil {
				w.t.Errorf("the lease is not free: %v", err)
			}
		}},
		"made writable without the lease, it is fenced": {osaka, nil, func(w *world) {
			w.db.set(func() { w.db.super = false })
			time.Sleep(time.Second)
			writable(w, false)
		}},
		"stopped for longer than the lease, it is killed by the watchdog": {tokyo, nil, func(w *world) {
			w.line.change(func() { w.line.cutTo = true })
			time.Sleep(3 * time.Second)
			w.db.set(func() { w.db.slow = time.Hour })
			time.Sleep(2*time.Second + ttl/20 + time.Millisecond)
			dead(w, true)
		}},
		"it takes the lease over": {osaka, func(w *world) { w.db.persisted, w.db.super = true, true }, func(w *world) {
			time.Sleep(ttl + margin)
			if _, err := w.w.Take(osaka, nil); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(time.Second)
			w.db.set(func() { w.db.super, w.db.persisted = false, false }) // promoted
			time.Sleep(time.Minute)
			writable(w, true)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, w: open(t, filepath.Join(t.TempDir(), "witness")), db: newDatabase(false)}
				w.line = &line{witness: w.w}
				if c.begin != nil {
					c.begin(w)
				}
				_, stop := start(c.site, w.line, w.db, &alarm{kill: w.db.Kill})
				defer time.Sleep(2 * time.Hour) // a stopped one wakes up
				defer func() { w.db.set(func() { w.db.slow = 0 }); stop() }()
				time.Sleep(time.Second)
				c.then(w)
			})
		})
	}
}

// A server that has no users yet is left alone, and kept from customers.
func TestGuardLeavesABootstrapAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready := filepath.Join(t.TempDir(), "ready")
		w, db := open(t, filepath.Join(t.TempDir(), "witness")), newDatabase(false)
		g := newGuard(GuardConfig{Site: osaka, Node: osaka, ReadyFile: ready, Log: quiet}, &line{witness: w}, db, noWatchdog{}, db)
		done := make(chan struct{})
		go func() { defer close(done); g.run(t.Context(), db.exited) }()
		time.Sleep(time.Minute)
		db.set(func() {
			if db.super || !db.offline {
				t.Errorf("super_read_only %v, offline %v", db.super, db.offline)
			}
		})
		if err := os.WriteFile(ready, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		db.set(func() {
			if !db.super || db.offline {
				t.Errorf("with its users: super_read_only %v, offline %v", db.super, db.offline)
			}
		})
		_ = db.Kill()
		<-done
	})
}

// What people decided lets a site write while the witness is silent, and no longer.
func TestOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, db := open(t, filepath.Join(t.TempDir(), "witness")), newDatabase(false)
		l := &line{} // the witness is down
		store := &values{}
		_, stop := start(osaka, &decided{renewer: l, site: osaka, params: store}, db, &alarm{kill: db.Kill})
		time.Sleep(time.Minute)
		if ok, _, _ := db.state(); ok {
			t.Fatal("writable, and nobody has decided so")
		}
		store.put("tokyo approved by x: y")
		time.Sleep(time.Minute)
		if ok, _, _ := db.state(); ok {
			t.Fatal("writable by another site's decision")
		}
		store.put("osaka approved by x: y")
		time.Sleep(10 * time.Second)
		if ok, _, _ := db.state(); !ok {
			t.Fatal("not writable, although people have decided so")
		}
		l.change(func() { l.witness = w })
		time.Sleep(2 * time.Second)
		if ok, _, _ := db.state(); ok {
			t.Fatal("writable, although the witness says that tokyo is")
		}
		stop()
	})
}

type values struct {
	mu   sync.Mutex
	text string
}

func (v *values) put(text string) { v.mu.Lock(); v.text = text; v.mu.Unlock() }

func (v *values) Get(context.Context) (payment.Values, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return payment.Values{Values: map[string]string{OverrideKey: v.text}}, nil
}
