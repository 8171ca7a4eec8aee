package fence

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

var quiet = slog.New(slog.DiscardHandler)

// site is one side of a random walk: a line to the witness, a database that may be dead, and its guard.
type site struct {
	name      string
	line      *line
	db        *database // nil: never started
	stop      func()
	persisted bool
}

// walk plays one random sequence over the real witness and two real guards, and returns what went wrong: two databases that took
// writes at the same time. Delays are of any length, either way, also of requests whose sender gave up; guards are stopped for any
// length; witness, guards and databases crash and restart; commits get stuck; people take and release the lease.
func walk(path string, draw func(n int) int, steps int, watched bool) (wrong string, promoted int) {
	config := WitnessConfig{Node: "witness", State: path, Holder: tokyo, TTL: ttl, Margin: margin, Log: quiet}
	w, err := OpenWitness(config)
	if err != nil {
		return err.Error(), 0
	}
	sites := []*site{{name: tokyo, line: &line{witness: w}}, {name: osaka, line: &line{witness: w}, persisted: true}}
	var all sync.Mutex
	both := func() { // with the lock held
		n := 0
		for _, s := range sites {
			if s.db != nil && s.db.writable() {
				n++
			}
		}
		if n == 2 && wrong == "" {
			wrong = "two databases took writes at the same time"
		}
	}
	restart := func(s *site) {
		if s.db != nil {
			if _, dead, _ := s.db.state(); !dead {
				return
			}
			s.db.set(func() { s.db.slow = 0 })
			s.stop()
		}
		db := newDatabase(s.persisted)
		db.mu, db.changed = &all, both
		all.Lock()
		s.db = db
		all.Unlock()
		var dog watchdog = noWatchdog{}
		if watched {
			dog = &alarm{kill: s.db.Kill}
		}
		_, s.stop = start(s.name, s.line, s.db, dog)
	}
	for _, s := range sites {
		restart(s)
	}
	up := true
	for range steps {
		s := sites[draw(2)]
		switch draw(12) {
		case 0, 1:
			time.Sleep(time.Duration(draw(3000)) * time.Millisecond)
		case 2:
			time.Sleep(time.Duration(draw(10000)) * time.Millisecond)
		case 3:
			s.line.change(func() { s.line.cutTo, s.line.cutBack = draw(2) == 0, draw(2) == 0 })
		case 4:
			s.line.change(func() { s.line.cutTo, s.line.cutBack, s.line.there, s.line.back = false, false, 0, 0 })
		case 5:
			s.line.change(func() {
				s.line.there, s.line.back = time.Duration(draw(8000))*time.Millisecond, time.Duration(draw(8000))*time.Millisecond
			})
		case 6:
			_ = s.db.Kill() // or its guard: the one dies with the other
			restart(s)
		case 7:
			up = !up
			if up {
				if w, err = OpenWitness(config); err != nil {
					return err.Error(), promoted
				}
			} else {
				w = nil
			}
			for _, s := range sites {
				s.line.change(func() { s.line.witness = w })
			}
		case 8, 9: // people promote a site, as the verb does: only with the lease
			if w == nil {
				continue
			}
			l, err := w.Take(s.name, nil)
			if err != nil {
				continue
			}
			time.Sleep(time.Duration(draw(1500)) * time.Millisecond)
			if l = w.Lease(); l.Holder != s.name || l.Left == 0 || l.Node == "" {
				continue
			}
			s.persisted = false
			s.db.set(func() { s.db.super, s.db.persisted = false, false; both() })
			promoted++
		case 10:
			if w != nil {
				_, _ = w.Release(s.name)
			}
		case 11:
			long := time.Duration(draw(9000)) * time.Millisecond
			s.db.set(func() { s.db.slow, s.db.stuck = long, draw(4) == 0 })
			time.Sleep(long)
			s.db.set(func() { s.db.slow, s.db.stuck = 0, false })
		}
	}
	for _, s := range sites {
		s.db.set(func() { s.db.slow = 0 })
		s.stop()
	}
	time.Sleep(time.Minute) // what was still on its way arrives
	all.Lock()
	defer all.Unlock()
	return wrong, promoted
}

// Never two sites that take writes, whatever happens.
func TestNeverTwoWriters(t *testing.T) {
	n, promoted := 0, 0
	folder := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		n++
		choices := rapid.SliceOfN(rapid.IntRange(0, 1<<20), 40, 160).Draw(r, "choices")
		var wrong string
		synctest.Test(t, func(*testing.T) {
			p := 0
			wrong, p = walk(filepath.Join(folder, fmt.Sprint(n)), func(n int) int {
				if len(choices) == 0 {
					return 0
				}
				c := choices[0] % n
				choices = choices[1:]
				return c
			}, len(choices)/4, true)
			promoted += p
		})
		if wrong != "" {
			r.Fatal(wrong)
		}
	})
	if promoted < n/4 {
		t.Errorf("%d promotions in %d walks: they prove little", promoted, n)
	}
}

// Without the watchdog a guard that is stopped for longer than its lease is no fence: the walk finds it.
func TestTheWalkFindsTwoWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		for seed := range uint64(3000) {
			r := rand.New(rand.NewPCG(seed, 1))
			if wrong, _ := walk(filepath.Join(folder, fmt.Sprint(seed)), r.IntN, 40, false); wrong != "" {
				t.Logf("seed %d: %s", seed, wrong)
				return
			}
		}
		t.Error("3000 walks without a watchdog, and never two writers")
	})
}
