package procedure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/kirikae/kirikae/drill/runbook"
)

// fill is mysql.copy.
type fill struct {
	pair
	variant string
}

// Check refuses the variant that this world cannot carry out.
func (f fill) Check(ctx context.Context) (runbook.Seen, error) { return f.fillable(ctx, f.variant) }

// Act fills an empty server only. One that has a history is left as it is, if all of it is the source's.
func (f fill) Act(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	now, err := f.up(ctx)
	if err != nil {
		return nil, err
	}
	if now.Executed != "" {
		return f.filled(ctx)
	}
	target, source, err := f.both()
	if err != nil {
		return nil, err
	}
	if f.variant == byDump {
		if err := target.Copy(ctx, source); err != nil {
			return nil, fmt.Errorf("copy mysql of %s to %s: %w", f.from, f.region, err)
		}
		return f.filled(ctx)
	}
	host, port, err := f.door()
	if err != nil {
		return nil, err
	}
	if err := target.Clone(ctx, source, host, port); err != nil {
		return nil, fmt.Errorf("clone mysql of %s into %s: %w", f.from, f.region, err)
	}
	// The server ends once the data are there (3707), and is started here: no one else does.
	err = until(ctx, func() (string, error) {
		if now, err = f.up(ctx); err != nil {
			return "", err
		}
		if now.Executed == "" {
			return "the server has no history yet", f.broken(ctx, target)
		}
		return "", nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for the clone of %s in %s: %w", f.from, f.region, err)
	}
	return f.filled(ctx)
}

// broken says that the clone has ended without its data, by the server's own account: waiting would not bring them.
func (f fill) broken(ctx context.Context, target Restorer) error {
	c, ok := target.(Cloned)
	if !ok {
		return nil
	}
	state, failure, err := c.CloneState(ctx)
	if err != nil || state != "Failed" {
		return nil // a server that is going away says nothing; up waits for it
	}
	return fmt.Errorf("the clone failed: %s", failure)
}

// filled: the server has a history, all of it is the source's, and nobody can write there, after a restart neither.
func (f fill) filled(ctx context.Context) (runbook.Seen, error) {
	target, _, errant, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"server": target.UUID, "executed": target.Executed, sawErrant: none(errant.String())}
	switch {
	case target.Executed == "":
		return saw, fmt.Errorf("mysql of %s is empty", f.region)
	case !errant.Empty():
		return saw, fmt.Errorf("mysql of %s has transactions that %s lacks: %s", f.region, f.from, errant)
	case !target.ReadOnly || !target.StaysReadOnly:
		return saw, fmt.Errorf("mysql of %s is not read-only for good", f.region)
	}
	return saw, nil
}

func (f fill) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	return f.filled(ctx)
}

// Would implements runbook.Foreteller.
func (f fill) Would(ctx context.Context) (string, error) {
	host, port, err := f.door()
	if f.variant == byDump {
		return fmt.Sprintf("copy mysql of %s to %s, logically", f.from, f.region), err
	}
	return fmt.Sprintf("clone mysql of %s into %s through %s:%d, and start it again when it ends", f.from, f.region, host, port), err
}

// rejoin is mysql.rejoin.
type rejoin struct {
	pair
	errant bool
}

func (r rejoin) Act(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	if _, err := r.up(ctx); err != nil {
		return nil, err
	}
	_, _, errant, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{sawErrant: none(errant.String())}
	if !errant.Empty() && !r.errant {
		return saw, fmt.Errorf("mysql of %s does not follow %s: it has transactions that the other lacks, and MySQL would not mind: %s", r.region, r.from, errant)
	}
	host, port, err := r.door()
	if err != nil {
		return saw, err
	}
	target, err := r.restorer(r.region)
	if err != nil {
		return saw, err
	}
	if err := target.FollowSource(ctx, host, port); err != nil {
		return saw, fmt.Errorf("make %s follow %s: %w", r.region, r.from, err)
	}
	err = until(ctx, func() (string, error) {
		if _, err := r.Confirm(ctx, notes); err != nil {
			return err.Error(), nil
		}
		return "", nil
	})
	return saw, err
}

// catchUp is for a replica to show what its source has.
const catchUp = 5 * time.Second

// Confirm: it follows the serving one through the door, both its threads run, it is read-only for good, it has nothing of its own,
// and within seconds it has what the other had.
func (r rejoin) Confirm(ctx context.Context, _ runbook.Notes) (runbook.Seen, error) {
	target, source, errant, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	host, port, err := r.door()
	if err != nil {
		return nil, err
	}
	saw := runbook.Seen{"server": target.UUID, "source": target.Source, sawErrant: none(errant.String()), "executed": target.Executed}
	var missing []error
	if want := net.JoinHostPort(host, strconv.Itoa(port)); target.Source != want {
		missing = append(missing, fmt.Errorf("it follows %q, expected %s", target.Source, want))
	}
	if !r.errant && (!target.Receiving || !target.Applying || target.Error != "") {
		missing = append(missing, fmt.Errorf("its replication does not run (receiving %t, applying %t) %s", target.Receiving, target.Applying, target.Error))
	}
	if !target.ReadOnly || !target.StaysReadOnly {
		missing = append(missing, errors.New("it is not read-only for good"))
	}
	if !errant.Empty() && !r.errant {
		missing = append(missing, fmt.Errorf("it has transactions that %s lacks: %s", r.from, errant))
	}
	if len(missing) == 0 && !r.errant { // what diverged may stop at the first row that both wrote
		db, err := r.restorer(r.region)
		if err != nil {
			return saw, err
		}
		there, err := db.WaitExecuted(ctx, source.Executed, catchUp)
		if err != nil {
			return saw, fmt.Errorf("wait for %s to have what %s has: %w", r.region, r.from, err)
		}
		if !there {
			missing = append(missing, fmt.Errorf("after %s it has not executed what %s had", catchUp, r.from))
		}
	}
	if len(missing) > 0 {
		return saw, fmt.Errorf("mysql of %s is no replica of %s: %w", r.region, r.from, errors.Join(missing...))
	}
	return saw, nil
}

// Would implements runbook.Foreteller.
func (r rejoin) Would(ctx context.Context) (string, error) {
	_, _, errant, err := r.read(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("make mysql of %s follow %s; refused while it has transactions of its own, now %s", r.region, r.from, none(errant.String())), nil
}
