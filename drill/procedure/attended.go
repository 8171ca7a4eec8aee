package procedure

import (
	"context"
	"errors"
	"fmt"

	"github.com/kirikae/kirikae/drill/runbook"
	"github.com/kirikae/kirikae/topology"
)

// attended is an action with the reads that its procedure names beside it: what the verb itself checks and confirms must hold,
// and these too.
type attended struct {
	runbook.Action
	check   Reader // or nil
	confirm Reader // or nil
}

// Keys under which the reads of the procedure are journalled.
const (
	sawAlsoCheck   = "also_checked"
	sawAlsoConfirm = "also_confirmed"
)

// Check implements runbook.Action.
func (a attended) Check(ctx context.Context) (runbook.Seen, error) {
	saw, err := a.Action.Check(ctx)
	if err != nil {
		return saw, err
	}
	return also(ctx, a.check, saw, sawAlsoCheck)
}

// Confirm implements runbook.Action.
func (a attended) Confirm(ctx context.Context, notes runbook.Notes) (runbook.Seen, error) {
	saw, err := a.Action.Confirm(ctx, notes)
	if err != nil {
		return saw, err
	}
	return also(ctx, a.confirm, saw, sawAlsoConfirm)
}

// Look implements runbook.Onlooker.
func (a attended) Look(ctx context.Context, notes runbook.Notes) (saw runbook.Seen, err error) {
	if l, ok := a.Action.(runbook.Onlooker); ok {
		saw, err = l.Look(ctx, notes)
	} else {
		saw, err = a.Action.Confirm(ctx, notes)
	}
	if err != nil {
		return saw, err
	}
	return also(ctx, a.confirm, saw, sawAlsoConfirm)
}

// Would implements runbook.Foreteller.
func (a attended) Would(ctx context.Context) (string, error) {
	if f, ok := a.Action.(runbook.Foreteller); ok {
		return f.Would(ctx)
	}
	return "", nil
}

// Writes implements runbook.Writer.
func (a attended) Writes() []string {
	if w, ok := a.Action.(runbook.Writer); ok {
		return w.Writes()
	}
	return nil
}

// also makes one more read, and puts what it saw beside the rest.
func also(ctx context.Context, r Reader, saw runbook.Seen, key string) (runbook.Seen, error) {
	if r == nil {
		return saw, nil
	}
	more, err := r.Read(ctx)
	out := runbook.Seen{key: more}
	for k, v := range saw {
		out[k] = v
	}
	return out, err
}

// idle is the action of the verb wait: nothing is done, and its procedure's confirm says what is waited for.
type idle struct{}

func (idle) Check(context.Context) (runbook.Seen, error)                  { return nil, nil }
func (idle) Act(context.Context, runbook.Notes) (runbook.Seen, error)     { return nil, nil }
func (idle) Confirm(context.Context, runbook.Notes) (runbook.Seen, error) { return nil, nil }
func (idle) Would(context.Context) (string, error)                        { return "wait, and do nothing", nil }

// Querier is a database that can be asked in its own language. A Database and a Ring that are one can be read by the verbs sql
// and cql.
type Querier interface {
	// Query makes one read and returns its rows as texts (NULL is "NULL"). It refuses whatever is no read.
	Query(ctx context.Context, statement string) ([][]string, error)
}

// Getter is an Estate whose nodes can be asked by HTTP.
type Getter interface {
	// Get asks a node for a path. Any status is an answer; the body may be cut off after 64 KiB.
	Get(ctx context.Context, node topology.Node, path string) (status int, body []byte, err error)
}

// Placed is an Estate that knows its run folder, in which scripts run.
type Placed interface {
	Folder() string
}

var errCannotBeAsked = errors.New("this world does not offer that")

// query is a read by sql or cql: one row with one value, which is compared.
type query struct {
	ask       func() (any, error)
	what      string // "mysql of osaka"
	statement string
	expect    string
}

// Read implements Reader.
func (q query) Read(ctx context.Context) (runbook.Seen, error) {
	server, err := q.ask()
	if err != nil {
		return nil, err
	}
	asked, ok := server.(Querier)
	if !ok {
		return nil, fmt.Errorf("query %s: %w", q.what, errCannotBeAsked)
	}
	rows, err := asked.Query(ctx, q.statement)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", q.what, err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		columns := 0
		if len(rows) > 0 {
			columns = len(rows[0])
		}
		return runbook.Seen{"rows": len(rows), "columns": columns}, fmt.Errorf("%s gives %d rows of %d columns, expected one value", q.what, len(rows), columns)
	}
	saw := runbook.Seen{"value": rows[0][0]}
	if rows[0][0] != q.expect {
		return saw, fmt.Errorf("%s says %q, expected %q", q.what, rows[0][0], q.expect)
	}
	return saw, nil
}
