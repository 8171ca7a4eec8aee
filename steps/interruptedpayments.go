package steps

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/check"
	"github.com/kirikae/kirikae/drill/history"
	"github.com/kirikae/kirikae/drill/salvage"
	"github.com/kirikae/kirikae/payment"
	"github.com/kirikae/kirikae/topology"
)

// paymentSentences are the sentences about payments that were interrupted, and how they end (article 001).
func paymentSentences(d *Drill) []sentence {
	return []sentence{
		{"Given", `the reconciler has the defect "touch-young"`, re(`the reconciler has the defect "([^"]+)"`), d.plantReconcilerDefect, promiseReconcilerDefect},
		{"Given", `interrupted payments are reconciled once they are 5 s old`, re(`interrupted payments are reconciled once they are (DURATION) old`), d.reconcileOnce, promiseReconcile},
		{"Given", `interrupted payments are reconciled once they are 5 s old, without what tokyo kept`, re(`interrupted payments are reconciled once they are (DURATION) old, without what (\w+) kept`), d.reconcileUnsalvaged, promiseReconcile},
		{"Given", `nobody reconciles interrupted payments`, re(`nobody reconciles interrupted payments`), d.reconcileNever, promiseBeforeUp},
		{"Given", `the acquirer takes 700 ms before it charges every 2nd payment, and 400 ms to answer each`, re(`the acquirer takes (DURATION) before it charges every (\d+)(?:st|nd|rd|th) payment, and (DURATION) to answer each`), d.slowAcquirer, promiseLoad},
		{"When", `the acquirer answers at once again`, re(`the acquirer answers at once again`), d.quickAcquirer, promiseLoad},
		{"Given", `the reconciler is at work in tokyo`, re(`the reconciler is at work in (\w+)`), d.startReconciler, promiseReconciler},

		{"Then", `every payment in flight at the cut ended as the acquirer says`, re(`every payment in flight at the cut ended as the acquirer says`), d.inFlightEnded, nil},
		{"Then", `after reconciliation both stores agree and nothing that the acquirer or the salvage knows is lost`, re(`after reconciliation both stores agree and nothing that the acquirer or the salvage knows is lost`), d.reconciled, nil},
		{"Then", `the same key got the same answer`, re(`the same key got the same answer`), d.sameAnswer, nil},
	}
}

// Times of 突合 in a drill.
const (
	reconcileEvery = 2 * time.Second        // from the end of one run of the periodic reconciler to the next
	reconcileLook  = 300 * time.Millisecond // at what it tells of its runs: they die with its region
	inFlightLimit  = 20 * time.Second       // for enough payments to wait at a slow acquirer
	reconcileLimit = 90 * time.Second       // of everything after the load
)

// How many payments must wait at a slow acquirer, not charged yet and charged: more than the judge wants to have been in flight,
// as some of them end before a cut. And how many must be answered in a second, in per cent of those that the judge wants.
const (
	enoughUncharged = 20
	enoughCharged   = 10
	enoughAnswered  = 150
)

// interruptedPayments is what a drill does about payments that were interrupted.
type interruptedPayments struct {
	look    bool          // evidence of how they ended is gathered
	run     bool          // somebody reconciles them
	salvage bool          // what the lost region kept is replayed first
	grace   time.Duration // younger payments are left alone
	told    *reconcilerLog
}

// Given

func (d *Drill) plantReconcilerDefect(defect string) error {
	kind := string(topology.Reconciler)
	d.defects[kind] = append(d.defects[kind], "--defect", defect)
	d.meta.Planted = append(d.meta.Planted, "reconciler: "+defect)
	return d.saveMeta()
}

// promiseReconcilerDefect holds a planted defect against those that the reconciler has, before a world is made for it.
func promiseReconcilerDefect(p *promised, args []string) error {
	var known []string
	for _, d := range payment.ReconcilerDefects() {
		known = append(known, string(d))
	}
	if !slices.Contains(known, args[0]) {
		return topology.Unknown("defect of the reconciler", args[0], known)
	}
	return promiseBeforeUp(p, nil)
}

func promiseBeforeUp(p *promised, _ []string) error {
	if p.topology != nil {
		return errors.New("this is said before the platform is up")
	}
	return nil
}

func promiseReconcile(p *promised, args []string) error {
	if d, err := duration(args[0]); err != nil || d <= 0 {
		return errors.Join(err, fmt.Errorf("%s is no age", args[0]))
	}
	p.reconcile = true
	return promiseBeforeUp(p, nil)
}

func promiseReconciler(p *promised, args []string) error {
	if !p.reconcile {
		return errors.New(`the sentence 'interrupted payments are reconciled once they are … old' comes first`)
	}
	return promiseRegions(p, args)
}

func (d *Drill) reconcileOnce(age string) error {
	grace, err := duration(age)
	d.interrupted = interruptedPayments{look: true, run: true, salvage: true, grace: grace}
	kind := string(topology.Reconciler)
	d.defects[kind] = append(d.defects[kind], "--grace", grace.String(), "--every", reconcileEvery.String())
	return err
}

func (d *Drill) reconcileUnsalvaged(age, _ string) error {
	err := d.reconcileOnce(age)
	d.interrupted.salvage = false
	return err
}

func (d *Drill) reconcileNever() error {
	d.interrupted = interruptedPayments{look: true}
	d.meta.Planted = append(d.meta.Planted, "no reconciler")
	return d.saveMeta()
}

// answered counts what was answered within the last second, from readings of a counter that grows.
type answered []reading

type reading struct {
	at time.Time
	n  int
}

// add takes a reading, and says how many were answered in the second before it; 0 as long as no whole second was watched.
func (a *answered) add(at time.Time, n int) int {
	*a = append(*a, reading{at, n})
	i := len(*a) - 1
	for i >= 0 && at.Sub((*a)[i].at) < time.Second {
		i--
	}
	if i < 0 {
		return 0
	}
	*a = (*a)[i:]
	return n - (*a)[0].n
}

// slowAcquirer makes payments stay in flight, and returns when a cut finds what the judges need: as many as they ask for wait at the
// acquirer, charged ones and ones that are not charged yet; and answers come again as often as losses must be counted by, for at first
// every slow payment leaves a gap.
func (d *Drill) slowAcquirer(ctx context.Context, before, every, after string) error {
	b, err1 := duration(before)
	a, err2 := duration(after)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := d.setLatency(ctx, b, a, int(number(every))); err != nil {
		return err
	}
	base, err := d.estate.url(topology.Outside, topology.Acquirer)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, inFlightLimit)
	defer cancel()
	enough := d.meta.Objectives.Loss.MinAcked * enoughAnswered / 100
	var seen answered
	for {
		last := seen.add(time.Now(), d.load.Stat(history.StreamPayment).OK)
		var s struct {
			InFlight struct{ Uncharged, Charged int } `json:"in_flight"`
		}
		err := d.estate.call(ctx, http.MethodGet, base+"/status", nil, nil, &s)
		if n := s.InFlight; err == nil && n.Uncharged >= enoughUncharged && n.Charged >= enoughCharged && last >= enough {
			d.say("acquirer", "%s before every %s. charge, %s to answer each: %d payments wait uncharged, %d charged; %d answered within a second",
				b, every, a, n.Uncharged, n.Charged, last)
			return nil
		}
		if pass(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("wait for payments in flight: %d uncharged and %d charged of %d and %d, %d answered within a second of %d: %w",
				s.InFlight.Uncharged, s.InFlight.Charged, enoughUncharged, enoughCharged, last, enough, cmp.Or(err, context.Cause(ctx)))
		}
	}
}

func (d *Drill) quickAcquirer(ctx context.Context) error { return d.setLatency(ctx, 0, 0, 1) }

func (d *Drill) setLatency(ctx context.Context, before, after time.Duration, every int) error {
	base, err := d.estate.url(topology.Outside, topology.Acquirer)
	if err != nil {
		return err
	}
	asked := map[string]any{"before": before.String(), "after": after.String(), "every": every}
	var answer map[string]any
	if err := d.estate.call(ctx, http.MethodPut, base+"/latency", nil, asked, &answer); err != nil {
		return fmt.Errorf("change the acquirer's latency: %w", err)
	}
	return nil
}

// startReconciler starts the periodic reconciler of a region, and follows what it tells of its runs.
func (d *Drill) startReconciler(ctx context.Context, site string) error {
	n, err := d.estate.only(topology.Site(site), topology.Reconciler)
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	if d.interrupted.told == nil {
		d.interrupted.told = &reconcilerLog{runs: map[history.Instant]history.ReconcileRun{}}
	}
	url, err := d.estate.url(topology.Site(site), topology.Reconciler)
	if err != nil {
		return err
	}
	e := d.estate // the drill lets go of it while it is asked
	d.interrupted.told.follow(d.ctx, func(ctx context.Context) ([]history.ReconcileRun, error) {
		var s struct {
			Reports []history.ReconcileRun `json:"reports"`
		}
		err := e.call(ctx, http.MethodGet, url+"/status", nil, nil, &s)
		return s.Reports, err
	})
	d.say("reconcile", "%s is at work", n.Name())
	return nil
}

// Then

func (d *Drill) inFlightEnded() error { return d.passed(check.NameInFlight) }

func (d *Drill) reconciled() error { return d.passed(check.NameReconciled) }

func (d *Drill) sameAnswer() error { return d.passed(check.NameSameAnswer) }

// reconcile is the last act of a drill that looks at interrupted payments, after its load: the stores as the switch left them,
// the lost region's own rows, their replay, and 突合 twice, the second time for nothing. The final reads come after it.
func (d *Drill) reconcile(ctx context.Context) error {
	if !d.interrupted.look {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reconcileLimit)
	defer cancel()
	d.phase(history.PhaseReconcile)
	rec := &history.Reconciliation{Grace: history.Duration(d.interrupted.grace)}
	d.evidence.Reconciliation = rec
	for _, kind := range []topology.Kind{topology.OnPremises, topology.Reconciler} { // nobody pays, and nobody repairs
		for _, n := range d.world.Nodes("", kind) {
			if err := n.Stop(ctx); err != nil {
				return err
			}
		}
	}
	early := d.interrupted.told.stop()
	rec.Runs = early
	site := d.authority()
	raw, err := d.settled(ctx, site)
	if err != nil {
		return fmt.Errorf("read what the switch left in %s: %w", site, err)
	}
	if !slices.ContainsFunc(early, func(r history.ReconcileRun) bool { return strings.HasPrefix(r.Node, string(site)+"-") }) {
		rec.Raw = raw // else what the switch left was repaired while customers were paying, and nobody can tell any more
	}
	if err := d.lostRegion(ctx); err != nil {
		return err
	}
	file, err := d.salvaged(ctx, raw, rec)
	if err != nil {
		return err
	}
	if d.interrupted.run {
		if err := d.reconcileAll(ctx, site, file, rec); err != nil {
			return err
		}
	}
	if rec.Closings, err = readLog[history.Closing](ctx, d.estate, "/closings"); err != nil {
		return err
	}
	db, err := d.estate.mysql(site)
	if err != nil {
		return err
	}
	now, err := db.Holdings(ctx)
	if err != nil {
		return err
	}
	rec.Refunds = []history.RefundRow{}
	for _, r := range now.Refunds {
		rec.Refunds = append(rec.Refunds, history.RefundRow{Key: r.Key, Request: r.Request, Yen: r.Yen})
	}
	return nil
}

// reconcileAll replays what was salvaged, and has the reconciler run until it has nothing to do.
func (d *Drill) reconcileAll(ctx context.Context, site topology.Site, file string, rec *history.Reconciliation) error {
	run := func(what string, args ...string) (history.ReconcileRun, error) {
		r, err := d.runReconciler(ctx, site, args...)
		if err != nil {
			return r, fmt.Errorf("%s: %w", what, err)
		}
		rec.Runs = append(rec.Runs, r)
		d.say("reconcile", "%s: %d payments did not agree, %d repairs, %d young, %d left to people, %d failed%s",
			what, len(r.Keys), len(r.Actions), r.Young, len(r.Unresolved), len(r.Failed), prefixed(" · ", r.Error))
		return r, nil
	}
	var err error
	if file != "" {
		if _, err := run("replay of what "+string(d.lost)+" kept", "--salvage", file, "--only-salvage"); err != nil {
			return err
		}
		if rec.After, err = d.stores(ctx, site); err != nil {
			return err
		}
	}
	// Everything is older than the grace from here on: rows that the replay made, too.
	if err := pass(ctx, d.interrupted.grace+500*time.Millisecond); err != nil {
		return err
	}
	if _, err := run("突合"); err != nil {
		return err
	}
	if rec.First, err = d.stores(ctx, site); err != nil {
		return err
	}
	again, err := run("突合 again")
	rec.Again = &again
	return err
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// stores reads both stores of a site.
func (d *Drill) stores(ctx context.Context, site topology.Site) (*history.Stores, error) {
	db, err := d.estate.mysql(site)
	if err != nil {
		return nil, err
	}
	ring, err := d.estate.cassandra(ctx, site)
	if err != nil {
		return nil, err
	}
	ledger, err := db.Rows(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the payments of %s: %w", site, err)
	}
	journal, err := ring.JournalRows(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the journal of %s: %w", site, err)
	}
	return &history.Stores{Ledger: &ledger, Journal: &journal}, nil
}

// settled reads both stores of a site until two reads that are a while apart agree: requests that outlived the load have ended.
func (d *Drill) settled(ctx context.Context, site topology.Site) (*history.Stores, error) {
	ctx, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	var before *history.Stores
	for {
		now, err := d.stores(ctx, site)
		if err != nil {
			return nil, err
		}
		if before != nil && sameRows(*before.Ledger, *now.Ledger) && sameEvents(*before.Journal, *now.Journal) {
			return now, nil
		}
		before = now
		if err := pass(ctx, apart); err != nil {
			return nil, fmt.Errorf("wait until two reads agree: %w", err)
		}
	}
}

// salvaged finds the lost region's rows that the new authority lacks, and writes them into the run folder, one a line. The name
// of the file is empty where nothing is to be replayed.
func (d *Drill) salvaged(ctx context.Context, kept *history.Stores, rec *history.Reconciliation) (string, error) {
	if !d.interrupted.salvage || d.lost == "" {
		return "", nil
	}
	db, err := d.estate.mysql(d.lost)
	if err != nil {
		return "", err
	}
	had, err := db.Holdings(ctx)
	if err != nil {
		return "", fmt.Errorf("salvage %s: %w", d.lost, err)
	}
	here := map[string]bool{}
	for _, p := range kept.Ledger.Payments {
		here[p.Key] = true
	}
	rows := slices.DeleteFunc(had.Payments, func(p salvage.Payment) bool { return here[p.Key] })
	var text strings.Builder
	encode := json.NewEncoder(&text)
	for _, p := range rows {
		rec.Salvaged = append(rec.Salvaged, history.PaymentRow{Key: p.Key, State: p.State, Yen: p.Yen, Epoch: p.Epoch})
		if err := encode.Encode(p); err != nil {
			return "", fmt.Errorf("salvage %s: %w", d.lost, err)
		}
	}
	file := filepath.Join(d.folder, "salvage-"+string(d.lost)+".ndjson")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		return "", fmt.Errorf("salvage %s: %w", d.lost, err)
	}
	d.say("salvage", "%d rows of %s are not in %s", len(rows), d.lost, d.authority())
	return file, nil
}
