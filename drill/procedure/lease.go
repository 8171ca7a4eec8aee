package procedure

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// Leaser is an ability of an Estate whose world has a witness.
type Leaser interface {
	// Leases is the witness, as operators reach it. topology.ErrUnsupported: this world has none.
	Leases() (Leases, error)
}

// ErrWitnessSilent says that the witness did not answer: nobody knows who holds the lease.
var ErrWitnessSilent = errors.New("the witness is silent")

// Leases is the witness: who may write.
type Leases interface {
	// Lease reads who holds the lease now. ErrWitnessSilent: no answer came.
	Lease(ctx context.Context) (Lease, error)
	// Take asks for the lease for a site: against another's valid one only if somebody approved that (by is not ""). It returns the
	// lease as it is then, held by the site or not.
	Take(ctx context.Context, site topology.Site, by, why string) (Lease, error)
	// Release asks a site to give the lease up; its guard stops the writes first.
	Release(ctx context.Context, site topology.Site) (Lease, error)
}

// Lease is the right to write.
type Lease struct {
	Holder   topology.Site // "": nobody
	Renewed  bool          // the guard of the holder's database has renewed it
	Term     int64         // rises with every holder
	Left     float64       // seconds until another site may take it
	Released bool          // the holder is being asked to give it up
}

func (l Lease) saw() runbook.Seen {
	return runbook.Seen{"holder": string(l.Holder), "term": l.Term, "left_s": l.Left, "released": l.Released, "renewed": l.Renewed}
}

// of says why a site does not hold the lease, or nil. A lease that was just taken counts once the guard beside the database has
// renewed it: from then on it lasts.
func (l Lease) of(site topology.Site) error {
	switch {
	case l.Holder == "":
		return errors.New("nobody holds the lease")
	case l.Holder != site:
		return fmt.Errorf("%s holds the lease, for another %.1f s", l.Holder, l.Left)
	case l.Released:
		return fmt.Errorf("%s is giving the lease up", site)
	case !l.Renewed:
		return fmt.Errorf("%s has taken the lease, and the guard of its database has not renewed it", site)
	case l.Left <= 0:
		return fmt.Errorf("the lease of %s has expired", site)
	}
	return nil
}

// overrideKey is the parameter by which a guard that the witness does not answer learns that people have decided: the site, and
// who approved it.
const overrideKey = "fence.override"

// leaseVerbs are the verbs about the lease that says which region may write.
func leaseVerbs(e Estate, region func(name, says string) Input) Verbs {
	return Verbs{
		"lease.take": {
			Says:   "Takes the lease for a region, once nobody else's is valid: a region that is cut off has stopped writing by then.",
			Inputs: []Input{region("region", "Who is to write")},
			Bind:   func(in Values) (runbook.Action, error) { return takeLease{e, in.site("region")}, nil },
		},
		"lease.override": {
			Says: "Takes the lease for a region although another's may be valid, or although the witness does not answer: people know that the other region does not write. Only in a step with an approval.",
			Inputs: []Input{
				region("region", "Who is to write"),
				{Name: "why", Kind: Text, Says: "What is known, for the witness's log"},
			},
			Bind: func(in Values) (runbook.Action, error) {
				return overrideLease{e, in.site("region"), in.text("why")}, nil
			},
			Approved: true,
		},
		"lease.release": {
			Says:   "Makes a region give the lease up: the guard of its database stops the writes first.",
			Inputs: []Input{region("region", "Who is to write no more")},
			Bind:   func(in Values) (runbook.Action, error) { return releaseLease{e, in.site("region")}, nil },
		},
		"lease.pass": {
			Says:   "Passes the right to write between two healthy regions: one gives its lease up once its writes have stopped, and the other takes it. In a world without a witness (fence: none) nobody leases it, and there is nothing to pass.",
			Inputs: []Input{region("from", "Who is to write no more"), region("to", "Who is to write")},
			Bind: func(in Values) (runbook.Action, error) {
				if in.site("from") == in.site("to") {
					return nil, &InputError{"to", fmt.Errorf("to is %s as well", in.site("from"))}
				}
				return passLease{e, in.site("from"), in.site("to")}, nil
			},
		},
		"mysql.fenced": {
			Says: "Reads whether a region's MySQL is up, and writable by nobody, now and after a restart. One that is down proves nothing: it may come back writable.",
			Inputs: []Input{
				region("region", "Whose database"),
				{Name: "dead_counts", Kind: Truth, Default: false, Says: "Take a server that does not answer for one that is fenced: only drills that plant this say true"},
			},
			Read: func(in Values) (Reader, error) {
				return mysqlFenced{e, in.site("region"), in.truth("dead_counts")}, nil
			},
		},
		"lease.held": {
			Says:   "Reads whether a region holds the lease.",
			Inputs: []Input{region("region", "Who should")},
			Read:   func(in Values) (Reader, error) { return leaseHeld{e, in.site("region")}, nil },
		},
	}
}

// leases is the witness of an estate.
func leases(e Estate) (Leases, error) {
	l, ok := e.(Leaser)
	if !ok {
		return nil, fmt.Errorf("reach the witness: %w", topology.ErrUnsupported)
	}
	return l.Leases()
}

// readLease reads the lease.
func readLease(ctx context.Context, e Estate) (Lease, error) {
	w, err := leases(e)
	if err != nil {
		return Lease{}, err
	}
	l, err := w.Lease(ctx)
	if err != nil {
		return l, fmt.Errorf("read the lease: %w", err)
	}
	return l, nil
}

// leaseHeld is a read.
type leaseHeld struct {
	estate Estate
	region topology.Site
}

func (h leaseHeld) Read(ctx context.Context) (runbook.Seen, error) {
	l, err := readLease(ctx, h.estate)
	if err != nil {
		return nil, err
	}
	return l.saw(), l.of(h.region)
}

// mysqlFenced is a read of a state that lasts.
type mysqlFenced struct {
	estate     Estate
	region     topology.Site
	deadCounts bool
}

func (f mysqlFenced) Read(ctx context.Context) (runbook.Seen, error) {
	db, err := f.estate.Database(f.region)
	if err != nil {
		return nil, err
	}
	one, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := db.Replication(one)
	if err != nil {
		if f.deadCounts {
			return runbook.Seen{"mysql": err.Error()}, nil
		}
		return nil, fmt.Errorf("mysql of %s is not proved fenced: %w", f.region, err)
	}
	saw := runbook.Seen{"super_read_only": r.SuperReadOnly, "persisted": r.PersistedSuperReadOnly}
	if !r.SuperReadOnly || !r.PersistedSuperReadOnly { // read_only alone lets operators write
		return saw, fmt.Errorf("mysql of %s is not fenced: super_read_only %v, after a restart too %v", f.region, r.SuperReadOnly, r.PersistedSuperReadOnly)
	}
	return saw, nil
}

// takeLease waits until nobody else's lease is valid, and takes it.
type takeLease struct {
	estate Estate
	region topology.Site
}

func (t takeLease) Check(ctx context.Context) (runbook.Seen, error) {
	l, err := readLease(ctx, t.estate)
	if err != nil {
		return nil, err
	}
	return l.saw(), nil
}

func (t takeLease) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	w, err := leases(t.estate)
	if err != nil {
		return nil, err
	}
	var last Lease
	err = until(ctx, func() (string, error) {
		l, err := w.Take(ctx, t.region, "", "")
		if err != nil {
			return "", fmt.Errorf("take the lease for %s: %w", t.region, err)
		}
		last = l
		if l.Holder != t.region {
			return l.of(t.region).Error(), nil
		}
		return "", nil
	})
	if err != nil {
		return last.saw(), fmt.Errorf("take the lease for %s: %w", t.region, err)
	}
	return last.saw(), forgetOverride(ctx, t.estate, t.region)
}

// Confirm: it is held, and no older decision of people lies there by which the region's guard would one day write without it.
func (t takeLease) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	saw, err := leaseHeld{t.estate, t.region}.Read(ctx)
	if err != nil {
		return saw, err
	}
	return saw, noOverride(ctx, t.estate, t.region)
}

// Would implements runbook.Foreteller.
func (t takeLease) Would(ctx context.Context) (string, error) {
	l, err := readLease(ctx, t.estate)
	if err != nil {
		return "", err
	}
	if l.of(t.region) == nil {
		return "nothing: it is held already", nil
	}
	return fmt.Sprintf("take the lease for %s (now: %v)", t.region, l.of(t.region)), nil
}

// overrideLease is what people decide when time does not.
type overrideLease struct {
	estate Estate
	region topology.Site
	why    string
}

// Check: without a witness that answers the decision is left in the region's parameter store, which must answer then.
func (o overrideLease) Check(ctx context.Context) (runbook.Seen, error) {
	l, err := readLease(ctx, o.estate)
	if errors.Is(err, ErrWitnessSilent) {
		saw, _, perr := o.left(ctx)
		saw["witness"] = err.Error()
		return saw, perr
	}
	if err != nil {
		return nil, err
	}
	return l.saw(), nil
}

// left reads the decision that was left for the guard.
func (o overrideLease) left(ctx context.Context) (runbook.Seen, string, error) {
	text, err := override(ctx, o.estate, o.region)
	return runbook.Seen{"override": text}, text, err
}

func (o overrideLease) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	a, ok := notes.(runbook.Approved)
	if !ok || a.ApprovedBy() == "" {
		return nil, errors.New("override the lease: nobody has approved it")
	}
	by := a.ApprovedBy()
	w, err := leases(o.estate)
	if err != nil {
		return nil, err
	}
	l, err := w.Take(ctx, o.region, by, o.why)
	if errors.Is(err, ErrWitnessSilent) {
		p, perr := o.estate.Params(o.region)
		if perr == nil {
			_, perr = p.Write(ctx, map[string]string{overrideKey: fmt.Sprintf("%s approved by %s: %s %s", o.region, by, o.why, inRun(notes))})
		}
		if perr != nil {
			return nil, fmt.Errorf("override the lease: %w, and the guard of %s cannot be told: %w", err, o.region, perr)
		}
		return runbook.Seen{"approved_by": by, "why": o.why, "witness": err.Error()}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("override the lease: %w", err)
	}
	saw := l.saw()
	saw["approved_by"], saw["why"] = by, o.why
	return saw, forgetOverride(ctx, o.estate, o.region)
}

// inRun marks a decision with the run that it was made for: approved once is not approved for ever.
func inRun(notes runbook.Notes) string { return "(run " + notes.Run() + ")" }

// Confirm: the region holds the lease; or the witness is silent, and people have decided so in this very run.
func (o overrideLease) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw, err := mayWrite(ctx, o.estate, o.region)
	if err != nil {
		return saw, err
	}
	text, silent := saw["override"].(string)
	switch {
	case !silent:
		return saw, noOverride(ctx, o.estate, o.region)
	case !strings.HasSuffix(text, inRun(notes)):
		return saw, fmt.Errorf("what was decided for %s was not decided in this run: %q", o.region, text)
	}
	return saw, nil
}

// Would implements runbook.Foreteller.
func (o overrideLease) Would(ctx context.Context) (string, error) {
	if _, err := mayWrite(ctx, o.estate, o.region); err == nil {
		return "nothing: it is held already", nil
	}
	return fmt.Sprintf("take the lease for %s, whoever holds it", o.region), nil
}

// mayWrite says whether a region may write: it holds the lease, or the witness does not answer and people have decided so.
func mayWrite(ctx context.Context, e Estate, region topology.Site) (runbook.Seen, error) {
	l, err := readLease(ctx, e)
	if err == nil {
		return l.saw(), l.of(region)
	}
	if !errors.Is(err, ErrWitnessSilent) {
		return nil, err
	}
	text, perr := override(ctx, e, region)
	saw := runbook.Seen{"witness": err.Error(), "override": text}
	if perr != nil {
		return saw, errors.Join(err, perr)
	}
	if site, _, _ := strings.Cut(text, " "); site != string(region) {
		return saw, fmt.Errorf("nobody has decided that %s writes without a lease: %w", region, err)
	}
	return saw, nil
}

// override reads the decision that was left in a region's parameter store; "": none.
func override(ctx context.Context, e Estate, region topology.Site) (string, error) {
	p, err := e.Params(region)
	if err != nil {
		return "", err
	}
	_, values, err := p.Read(ctx)
	if err != nil {
		return "", fmt.Errorf("read parameters of %s: %w", region, err)
	}
	return values[overrideKey], nil
}

// noOverride says that a decision lies there although the witness answers: it would count again when that falls silent.
func noOverride(ctx context.Context, e Estate, region topology.Site) error {
	text, err := override(ctx, e, region)
	if err == nil && text != "" {
		err = fmt.Errorf("an older decision is left for the guard of %s: %q", region, text)
	}
	return err
}

// forgetOverride takes a decision back that was left for a guard: the witness decides again.
func forgetOverride(ctx context.Context, e Estate, region topology.Site) error {
	text, err := override(ctx, e, region)
	if err != nil || text == "" {
		return err
	}
	p, err := e.Params(region)
	if err != nil {
		return err
	}
	if _, err := p.Write(ctx, map[string]string{overrideKey: ""}); err != nil {
		return fmt.Errorf("write parameters of %s: %w", region, err)
	}
	return nil
}

// releaseLease hands the lease back, without waiting for its end: the guard stops the writes and says so.
type releaseLease struct {
	estate Estate
	region topology.Site
}

func (r releaseLease) Check(ctx context.Context) (runbook.Seen, error) {
	return takeLease(r).Check(ctx)
}

func (r releaseLease) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	w, err := leases(r.estate)
	if err != nil {
		return nil, err
	}
	l, err := w.Lease(ctx)
	if err == nil && l.Holder == r.region && !l.Released {
		l, err = w.Release(ctx, r.region)
	}
	if err != nil {
		return l.saw(), fmt.Errorf("release the lease of %s: %w", r.region, err)
	}
	return l.saw(), forgetOverride(ctx, r.estate, r.region)
}

// Confirm: the region holds nothing, not even a lease that it was asked to give up and may still write under, nor a decision of people
// that it may write without one.
func (r releaseLease) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	l, err := readLease(ctx, r.estate)
	if err != nil {
		return nil, err
	}
	if l.Holder == r.region && (!l.Released || l.Left > 0) {
		return l.saw(), fmt.Errorf("%s still holds the lease, for another %.1f s", r.region, l.Left)
	}
	return l.saw(), noOverride(ctx, r.estate, r.region)
}

// passLease is a handover of the lease: what lease.release and lease.take do, without waiting for the end of anybody's lease.
type passLease struct {
	estate   Estate
	from, to topology.Site
}

// unleased says that nobody leases the right to write in this world.
func (p passLease) unleased() bool { return p.estate.Topology().Fence != topology.WitnessFence }

// noLease is what is seen where there is no witness.
func noLease() runbook.Seen { return runbook.Seen{"fence": string(topology.NoFence)} }

// Check: the lease is with one of the two, or with nobody.
func (p passLease) Check(ctx context.Context) (runbook.Seen, error) {
	if p.unleased() {
		return noLease(), nil
	}
	l, err := readLease(ctx, p.estate)
	if err != nil {
		return nil, err
	}
	if l.Holder != "" && l.Holder != p.from && l.Holder != p.to {
		return l.saw(), fmt.Errorf("%s holds the lease, neither %s nor %s", l.Holder, p.from, p.to)
	}
	return l.saw(), nil
}

// Act releases and takes. Taking succeeds once the guard of the one who gives it up has said that its database takes no writes.
func (p passLease) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	if p.unleased() {
		return noLease(), nil
	}
	if saw, err := (releaseLease{p.estate, p.from}).Act(ctx, notes); err != nil {
		return saw, err
	}
	return takeLease{p.estate, p.to}.Act(ctx, notes)
}

// Confirm: the other one holds it, and its guard has renewed it.
func (p passLease) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	if p.unleased() {
		return noLease(), nil
	}
	return takeLease{p.estate, p.to}.Confirm(ctx, nil)
}

// Would implements runbook.Foreteller.
func (p passLease) Would(ctx context.Context) (string, error) {
	if p.unleased() {
		return "nothing: this world has no witness, and nobody leases the right to write", nil
	}
	return takeLease{p.estate, p.to}.Would(ctx)
}

// leased refuses a promotion that the guards would take back: where the world has a witness, the region must hold the lease.
func leased(ctx context.Context, e Estate, region topology.Site) (runbook.Seen, error) {
	if e.Topology().Fence != topology.WitnessFence {
		return nil, nil
	}
	saw, err := mayWrite(ctx, e, region)
	if err != nil {
		return saw, fmt.Errorf("%s may not write: %w (take the lease first, or override it)", region, err)
	}
	return saw, nil
}
