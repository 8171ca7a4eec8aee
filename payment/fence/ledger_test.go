package fence

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const ttl, margin = 5 * time.Second, time.Second

// sites of the tests.
const tokyo, osaka = "tokyo", "osaka"

func open(t *testing.T, path string) *Witness {
	t.Helper()
	w, err := OpenWitness(WitnessConfig{Node: "witness", State: path, Holder: tokyo, TTL: ttl, Margin: margin})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Every transition of the witness, with what it must refuse. A step is made, then time passes.
func TestWitness(t *testing.T) {
	renew := func(site, node string, term int64) func(*Witness) error {
		return func(w *Witness) error { _, err := w.Renew(site, node, term); return err }
	}
	take := func(site string, o *Override) func(*Witness) error {
		return func(w *Witness) error { _, err := w.Take(site, o); return err }
	}
	release := func(site string) func(*Witness) error {
		return func(w *Witness) error { _, err := w.Release(site); return err }
	}
	fenced := func(site string, term int64) func(*Witness) error {
		return func(w *Witness) error { _, err := w.Fenced(site, site, term); return err }
	}
	type step struct {
		do     func(*Witness) error
		refuse string // part of the refusal; "": it is granted
		wait   time.Duration
	}
	approved := &Override{Who: "x", Why: "y"}
	for name, c := range map[string]struct {
		steps  []step
		holder string
		term   int64
	}{
		"the first holder renews":                  {[]step{{renew(tokyo, tokyo, 0), "", 0}}, tokyo, 1},
		"nobody else renews":                       {[]step{{renew(osaka, osaka, 0), "osaka does not hold the lease", 0}}, tokyo, 1},
		"a valid lease is not taken":               {[]step{{renew(tokyo, tokyo, 1), "", ttl + margin - time.Millisecond}, {take(osaka, nil), "tokyo holds the lease", 0}}, tokyo, 1},
		"an expired lease is taken":                {[]step{{renew(tokyo, tokyo, 1), "", ttl + margin}, {take(osaka, nil), "", 0}}, osaka, 2},
		"an expired lease is renewed by its owner": {[]step{{renew(tokyo, tokyo, 1), "", time.Hour}, {renew(tokyo, tokyo, 1), "", 0}, {take(osaka, nil), "tokyo holds", 0}}, tokyo, 1},
		"taking twice is taking once":              {[]step{{nil, "", ttl + margin}, {take(osaka, nil), "", 0}, {take(osaka, nil), "", 0}}, osaka, 2},
		"what was taken is not renewed by the old": {[]step{{nil, "", ttl + margin}, {take(osaka, nil), "", 0}, {renew(tokyo, tokyo, 1), "tokyo does not hold", 0}}, osaka, 2},
		"an older term of the same site":           {[]step{{nil, "", ttl + margin}, {take(osaka, nil), "", ttl + margin}, {take(tokyo, nil), "", 0}, {renew(tokyo, tokyo, 1), "term 3, not in 1", 0}, {renew(tokyo, tokyo, 0), "", 0}}, tokyo, 3},
		"another node of the site":                 {[]step{{renew(tokyo, "a", 0), "", 0}, {renew(tokyo, "b", 0), "a renews", ttl + margin}, {renew(tokyo, "b", 0), "", 0}}, tokyo, 1},
		"an override takes a valid lease":          {[]step{{take(osaka, approved), "", 0}}, osaka, 2},
		"a released lease is not renewed":          {[]step{{release(tokyo), "", 0}, {renew(tokyo, tokyo, 1), "was released", 0}, {take(osaka, nil), "is giving it up", 0}}, tokyo, 1},
		"a released lease ends by time":            {[]step{{release(tokyo), "", ttl + margin}, {take(osaka, nil), "", 0}}, osaka, 2},
		"a released lease ends by its guard":       {[]step{{release(tokyo), "", 0}, {fenced(tokyo, 1), "", 0}, {take(osaka, nil), "", 0}}, osaka, 2},
		"who writes no more is not believed early": {[]step{{fenced(tokyo, 1), "nothing was released", 0}}, tokyo, 1},
		"nor of another term":                      {[]step{{release(tokyo), "", 0}, {fenced(tokyo, 2), "nothing was released", 0}}, tokyo, 1},
		"releasing is the holder's":                {[]step{{release(osaka), "osaka does not hold", 0}}, tokyo, 1},
		"released and taken back":                  {[]step{{release(tokyo), "", 0}, {take(tokyo, nil), "", 0}, {renew(tokyo, tokyo, 1), "term 2, not in 1", 0}, {take(osaka, nil), "tokyo holds", 0}}, tokyo, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := open(t, filepath.Join(t.TempDir(), "witness"))
				for i, s := range c.steps {
					var err error
					if s.do != nil {
						err = s.do(w)
					}
					if (err == nil) != (s.refuse == "") || err != nil && (!errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), s.refuse)) {
						t.Fatalf("step %d: error %v, want %q", i, err, s.refuse)
					}
					time.Sleep(s.wait)
				}
				if l := w.Lease(); l.Holder != c.holder || l.Term != c.term {
					t.Errorf("%v, want %s in term %d", l, c.holder, c.term)
				}
			})
		})
	}
}

// A witness that was away for any time, or for none, grants nobody else what the last holder may still have.
func TestWitnessRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "witness")
		w := open(t, path)
		if _, err := w.Renew(tokyo, tokyo, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w, err := OpenWitness(WitnessConfig{State: path, TTL: time.Second, Margin: time.Millisecond}) // the shorter times are of later grants
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl + margin - time.Millisecond)
		if l, err := w.Take(osaka, nil); !errors.Is(err, ErrHeld) || l.Left != 1 {
			t.Fatalf("%v, %v", l, err)
		}
		time.Sleep(time.Millisecond)
		if _, err := w.Take(osaka, nil); err != nil {
			t.Fatal(err)
		}
		w = open(t, path)
		if l := w.Lease(); l.Holder != osaka || l.Term != 2 || l.Left == 0 {
			t.Errorf("after a restart: %v", l)
		}
		for _, f := range []func() error{
			func() error { _, err := w.Release(osaka); return err },
			func() error { _, err := w.Fenced(osaka, osaka, 2); return err },
		} {
			if err := f(); err != nil {
				t.Fatal(err)
			}
			w = open(t, path) // each was on disk before it was answered
		}
		if l := w.Lease(); l.Holder != "" || l.Term != 2 {
			t.Errorf("after it was given up: %v", l)
		}
		if _, err := w.Take(tokyo, nil); err != nil {
			t.Errorf("nobody's lease is not to be had: %v", err)
		}
	})
}

func TestWitnessNeedsItsState(t *testing.T) {
	folder := t.TempDir()
	broken := filepath.Join(folder, "broken")
	if err := os.WriteFile(broken, []byte(`{"holder": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config WitnessConfig
		want   string
	}{
		"no holder":    {WitnessConfig{State: filepath.Join(folder, "new")}, "nobody is named"},
		"no folder":    {WitnessConfig{State: filepath.Join(folder, "no", "new"), Holder: tokyo}, "no such file"},
		"broken state": {WitnessConfig{State: broken, Holder: tokyo}, "read the witness's state"},
		"no time":      {WitnessConfig{State: filepath.Join(folder, "new"), Holder: tokyo, TTL: time.Millisecond}, "TTL of 1ms"},
	} {
		if _, err := OpenWitness(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
