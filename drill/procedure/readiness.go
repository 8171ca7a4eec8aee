package procedure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kirikae/kirikae/topology"
)

// Conditions under which a region may take the work over in a planned way. Scenarios and judges use these names.
const (
	ReadyErrant  = "errant transactions" // no pay transaction on one of the two servers that the other can never get
	ReadyBinlog  = "binlog purged"       // what the replica still needs is in its source's binary logs
	ReadyLag     = "replication lag"     // the replica shows within the bound what its source had
	ReadyContent = "content differs"     // both stores hold the same rows in both regions
	ReadyHints   = "hints pending"       // no Cassandra node keeps writes that it could not deliver
	ReadyRing    = "ring not whole"      // every Cassandra node sees every node of both regions as live
	ReadyParams  = "parameters"          // the region's parameters are those of a region that waits
	ReadyRelease = "app version"         // the application that would start is the one that serves
)

// Conditions lists the names, in the order in which they are read.
func Conditions() []string {
	return []string{ReadyErrant, ReadyBinlog, ReadyLag, ReadyContent, ReadyHints, ReadyRing, ReadyParams, ReadyRelease}
}

// Condition is one condition, with what was read.
type Condition struct {
	Name  string `json:"name"`
	Holds bool   `json:"holds"`
	Saw   string `json:"saw"`
}

// Readiness says whether the region To may take the work of From over.
type Readiness struct {
	From       topology.Site `json:"from"`
	To         topology.Site `json:"to"`
	Conditions []Condition   `json:"conditions"` // all of them, in the order of Conditions
}

// Violated names the conditions that do not hold.
func (r Readiness) Violated() []string {
	var out []string
	for _, c := range r.Conditions {
		if !c.Holds {
			out = append(out, c.Name)
		}
	}
	return out
}

// Ready says whether every condition was read, and holds.
func (r Readiness) Ready() bool { return len(r.Conditions) > 0 && len(r.Violated()) == 0 }

// Err names every violated condition with what was read, or is nil.
func (r Readiness) Err() error {
	var all []error
	for _, c := range r.Conditions {
		if !c.Holds {
			all = append(all, fmt.Errorf("%s: %s", c.Name, c.Saw))
		}
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%s is not ready to take over from %s: %w", r.To, r.From, errors.Join(all...))
}

// Gate is what the readiness is read with.
type Gate struct {
	From, To   topology.Site
	Lag        time.Duration     // bound of the replication lag
	Parameters map[string]string // what To's parameters must be, where they are not those of every region that waits
}

// waiting are the parameters of a region that waits: its batch rests, and a Cassandra node of it that loses its volume is filled again
// instead of coming back empty (※8 of article 002's preparation, row 10).
func waiting() map[string]string {
	return map[string]string{batchEnabled: "false", "cluster.form": "false", "cassandra.auto_bootstrap": "true", "cassandra.replace": "true"}
}

// conditionLimit is for one condition of the gate.
const conditionLimit = 20 * time.Second

// Read reads every condition, whatever the others say. It changes nothing. What cannot be read does not hold.
func (g Gate) Read(ctx context.Context, e Estate) Readiness {
	r := Readiness{From: g.From, To: g.To}
	p := pair{e, g.To, g.From}
	for _, c := range []struct {
		name string
		read func(context.Context) (string, error)
	}{
		{ReadyErrant, func(ctx context.Context) (string, error) { return g.errant(ctx, p) }},
		{ReadyBinlog, func(ctx context.Context) (string, error) { return g.binlog(ctx, p) }},
		{ReadyLag, func(ctx context.Context) (string, error) { return g.lag(ctx, p) }},
		{ReadyContent, func(ctx context.Context) (string, error) { return g.content(ctx, p) }},
		{ReadyHints, func(ctx context.Context) (string, error) { return g.hints(ctx, e) }},
		{ReadyRing, func(ctx context.Context) (string, error) { return g.ring(ctx, e) }},
		{ReadyParams, func(ctx context.Context) (string, error) { return g.parameters(ctx, e) }},
		{ReadyRelease, func(ctx context.Context) (string, error) { return g.release(ctx, e) }},
	} {
		bounded, cancel := context.WithTimeout(ctx, conditionLimit)
		saw, err := c.read(bounded)
		cancel()
		if err != nil {
			saw = err.Error()
		}
		r.Conditions = append(r.Conditions, Condition{c.name, err == nil, saw})
	}
	return r
}
