package procedure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// witnessed is a land that has a witness.
type witnessed struct {
	*land
	judge *judge
}

func (w witnessed) Leases() (Leases, error) { return w.judge, nil }

// judge is a witness in memory: a lease ends at an instant, and another site may take it from then on.
type judge struct {
	holder    topology.Site
	renewed   bool
	until     time.Time
	released  bool
	term      int64
	silent    bool
	deaf      bool // the guard of whoever is asked to give the lease up does not
	unguarded bool // the guard of whoever takes the lease does not renew it
	approvers []string
	takes     int
}

func (j *judge) lease() Lease {
	return Lease{Holder: j.holder, Renewed: j.renewed, Term: j.term, Left: max(0, time.Until(j.until).Seconds()), Released: j.released}
}

func (j *judge) Lease(context.Context) (Lease, error) {
	if j.silent {
		return Lease{}, fmt.Errorf("no answer: %w", ErrWitnessSilent)
	}
	return j.lease(), nil
}

func (j *judge) Take(ctx context.Context, site topology.Site, by, why string) (Lease, error) {
	if l, err := j.Lease(ctx); err != nil {
		return l, err
	}
	j.takes++
	if j.holder != site && (by != "" || time.Now().After(j.until)) {
		j.holder, j.renewed, j.until, j.released, j.term = site, !j.unguarded, time.Now().Add(5*time.Second), false, j.term+1
		if by != "" {
			j.approvers = append(j.approvers, by+": "+why)
		}
	}
	return j.lease(), nil
}

func (j *judge) Release(ctx context.Context, site topology.Site) (Lease, error) {
	if l, err := j.Lease(ctx); err != nil {
		return l, err
	}
	if j.holder == site {
		j.released = true
		if !j.deaf {
			j.until = time.Now().Add(500 * time.Millisecond) // its guard hears of it with its next renewal
		}
	}
	return j.lease(), nil
}

// held is a land whose fence is a witness, and tokyo holds the lease for another 4 s.
func held() witnessed {
	l := newLand()
	l.back, l.topology.Fence = true, topology.WitnessFence
	return witnessed{l, &judge{holder: tokyo, renewed: true, until: time.Now().Add(4 * time.Second), term: 1}}
}

// approved is a journal of a step that somebody approved.
type approved struct {
	stub
	by string
}

func (a *approved) ApprovedBy() string { return a.by }

func TestLeaseTakenOnceItHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := held()
		take := takeLease{w, osaka}
		if _, err := take.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := take.Confirm(t.Context(), &stub{}); err == nil || !strings.Contains(err.Error(), "tokyo holds the lease, for another 4.0 s") {
			t.Errorf("confirmed while tokyo holds it: %v", err)
		}
		began := time.Now()
		if _, err := take.Act(t.Context(), &stub{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 4*time.Second {
			t.Errorf("taken after %s, while tokyo's was valid", took)
		}
		if _, err := take.Confirm(t.Context(), &stub{}); err != nil {
			t.Error(err)
		}
		if _, err := take.Act(t.Context(), &stub{}); err != nil || w.judge.term != 2 { // an act may be done again
			t.Errorf("taken again: %v, term %d", err, w.judge.term)
		}
		if len(w.judge.approvers) > 0 {
			t.Errorf("overridden by %v", w.judge.approvers)
		}
	})
}

func TestLeasePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := held()
		w.judge.until = time.Now().Add(time.Hour) // tokyo is healthy and goes on renewing
		pass := passLease{w, tokyo, osaka}
		if _, err := pass.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		says(t, second(pass.Confirm(t.Context(), &stub{})), "tokyo holds the lease")
		began := time.Now()
		for range 2 { // an act may be done again
			if _, err := pass.Act(t.Context(), &stub{}); err != nil {
				t.Fatal(err)
			}
			if _, err := pass.Confirm(t.Context(), &stub{}); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took < 500*time.Millisecond || took > 5*time.Second {
			t.Errorf("passed on after %s", took)
		}
		if w.judge.term != 2 || len(w.judge.approvers) > 0 {
			t.Errorf("term %d, overridden by %v", w.judge.term, w.judge.approvers)
		}
	})
}

// TestLeasePassedOnAfterADeath: the operator died between the two halves of the act.
func TestLeasePassedOnAfterADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := held()
		if _, err := w.judge.Release(t.Context(), tokyo); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // its guard has said that it writes no more
		w.judge.holder, w.judge.released = "", false
		pass := passLease{w, tokyo, osaka}
		says(t, second(pass.Confirm(t.Context(), &stub{})), "nobody holds the lease")
		if _, err := pass.Act(t.Context(), &stub{}); err != nil {
			t.Fatal(err)
		}
		if _, err := pass.Confirm(t.Context(), &stub{}); err != nil {
			t.Error(err)
		}
	})
}

func TestLeaseNotPassedOn(t *testing.T) {
	for _, c := range []struct {
		what  string
		spoil func(*judge)
		want  string // of the check, or else of the act, or else of the confirm
	}{
		{"a guard that does not give it up", func(j *judge) { j.until, j.deaf = time.Now().Add(time.Hour), true }, "last saw: tokyo holds the lease"},
		{"a witness that is silent", func(j *judge) { j.silent = true }, "the witness is silent"},
		{"a guard that does not renew", func(j *judge) { j.unguarded = true }, "the guard of its database has not renewed it"},
		{"a third holder", func(j *judge) { j.holder = "nagoya" }, "nagoya holds the lease, neither tokyo nor osaka"},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := held()
				c.spoil(w.judge)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				pass := passLease{w, tokyo, osaka}
				_, err := pass.Check(ctx)
				if err == nil {
					_, err = pass.Act(ctx, &stub{})
				}
				if err == nil {
					_, err = pass.Confirm(ctx, &stub{})
				}
				says(t, err, c.want)
			})
		})
	}
}

// TestNoLeaseToPassOn: where there is no witness, the step holds from the start, and says why.
func TestNoLeaseToPassOn(t *testing.T) {
	pass := passLease{newLand(), tokyo, osaka}
	saw, err := pass.Confirm(t.Context(), &stub{})
	if err != nil || saw["fence"] != "none" {
		t.Errorf("%v, %v", saw, err)
	}
	if _, err := pass.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if would, err := pass.Would(t.Context()); err != nil || !strings.Contains(would, "no witness") {
		t.Errorf("%s, %v", would, err)
	}
}

func TestLeaseNotTaken(t *testing.T) {
	for _, c := range []struct {
		what  string
		spoil func(*judge)
		want  string // of the act, or else of the confirm
	}{
		{"a holder that goes on renewing", func(j *judge) { j.until = time.Now().Add(time.Hour) }, "last saw: tokyo holds the lease, for another"},
		{"a witness that is silent", func(j *judge) { j.silent = true }, "the witness is silent"},
		{"a guard that does not renew", func(j *judge) { j.unguarded = true }, "the guard of its database has not renewed it"},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := held()
				c.spoil(w.judge)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				take := takeLease{w, osaka}
				_, err := take.Act(ctx, &stub{})
				if err == nil {
					_, err = take.Confirm(ctx, &stub{})
				}
				says(t, err, c.want)
			})
		})
	}
	if _, err := (takeLease{newLand(), osaka}).Check(t.Context()); !errors.Is(err, topology.ErrUnsupported) {
		t.Errorf("a world without a witness: %v", err)
	}
}

func TestLeaseReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := held()
		release := releaseLease{w, tokyo}
		if _, err := release.Confirm(t.Context(), &stub{}); err == nil {
			t.Error("confirmed before it was asked for")
		}
		if _, err := release.Act(t.Context(), &stub{}); err != nil {
			t.Fatal(err)
		}
		_, err := release.Confirm(t.Context(), &stub{}) // asked, and its guard may still be stopping the writes
		says(t, err, "tokyo still holds the lease")
		w.judge.until = time.Now() // its guard says that it has fenced
		if _, err := release.Confirm(t.Context(), &stub{}); err != nil {
			t.Error(err)
		}
		says(t, w.judge.lease().of(tokyo), "tokyo is giving the lease up")
	})
}

func TestLeaseOverridden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := held()
		o := overrideLease{w, osaka, "tokyo has no power"}
		for _, notes := range []runbook.Notes{&stub{}, &approved{}} {
			if _, err := o.Act(t.Context(), notes); err == nil || !strings.Contains(err.Error(), "nobody has approved it") {
				t.Errorf("overridden without an approval: %v", err)
			}
		}
		if w.judge.takes != 0 {
			t.Error("the witness was asked without an approval")
		}
		began := time.Now()
		if _, err := o.Act(t.Context(), &approved{by: "the chief"}); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) != 0 || !slices.Equal(w.judge.approvers, []string{"the chief: tokyo has no power"}) {
			t.Errorf("after %s, approved by %v", time.Since(began), w.judge.approvers)
		}
		if _, err := o.Confirm(t.Context(), &approved{}); err != nil {
			t.Error(err)
		}
	})
}

// With a witness that does not answer the decision is left where the region's guard reads it, and taken back once a lease is taken.
func TestLeaseOverriddenWithoutWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := held()
		w.judge.silent = true
		o := overrideLease{w, osaka, "tokyo has no power"}
		if _, err := o.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := o.Confirm(t.Context(), &approved{})
		says(t, err, "nobody has decided that osaka writes without a lease")
		if _, err := o.Act(t.Context(), &approved{by: "the chief"}); err != nil {
			t.Fatal(err)
		}
		if got, want := w.values[overrideKey], "osaka approved by the chief: tokyo has no power (run "+(&stub{}).Run()+")"; got != want {
			t.Errorf("left %q, want %q", got, want)
		}
		if _, err := o.Confirm(t.Context(), &approved{}); err != nil {
			t.Error(err)
		}
		w.values[overrideKey] = "osaka approved by the chief: tokyo has no power (run last-year)"
		_, err = o.Confirm(t.Context(), &approved{})
		says(t, err, "was not decided in this run")
		w.judge.silent = false
		_, err = o.Confirm(t.Context(), &approved{}) // a witness that answers decides alone
		says(t, err, "tokyo holds the lease")
		if _, err := (takeLease{w, osaka}).Act(t.Context(), &stub{}); err != nil {
			t.Fatal(err)
		}
		if got := w.values[overrideKey]; got != "" {
			t.Errorf("the decision was not taken back: %q", got)
		}
	})
}

// What people decided while the witness was silent counts no more once it has spoken, and goes with the lease.
func TestNoOverrideOutlivesTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := held()
		w.others = map[string]string{overrideKey: "tokyo approved by the chief: osaka has no power (run last-year)"}
		_, err := takeLease{w, tokyo}.Confirm(t.Context(), &stub{})
		says(t, err, "an older decision is left for the guard of tokyo")
		_, err = overrideLease{w, tokyo, "x"}.Confirm(t.Context(), &approved{})
		says(t, err, "an older decision is left for the guard of tokyo")
		p := passLease{w, tokyo, osaka}
		if _, err := p.Act(t.Context(), &stub{}); err != nil {
			t.Fatal(err)
		}
		if got := w.others[overrideKey]; got != "" {
			t.Errorf("left %q", got)
		}
		if _, err := p.Confirm(t.Context(), &stub{}); err != nil {
			t.Error(err)
		}
	})
}

// A guard that does not know of its lease yet forbids the writes once more, between two statements of a promotion.
func TestPromotionIsTriedAgainWhileTheGuardForbidsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, x := range map[string]struct {
			refusals int
			with     error
			want     string
		}{
			"read-only twice": {2, ErrReadOnly, ""}, "another refusal": {1, errors.New("no such table"), "no such table"}, "read-only for ever": {1 << 30, ErrReadOnly, "the budget ended"},
		} {
			w := held()
			w.judge.holder = osaka
			w.db.source, w.db.receiving, w.db.applying = "", false, false
			w.db.refusals, w.db.refusal = x.refusals, x.with
			ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("the budget ended"))
			_, err := promote{w, osaka}.Act(ctx, &stub{})
			cancel()
			if says(t, err, x.want); (w.db.epoch == 2) != (x.want == "") {
				t.Errorf("%s: epoch %d", name, w.db.epoch)
			}
		}
	})
}

// Where the world has a witness nobody is promoted without the lease, and nothing is written before that is known.
func TestPromotionNeedsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := held()
		w.db.source, w.db.receiving, w.db.applying = "", false, false
		p := promote{w, osaka}
		_, err := p.Act(t.Context(), &stub{})
		says(t, err, "osaka may not write: tokyo holds the lease")
		w.judge.silent = true
		_, err = p.Act(t.Context(), &stub{})
		says(t, err, "osaka may not write: nobody has decided that osaka writes without a lease")
		if w.db.epoch != 1 || w.db.raised != 0 || !w.db.super || !w.db.readOnly {
			t.Errorf("something was written all the same: epoch %d, super %v, read only %v", w.db.epoch, w.db.super, w.db.readOnly)
		}
		w.judge.silent = false
		if _, err := (takeLease{w, osaka}).Act(t.Context(), &stub{}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Act(t.Context(), &stub{}); err != nil || w.db.epoch != 2 || w.db.readOnly {
			t.Errorf("with the lease: %v, epoch %d, read only %v", err, w.db.epoch, w.db.readOnly)
		}
	})
}

func TestOverrideNeedsApprovalAtLoad(t *testing.T) {
	const file = `name: small
title: {ja: 小, en: Small}
inputs: {survivor: the one that goes on}
steps:
  - number: 1
    title: {ja: 取得, en: Override}
    resource: witness
    verb: lease.override
    inputs: {region: $survivor, why: known}
    approval: 5m
    budget: 10s
`
	l := newLand()
	load := func(text string) error {
		_, err := Load(fstest.MapFS{"small.yaml": {Data: []byte(text)}}, "small.yaml", map[string]any{"survivor": "osaka"}, Standard(l.topology, l))
		return err
	}
	if err := load(file); err != nil {
		t.Error(err)
	}
	err := load(strings.Replace(file, "    approval: 5m\n", "", 1))
	says(t, err, "step 1 uses lease.override, which another person must approve: expected an approval")
}

// A server that is down proves nothing: only the planted read takes it for fenced.
func TestDownIsNotFenced(t *testing.T) {
	l := newLand()
	l.db.noResult = errors.New("connection refused")
	_, err := mysqlFenced{estate: l, region: osaka}.Read(t.Context())
	says(t, err, "mysql of osaka is not proved fenced: connection refused")
	if _, err := (mysqlFenced{l, osaka, true}).Read(t.Context()); err != nil {
		t.Errorf("the planted read: %v", err)
	}
	l.db.noResult, l.db.readOnly, l.db.super = nil, false, false
	_, err = mysqlFenced{estate: l, region: osaka}.Read(t.Context())
	says(t, err, "mysql of osaka is not fenced")
	l.db.readOnly, l.db.super, l.db.savedReadOnly = true, true, true
	if _, err := (mysqlFenced{estate: l, region: osaka}).Read(t.Context()); err != nil {
		t.Error(err)
	}
}

// second is the error of a read.
func second(_ runbook.Seen, err error) error { return err }
